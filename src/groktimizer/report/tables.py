"""Tables of a comparison as text: what was measured, with spreads, and what may be claimed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from groktimizer.measures import FEWEST_SEEDS, last_common_time, paired_bootstrap
from groktimizer.report import public

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
ENOUGH = 10
TIMES = ("memorised", "generalised", "settled")


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
        verdict: "verdict", "low" and "high" of the difference in steps, and where it is known the "p_value" of the
            test; None for the reference itself.

    Returns:
        Such as "faster, p = 0.031 (−60 … −35)".
    """
    if verdict is None:
        return "the reference"
    low, high, said = float(verdict["low"]), float(verdict["high"]), str(verdict["verdict"])
    if "p_value" in verdict and verdict["pairs"] >= FEWEST_SEEDS:
        said += f", p = {float(verdict['p_value']):.2g}"
    if low == high and math.isinf(low):
        return f"{said} ({'did not settle' if low > 0 else 'the reference did not settle'})"
    return f"{said} ({_signed(verdict['low'])} … {_signed(verdict['high'])})"


def judged(row: Mapping[str, Any], panel: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Give the verdict on a row; one that an earlier version wrote without a test is made again from the times.

    Args:
        row: of a panel.
        panel: of a comparison's content.

    Returns:
        "verdict", "p_value", "low", "high", "pairs"; None for the reference.
    """
    kept = row["verdict"]
    if kept is None or "p_value" in kept:
        return kept
    against = next(other for other in panel["rows"] if other["verdict"] is None)
    horizon = last_common_time((row["budget"], against["budget"]), row.get("evaluated_every", 0))
    return asdict(paired_bootstrap(row["times"], against["times"], horizon=horizon))


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


def panel_cells(panel: Mapping[str, Any]) -> list[list[str]]:
    """Write the rows of a comparison in one setting.

    Args:
        panel: from the comparison's content.

    Returns:
        For each row one text per header.
    """
    return [_row_cells(row, judged(row, panel)) for row in panel["rows"]]


def _row_cells(row: Mapping[str, Any], verdict: Mapping[str, Any] | None) -> list[str]:
    method, budget = row["method"], row["budget"]
    low, high = row["success"]
    failed = all(run is None for run in row["runs"])
    return [
        method["optimizer"].removesuffix("-tuned") if method["kind"] != "given" else method["optimizer"],
        f"{WHAT[method['kind']]}{_options_of(method)}",
        *("failed" if failed else steps_text(row[name], budget) for name in TIMES),
        f"{row['successes']}/{len(row['seeds'])} ({low:.0%}–{high:.0%})",
        verdict_text(verdict),
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
        "faster/slower: exact sign-flip test of the paired differences in settled time, p ≤ 0.05 for each row; "
        "in brackets the 95 % bootstrap interval of their median, which does not decide.",
    ]
    if any(row["censored"] for panel in content["panels"] for row in panel["rows"]):
        told.append(f"Methods other than the leaders were stopped at {protocol['cap']:g} times the best settled time.")
    if failures(content):
        told.append("A run that failed counts as one that did not get there.")
    if len(seeds) < FEWEST_SEEDS:
        told.append(
            f"{len(seeds)} seed(s) are a demonstration, not a claim: too few for a verdict, which takes at least "
            f"{FEWEST_SEEDS} (--seeds {FEWEST_SEEDS}; {ENOUGH} for a table to publish)."
        )
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
    return "\n".join("| " + " | ".join(public.line(c).replace("|", "\\|") for c in line) + " |" for line in lines)


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
        parts.append(f"## {public.line(panel['setting']['name'])}")
        parts.append(markdown(HEADERS, panel_cells(panel)))
        parts.append(f"Reference of the verdicts: {public.line(panel['reference'])}.")
        parts += tuning_parts(panel)
    parts += [f"Failed: {public.line(public.without_places(told))}" for told in failures(content)]
    parts += notes(content)
    return "\n\n".join(parts) + "\n"


def tuning_parts(panel: Mapping[str, Any]) -> list[str]:
    """Say how methods of a panel were tuned.

    Args:
        panel: of a comparison's content.

    Returns:
        Paragraphs and tables in Markdown.
    """
    parts: list[str] = []
    for tuning in panel["tunings"]:
        chosen = options_text(tuning["method"]["options"])
        runs = f"{tuning['cells']} cells, {len(tuning['trials'])} runs"
        parts.append(f"Tuned {tuning['optimizer']}: {public.line(chosen)} ({runs} on tuning seeds).")
        parts.append(markdown(("cell", "seed", "settled"), [_trial(trial) for trial in tuning["trials"]]))
    return parts


def _trial(trial: Mapping[str, Any]) -> list[str]:
    settled = f"> {trial['budget']:,}" if trial["settled"] is None else f"{trial['settled']:,}"
    return [options_text(trial["options"]), str(trial["seed"]), public.without_places(trial["error"]) or settled]
