"""Where every mode can be during an interval of steps: the ingredient of certified searches.

Real positive roots: the position entry of M^t falls monotonically and the velocity entry rises once and falls, so two
evaluations bound them. Complex roots: amplitude at the ends times the range of the cosine between its end phases.
Negative roots: the size of the entry, with either sign.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from groktimizer.dynamics import Segment, envelope
from groktimizer.dynamics.modes import peak_step
from groktimizer.theory.clock.quadratic import Array, Box

_EVER = 1e18  # a step later than any that is asked for
_SLACK = 1e-12  # relative, more than the rounding of an entry
_PHASE_SLACK = 1e-8  # of a cosine whose phase is known to t * eps
_TWO_PI = 2 * np.pi
_LONG_PI = np.arctan2(np.longdouble(0), np.longdouble(-1))


def box(segment: Segment, first: npt.ArrayLike, last: npt.ArrayLike) -> Box:
    """Bounds on `Segment.offsets` during closed intervals of steps, counted from the start of the segment.

    Args:
        segment: A solved phase of stable modes.
        first: First step of each interval, shape (intervals,).
        last: Last step, inf for ever, shape (intervals,).

    Returns:
        A box of shape (intervals, modes).
    """
    a, b = (np.asarray(t, dtype=np.float64)[:, None] for t in (first, last))
    rates, for_ever = segment.rates, np.isinf(b)
    b = np.minimum(b, _EVER)
    low, high = _real_band(segment, a, b, for_ever)
    if rates.oscillates.any():
        wave_low, wave_high = _wave_band(segment, a, b, for_ever)
        low, high = np.where(rates.oscillates, wave_low, low), np.where(rates.oscillates, wave_high, high)
    if rates.negative.any():
        size_high = envelope(rates, a, segment.offset, segment.velocity) * (1 + _SLACK)
        plain = rates.momentum == 0
        size_low = np.where(plain & ~for_ever, np.abs(segment.offset) * np.exp(b * rates.log_rate) * (1 - _SLACK), 0.0)
        low, high = np.where(rates.negative, size_low, low), np.where(rates.negative, size_high, high)
    return Box(low, high, rates.negative)


def _real_band(segment: Segment, a: Array, b: Array, for_ever: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
    """Range of ``p e0 + mu U d0`` for real positive roots, with p and U bounded apart."""
    rates = segment.rates
    cosine_a, sine_a = rates.waves(a)
    cosine_b, sine_b = rates.waves(b)
    start = (cosine_a + rates.balance * sine_a) * segment.offset
    end = np.where(for_ever, 0.0, (cosine_b + rates.balance * sine_b) * segment.offset)
    if segment.from_start.any():
        moved_a, moved_b = (rates.displacement(t) * segment.offset for t in (a, b))
        start = np.where(segment.from_start, moved_a, start)
        end = np.where(segment.from_start, np.where(for_ever, segment.end, moved_b), end)
    low, high = np.minimum(start, end), np.maximum(start, end)
    kick = rates.momentum * segment.velocity
    if kick.any():
        peak = peak_step(rates)
        _, top = rates.waves(np.clip(peak, a, b))
        least = np.where(for_ever, 0.0, np.minimum(sine_a, sine_b))
        low, high = low + np.minimum(kick * least, kick * top), high + np.maximum(kick * least, kick * top)
    slack = _SLACK * np.maximum(np.abs(low), np.abs(high))
    return low - slack, high + slack


def _wave_band(segment: Segment, a: Array, b: Array, for_ever: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
    """Range of ``R rho^t cos(t angle - lag)`` for complex roots."""
    rates = segment.rates
    turn = np.where(rates.folded, _LONG_PI - rates.angle, rates.angle)
    angle = turn.astype(np.float64)
    sine_part = rates.balance * segment.offset + rates.momentum * segment.velocity
    sine_part = sine_part * rates.inverse_sine * np.exp(np.where(rates.oscillates, -rates.log_rate, 0.0))
    size, lag = np.hypot(segment.offset, sine_part), np.arctan2(sine_part, segment.offset)
    begin = np.mod(np.mod(a * turn, 2 * _LONG_PI).astype(np.float64) - lag, _TWO_PI)
    finish = begin + (b - a) * angle
    top = np.where(finish >= _TWO_PI, 1.0, np.maximum(np.cos(begin), np.cos(finish)))
    holds_pi = ((begin <= np.pi) & (finish >= np.pi)) | (finish >= 3 * np.pi)
    bottom = np.where(holds_pi, -1.0, np.minimum(np.cos(begin), np.cos(finish)))
    large = size * np.exp(a * rates.log_rate)
    small = np.where(for_ever, 0.0, size * np.exp(b * rates.log_rate))
    top, bottom = np.minimum(top + _PHASE_SLACK, 1.0), np.maximum(bottom - _PHASE_SLACK, -1.0)
    low = np.where(bottom < 0, bottom * large, bottom * small)
    high = np.where(top > 0, top * large, top * small)
    return low - _SLACK * large, high + _SLACK * large


class Walker:
    """Every integer step of a segment, a block at a time, from one exact state per block.

    Args:
        segment: A solved phase.
        block: Steps in a block.
    """

    def __init__(self, segment: Segment, block: int = 256) -> None:
        self._segment, self.block = segment, block
        steps = np.arange(block)[:, None]
        cosine, sine = segment.rates.waves(steps)
        self._position = cosine + segment.rates.balance * sine
        if segment.from_start.any():
            self._position = np.where(segment.from_start, segment.rates.displacement(steps), self._position)
        self._velocity = segment.rates.momentum * sine

    def blocks(self, starts: Sequence[int], last: int) -> Iterator[Array]:
        """Offsets at the steps of consecutive blocks, up to `last`; each of shape (steps, modes)."""
        segment, before = self._segment, np.array(starts)
        positions, velocities = segment.from_end.offsets(before)
        moved = np.where(segment.from_start, segment.offsets(before)[0], 0.0) if segment.from_start.any() else None
        for place_of_block, start in enumerate(starts):
            count = min(self.block, last + 1 - start)
            place = self._position[:count] * positions[place_of_block]
            place += self._velocity[:count] * velocities[place_of_block]
            if moved is not None:
                place += moved[place_of_block]
            yield place
