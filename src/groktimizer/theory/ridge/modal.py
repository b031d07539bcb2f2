"""Ridge regression in the coordinates in which it falls apart into independent modes.

With ``Phi = U diag(s) V'``, h = s^2/n and y = Phi theta* + noise, the coordinate c = v'theta obeys
``grad = h c - s u'y / n + lambda c``: fixed point ``s u'y / (n (h + lambda))``. Outside the span of V only decay acts,
so the null-space component of theta(0) keeps its direction and one number, its weight, follows it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from groktimizer.dynamics import Phase, Segment, solve
from groktimizer.dynamics.limits import flow_rates
from groktimizer.theory.quadratic import Dense, Diagonal, Loss
from groktimizer.theory.ridge.covariance import Covariance, Sample
from groktimizer.theory.ridge.spectrum import Array, Spectrum
from groktimizer.theory.ridge.times import Floors
from groktimizer.theory.ridge.trajectory import Trajectory


@dataclass(frozen=True)
class Start:
    """A vector split along the data.

    Args:
        coordinates: Along the right singular vectors, shape (rank,).
        flat: Null-space component, shape (m,).
    """

    coordinates: Array
    flat: Array

    def scaled(self, factor: float) -> "Start":
        """The same direction, `factor` times as long."""
        return Start(self.coordinates * factor, self.flat * factor)


class Modal:
    """A ridge problem by its modes.

    Args:
        system: Singular system of the features.
        samples: n.
        teacher: theta*, shape (m,).
        noise: Label noise, shape (n,).
        covariance: Population covariance.
    """

    def __init__(
        self, system: Spectrum, samples: int, teacher: Array, noise: Array, covariance: Covariance | Sample
    ) -> None:
        self.system, self.samples, self.covariance = system, samples, covariance
        self.curvature = system.values**2 / samples
        self.noise = system.left.T @ noise
        outside = noise - system.left @ self.noise
        self.unreachable = float(outside @ outside) / (2 * samples)
        self.teacher = self.locate(teacher)
        self.residual = system.values * self.teacher.coordinates + self.noise

    @property
    def rank(self) -> int:
        """Number of modes that the data move."""
        return self.curvature.size

    def locate(self, vector: Array) -> Start:
        """Split a vector (m,); without a null space its component there is exactly 0."""
        coordinates = self.system.project(vector)
        if self.rank == vector.size:
            return Start(coordinates, np.zeros_like(vector))
        return Start(coordinates, vector - self.system.expand(coordinates))

    def distance(self, weight_decay: float) -> Array:
        """Fixed point minus teacher along the data: bias plus noise; shape (rank,)."""
        spoiled = self.system.values * self.noise / self.samples
        return (spoiled - weight_decay * self.teacher.coordinates) / (self.curvature + weight_decay)

    def segments(self, start: Start, phases: list[Phase], flow: bool) -> list[Segment]:
        """The modes of a run: coordinates along the data, then the weight of the null-space component (1 at first).

        Args:
            start: Initial point.
            phases: Its settings.
            flow: Replace every step by gradient flow for time lr.

        Returns:
            One segment a phase.
        """
        pull = np.append(self.system.values * self.residual / self.samples, 0.0)
        initial = np.append(start.coordinates, 1.0)
        return solve(phases, np.append(self.curvature, 0.0), pull, initial, flow_rates if flow else None)

    def trajectory(self, start: Start, phases: list[Phase], flow: bool) -> Trajectory:
        """Solve a run and express both losses in its modes.

        Args:
            start: Initial point.
            phases: Its settings.
            flow: Gradient flow.

        Returns:
            The trajectory.
        """
        segments = self.segments(start, phases, flow)
        pairs = list(zip(phases, segments, strict=True))
        train: list[Loss] = [self.train_form(phase.weight_decay) for phase, _ in pairs]
        population = [
            self.population_form(start, float(segment.fixed_point[-1]), phase.weight_decay) for phase, segment in pairs
        ]
        return Trajectory(self.system, segments, train, population, start.flat)

    def train_form(self, weight_decay: float) -> Diagonal:
        """Train loss as a form of the offsets; the null space does not enter."""
        scale = (2 * self.samples) ** -0.5
        beta = -weight_decay * self.residual / (self.curvature + weight_decay)
        return Diagonal(np.append(self.system.values, 0.0) * scale, np.append(beta, 0.0) * scale, self.unreachable)

    def population_form(self, start: Start, kept: float, weight_decay: float) -> Loss:
        """Population loss as a form of the offsets.

        Args:
            start: Initial point, whose null-space component the last mode weighs.
            kept: That weight at the fixed point: 0 under decay.
            weight_decay: lambda.

        Returns:
            A diagonal form under an isotropic covariance, a dense one otherwise.
        """
        missing, distance = kept * start.flat - self.teacher.flat, self.distance(weight_decay)
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
        bent, rest = self.covariance.residual(away)
        return Dense(matrix, np.append(self.system.project(bent), start.flat @ bent), rest)

    def floors(self, weight_decay: float, start: Start) -> Floors:
        """Limits of both losses, and how much of the population loss comes from where.

        Args:
            weight_decay: lambda >= 0; at 0 the null-space component of `start` stays for ever.
            start: Initial point.

        Returns:
            The limits.
        """
        total = self.curvature + weight_decay
        bias = -weight_decay * self.teacher.coordinates / total
        spoiled = self.system.values * self.noise / self.samples / total
        missing = (0.0 if weight_decay > 0 else start.flat) - self.teacher.flat
        train, population = self.train_form(weight_decay).limit, self.energy(bias + spoiled, missing)
        if isinstance(self.covariance, Sample):
            return Floors(train, population, 0.0, 0.0, 0.0, self.unreachable, approximation=population)
        nothing, origin = np.zeros(self.rank), np.zeros_like(missing)
        return Floors(
            train=train,
            population=population,
            bias=self.energy(bias, origin),
            noise=self.energy(spoiled, origin),
            null_space=self.energy(nothing, missing),
            unreachable=self.unreachable,
        )

    def energy(self, coordinates: Array, flat: Array) -> float:
        """Population loss at ``teacher + V coordinates + flat``."""
        if self.covariance.scale is not None:
            return self.covariance.scale * float(coordinates @ coordinates + flat @ flat)
        return self.covariance.residual(self.system.expand(coordinates) + flat)[1]

    @cached_property
    def _mixed(self) -> Array:
        """V' Sigma V."""
        return self.covariance.sandwich(self.system)
