"""Where the modes of one phase can be during an interval of steps, and where they are at every step of it.

Real positive roots: the position entry of M^t falls monotonically and the velocity entry rises once and falls, so two
evaluations bound them. Complex roots: amplitude at the ends times the range of the cosine between its end phases.
Negative roots: the size of the entry, with either sign.
"""

from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from groktimizer.dynamics import Segment, envelope, transfer
from groktimizer.dynamics.modes import Transfer, peak_step
from groktimizer.dynamics.rates import ModeRates, phase
from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.quadratic import Array, Box, Diagonal, Loss
from groktimizer.theory.clock.search import LATEST, Labels, Plain, Truth, divided, ladder

FAR = 1e18  # a step later than any that is asked for
_SLACK = 1e-12  # relative, more than the rounding of an entry
_PHASE_SLACK = 1e-8  # of a cosine whose phase is known to t * eps
_TWO_PI = 2 * np.pi
_LONG_PI = np.arctan2(np.longdouble(0), np.longdouble(-1))
_BLOCK = 128  # steps that one exact state serves
_FINE = 16
_KEPT = 16  # boxes: both losses and both directions of a search ask for the same
_BLOCKS = 128  # blocks at a time
_NOTHING = 1e-3  # of the level: terms that are smaller are not summed, and count as doubt
_COARSE = 4e-5  # of a sum in single precision, relative to the sizes of its terms
_SINGLE = 1e-6  # of the level: more than its rounding in single precision
_PATIENCE, _RINGING = 512, 2**18  # see `Curve`; of curves that ring bounds say little
Places = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Piece:
    """A loss of the offsets of the modes of one phase; steps count from its start."""

    modes: "Modes"
    loss: Loss

    @property
    def limit(self) -> float:
        """Loss in the end, if no other phase follows."""
        return float(self.loss(self.modes.segment.end))

    @property
    def patience(self) -> int:
        """As in `Curve`: of curves that ring bounds say little."""
        return _RINGING if self.modes.segment.rates.oscillates.any() else _PATIENCE

    def values(self, steps: npt.ArrayLike) -> Array:
        """Loss at steps; shape ``steps.shape``."""
        return self.loss(self.modes.segment.offsets(steps)[0])

    def range(self, edges: Array) -> tuple[Array, Array]:
        """Bounds of the loss between consecutive edges; both of shape (intervals,)."""
        return self.loss.range(self.modes.box(edges))

    def walk(self, first: int, last: int) -> Array:
        """Losses at every step from `first` to `last`, of 16,384 at most."""
        blocks, steps = np.divmod(np.arange(last + 1 - first), _BLOCK)
        return self.loss(self.modes.offsets(self.modes.states(first, blocks[-1] + 1), blocks, steps))

    def met(self, first: int, last: int, level: float) -> Truth:
        """Whether those are at most `level`."""
        if not isinstance(self.loss, Diagonal):
            return self.walk(first, last) <= level
        states = self.modes.states(first, -(-(last + 1 - first) // _BLOCK))
        met, near = self.modes.coarse(states, self.loss, level)
        met[near] = self.loss(self.modes.offsets(states, *near)) <= level
        return met.ravel()[: last + 1 - first]


@dataclass(frozen=True)
class Below(Plain):
    """The condition ``loss <= level`` along a piece."""

    piece: Piece
    level: float

    @property
    @override
    def patience(self) -> int:
        """As in `Curve`."""
        return self.piece.patience

    def labels(self, edges: Array) -> Labels:
        """As in `Curve`."""
        low, high = self.piece.range(edges)
        return np.where(high <= self.level, 1, np.where(low > self.level, -1, 0)).astype(np.int8)

    def walk(self, first: int, last: int) -> Truth:
        """As in `Curve`."""
        return self.piece.met(first, last, self.level)


def lowest(piece: Piece, budget: int = 20_000_000) -> tuple[int, float]:
    """Step and value of the least loss on a piece without end, by branch and bound; `LATEST` if it is the limit."""
    best, best_step = piece.limit, LATEST
    stack, left = [ladder(LATEST // 2)], budget
    while stack:
        edges = stack.pop()
        values = piece.values(edges[:-1])
        best, best_step = min((best, best_step), (float(values.min()), int(edges[values.argmin()])), key=itemgetter(0))
        low = piece.range(edges)[0]
        for i in np.argsort(low)[::-1]:
            first, last = int(edges[i]), int(edges[i + 1]) - 1
            if low[i] >= best - _SLACK * abs(best):
                continue
            if last - first >= piece.patience:
                stack.append(divided(first, last))
                continue
            left -= last - first + 1
            if left < 0:
                raise UserError(f"no step singled out within budget {budget}: the loss is flat around step {best_step}")
            block = piece.walk(first, last)
            found = float(block.min()), first + int(block.argmin())
            best, best_step = min((best, best_step), found, key=itemgetter(0))
    return best_step, best


class Modes:
    """The modes of one phase, whatever loss is made of them: bounds on their offsets, and every step of them.

    Args:
        segment: The phase, solved.
    """

    def __init__(self, segment: Segment) -> None:
        self.segment, self._boxes = segment, dict[tuple[float, float, int], Box]()
        rings = segment.rates.oscillates
        kinds = ((np.flatnonzero(~rings), _between_real), (np.flatnonzero(rings), _between_waves))
        self._parts = [(index, segment.take(index), between) for index, between in kinds if index.size]

    def box(self, edges: Array) -> Box:
        """Bounds between consecutive edges, the last of which may be inf; of shape (intervals, modes)."""
        key = float(edges[0]), float(edges[-1]), edges.size  # one rule divides all intervals
        if key not in self._boxes:
            if len(self._boxes) == _KEPT:
                self._boxes.clear()
            low = np.empty((edges.size - 1, self.segment.offset.size))
            high = np.empty_like(low)
            steps, for_ever = np.minimum(edges, FAR)[:, None], np.isinf(edges[1:])[:, None]
            for index, part, between in self._parts:
                low[:, index], high[:, index] = between(part, steps, for_ever)
            self._boxes[key] = Box(low, high, self.segment.rates.negative)
        return self._boxes[key]

    @cached_property
    def _steps(self) -> tuple[Array, Array]:
        """What a step of a block makes of position and velocity at its begin; both of shape (steps, modes)."""
        rates, table = self.segment.rates, _table(self.segment.rates, 1, _BLOCK)
        if not self.segment.from_start.any():
            return table.position, table.position_per_velocity
        moved = rates.displacement(np.arange(_BLOCK)[:, None])
        return np.where(self.segment.from_start, moved, table.position), table.position_per_velocity

    @cached_property
    def _begins(self) -> Transfer:
        return _table(self.segment.rates, _BLOCK, _BLOCKS)

    @cached_property
    def _products(self) -> npt.NDArray[np.float32]:
        one, two = (part.T for part in self._steps)
        return np.vstack([one**2, one * two, two**2, one, two], dtype=np.float32)

    @cached_property
    def _most(self) -> tuple[Array, Array]:
        one, two = (np.abs(part).max(axis=0) for part in self._steps)
        return one, two

    def states(self, first: int, blocks: int) -> "_States":
        """The states with which consecutive blocks begin, the first of them at `first`."""
        entries = Transfer(*(part[:blocks] for part in self._begins))
        position, velocity = self.segment.from_end.offsets(first)
        moved = np.zeros((blocks, position.size))
        if self.segment.from_start.any():
            offsets = self.segment.offsets(first + _BLOCK * np.arange(blocks))[0]
            moved = np.where(self.segment.from_start, offsets, moved)
        return _States(
            entries.position * position + entries.position_per_velocity * velocity,
            entries.velocity_per_position * position + entries.velocity * velocity,
            moved,
        )

    def offsets(self, states: "_States", blocks: Places, steps: Places) -> Array:
        """Offsets at steps of blocks, both of shape (places,); shape (places, modes)."""
        place = self._steps[0][steps] * states.position[blocks]
        place += self._steps[1][steps] * states.velocity[blocks]
        place += states.moved[blocks]
        return place

    def coarse(self, states: "_States", loss: Diagonal, level: float) -> tuple[Truth, tuple[Places, ...]]:
        """Whether losses (blocks, steps) are at most a level, in single precision, and where that leaves a doubt."""
        # Multiplied out, a loss is a sum of what belongs to a block times what belongs to its steps.
        size = level**-0.5
        beta = (loss.beta + loss.alpha * states.moved) * size
        place, pace = loss.alpha * states.position * size, loss.alpha * states.velocity * size
        way = np.abs(place) * self._most[0] + np.abs(pace) * self._most[1]
        still, along = (beta**2).sum(axis=1) + loss.rest / level, 2 * (np.abs(beta) * way).sum(axis=1)
        weights, doubt = [place**2, 2 * place * pace, pace**2], _COARSE * ((way**2).sum(axis=1) + still) + _SINGLE
        if along.max() > _NOTHING:
            weights += [2 * beta * place, 2 * beta * pace]
            along *= _COARSE
        with np.errstate(over="ignore", invalid="ignore"):
            factors = np.hstack(weights, dtype=np.float32, casting="same_kind")
            values = factors @ self._products[: factors.shape[1]]
            values += (still - 1).astype(np.float32)[:, None]
            near = np.nonzero(~(np.abs(values) > (doubt + along).astype(np.float32)[:, None]))
        return values <= 0, near


class _States(NamedTuple):
    """From the fixed point, a step, and of modes measured from their start; each of shape (blocks, modes)."""

    position: Array
    velocity: Array
    moved: Array


def _between_real(segment: Segment, steps: Array, for_ever: Truth) -> tuple[Array, Array]:
    """Range of ``p e0 + mu U d0`` for real roots: if positive p and U bounded apart, if negative the size."""
    rates, kick = segment.rates, segment.rates.momentum * segment.velocity
    cosine, sine = rates.waves(steps)
    place = (cosine + rates.balance * sine) * segment.offset
    if segment.from_start.any():
        place = np.where(segment.from_start, rates.displacement(steps) * segment.offset, place)
    start, end = place[:-1], np.where(for_ever, segment.end, place[1:])
    low, high = np.minimum(start, end), np.maximum(start, end)
    if kick.any():
        _, top = rates.waves(np.clip(peak_step(rates), steps[:-1], steps[1:]))
        least = np.where(for_ever, 0.0, np.minimum(sine[:-1], sine[1:]))
        low, high = low + np.minimum(kick * least, kick * top), high + np.maximum(kick * least, kick * top)
    slack = _SLACK * np.maximum(np.abs(low), np.abs(high))
    low, high = low - slack, high + slack
    if rates.negative.any():
        far = envelope(rates, steps[:-1], segment.offset, segment.velocity) * (1 + _SLACK)
        left = np.abs(segment.offset) * np.exp(steps[1:] * rates.log_rate) * (1 - _SLACK)
        near = np.where((rates.momentum == 0) & ~for_ever, left, 0.0)
        low, high = np.where(rates.negative, near, low), np.where(rates.negative, far, high)
    return low, high


def _between_waves(segment: Segment, steps: Array, for_ever: Truth) -> tuple[Array, Array]:
    """Range of ``R rho^t cos(t angle - lag)`` for complex roots."""
    rates, turn = segment.rates, np.where(segment.rates.folded, _LONG_PI - segment.rates.angle, segment.rates.angle)
    sine_part = rates.balance * segment.offset + rates.momentum * segment.velocity
    sine_part = sine_part * rates.inverse_sine * np.exp(-rates.log_rate)
    begin = np.mod(phase(steps[:-1], turn) - np.arctan2(sine_part, segment.offset), _TWO_PI)
    finish = begin + np.diff(steps, axis=0) * turn.astype(np.float64)
    one, two = np.cos(begin), np.cos(finish)
    top = np.where(finish >= _TWO_PI, 1.0, np.maximum(one, two))
    holds_pi = ((begin <= np.pi) & (finish >= np.pi)) | (finish >= 3 * np.pi)
    bottom = np.where(holds_pi, -1.0, np.minimum(one, two))
    size = np.hypot(segment.offset, sine_part) * np.exp(steps * rates.log_rate)
    large, small = size[:-1], np.where(for_ever, 0.0, size[1:])
    top, bottom = np.minimum(top + _PHASE_SLACK, 1.0), np.maximum(bottom - _PHASE_SLACK, -1.0)
    low = np.where(bottom < 0, bottom * large, bottom * small)
    high = np.where(top > 0, top * large, top * small)
    return low - _SLACK * large, high + _SLACK * large


def _table(rates: ModeRates, stride: int, count: int) -> Transfer:
    """M^0, M^stride, M^(2 stride), ...: products of a few that are computed; each entry of shape (count, modes)."""
    one = transfer(rates, stride * np.arange(_FINE)[:, None])
    two = Transfer(*(part[:, None] for part in transfer(rates, stride * np.arange(0, count, _FINE)[:, None])))
    entries = Transfer(
        two.position * one.position + two.position_per_velocity * one.velocity_per_position,
        two.position * one.position_per_velocity + two.position_per_velocity * one.velocity,
        two.velocity_per_position * one.position + two.velocity * one.velocity_per_position,
        two.velocity_per_position * one.position_per_velocity + two.velocity * one.velocity,
    )
    return Transfer(*(part.reshape(count, -1) for part in entries))
