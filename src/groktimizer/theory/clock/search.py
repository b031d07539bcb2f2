"""When a condition on a curve begins to hold, first and for good, as certified steps: the one search of closed forms.

A curve bounds itself over whole intervals: the condition holds throughout, or nowhere, or is open. Open intervals are
split, short ones looked at step by step; nothing is sampled. The last interval has no end, and decides for ever.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from groktimizer.theory.clock.quadratic import Array

LATEST = 2**53  # up to here a float64 counts every step; where a mode still moves then, nothing is said of what follows
_SHORT = 64  # an open interval of at most so many steps is looked at step by step
_GROWTH = 4  # ratio of neighbouring edges of the first division
_CHUNKS = 4096, 16384  # steps that are looked at together, at first and at most
_PARTS = 16  # an open interval of a later one is split into so many
Labels = npt.NDArray[np.int8]
Truth = npt.NDArray[np.bool_]


@lru_cache(maxsize=256)
def ladder(last: int) -> Array:
    """Edges 0, 64, 256, 1024, ... of intervals that cover 0..last."""
    edges = [0]
    while (following := max(_SHORT, _GROWTH * edges[-1])) <= last:
        edges.append(following)
    return np.array([*edges, last + 1], dtype=np.float64)


EVER = np.append(ladder(LATEST - 1), np.inf)  # the same for all steps


class Curve(Protocol):
    """A condition over consecutive steps, counted from 0."""

    @property
    def patience(self) -> int:
        """Steps that are looked at one by one where neighbouring intervals are open."""
        ...

    def labels(self, edges: Array) -> Labels:
        """What bounds say from each edge to before the next, the last of which may be inf: 1 yes, -1 no, 0 open."""
        ...

    def walk(self, first: int, last: int) -> Truth:
        """Whether the condition holds, at every step from `first` to `last`."""
        ...

    def within(self, first: int, last: int) -> "Curve":
        """The same condition on an interval alone, where less may be left to look at."""
        ...


class Plain:
    """A curve that is the same condition everywhere, and that bounds soon decide."""

    @property
    def patience(self) -> int:
        """As in `Curve`."""
        return _SHORT

    def within(self, first: int, last: int) -> Self:
        """As in `Curve`."""
        return self


@dataclass(frozen=True)
class Crossing:
    """When a condition begins to hold.

    Args:
        first: First step at which it holds, None if it never does.
        settled: First step from which it holds for ever, None if there is none.
        resolved: False if the search gave up; then what it did not find is None.
    """

    first: int | None
    settled: int | None
    resolved: bool = True


class _BudgetSpent(Exception):
    """A search met more open steps than it may look at; `crossing` turns it into an unresolved time."""


@dataclass
class _Goal:
    """What is looked for: the label, whether its first or its last step, and how many steps may still be looked at."""

    label: int
    forward: bool
    budget: float


def crossing(curve: Callable[[int], Curve], starts: Sequence[int], budget: float = 20_000_000) -> Crossing:
    """First step at which a condition holds, and first step from which it holds for ever.

    Args:
        curve: The condition on each of consecutive stretches, the last one without end.
        starts: First step of each stretch.
        budget: Steps that may be looked at one by one; only curves that ring near their level cost many.

    Returns:
        Both times, as exact as the curves: steps that meet the level to rounding may go either way.
    """
    final, goal, first = curve(len(starts) - 1), _Goal(1, True, budget), None
    labels = final.labels(EVER)

    def look(place: int) -> int | None:
        if place == len(starts) - 1:
            found = _find(final, EVER, labels, goal)
        else:
            found = _stretch(curve(place), starts[place + 1] - starts[place] - 1, goal)
        return None if found is None else starts[place] + found

    try:
        ahead = (look(place) for place in range(len(starts)))
        first = next((step for step in ahead if step is not None), None)
        if labels[-1] <= 0:
            return Crossing(first, None, resolved=bool(labels[-1]))
        goal.label, goal.forward = -1, False
        behind = (look(place) for place in reversed(range(len(starts))))
        unmet = next((step for step in behind if step is not None), -1)
    except _BudgetSpent:
        return Crossing(first, None, resolved=False)
    return Crossing(first, unmet + 1)


def first_step(curve: Curve, label: int) -> int | None:
    """First step with a label (1 holds, -1 does not) on a curve without end, None if there is none up to `LATEST`."""
    return _find(curve, EVER, curve.labels(EVER), _Goal(label, True, math.inf))


def divided(first: int, last: int) -> Array:
    """Edges of nearly equal parts of an interval."""
    return np.array([first + (last + 1 - first) * i // _PARTS for i in range(_PARTS + 1)], dtype=np.float64)


def _find(curve: Curve, edges: Array, labels: Labels, goal: _Goal) -> int | None:
    """First (last) step with the wanted label; of an open interval without end nothing is said."""
    changes = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), labels.size]
    runs = list(itertools.pairwise(changes))
    for start, stop in runs if goal.forward else reversed(runs):
        if labels[start] == goal.label:
            return int(edges[start] if goal.forward else edges[stop] - 1)
        if labels[start] == 0:
            found = _open(curve, edges[start : stop + 1][np.isfinite(edges[start : stop + 1])], goal)
            if found is not None:
                return found
    return None


def _stretch(curve: Curve, last: int, goal: _Goal) -> int | None:
    """`_find` from 0 to `last`; what bounds say of the whole comes first."""
    edges = np.array([0.0, last + 1.0])
    return _open(curve, edges, goal) if last < _SHORT else _find(curve, edges, curve.labels(edges), goal)


def _open(curve: Curve, edges: Array, goal: _Goal) -> int | None:
    """`_find` in neighbouring open intervals: looked at step by step if bounds say little there, else divided."""
    first, last, count = int(edges[0]), int(edges[-1]) - 1, edges.size - 1
    if last - first < (curve.patience if count > 1 else _SHORT):
        return _walk(curve.within(first, last), first, last, goal)
    if count > 1:
        each = (
            _open(curve, edges[i : i + 2], goal) for i in (range(count) if goal.forward else reversed(range(count)))
        )
        return next((step for step in each if step is not None), None)
    inside = curve.within(first, last)
    edges = divided(first, last) if first else ladder(last)
    return _find(inside, edges, inside.labels(edges), goal)


def _walk(curve: Curve, first: int, last: int, goal: _Goal) -> int | None:
    """`_find` step by step from one end, in growing chunks."""
    size = _CHUNKS[0]
    while first <= last:
        count = min(size, last + 1 - first)
        begin = first if goal.forward else last + 1 - count
        goal.budget -= count
        if goal.budget < 0:
            raise _BudgetSpent
        hits = np.flatnonzero(curve.walk(begin, begin + count - 1) == (goal.label > 0))
        if hits.size:
            return begin + int(hits[0 if goal.forward else -1])
        first, last = (begin + count, last) if goal.forward else (first, begin - 1)
        size = min(_GROWTH * size, _CHUNKS[1])
    return None
