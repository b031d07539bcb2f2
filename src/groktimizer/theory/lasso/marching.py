"""The compiled search for the next event; importing this file imports numba.

The same bounds as in `search`, row by row, so that most rows are decided by one sum; inside an interval that they leave
open, steps are skipped as far as a linear bound ahead is safe, and every step that ends a stretch is looked at itself.
"""

import numpy as np

from groktimizer.theory.clock.quadratic import Array
from groktimizer.theory.lasso.kernels import compiled


@compiled
def _bound(q: Array, decay: Array, left: Array, length: float) -> tuple[float, float]:
    """Jump and pace with ``sum_m q_m left_m (1 - exp(-decay_m k)) <= jump + pace k`` for 0 <= k <= length."""
    # What rises is concave, so below its tangent, and below its whole way; what falls is convex, so below its chord.
    jump, pace = 0.0, 0.0
    for m in range(q.size):
        height, turns = q[m] * left[m], decay[m] * length
        if height > 0 and turns <= 1:
            pace += height * decay[m]
        elif height > 0:
            jump -= height * np.expm1(-turns)
        elif height < 0:
            pace -= height * np.expm1(-turns) / length
    return jump, pace


@compiled
def _safe(room: float, slope: float, q: Array, decay: Array, left: Array, length: float) -> float:
    """For how long, up to a length, a row certainly rises by no more than the room it has."""
    jump, pace = _bound(q, decay, left, length)
    pace += slope
    if jump + max(pace, 0.0) * length < room or (jump <= 0 and pace <= 0):
        return length
    return (room - jump) / pace if pace > 0 and jump < room else 0.0


@compiled
def _row_exit(
    value: float, slope: float, q: Array, decay: Array, low: float, high: float, first: float, last: float
) -> float:
    """`first_exit` of one row between two steps: bounds ahead, followed while they are safe, until a step is out."""
    step, ahead, left = first, 64.0, np.empty(q.size)
    while step <= last:
        place = value + slope * step
        for m in range(q.size):
            gone = np.expm1(-decay[m] * step)
            left[m] = 1 + gone
            place -= q[m] * gone
        if place <= low or place > high:
            return step
        length, safe = min(ahead, last - step + 1), 0.0
        while True:
            safe = length
            if high < np.inf:
                safe = _safe(high - place, slope, q, decay, left, length)
            if safe > 0:
                safe = min(safe, _safe(place - low, -slope, -q, decay, left, length))
            if 8 * safe >= length or length <= 1:
                break
            length /= 8
        ahead = 4 * length if safe >= length else max(2 * safe, 1.0)
        step += max(np.floor(safe), 1.0)
    return -1.0


@compiled
def _edges(decay: Array, last: float, edges: Array, gone: Array) -> int:
    """Write edges 0, 64, 256, ... as long as a mode moves, then the end, and each mode's way at them; give the last."""
    count, edge, moving = 0, 0.0, True
    while edge <= last and moving:
        edges[count], moving = edge, False
        for m in range(decay.size):
            gone[count, m] = -np.expm1(-decay[m] * edge)
            moving |= gone[count, m] < 1
        edge, count = max(64.0, 4 * edge), count + 1
    edges[count] = last + 1
    for m in range(decay.size):
        gone[count, m] = -np.expm1(-decay[m] * edges[count])
    return count


@compiled
def _soonest(value: Array, slope: Array, q: Array, low: Array, high: Array) -> int:
    """The row that leaves first if all modes are at rest; found first, it makes the search of the others short."""
    guess, soonest = 0, np.inf
    for j in range(value.size):
        rest, when = value[j] + q[j].sum(), np.inf
        if rest <= low[j] or rest > high[j]:
            when = 0.0
        elif slope[j] != 0:
            when = (high[j] - rest if slope[j] > 0 else rest - low[j]) / abs(slope[j])
        if when < soonest:
            guess, soonest = j, when
    return guess


@compiled
def _range(slope: float, q: Array, way: Array, step: float) -> tuple[float, float]:
    """What raises and what lowers a row up to a step."""
    rise, fall = max(slope, 0.0) * step, min(slope, 0.0) * step
    for m in range(q.size):
        rise += max(q[m], 0.0) * way[m]
        fall += min(q[m], 0.0) * way[m]
    return rise, fall


@compiled
def first_exit(value: Array, slope: Array, q: Array, decay: Array, low: Array, high: Array, last: float) -> float:
    """Least k at which a row ``value + slope k + sum_m q_m (1 - exp(-decay_m k))`` is outside its limits.

    Args:
        value: Shape (rows,).
        slope: Shape (rows,).
        q: Shape (rows, r), contiguous.
        decay: Positive, shape (r,).
        low: Limits, excluded, shape (rows,).
        high: Limits, included, shape (rows,).
        last: The last k.

    Returns:
        The step, -1 for none.
    """
    edges, gone, whole = np.empty(64), np.empty((64, decay.size)), np.ones(decay.size)
    count = _edges(decay, last, edges, gone)
    until, event = last + 1, -1.0
    guess = _soonest(value, slope, q, low, high)
    for i in range(-1, value.size):
        j = guess if i < 0 else i
        rise, fall = _range(slope[j], q[j], whole, until)
        if i == guess or (value[j] + fall > low[j] and value[j] + rise <= high[j]):
            continue
        rise, fall, e = 0.0, 0.0, 0
        while e < count and edges[e] < until:
            up, down = value[j] + rise, value[j] + fall
            e += 1
            rise, fall = _range(slope[j], q[j], gone[e], edges[e])
            if up + fall <= low[j] or down + rise > high[j]:
                end = min(edges[e], until) - 1
                found = _row_exit(value[j], slope[j], q[j], decay, low[j], high[j], edges[e - 1], end)
                if found >= 0:
                    until = event = found
    return event
