"""Sparse descent step by step, compiled: the four methods of `clock.descent` on vectors, what the clocks compare with.

They need alpha L < 2, the accelerated one alpha L <= 1, and a weight below beta_max, from which on the answer is 0; the
projected method, which fits at every step, takes any alpha and weight.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from groktimizer.ground import checks
from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.checks import check_lr, check_numbers, check_vector, check_weight
from groktimizer.theory.clock.quadratic import Array
from groktimizer.theory.lasso.checks import check_matrix

Scheme = Literal["subgradient", "projected", "ista", "accelerated"]
_METHODS = ("subgradient", "projected", "ista", "accelerated")  # in the order of `clock.descent.METHODS`
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
        generalised: As `memorised`, of the recovery error.
        settled: As `memorised_settled`, of the recovery error.
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
        method: "subgradient", "projected", "ista" (`Lasso.trajectory` gives it without the steps) or "accelerated".
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
        from groktimizer.theory.clock import descent
    except ImportError:
        raise UserError("numba is not installed: pip install groktimizer[lab]") from None
    sizes, shape = np.array([y @ y, wanted @ wanted]), rates.shape
    x = np.ascontiguousarray(x)
    data = descent.Data(
        shape=(0, 0),
        places=np.empty(0, np.int64),
        matrix=x,
        back=np.ascontiguousarray(np.linalg.pinv(x).T, np.float64) if method == "projected" else x,
        targets=np.ascontiguousarray(y),
        truth=np.ascontiguousarray(wanted),
        limits=np.array([train_tolerance, test_tolerance]) ** 2 * sizes,
        grid=grid,
        patience=int(grid[-1]) + 1,
        inertia=1.0,
    )
    a, marks = np.repeat(start[None], rates.size, axis=0), np.full((rates.size, 2, 2), -1)
    squares, again = np.empty((2, grid.size + 1, rates.size)), np.zeros(rates.size, np.int64)
    descent.run(_METHODS.index(method), data, a, rates.flatten(), weights.flatten(), squares, marks, again)
    train, test = (np.sqrt(squares[:, :-1].T / sizes.T)).transpose(2, 0, 1).reshape(2, *shape, grid.size)
    first, kept, second, settled = marks.transpose(1, 2, 0).reshape(4, *shape)
    a, again = a.reshape(*shape, x.shape[1]), again.reshape(shape)
    return Runs(method, a, grid, train, test, first, kept, second, settled, again)


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
