"""Heat maps of times over η and λ, with the lines along which theory says that they are equal."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from groktimizer.report.groups import CLOCK, Group, families
from groktimizer.report.style import GREY, INK, house_style

SHOWN = (("memorised", "t1, memorised"), ("settled", "t2, generalised and settled"), ("delay", "delay"))
FEWEST = 3  # values of each axis
LINES = 4  # of equal η λ


@dataclass(frozen=True)
class Map:
    """Median times over a grid of two settings.

    Attributes:
        name: Of the family.
        lr: Values of η, shape (a,).
        decay: Values of λ, shape (b,).
        times: By name, shape (b, a); inf where most seeds have none, nan where nothing was computed.
        clocks: Exact settled times of the same problem, where they were computed, shape (b, a).
    """

    name: str
    lr: np.ndarray
    decay: np.ndarray
    times: Mapping[str, np.ndarray]
    clocks: np.ndarray | None


def maps(groups: Sequence[Group]) -> list[Map]:
    """Find the grids among groups.

    Args:
        groups: From `grouped`.

    Returns:
        A map of each task, method and other setting with at least three values of η and of λ.
    """
    found: list[Map] = []
    exact = {key: some for key, some in _families(groups) if key.partition(", ")[2].startswith(CLOCK)}
    for name, some in _families(groups):
        lr, decay = (sorted({float(group.settings[axis]) for group in some}) for axis in ("lr", "weight_decay"))
        if len(lr) < FEWEST or len(decay) < FEWEST:
            continue
        times = {time: _table(some, lr, decay, time) for time, _ in SHOWN}
        clocks = exact.get(name.replace(some[0].method, CLOCK, 1)) if some[0].method != CLOCK else None
        known = None if clocks is None else _table(clocks, lr, decay, "settled")
        found.append(Map(name, np.array(lr), np.array(decay), times, known))
    return found


def _families(groups: Sequence[Group]) -> list[tuple[str, list[Group]]]:
    axes = ("lr", "weight_decay")
    named = [group for group in groups if all(isinstance(group.settings.get(axis), int | float) for axis in axes)]
    return families(named, axes)


def _table(groups: Sequence[Group], lr: Sequence[float], decay: Sequence[float], time: str) -> np.ndarray:
    table = np.full((len(decay), len(lr)), np.nan)
    for group in groups:
        x, y = float(group.settings["lr"]), float(group.settings["weight_decay"])
        if x in lr and y in decay:
            table[decay.index(y), lr.index(x)] = group.median(time)
    return table


def plot(shown: Map) -> Figure:
    """Draw a map: three panels, one colour scale.

    Args:
        shown: It.

    Returns:
        The figure.
    """
    with house_style():
        figure = Figure(figsize=(11, 3.9), layout="constrained")
        values = np.concatenate([table[np.isfinite(table) & (table > 0)] for table in shown.times.values()])
        low, high = (float(values.min()), float(values.max())) if values.size else (1.0, 10.0)
        norm, colours = LogNorm(low, max(high, low * 1.01)), mpl.colormaps["viridis_r"]
        panels: list[Axes] = list(figure.subplots(1, 3, sharey=True))
        for axes, (time, title) in zip(panels, SHOWN, strict=True):
            _panel(axes, shown, shown.times[time], norm)
            if time != "memorised":  # which decay hardly moves
                _contours(axes, shown)
            axes.set(title=title, xlabel="learning rate η")
        panels[0].set_ylabel("weight decay λ")
        figure.colorbar(ScalarMappable(norm, colours), ax=panels, label="steps", pad=0.01)
    return figure


def _panel(axes: Axes, shown: Map, table: np.ndarray, norm: LogNorm) -> None:
    x, y = np.arange(len(shown.lr)), np.arange(len(shown.decay))
    masked = np.ma.masked_invalid(np.maximum(table, norm.vmin or 1.0))
    axes.pcolormesh(x, y, masked, norm=norm, cmap="viridis_r", shading="nearest", edgecolors="none")
    for row, column in zip(*np.nonzero(np.isinf(table)), strict=True):
        axes.text(column, row, "×", ha="center", va="center", color=GREY)
    for side, values in (("x", shown.lr), ("y", shown.decay)):
        kept = list(range(0, len(values), max(1, math.ceil(len(values) / 5))))
        getattr(axes, f"set_{side}ticks")(kept, [f"{values[place]:.3g}" for place in kept])
    axes.grid(visible=False)


def _contours(axes: Axes, shown: Map) -> None:
    """Exact times where they are known; else lines of equal η λ, along which descent with decay takes as long."""
    x, y = np.arange(len(shown.lr)), np.arange(len(shown.decay))
    if shown.clocks is not None and np.isfinite(shown.clocks).sum() > LINES:
        levels = np.unique(np.quantile(shown.clocks[np.isfinite(shown.clocks)], np.linspace(0.1, 0.9, LINES)))
        axes.contour(x, y, np.ma.masked_invalid(shown.clocks), levels=levels, colors=INK, linestyles="dashed")
    else:
        product = np.log10(np.outer(shown.decay, shown.lr))
        levels = np.linspace(product.min(), product.max(), LINES + 2)[1:-1]
        axes.contour(x, y, product, levels=levels, colors=INK, linestyles="dotted", linewidths=0.9)
