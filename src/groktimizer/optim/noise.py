"""How noisy is the training loss that is seen? Sums over a window of losses, and what can be said of their mean.

Batches that differ show in the order of the losses: of three independent ones the middle is the largest or the
smallest with probability 2/3, whatever their distribution, while a loss that falls, or rests, has no such turns.
Everything is arithmetic on a flat dict of numbers with a fixed set of keys.
"""

import math
from typing import Any

QUIET, LOUD = 0.45, 0.5  # share of turns below which a loss is a trend, above which it is noise for sure
PRIOR, MEMORY = 8, 64  # losses that the first guess (2/3, noise) weighs, and that the share remembers
ENOUGH = 10  # changes of the loss before noise is taken as proven
EARLY = 4  # losses that say where the run began, where batches differ
SHORTEST = 8  # losses in a window
LONGEST = 0.25  # of all losses so far: a window that is not precise by then ends all the same
FADE = 0.5  # what is left of the largest loss seen, a window later
PRECISE = 0.2  # uncertainty of a window's mean, in units of it, at which the window ends

SHORT, LONG = 19.0, 2000.0  # losses that the running mean averages, at least and at most
STEADY = 0.25  # standard error of the running mean, in units of it, that is good enough


def begin() -> dict[str, Any]:
    """Nothing seen yet.

    Returns:
        Plain numbers: count and mean of the first losses, share of turns, and the window's sums.
    """
    return {
        "noise_losses": 0,
        "noise_early": 0.0,
        "noise_lean": 0.0,
        "noise_last": math.nan,
        "noise_change": 0.0,
        "noise_tests": 0,
        "noise_turning": 2.0 / 3.0,
        "noise_peak_before": 0.0,
        "noise_mean": math.nan,
        "noise_spread": 0.0,
    } | _window()


def _window() -> dict[str, Any]:
    return {"noise_count": 0, "noise_total": 0.0, "noise_rough": 0.0, "noise_peak": 0.0}


def take_in(state: dict[str, Any], loss: float) -> None:
    """Add one loss.

    Args:
        state: As `begin` gives it; changed in place.
        loss: A finite training loss.
    """
    seen = state["noise_losses"] = state["noise_losses"] + 1
    if seen <= EARLY:
        state["noise_early"] += loss
        state["noise_lean"] += (seen - 1) * loss
    change = 0.0 if math.isnan(state["noise_last"]) else loss - state["noise_last"]
    if change != 0.0:
        if state["noise_change"] != 0.0:
            _count(state, turned=(change > 0.0) is not (state["noise_change"] > 0.0))
        state["noise_change"] = change
    elif loss == state["noise_last"] and loss != 0.0:
        _count(state, turned=False)  # to the last bit: the same batch at rest
    state["noise_last"] = loss
    _follow(state, loss, 0.5 * change * change)
    state["noise_count"] += 1
    state["noise_total"] += loss
    state["noise_rough"] += 0.5 * change * change
    state["noise_peak"] = max(state["noise_peak"], loss)


def _count(state: dict[str, Any], *, turned: bool) -> None:
    state["noise_tests"] += 1
    state["noise_turning"] += (turned - state["noise_turning"]) / min(state["noise_tests"] + PRIOR, MEMORY)


def _follow(state: dict[str, Any], loss: float, square: float) -> None:
    """The running mean and the variance of one loss, over as many losses as the mean needs (`memory`)."""
    if math.isnan(state["noise_mean"]):
        state["noise_mean"] = loss
        return
    weight = 2.0 / (memory(state) + 1.0)
    state["noise_spread"] += weight * (square - state["noise_spread"])
    state["noise_mean"] += weight * (loss - state["noise_mean"])


def memory(state: dict[str, Any]) -> float:
    """Losses that the running mean averages: enough for a standard error of `STEADY` of it.

    Args:
        state: As `begin` gives it.

    Returns:
        A number between `SHORT` and `LONG`; `SHORT` where batches do not differ.
    """
    if not proven(state):
        return SHORT
    needed = state["noise_spread"] / max(STEADY * abs(state["noise_mean"]), 1e-30) ** 2
    return min(max(needed, SHORT), LONG)


