"""Statistics over seeds in which a run that never got there (DNF) counts as +∞ and is never dropped."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from groktimizer.ground.errors import UserError

Standing = Literal["faster", "slower", "level", "too few seeds"]
ALPHA = 0.05  # of identical methods, at most this part is called faster or slower
FEWEST_SEEDS = 6  # the least n at which all signs alike, 2 of the 2^n ways, are rarer than ALPHA


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Bound a success rate by Wilson's score interval.

    Args:
        successes: Number of successes, 0 … n.
        n: Number of trials, at least 1.
        confidence: Coverage, between 0 and 1.

    Returns:
        Lower and upper bound of the rate.

    Raises:
        UserError: If the counts or the confidence are out of range.

    Example:
        >>> low, high = wilson_interval(5, 5)
        >>> round(low, 3), high
        (0.566, 1.0)
    """
    if n < 1 or not 0 <= successes <= n:
        raise UserError(f"successes={successes}, n={n}: expected 0 ≤ successes ≤ n and n ≥ 1")
    if not 0 < confidence < 1:
        raise UserError(f"confidence={confidence}: expected a number between 0 and 1")
    from scipy.stats import binomtest  # half a second that only this function needs

    found = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)


def _times(values: Sequence[float | None]) -> np.ndarray:
    """Turn times with DNF into numbers.

    Args:
        values: Times in steps; None, NaN or +∞ is DNF.

    Returns:
        Float array with DNF = +∞.

    Raises:
        UserError: If there is no value, or one is negative.
    """
    array = np.array([math.inf if value is None else float(value) for value in values], dtype=np.float64)
    array[np.isnan(array)] = math.inf
    if array.size == 0:
        raise UserError("values is empty: at least one time is needed")
    if (array < 0).any():
        raise UserError(f"values={list(values)}: times must be ≥ 0")
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


def median_interval(values: Sequence[float | None], confidence: float = 0.95) -> tuple[float, float] | None:
    """Bound the median of times by order statistics, which assume nothing of their distribution; DNF = +∞.

    Between the (k + 1)-th smallest and the (k + 1)-th largest of n times lies the median with a probability of at least
    1 − 2 P(B ≤ k), B binomial of n and 1/2.

    Args:
        values: Times in steps, None for DNF.
        confidence: In (0, 1).

    Returns:
        Both ends; None where the times are too few for that confidence, six for 95 %.

    Example:
        >>> median_interval([1, 2, 3, 4, 5, None])
        (1.0, inf)
    """
    from scipy.stats import binom

    ordered = np.sort(_times(values))
    outside = int(binom.ppf((1 - confidence) / 2, len(ordered), 0.5)) - 1  # the largest k that is unlikely enough
    if outside < 0:
        return None
    return float(ordered[outside]), float(ordered[-1 - outside])


@dataclass(frozen=True)
class PairedDifference:
    """Difference a − b of paired times.

    Attributes:
        median: Median difference in steps; ±∞ if it falls on a pair of which one did not finish.
        low: Lower end of the bootstrap interval, which describes and does not decide.
        high: Upper end.
        p_value: Of the exact sign-flip test, two-sided.
        verdict: "too few seeds" below `FEWEST_SEEDS` pairs; else "faster" (a takes fewer steps) or "slower" if the
            p-value is at most `ALPHA`, and "level" if it is not.
        pairs: Number of pairs.
    """

    median: float
    low: float
    high: float
    p_value: float
    verdict: Standing
    pairs: int


def _differences(a: Sequence[float | None], b: Sequence[float | None], horizon: float) -> np.ndarray:
    """Subtract paired times with DNF = +∞; two DNF are level.

    Args:
        a: Times of the one method.
        b: Times of the other, same seeds in the same order.
        horizon: Times beyond it are DNF.

    Returns:
        Differences a − b, ±∞ where exactly one did not finish.

    Raises:
        UserError: If the lengths differ.
    """
    if len(a) != len(b):
        raise UserError(f"paired times must have the same seeds: got {len(a)} and {len(b)} values")
    left, right = (np.where(times > horizon, math.inf, times) for times in (_times(a), _times(b)))
    both = np.isinf(left) & np.isinf(right)
    return np.where(both, 0.0, left) - np.where(both, 0.0, right)


