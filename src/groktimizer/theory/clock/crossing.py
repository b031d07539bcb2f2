"""First and last times of a condition on an exact curve, as certified integers.

A curve is a sequence of pieces, each a quadratic loss of the modes of one phase. Over an interval of steps the modes
stay in a box (`bands`), the loss in a range (`quadratic`); if the range lies on one side of the tolerance the
interval is decided, otherwise it is split, and short intervals are walked step by step. Nothing is sampled: a curve
that rings or comes back cannot hide a crossing. The tail is decided by the same bound on an interval without end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from groktimizer.dynamics import Segment
from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.bands import Walker, box
from groktimizer.theory.clock.horizon import LATEST
from groktimizer.theory.clock.quadratic import Array, Loss

_WALK = 512  # an undecided interval of at most so many steps is walked
_WALK_RINGING = 8192  # the same for curves that ring
_PARTS = 16  # an undecided longer one is split into so many
_UNDECIDED = (2**52, 0)  # where the search for a first step ends when nothing is known of the tail
Labels = npt.NDArray[np.int8]


@dataclass
class Budget:
    """Steps that a search may walk one by one before it gives up.

    Args:
        steps: What is left.
    """

    steps: int

    def spend(self, steps: int) -> None:
        """Take steps from the budget.

        Args:
            steps: How many are walked next.

        Raises:
            BudgetSpent: If they are more than what is left.
        """
        self.steps -= steps
        if self.steps < 0:
            raise BudgetSpent


class BudgetSpent(Exception):
    """A search met more undecided steps than it may walk; `crossing` turns it into an unresolved time."""


@dataclass(frozen=True)
class Piece:
    """A curve between two changes of phase; steps count from its own start.

    Args:
        segment: The modes.
        loss: The loss of their offsets.
        length: Steps until the next piece, None for the last one.
    """

    segment: Segment
    loss: Loss
    length: int | None

    @property
    def limit(self) -> float:
        """Loss in the end, if no other piece follows."""
        return float(self.loss(self.segment.end))

    @cached_property
    def walker(self) -> Walker:
        """Table of the first steps, made when the first interval is walked."""
        return Walker(self.segment)

    def values(self, steps: npt.ArrayLike) -> Array:
        """Loss at steps; shape ``steps.shape``."""
        return self.loss(self.segment.offsets(steps)[0])

    def range(self, first: Array, last: Array) -> tuple[Array, Array]:
        """Bounds of the loss over closed intervals; both of shape (intervals,)."""
        return self.loss.range(box(self.segment, first, last))

    def labels(self, first: Array, last: Array, tolerance: float) -> Labels:
        """1 where ``loss <= tolerance`` throughout, -1 where nowhere, 0 undecided; shape (intervals,)."""
        low, high = self.range(first, last)
        return np.where(high <= tolerance, 1, np.where(low > tolerance, -1, 0)).astype(np.int8)

    def walk(self, first: int, last: int) -> Iterator[tuple[int, Array]]:
        """Losses at every step from `first` to `last`, in blocks.

        Args:
            first: First step.
            last: Last step.

        Yields:
            Start of the block and its losses.
        """
        starts = range(first, last + 1, self.walker.block)
        for start, offsets in zip(starts, self.walker.blocks(starts, last), strict=True):
            yield start, self.loss(offsets)

    @cached_property
    def patience(self) -> int:
        """Longest undecided interval that is walked: bounds seldom decide parts of a curve that rings."""
        return _WALK_RINGING if self.segment.rates.oscillates.any() else _WALK


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


def crossing(pieces: Sequence[Piece], tolerance: float, budget: int = 20_000_000) -> Crossing:
    """First step with ``loss <= tolerance`` and first step from which it stays there.

    Args:
        pieces: The curve, the last piece without end.
        tolerance: Threshold.
        budget: Steps that may be walked one by one; only curves that ring near the tolerance walk many.

    Returns:
        Both times, as exact as the modes: steps whose loss equals the tolerance to rounding may go either way.
    """
    starts = [piece.segment.start for piece in pieces]
    tail = _tail(pieces[-1], tolerance)
    ends = [piece.length - 1 if piece.length is not None else (tail or _UNDECIDED)[0] for piece in pieces]
    allowance = Budget(budget)
    try:
        first = None
        for piece, start, end in zip(pieces, starts, ends, strict=True):
            found = _find(piece, _octaves(end), tolerance, (1, True), allowance)
            if found is not None:
                first = start + found
                break
    except BudgetSpent:
        return Crossing(None, None, resolved=False)
    if tail is None:  # a mode that is still on its way at the last step decides for ever
        return Crossing(first, None, resolved=False)
    if tail[1] < 0:
        return Crossing(first, None)
    try:
        for piece, start, end in zip(reversed(pieces), reversed(starts), reversed(ends), strict=True):
            found = _find(piece, _octaves(end), tolerance, (-1, False), allowance)
            if found is not None:
                return Crossing(first, start + found + 1)
    except BudgetSpent:
        return Crossing(first, None, resolved=False)
    return Crossing(first, 0)


def _tail(piece: Piece, tolerance: float) -> tuple[int, int] | None:
    """A step from which the condition is decided for ever, and its label; None if bounds do not decide it."""
    starts = np.concatenate([[0.0], 2.0 ** np.arange(0, 53)])
    labels = piece.labels(starts, np.full(starts.shape, np.inf), tolerance)
    decided = np.flatnonzero(labels)
    return None if decided.size == 0 else (int(starts[decided[0]]), int(labels[decided[0]]))


def _octaves(last: int) -> list[int]:
    """Edges 0, 1, 2, 4, ... of intervals that cover 0..last; the last edge is last + 1."""
    edges = [0]
    while (following := max(1, 2 * edges[-1])) <= last:
        edges.append(following)
    return [*edges, last + 1]


def _find(piece: Piece, edges: list[int], tolerance: float, goal: tuple[int, bool], budget: Budget) -> int | None:
    """Leftmost (rightmost) step with a given label.

    Args:
        piece: The curve.
        edges: Increasing; interval i is ``edges[i] .. edges[i + 1] - 1``.
        tolerance: Threshold.
        goal: The label (1 met, -1 not met), and whether the leftmost such step is wanted.
        budget: Steps that may be walked.

    Returns:
        The step, or None if no step has the label.
    """
    wanted, forward = goal
    firsts, lasts = np.array(edges[:-1], np.float64), np.array(edges[1:], np.float64) - 1
    labels = piece.labels(firsts, lasts, tolerance)
    for i in range(len(labels)) if forward else reversed(range(len(labels))):
        first, last = edges[i], edges[i + 1] - 1
        if labels[i] == wanted:
            return first if forward else last
        if labels[i] == 0:
            found = (
                _walk(piece, first, last, tolerance, goal, budget)
                if last - first < piece.patience
                else _find(piece, _split(first, last), tolerance, goal, budget)
            )
            if found is not None:
                return found
    return None


def _split(first: int, last: int) -> list[int]:
    """Edges of `_PARTS` nearly equal intervals."""
    return [first + (last + 1 - first) * i // _PARTS for i in range(_PARTS + 1)]


def _walk(piece: Piece, first: int, last: int, tolerance: float, goal: tuple[int, bool], budget: Budget) -> int | None:
    """`_find` over an interval by looking at every step of it."""
    budget.spend(last + 1 - first)
    wanted, forward = goal
    found = None
    for start, values in piece.walk(first, last):
        hits = np.flatnonzero((values <= tolerance) == (wanted > 0))
        if hits.size:
            found = start + int(hits[0] if forward else hits[-1])
            if forward:
                return found
    return found


def lowest(piece: Piece, budget: int = 20_000_000) -> tuple[int, float]:
    """Step of the least loss on a piece without end, by branch and bound.

    Args:
        piece: The curve.
        budget: Steps that may be walked one by one.

    Returns:
        The step and its loss; the step is `LATEST` if the infimum is the limit.

    Raises:
        UserError: If the curve is too flat near its minimum to single out a step within the budget.
    """
    edges = _octaves(2**52)
    best_step, best = LATEST, piece.limit
    allowance = Budget(budget)
    stack = [edges]
    try:
        while stack:
            edges = stack.pop()
            firsts, lasts = np.array(edges[:-1], np.float64), np.array(edges[1:], np.float64) - 1
            values = piece.values(firsts)
            if values.min() < best:
                best_step, best = int(firsts[values.argmin()]), float(values.min())
            low = piece.range(firsts, lasts)[0]
            for i in np.argsort(low)[::-1]:
                if low[i] >= best - 1e-12 * abs(best):
                    continue
                if lasts[i] - firsts[i] >= piece.patience:
                    stack.append(_split(int(firsts[i]), int(lasts[i])))
                    continue
                allowance.spend(int(lasts[i] - firsts[i]) + 1)
                for start, block in piece.walk(int(firsts[i]), int(lasts[i])):
                    if block.min() < best:
                        best_step, best = start + int(block.argmin()), float(block.min())
    except BudgetSpent:
        raise UserError(
            f"no step singled out within budget {budget}: the loss is flat around step {best_step}"
        ) from None
    return best_step, best
