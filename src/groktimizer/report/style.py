"""House style of the figures: colours that colour-blind readers can tell apart, few lines, words beside the curves.

Colour and marker belong to a method: `METHODS`. Curves that coincide are both seen: `covers`.
"""

import hashlib
import io
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from groktimizer.results import write_bytes

BLUE, RED, GREEN, PURPLE, SKY, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
INK, GREY, PALE = "#222222", "#707070", "#F2F2EE"
LARGEST = 1e100
HEAD = 0.78  # inches above the panels
DEEPEST = 1e-8  # part of the largest value at which a logarithmic axis ends: below is rounding
CASING = 2.0  # points by which a curve is wider where another covers it


class Look(NamedTuple):
    """How a method is drawn.

    Attributes:
        colour: hexadecimal.
        marker: matplotlib's name of a shape; none is one of those that stand for times.
    """

    colour: str
    marker: str


METHODS: Mapping[str, Look] = {
    "groktimizer": Look(BLUE, "s"),
    "adamw": Look(RED, "^"),
    "adam-l2": Look(GREEN, "P"),
    "muon": Look(PURPLE, "X"),
    "grokfast": Look(ORANGE, "p"),
    "orthograd": Look(SKY, "h"),
    "adam": Look("#8C6D31", "v"),
    "sgd": Look("#555555", "<"),
    "adam-subgradient": Look("#882255", "8"),
    "subgradient": Look("#999933", ">"),
    "proximal": Look("#44AA99", "d"),
    "lion": Look("#117733", r"$\mathbf{L}$"),
    "sam": Look("#CC6677", r"$\mathbf{S}$"),
    "schedulefree": Look("#997700", r"$\mathbf{F}$"),
    "clip": Look("#004488", r"$\mathbf{C}$"),
    "pinned": Look("#DDAA33", r"$\mathbf{N}$"),
    "two-phase": Look("#EE7788", r"$\mathbf{2}$"),
    "lbfgs": Look("#7F3C8D", r"$\mathbf{B}$"),
}
OTHERS = (Look("#AA4499", "*"), Look("#6699CC", "H"), Look("#661100", "*"), Look("#888888", "H"), Look("#332288", "*"))
TUNED = {"-tuned": 0.62, " (tuned)": 0.4}  # a darker shade of the method's colour


def look(label: str) -> Look:
    """Find the colour and the marker of a method; they are the same in every picture.

    Args:
        label: name of the method, perhaps with the mark of its tuning, perhaps with its options in brackets.

    Returns:
        Those of `METHODS`, or of `OTHERS` by the hash of a name that is not there.

    Example:
        >>> look("groktimizer (penalty=l1)").colour, look("adamw-tuned"), look("mine:make") == look("mine:make")
        ('#0072B2', Look(colour='#843a00', marker='^'), True)
    """
    full, gap, rest = label.partition(" (")  # the mark of a tuning here, or options
    name = full.removesuffix("-tuned")
    shade = TUNED.get(gap + rest, TUNED.get(full.removeprefix(name), 1.0))
    colour, marker = METHODS.get(name) or OTHERS[hashlib.sha256(name.encode()).digest()[0] % len(OTHERS)]
    parts = [round(shade * int(colour[place : place + 2], 16)) for place in (1, 3, 5)]
    return Look(colour if shade == 1 else "#" + "".join(f"{part:02x}" for part in parts), marker)


def covers(curves: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]], *, log: bool = False) -> list[np.ndarray]:
    """Count at each point of a curve the later curves that lie on it, to within a hundredth of what all of them span.

    Args:
        curves: abscissae and ordinates, in the order in which they are drawn.
        log: whether the ordinates are on a logarithmic axis.

    Returns:
        One array of counts a curve.

    Example:
        >>> covers([([1, 2, 3], [0, 1, 1]), ([1, 2, 3], [0, 0.5, 1]), ([1, 2, 3], [5, 5, 5])])[0].tolist()
        [1, 0, 1]
    """
    shown = [(np.asarray(x, dtype=np.float64), _height(y, log)) for x, y in curves]
    known = np.concatenate([np.empty(0), *(y[np.isfinite(y)] for _, y in shown)])
    span = float(np.ptp(known)) if known.size else 0.0
    near = 0.01 * (min(span, -np.log(DEEPEST)) if log else span)
    counts = [np.zeros(len(x), dtype=int) for x, _ in shown]
    for place, (x, y) in enumerate(shown):
        for above, values in shown[place + 1 :]:
            order = np.argsort(above)
            there = np.interp(x, above[order], values[order], left=np.nan, right=np.nan) if above.size else np.nan
            counts[place] += np.abs(there - y) <= near
    return counts