def sign_flip_test(differences: Sequence[float]) -> tuple[int, float]:
    r"""Test whether paired differences are centred at 0, exactly: Wilcoxon's signed ranks under all flips of signs.

    If the two methods of a pair are alike, each difference is as likely as its negative, whatever its size. So given
    the sizes all 2^m choices of signs of the m differences that are not 0 are equally likely, and the p-value is the
    part of them whose statistic is at least as far from 0 as the one seen:

        S = Σ sign(dᵢ) rᵢ,   rᵢ the rank of |dᵢ| among the m, ties sharing their mean rank.

    This holds at every m, for discrete times and for infinite ones. That S counts ranks is the choice made here: the
    mean of the differences is not defined once a run did not finish, the number of signs ignores their sizes; a rank
    takes an unfinished run for what it is known to be, later than every finished one. A difference of 0 (equal times,
    or neither finished) favours neither method and drops out. The 2^m sums are counted, not drawn: one convolution for
    each difference.

    Sources: Fisher, The Design of Experiments (1935), section 21 (flips); Wilcoxon, Biometrics Bulletin 1 (1945) 80
    (ranks); Lehmann and Romano, Testing Statistical Hypotheses, section 15.2 (why the level holds at every m).

    Args:
        differences: Paired differences; ±∞ where exactly one of the pair did not finish.

    Returns:
        The sign of S (−1, 0 or 1) and the two-sided p-value, 1 if every difference is 0.

    Raises:
        UserError: If one is not a number.

    Example:
        >>> sign_flip_test([-3, -1, -2, -5, -4, -math.inf])  # all alike: 2 of 64
        (-1, 0.03125)
    """
    given = np.asarray(differences, dtype=np.float64)
    if np.isnan(given).any():
        raise UserError(f"differences={list(differences)}: expected numbers, −∞ or +∞")
    given = given[given != 0]
    _, place, counts = np.unique(np.abs(given), return_inverse=True, return_counts=True)
    doubled = (2 * np.cumsum(counts) - counts + 1)[place]  # twice the mean rank: a whole number
    total, statistic = int(doubled.sum()), int((np.sign(given) * doubled).sum())
    chance = np.zeros(total + 1)  # of each sum of the doubled ranks with a positive sign
    chance[0] = 1.0
    for rank in doubled:
        chance *= 0.5
        chance[rank:] += chance[: total + 1 - rank]
    far = np.abs(2 * np.arange(total + 1) - total) >= abs(statistic)
    return int(np.sign(statistic)), float(chance[far].sum())


def paired_bootstrap(
    a: Sequence[float | None],
    b: Sequence[float | None],
    *,
    horizon: float = math.inf,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> PairedDifference:
    """Compare two methods over the same seeds: a verdict by the exact test, an interval by the bootstrap.

    A pair of which one did not finish counts as ±∞, a pair of which neither finished as 0; medians and interval ends
    are order statistics, so infinities need no arithmetic. The verdict is that of `sign_flip_test`. The interval is of
    the median difference and only describes it: that it excludes 0 happens by chance in 47, 23, 10 and 6 of 100
    comparisons of identical methods at 2, 3, 4 and 5 seeds.

    Args:
        a: Times of the method, None for DNF.
        b: Times of the method compared with, same seeds in the same order.
        horizon: Times beyond it count as DNF, of either method: give the last time that both could have shown where
            their budgets differ (`last_common_time`), or the one with the larger budget is judged by other rules.
        resamples: Number of bootstrap samples.
        confidence: Coverage of the interval, between 0 and 1.
        seed: Seed of the resampling; the result is a pure function of the arguments.

    Returns:
        Median difference, interval, p-value and verdict about a.

    Raises:
        UserError: If the lengths differ, nothing is given, or resamples or confidence are out of range.

    Example:
        >>> paired_bootstrap([100, 110, 90, 95, 105, 100], [200, None, 190, 210, 220, 180]).verdict
        'faster'
        >>> paired_bootstrap([100, 110, 90, 95, 105], [200, None, 190, 210, 220]).verdict
        'too few seeds'
    """
    if resamples < 1:
        raise UserError(f"resamples={resamples}: expected a whole number ≥ 1")
    if not 0 < confidence < 1:
        raise UserError(f"confidence={confidence}: expected a number between 0 and 1")
    differences = _differences(a, b, horizon)
    n = differences.size
    picks = np.random.default_rng(seed).integers(0, n, size=(resamples, n))
    medians = np.sort(_middle(np.sort(differences[picks], axis=-1)))
    tail = (1 - confidence) / 2
    low = float(medians[math.floor(tail * (resamples - 1))])
    high = float(medians[math.ceil((1 - tail) * (resamples - 1))])
    sign, p_value = sign_flip_test(differences.tolist())
    verdict: Standing = "level"
    if n < FEWEST_SEEDS:
        verdict = "too few seeds"
    elif p_value <= ALPHA:
        verdict = "faster" if sign < 0 else "slower"
    return PairedDifference(float(_middle(np.sort(differences))), low, high, p_value, verdict, n)


def corrected_interval(
    differences: Sequence[float] | np.ndarray, test_over_train: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of the mean of paired differences over random divisions of one set of rows.

    The divisions share rows, so their differences are correlated; Nadeau and Bengio (Machine Learning 52, 2003) put
    the variance of the mean of J of them at ``(1 / J + n_test / n_train) s²`` where independence would give ``s² / J``.

    Args:
        differences: One for each division.
        test_over_train: Rows tested on over rows trained on; 0 gives the interval of independent differences, which
            speaks of these rows alone.
        confidence: Of the interval, in (0, 1).

    Returns:
        Its ends, by Student's t with J − 1 degrees of freedom; not a number with fewer than two divisions.

    Example:
        >>> low, high = corrected_interval([1.0, 2.0, 3.0], 0.0)
        >>> f"{low:.2f} {high:.2f}"
        '-0.48 4.48'
    """
    from scipy.stats import t

    values = np.asarray(differences, dtype=float)
    if len(values) < 2:
        return math.nan, math.nan
    error = math.sqrt((1 / len(values) + test_over_train) * values.var(ddof=1))
    half = float(t.ppf((1 + confidence) / 2, len(values) - 1)) * error
    return float(values.mean()) - half, float(values.mean()) + half
