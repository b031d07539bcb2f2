"""Ridge regression in the coordinates in which it falls apart into independent modes.

With ``Phi = U diag(s) V'``, h = s^2/n and y = Phi theta* + noise, the coordinate c = v'theta obeys
``grad = h c - s u'y / n + lambda c``: fixed point ``s u'y / (n (h + lambda))``. Outside the span of V only decay acts,
so the null-space component of theta(0) keeps its direction and one number, its weight, follows it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from groktimizer.dynamics import Phase, Segment, flow_rates, solve
from groktimizer.theory.clock.quadratic import Diagonal, Loss, Squares
from groktimizer.theory.ridge.covariance import Covariance, Sample
from groktimizer.theory.ridge.spectrum import Array, Spectrum
from groktimizer.theory.ridge.times import Floors
from groktimizer.theory.ridge.trajectory import Trajectory

_ROUNDING = 1e-13  # relative length of a remainder that is rounding


@dataclass(frozen=True)
class Start:
    """A vector that was checked and split along the data, once for all that is asked of it.

    Args:
        theta: The vector, shape (m,).
        coordinates: Along the right singular vectors, shape (rank,).
        flat: Null-space component, shape (m,).
    """

    theta: Array
    coordinates: Array
    flat: Array

    def scaled(self, factor: float) -> "Start":
        """The same direction, `factor` times as long."""
        return Start(self.theta * factor, self.coordinates * factor, self.flat * factor)


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
            return Start(vector, coordinates, np.zeros_like(vector))
        return Start(vector, coordinates, vector - self.system.expand(coordinates))

    @cached_property
    def zero(self) -> Start:
        """The zero vector, which needs no projection."""
        nothing = np.zeros_like(self.teacher.theta)
        return Start(nothing, np.zeros(self.rank), nothing)

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
        rates, target = flow_rates if flow else None, np.append(self.teacher.coordinates, 0.0)
        return solve(phases, np.append(self.curvature, 0.0), pull, initial, rates, target)

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
        population = [self.population_form(start, *self._away(segment, phase.weight_decay)) for phase, segment in pairs]
        return Trajectory(self.system, segments, train, population, start.flat)

    def _away(self, segment: Segment, weight_decay: float) -> tuple[Array, float]:
        """Where a segment's offsets count from: distance from the teacher along the data, weight of the flat part."""
        measured = segment.position[:-1] - self.teacher.coordinates
        distance = np.where(segment.from_start[:-1], measured, self.distance(weight_decay))
        return distance, float(segment.origin[-1])

    def train_form(self, weight_decay: float) -> Diagonal:
        """Train loss as a form of the offsets; the null space does not enter."""
        scale = (2 * self.samples) ** -0.5
        beta = -weight_decay * self.residual / (self.curvature + weight_decay)
        return Diagonal(np.append(self.system.values, 0.0) * scale, np.append(beta, 0.0) * scale, self.unreachable)

    def population_form(self, start: Start, distance: Array, kept: float) -> Loss:
        """Population loss as a form of the offsets.

        Args:
            start: Initial point, whose null-space component the last mode weighs.
            distance: From the teacher to where the offsets count from, along the data; shape (rank,).
            kept: Weight of the null-space component there.

        Returns:
            A diagonal form under an isotropic covariance, a sum of mixed squares otherwise.
        """
        missing = kept * start.flat - self.teacher.flat
        if self.covariance.scale is not None:
            root, size = self.covariance.scale**0.5, float(np.linalg.norm(start.flat))
            along = float(start.flat @ missing) / size if size > 0 else 0.0
            left = missing - along * start.flat / size if size > 0 else missing
            rest = self.covariance.scale * float(left @ left)
            return Diagonal(root * np.append(np.ones(self.rank), size), root * np.append(distance, along), rest)
        if self._images is None:
            return self._by_gram(start.flat, self.system.expand(distance) + missing)
        images, frame, upper = self._images
        miss = images @ distance + self.covariance.image(missing) - self.covariance.targets
        along, across = _split(frame, self.covariance.image(start.flat))
        size = float(np.linalg.norm(across))
        unit = across / size if size > 0 else across
        shift = np.append(frame.T @ miss, unit @ miss)
        left = miss - frame @ shift[:-1] - unit * shift[-1]
        factor = np.block([[upper, along[:, None]], [np.zeros((1, self.rank)), np.array([[size]])]])
        return Squares(factor, shift, float(left @ left))

    def _by_gram(self, flat: Array, away: Array) -> Squares:
        """The same from V' Sigma V, without Sigma^(1/2) V: a large problem of diagonal covariance."""
        assert isinstance(self.covariance, Covariance)  # test points are few
        variances = self.covariance.variances
        spread, bent = variances * flat, variances * away
        cross = self.system.project(spread)
        matrix = np.block([[self._mixed, cross[:, None]], [cross[None, :], np.array([[flat @ spread]])]])
        squares, basis = np.linalg.eigh(matrix)
        keep = squares > matrix.shape[0] * np.finfo(np.float64).eps * squares[-1]
        root = np.sqrt(squares[keep])
        shift = (basis[:, keep].T @ np.append(self.system.project(bent), flat @ bent)) / root
        return Squares(root[:, None] * basis[:, keep].T, shift, max(float(away @ bent - shift @ shift), 0.0))

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
            return self._sample_floors(self.covariance, weight_decay, missing, train, population)
        nothing, origin = np.zeros(self.rank), np.zeros_like(missing)
        return Floors(
            train=train,
            population=population,
            bias=self.energy(bias, origin),
            noise=self.energy(spoiled, origin),
            null_space=self.energy(nothing, missing),
            unreachable=self.unreachable,
        )

    def _sample_floors(
        self, sample: Sample, weight_decay: float, kept: Array, train: float, population: float
    ) -> Floors:
        """Floors where no teacher is named: it fits the train targets, then the test's as far as it can."""
        fitted = self.residual / self.system.values
        biased = sample.image(self.system.expand(weight_decay * fitted / (self.curvature + weight_decay)))
        reached, left = self._reach
        hidden = reached - sample.image(kept)
        return Floors(
            train=train,
            population=population,
            bias=float(biased @ biased),
            noise=0.0,
            null_space=float(hidden @ hidden),
            unreachable=self.unreachable,
            approximation=float(left @ left),
            has_teacher=False,
        )

    @cached_property
    def _reach(self) -> tuple[Array, Array]:
        """`Sample.reach` beyond what fits the train targets."""
        assert isinstance(self.covariance, Sample)  # other populations have a teacher
        return self.covariance.reach(self.system, self.residual / self.system.values)

    def energy(self, coordinates: Array, flat: Array) -> float:
        """Population loss at ``teacher + V coordinates + flat``."""
        if self.covariance.scale is not None:
            return self.covariance.scale * float(coordinates @ coordinates + flat @ flat)
        return self.covariance.loss(self.system.expand(coordinates) + flat)

    @cached_property
    def _images(self) -> tuple[Array, Array, Array] | None:
        """``Sigma^(1/2) V`` with its QR factors, None where it is too large to hold."""
        images = self.covariance.images(self.system)
        if images is None:
            return None
        frame, upper = np.linalg.qr(images)
        return images, frame, upper

    @cached_property
    def _mixed(self) -> Array:
        """V' Sigma V of a diagonal Sigma."""
        assert isinstance(self.covariance, Covariance)  # test points are few
        return self.system.sandwich(self.covariance.variances)


def _split(frame: Array, vector: Array) -> tuple[Array, Array]:
    """Coordinates in an orthonormal frame, and what is left; exactly 0 where rounding leaves something."""
    along = frame.T @ vector
    across = vector - frame @ along
    more = frame.T @ across
    across = across - frame @ more
    nothing = np.linalg.norm(across) <= _ROUNDING * np.linalg.norm(vector)
    return along + more, np.zeros_like(across) if nothing else across
