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
from groktimizer.theory.ridge.covariance import Population
from groktimizer.theory.ridge.spectrum import Array, Spectrum
from groktimizer.theory.ridge.times import Floors
from groktimizer.theory.ridge.trajectory import Trajectory


@dataclass(frozen=True, eq=False)
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


_KEPT = 4  # starts whose factors are kept


class Modal:
    """A ridge problem by its modes.

    Args:
        system: Singular system of the features.
        samples: n.
        teacher: theta*, shape (m,).
        noise: Label noise, shape (n,).
        population: What the population loss is taken over.
    """

    def __init__(self, system: Spectrum, samples: int, teacher: Array, noise: Array, population: Population) -> None:
        self.system, self.samples, self.population = system, samples, population
        self.curvature = system.values**2 / samples
        self.rank = self.curvature.size
        self.noise = system.left.T @ noise
        outside = noise - system.left @ self.noise
        self.unreachable = float(outside @ outside) / (2 * samples)
        self.teacher = self.locate(teacher)
        self.residual = system.values * self.teacher.coordinates + self.noise
        self.zero = Start(np.zeros_like(teacher), np.zeros(self.rank), np.zeros_like(teacher))
        self._factors: list[tuple[Start, Array]] = []  # of the last few starts: one is asked for many decays

    def locate(self, vector: Array) -> Start:
        """Split a vector (m,); without a null space its component there is exactly 0."""
        coordinates = self.system.project(vector)
        hidden = np.zeros_like(vector) if self.rank == vector.size else vector - self.system.expand(coordinates)
        return Start(vector, coordinates, hidden)

    def distance(self, weight_decay: float) -> Array:
        """Fixed point minus teacher along the data: bias plus noise; shape (rank,)."""
        spoiled = self.system.values * self.noise / self.samples
        return (spoiled - weight_decay * self.teacher.coordinates) / (self.curvature + weight_decay)

    def trajectory(self, start: Start, phases: list[Phase], flow: bool) -> Trajectory:
        """A run of heavy ball, or of gradient flow for time lr a step, with both losses expressed in its modes."""
        pull = np.append(self.system.values * self.residual / self.samples, 0.0)
        initial, target = np.append(start.coordinates, 1.0), np.append(self.teacher.coordinates, 0.0)
        segments = solve(phases, np.append(self.curvature, 0.0), pull, initial, flow_rates if flow else None, target)
        decays = [phase.weight_decay for phase in phases]
        train = [self.train_form(decay) for decay in decays]
        population = [self._population_form(start, *both) for both in zip(segments, decays, strict=True)]
        return Trajectory(self.system, segments, train, population, start.flat)

    def train_form(self, weight_decay: float) -> Diagonal:
        """Train loss as a form of the offsets; the null space does not enter."""
        scale = (2 * self.samples) ** -0.5
        beta = -weight_decay * self.residual / (self.curvature + weight_decay)
        return Diagonal(np.append(self.system.values, 0.0) * scale, np.append(beta, 0.0) * scale, self.unreachable)

    def _population_form(self, start: Start, segment: Segment, weight_decay: float) -> Loss:
        """Population loss as a form of the offsets: diagonal under an isotropic covariance, else a sum of squares."""
        measured = segment.position[:-1] - self.teacher.coordinates
        distance = np.where(segment.from_start[:-1], measured, self.distance(weight_decay))
        kept = float(segment.origin[-1])
        if self.population.scale is None:
            upper, rows = self.upper(start), self.rank + 1
            shift = upper @ np.concatenate([distance, [kept, -1.0]])
            return Squares(upper[:rows, :-1], shift[:rows], float((shift[rows:] ** 2).sum()))
        root, size = float(self.population.root), float(np.linalg.norm(start.flat))
        missing = kept * start.flat - self.teacher.flat
        along = float(start.flat @ missing) / size if size > 0 else 0.0
        left = missing - along * start.flat / size if size > 0 else missing
        rest = self.population.scale * float(left @ left)
        return Diagonal(root * np.append(np.ones(self.rank), size), root * np.append(distance, along), rest)

    def upper(self, start: Start) -> Array:
        """Triangular factor of the population's images of V, of the start's null-space part and of what is wanted."""
        known = [kept for kept in self._factors if kept[0] is start] or [(start, self._factored(start))]
        self._factors = [*known, *(kept for kept in self._factors if kept[0] is not start)][:_KEPT]
        return known[0][1]

    def _factored(self, start: Start) -> Array:
        """Upper factor of the images of V, of the start's null-space part, and of what is wanted of it, as columns."""
        population, hidden = self.population, np.stack([start.flat, self.teacher.flat])
        if population.root.ndim == 2:
            one, two = population.image(hidden)
            images = np.column_stack([population.images(self.system), one, two + population.wanted])
            return np.asarray(np.linalg.qr(images, mode="r"), np.float64)
        upper = np.empty((0, self.rank + 2))
        for columns, block in self.system.blocks():
            rows = np.vstack([block, hidden[:, columns]]) * population.root[columns]
            upper = np.asarray(np.linalg.qr(np.vstack([upper, rows.T]), mode="r"), np.float64)
        return upper

    def floors(self, weight_decay: float, start: Start) -> Floors:
        """As `Ridge.floors`. A teacher that is not named fits the train targets, then the test's as far as it can."""
        total, nothing = self.curvature + weight_decay, self.zero
        shrunk = -weight_decay / total
        spoiled = self.system.values * self.noise / self.samples / total
        kept = nothing.flat if weight_decay > 0 else start.flat
        missing = kept - self.teacher.flat
        train = float(self.train_form(weight_decay)(np.zeros(self.rank + 1)))
        bias = shrunk * self.teacher.coordinates
        whole = self.energy(bias + spoiled, missing)
        if self.population.targets is None:
            parts = ((bias, nothing.flat), (spoiled, nothing.flat), (nothing.coordinates, missing))
            return Floors(train, whole, *(self.energy(*part) for part in parts), unreachable=self.unreachable)
        reached, left = self._reach
        biased = self.population.image(self.system.expand(shrunk * self.residual / self.system.values))
        hidden = reached - self.population.image(kept)
        return Floors(
            train=train,
            population=whole,
            bias=float(biased @ biased),
            noise=0.0,
            null_space=float(hidden @ hidden),
            unreachable=self.unreachable,
            approximation=float(left @ left),
            has_teacher=False,
        )

    @cached_property
    def _reach(self) -> tuple[Array, Array]:
        """`Population.reach` beyond what fits the train targets."""
        return self.population.reach(self.system, self.residual / self.system.values)

    def energy(self, coordinates: Array, flat: Array) -> float:
        """Population loss at ``teacher + V coordinates + flat``."""
        if self.population.scale is not None:
            return self.population.scale * float(coordinates @ coordinates + flat @ flat)
        return self.population.loss(self.system.expand(coordinates) + flat)
