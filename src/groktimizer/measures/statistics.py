"""Statistics over seeds in which a run that never got there (DNF) counts as +∞ and is never dropped."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtri

Verdict = Literal["faster", "slower", "level"]


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Bound a success rate by Wilson's score interval.

    With z the normal quantile and r = successes / n: (r + z²/2n ± z √(r(1−r)/n + z²/4n²)) / (1 + z²/n).

    Args:
        successes: Number of successes, 0 … n.
        n: Number of trials, at least 1.
        confidence: Coverage, between 0 and 1.

    Returns:
        Lower and upper bound of the rate.

    Raises:
        ValueError: If the counts or the confidence are out of range.

    Example:
        >>> low, high = wilson_interval(5, 5)
        >>> round(low, 3), high
        (0.566, 1.0)
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"successes={successes}, n={n}: expected 0 ≤ successes ≤ n and n ≥ 1")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}: expected a number between 0 and 1")
    z = float(ndtri((1 + confidence) / 2))
    rate = successes / n
    centre = rate + z * z / (2 * n)
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    low, high = (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
    return (0.0 if successes == 0 else low), (1.0 if successes == n else high)


def _times(values: Sequence[float | None]) -> np.ndarray:
    """Turn times with DNF into numbers.

    Args:
        values: Times in steps; None, NaN or +∞ is DNF.

    Returns:
        Float array with DNF = +∞.

    Raises:
        ValueError: If there is no value, or one is negative.
    """
    array = np.array([math.inf if value is None else float(value) for value in values], dtype=np.float64)
    array[np.isnan(array)] = math.inf
    if array.size == 0:
        raise ValueError("values is empty: at least one time is needed")
    if (array < 0).any():
        raise ValueError(f"values={list(values)}: times must be ≥ 0")
    return array


def _middle(ordered: np.ndarray) -> np.ndarray:
    """Take the median along the last axis of sorted numbers that may be infinite.

    With an even count it is the mean of the two middle ones; an infinite one of them wins over a finite one, and
    −∞ and +∞ cancel to 0.

    Args:
        ordered: Shape (..., n), ascending.

    Returns:
        Shape (...).
    """
    n = ordered.shape[-1]
    low, high = ordered[..., (n - 1) // 2], ordered[..., n // 2]
    cancel = np.isneginf(low) & np.isposinf(high)
    return np.where(cancel, 0.0, np.where(cancel, 0.0, low) / 2 + np.where(cancel, 0.0, high) / 2)


def median_with_dnf(values: Sequence[float | None]) -> float:
    """Take the median of times with DNF = +∞.

    Args:
        values: Times in steps, None for DNF; at least one.

    Returns:
        The median, +∞ if it falls on a DNF.

    Example:
        >>> median_with_dnf([100, None, 120]), median_with_dnf([100, None])
        (120.0, inf)
    """
    return float(_middle(np.sort(_times(values))))


@dataclass(frozen=True)
class PairedDifference:
    """Difference a − b of paired times.

    Attributes:
        median: Median difference in steps; ±∞ if it falls on a pair of which one did not finish.
        low: Lower end of the bootstrap interval.
        high: Upper end.
        verdict: "faster" (a takes fewer steps) or "slower" if the interval excludes zero, else "level".
        pairs: Number of pairs.
    """

    median: float
    low: float
    high: float
    verdict: Verdict
    pairs: int


def _differences(a: Sequence[float | None], b: Sequence[float | None]) -> np.ndarray:
    """Subtract paired times with DNF = +∞; two DNF are level.

    Args:
        a: Times of the one method.
        b: Times of the other, same seeds in the same order.

    Returns:
        Differences a − b, ±∞ where exactly one did not finish.

    Raises:
        ValueError: If the lengths differ.
    """
    if len(a) != len(b):
        raise ValueError(f"paired times must have the same seeds: got {len(a)} and {len(b)} values")
    left, right = _times(a), _times(b)
    both = np.isinf(left) & np.isinf(right)
    return np.where(both, 0.0, left) - np.where(both, 0.0, right)


def paired_bootstrap(
    a: Sequence[float | None],
    b: Sequence[float | None],
    *,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> PairedDifference:
    """Compare two methods over the same seeds by the bootstrap interval of the median difference.

    A pair of which one did not finish counts as ±∞, a pair of which neither finished as 0; medians and interval ends
    are order statistics, so infinities need no arithmetic. One pair alone decides nothing: the verdict is "level".

    Args:
        a: Times of the method, None for DNF.
        b: Times of the method compared with, same seeds in the same order.
        resamples: Number of bootstrap samples.
        confidence: Coverage of the interval, between 0 and 1.
        seed: Seed of the resampling; the result is a pure function of the arguments.

    Returns:
        Median difference, interval and verdict about a.

    Raises:
        ValueError: If the lengths differ, nothing is given, or resamples or confidence are out of range.

    Example:
        >>> paired_bootstrap([100, 110, 90, 95, 105], [200, None, 190, 210, 220]).verdict
        'faster'
    """
    if resamples < 1:
        raise ValueError(f"resamples={resamples}: expected a whole number ≥ 1")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}: expected a number between 0 and 1")
    differences = _differences(a, b)
    n = differences.size
    picks = np.random.default_rng(seed).integers(0, n, size=(resamples, n))
    medians = np.sort(_middle(np.sort(differences[picks], axis=-1)))
    tail = (1 - confidence) / 2
    low = float(medians[math.floor(tail * (resamples - 1))])
    high = float(medians[math.ceil((1 - tail) * (resamples - 1))])
    verdict: Verdict = "level"
    if n > 1 and high < 0:
        verdict = "faster"
    elif n > 1 and low > 0:
        verdict = "slower"
    return PairedDifference(float(_middle(np.sort(differences))), low, high, verdict, n)
