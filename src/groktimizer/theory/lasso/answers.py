"""Direct answers, none of them reached by descent: interpolants, basis pursuit."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.checks import check_vector
from groktimizer.theory.clock.quadratic import Array
from groktimizer.theory.lasso.checks import check_matrix

_ZERO = 1e-7  # what the linear program leaves of a zero, relative


def interpolant(features: npt.ArrayLike, targets: npt.ArrayLike, a0: npt.ArrayLike | None = None) -> Array:
    """Where descent without penalty goes from a0 (n,) or 0: the nearest least-squares fit, ``a0 - X^+ (X a0 - y)``."""
    x = check_matrix("features", features)
    y = check_vector("targets", targets, x.shape[0])
    start = np.zeros(x.shape[1]) if a0 is None else check_vector("a0", a0, x.shape[1])
    return start - np.linalg.lstsq(x, x @ start - y, rcond=None)[0]


def basis_pursuit(features: npt.ArrayLike, targets: npt.ArrayLike) -> Array:
    """``min ||a||_1 subject to X a = y`` as a linear program (HiGHS), then solved again on its support.

    >>> basis_pursuit([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], [1.0, 1.0]).round(12).tolist()
    [0.0, 0.0, 1.0]

    Returns:
        The interpolant of least l1 norm, shape (n,).

    Raises:
        UserError: If there is none.
    """
    x = check_matrix("features", features)
    y = check_vector("targets", targets, x.shape[0])
    size = float(np.linalg.norm(y)) or 1.0
    found = linprog(np.ones(2 * x.shape[1]), A_eq=np.hstack([x, -x]), b_eq=y / size, method="highs")
    if found.x is None:
        raise UserError("targets: no a fits them, accepted are targets in the range of the features")
    rough = np.asarray(found.x[: x.shape[1]] - found.x[x.shape[1] :], np.float64) * size
    support = np.flatnonzero(np.abs(rough) > _ZERO * np.abs(rough).max())
    if not 0 < support.size <= x.shape[0]:
        return rough
    answer = np.zeros_like(rough)
    answer[support] = np.linalg.lstsq(x[:, support], y, rcond=None)[0]
    return answer if np.linalg.norm(x @ answer - y) <= np.linalg.norm(x @ rough - y) + _ZERO * size else rough


def objective(features: Array, targets: Array, weight: float, a: Array) -> float:
    """``1/2 ||X a - y||^2 + beta ||a||_1``."""
    return float(((features @ a - targets) ** 2).sum() / 2 + weight * np.abs(a).sum())
