"""What the problems accept; what they do not is a `UserError` of one line that names it."""

from typing import Any

import numpy as np
import numpy.typing as npt

from groktimizer.ground import checks
from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.quadratic import Array

_ROOM = 1e-12  # relative, by which lr L may pass 1
_LARGEST = 1e70  # fourth powers of larger entries leave float64


def check_numbers(name: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """Read an array of real numbers of any type, refused with its name where it is ragged or holds something else."""
    try:
        given = np.asarray(value)
    except ValueError:
        raise UserError(f"{name}: rows of different lengths, accepted are arrays of real numbers") from None
    if given.dtype.kind not in "biuf":
        raise UserError(f"{name}: holds {given.dtype}, accepted are real numbers")
    return given


def check_finite(name: str, given: npt.NDArray[Any]) -> None:
    """Refuse entries that are NaN or inf, or so large that the losses would be."""
    if not np.isfinite(given).all():
        raise UserError(f"{name}: holds NaN or inf, accepted are finite numbers")
    size = float(np.abs(given).max(initial=0))
    if size > _LARGEST:
        raise UserError(f"{name}: holds an entry of size {size:.3g}, accepted are sizes up to {_LARGEST:g}")


def check_vector(name: str, value: npt.ArrayLike, length: int) -> Array:
    """Read a vector of finite numbers of a given length, in float64."""
    given = np.asarray(check_numbers(name, value), dtype=np.float64)
    if given.shape != (length,):
        raise UserError(f"{name}: shape {given.shape}, accepted is ({length},)")
    check_finite(name, given)
    return given


def check_lr(lr: npt.ArrayLike, sharpness: float, what: str, *, momentum: bool = False) -> None:
    """Refuse step sizes, of any shape, with ``lr L >= 2``, or above 1 with momentum, for the largest curvature L."""
    most = _largest("lr", lr)
    if momentum and most * sharpness > 1 + _ROOM:
        raise UserError(f"lr={most:g}: may diverge with momentum, accepted are values up to {1 / sharpness:.6g}")
    if not momentum and most * sharpness >= 2:
        raise UserError(f"lr={most:g}: diverges on these {what}, accepted are values below {2 / sharpness:.6g}")


def check_weight(weight: npt.ArrayLike, limit: float) -> None:
    """Refuse weights, of any shape, from `limit` on, the dual norm of X'y, under which 0 is the answer."""
    most = _largest("weight", weight)
    if limit == 0:
        raise UserError(
            "targets: all 0 (or X'y is), there is nothing to learn; accepted are targets with X'y other than 0"
        )
    if most >= limit:
        raise UserError(
            f"weight={most:g}: the answer is 0 from beta_max = {limit:.6g} on, accepted are values below it"
        )


def _largest(name: str, values: npt.ArrayLike) -> float:
    """The largest of positive numbers, refused where they are not."""
    given = np.asarray(values)
    if not given.size:
        raise UserError(f"{name}: empty, accepted is at least one number")
    for value in given.ravel().tolist():
        checks.positive(**{name: value})
    return float(given.max())
