"""What the commands print and the predictions read: plain lines, tables, steps, bounds, ``.npy`` files."""

import math
import tokenize
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from groktimizer.cli.files import write_result
from groktimizer.cli.progress import plain_console
from groktimizer.ground.errors import UserError
from groktimizer.ground.memory import check_memory
from groktimizer.theory.clock.rounding import rounded
from groktimizer.theory.clock.search import LATEST

if TYPE_CHECKING:
    from groktimizer.theory.ridge import Bound

Array = np.ndarray

LEAST, MOST = 1e-100, 1e60  # sizes of options whose squares and products stay within float64
_NARROWEST = 9  # characters of a column


def line(text: str) -> None:
    """Print a line as it is."""
    plain_console().print(text, highlight=False, markup=False, soft_wrap=True)


class Told:
    """The lines of a command, printed as they come; where a JSON file is wanted, not before that is written.

    So a reader who has seen enough and closes the pipe loses nothing of the file.

    Args:
        json: The file, or None.
    """

    def __init__(self, json: Path | None) -> None:
        self._json = json
        self._kept: list[str] = []

    def say(self, text: str) -> None:
        """Print a line, now or in the end."""
        if self._json is None:
            line(text)
        else:
            self._kept.append(text)

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Print rows of cells, the first column to the left and the others to the right, each as wide as it must be."""
        widths = [max(_NARROWEST, *map(len, column)) for column in zip(*rows, strict=True)]
        for first, *others in rows:
            cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
            self.say("  ".join([f"{first:<{widths[0]}}", *cells]))

    def finish(self, content: Mapping[str, object]) -> None:
        """Write the file, if one is wanted, and then print what was kept."""
        write_result(self._json, content)
        for text in self._kept:
            line(text)


def step(time: float | None, side: str = "~") -> str:
    """A step, or never.

    Args:
        time: Steps; None or inf for never.
        side: ">=" of a lower bound, "<=" of an upper one, "~" of neither.

    Returns:
        The text.
    """
    if time is None or not math.isfinite(time):
        return "never"
    return rounded({">=": math.floor, "<=": math.ceil, "~": round}[side](time), side)


def bound(found: "Bound") -> str:
    """A bound with its name, what is taken on trust, and what is the case where a condition fails."""
    value = found.rounded
    if math.isinf(found.value):
        value = "nothing: it is infinite"
    if math.isnan(found.value):
        value = "nothing: the log of a number <= 0"
    return f"{found.theorem:<20} {found.quantity} {value}  ({found.standing})"


def check_sizes(**options: float | None) -> None:
    """Refuse options whose squares and products are beyond floating-point numbers.

    What is 0, NaN or infinite passes: whether it is accepted is the theory's to say.

    Args:
        options: Values by option, with underscores.

    Raises:
        UserError: If one is too small or too large.
    """
    for name, value in options.items():
        size = abs(value or 0.0)
        if (0 < size < LEAST) or MOST < size < math.inf:
            raise UserError(f"--{name.replace('_', '-')} {value!r}: accepted are sizes from {LEAST:g} to {MOST:g}")


def check_steps(**options: int | None) -> None:
    """Refuse steps beyond those that are exact numbers.

    Args:
        options: Values by option, with underscores.

    Raises:
        UserError: If one is too large.
    """
    for name, value in options.items():
        if value is not None and value > LATEST:
            raise UserError(f"--{name.replace('_', '-')} {value}: accepted are steps up to {LATEST:,}")


def read_array(name: str, path: Path) -> Array:
    """Read a ``.npy`` file.

    Args:
        name: Of the option.
        path: The file.

    Returns:
        The array.

    Raises:
        UserError: If it cannot be read as an array of numbers, holds fewer than it promises, or does not fit into
            memory.
    """
    try:
        shape, kind, held = _header(path)
    except (OSError, ValueError, EOFError, *_ODD_HEADERS) as error:
        reason = getattr(error, "strerror", None) or "not a .npy file of numbers"
        raise UserError(f"--{name} {path}: {reason}; accepted is what numpy.save wrote") from error
    if kind.kind not in "fiu":
        raise UserError(f"--{name} {path}: holds {kind}, accepted are real numbers")
    promised = math.prod(shape)
    if min(shape, default=0) < 0 or promised * kind.itemsize > held:
        raise UserError(
            f"--{name} {path}: promises shape {shape}, but is too short for it; accepted is what numpy.save wrote"
        )
    check_memory(f"--{name} {path}, shape {shape}", promised, item=2 * max(kind.itemsize, 8))
    return np.load(path, allow_pickle=False)


# What the header's own parser lets through of texts that are no headers.
_ODD_HEADERS = (SyntaxError, TypeError, tokenize.TokenError, RecursionError, MemoryError)


def _header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape and type that a ``.npy`` file promises, and the bytes that it holds after saying so."""
    with path.open("rb") as file:
        major, _ = np.lib.format.read_magic(file)
        first = major == 1
        read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        shape, _, kind = read(file)
        return shape, kind, path.stat().st_size - file.tell()
