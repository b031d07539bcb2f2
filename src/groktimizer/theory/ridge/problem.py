"""Ridge regression with a linear teacher: the problem, its trajectories and its grokking times."""

from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from groktimizer.dynamics import Phase, critical_momentum, stability_limit
from groktimizer.ground.checks import not_negative, positive, whole, word
from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.checks import check_vector
from groktimizer.theory.clock.claims import Bound
from groktimizer.theory.ridge.bounds import TIME_BOUNDS, Facts
from groktimizer.theory.ridge.covariance import Population, covariance_of
from groktimizer.theory.ridge.modal import Modal, Start
from groktimizer.theory.ridge.spectrum import Features, check_features, spectrum
from groktimizer.theory.ridge.times import Floors, GrokkingTime
from groktimizer.theory.ridge.trajectory import Trajectory

Momentum = float | Literal["critical"]


class Ridge:
    """Linear regression on fixed features, trained by gradient descent or heavy ball with weight decay.

    Train loss ``(1/2n) ||features theta - y||^2`` with ``y = features teacher + noise``, decay
    ``(weight_decay/2) ||theta||^2``, population loss ``E[<theta - teacher, phi>^2]`` (arXiv 2601.19791). One thin
    factorisation gives every step of every method exactly.

    >>> rng = np.random.default_rng(0)
    >>> problem = Ridge(rng.normal(size=(4, 12)) / 12**0.5, np.zeros(12), covariance=1 / 12)
    >>> times = problem.grokking_time(rng.normal(size=12), 1.0, 1e-3, 0.01, 0.01)
    >>> curve = problem.trajectory(times.theta0, 1.0, 1e-3)
    >>> bool(curve.population_loss(times.generalised) <= 0.01 < curve.population_loss(times.generalised - 1))
    True

    Args:
        features: Phi, shape (n, m); float32 is accepted and summed in float64.
        teacher: theta*, shape (m,).
        covariance: E[phi phi']: None for the identity, a scalar times it, a diagonal (m,), or a matrix (m, m).
        noise: Label noise, shape (n,).
        route: "svd" (accurate), "gram" (half the memory, see `spectrum`), "auto".
        test: Test features (N, m) and targets (N,) whose mean squared error is the population loss; then teacher must
            be 0 and the labels are `noise`. See `from_targets`.

    Raises:
        UserError: If shapes disagree, a value is NaN or inf, or the covariance is not symmetric and semidefinite.
    """

    def __init__(
        self,
        features: npt.ArrayLike,
        teacher: npt.ArrayLike,
        covariance: npt.ArrayLike | None = None,
        noise: npt.ArrayLike | None = None,
        *,
        route: str = "auto",
        test: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    ) -> None:
        self.features: Features = check_features(features)
        self.n, self.m = self.features.shape
        self.teacher = check_vector("teacher", teacher, self.m)
        self.noise = np.zeros(self.n) if noise is None else check_vector("noise", noise, self.n)
        self.population = covariance_of(covariance, self.m)
        if test is not None:
            points, answers = np.asarray(check_features(test[0]), np.float64), test[1]
            if points.shape[1] != self.m or self.teacher.any():
                raise UserError(f"test: features of shape {points.shape}, accepted are (N, {self.m}), with teacher 0")
            share = len(points) ** -0.5
            self.population = Population(points * share, check_vector("test targets", answers, len(points)) * share)
        self.modal = Modal(spectrum(self.features, route), self.n, self.teacher, self.noise, self.population)

    @classmethod
    def from_targets(
        cls,
        features: npt.ArrayLike,
        targets: npt.ArrayLike,
        test_features: npt.ArrayLike,
        test_targets: npt.ArrayLike,
        *,
        route: str = "auto",
    ) -> "Ridge":
        """A problem whose targets are any function of the inputs, such as a neuron seen through random features.

        Args:
            features: Train features, shape (n, m).
            targets: Train targets, shape (n,).
            test_features: Shape (N, m).
            test_targets: Shape (N,), on which the mean squared error is the population loss.
            route: As in the constructor.

        Returns:
            The problem.
        """
        width = np.shape(features)[-1]
        return cls(features, np.zeros(width), noise=targets, route=route, test=(test_features, test_targets))

    @property
    def rank(self) -> int:
        """Number of directions that the data determine."""
        return self.modal.rank

    @property
    def sharpness(self) -> float:
        """Largest curvature of the train loss: ``s_max^2 / n``."""
        return float(self.modal.curvature[0])

    @property
    def overparameterised(self) -> bool:
        """Whether the features leave a null space; without one nothing is left for decay to do, and nothing groks."""
        return self.rank < self.m

    def start(self, theta0: npt.ArrayLike | Start) -> Start:
        """Check initial parameters (m,) and split them along the data; every method here takes the result as well."""
        return theta0 if isinstance(theta0, Start) else self.modal.locate(check_vector("theta0", theta0, self.m))

    def trajectory(
        self,
        theta0: npt.ArrayLike | Start,
        lr: float,
        weight_decay: float,
        momentum: Momentum = 0.0,
        switch: int | None = None,
        flow: bool = False,
        *,
        carry_velocity: bool = False,
    ) -> Trajectory:
        """The exact run from `theta0`.

        Args:
            theta0: Initial parameters, shape (m,).
            lr: Step size eta.
            weight_decay: lambda >= 0.
            momentum: mu in [0, 1), or "critical": ``(1 - sqrt(lr weight_decay))^2``.
            switch: Step from which decay and momentum act; before it plain gradient descent without decay.
            flow: Gradient flow, observed at time ``lr t``; takes no momentum.
            carry_velocity: At the switch keep the last displacement as velocity; otherwise start at rest.

        Returns:
            The trajectory.

        Raises:
            UserError: If a setting is not accepted, or the run would diverge.
        """
        positive(lr=lr)
        not_negative(weight_decay=weight_decay)
        if switch is not None:
            whole("switch", switch, least=0, also="or None")
        if isinstance(momentum, str):
            word("momentum", momentum, ["critical", "a number in [0, 1)"])
            if weight_decay == 0:
                raise UserError("weight_decay=0: momentum='critical' needs weight_decay > 0")
        elif not 0 <= momentum < 1:
            raise UserError(f"momentum={momentum!r}: expected a number in [0, 1) or critical")
        if flow and momentum != 0:
            raise UserError(f"momentum={momentum!r}: gradient flow takes momentum 0")
        mu = critical_momentum(lr, weight_decay) if isinstance(momentum, str) else float(momentum)
        limit = min(stability_limit(mu) / (self.sharpness + weight_decay), 2 / self.sharpness if switch else np.inf)
        if not flow and lr >= limit:
            raise UserError(f"lr={lr:g}: diverges on these features, accepted are values below {limit:.6g}")
        last = Phase(switch or 0, lr, weight_decay, mu, carry_velocity)
        return self.modal.trajectory(self.start(theta0), [Phase(0, lr, 0.0), last] if switch else [last], flow)

    def grokking_time(
        self,
        theta0: npt.ArrayLike | Start,
        lr: float,
        weight_decay: float,
        train_tolerance: float,
        test_tolerance: float,
        momentum: Momentum = 0.0,
        switch: int | None = None,
        flow: bool = False,
        *,
        carry_velocity: bool = False,
        budget: int = 20_000_000,
    ) -> GrokkingTime:
        """Exact first and settled times of memorisation and generalisation.

        Args:
            theta0: Initial parameters, shape (m,).
            lr: As in `trajectory`.
            weight_decay: As in `trajectory`.
            train_tolerance: Memorised means train loss <= this.
            test_tolerance: Generalised means population loss <= this.
            momentum: As in `trajectory`.
            switch: As in `trajectory`.
            flow: As in `trajectory`; times are then integer multiples of lr.
            carry_velocity: As in `trajectory`.
            budget: Steps that the search may walk one by one where a loss rings around its tolerance.

        Returns:
            The four times, the losses' limits and the terms they come from.
        """
        positive(train_tolerance=train_tolerance, test_tolerance=test_tolerance)
        start = self.start(theta0)
        path = self.trajectory(start, lr, weight_decay, momentum, switch, flow, carry_velocity=carry_velocity)
        train = path.crossing(path.train_pieces, train_tolerance, budget)
        test = path.crossing(path.population_pieces, test_tolerance, budget)
        return GrokkingTime(
            memorised=train.first,
            memorised_settled=train.settled,
            generalised=test.first,
            settled=test.settled,
            train_tolerance=train_tolerance,
            test_tolerance=test_tolerance,
            limits=partial(self.floors, weight_decay, start),
            unresolved=tuple(name for name, one in {"train": train, "population": test}.items() if not one.resolved),
            theta0=start.theta,
            overparameterised=self.overparameterised,
        )

    def floors(self, weight_decay: float, theta0: npt.ArrayLike | Start | None = None) -> Floors:
        """Limits of both losses, and how much of the population loss comes from where.

        Args:
            weight_decay: lambda >= 0; at 0 the null-space component of `theta0` stays for ever.
            theta0: Initial parameters, needed only then.

        Returns:
            The limits; bias is what decay (and the null space) costs with clean labels.
        """
        not_negative(weight_decay=weight_decay)
        return self.modal.floors(weight_decay, self.modal.zero if theta0 is None else self.start(theta0))

    def bounds(
        self,
        theta0: npt.ArrayLike | Start,
        lr: float,
        weight_decay: float,
        train_tolerance: float,
        test_tolerance: float,
        *,
        init_variance: float | None = None,
        failure: float = 0.05,
    ) -> tuple[Bound, ...]:
        """Every bound of arXiv 2601.19791 on t1, t2 and the limit, for plain gradient descent.

        Args:
            theta0: Initial parameters, shape (m,).
            lr: Step size eta.
            weight_decay: lambda > 0.
            train_tolerance: epsilon.
            test_tolerance: c.
            init_variance: nu^2; by default the mean square of theta0.
            failure: delta.

        Returns:
            Bounds, each with its theorem and conditions; see `bounds`.

        Raises:
            UserError: If a setting is not accepted.
        """
        given = (theta0, lr, weight_decay, train_tolerance, test_tolerance)
        facts = self.facts(*given, init_variance=init_variance, failure=failure)
        return tuple(bound(facts) for bound in TIME_BOUNDS)

    def facts(
        self,
        theta0: npt.ArrayLike | Start,
        lr: float,
        weight_decay: float,
        train_tolerance: float,
        test_tolerance: float,
        *,
        init_variance: float | None = None,
        failure: float = 0.05,
    ) -> Facts:
        """What the theorems need to know of this problem; takes and refuses what `bounds` does."""
        positive(lr=lr, weight_decay=weight_decay, train_tolerance=train_tolerance, test_tolerance=test_tolerance)
        not_negative(init_variance=0.0 if init_variance is None else init_variance)
        if not 0 < failure < 1:
            raise UserError(f"failure={failure!r}: expected a number in (0, 1)")
        start = self.start(theta0)
        square = float(start.theta @ start.theta)
        squares = self.modal.system.left**2 @ self.modal.system.values**2
        return Facts(
            n=self.n,
            m=self.m,
            lr=lr,
            weight_decay=weight_decay,
            train_tolerance=train_tolerance,
            test_tolerance=test_tolerance,
            init_variance=square / self.m if init_variance is None else init_variance,
            initial_square=square,
            teacher_norm=float(np.linalg.norm(self.teacher)),
            mean_square=float(self.modal.curvature.sum()),
            least_gram=float(self.modal.system.values[-1] ** 2),
            least_covariance=self.population.least(),
            feature_bound=float(np.sqrt(squares.max())),
            sharpness=self.sharpness,
            hidden_square=float(start.flat @ start.flat),
            misfit=max(float(np.linalg.norm(self.noise)) / self.n**0.5, float(np.linalg.norm(self.population.wanted))),
            failure=failure,
        )
