"""One figure of a comparison: what each method's test accuracy did, and when it got where."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from groktimizer.measures import median_with_dnf
from groktimizer.report.style import GREY, INK, drawable, house_style, log_steps, look, score_axis
from groktimizer.results import Record

SIGNS = 12  # of a method along a curve; those of different methods stand beside each other
SIZES = {"memorised": 8.0, "generalised": 6.5, "settled": 13.0}
WIDEST = 28  # characters of a name beside the curves; options go to the next line
Curve = tuple[np.ndarray, np.ndarray]
TIMES = (("memorised", "o", "white"), ("generalised", "D", "white"), ("settled", "o", None))


@dataclass(frozen=True)
class Line:
    """One method in one setting.

    Attributes:
        label: its name.
        curves: (steps, test accuracy in % or test loss) of each seed, None where the run failed.
        times: name -> time of each seed, None for DNF; a run that failed is one.
        budget: steps each run was given, 0 if all failed.
    """

    label: str
    curves: Sequence[Curve | None]
    times: Mapping[str, Sequence[int | None]]
    budget: int

    @property
    def settled(self) -> float:
        """Median settled time, +∞ if half of the seeds or more did not settle."""
        return median_with_dnf(self.times["settled"])

    @property
    def failed(self) -> int:
        """How many runs failed."""
        return sum(curve is None for curve in self.curves)

    @property
    def shortfall(self) -> str:
        """Why some seeds did not settle: the budget was too short, or their runs failed; empty if all settled."""
        unsettled = sum(time is None for time in self.times["settled"]) - self.failed
        told = [f"not settled in {self.budget:,}"] if unsettled else []
        return ", ".join(told + ([f"{self.failed} failed"] if self.failed else []))

    @property
    def typical(self) -> int:
        """The seed whose settled time is the median, of those whose runs did not fail; −1 if all failed."""
        times = [math.inf if time is None else time for time in self.times["settled"]]
        order = sorted((k for k, curve in enumerate(self.curves) if curve is not None), key=times.__getitem__)
        return order[(len(order) - 1) // 2] if order else -1


@dataclass(frozen=True)
class Frame:
    """What the figure shows.

    Attributes:
        title: of the whole.
        panels: setting -> methods, the fastest first.
        accuracy: whether the curves are accuracies (else losses).
    """

    title: str
    panels: Mapping[str, Sequence[Line]]
    accuracy: bool

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> "Frame":
        """Take the frame out of the content of a record, where `content` put it."""
        panels = {name: [Line(**line) for line in lines] for name, lines in kept["panels"].items()}
        return cls(kept["title"], panels, kept["accuracy"])

    def content(self) -> dict[str, Any]:
        """Everything as plain nested content, with arrays."""
        return asdict(self)


def frame(groups: Mapping[str, Mapping[str, Sequence[Record | None]]], title: str) -> Frame:
    """Take from records what the figure shows.

    Args:
        groups: setting -> method -> its records, one per seed, None where the run failed.
        title: of the figure.

    Returns:
        The frame that `plot` draws.
    """
    records = [record for methods in groups.values() for runs in methods.values() for record in runs]
    accuracy = all("test_accuracy" in record.history for record in records if record is not None)
    panels = {
        setting: sorted((_line(label, runs, accuracy) for label, runs in methods.items() if runs), key=_speed)
        for setting, methods in groups.items()
    }
    return Frame(title, panels, accuracy)


def _speed(line: Line) -> tuple[float, float]:
    reached = [math.inf if time is None else time for time in line.times["memorised"]]
    return line.settled, min(reached, default=math.inf)


def _line(label: str, runs: Sequence[Record | None], accuracy: bool) -> Line:
    column, scale = ("test_accuracy", 100.0) if accuracy else ("test_loss", 1.0)

    def curve(run: Record | None) -> Curve | None:
        return None if run is None else (np.asarray(run.history["step"]), scale * np.asarray(run.history[column]))

    return Line(
        label,
        [curve(run) for run in runs],
        {name: [None if run is None else run.summary["times"][name] for run in runs] for name, _, _ in TIMES},
        max((int(run.spec["steps"]) for run in runs if run is not None), default=0),
    )


def plot(picture: Frame) -> Figure:
    """Draw the figure: one row per setting, curves on the left, times on the right.

    Args:
        picture: from `frame`.

    Returns:
        The figure.
    """
    heights = [max(2.4, 0.55 * len(lines) + 0.9) for lines in picture.panels.values()]
    with house_style():
        figure = Figure(figsize=(11.5, sum(heights) + 1.1))
        figure.set_layout_engine("constrained", h_pad=0.08, w_pad=0.06)
        grid = figure.subplots(len(picture.panels), 2, squeeze=False, width_ratios=(1, 1.15), height_ratios=heights)
        for (name, lines), (left, right) in zip(picture.panels.items(), grid, strict=True):
            _curves(left, lines, picture.accuracy)
            _times(right, lines)
            left.set_title(f"{name}: " * (len(picture.panels) > 1) + "accuracy on unseen data" * picture.accuracy)
            right.set_title("when each method got there")
        for axes in grid[-1]:
            axes.set_xlabel("training step (log scale)")
        figure.suptitle(picture.title, x=0.01, ha="left", fontsize=14, fontweight="bold", color=INK)
        figure.legend(handles=_key(), loc="outside lower right", ncols=4, fontsize=10, handletextpad=0.4)
    return figure


def _curves(axes: Axes, lines: Sequence[Line], accuracy: bool) -> None:
    drawn = [curve for line in lines for curve in line.curves if curve is not None]
    if not drawn:
        axes.text(0.5, 0.5, "every run failed", transform=axes.transAxes, ha="center", va="center", color=GREY)
    first = min((float(steps[1]) if len(steps) > 1 else 1.0 for steps, _ in drawn), default=1.0)
    last = max((float(steps[-1]) for steps, _ in drawn), default=1.0)
    for turn, line in reversed(list(enumerate(lines))):
        colour, marker = look(line.label)
        for k, curve in enumerate(line.curves):
            if curve is None:
                continue
            (steps, values), bold = curve, k == line.typical
            width, alpha = (2.2, 1.0) if bold else (0.8, 0.4)
            axes.plot(steps, drawable(values), color=colour, lw=width, alpha=alpha)
            if bold:
                axes.plot(steps[-1], drawable(values)[-1], "|", color=colour, ms=9, mew=2)
                places = _signs(steps, (first, last), turn / len(lines))
                axes.plot(
                    steps[places], drawable(values)[places], ls="", marker=marker, color=colour, ms=7, mec="white",
                    mew=0.6, zorder=2.5,
                )  # fmt: skip
    log_steps(axes, first, last)
    score_axis(axes, accuracy, "test ")


def _signs(steps: np.ndarray, ends: tuple[float, float], turn: float) -> np.ndarray:
    """Where a method's markers stand on its curve, so that each of several curves that coincide shows its own.

    Args:
        steps: evaluated steps.
        ends: of the logarithmic axis.
        turn: in [0, 1): where among the markers of the other methods.

    Returns:
        Places in `steps`, perhaps none.
    """
    wanted = np.geomspace(ends[0], max(ends[1], 2 * ends[0]), SIGNS + 1)
    wanted = wanted[:-1] * (wanted[1:] / wanted[:-1]) ** turn
    return np.unique(np.searchsorted(steps, wanted[(wanted >= steps[0]) & (wanted <= steps[-1])]))


def _times(axes: Axes, lines: Sequence[Line]) -> None:
    """Draw a row per method: range over seeds as a bar, median as a mark, an arrow where a seed never settled."""
    known = [t for line in lines for times in line.times.values() for t in times if t]
    low = min(known, default=1) / 1.6
    budgets = [line.budget for line in lines if None in line.times["settled"] and line.budget]
    high = max([*known, *budgets], default=10) * 1.25
    for row, line in enumerate(lines):
        colour = look(line.label).colour
        _one_method(axes, row, line, colour, (low, high))
        success = sum(time is not None for time in line.times["settled"])
        axes.text(
            1.02, row, f"{success}/{len(line.times['settled'])}", transform=axes.get_yaxis_transform(), va="center",
            color=colour, fontweight="bold",
        )  # fmt: skip
    axes.text(1.02, -0.75, "settled", transform=axes.get_yaxis_transform(), color=GREY, fontsize=9, va="center")
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set(xlim=(low, high), ylim=(len(lines) - 0.4, -0.6))
    names = [fill(line.label, WIDEST, break_long_words=False, break_on_hyphens=False) for line in lines]
    axes.set_yticks(range(len(lines)), names)
    for label, line in zip(axes.get_yticklabels(), lines, strict=True):
        label.set_color(look(line.label).colour)
        label.set_fontweight("bold")
    axes.grid(visible=False, axis="y")


def _one_method(axes: Axes, row: int, line: Line, colour: str, ends: tuple[float, float]) -> None:
    """Draw the row of a method; `ends` are those of the step axis, beyond which an arrow would cross the names."""
    low, high = ends
    reached = [t for times in line.times.values() for t in times if t is not None]
    if reached:
        axes.plot([min(reached), max(reached)], [row, row], color=colour, lw=1.4, alpha=0.6, zorder=1)
    for name, marker, face in TIMES:
        times = [t for t in line.times[name] if t is not None]
        axes.plot(
            times, [row] * len(times), ls="", marker=marker, ms=SIZES[name], mew=1.8,
            color=colour, markerfacecolor=face or colour, alpha=0.85, zorder=4 if name == "generalised" else 3,
        )  # fmt: skip
    if line.shortfall:
        start = max(low, *(reached or [high / 3]))
        axes.annotate(
            "", xy=(high, row), xytext=(start, row),
            arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.4, "ls": ":", "shrinkA": 7},
        )  # fmt: skip
        axes.annotate(
            line.shortfall,
            (high, row),
            (-8, 5),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=9,
            color=colour,
        )


def _key() -> list[Line2D]:
    meaning = ("memorised the training data", "generalised", "settled: stayed there (a mark per seed)")
    style: dict[str, Any] = {"ls": "", "mew": 1.8, "color": GREY}
    return [
        Line2D([], [], marker=marker, ms=0.8 * SIZES[name], markerfacecolor=face or GREY, label=words, **style)
        for (name, marker, face), words in zip(TIMES, meaning, strict=True)
    ]
