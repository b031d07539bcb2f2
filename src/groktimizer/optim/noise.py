"""How noisy is the training loss that is seen? Sums over a window of losses, and what can be said of their mean.

Batches that differ show in the order of the losses: of three independent ones the middle is the largest or the
smallest with probability 2/3, whatever their distribution, while a loss that falls, or rests, has no such turns.
Everything is arithmetic on a fixed set of numbers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

QUIET, LOUD = 0.45, 0.5  # share of turns below which a loss is a trend, above which it is noise for sure
PRIOR, MEMORY = 8, 64  # losses that the first guess (2/3, noise) weighs, and that the share remembers
ENOUGH = 10  # changes of the loss before noise is taken as proven
EARLY = 4  # losses that say where the run began, where batches differ
SHORTEST = 8  # losses in a window
REST, FALLS = 60, 0.9  # losses without a fall that say something, and what counts as a fall
LONGEST = 0.25  # of all losses so far: a window that is not precise by then ends all the same
KNOWN = 150  # losses that have shown a bad sample, if there are any that matter: e^-3 for one loss in fifty
PRECISE = 0.2  # uncertainty of a window's mean, in units of it, at which the window ends

SHORT, LONG = 19.0, 2000.0  # losses that the running mean averages, at least and at most
STEADY = 0.25  # standard error of the running mean, in units of it, that is good enough


@dataclass(slots=True)
class Noise:
    """What is remembered of the losses.

    Args:
        losses: How many there were.
        early: Sum of the first few.
        lean: Their sum, each times how many came before it.
        last: The last one.
        change: The last change that was one.
        tests: How many pairs of changes were looked at.
        turning: Share of turns among them.
        mean: Running mean.
        spread: Running variance of one loss.
        count: Losses in the window.
        total: Their sum.
        rough: Half the sum of squares of their changes.
        peak: The largest of them.
        jump: What a bad sample adds to the loss of a batch: the largest `dispersion` of earlier windows; 0 before.
    """

    losses: int = 0
    early: float = 0.0
    lean: float = 0.0
    last: float = math.nan
    change: float = 0.0
    tests: int = 0
    turning: float = 2.0 / 3.0
    mean: float = math.nan
    spread: float = 0.0
    count: int = 0
    total: float = 0.0
    rough: float = 0.0
    peak: float = 0.0
    jump: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers under names that begin with ``noise_``."""
        return {key: getattr(self, name) for key, name in _KEYS}

    @classmethod
    def from_dict(cls, numbers: Mapping[str, Any]) -> Self:
        """Take up what `to_dict` gave; what is not there is as at the start."""
        return cls(**{name: numbers[key] for key, name in _KEYS if key in numbers})

    def empty_window(self) -> None:
        """Begin another window."""
        self.count, self.total, self.rough, self.peak = 0, 0.0, 0.0, 0.0


_KEYS = tuple((f"noise_{field.name}", field.name) for field in fields(Noise))  # at every step: not looked up anew


def take_in(state: Noise, loss: float) -> None:
    """Add one loss.

    Args:
        state: What is remembered; changed in place.
        loss: A finite training loss.
    """
    seen = state.losses = state.losses + 1
    if seen <= EARLY:
        state.early += loss
        state.lean += (seen - 1) * loss
    change = 0.0 if math.isnan(state.last) else loss - state.last
    if change != 0.0:
        if state.change != 0.0:
            _count(state, turned=(change > 0.0) is not (state.change > 0.0))
        state.change = change
    elif loss == state.last and loss != 0.0:
        _count(state, turned=False)  # to the last bit: the same batch at rest
    state.last = loss
    _follow(state, loss, 0.5 * change * change)
    state.count += 1
    state.total += loss
    state.rough += 0.5 * change * change
    state.peak = max(state.peak, loss)


def _count(state: Noise, *, turned: bool) -> None:
    state.tests += 1
    state.turning += (turned - state.turning) / min(state.tests + PRIOR, MEMORY)


def _follow(state: Noise, loss: float, square: float) -> None:
    """The running mean and the variance of one loss, over as many losses as the mean needs (`memory`)."""
    if math.isnan(state.mean):
        state.mean = loss
        return
    weight = 2.0 / (memory(state) + 1.0)
    state.spread += weight * (square - state.spread)
    state.mean += weight * (loss - state.mean)