def standard_error(state: dict[str, Any]) -> float:
    """Standard error of the running mean.

    Args:
        state: As `begin` gives it.

    Returns:
        The error in units of the loss; 0 where batches do not differ.
    """
    return math.sqrt(state["noise_spread"] / memory(state)) if proven(state) else 0.0


def noisy(state: dict[str, Any]) -> bool:
    """Whether batches may differ, as far as the order of the losses tells.

    Args:
        state: As `begin` gives it.

    Returns:
        True until a few losses without a turn, or fewer turns than noise has, say no.
    """
    return state["noise_turning"] > QUIET


def proven(state: dict[str, Any]) -> bool:
    """Whether enough losses have been seen to say that batches do differ.

    Args:
        state: As `begin` gives it.

    Returns:
        False for the first ten changes of the loss, then whether more than half of them are turns.
    """
    return state["noise_tests"] > ENOUGH and state["noise_turning"] > LOUD


def forget(state: dict[str, Any]) -> None:
    """Drop the running mean: the parameters have been set back. Whether batches differ stays known.

    Args:
        state: As `begin` gives it; changed in place.
    """
    state.update(_window() | {"noise_last": math.nan, "noise_change": 0.0, "noise_mean": math.nan, "noise_spread": 0.0})


def start(state: dict[str, Any]) -> float:
    """The loss at the very start: the least-squares line through the first few, but not below their mean.

    Args:
        state: As `begin` gives it, after a loss.

    Returns:
        The loss before the first step.
    """
    count = min(state["noise_losses"], EARLY)
    average, middle = state["noise_early"] / count, (count - 1) / 2
    if count == 1:
        return average
    slope = (state["noise_lean"] - middle * state["noise_early"]) * 12.0 / (count * (count * count - 1))
    return average + max(0.0, -slope) * middle


def mean(state: dict[str, Any]) -> float:
    """Mean loss of the window.

    Args:
        state: As `begin` gives it, with a loss in its window.

    Returns:
        The mean.
    """
    return state["noise_total"] / state["noise_count"]


def variance(state: dict[str, Any]) -> float:
    """Variance of one loss of the window about its trend: half the mean square of successive differences.

    Args:
        state: As `begin` gives it, with a loss in its window.

    Returns:
        The variance.
    """
    return state["noise_rough"] / state["noise_count"]


def uncertainty(state: dict[str, Any], unseen: float = 1.0) -> float:
    """What the mean of the window may be off by: its standard error, and what a lucky streak has hidden.

    If one loss in n is as large as the largest seen of late, a window of n losses shows none of them with probability
    1/e, and misses ``peak / n`` of the mean. If three in n are as large as the first loss, it is 1/20.

    Args:
        state: As `begin` gives it, with a loss in its window.
        unseen: How many losses as large as the first one may be hidden.

    Returns:
        The sum of both, in units of the loss.
    """
    peak = max(state["noise_peak"], state["noise_peak_before"], unseen * start(state))
    return math.sqrt(variance(state) / state["noise_count"]) + peak / state["noise_count"]


def full(state: dict[str, Any]) -> bool:
    """Whether the window has told what it can: its mean is known well enough, or it is a quarter of the run.

    Args:
        state: As `begin` gives it.

    Returns:
        Whether to read it and start another.
    """
    count = state["noise_count"]
    if count < SHORTEST:
        return False
    return count >= LONGEST * state["noise_losses"] + SHORTEST or uncertainty(state) <= PRECISE * mean(state)


def restart(state: dict[str, Any]) -> None:
    """Begin another window; the largest loss seen is remembered, and fades.

    Args:
        state: As `begin` gives it; changed in place.
    """
    peak = max(state["noise_peak"], FADE * state["noise_peak_before"])
    state.update(_window())
    state["noise_peak_before"] = peak
