"""What the commands print and the predictions read: plain lines, steps, bounds, ``.npy`` files."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from groktimizer.cli.progress import plain_console

if TYPE_CHECKING:
    from groktimizer.theory.ridge import Bound

Array = np.ndarray


def line(text: str) -> None:
    """Print a line as it is."""
    plain_console().print(text, highlight=False, markup=False, soft_wrap=True)


def step(time: float | None) -> str:
    """A step, or never."""
    return "never" if time is None or not math.isfinite(time) else f"{time:,.0f}"


def bound(found: "Bound") -> str:
    """A bound with its name, and the conditions that fail."""
    value = f"{found.value:.4g}" if abs(found.value) < 1 else f"{found.value:,.0f}"
    if math.isnan(found.value):
        value = "nothing: the log of a number <= 0"
    held = "conditions hold" if found.guaranteed else f"not guaranteed: {'; '.join(found.failing)}"
    return f"{found.theorem:<20} {found.quantity} {value}  ({held})"


def read_array(name: str, path: Path) -> Array:
    """Read a ``.npy`` file.

    Args:
        name: Of the option.
        path: The file.

    Returns:
        The array.

    Raises:
        ValueError: If it cannot be read as an array of numbers.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or "not a .npy file of numbers"
        raise ValueError(f"--{name} {path}: {reason}; accepted is what numpy.save wrote") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise ValueError(f"--{name} {path}: holds {getattr(values, 'dtype', 'an archive')}, accepted are real numbers")
    return values
