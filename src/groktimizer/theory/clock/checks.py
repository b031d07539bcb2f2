"""What the problems accept, said in one line when it does not."""

from typing import Any

import numpy as np
import numpy.typing as npt

from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.quadratic import Array

_LARGEST = 1e70  # fourth powers of larger entries leave float64


def check_numbers(name: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """Read an array of real numbers of any type.

    Args:
        name: The argument's name.
        value: Array-like.

    Returns:
        The array.

    Raises:
        UserError: If it is ragged or holds something else.
    """
    try:
        given = np.asarray(value)
    except ValueError:
        raise UserError(f"{name}: rows of different lengths, accepted are arrays of real numbers") from None
    if given.dtype.kind not in "biuf":
        raise UserError(f"{name}: holds {given.dtype}, accepted are real numbers")
    return given


def check_finite(name: str, given: npt.NDArray[Any]) -> None:
    """Refuse entries that are NaN or inf, or so large that the losses would be.

    Args:
        name: The argument's name.
        given: Numbers.

    Raises:
        UserError: If there is such an entry.
    """
    if not np.isfinite(given).all():
        raise UserError(f"{name}: holds NaN or inf, accepted are finite numbers")
    size = float(np.abs(given).max(initial=0))
    if size > _LARGEST:
        raise UserError(f"{name}: holds an entry of size {size:.3g}, accepted are sizes up to {_LARGEST:g}")


def check_vector(name: str, value: npt.ArrayLike, length: int) -> Array:
    """Read a vector.

    Args:
        name: The argument's name.
        value: Array-like.
        length: The length it must have.

    Returns:
        The vector in float64.

    Raises:
        UserError: If the shape differs or an entry is not finite.
    """
    given = np.asarray(check_numbers(name, value), dtype=np.float64)
    if given.shape != (length,):
        raise UserError(f"{name}: shape {given.shape}, accepted is ({length},)")
    check_finite(name, given)
    return given
