"""The two-clock picture of one run: when it memorised, when it generalised, and what the norms did meanwhile."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from groktimizer.report.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    RED,
    covers,
    drawable,
    house_style,
    log_steps,
    plot_seen,
    score_axis,
)
from groktimizer.results import Record

NEAR_ZERO = 1e-3
NORMS = (("norm_l2", "ℓ2 norm", GREEN), ("norm_l1", "ℓ1 norm", PURPLE), ("norm_nuclear", "nuclear norm", ORANGE))
SHORT = 44  # characters of a title that leave room beside it


@dataclass(frozen=True)
class Frame:
    """What the picture shows, taken from a record.

    Attributes:
        title: task, optimizer and seed.
        steps: evaluated steps, shape (evaluations,).
        train: training accuracy or loss, shape (evaluations,).
        test: the same on unseen data; None when the task has none.
        accuracy: whether the two are accuracies (else losses).
        norms: name -> (steps, norm in the unit).
        unit: what 1 stands for in the norms: "at the start", or "the largest" where one starts near 0.
        marks: words -> step, in order of time.
        delay: generalised minus memorised, None when one of them is missing.
        switch: step at which phase 2 began, None without one.
        outcome: status in words.
    """

    title: str
    steps: np.ndarray
    train: np.ndarray
    test: np.ndarray | None
    accuracy: bool
    norms: Mapping[str, tuple[np.ndarray, np.ndarray]]
    unit: str
    marks: Mapping[str, int]
    delay: int | None
    switch: int | None
    outcome: str


def frame(record: Record) -> Frame:
    """Take from a record what the two-clock picture shows.

    Args:
        record: a finished run.

    Returns:
        The frame that `plot` draws.
    """
    history, summary, spec = record.history, record.summary, record.spec
    accuracy = "train_accuracy" in history
    kind = "accuracy" if accuracy else "loss"
    times = summary["times"]
    switch = summary.get("switch_step")
    norms, unit = _relative_norms(history)
    marks = {word: times.get(word) for word in ("memorised", "generalised", "settled")} | {"phase 2 begins": switch}
    return Frame(
        title=f"{spec['task']['name']}, {spec['optimizer']['name']}, seed {spec['seed']}",
        steps=np.asarray(history["step"]),
        train=np.asarray(history[f"train_{kind}"]),
        test=np.asarray(history[f"test_{kind}"]) if f"test_{kind}" in history else None,
        accuracy=accuracy,
        norms=norms,
        unit=unit,
        marks=dict(sorted(((word, step) for word, step in marks.items() if step is not None), key=lambda m: m[1])),
        delay=times.get("delay"),
        switch=switch,
        outcome=str(summary["status"]),
    )


def _relative_norms(history: Mapping[str, np.ndarray]) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], str]:
    """The norms in one unit: their first values, or their largest ones if one begins below a thousandth of its own."""
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for column, _, _ in NORMS:
        values = drawable(history.get(column, []))
        known = np.isfinite(values)
        if known.any() and values[known].max() > 0:
            found[column] = (np.asarray(history["step"])[known], values[known])
    largest = any(values[0] < NEAR_ZERO * values.max() for _, values in found.values())
    scaled = {
        column: (steps, values / (values.max() if largest else values[0])) for column, (steps, values) in found.items()
    }
    return scaled, "the largest" if largest else "at the start"


def plot(picture: Frame) -> Figure:
    """Draw the two-clock picture.

    Args:
        picture: from `frame`.

    Returns:
        A figure with two panels over one logarithmic step axis: accuracies (or losses) and norms.
    """
    with house_style():
        figure = Figure(figsize=(8.6, 6.0))
        figure.set_layout_engine("constrained", h_pad=0.06, w_pad=0.08)
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.7, 1))
        _curves(top, picture)
        _norms(bottom, picture)
        positive = picture.steps[picture.steps > 0]
        first = float(positive[0]) if positive.size else 1.0
        for axes in (top, bottom):
            log_steps(axes, first, float(picture.steps[-1]))
            _phase(axes, picture)
        figure.draw_without_rendering()
        _marks(top, bottom, picture)
        bottom.set_xlabel("training step (log scale)")
        figure.suptitle(f"{picture.title}\n", x=0.02, ha="left", fontsize=13, fontweight="bold", color=INK)
        place = figure if len(picture.title) <= SHORT else top  # beside the title where there is room
        place.legend(
            *top.get_legend_handles_labels(),
            loc="upper right" if place is figure else "best",
            ncols=2,
            handlelength=1.4,
            labelcolor="linecolor",
        )
        figure.text(0.02, 0.945, _sentence(picture), ha="left", va="top", color=GREY, fontsize=11)
    return figure


def _sentence(picture: Frame) -> str:
    marks = picture.marks
    if picture.delay is not None:
        told = f"memorised at step {marks['memorised']:,}, generalised {picture.delay:,} steps later"
        return told + (f", settled at {marks['settled']:,}" if "settled" in marks else f" ({picture.outcome})")
    if "memorised" in marks:
        return f"memorised at step {marks['memorised']:,}; not generalised in {picture.steps[-1]:,} steps"
    return f"{picture.outcome} after {picture.steps[-1]:,} steps"


def _curves(axes: Axes, picture: Frame) -> None:
    scale = 100.0 if picture.accuracy else 1.0
    curves = [(picture.train, "training data", BLUE)]
    if picture.test is not None:
        curves.append((picture.test, "unseen data", RED))
    covered = covers([(picture.steps, values) for values, _, _ in curves], log=not picture.accuracy)
    for (values, label, colour), under in zip(curves, covered, strict=True):
        plot_seen(axes, picture.steps, scale * values, under, 2.4, color=colour, label=label)
    score_axis(axes, picture.accuracy)


def _norms(axes: Axes, picture: Frame) -> None:
    shown = [(*picture.norms[column], label, colour) for column, label, colour in NORMS if column in picture.norms]
    covered = covers([(steps, values) for steps, values, _, _ in shown])
    for (steps, values, label, colour), under in zip(shown, covered, strict=True):
        plot_seen(axes, steps, values, under, 2.0, color=colour, label=label)
    axes.set_ylabel(f"norm of the weights\n(1 = {picture.unit})")
    axes.set_ylim(bottom=0)
    axes.legend(loc="best", ncols=3, handlelength=1.4, labelcolor="linecolor")


def _phase(axes: Axes, picture: Frame) -> None:
    if picture.switch is not None:
        axes.axvspan(picture.switch, axes.get_xlim()[1], color="#FFF6E0", zorder=0, lw=0)


def _marks(top: Axes, bottom: Axes, picture: Frame) -> None:
    """Draw a line per mark, its words above the upper panel, on as many rows as keep them apart."""
    grouped: dict[int, list[str]] = {}
    for word, step in picture.marks.items():
        grouped.setdefault(step, []).append(word)
    ends: list[float] = []
    for step, words in sorted(grouped.items()):
        place = float(top.transAxes.inverted().transform(top.transData.transform((step, 0)))[0])
        text = f"{' + '.join(words)}: {step:,}"
        width = 0.0135 * len(text) * 0.92
        start = min(max(place - width / 2, 0.0), 1.0 - width)
        row = next((k for k, end in enumerate(ends) if start > end + 0.015), len(ends))
        ends[row : row + 1] = [start + width]
        for axes in (top, bottom):
            axes.axvline(step, color=INK, lw=1.0, ls="--" if "phase 2 begins" in words else "-", alpha=0.55, zorder=1)
        top.annotate(
            text,
            xy=(place, 1.0),
            xytext=(start + width / 2, 1.035 + 0.075 * row),
            xycoords="axes fraction",
            ha="center",
            va="bottom",
            fontsize=9.5,
            color=INK,
            annotation_clip=False,
        )
