"""Tables of a comparison as text: what was measured, with spreads, and what may be claimed."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

HEADERS = (
    "method", "setting", "memorised", "generalised", "settled", "success (95 % interval)", "against the reference",
    "steps", "seconds", "passes", "memory", "state",
)  # fmt: skip
WHAT = {
    "untuned": "untuned: defaults",
    "given": "untuned: as given",
    "reference": "tuned before",
    "tuned": "tuned here",
}
MEGA, KILO = 1e6, 1e3
ENOUGH = 5


def steps_text(spread: Mapping[str, Any], budget: int) -> str:
    """Write median and range of a time; a median that is +∞ shows as more than the budget.

    Args:
        spread: "median", "low" and "high", None for +∞ (or nothing there).
        budget: steps each run was given.

    Returns:
        Such as "120 (115–130)", "> 3,000" or "120 (115–∞)".

    Example:
        >>> steps_text({"median": 120.0, "low": 115, "high": None}, 3000)
        '120 (115–∞)'
    """
    if spread["median"] is None:
        some = "" if spread["low"] is None else f" (from {spread['low']:,})"
        return f"> {budget:,}{some}"
    if spread["low"] == spread["high"]:
        return f"{spread['median']:,.0f}"
    high = "∞" if spread["high"] is None else f"{spread['high']:,}"
    return f"{spread['median']:,.0f} ({spread['low']:,}–{high})"


def verdict_text(verdict: Mapping[str, Any] | None) -> str:
    """Write what may be claimed against the reference.

    Args:
        verdict: "verdict", "low" and "high" of the difference in steps; None for the reference itself.

    Returns:
        Such as "faster (−60 … −35)".
    """
    if verdict is None:
        return "the reference"
    low, high = float(verdict["low"]), float(verdict["high"])
    if low == high and math.isinf(low):
        return f"{verdict['verdict']} ({'did not settle' if low > 0 else 'the reference did not settle'})"
    return f"{verdict['verdict']} ({_signed(verdict['low'])} … {_signed(verdict['high'])})"


def _signed(steps: Any) -> str:
    number = float(steps)
    if math.isinf(number):
        return "+∞" if number > 0 else "−∞"
    return f"{number:+,.0f}".replace("-", "−")


def options_text(options: Mapping[str, Any]) -> str:
    """Write options as key=value, leaving out what is None."""
    return " ".join(f"{key}={_number(value)}" for key, value in options.items() if value is not None)


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def bytes_text(size: float | None) -> str:
    """Write a size in kB or MB."""
    if size is None:
        return "–"
    return f"{size / MEGA:,.1f} MB" if size >= MEGA else f"{size / KILO:,.0f} kB"


def row_cells(row: Mapping[str, Any]) -> list[str]:
    """Write one row of a comparison.

    Args:
        row: from the comparison's content.

    Returns:
        One text per header.
    """
    method, budget = row["method"], row["budget"]
    low, high = row["success"]
    return [
        method["optimizer"].removesuffix("-tuned") if method["kind"] != "given" else method["optimizer"],
        f"{WHAT[method['kind']]}{_options_of(method)}",
        *(steps_text(row[name], budget) for name in ("memorised", "generalised", "settled")),
        f"{row['successes']}/{len(row['seeds'])} ({low:.0%}–{high:.0%})",
        verdict_text(row["verdict"]),
        *("–" if row[name] is None else f"{row[name]:,.{digits}f}"
          for name, digits in (("steps", 0), ("seconds", 1), ("passes", 0))),
        bytes_text(row["peak_memory_bytes"]),
        bytes_text(row["state_bytes"]),
    ]  # fmt: skip


def _options_of(method: Mapping[str, Any]) -> str:
    text = options_text(method["options"])
    return f", {text}" if text else ""


def notes(content: Mapping[str, Any]) -> list[str]:
    """Say how the table is to be read.

    Args:
        content: of a comparison.

    Returns:
        Sentences.
    """
    protocol = content["protocol"]
    seeds = protocol["seeds"]
    told = [
        "Times in steps: median (range) over seeds; > N: not within the N steps it was given; a run that does not get "
        "there counts as +∞. memorised, generalised: first evaluated step at the task's level on training and test "
        "data; settled: first step from which it held for a whole window of at least 500 steps.",
        f"Seeds {', '.join(map(str, seeds))}; {protocol['precision']}; {protocol['threads']} thread(s) a run; "
        "faster/slower: 95 % bootstrap interval of the paired difference in settled time excludes zero.",
    ]
    if any(row["censored"] for panel in content["panels"] for row in panel["rows"]):
        told.append(f"Methods other than the leaders were stopped at {protocol['cap']:g} times the best settled time.")
    if len(seeds) < ENOUGH:
        told.append(f"{len(seeds)} seed(s) are a demonstration, not a claim: use --seeds {ENOUGH} or more for one.")
    return told


def failures(content: Mapping[str, Any]) -> list[str]:
    """Say which runs gave no result and why, one line each."""
    return [
        f"{row['method']['label']} ({panel['setting']['name']}): {error}"
        for panel in content["panels"]
        for row in panel["rows"]
        for error in row["errors"]
    ]


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table in Markdown.

    Args:
        headers: one per column.
        rows: texts, one per column.

    Returns:
        Lines, the last without a line break.
    """
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def comparison_page(content: Mapping[str, Any], picture: str, command: str) -> str:
    """Write a comparison as a page in Markdown.

    Args:
        content: of the comparison.
        picture: path of the figure, relative to the page.
        command: the command that makes it again.

    Returns:
        The page.
    """
    task = content["panels"][0]["setting"]["task"]
    parts = [f"# {task}: methods side by side", f"Made by\n\n    {command}", f"![Comparison on {task}]({picture})"]
    for panel in content["panels"]:
        parts.append(f"## {panel['setting']['name']}")
        parts.append(markdown(HEADERS, [row_cells(row) for row in panel["rows"]]))
        parts.append(f"Reference of the verdicts: {panel['reference']}.")
        for tuning in panel["tunings"]:
            chosen = options_text(tuning["method"]["options"])
            runs = f"{tuning['cells']} cells, {len(tuning['trials'])} runs"
            parts.append(f"Tuned {tuning['optimizer']}: {chosen} ({runs} on tuning seeds).")
            parts.append(markdown(("cell", "seed", "settled"), [_trial(trial) for trial in tuning["trials"]]))
    parts += notes(content)
    return "\n\n".join(parts) + "\n"


def _trial(trial: Mapping[str, Any]) -> list[str]:
    settled = f"> {trial['budget']:,}" if trial["settled"] is None else f"{trial['settled']:,}"
    return [options_text(trial["options"]), str(trial["seed"]), trial["error"] or settled]
