"""Losses as quadratic functions of the offsets e of the modes from their fixed points, and their range over a box."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Box(NamedTuple):
    """Where the modes can be: ``e in [low, high]``, or ``|e| in [low, high]`` for modes that alternate.

    Args:
        low: Shape (..., modes).
        high: Shape (..., modes).
        mirrored: The interval holds for |e|; shape (modes,).
    """

    low: Array
    high: Array
    mirrored: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Diagonal:
    """``sum_i (alpha_i e_i + beta_i)^2 + rest``.

    Args:
        alpha: Shape (modes,).
        beta: Shape (modes,).
        rest: Constant, non-negative.
    """

    alpha: Array
    beta: Array
    rest: float

    def __call__(self, offsets: Array) -> Array:
        """Value at offsets of shape (..., modes); shape (...)."""
        terms = offsets * self.alpha
        terms += self.beta
        return _square(terms) + self.rest

    def range(self, box: Box) -> tuple[Array, Array]:
        """Least and greatest value over a box (..., modes), exact as each term has its own variable; shape (...)."""
        one, two = self.alpha * box.low + self.beta, self.alpha * box.high + self.beta
        near = np.where(one * two <= 0, 0.0, np.minimum(np.abs(one), np.abs(two)))
        far = np.maximum(np.abs(one), np.abs(two))
        if box.mirrored.any():
            size, shift = np.abs(self.alpha), np.abs(self.beta)
            low, high = size * box.low, size * box.high
            near = np.where(box.mirrored, np.maximum(0.0, np.maximum(low - shift, shift - high)), near)
            far = np.where(box.mirrored, high + shift, far)
        return _square(near) + self.rest, _square(far) + self.rest


@dataclass(frozen=True)
class Squares:
    """``||B e + b||^2 + rest``: a form whose modes mix, as a sum of squares, so that small losses keep their digits.

    Args:
        factor: B, shape (k, modes).
        shift: b, shape (k,).
        rest: Constant, non-negative.
    """

    factor: Array
    shift: Array
    rest: float

    @cached_property
    def _sizes(self) -> Array:
        """|B'B|, shape (modes, modes)."""
        return np.abs(self.factor.T @ self.factor)

    def __call__(self, offsets: Array) -> Array:
        """Value at offsets of shape (..., modes); shape (...)."""
        return _square(offsets @ self.factor.T + self.shift) + self.rest

    def range(self, box: Box) -> tuple[Array, Array]:
        """Bounds on the value over a box (..., modes), from its middle m and half-widths r; shape (...)."""
        # f(m + d) - f(m) = 2 (B m + b)'B d + ||B d||^2: from -2 |B'(B m + b)|' r to 2 |B'(B m + b)|' r + r'|B'B| r.
        middle = np.where(box.mirrored, 0.0, (box.low + box.high) / 2)
        half = np.where(box.mirrored, box.high, (box.high - box.low) / 2)
        terms = middle @ self.factor.T + self.shift
        value = _square(terms) + self.rest
        slope = 2 * np.einsum("...i,...i->...", np.abs(terms @ self.factor), half)
        bend = np.einsum("...i,...i->...", half @ self._sizes, half)
        return np.maximum(value - slope, self.rest), value + slope + bend


Loss = Diagonal | Squares


def _square(terms: Array) -> Array:
    return np.einsum("...i,...i->...", terms, terms)
