"""What a ridge problem accepts, said in one line when it does not."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from groktimizer.ground.errors import UserError
from groktimizer.theory.ridge.spectrum import Array, Features, column_blocks

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


def check_features(value: npt.ArrayLike) -> Features:
    """Read the features; float32 stays float32.

    Args:
        value: Array-like, shape (n, m).

    Returns:
        The features.

    Raises:
        UserError: If it is not a non-empty matrix of finite numbers.
    """
    given = check_numbers("features", value)
    if given.dtype != np.float32:
        given = np.asarray(given, dtype=np.float64)
    if given.ndim != 2 or 0 in given.shape:
        raise UserError(f"features: shape {given.shape}, accepted is (n, m) with n, m >= 1")
    for _, block in column_blocks(given):
        check_finite("features", block)
    return given


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


def check_positive(name: str, value: float) -> None:
    """Refuse what is not a positive finite number.

    Args:
        name: The argument's name.
        value: Its value.

    Raises:
        UserError: If it is not positive and finite.
    """
    if not (_is_finite(value) and value > 0):
        raise UserError(f"{name}={value!r}: accepted are positive finite numbers")


def check_not_negative(name: str, value: float) -> None:
    """Refuse what is not a finite number from 0 on.

    Args:
        name: The argument's name.
        value: Its value.

    Raises:
        UserError: If it is negative or not finite.
    """
    if not (_is_finite(value) and value >= 0):
        raise UserError(f"{name}={value!r}: accepted are finite numbers >= 0")


def _is_finite(value: float) -> bool:
    """Whether it is a finite real number, of whatever type it is."""
    try:
        return math.isfinite(value)
    except (TypeError, ValueError, OverflowError):
        return False


def check_settings(
    lr: float, weight_decay: float, momentum: float | str, switch: int | None, flow: bool, damping: float
) -> None:
    """Check the settings of a run against each other.

    Args:
        lr: Step size eta.
        weight_decay: lambda.
        momentum: mu or "critical".
        switch: Step or None.
        flow: Gradient flow.
        damping: zeta.

    Raises:
        UserError: Naming the first that is not accepted.
    """
    check_positive("lr", lr)
    check_positive("damping", damping)
    check_not_negative("weight_decay", weight_decay)
    if isinstance(momentum, str):
        if momentum != "critical":
            raise UserError(f"momentum={momentum!r}: accepted are numbers in [0, 1) and 'critical'")
        if weight_decay == 0:
            raise UserError("weight_decay=0: momentum='critical' needs weight_decay > 0")
    elif not 0 <= momentum < 1:
        raise UserError(f"momentum={momentum!r}: accepted are numbers in [0, 1) and 'critical'")
    if flow and momentum != 0:
        raise UserError(f"momentum={momentum!r}: gradient flow takes momentum 0")
    if switch is not None and not _is_step(switch):
        raise UserError(f"switch={switch!r}: accepted are None and whole steps >= 0")


def _is_step(value: object) -> bool:
    """Whether it is a whole number from 0 on."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer):
        return False
    return bool(math.isfinite(value) and value >= 0 and int(value) == value)
