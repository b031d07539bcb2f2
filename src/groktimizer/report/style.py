"""House style of the figures: colours that colour-blind readers can tell apart, few lines, words beside the curves."""

import io
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from groktimizer.results import write_bytes

BLUE, RED, GREEN, PURPLE, SKY, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
INK, GREY, PALE = "#222222", "#707070", "#F2F2EE"
LARGEST = 1e100
METHODS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, "#8C6D31", "#555555")

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