def memory(state: Noise) -> float:
    """Losses that the running mean averages: enough for a standard error of `STEADY` of it.

    Args:
        state: What is remembered.

    Returns:
        A number between `SHORT` and `LONG`; `SHORT` where batches do not differ.
    """
    if not proven(state):
        return SHORT
    needed = state.spread / max(STEADY * abs(state.mean), 1e-30) ** 2
    return min(max(needed, SHORT), LONG)


def standard_error(state: Noise) -> float:
    """Standard error of the running mean.

    Args:
        state: What is remembered.

    Returns:
        The error in units of the loss; 0 where batches do not differ.
    """
    return math.sqrt(state.spread / memory(state)) if proven(state) else 0.0


def noisy(state: Noise) -> bool:
    """Whether batches may differ, as far as the order of the losses tells.

    Args:
        state: What is remembered.

    Returns:
        True until a few losses without a turn, or fewer turns than noise has, say no.
    """
    return state.turning > QUIET


def proven(state: Noise) -> bool:
    """Whether enough losses have been seen to say that batches do differ.

    Args:
        state: What is remembered.

    Returns:
        False for the first ten changes of the loss, then whether more than half of them are turns.
    """
    return state.tests > ENOUGH and state.turning > LOUD


def forget(state: Noise) -> None:
    """Drop the running mean: the parameters have been set back. Whether batches differ stays known.

    Args:
        state: What is remembered; changed in place.
    """
    state.empty_window()
    state.last, state.change, state.mean, state.spread = math.nan, 0.0, math.nan, 0.0


def start(state: Noise) -> float:
    """The loss at the very start: the least-squares line through the first few, but not below their mean.

    Args:
        state: What is remembered, after a loss.

    Returns:
        The loss before the first step.
    """
    count = min(state.losses, EARLY)
    average, middle = state.early / count, (count - 1) / 2
    if count == 1:
        return average
    slope = (state.lean - middle * state.early) * 12.0 / (count * (count * count - 1))
    return average + max(0.0, -slope) * middle


def mean(state: Noise) -> float:
    """Mean loss of the window.

    Args:
        state: What is remembered, with a loss in its window.

    Returns:
        The mean.
    """
    return state.total / state.count


def variance(state: Noise) -> float:
    """Variance of one loss of the window about its trend: half the mean square of successive differences.

    Args:
        state: What is remembered, with a loss in its window.

    Returns:
        The variance.
    """
    return state.rough / state.count


def dispersion(state: Noise) -> float:
    """Variance of one loss of the window over its mean: what a bad sample adds to the loss of a batch.

    If few samples of a batch of B are bad and lose L each, their number has the variance of its mean (Poisson), so the
    loss, L / B times their number, has a variance of L / B times its mean.

    Args:
        state: What is remembered, with a loss in its window.

    Returns:
        The ratio, in units of the loss; 0 for a mean that is not positive.
    """
    average = mean(state)
    return variance(state) / average if average > 0.0 else 0.0


def bad(state: Noise) -> float:
    """What one more bad sample adds to the loss of a batch.

    Args:
        state: What is remembered, with a loss in its window.

    Returns:
        The largest `dispersion` of this window and earlier ones, once `KNOWN` losses have shown what there is; before
        that, and at most, the first loss.
    """
    first = start(state)
    if state.losses < KNOWN or state.jump == 0.0:
        return first
    return min(first, max(state.jump, dispersion(state)))


def uncertainty(state: Noise, unseen: float) -> float:
    """What the mean of the window may be off by: its standard error, and what a lucky streak has hidden.

    If one loss in n is as large as the largest of the window, another window of n losses shows none of them with
    probability 1/e, and misses ``peak / n`` of the mean. If three in n are, it is 1/20.

    Args:
        state: What is remembered, with a loss in its window.
        unseen: What all that a window may have hidden adds up to.

    Returns:
        The sum of both, in units of the loss.
    """
    return math.sqrt(variance(state) / state.count) + max(state.peak, unseen) / state.count


def full(state: Noise, shortest: int = SHORTEST) -> bool:
    """Whether the window has told what it can: its mean is known well enough, or it is a quarter of the run.

    Args:
        state: What is remembered.
        shortest: Losses that it holds at least.

    Returns:
        Whether to read it and start another.
    """
    count = state.count
    if count < shortest:
        return False
    return count >= LONGEST * state.losses + shortest or uncertainty(state, bad(state)) <= PRECISE * mean(state)


def restart(state: Noise) -> None:
    """Begin another window; what a bad sample adds is remembered.

    Args:
        state: What is remembered; changed in place.
    """
    if state.count >= SHORTEST:
        state.jump = max(state.jump, dispersion(state))
    state.empty_window()
