"""A second Lasso solver, skglm's coordinate descent, for tests and benchmarks to agree with."""

from typing import Any

import numpy as np

_TIGHT = 1e-14  # violation of the optimality conditions that skglm is asked for, over the largest ||X_j|| ||y||
_EPOCHS = 20_000  # of coordinate descent on one working set; there are at most 50


def lasso_by_coordinates(features: np.ndarray, targets: np.ndarray, weight: float) -> np.ndarray:
    """The minimiser of ``1/2 ||X a - y||^2 + beta ||a||_1``."""
    from skglm.datafits import Quadratic
    from skglm.penalties import L1
    from skglm.solvers import AndersonCD

    # skglm divides the squares by N, so the weight as well; a gradient is rounded by eps ||X_j|| ||y|| / N.
    samples = features.shape[0]
    tight = _TIGHT * float(np.linalg.norm(features, axis=0).max() * np.linalg.norm(targets)) / samples
    solver: Any = AndersonCD(max_iter=50, max_epochs=_EPOCHS, tol=tight, fit_intercept=False, warm_start=False)
    return np.asarray(solver.solve(np.asfortranarray(features), targets, Quadratic(), L1(weight / samples))[0])
