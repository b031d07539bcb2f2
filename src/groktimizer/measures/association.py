"""Whether one quantity goes with another over seeds: rank correlations and ratios, each with a bootstrap interval."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from groktimizer.ground.checks import word
from groktimizer.ground.errors import UserError

Array = npt.NDArray[np.float64]
Kind = Literal["pooled", "within"]
RESAMPLES, CONFIDENCE = 2_000, 0.95
FEWEST = 3  # seeds: two have no rank correlation but ±1
FEW = 0.5  # of the resamples without a value: then there is no interval


@dataclass(frozen=True)
class Estimate:
    """A number with its percentile bootstrap interval.

    Attributes:
        value: The number, not-a-number where it is not defined.
        low: Lower end of the 95 % interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float


def spearman(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Compute Spearman's rank correlation; ties share their mean rank.

    Args:
        x: Shape (n,), finite or ±∞.
        y: Shape (n,).

    Returns:
        In [−1, 1]; not-a-number if one of them is constant.

    Raises:
        UserError: If the lengths differ, or a value is not a number.

    Example:
        >>> spearman([1, 2, 3, 10], [0.1, 0.2, 0.2, 5.0])  # ranks 1, 2, 3, 4 and 1, 2.5, 2.5, 4
        0.9486832980505138
    """
    first, second = np.asarray(x, np.float64).ravel(), np.asarray(y, np.float64).ravel()
    if first.shape != second.shape:
        raise UserError(f"x, y: {first.size} and {second.size} values, expected as many")
    if np.isnan(first).any() or np.isnan(second).any():
        raise UserError("x, y: a value is not a number, expected numbers")
    return float(_spearman(first[None], second[None])[0])


def _spearman(x: Array, y: Array) -> Array:
    """Of each row, shape (rows, n); not-a-number where one is constant."""
    first, second = _ranks(x), _ranks(y)
    size = np.sqrt(np.square(first).sum(1) * np.square(second).sum(1))
    return np.where(size > 0, (first * second).sum(1) / np.where(size > 0, size, 1.0), np.nan)


def _ranks(values: Array) -> Array:
    """Mean ranks of each row, less their mean."""
    below = (values[:, None, :] < values[:, :, None]).sum(2)
    equal = (values[:, None, :] == values[:, :, None]).sum(2)
    return below + (equal - values.shape[1]) / 2


def rank_correlation(x: npt.ArrayLike, y: npt.ArrayLike, kind: Kind = "pooled", *, seed: int = 0) -> Estimate:
    """Correlate the ranks of two quantities of several solutions over seeds.

    "pooled": over all solutions of all seeds. "within": for each solution over the seeds, and the mean of that: what is
    left where the differences between the solutions are taken out. Solutions that are constant drop out of "within".
    The interval resamples seeds, each with all of its solutions, since those share data and initial weights.

    Args:
        x: Shape (seeds, solutions), seeds ≥ 3.
        y: Likewise.
        kind: "pooled" or "within".
        seed: Of the resampling.

    Returns:
        Correlation and interval; seeds with a number that is not known (nan) are left out, and with fewer than three
        others nothing is known.

    Raises:
        UserError: If the shapes differ or there are too few seeds.

    Example:
        >>> shift = np.array([[0.0, 10.0]])  # between the solutions they fall, within each they rise
        >>> rows = np.arange(4.0)[:, None]
        >>> rank_correlation(rows + shift, rows - shift, "within").value
        1.0
        >>> rank_correlation(rows + shift, rows - shift).value < 0
        True
    """
    word("kind", kind, ("pooled", "within"))
    first, second = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if first.ndim != 2 or first.shape != second.shape or len(first) < FEWEST:
        raise UserError(f"x, y: shapes {first.shape}, {second.shape}, expected two of (seeds ≥ {FEWEST}, solutions)")
    whole = ~(np.isnan(first) | np.isnan(second)).any(1)
    if whole.sum() < FEWEST:
        return Estimate(math.nan, math.nan, math.nan)
    first, second = first[whole], second[whole]

    def statistic(rows: npt.NDArray[np.int64]) -> Array:
        one, other = first[rows], second[rows]  # (resamples, seeds, solutions)
        if kind == "pooled":
            return _spearman(one.reshape(len(rows), -1), other.reshape(len(rows), -1))
        found = np.stack([_spearman(one[:, :, k], other[:, :, k]) for k in range(one.shape[2])], 1)
        known = ~np.isnan(found)
        total = np.where(known, found, 0.0).sum(1)
        return np.where(known.any(1), total / np.maximum(known.sum(1), 1), np.nan)

    return _bootstrap(statistic, len(first), seed)


def median_ratio(a: npt.ArrayLike, b: npt.ArrayLike, *, seed: int = 0) -> Estimate:
    """Take the median over pairs of a / b.

    Args:
        a: Shape (n,), positive.
        b: Shape (n,), positive.
        seed: Of the resampling.

    Returns:
        Median and interval.

    Raises:
        UserError: If the lengths differ, there is nothing, or a number is not positive.

    Example:
        >>> median_ratio([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
        Estimate(value=2.0, low=2.0, high=2.0)
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.shape != second.shape or not first.size or not (min(first.min(), second.min()) > 0):
        raise UserError(f"a, b: {first.size} and {second.size} values, expected as many, all > 0")
    ratios = first / second
    return _bootstrap(lambda rows: np.median(ratios[rows], 1), ratios.size, seed)


def _bootstrap(statistic: Callable[[npt.NDArray[np.int64]], Array], n: int, seed: int) -> Estimate:
    picks = np.random.default_rng(seed).integers(0, n, size=(RESAMPLES, n))
    drawn, value = statistic(picks), float(statistic(np.arange(n)[None])[0])
    known, tail = drawn[~np.isnan(drawn)], (1 - CONFIDENCE) / 2
    if known.size < FEW * RESAMPLES:
        return Estimate(value, float("nan"), float("nan"))
    low, high = np.quantile(known, [tail, 1 - tail])
    return Estimate(value, float(low), float(high))
