"""A table of comparisons on one page: a row for each with times in passes, what holds in how many, and one figure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from groktimizer.measures import median_with_dnf
from groktimizer.report import public
from groktimizer.report.style import GREY, headline, house_style, look, panels_below
from groktimizer.report.tables import HEADERS as PANEL_HEADERS
from groktimizer.report.tables import failures, markdown, options_text, panel_cells, steps_text, tuning_parts

HEADERS = (
    "row", "GROKtimizer untuned", "settled", "best tuned peer", "its passes", "settled", "ratio", "verdict",
    "AdamW 1e-3 / 1.0", "settled", "one network: GROKtimizer", "AdamW and its tuning",
)  # fmt: skip
SPREAD = 0.16  # of a row: how far apart its methods are drawn
MOST = 10 / 14  # of the rows with times: in how many the default was to be as fast as the best tuned peer


def page(content: Mapping[str, Any], picture: str, command: str) -> str:
    """Write a table of comparisons as a page in Markdown, the summary first.

    Args:
        content: of the table.
        picture: path of the figure, relative to the page.
        command: the command that makes it again.

    Returns:
        The page.
    """
    rows = content["standings"]
    parts = [f"# Networks: {len(rows)} tasks, one untuned GROKtimizer", f"Made by\n\n    {command}"]
    parts += [markdown(HEADERS, [cells(row) for row in rows]), "\n".join(f"- {told}" for told in tally(content))]
    parts += [f"![Settled times of every row]({picture})", *notes(content)]
    for panel, rules in zip(content["panels"], content["protocols"], strict=True):
        setting = panel["setting"]
        parts.append(f"## {public.line(setting['name'])}")
        options = options_text(setting["options"])
        evaluated = max(row["evaluated_every"] for row in panel["rows"])
        parts.append(
            f"`{setting['task']}`{options and f', {public.line(options)}'}; {rules['steps']:,} steps, evaluated every "
            f"{evaluated}, {rules['precision']}. Times of this table in steps."
        )
        parts += [markdown(PANEL_HEADERS, panel_cells(panel)), *tuning_parts(panel)]
    parts += [f"Failed: {public.line(public.without_places(told))}" for told in failures(content)]
    return "\n\n".join(parts) + "\n"


def cells(row: Mapping[str, Any]) -> list[str]:
    """Write a row of the summary.

    Args:
        row: a standing.

    Returns:
        One text per header.
    """
    ours, best, shipped = row["ours"], row["best"], row["shipped"]
    told = ["none with a median", "–", "–"]
    if best is not None:
        told = [f"{best['label']}: {options_text(best['options'])}", _passes(best), _settled(best)]
    return [
        row["label"] + ("" if row["timed"] else " (success only)"),
        _passes(ours),
        _settled(ours),
        *told,
        ratio_text(row["ratio"]) if row["timed"] else "–",
        row["verdict"]["verdict"] if row["timed"] and best is not None else "–",
        _passes(shipped),
        _settled(shipped),
        *("–" if row[name] is None else f"{row[name]:,.0f}" for name in ("network_ours", "network_adamw")),
    ]


def _passes(side: Mapping[str, Any]) -> str:
    return steps_text(side["settled"], side["budget"])


def _settled(side: Mapping[str, Any]) -> str:
    return f"{sum(time is not None for time in side['passes'])}/{len(side['passes'])}"


def ratio_text(ratio: Any) -> str:
    """Write our median over another's.

    Args:
        ratio: it; None if neither is there; +∞ may be a text, as in records.

    Returns:
        Such as "0.84"; words where only one of both is there.

    Example:
        >>> [ratio_text(ratio) for ratio in (0.843, 0.0, float("inf"), None)]
        ['0.84', 'ours alone', 'theirs alone', 'neither']
    """
    if ratio is None:
        return "neither"
    if math.isinf(float(ratio)):
        return "theirs alone"
    return f"{ratio:.2f}" if ratio else "ours alone"


def tally(content: Mapping[str, Any]) -> list[str]:
    """Say in how many rows what holds.

    Args:
        content: of the table.

    Returns:
        Sentences.
    """
    found, of = content["tally"], f"of {content['tally']['rows']} rows with times"
    most = math.ceil(MOST * found["rows"])
    networks = found["networks"]
    told = "nothing is known" if networks is None else f"{float(networks):,.1f} times ours".replace("inf", "∞")
    return [
        f"untuned GROKtimizer settled on every seed in {found['settled']} of the {found['contested']} rows in which "
        "any other method settled on some seed (wanted: all)",
        f"its median is at most the best tuned peer's in {found['level']} {of} (wanted: {most}), and at most 1.5 times "
        f"that in {found['near']} (wanted: all)",
        f"at most a third of that of AdamW at lr 1e-3, decay 1.0 in {found['shipped']} {of} (wanted: {most})",
        f"passes to obtain one settled network: of AdamW with its tuning, in the median row, {told} (wanted: 8)",
    ]


def notes(content: Mapping[str, Any]) -> list[str]:
    """Say how the summary is to be read.

    Args:
        content: of the table.

    Returns:
        Paragraphs.
    """
    rules = content["protocols"][0]
    tuning, seeds = (", ".join(map(str, rules[name])) for name in ("tuning_seeds", "seeds"))
    return [
        "Times are forward-backward passes until the settled time, extra passes of an optimizer counted: median "
        "(range) over seeds; > N: not within N; a run that does not settle counts as +∞. Ratio: our median over the "
        "smallest one of the tuned peers (any method but GROKtimizer), of which there is none where half of the seeds "
        "or more of each did not settle; verdict: exact sign-flip test of the paired "
        "differences on common seeds, p ≤ 0.05.",
        "One network: passes of all runs on the reported seeds per run that settled, and of AdamW's tuning runs; each "
        "until it settled, or as far as it ran where it did not, the window of 500 steps that only observes left out.",
        f"Tuned on seeds {tuning}, reported on seeds {seeds}: GROKtimizer untuned and AdamW tuned on all of them, "
        f"everything else on the first of them; {rules['threads']} thread(s) a run. AdamW at lr 1e-3, decay 1.0 has "
        "ten times the steps that GROKtimizer took; methods at their defaults are stopped at three times the best.",
    ]


def frame(content: Mapping[str, Any], title: str) -> dict[str, Any]:
    """Take from the content of a table what the figure shows.

    Args:
        content: of the table.
        title: of the figure.

    Returns:
        The frame that `plot` draws.
    """
    found = content["tally"]
    rows = [
        {
            "label": row["label"],
            "ratio": ratio_text(row["ratio"]) if row["timed"] else "",
            "sides": [
                {"label": side["label"], "passes": list(side["passes"]), "budget": side["budget"]}
                for side in (row["ours"], row["best"], row["shipped"])
                if side is not None
            ],
        }
        for row in content["standings"]
    ]
    sentence = (
        f"Its median is at most that of the best tuned peer in {found['level']} of {found['rows']} rows; every seed "
        f"settled in {found['settled']} of {found['contested']}"
    )
    return {"painter": "standings", "title": title, "sentence": sentence, "rows": rows}


def plot(picture: Mapping[str, Any]) -> Figure:
    """Draw the settled times of every row: a mark per seed, an arrow where some did not settle.

    Args:
        picture: from `frame`.

    Returns:
        The figure.
    """
    rows: Sequence[Mapping[str, Any]] = picture["rows"]
    with house_style():
        figure = panels_below(10.5, 0.5 * len(rows) + 2.3)
        axes = figure.subplots()
        for place, row in enumerate(rows):
            for turn, side in enumerate(row["sides"]):
                _side(axes, place + SPREAD * (turn - (len(row["sides"]) - 1) / 2), side)
            axes.text(1.02, place, row["ratio"], transform=axes.get_yaxis_transform(), va="center", fontsize=10)
        axes.text(1.02, -0.8, "ratio", transform=axes.get_yaxis_transform(), color=GREY, fontsize=9, va="center")
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set(ylim=(len(rows) - 0.4, -0.6), xlabel="forward-backward passes until settled (log scale)")
        axes.set_yticks(range(len(rows)), [row["label"] for row in rows])
        axes.grid(visible=False, axis="y")
        figure.legend(handles=_key(rows), loc="outside lower right", ncols=4, fontsize=10, handletextpad=0.3)
        headline(figure, picture["title"], picture["sentence"])
    return figure


def _side(axes: Axes, height: float, side: Mapping[str, Any]) -> None:
    colour, marker = look(side["label"])
    there = [time for time in side["passes"] if time is not None]
    axes.plot(there, [height] * len(there), ls="", marker=marker, ms=5, color=colour, alpha=0.5, mew=0)
    middle = median_with_dnf(side["passes"])
    if math.isfinite(middle):
        axes.plot([middle], [height], ls="", marker=marker, ms=8, color=colour, mec="white", mew=0.7, zorder=4)
    if len(there) < len(side["passes"]):
        axes.annotate(
            "", (1.12 * side["budget"], height), (0.9 * side["budget"], height),
            arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.3},
        )  # fmt: skip
        axes.plot([1.12 * side["budget"]], [height], alpha=0)  # so that the axis reaches so far


def _key(rows: Sequence[Mapping[str, Any]]) -> list[Line2D]:
    turns = [row["sides"][turn]["label"] for turn in (0, -1, 1) for row in rows]
    labels = dict.fromkeys(turns)
    marks = [
        Line2D([], [], ls="", marker=look(label).marker, ms=7, color=look(label).colour, mew=0, label=label)
        for label in labels
    ]
    return [*marks, Line2D([], [], lw=0, label="small: a seed · large: median · arrow: some not settled")]
