"""Axes of a sweep: lists, ranges, and samples of ranges."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np

from groktimizer.ground.checks import is_number, whole
from groktimizer.ground.errors import UserError

DIGITS = 6  # that a value of a range keeps, so that it is the same on every machine
Values = Sequence[object]


@dataclass(frozen=True)
class Range:
    """A range of numbers.

    Attributes:
        low: The smallest.
        high: The largest.
        log: Whether steps are factors.
        num: How many values on a grid; None where it is sampled.
    """

    low: float
    high: float
    log: bool = False
    num: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is no range."""
        for end in (self.low, self.high):
            if not (is_number(end) and math.isfinite(end)):
                raise UserError(f"range [{self.low!r}, {self.high!r}]: expected two finite numbers")
        if not self.low < self.high:
            raise UserError(f"range [{self.low:g}, {self.high:g}]: expected the smaller number first")
        if self.log and self.low <= 0:
            raise UserError(f"range log [{self.low:g}, {self.high:g}]: expected numbers > 0")
        if self.num is not None:
            whole("num", self.num, 2)

    def at(self, share: float) -> float:
        """The number at a share of the way, of six digits.

        Args:
            share: From 0 to 1.

        Returns:
            The number.

        Example:
            >>> Range(1e-4, 1.0, log=True).at(0.25)
            0.001
        """
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        value = low + share * (high - low)
        return float(f"{math.exp(value) if self.log else value:.{DIGITS}g}")

    @property
    def values(self) -> list[float]:
        """Those of a grid."""
        if self.num is None:
            raise UserError(f"range [{self.low:g}, {self.high:g}]: expected num, how many values, or a sample")
        return [self.at(place / (self.num - 1)) for place in range(self.num)]


Axis = Range | Values


@dataclass(frozen=True)
class Sample:
    """Points in the ranges instead of their grid; of an axis that is a list each point takes one value.

    Attributes:
        count: How many points.
        method: "random", or "sobol" for points that fill the space evenly.
        seed: Of the draw.
    """

    count: int
    method: Literal["random", "sobol"] = "sobol"
    seed: int = 0

    def points(self, axes: Mapping[str, Axis]) -> Iterator[dict[str, object]]:
        """Draw them.

        Args:
            axes: By name.

        Yields:
            A value for each axis.
        """
        if not axes:
            return
        for shares in self._shares(len(axes)):
            yield {name: _pick(axis, share) for (name, axis), share in zip(axes.items(), shares.tolist(), strict=True)}

    def _shares(self, dimensions: int) -> np.ndarray:
        if self.method == "random":
            return np.random.default_rng(self.seed).random((self.count, dimensions))
        from scipy.stats import qmc

        power = max(0, math.ceil(math.log2(self.count)))
        return qmc.Sobol(dimensions, rng=np.random.default_rng(self.seed)).random_base2(power)[: self.count]


def _pick(axis: Axis, share: float) -> object:
    if isinstance(axis, Range):
        return axis.at(share)
    return axis[min(int(share * len(axis)), len(axis) - 1)]


def size(axes: Mapping[str, Axis]) -> int:
    """How many cells a grid has, without making them."""
    return math.prod(len(axis.values) if isinstance(axis, Range) else len(axis) for axis in axes.values())


def grid(axes: Mapping[str, Axis]) -> Iterator[dict[str, Any]]:
    """Every combination, the last axis fastest."""
    values = [axis.values if isinstance(axis, Range) else axis for axis in axes.values()]
    for chosen in product(*values):
        yield dict(zip(axes, chosen, strict=True))
