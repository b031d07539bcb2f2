"""Certified searches along one stretch of ISTA: the next event, and when a measure is below a tolerance.

Every mode is monotone on the steps of one parity (on all steps where no factor is negative), so its values at the ends
of an interval bound it inside, and sums of such bounds bound whatever is watched. Intervals that the bounds do not
decide are split in 64, short ones are looked at step by step: a sum of exponentials that crosses and comes back cannot
hide.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt

from groktimizer.theory.clock.quadratic import Array
from groktimizer.theory.clock.search import LATEST
from groktimizer.theory.lasso.modes import Clock, Motion

_WALK = 64  # an undecided interval of at most so many steps is looked at step by step
_PARTS = 64
_REST = 45.0  # a mode is at rest when exp(-this) of its way is left
Labels = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Watch:
    """Linear functions of a stretch that must stay between limits: ``low < value + rows phi(k) + k slope <= high``.

    Args:
        clock: The modes that still move.
        value: Their part that does not move, shape (rows,).
        rows: Coefficients of phi, shape (rows, r).
        slope: Coefficients of k, shape (rows,), or None.
        low: Limits, excluded, shape (rows,).
        high: Limits, included, shape (rows,).
    """

    clock: Clock
    value: Array
    rows: Array
    slope: Array | None
    low: Array
    high: Array

    def doubtful(self, edges: Array) -> npt.NDArray[np.bool_]:
        """Whether bounds leave it open that a row passes its limit between two edges; shape (edges - 1, rows)."""
        place = self.clock.phi(edges)
        raises = (self.rows > 0) == (place[-1] >= place[0])  # whether the mode raises the row
        up = place @ np.where(raises, self.rows, 0).T + self.value
        down = place @ np.where(raises, 0, self.rows).T
        if self.slope is not None:
            up += np.outer(edges, np.maximum(self.slope, 0))
            down += np.outer(edges, np.minimum(self.slope, 0))
        return (up[:-1] + down[1:] <= self.low) | (up[1:] + down[:-1] > self.high)

    def outside(self, steps: Array) -> npt.NDArray[np.bool_]:
        """Whether some row is outside its limits at single steps; shape (steps,)."""
        value = self.value + self.clock.phi(steps) @ self.rows.T
        if self.slope is not None:
            value += np.outer(steps, self.slope)
        wrong: npt.NDArray[np.bool_] = (value <= self.low) | (value > self.high)
        return np.logical_or.reduce(wrong, axis=1)

    def only(self, rows: npt.NDArray[np.bool_], since: float) -> "Watch":
        """The same watch over some rows from a step on; modes that have come to rest by then are part of the value."""
        slope = None if self.slope is None else self.slope[rows]
        kept, value = self.rows[rows], self.value[rows]
        moving = self.clock.decay * since < _REST
        if moving.all():
            return Watch(self.clock, value, kept, slope, self.low[rows], self.high[rows])
        value = value + kept[:, ~moving] @ (1 / self.clock.loss[~moving])
        clock = Clock(self.clock.loss[moving])
        return Watch(clock, value, kept[:, moving], slope, self.low[rows], self.high[rows])


def event_watch(motion: Motion, features: Array, weight: float, slack: float, least: float) -> Watch:
    """What must hold at step k for the stretch to describe step k + 1 as well.

    Active coordinates keep their sign at k + 1, where ``phi(k + 1) = 1 + f phi(k)``; inactive ones have
    ``|X_j' rho_k| <= beta``.

    Args:
        motion: The stretch.
        features: X, shape (N, n).
        weight: beta.
        slack: Excess over beta that counts as rounding.
        least: Size of a coordinate that counts as rounding.

    Returns:
        The watch; its first violation at k means an event at step k + 1.
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
    slope = None
    if motion.drift is not None:
        slope = np.zeros(value.size)
        slope[active] = motion.signs * motion.drift
        value += slope
    return Watch(modes.clock, value, rows, slope, low, high)


def first_event(watch: Watch, compiled: bool = False) -> int | None:
    """Least k at which a row of the watch is outside its limits.

    Args:
        watch: What must hold.
        compiled: Whether to take the compiled search, which needs numba; the step is the same.

    Returns:
        The step, None if there is none up to 2^53.
    """
    if compiled:
        found = [_march(watch, start, stride) for start, stride in _classes(watch.clock)]
    else:
        found = [_exit(watch, start, stride, 0, None) for start, stride in _classes(watch.clock)]
    return min((k for k in found if k is not None), default=None)


