"""What a sparse problem accepts, said in one line when it does not."""

import numpy as np
import numpy.typing as npt

from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.checks import check_numbers
from groktimizer.theory.clock.quadratic import Array

FARTHEST = 10**12  # the last step whose state can be asked for: later ones hang on the rounding of X a - y


def check_matrix(name: str, value: npt.ArrayLike) -> Array:
    """Read a matrix in float64, refused unless it is one of finite real numbers and not empty."""
    given = np.asarray(check_numbers(name, value), dtype=np.float64)
    if given.ndim != 2 or 0 in given.shape:
        raise UserError(f"{name}: shape {given.shape}, accepted is (N, n) with N, n >= 1")
    if not np.isfinite(given).all():
        raise UserError(f"{name}: holds NaN or inf, accepted are finite numbers")
    return given


def check_steps(t: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Read steps, whole numbers between 0 and 1e12, of any shape."""
    given = np.asarray(check_numbers("t", t), dtype=np.float64)
    if given.size and not (np.isfinite(given).all() and given.min() >= 0 and given.max() <= FARTHEST):
        raise UserError("t: holds steps that are negative, not finite or beyond 1e12, accepted are 0 to 1e12")
    if (given != np.floor(given)).any():
        raise UserError("t: holds fractions of a step, accepted are whole numbers")
    return given.astype(np.int64)
