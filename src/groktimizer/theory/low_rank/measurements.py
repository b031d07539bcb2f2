"""What is seen of an unknown array: linear measurements of it, or some of its entries.

Both are a linear map X from arrays of one shape to N numbers, in float64, and work on stacks, shape (runs, *shape).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from groktimizer.ground.errors import UserError


@dataclass(frozen=True, eq=False)
class Dense:
    """Inner products with N given arrays.

    Args:
        matrix: X, shape ``(N, entries)``.
        shape: Shape of one array.

    Raises:
        UserError: If the matrix is empty, not finite or does not fit the shape.
    """

    matrix: Tensor
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check the matrix."""
        entries = math.prod(self.shape)
        if self.matrix.ndim != 2 or self.matrix.shape[1] != entries:
            raise UserError(f"measurements of shape {tuple(self.matrix.shape)}: accepted are (N, {entries})")
        if not len(self.matrix):
            raise UserError("N=0: there is no measurement, accepted is at least one")
        if not bool(self.matrix.isfinite().all()):
            raise UserError("measurements: hold NaN or inf, accepted are finite numbers")
        if not bool(self.matrix.double().square().any()):
            raise UserError("measurements: all 0 (or their squares are), accepted are some that see something")

    @cached_property
    def _svd(self) -> tuple[Tensor, Tensor, Tensor]:
        left, values, right = torch.linalg.svd(self.matrix.double(), full_matrices=False)
        rank = int((values > max(self.matrix.shape) * torch.finfo(torch.float64).eps * values[0]).sum())
        return left[:, :rank], values[:rank], right[:rank]

    @cached_property
    def _inverse(self) -> Tensor:
        """The pseudoinverse, shape (entries, N)."""
        left, values, right = self._svd
        return (right.T / values) @ left.T

    @property
    def count(self) -> int:
        """N."""
        return len(self.matrix)

    @property
    def curvatures(self) -> Tensor:
        """The non-zero squared singular values of X, descending."""
        return self._svd[1].square()

    def apply(self, arrays: Tensor) -> Tensor:
        """X A, shape ``(runs, N)``."""
        return arrays.flatten(1) @ self.matrix.T

    def adjoint(self, values: Tensor) -> Tensor:
        """X' v for values of shape ``(runs, N)``; shape ``(runs, *shape)``."""
        return (values @ self.matrix).reshape(-1, *self.shape)

    def project(self, arrays: Tensor, targets: Tensor) -> Tensor:
        """The nearest arrays that fit y, shape ``(N,)``: ``A - X^+ (X A - y)``, least squares if none fits."""
        return arrays - ((self.apply(arrays) - targets) @ self._inverse.T).reshape(arrays.shape)

    def dense(self) -> Tensor:
        """X as a matrix, shape ``(N, entries)``."""
        return self.matrix


@dataclass(frozen=True, eq=False)
class Entries:
    """Some of the entries, each of them once; the methods are those of `Dense`.

    Args:
        places: Their positions in the flattened array, shape ``(N,)``, int64.
        shape: Shape of one array.

    Raises:
        UserError: If there is none, one comes twice or lies outside, or they are not whole numbers.
    """

    places: Tensor
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check the places."""
        if not len(self.places):
            raise UserError("N=0: no entry is observed, accepted is at least one")
        _check_whole("places", self.places)
        entries = math.prod(self.shape)
        if int(self.places.min()) < 0 or int(self.places.max()) >= entries:
            raise UserError(f"entries: a position outside 0..{entries - 1}, accepted are entries of {self.shape}")
        if len(self.places.unique()) < len(self.places):
            raise UserError("entries: one is listed twice, accepted is each entry once")

    @property
    def count(self) -> int:
        """N."""
        return len(self.places)

    @property
    def curvatures(self) -> Tensor:
        """N ones."""
        return torch.ones(self.count, dtype=torch.float64)

    @cached_property
    def unseen(self) -> tuple[tuple[int, int], ...]:
        """Lines of the array without an observed entry, as (dim, index)."""
        seen = self.adjoint(torch.ones(1, self.count, dtype=torch.bool))[0]
        lines = [(dim, seen.movedim(dim, 0).flatten(1).any(1)) for dim in range(seen.ndim)]
        return tuple((dim, int(i)) for dim, line in lines for i in (~line).nonzero())

    def apply(self, arrays: Tensor) -> Tensor:
        """X A, shape ``(runs, N)``."""
        return arrays.flatten(1)[:, self.places]

    def adjoint(self, values: Tensor) -> Tensor:
        """X' v for values of shape ``(runs, N)``; shape ``(runs, *shape)``."""
        arrays = values.new_zeros(len(values), math.prod(self.shape))
        arrays[:, self.places] = values
        return arrays.reshape(-1, *self.shape)

    def project(self, arrays: Tensor, targets: Tensor) -> Tensor:
        """The nearest arrays that fit y, shape ``(N,)``."""
        entries = arrays.flatten(1).clone()
        entries[:, self.places] = targets
        return entries.reshape(arrays.shape)

    def dense(self) -> Tensor:
        """X as a matrix, shape ``(N, entries)``."""
        return torch.eye(math.prod(self.shape), dtype=torch.float64)[self.places]


Measurements = Dense | Entries


def _check_whole(name: str, values: Tensor) -> None:
    """Refuse indices that are not whole numbers."""
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise UserError(f"{name} of {values.dtype}: accepted are whole numbers, such as int64")


def places_of(pairs: Tensor, shape: Sequence[int]) -> Tensor:
    """Positions in the flattened matrix of pairs of rows and columns, shape ``(N, 2)``, int64; shape ``(N,)``."""
    _check_whole("pairs", pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise UserError(f"pairs of shape {tuple(pairs.shape)}: accepted are (N, 2)")
    limits = torch.tensor(list(shape))
    if bool(((pairs < 0) | (pairs >= limits)).any()):
        raise UserError(f"pairs: one lies outside the matrix, accepted are entries of {tuple(shape)}")
    return pairs[:, 0] * shape[1] + pairs[:, 1]
