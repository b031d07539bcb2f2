"""What a ridge problem accepts, said in one line when it does not."""

import numpy as np
import numpy.typing as npt

from groktimizer.ground.checks import not_negative, positive, whole, word
from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.checks import check_finite, check_numbers, check_vector
from groktimizer.theory.ridge.spectrum import Features, column_blocks

__all__ = ["check_features", "check_settings", "check_vector"]


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
    positive(lr=lr, damping=damping)
    not_negative(weight_decay=weight_decay)
    if isinstance(momentum, str):
        word("momentum", momentum, ["critical", "a number in [0, 1)"])
        if weight_decay == 0:
            raise UserError("weight_decay=0: momentum='critical' needs weight_decay > 0")
    elif not 0 <= momentum < 1:
        raise UserError(f"momentum={momentum!r}: expected a number in [0, 1) or critical")
    if flow and momentum != 0:
        raise UserError(f"momentum={momentum!r}: gradient flow takes momentum 0")
    if switch is not None:
        whole("switch", switch, least=0, also="or None")
