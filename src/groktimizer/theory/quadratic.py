"""Losses as quadratic functions of the modes, and their range over a box of modes.

A loss that is quadratic in theta is quadratic in the offsets e of the modes from their fixed point. Where the modes do
not mix (train loss; population loss under an isotropic covariance) it is ``sum (alpha e + beta)^2 + rest``, otherwise
``e'G e + 2 h'e + rest``.
"""

from dataclasses import dataclass
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

    @property
    def limit(self) -> float:
        """Value at e = 0."""
        return float(self.beta @ self.beta) + self.rest

    def __call__(self, offsets: Array) -> Array:
        """Value at offsets of shape (..., modes); shape (...)."""
        terms = offsets * self.alpha
        terms += self.beta
        return np.einsum("...i,...i->...", terms, terms) + self.rest

    def range(self, box: Box) -> tuple[Array, Array]:
        """Least and greatest value over a box, exact: each term has its own variable.

        Args:
            box: Shape (..., modes).

        Returns:
            Both with shape (...).
        """
        one, two = self.alpha * box.low + self.beta, self.alpha * box.high + self.beta
        near = np.where(one * two <= 0, 0.0, np.minimum(np.abs(one), np.abs(two)))
        far = np.maximum(np.abs(one), np.abs(two))
        if box.mirrored.any():
            size, shift = np.abs(self.alpha), np.abs(self.beta)
            low, high = size * box.low, size * box.high
            near = np.where(box.mirrored, np.maximum(0.0, np.maximum(low - shift, shift - high)), near)
            far = np.where(box.mirrored, high + shift, far)
        return np.einsum("...i,...i->...", near, near) + self.rest, np.einsum("...i,...i->...", far, far) + self.rest


@dataclass(frozen=True)
class Dense:
    """``e'G e + 2 h'e + rest`` with G positive semidefinite.

    Args:
        matrix: G, shape (modes, modes).
        linear: h, shape (modes,).
        rest: Value at e = 0.
    """

    matrix: Array
    linear: Array
    rest: float

    @property
    def limit(self) -> float:
        """Value at e = 0."""
        return self.rest

    def __call__(self, offsets: Array) -> Array:
        """Value at offsets of shape (..., modes); shape (...)."""
        bent = offsets @ self.matrix + 2 * self.linear
        return np.maximum(np.einsum("...i,...i->...", bent, offsets) + self.rest, 0.0)

    def range(self, box: Box) -> tuple[Array, Array]:
        """Bounds on the value over a box, from its middle m and half-widths r.

        ``|f(m + d) - f(m)| <= 2 |G m + h|' r + r' |G| r`` for |d| <= r; never below 0.

        Args:
            box: Shape (..., modes).

        Returns:
            Lower and upper bound, shape (...).
        """
        middle = np.where(box.mirrored, 0.0, (box.low + box.high) / 2)
        half = np.where(box.mirrored, box.high, (box.high - box.low) / 2)
        slope = 2 * np.abs(middle @ self.matrix + self.linear) + half @ np.abs(self.matrix)
        spread, value = np.einsum("...i,...i->...", slope, half), self(middle)
        return np.maximum(value - spread, 0.0), value + spread


Loss = Diagonal | Dense
