"""What a ridge problem accepts, said in one line when it does not."""

import math

import numpy as np
import numpy.typing as npt

from groktimizer.theory.ridge.spectrum import Array, Features, column_blocks


def check_features(value: npt.ArrayLike) -> Features:
    """Read the features; float32 stays float32.

    Args:
        value: Array-like, shape (n, m).

    Returns:
        The features.

    Raises:
        ValueError: If it is not a non-empty matrix of finite numbers.
    """
    given = np.asarray(value)
    if given.dtype != np.float32:
        given = np.asarray(given, dtype=np.float64)
    if given.ndim != 2 or 0 in given.shape:  # noqa: PLR2004
        raise ValueError(f"features: shape {given.shape}, accepted is (n, m) with n, m >= 1")
    if not all(np.isfinite(block).all() for _, block in column_blocks(given)):
        raise ValueError("features: holds NaN or inf, accepted are finite numbers")
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
        ValueError: If the shape differs or an entry is not finite.
    """
    given = np.asarray(value, dtype=np.float64)
    if given.shape != (length,):
        raise ValueError(f"{name}: shape {given.shape}, accepted is ({length},)")
    if not np.isfinite(given).all():
        raise ValueError(f"{name}: holds NaN or inf, accepted are finite numbers")
    return given


def check_positive(name: str, value: float) -> None:
    """Refuse what is not a positive finite number.

    Args:
        name: The argument's name.
        value: Its value.

    Raises:
        ValueError: If it is not positive and finite.
    """
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name}={value!r}: accepted are positive finite numbers")


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
        ValueError: Naming the first that is not accepted.
    """
    check_positive("lr", lr)
    check_positive("damping", damping)
    if not (math.isfinite(weight_decay) and weight_decay >= 0):
        raise ValueError(f"weight_decay={weight_decay!r}: accepted are finite numbers >= 0")
    if isinstance(momentum, str):
        if momentum != "critical":
            raise ValueError(f"momentum={momentum!r}: accepted are numbers in [0, 1) and 'critical'")
        if weight_decay == 0:
            raise ValueError("weight_decay=0: momentum='critical' needs weight_decay > 0")
    elif not 0 <= momentum < 1:
        raise ValueError(f"momentum={momentum!r}: accepted are numbers in [0, 1) and 'critical'")
    if flow and momentum != 0:
        raise ValueError(f"momentum={momentum!r}: gradient flow takes momentum 0")
    if switch is not None and (isinstance(switch, bool) or int(switch) != switch or switch < 0):
        raise ValueError(f"switch={switch!r}: accepted are None and whole steps >= 0")