def _march(watch: Watch, start: int, stride: int) -> int | None:
    """`_exit` with `marching`, over all steps of a class: on them each mode goes as ``1 - exp(-decay k)``."""
    from groktimizer.theory.lasso.marching import first_exit

    clock, value, ways = watch.clock, watch.value, watch.rows * (1 / watch.clock.loss)
    slope = np.zeros(value.size) if watch.slope is None else watch.slope
    if start:
        value, ways = value + watch.rows.sum(axis=1) + slope, ways * (1 - clock.loss)
    last = (LATEST - start) // stride
    found = first_exit(value, stride * slope, ways, stride * clock.decay, watch.low, watch.high, float(last))
    return start + stride * int(found) if found >= 0 else None


def _classes(clock: Clock) -> tuple[tuple[int, int], ...]:
    """Start and stride of the classes of steps on which every mode is monotone."""
    return ((0, 2), (1, 2)) if clock.alternates else ((0, 1),)


def _exit(watch: Watch, start: int, stride: int, low: int, high: int | None) -> int | None:
    """`first_event` over the steps ``start + stride i``, low <= i <= high."""
    if high is None:
        edges = _powers((LATEST - start) // stride)
    elif high - low < _WALK:
        steps = start + stride * np.arange(low, high + 1, dtype=np.float64)
        outside = np.flatnonzero(watch.outside(steps))
        return int(steps[outside[0]]) if outside.size else None
    else:
        edges = _split(low, high)
    # Intervals share their edges: the bounds then hold on one step more than is asked for.
    doubtful = watch.doubtful(start + stride * np.array(edges, np.float64))
    for i in np.flatnonzero(doubtful.any(axis=1)):
        found = _exit(watch.only(doubtful[i], start + stride * edges[i]), start, stride, edges[i], edges[i + 1] - 1)
        if found is not None:
            return found
    return None


@lru_cache(maxsize=4)
def _powers(last: int) -> tuple[int, ...]:
    """Edges 0, 64, 256, 1024, ... of intervals that cover 0..last."""
    edges = [0, _WALK]
    while 4 * edges[-1] <= last:
        edges.append(4 * edges[-1])
    return (*edges, last + 1)


@lru_cache(maxsize=256)
def _octaves(last: int) -> tuple[int, ...]:
    """Edges 0, 1, 2, 4, ... of intervals that cover 0..last; the last edge is last + 1."""
    edges = [0]
    while (following := max(1, 2 * edges[-1])) <= last:
        edges.append(following)
    return (*edges, last + 1)


def _split(first: int, last: int) -> tuple[int, ...]:
    """Edges of `_PARTS` nearly equal intervals."""
    return tuple((first + (last + 1 - first) * np.arange(_PARTS + 1) // _PARTS).tolist())


class Measure(Protocol):
    """A number of the state, watched along a stretch."""

    def labels(self, first: Array, last: Array) -> Labels:
        """1 where it is <= the tolerance throughout an interval of one parity, -1 where nowhere, 0 undecided."""
        ...


@dataclass(frozen=True)
class Distance:
    """``rest + sum (place_i + pace_i phi_i(k))^2 + (place + pace k)^2 <= square``, a squared distance along modes.

    Args:
        motion: The stretch.
        rest: Its part that does not move.
        place: Shape (r,).
        pace: Shape (r,).
        drift: place and pace of the null space.
        square: The tolerance, squared.
    """

    motion: Motion
    rest: float
    place: Array
    pace: Array
    drift: tuple[float, float]
    square: float

    def labels(self, first: Array, last: Array) -> Labels:
        """As `Measure`; exact where an interval is one step."""
        begin = self.place + self.pace * self.motion.modes.phi(first)
        end = self.place + self.pace * self.motion.modes.phi(last)
        low, high = _squares(begin, end)
        below, above = self.rest + low.sum(axis=-1), self.rest + high.sum(axis=-1)
        if self.drift[1]:
            low, high = (self.drift[0] + self.drift[1] * t for t in (first, last))
            least, most = _squares(low, high)
            below, above = below + least, above + most
        return np.where(above <= self.square, 1, np.where(below > self.square, -1, 0)).astype(np.int8)


def _squares(begin: Array, end: Array) -> tuple[Array, Array]:
    """Range of the square of what moves from `begin` to `end`."""
    a, b = begin**2, end**2
    return np.where(begin * end <= 0, 0.0, np.minimum(a, b)), np.maximum(a, b)


def distance_to(motion: Motion, reference: Array, limit: float) -> Distance:
    """Measure ``||a - reference|| <= limit``.

    Args:
        motion: The stretch.
        reference: Shape (n,).
        limit: Largest distance.

    Returns:
        The measure.
    """
    modes = motion.modes
    away = motion.state - reference
    inside = away[modes.active]
    place = inside @ modes.right
    flat = inside - modes.right @ place
    start, pace = 0.0, 0.0
    if motion.drift is not None:
        pace = float(np.linalg.norm(motion.drift))
        start = float(flat @ motion.drift) / pace
        flat = flat - start / pace * motion.drift
    idle = np.delete(away, modes.active)
    square = float(idle @ idle) + float(flat @ flat)
    return Distance(motion, square, place, motion.push, (start, pace), limit**2)


def residual_below(motion: Motion, limit: float) -> Distance:
    """Measure ``||X a - y|| <= limit``."""
    modes = motion.modes
    place = motion.residual @ modes.left
    rest = motion.residual - modes.left @ place
    return Distance(motion, float(rest @ rest), place, modes.values * motion.push, (0.0, 0.0), limit**2)


@dataclass(frozen=True)
class Lipschitz:
    """``measure(a) <= tolerance`` for a measure with ``|measure(a) - measure(b)| <= lipschitz ||a - b||``.

    Args:
        motion: The stretch.
        measure: Of a state, shape (n,).
        lipschitz: Its constant.
        tolerance: Threshold.
    """

    motion: Motion
    measure: Callable[[Array], float]
    lipschitz: float
    tolerance: float

    def labels(self, first: Array, last: Array) -> Labels:
        """As `Measure`."""
        values = np.array([self.measure(state) for state in self.motion.at(first)])
        reach = self.lipschitz * self.motion.reach(first, last)
        met, unmet = values + reach <= self.tolerance, values - reach > self.tolerance
        return np.where(met, 1, np.where(unmet, -1, 0)).astype(np.int8)


def find(measure: Measure, motion: Motion, last: int | None, wanted: int, forward: bool) -> int | None:
    """First (last) step of a stretch with a given label.

    Args:
        measure: What is watched.
        motion: The stretch.
        last: Its last step, None for ever.
        wanted: 1 met, -1 not met.
        forward: Whether the first such step is sought, otherwise the last.

    Returns:
        The step counted from its start, None if there is none; 2^53 stands for a last step that does not exist.
    """
    end = LATEST if last is None else last
    found = [
        _find(measure, (start, stride), (0, (end - start) // stride), wanted, forward, last is None)
        for start, stride in _classes(motion.modes.clock)
        if start <= end
    ]
    steps = [k for k in found if k is not None]
    return (min(steps) if forward else max(steps)) if steps else None


def _find(
    measure: Measure, steps: tuple[int, int], span: tuple[int, int], wanted: int, forward: bool, for_ever: bool
) -> int | None:
    """`find` over the steps ``start + stride i`` with i in a span; for ever means that its last interval has no end."""
    start, stride = steps
    low, high = span
    if high - low < _WALK:
        edges = tuple(range(low, high + 2))
    else:
        whole = np.array([high], np.float64) if not for_ever else np.array([np.inf])
        label = measure.labels(np.array([start + stride * float(low)]), start + stride * whole)[0]
        if label == -wanted:
            return None
        edges = _octaves(high) if low == 0 else _split(low, high)
    firsts = start + stride * np.array(edges[:-1], np.float64)
    lasts = start + stride * (np.array(edges[1:], np.float64) - 1)
    if for_ever:
        lasts[-1] = np.inf
    labels = measure.labels(firsts, lasts)
    order = range(len(labels)) if forward else reversed(range(len(labels)))
    for i in order:
        if labels[i] == wanted:
            return int(firsts[i]) if forward else int(min(lasts[i], LATEST))
        if labels[i] == 0 and edges[i + 1] - 1 > edges[i] and not np.isinf(lasts[i]):
            found = _find(measure, steps, (edges[i], edges[i + 1] - 1), wanted, forward, False)
            if found is not None:
                return found
    return None
