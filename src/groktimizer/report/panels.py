"""Panels of curves from plain values: the figures of a reproduction, and the curves of a prediction."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from groktimizer.report.style import (
    BLUE,
    DEEPEST,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    RED,
    covers,
    headline,
    house_style,
    look,
    mark_clock,
    panels_below,
    plot_seen,
)

COLOURS = (BLUE, RED, GREEN, ORANGE, PURPLE, INK)
THIN: Mapping[str, Mapping[str, Any]] = {
    "dashed": {"lw": 1.5, "ls": "--", "zorder": 4},
    "faint": {"lw": 0.9, "alpha": 0.55, "zorder": 2.5},
    "points": {"lw": 0, "marker": "o", "ms": 5, "alpha": 0.7, "zorder": 3},
}
FEW = 2  # panels in a row
MOST_INSIDE = 4  # names of a legend between the curves of a lone panel; more stand beside it


def plot(frame: Mapping[str, Any]) -> Figure:
    """Draw panels side by side.

    Args:
        frame: "title" above all of them; "sentence" below it, what to see; "panels", each with title, x, y (labels),
            y_log, marks, perhaps x_log, lines of label, x, y, style, colour (a number, or the name of a method), and
            perhaps clocks of time, level, text, colour, offset, point.

    Returns:
        The figure.
    """
    panels: Sequence[Mapping[str, Any]] = frame["panels"]
    columns = min(len(panels), FEW)
    rows = -(-len(panels) // columns)
    aside = columns == 1 and len({line["label"] for line in panels[0]["lines"]}) > MOST_INSIDE
    with house_style():
        figure = panels_below(5.4 * columns + (1.4 + 2.0 * aside if columns == 1 else 0), 3.7 * rows + 0.9)
        grid = np.ravel(figure.subplots(rows, columns, squeeze=False))
        told: set[str] = set()
        for axes, panel in zip(grid, panels, strict=False):
            _panel(axes, panel)
            labels = {line["label"] for line in panel["lines"]}
            if not (panel["marks"] and labels <= told):  # one legend for the sweeps of a figure
                place = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)} if aside else {"loc": "best"}
                axes.legend(fontsize=9, handlelength=1.8, labelcolor="linecolor", **place)
            told |= labels
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        headline(figure, frame["title"], frame["sentence"])
    return figure


def _colour(of: int | str) -> str:
    return look(of).colour if isinstance(of, str) else COLOURS[of % len(COLOURS)]


def _panel(axes: Axes, panel: Mapping[str, Any]) -> None:
    seen: set[str] = set()
    solid = [line for line in panel["lines"] if line["style"] == "solid"]
    covered = iter(covers([(line["x"], line["y"]) for line in solid], log=panel["y_log"]))
    for line in panel["lines"]:
        x, y = np.asarray(line["x"], dtype=float), np.asarray(line["y"], dtype=float)
        if panel["y_log"]:
            y = np.where(y > 0, y, np.nan)
        colour, style = _colour(line["colour"]), "--" if line["style"] == "dashed" else "-"
        if line["style"] == "solid":
            plot_seen(axes, x, y, next(covered), 2.2, marks=panel["marks"], color=colour, zorder=3)
        else:
            axes.plot(x, y, color=colour, **THIN[line["style"]])
        if line["label"] not in seen:  # the legend shows a strong line, whatever the curve's own
            axes.plot([], [], color=colour, lw=2, ls=style, label=line["label"])
        seen.add(line["label"])
    axes.set(xscale="log" if panel.get("x_log", True) else "linear", xlabel=panel["x"], ylabel=panel["y"])
    axes.set_title(panel["title"], fontsize=11)
    if panel["marks"]:  # a sweep: the ticks are its values
        values = sorted({float(x) for line in panel["lines"] for x in line["x"]})
        axes.set_xticks(values, _ticks(values))
        axes.set_xticks([], minor=True)
    if panel["y_log"]:
        axes.set_yscale("log")
        _floor(axes, panel)
    else:
        axes.set_ylim(-0.03, 1.03)
    for clock in panel.get("clocks", ()):
        place, point = (float(clock["time"]), float(clock["level"])), clock["point"]
        mark_clock(axes, place, clock["text"], _colour(clock["colour"]), clock["offset"], point=point)


def _ticks(values: Sequence[float]) -> list[str]:
    """Labels of a sweep's values: powers of ten as such where they run over many decades."""
    powers = np.log10(np.maximum(values, 1e-300))
    if values[0] > 0 and values[-1] >= 1e3 * values[0] and np.allclose(powers, powers.round()):
        return [f"$10^{{{power:.0f}}}$" for power in powers]
    return [f"{value:,g}" for value in values]


def _floor(axes: Axes, panel: Mapping[str, Any]) -> None:
    """Leave out what is only rounding: what is below `DEEPEST` of the largest value."""
    shown = [np.asarray(line["y"], dtype=float) for line in panel["lines"] if line["style"] != "dashed"]
    values = np.concatenate(shown)
    values = values[np.isfinite(values) & (values > 0)]
    if values.size and values.min() < DEEPEST * values.max():
        axes.set_ylim(DEEPEST * values.max(), 3 * values.max())
