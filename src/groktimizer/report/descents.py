"""Descents: train and recovery error (or two losses) over steps, one panel a method, both clocks marked."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from groktimizer.report.style import (
    BLUE,
    DEEPEST,
    GREY,
    PALE,
    RED,
    covers,
    drawable,
    headline,
    house_style,
    mark_clock,
    panels_below,
    plot_seen,
)

Run = Mapping[str, Any]
_LEFT, _RIGHT = 0.2, 0.8  # parts of a log axis: nearer to its ends there is no room for words
_ROOM = 20.0  # the axis goes on to so many times the last clock, for its words
_LOWEST = 1e-20  # part of the largest value; curves end at `DEEPEST` of it, tolerances may lie so low


def plot(frame: Mapping[str, Any]) -> Figure:
    """Two curves of each method over the same steps, with t1 and t2.

    Args:
        frame: "title"; "sentence" below it; "tolerances" of the two curves; "words" for the vertical axis and the two
            curves; "band" (name, first and last step of where a method that was not run would recover) or None; "runs",
            each with "name", "steps", "train", "test", "memorised", "generalised", and whether it is "resting", so that
            a never is for good.

    Returns:
        The figure.
    """
    runs, band = frame["runs"], frame["band"]
    last = max(
        [float(one["steps"][-1]) for one in runs] + ([float(band[2])] if band and np.isfinite(float(band[2])) else [])
    )
    last = max(last, *(_ROOM * (one[time] or 0) for one in runs for time in ("memorised", "generalised")))
    with house_style():
        figure = panels_below(_width(len(runs)), 4.6)
        for axes, one in zip(np.ravel(figure.subplots(1, len(runs), squeeze=False, sharey=True)), runs, strict=True):
            axes.set(xscale="log", yscale="log", xlim=(1, 1.2 * last), xlabel="step")
            axes.set_ylim(_heights(runs, frame["tolerances"]))
            _panel(axes, one, frame["tolerances"], frame["words"])
            if band is not None:
                _band(axes, band[0], float(band[1]), float(band[2]), last)
        figure.axes[0].set_ylabel(frame["words"][0])
        headline(figure, frame["title"], frame["sentence"])
    return figure


def _width(panels: int) -> float:
    """Inches: a lone panel has room for its sentence, three are narrower."""
    return {1: 7.2, 2: 10.8}.get(panels, 4.6 * panels)


def _heights(runs: Sequence[Run], tolerances: Sequence[float]) -> tuple[float, float]:
    """Ends of the vertical axis: curves without what is rounding, and the tolerances where they are not far off."""
    values = drawable(np.concatenate([one[part][1:] for one in runs for part in ("train", "test")]))
    shown = values[np.isfinite(values) & (values > 0)]
    high = float(shown.max(initial=0.0)) or 1.0
    low = max(float(shown.min(initial=high)), DEEPEST * high)
    low = max(min(low, *tolerances), _LOWEST * high)
    return low / 5, 30 * max(high, *(level for level in tolerances if level < high / _LOWEST))


def _panel(axes: Axes, one: Run, tolerances: Sequence[float], words: Sequence[str]) -> None:
    axes.set_title(one["name"], fontsize=11)
    curves = (
        (words[1], one["train"], BLUE, "t1", one["memorised"], tolerances[0]),
        (words[2], one["test"], RED, "t2", one["generalised"], tolerances[1]),
    )
    steps = one["steps"][1:]
    covered = covers([(steps, errors[1:]) for _, errors, *_ in curves], log=True)
    for (name, errors, colour, clock, time, tolerance), under in zip(curves, covered, strict=True):
        shown = drawable(errors)
        above = np.where(shown[1:] > 0, shown[1:], np.nan)
        plot_seen(axes, steps, above, under, 2.2, color=colour, zorder=3, label=name)
        if one["resting"]:
            end = [one["steps"][-1], axes.get_xlim()[1]]
            axes.plot(end, [shown[-1]] * 2, color=colour, lw=1.0, ls=":", zorder=2.5)
        axes.axhline(tolerance, color=colour, lw=0.9, ls=(0, (1, 3)), zorder=2.2)
        _mark(axes, clock, time, tolerance, colour, "never" if one["resting"] else "not yet")
    axes.legend(fontsize=9, handlelength=1.8, labelcolor="linecolor", loc="upper left", ncols=2)


def _mark(axes: Axes, clock: str, time: int | None, level: float, colour: str, never: str) -> None:
    """A clock beside a falling curve: t1 to the left below it, t2 to the right above it, where neither hides it."""
    end, up = float(axes.get_xlim()[1]), clock == "t2"
    if time is None:
        mark_clock(axes, (end, level), f"{clock}: {never}", colour, (-8, 6 if up else -6), point=False)
        return
    left = time > end ** (_RIGHT if up else _LEFT)
    mark_clock(axes, (time, level), f"{clock} = {time:,}", colour, (-8 if left else 8, 6 if up or not left else -6))


def _band(axes: Axes, name: str, first: float, end: float, last: float) -> None:
    axes.axvspan(first, min(end, 1.2 * last), color=PALE, zorder=0.5)
    axes.annotate(
        name, (min(end, last), 0.98), xycoords=("data", "axes fraction"), xytext=(-4, 0), textcoords="offset points",
        va="top", ha="right", fontsize=9, color=GREY,
    )  # fmt: skip