def _height(y: npt.ArrayLike, log: bool) -> np.ndarray:
    values = drawable(y)
    return np.log(np.where(values > 0, values, np.nan)) if log else values


def plot_seen(
    axes: Axes,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    covered: np.ndarray,
    width: float,
    *,
    marks: bool = False,
    **look: Any,
) -> None:
    """Draw a curve that is wider where others will lie on it, so that it is seen there too.

    Args:
        axes: where.
        x: abscissae.
        y: ordinates.
        covered: how many curves lie on each point, from `covers`.
        width: of the curve, in points.
        marks: whether each point is marked.
        **look: the rest for matplotlib.
    """
    for more in range(int(covered.max(initial=0)) + 1):
        wide = width + CASING * more
        shape: dict[str, Any] = {"marker": "o", "ms": 2.8 + wide} if marks else {}
        axes.plot(x, np.where(covered >= more, drawable(y), np.nan), lw=wide, **shape, **look)
        look["label"] = None  # one entry in the legend


RULES: dict[Any, Any] = {
    "font.size": 11,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "axes.grid": True,
    "grid.color": "#E4E4E0",
    "grid.linewidth": 0.8,
    "lines.linewidth": 2.0,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.dpi": 130,
}


@contextmanager
def house_style() -> Generator[None]:
    """Apply the house style inside a ``with`` block and leave matplotlib's settings alone outside."""
    with mpl.rc_context(RULES):
        yield


def drawable(values: npt.ArrayLike) -> np.ndarray:
    """Leave a gap where a curve cannot be drawn: infinite values, and those so large that a scale overflows.

    Args:
        values: Ordinates.

    Returns:
        The same in float64, not-a-number there.

    Example:
        >>> drawable([1.0, float("inf"), -1e300]).tolist()
        [1.0, nan, nan]
    """
    given = np.asarray(values, dtype=np.float64)
    return np.where(np.abs(given) <= LARGEST, given, np.nan)


def headline(figure: Figure, title: str, sentence: str) -> None:
    """Write the title of a figure and below it what to see, in the room that `HEAD` inches leave above the panels."""
    height = float(figure.get_figheight())
    figure.text(0.02, 1 - 0.12 / height, title, ha="left", va="top", fontsize=13, fontweight="bold", color=INK)
    figure.text(0.02, 1 - 0.44 / height, sentence, ha="left", va="top", fontsize=10.5, color=GREY)


def panels_below(width: float, height: float) -> Figure:
    """Make a figure whose panels leave room for a `headline`; sizes in inches."""
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("constrained", h_pad=0.08, w_pad=0.08, rect=(0, 0, 1, 1 - HEAD / height))
    return figure


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


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all.

    Args:
        figure: what to draw; made without pyplot, so no window and no display is needed.
        path: where to; ends in ``.png``.

    Returns:
        The path.
    """
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": "groktimizer"})
    write_bytes(path, content.getvalue())
    return path


def score_axis(axes: Axes, accuracy: bool, of: str = "") -> None:
    """Make the vertical axis one of accuracies in %, or a logarithmic one of losses, `of` the data named before it."""
    if accuracy:
        axes.set(ylim=(-3, 104), ylabel=f"{of}accuracy (%)")
        axes.set_yticks([0, 25, 50, 75, 100])
    else:
        axes.set(yscale="log", ylabel=f"{of}loss (log scale)")


def log_steps(axes: Axes, first: float, last: float) -> None:
    """Make a step axis that is logarithmic from the first evaluated step on and still shows step 0.

    Args:
        axes: where.
        first: the first evaluated step after 0.
        last: the last step shown.
    """
    first = max(first, 1.0)
    axes.set_xscale("symlog", linthresh=first, linscale=0.4)
    axes.set_xlim(0, max(last, first * 2) * 1.02)
    powers = [10**k for k in range(12) if first <= 10**k <= last]
    axes.set_xticks([0, *powers], ["0", *(f"{power:,}" for power in powers)])
    minor = [d * 10**k for k in range(12) for d in range(2, 10) if first <= d * 10**k <= last]
    axes.set_xticks(minor, [""] * len(minor), minor=True)
