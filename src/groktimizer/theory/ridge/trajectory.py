"""The path of one run in closed form: parameters and losses at any step."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from groktimizer.dynamics import Segment, positions
from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.exponentials import Below, Modes, Piece
from groktimizer.theory.clock.quadratic import Array, Loss
from groktimizer.theory.clock.search import Crossing, crossing
from groktimizer.theory.ridge.spectrum import Spectrum


@dataclass(frozen=True)
class Trajectory:
    """Parameters and losses of a run at any step, from a handful of numbers a mode.

    The modes are the coordinates along the right singular vectors, followed by the weight of the initial null-space
    component (1 at step 0), which only decay moves.

    Args:
        system: The singular system of the features.
        segments: One per phase.
        train: Train loss ``(1/2n) ||features theta - y||^2``, per phase; of offsets from the fixed points.
        population: Population loss ``E[<theta - theta*, phi>^2]``, per phase; of offsets from the segments' origins.
        flat: Null-space component of theta(0), shape (m,).
    """

    system: Spectrum
    segments: Sequence[Segment]
    train: Sequence[Loss]
    population: Sequence[Loss]
    flat: Array

    @cached_property
    def population_pieces(self) -> list[Piece]:
        """The population loss as `crossing` takes it."""
        return [Piece(Modes(segment), loss) for segment, loss in zip(self.segments, self.population, strict=True)]

    @cached_property
    def train_pieces(self) -> list[Piece]:
        """The train loss as `crossing` takes it; no slow mode has a far fixed point there: each is weighed by s."""
        modes = [piece.modes for piece in self.population_pieces]
        ends = [one if one.segment.from_end is one.segment else Modes(one.segment.from_end) for one in modes]
        return [Piece(*both) for both in zip(ends, self.train, strict=True)]

    def crossing(self, pieces: Sequence[Piece], level: float, budget: float) -> Crossing:
        """First and settled step with a loss within a level; see `clock.search`."""
        return crossing(lambda place: Below(pieces[place], level), [one.start for one in self.segments], budget)

    def theta(self, t: npt.ArrayLike) -> Array:
        """Parameters at steps t; shape ``t.shape + (m,)``."""
        place = positions(self.segments, _steps(t))
        return self.system.expand(place[..., :-1]) + place[..., -1:] * self.flat

    def norm(self, t: npt.ArrayLike) -> Array:
        """``||theta_t||``, without forming theta."""
        place = positions(self.segments, _steps(t))
        return np.sqrt((place[..., :-1] ** 2).sum(axis=-1) + place[..., -1] ** 2 * float(self.flat @ self.flat))

    def train_loss(self, t: npt.ArrayLike) -> Array:
        """``(1/2n) ||features theta_t - y||^2`` without the decay term; shape ``t.shape``."""
        return self._losses(self.train_pieces, t)

    def population_loss(self, t: npt.ArrayLike) -> Array:
        """``E[<theta_t - theta*, phi>^2]``, no 1/2, label noise not counted; shape ``t.shape``."""
        return self._losses(self.population_pieces, t)

    def _losses(self, pieces: Sequence[Piece], t: npt.ArrayLike) -> Array:
        """Losses phase by phase, 4,000 steps at a time."""
        steps = _steps(t)
        result = np.empty(steps.shape)
        starts = [segment.start for segment in self.segments]
        for piece, start, end in zip(pieces, starts, [*starts[1:], np.inf], strict=True):
            here = (steps >= start) & (steps < end)
            parts = np.array_split(steps[here] - start, np.count_nonzero(here) // 4000 + 1)
            result[here] = np.concatenate([piece.values(part) for part in parts])
        return result


def _steps(t: npt.ArrayLike) -> Array:
    """Steps that a run has."""
    steps = np.asarray(t, dtype=np.float64)
    if steps.size and not (np.isfinite(steps).all() and steps.min() >= 0):
        raise UserError("t: holds negative or non-finite steps, accepted are steps >= 0")
    return steps
