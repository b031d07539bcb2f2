"""Descent on ``1/2 ||X a - y||^2 + beta ||a||_1`` step by step, compiled: what the clocks are compared with.

With G = X'(X a - y), S soft thresholding, and ``Pi(a) = a - X^+ (X a - y)``, the projection on the interpolants:

    "subgradient"  a <- a - alpha (G + beta sign a), sign 0 = 0
    "projected"    a <- Pi(a - alpha beta sign a)
    "ista"         a <- S_{alpha beta}(a - alpha G); `Lasso.trajectory` gives the same without taking the steps
    "accelerated"  the same step from z = a + theta (a - a_before), theta_k = (t_k - 1) / t_{k+1},
                   t_{k+1} = (1 + sqrt(1 + 4 t_k^2)) / 2, t = 1 anew when ``(z - a)'(a - a_before) > 0`` with a the new
                   point (Beck and Teboulle 2009; O'Donoghue and Candes 2015)

They need alpha L < 2, the accelerated one alpha L <= 1, and a weight below beta_max, from which on the answer is 0; the
projected method, which fits at every step, takes any alpha and weight. The accelerated one's run multiplies rounding:
two computations that differ in the last digit are apart by 1e-3 after a thousand steps, its times by one percent.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from groktimizer.ground import checks
from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.checks import check_lr, check_weight
from groktimizer.theory.clock.quadratic import Array
from groktimizer.theory.lasso.checks import check_matrix, check_numbers, check_vector

Scheme = Literal["subgradient", "projected", "ista", "accelerated"]
_METHODS = ("subgradient", "projected", "ista", "accelerated")  # in the order of the constants in `kernels`
Steps = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Runs:
    """One run, or many with their axis first. Steps are -1 where there is none.

    Args:
        method: Which.
        a: Last iterates, shape (..., n).
        steps: At which errors were kept, shape (K,).
        train_error: ``||X a - y|| / ||y||``, shape (..., K).
        recovery_error: ``||a - a*|| / ||a*||``, shape (..., K).
        memorised: First step with train error <= its tolerance, shape (...).
        memorised_settled: First step from which it stayed so up to the last step, shape (...).
        generalised: The same of the recovery error.
        settled: The same of the recovery error.
        restarts: Of the accelerated method, shape (...).
    """

    method: Scheme
    a: Array
    steps: Steps
    train_error: Array
    recovery_error: Array
    memorised: Steps
    memorised_settled: Steps
    generalised: Steps
    settled: Steps
    restarts: Steps


def solve(
    features: npt.ArrayLike,
    targets: npt.ArrayLike,
    a0: npt.ArrayLike,
    lr: npt.ArrayLike,
    weight: npt.ArrayLike,
    steps: npt.ArrayLike,
    teacher: npt.ArrayLike,
    *,
    method: Scheme = "ista",
    train_tolerance: float = 1e-2,
    test_tolerance: float = 1e-2,
) -> Runs:
    """Run a method, for one pair of lr and weight or for many at once; needs numba (the `lab` extra).

    >>> runs = solve([[1.0, 2.0]], [2.0], [2.0, 0.0], 0.1, [1e-2, 1e-3], [0, 10000], [0.0, 1.0], method="accelerated")
    >>> bool((runs.settled > 0).all()), runs.recovery_error.shape
    (True, (2, 2))

    Args:
        features: X, shape (N, n).
        targets: y, shape (N,), not 0.
        a0: Start, shape (n,), the same for every run.
        lr: alpha; broadcasts against weight.
        weight: beta; scalars give one run, arrays one run for each pair.
        steps: At which errors are kept, increasing whole numbers; the last one ends the run.
        teacher: a*, shape (n,), not 0.
        method: "subgradient", "projected", "ista" or "accelerated".
        train_tolerance: Of memorisation.
        test_tolerance: Of generalisation.

    Returns:
        The runs, in the broadcast shape of lr and weight; times are looked at every step.

    Raises:
        UserError: If an argument is not accepted, or numba is not installed.
    """
    x = check_matrix("features", features)
    y, start = check_vector("targets", targets, x.shape[0]), check_vector("a0", a0, x.shape[1])
    wanted = check_vector("teacher", teacher, x.shape[1])
    rates, weights = _pairs(lr, weight)
    grid = _check(x, y, wanted, rates, weights, steps, method)
    checks.positive(train_tolerance=train_tolerance, test_tolerance=test_tolerance)
    try:
        from groktimizer.theory.lasso import kernels
    except ImportError:
        raise UserError("numba is not installed: pip install groktimizer[lab]") from None
    sizes, shape = (float(y @ y), float(wanted @ wanted)), rates.shape
    data = kernels.Data(
        features=np.ascontiguousarray(x),
        columns=np.ascontiguousarray(x.T),
        back=np.array(np.linalg.pinv(x) if method == "projected" else np.zeros(x.T.shape), np.float64, order="C"),
        targets=np.ascontiguousarray(y),
        teacher=np.ascontiguousarray(wanted),
        limits=np.array([train_tolerance**2 * sizes[0], test_tolerance**2 * sizes[1]]),
        grid=grid,
    )
    number, start = _METHODS.index(method), np.ascontiguousarray(start)
    if shape == ():
        history, marks = np.empty((2, grid.size)), np.full((2, 2), -1)
        a, again = kernels.one_run(number, data, start, float(rates), float(weights), history, marks)
        return _runs(method, a, grid, history, sizes, marks, np.array(again))
    history, marks = np.empty((2, grid.size, rates.size)), np.full((2, 2, rates.size), -1)
    starts = np.ascontiguousarray(np.broadcast_to(start[:, None], (start.size, rates.size)))
    a, again = kernels.many_runs(number, data, starts, rates.flatten(), weights.flatten(), history, marks)
    history = np.ascontiguousarray(history.transpose(0, 2, 1)).reshape(2, *shape, grid.size)
    a = np.ascontiguousarray(a.T).reshape(*shape, start.size)
    return _runs(method, a, grid, history, sizes, marks.reshape(2, 2, *shape), again.reshape(shape))


def _pairs(lr: npt.ArrayLike, weight: npt.ArrayLike) -> tuple[Array, Array]:
    """Step sizes and weights in one shape."""
    rates, weights = (np.asarray(check_numbers(*each), np.float64) for each in (("lr", lr), ("weight", weight)))
    try:
        one, two = np.broadcast_arrays(rates, weights)
    except ValueError:
        raise UserError(
            f"lr and weight of shapes {rates.shape} and {weights.shape}: accepted are shapes that broadcast"
        ) from None
    return one, two


def _check(
    x: Array, y: Array, teacher: Array, rates: Array, weights: Array, steps: npt.ArrayLike, method: str
) -> Steps:
    """Refuse what no run can start from; give the steps as integers."""
    if method not in _METHODS:
        raise UserError(f"method={method!r}: accepted are {', '.join(_METHODS)}")
    if not y.any() or not teacher.any():
        raise UserError("targets, teacher: all zeros, accepted are vectors other than 0")
    fits = method == "projected"  # at every step, so any step size and any weight will do
    check_lr(rates, 0.0 if fits else float(np.linalg.norm(x, 2) ** 2), "features", momentum=method == "accelerated")
    check_weight(weights, math.inf if fits else float(np.abs(x.T @ y).max()))
    given = np.asarray(steps)
    if given.ndim != 1 or not given.size or not np.issubdtype(given.dtype, np.integer):
        raise UserError("steps: accepted is a list of whole numbers")
    if given[0] < 0 or (np.diff(given) <= 0).any():
        raise UserError("steps: accepted are increasing numbers >= 0")
    return given.astype(np.int64)


def _runs(
    method: Scheme, a: Array, grid: Steps, squares: Array, sizes: tuple[float, float], marks: Steps, restarts: Steps
) -> Runs:
    """Squares and marks as errors and times."""
    return Runs(
        method=method,
        a=a,
        steps=grid,
        train_error=np.sqrt(squares[0] / sizes[0]),
        recovery_error=np.sqrt(squares[1] / sizes[1]),
        memorised=marks[0, 0],
        memorised_settled=marks[0, 1],
        generalised=marks[1, 0],
        settled=marks[1, 1],
        restarts=restarts,
    )
