"""What a network is fitted to: rows that differ, with weights, standardised, in as few directions as they span."""

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
RANK = 1e-10  # of the largest singular value: a direction that the rows do not have


class Table(NamedTuple):
    """Rows to fit.

    Attributes:
        inputs: Shape (n, p).
        targets: Shape (n, k): numbers, or 1 in the column of the class.
        weights: Shape (n,), positive, of mean 1.
    """

    inputs: Array
    targets: Array
    weights: Array

    def part(self, rows: Array) -> "Table":
        """Some of the rows; their weights have mean 1 again."""
        weights = self.weights[rows]
        return Table(self.inputs[rows], self.targets[rows], weights / weights.mean())


def merged(inputs: Array, targets: Array, weights: Array) -> Table:
    """Rows in an order of their own: without those of weight 0, and equal ones as one of their summed weight.

    So a weight of 2 is exactly a row that is there twice, and the order of the rows does not matter.

    Args:
        inputs: Shape (n, p).
        targets: Shape (n, k).
        weights: Shape (n,), >= 0.

    Returns:
        The table.
    """
    there = weights > 0.0
    whole = np.hstack([inputs, targets])[there]
    rows, place = np.unique(whole, axis=0, return_inverse=True)
    summed = np.bincount(place.ravel(), weights=weights[there].astype(float))
    width = inputs.shape[1]
    return Table(rows[:, :width], rows[:, width:], summed / summed.mean())


@dataclass(frozen=True)
class Frame:
    """An affine map of rows to what the network sees, found on the rows that it is trained on.

    Attributes:
        middle: Weighted means of the columns, shape (p,).
        scale: One over their standard deviations, shape (p,); 0 for a column that is constant.
        directions: An orthonormal basis of the rows' span, shape (p, r); None: the columns themselves.
    """

    middle: Array
    scale: Array
    directions: Array | None

    def __call__(self, inputs: Array) -> Array:
        """Map rows, shape (n, p), to shape (n, p) or (n, r)."""
        away = (inputs - self.middle) * self.scale
        return away if self.directions is None else away @ self.directions

    def unfold(self, weight: Array, bias: Array) -> tuple[Array, Array]:
        """The first layer for rows as they come.

        Args:
            weight: Of the first layer for mapped rows, shape (units, p) or (units, r).
            bias: Its bias, shape (units,).

        Returns:
            Weight, shape (units, p), and bias.
        """
        whole = (weight if self.directions is None else weight @ self.directions.T) * self.scale
        return whole, bias - whole @ self.middle


def spread_of(away: Array, weights: Array) -> Array:
    """Weighted root mean squares of columns, shape (p,), where the squares would not fit into a float too.

    Args:
        away: Shape (n, p).
        weights: Shape (n,).

    Returns:
        Shape (p,).
    """
    _, power = np.frexp(np.abs(away).max(axis=0))
    return np.ldexp(np.sqrt(np.average(np.ldexp(away, -power) ** 2, axis=0, weights=weights)), power)


def frame(table: Table, *, turns: bool) -> Frame:
    """Standardise; where there are more columns than rows, turn them into the span of the rows if that is allowed.

    An l2 norm does not see a rotation, and what it minimises lies in the span of the rows.

    Args:
        table: The rows to train on.
        turns: Whether columns may be mixed.

    Returns:
        The map.
    """
    middle = np.average(table.inputs, axis=0, weights=table.weights)
    away = table.inputs - middle
    spread = spread_of(away, table.weights)
    constant = (table.inputs == table.inputs[0]).all(axis=0) | (spread == 0.0)
    scale = np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, spread))
    if not turns or table.inputs.shape[1] <= len(table.inputs):
        return Frame(middle, scale, None)
    _, sizes, directions = np.linalg.svd(away * scale, full_matrices=False)
    rank = max(1, int((sizes > RANK * sizes[0]).sum()))
    return Frame(middle, scale, directions[:rank].T)
