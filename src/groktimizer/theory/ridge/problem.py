"""Ridge regression with a linear teacher: the problem, its trajectories and its grokking times."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from groktimizer.dynamics import Phase, Segment, critical_momentum, solve, stability_limit
from groktimizer.dynamics.limits import flow_rates
from groktimizer.theory.crossing import crossing
from groktimizer.theory.quadratic import Dense, Diagonal, Loss
from groktimizer.theory.ridge.checks import check_features, check_positive, check_settings, check_vector
from groktimizer.theory.ridge.covariance import covariance_of
from groktimizer.theory.ridge.spectrum import Array, Features, spectrum
from groktimizer.theory.ridge.times import Floors, GrokkingTime
from groktimizer.theory.ridge.trajectory import Trajectory

Momentum = float | Literal["critical"]


@dataclass(frozen=True)
class Start:
    """An initial point in the modes' coordinates.

    Args:
        coordinates: Along the right singular vectors, shape (rank,).
        flat: Null-space component, shape (m,).
    """

    coordinates: Array
    flat: Array


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

    Raises:
        ValueError: If shapes disagree, a value is NaN or inf, or the covariance is not symmetric and semidefinite.
    """

    def __init__(
        self,
        features: npt.ArrayLike,
        teacher: npt.ArrayLike,
        covariance: npt.ArrayLike | None = None,
        noise: npt.ArrayLike | None = None,
        *,
        route: str = "auto",
    ) -> None:
        self.features: Features = check_features(features)
        self.n, self.m = self.features.shape
        self.teacher = check_vector("teacher", teacher, self.m)
        self.noise = np.zeros(self.n) if noise is None else check_vector("noise", noise, self.n)
        self.covariance = covariance_of(covariance, self.m)
        self.system = spectrum(self.features, route)
        self.curvature = self.system.values**2 / self.n  # of the train loss, without decay
        left_noise = self.system.left.T @ self.noise
        outside = self.noise - self.system.left @ left_noise
        self._noise = left_noise
        self._unreachable = float(outside @ outside) / (2 * self.n)
        self._teacher = self._locate(self.teacher)

    @property
    def rank(self) -> int:
        """Number of directions that the data determine."""
        return self.curvature.size

    @property
    def overparameterised(self) -> bool:
        """Whether the features leave a null space; without one nothing is left for decay to do, and nothing groks."""
        return self.rank < self.m

    def trajectory(
        self,
        theta0: npt.ArrayLike,
        lr: float,
        weight_decay: float,
        momentum: Momentum = 0.0,
        switch: int | None = None,
        flow: bool = False,
        *,
        damping: float = 1.0,
        carry_velocity: bool = False,
    ) -> Trajectory:
        """The exact run from `theta0`.

        Args:
            theta0: Initial parameters, shape (m,).
            lr: Step size eta.
            weight_decay: lambda >= 0.
            momentum: mu in [0, 1), or "critical": ``(1 - damping sqrt(lr weight_decay))^2``.
            switch: Step from which decay and momentum act; before it plain gradient descent without decay.
            flow: Gradient flow, observed at time ``lr t``; takes no momentum.
            damping: Ratio zeta of the critical momentum.
            carry_velocity: At the switch keep the last displacement as velocity; otherwise start at rest.

        Returns:
            The trajectory.

        Raises:
            ValueError: If a setting is not accepted, with the limit.
        """
        start = self._locate(check_vector("theta0", theta0, self.m))
        return self._trajectory(start, self.phases(lr, weight_decay, momentum, switch, flow, damping, carry_velocity), flow)

    def phases(
        self,
        lr: float,
        weight_decay: float,
        momentum: Momentum = 0.0,
        switch: int | None = None,
        flow: bool = False,
        damping: float = 1.0,
        carry_velocity: bool = False,
    ) -> list[Phase]:
        """Checked settings as phases.

        Args:
            lr: Step size eta.
            weight_decay: lambda >= 0.
            momentum: mu in [0, 1), or "critical".
            switch: Step from which decay and momentum act.
            flow: Gradient flow.
            damping: Ratio zeta of the critical momentum.
            carry_velocity: Keep the velocity at the switch.

        Returns:
            One phase, or two when there is a switch.

        Raises:
            ValueError: If a setting is not accepted.
        """
        check_settings(lr, weight_decay, momentum, switch, flow, damping)
        mu = critical_momentum(lr, weight_decay, damping) if isinstance(momentum, str) else float(momentum)
        top = float(self.curvature[0]) + weight_decay
        limit = min(stability_limit(mu) / top, 2 / float(self.curvature[0]) if switch else np.inf)
        if not flow and lr >= limit:
            raise ValueError(f"lr={lr:g}: diverges on these features, accepted are values below {limit:.6g}")
        if not switch:
            return [Phase(0, lr, weight_decay, mu)]
        return [Phase(0, lr, 0.0), Phase(switch, lr, weight_decay, mu, carry_velocity)]

    def grokking_time(
        self,
        theta0: npt.ArrayLike,
        lr: float,
        weight_decay: float,
        train_tolerance: float,
        test_tolerance: float,
        momentum: Momentum = 0.0,
        switch: int | None = None,
        flow: bool = False,
        *,
        damping: float = 1.0,
        carry_velocity: bool = False,
        budget: int = 20_000_000,
    ) -> GrokkingTime:
        """Exact first and settled times of memorisation and generalisation.

        Args:
            theta0: Initial parameters, shape (m,).
            lr: Step size eta.
            weight_decay: lambda >= 0.
            train_tolerance: Memorised means train loss <= this.
            test_tolerance: Generalised means population loss <= this.
            momentum: As in `trajectory`.
            switch: As in `trajectory`.
            flow: As in `trajectory`; times are then integer multiples of lr.
            damping: As in `trajectory`.
            carry_velocity: As in `trajectory`.
            budget: Steps that the search may walk one by one where a loss rings around its tolerance.

        Returns:
            The four times, the losses' limits and the terms they come from.

        Raises:
            ValueError: If a setting or tolerance is not accepted.
        """
        check_positive("train_tolerance", train_tolerance)
        check_positive("test_tolerance", test_tolerance)
        place = check_vector("theta0", theta0, self.m)
        path = self.trajectory(
            place, lr, weight_decay, momentum, switch, flow, damping=damping, carry_velocity=carry_velocity
        )
        train = crossing(path.pieces(path.train), train_tolerance, budget)
        test = crossing(path.pieces(path.population), test_tolerance, budget)
        unresolved = [name for name, found in (("train", train), ("population", test)) if not found.resolved]
        return GrokkingTime(
            memorised=train.first,
            memorised_settled=train.settled,
            generalised=test.first,
            generalised_settled=test.settled,
            train_tolerance=train_tolerance,
            test_tolerance=test_tolerance,
            floors=self.floors(weight_decay) if weight_decay > 0 else self.floors(0.0, place),
            unresolved=tuple(unresolved),
            theta0=place,
        )

    def floors(self, weight_decay: float, theta0: npt.ArrayLike | None = None) -> Floors:
        """Limits of both losses, and how much of the population loss comes from where.

        Args:
            weight_decay: lambda >= 0; at 0 the null-space component of `theta0` stays for ever.
            theta0: Initial parameters, needed only then.

        Returns:
            The limits; bias is what decay (and the null space) costs with clean labels.
        """
        total = self.curvature + weight_decay
        bias = -weight_decay * self._teacher.coordinates / total
        noisy = self.system.values * self._noise / self.n / total
        missing = -self._teacher.flat
        if weight_decay == 0 and theta0 is not None:
            missing = missing + self._locate(np.asarray(theta0, np.float64)).flat
        reach = (self.system.expand(part) if self.covariance.scale is None else None for part in (bias, noisy))
        shrunk, spoiled = (
            self._energy(part, vector) for part, vector in zip((bias, noisy), reach, strict=True)
        )
        pull = weight_decay * (self.system.values * self._teacher.coordinates + self._noise) / total
        train = float(pull @ pull) / (2 * self.n) + self._unreachable
        null = self._energy(None, missing)
        whole = self._whole_energy(bias + noisy, missing)
        return Floors(train, whole, shrunk, spoiled, null, self._unreachable)

    def _energy(self, coordinates: Array | None, vector: Array | None) -> float:
        """x' Sigma x of a vector given by its coordinates (isotropic) or in full."""
        if self.covariance.scale is not None:
            part = coordinates if coordinates is not None else vector
            assert part is not None
            return self.covariance.scale * float(part @ part)
        assert vector is not None
        return float(vector @ self.covariance.apply(vector))

    def _whole_energy(self, coordinates: Array, flat: Array) -> float:
        """Population loss at a point V c + flat away from the teacher."""
        if self.covariance.scale is not None:
            return self.covariance.scale * float(coordinates @ coordinates + flat @ flat)
        return self._energy(None, self.system.expand(coordinates) + flat)

    def _locate(self, vector: Array) -> Start:
        """Split a vector into its coordinates and its null-space component."""
        coordinates = self.system.project(vector)
        if not self.overparameterised:
            return Start(coordinates, np.zeros(self.m))
        flat = vector - self.system.expand(coordinates)
        return Start(coordinates, flat)

    def _trajectory(self, start: Start, phases: list[Phase], flow: bool) -> Trajectory:
        """Solve the modes and express both losses in their offsets."""
        segments = self.segments(start, phases, flow)
        residual = self.system.values * self._teacher.coordinates + self._noise
        train: list[Loss] = []
        population: list[Loss] = []
        for phase, segment in zip(phases, segments, strict=True):
            total = self.curvature + phase.weight_decay
            alpha, beta = self.system.values, -phase.weight_decay * residual / total
            scale = (2 * self.n) ** -0.5
            train.append(Diagonal(np.append(alpha, 0) * scale, np.append(beta, 0) * scale, self._unreachable))
            noisy = self.system.values * self._noise / self.n
            distance = (noisy - phase.weight_decay * self._teacher.coordinates) / total
            population.append(self.population_form(start, segment, distance))
        return Trajectory(self.system, segments, train, population, start.flat)

    def segments(self, start: Start, phases: list[Phase], flow: bool) -> list[Segment]:
        """The modes of a run: coordinates along the singular vectors, then the weight of the null-space component.

        Args:
            start: Initial point.
            phases: Its settings.
            flow: Replace every step by gradient flow for time lr.

        Returns:
            One segment a phase.
        """
        curvature = np.append(self.curvature, 0.0)
        residual = self.system.values * self._teacher.coordinates + self._noise
        pull, initial = np.append(self.system.values * residual / self.n, 0.0), np.append(start.coordinates, 1.0)
        return solve(phases, curvature, pull, initial, flow_rates if flow else None)

    def population_form(self, start: Start, segment: Segment, distance: Array) -> Loss:
        """Population loss as a quadratic form of the offsets in one phase.

        Args:
            start: Initial point, whose null-space component the last mode weighs.
            segment: The phase.
            distance: Fixed point minus teacher along the singular vectors, shape (rank,).

        Returns:
            A diagonal form under an isotropic covariance, a dense one otherwise.
        """
        rest_weight = float(segment.fixed_point[-1])
        missing = rest_weight * start.flat - self._teacher.flat
        if self.covariance.scale is not None:
            root, size = self.covariance.scale**0.5, float(np.linalg.norm(start.flat))
            along = float(start.flat @ missing) / size if size > 0 else 0.0
            left = missing - along * start.flat / size if size > 0 else missing
            rest = self.covariance.scale * float(left @ left)
            return Diagonal(root * np.append(np.ones(self.rank), size), root * np.append(distance, along), rest)
        spread = self.covariance.apply(start.flat)
        cross = self.system.project(spread)
        matrix = np.block([[self._mixed, cross[:, None]], [cross[None, :], np.array([[start.flat @ spread]])]])
        away = self.system.expand(distance) + missing
        bent = self.covariance.apply(away)
        return Dense(matrix, np.append(self.system.project(bent), start.flat @ bent), max(float(away @ bent), 0.0))

    @cached_property
    def _mixed(self) -> Array:
        """V' Sigma V."""
        return self.covariance.sandwich(self.system)
