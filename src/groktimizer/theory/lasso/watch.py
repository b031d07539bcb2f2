"""What is watched along one stretch of ISTA: its limits, and measures of its state, as curves that the clock searches.

Every mode is bounded between two steps by what it is at them, and sums of such bounds bound whatever is watched.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from groktimizer.theory.clock.quadratic import Array
from groktimizer.theory.clock.search import Labels, Plain, Truth
from groktimizer.theory.lasso.modes import Clock, Motion

_REST = 45.0  # a mode is at rest when exp(-this) of its way is left


@dataclass(frozen=True)
class Watch(Plain):
    """That linear functions of a stretch stay between limits: ``low < value + rows phi(k) <= high``.

    Args:
        clock: The modes that still move.
        value: Their part that does not move, shape (rows,).
        rows: Coefficients of phi, shape (rows, r).
        low: Limits, excluded, shape (rows,).
        high: Limits, included, shape (rows,).
    """

    clock: Clock
    value: Array
    rows: Array
    low: Array
    high: Array

    @cached_property
    def _sizes(self) -> Array:
        return np.abs(self.rows)

    def _doubtful(self, edges: Array) -> Truth:
        """Whether bounds leave it open that a row passes its limit between two edges; shape (intervals, rows)."""
        low, high = self.clock.band(edges)
        middle = (low + high) / 2 @ self.rows.T + self.value
        reach = (high - low) / 2 @ self._sizes.T
        return (middle - reach <= self.low) | (middle + reach > self.high)

    def labels(self, edges: Array) -> Labels:
        """As in `Curve`; where a row leaves its limits is for the steps to say."""
        return np.logical_not(np.logical_or.reduce(self._doubtful(edges), axis=1)).astype(np.int8)

    def walk(self, first: int, last: int) -> Truth:
        """As in `Curve`."""
        steps = np.arange(first, last + 1, dtype=np.float64)
        value = self.value + self.clock.phi(steps) @ self.rows.T
        return np.logical_and.reduce((value > self.low) & (value <= self.high), axis=1)

    @override
    def within(self, first: int, last: int) -> "Watch":
        """The rows that are open there; modes that have come to rest by then are part of the value."""
        rows = self._doubtful(np.array([first, last + 1.0]))[0]
        kept, value = self.rows[rows], self.value[rows]
        moving = self.clock.decay * first < _REST
        if not moving.all():
            value = value + kept[:, ~moving] @ (1 / self.clock.loss[~moving])
            kept = kept[:, moving]
        clock = self.clock if moving.all() else Clock(self.clock.loss[moving])
        return Watch(clock, value, kept, self.low[rows], self.high[rows])


def event_watch(motion: Motion, features: Array, weight: float, slack: float, least: float) -> Watch:
    """What must hold at step k for the stretch to describe step k + 1 as well: else an event shows there.

    Active coordinates keep their sign at k + 1, where ``phi(k + 1) = 1 + f phi(k)``; inactive ones have
    ``|X_j' rho_k| <= beta``.

    Returns:
        The watch.
    """
    modes, active = motion.modes, motion.modes.active
    rows = features.T @ modes.left
    rows *= modes.values * motion.push
    rows[active] = motion.signs[:, None] * modes.right * (motion.push * (1 - modes.clock.loss))
    value = motion.residual @ features
    value[active] = motion.signs * (motion.state[active] + modes.right @ motion.push)
    high = np.full(value.size, weight + slack)
    low = -high
    low[active], high[active] = -least, np.inf
    return Watch(modes.clock, value, rows, low, high)


@dataclass(frozen=True)
class Distance(Plain):
    """``rest + sum (place_i + pace_i phi_i(k))^2 <= square``, a squared distance along modes.

    Args:
        clock: The modes.
        rest: The part that does not move.
        place: Shape (r,).
        pace: Shape (r,).
        square: The tolerance, squared.
    """

    clock: Clock
    rest: float
    place: Array
    pace: Array
    square: float

    def labels(self, edges: Array) -> Labels:
        """As in `Curve`."""
        low, high = self.clock.band(edges)
        below, above = _squares(self.place + self.pace * low, self.place + self.pace * high)
        below, above = self.rest + below.sum(axis=1), self.rest + above.sum(axis=1)
        return np.where(above <= self.square, 1, np.where(below > self.square, -1, 0)).astype(np.int8)

    def walk(self, first: int, last: int) -> Truth:
        """As in `Curve`."""
        steps = np.arange(first, last + 1, dtype=np.float64)
        square = self.rest + ((self.place + self.pace * self.clock.phi(steps)) ** 2).sum(axis=1)
        return square <= self.square


def _squares(begin: Array, end: Array) -> tuple[Array, Array]:
    """Range of the square of what lies between `begin` and `end`."""
    a, b = begin**2, end**2
    return np.where(begin * end <= 0, 0.0, np.minimum(a, b)), np.maximum(a, b)


def distance_to(motion: Motion, reference: Array, limit: float) -> Distance:
    """Condition ``||a - reference|| <= limit``."""
    modes = motion.modes
    away = motion.state - reference
    inside = away[modes.active]
    place = inside @ modes.right
    flat = inside - modes.right @ place
    idle = np.delete(away, modes.active)
    square = float(idle @ idle) + float(flat @ flat)
    return Distance(modes.clock, square, place, motion.push, limit**2)


def residual_below(motion: Motion, limit: float) -> Distance:
    """Condition ``||X a - y|| <= limit``."""
    modes = motion.modes
    place = motion.residual @ modes.left
    rest = motion.residual - modes.left @ place
    return Distance(modes.clock, float(rest @ rest), place, modes.values * motion.push, limit**2)


@dataclass(frozen=True)
class Few(Plain):
    """A condition on a stretch of a few steps, looked at one by one."""

    met: Callable[[npt.NDArray[np.int64]], Truth]

    def labels(self, edges: Array) -> Labels:
        """As in `Curve`: there are no bounds."""
        return np.zeros(edges.size - 1, dtype=np.int8)

    def walk(self, first: int, last: int) -> Truth:
        """As in `Curve`."""
        return self.met(np.arange(first, last + 1, dtype=np.int64))
