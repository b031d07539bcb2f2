"""Pictures of descents: train and recovery error over steps, one panel a method, both clocks marked."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from groktimizer.report.style import BLUE, GREY, INK, PALE, RED, drawable, house_style
from groktimizer.theory.clock.descent import Descent

Band = tuple[str, float, float]
_LEFT, _RIGHT = 0.2, 0.8  # parts of a log axis: nearer to its ends there is no room for words
_ROOM = 20.0  # the axis goes on to so many times the last clock, for its words
_DEPTH, _DEEPEST = 1e-8, 1e-20  # parts of the largest value: curves end there, tolerances may lie lower


class Words(NamedTuple):
    """What the axes and the curves are called.

    Attributes:
        axis: The vertical axis.
        train: The curve whose clock is t1.
        test: The curve whose clock is t2.
    """

    axis: str = "relative error"
    train: str = "train error"
    test: str = "recovery error"


def descents(
    found: Sequence[Descent],
    title: str,
    sentence: str,
    tolerances: tuple[float, float],
    band: Band | None = None,
    words: Words | None = None,
) -> Figure:
    """Train and recovery error of each method over the same steps, with t1 and t2.

    Args:
        found: The methods.
        title: Above the panels.
        sentence: Below the title.
        tolerances: Of train and recovery error.
        band: Name, first and last step of where a method that was not run would recover, or None.
        words: What is drawn; None for relative errors.

    Returns:
        The figure.
    """
    words = words or Words()
    last = max([float(one.steps[-1]) for one in found] + ([band[2]] if band and np.isfinite(band[2]) else []))
    last = max(last, *(_ROOM * (time or 0) for one in found for time in (one.memorised, one.generalised)))
    with house_style():
        figure = Figure(figsize=(_width(len(found)), 4.6))
        figure.set_layout_engine("constrained", h_pad=0.08, w_pad=0.08, rect=(0, 0, 1, 1 - 0.78 / 4.6))
        for axes, one in zip(np.ravel(figure.subplots(1, len(found), squeeze=False, sharey=True)), found, strict=True):
            axes.set(xscale="log", yscale="log", xlim=(1, 1.2 * last), ylim=_heights(found, tolerances), xlabel="step")
            _panel(axes, one, tolerances, words)
            if band is not None:
                _band(axes, band, last)
        figure.axes[0].set_ylabel(words.axis)
        height = float(figure.get_figheight())
        figure.text(0.02, 1 - 0.12 / height, title, ha="left", va="top", fontsize=13, fontweight="bold", color=INK)
        figure.text(0.02, 1 - 0.44 / height, sentence, ha="left", va="top", fontsize=10.5, color=GREY)
    return figure


def _width(panels: int) -> float:
    """Inches: a lone panel has room for its sentence, three are narrower."""
    return {1: 7.2, 2: 10.8}.get(panels, 4.6 * panels)


def _heights(found: Sequence[Descent], tolerances: tuple[float, float]) -> tuple[float, float]:
    """Ends of the vertical axis: curves without what is rounding, and the tolerances where they are not far off."""
    values = drawable(np.concatenate([part[1:] for one in found for part in (one.train_error, one.recovery_error)]))
    shown = values[np.isfinite(values) & (values > 0)]
    high = float(shown.max(initial=0.0)) or 1.0
    low = max(float(shown.min(initial=high)), _DEPTH * high)
    low = max(min(low, *tolerances), _DEEPEST * high)
    return low / 5, 30 * max(high, *(level for level in tolerances if level < high / _DEEPEST))


def _panel(axes: Axes, one: Descent, tolerances: tuple[float, float], words: Words) -> None:
    axes.set_title(one.name, fontsize=11)
    curves = (
        (words.train, one.train_error, BLUE, "t1", one.memorised, tolerances[0]),
        (words.test, one.recovery_error, RED, "t2", one.generalised, tolerances[1]),
    )
    for name, errors, colour, clock, time, tolerance in curves:
        shown = drawable(errors)
        axes.plot(one.steps[1:], np.where(shown[1:] > 0, shown[1:], np.nan), color=colour, lw=2.2, zorder=3, label=name)
        if one.resting:
            axes.plot([one.steps[-1], axes.get_xlim()[1]], [shown[-1]] * 2, color=colour, lw=1.0, ls=":", zorder=2.5)
        axes.axhline(tolerance, color=colour, lw=0.9, ls=(0, (1, 3)), zorder=2.2)
        _mark(axes, clock, time, tolerance, colour, "never" if one.resting else "not yet")
    axes.legend(fontsize=9, handlelength=1.8, labelcolor="linecolor", loc="upper left", ncols=2)


def _mark(axes: Axes, clock: str, time: int | None, level: float, colour: str, never: str) -> None:
    """A clock beside a falling curve: t1 to the left below it, t2 to the right above it, where neither hides it."""
    end, up = float(axes.get_xlim()[1]), clock == "t2"
    if time is None:
        mark_clock(axes, (end, level), f"{clock}: {never}", colour, (-8, 6 if up else -6), point=False)
        return
    left = time > end ** (_RIGHT if up else _LEFT)
    mark_clock(axes, (time, level), f"{clock} = {time:,}", colour, (-8 if left else 8, 6 if up or not left else -6))


def mark_clock(
    axes: Axes, place: tuple[float, float], text: str, colour: str, offset: tuple[float, float], *, point: bool = True
) -> None:
    """Mark a clock: its name and step beside the point where it strikes; a name alone where it never does.

    Args:
        axes: Where; its steps are on a log axis that begins at 1 or so, and its limits are set.
        place: Step and level.
        text: Such as "t1 = 220".
        colour: Of both.
        offset: Where the text stands, in points to the right and up of the place.
        point: Whether it strikes.
    """
    low, high = axes.get_ylim()
    time, level = max(place[0], 1.0), min(max(place[1], low), high)
    if point:
        axes.plot([time], [level], "o", color=colour, ms=7, mec="white", mew=1.2, zorder=5, clip_on=False)
    axes.annotate(
        text,
        (time, level),
        xytext=offset,
        textcoords="offset points",
        ha="left" if offset[0] > 0 else "right",
        va="bottom" if offset[1] > 0 else "top",
        color=colour,
        fontsize=10,
        fontweight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
        zorder=4,
    )


def _band(axes: Axes, band: Band, last: float) -> None:
    name, first, end = band
    axes.axvspan(first, min(end, 1.2 * last), color=PALE, zorder=0.5)
    axes.annotate(
        name, (min(end, last), 0.98), xycoords=("data", "axes fraction"), xytext=(-4, 0), textcoords="offset points",
        va="top", ha="right", fontsize=9, color=GREY,
    )  # fmt: skip
