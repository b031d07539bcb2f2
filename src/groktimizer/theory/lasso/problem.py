"""Sparse recovery: the problem, its exact paths, its times and its laws."""

import numpy as np
import numpy.typing as npt

from groktimizer.ground import checks
from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.checks import check_lr, check_vector, check_weight
from groktimizer.theory.clock.claims import Bound
from groktimizer.theory.clock.quadratic import Array
from groktimizer.theory.lasso import laws
from groktimizer.theory.lasso.checks import check_matrix
from groktimizer.theory.lasso.path import LassoPath
from groktimizer.theory.lasso.recovery import Recovery, recovery
from groktimizer.theory.lasso.times import LassoTimes, times_along


class Lasso:
    """``1/2 ||X a - y||^2 + beta ||a||_1``, trained by ISTA (arXiv 2506.05718).

    ``a <- S_{alpha beta}(a - alpha X'(X a - y))`` with alpha = lr, beta = weight, and S soft thresholding. Between two
    changes of support or sign the step is affine, so one decomposition gives every step; a run of 1e8 steps is a few
    hundred of them.

    >>> rng = np.random.default_rng(0)
    >>> features, teacher = rng.normal(size=(20, 40)) / 20**0.5, np.zeros(40)
    >>> teacher[:2] = [1.0, -2.0]
    >>> path = Lasso(features, features @ teacher).trajectory(np.zeros(40), lr=0.1, weight=1e-6)
    >>> times = path.time_to(teacher, 0.01)
    >>> bool(path.error(times.first, teacher) <= 0.01 < path.error(times.first - 1, teacher))
    True

    Args:
        features: X, shape (N, n).
        targets: y, shape (N,).

    Raises:
        UserError: If shapes disagree or a value is not a finite real number.
    """

    def __init__(self, features: npt.ArrayLike, targets: npt.ArrayLike) -> None:
        self.features = check_matrix("features", features)
        self.n_samples, self.n = self.features.shape
        self.targets = check_vector("targets", targets, self.n_samples)
        self.sharpness = float(np.linalg.norm(self.features, 2)) ** 2
        if self.sharpness < np.finfo(np.float64).tiny:
            size = float(np.abs(self.features).max())
            raise UserError(f"features: largest entry {size:g}, accepted are some whose squares are not 0")

    @property
    def max_weight(self) -> float:
        """beta_max = ||X'y||_inf, from which on the answer is 0."""
        return float(np.abs(self.features.T @ self.targets).max())

    def trajectory(self, a0: npt.ArrayLike, lr: float, weight: float) -> LassoPath:
        """The exact run of ISTA from a0 (n,), with alpha below 2 / L, L = `sharpness`, and beta below `max_weight`."""
        start = check_vector("a0", a0, self.n)
        check_lr(lr, self.sharpness, "features")
        check_weight(weight, self.max_weight)
        return LassoPath(self.features, self.targets, start, lr, weight)

    def grokking_time(
        self,
        a0: npt.ArrayLike,
        lr: float,
        weight: float,
        train_tolerance: float,
        test_tolerance: float,
        teacher: npt.ArrayLike,
    ) -> LassoTimes:
        """Exact first and settled times of memorisation and generalisation.

        Args:
            a0: Start, shape (n,).
            lr: alpha.
            weight: beta.
            train_tolerance: Memorised means ``||X a - y|| / ||y||`` <= this.
            test_tolerance: Generalised means ``||a - a*|| / ||a*||`` <= this.
            teacher: a*, shape (n,), not 0.

        Returns:
            The four times and the limits of both errors.
        """
        checks.positive(train_tolerance=train_tolerance, test_tolerance=test_tolerance)
        target = check_vector("teacher", teacher, self.n)
        return times_along(self.trajectory(a0, lr, weight), target, train_tolerance, test_tolerance)

    def estimator(self, weight: float) -> Array:
        """The Lasso estimator: the limit of ISTA from 0, exact on its support; shape (n,)."""
        return self.trajectory(np.zeros(self.n), 1 / self.sharpness, weight).limit

    def laws(
        self,
        a0: npt.ArrayLike,
        lr: float,
        weight: float,
        teacher: npt.ArrayLike,
        null_space: float | None = None,
    ) -> tuple[Bound, ...]:
        """Theorem 3.3, the predictor of t1 and Theorem 3.6 of this problem; see `laws` for those that need more."""
        start, target = check_vector("a0", a0, self.n), check_vector("teacher", teacher, self.n)
        check_lr(lr, self.sharpness, "features")
        check_weight(weight, self.max_weight)
        return (
            laws.theorem_3_3(self.features, self.targets, target, lr, weight, start, null_space),
            laws.predicted_memorisation(self.features, self.targets, start, lr, weight),
            laws.theorem_3_6(self.features, target, start),
        )

    def recovery(self, teacher: npt.ArrayLike) -> Recovery:
        """Whether the samples allow to find this a*; see `recovery`."""
        return recovery(self.features, teacher)
