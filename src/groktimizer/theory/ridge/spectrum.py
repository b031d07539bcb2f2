"""The singular system of the features: one factorisation, and everything after it costs O(rank) a step.

Two routes. `SvdSpectrum` keeps the right singular vectors (n x m more memory) and is accurate to rounding.
`GramSpectrum` factors the n x n Gram matrix, reads the features in blocks and never holds a second n x m array; it
squares the condition number, so a singular value s has relative error about ``eps (s_max / s)^2`` and those below
``1e-7 s_max`` count as zero: features with such values take the first route unless told otherwise. Float32 features
are accepted and summed in float64.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

from groktimizer.ground.errors import UserError

Array = npt.NDArray[np.float64]
Features = npt.NDArray[np.float64] | npt.NDArray[np.float32]

SVD_ENTRIES = 20_000_000  # larger features take the Gram route
_LOSES_DIGITS = 1e-3  # relative singular value below which the Gram route is not accurate enough to be chosen
_BLOCK_ENTRIES = 4_000_000  # of a block of columns: 32 MB in float64


def column_blocks(features: Features) -> Iterator[tuple[slice, Array]]:
    """Blocks of columns in float64, at most 32 MB each.

    Args:
        features: Shape (n, m).

    Yields:
        The columns' slice and the block.
    """
    n, m = features.shape
    width = max(1, _BLOCK_ENTRIES // n)
    for start in range(0, m, width):
        columns = slice(start, min(start + width, m))
        yield columns, np.asarray(features[:, columns], dtype=np.float64)


@dataclass(frozen=True)
class SvdSpectrum:
    """Thin SVD ``features = left diag(values) right`` restricted to the rank.

    Args:
        left: U, shape (n, rank).
        values: Singular values, falling, shape (rank,).
        right: V', shape (rank, m).
    """

    left: Array
    values: Array
    right: Array

    def project(self, vector: Array) -> Array:
        """Coordinates V'x of a vector (m,); shape (rank,)."""
        return self.right @ vector

    def expand(self, coordinates: Array) -> Array:
        """V c for coordinates (..., rank); shape (..., m)."""
        return coordinates @ self.right

    def sandwich(self, diagonal: Array) -> Array:
        """V' diag(d) V for d (m,); shape (rank, rank)."""
        return (self.right * diagonal) @ self.right.T


@dataclass(frozen=True)
class GramSpectrum:
    """The same system through the Gram matrix: V' = diag(1/values) U' features, applied block by block.

    Args:
        left: U, shape (n, rank).
        values: Singular values, falling, shape (rank,).
        features: Shape (n, m), any float type; kept, not copied.
    """

    left: Array
    values: Array
    features: Features

    def project(self, vector: Array) -> Array:
        """Coordinates V'x of a vector (m,); shape (rank,)."""
        image = np.zeros(self.features.shape[0])
        for columns, block in column_blocks(self.features):
            image += block @ vector[columns]
        return (self.left.T @ image) / self.values

    def expand(self, coordinates: Array) -> Array:
        """V c for coordinates (..., rank); shape (..., m)."""
        weights = (coordinates / self.values) @ self.left.T
        result = np.empty((*coordinates.shape[:-1], self.features.shape[1]))
        for columns, block in column_blocks(self.features):
            result[..., columns] = weights @ block
        return result

    def sandwich(self, diagonal: Array) -> Array:
        """V' diag(d) V for d (m,); shape (rank, rank)."""
        total = np.zeros((self.features.shape[0],) * 2)
        for columns, block in column_blocks(self.features):
            total += (block * diagonal[columns]) @ block.T
        half = self.left / self.values
        return half.T @ total @ half


Spectrum = SvdSpectrum | GramSpectrum


def spectrum(features: Features, route: str = "auto") -> Spectrum:
    """Factor the features.

    Args:
        features: Shape (n, m), finite.
        route: "svd", "gram", or "auto": Gram from 20 million entries on, unless a singular value below a thousandth of
            the largest would lose its digits there.

    Returns:
        The singular system; singular values that rounding cannot tell from 0 are left out.

    Raises:
        UserError: If the route is unknown or the features are all zero.
    """
    if route not in {"auto", "svd", "gram"}:
        raise UserError(f"route={route!r}: accepted are 'auto', 'svd', 'gram'")
    if route == "gram" or (route == "auto" and features.size >= SVD_ENTRIES):
        left, values = _gram_system(features)
        accurate = values.size == min(features.shape) and values[-1] > _LOSES_DIGITS * values[0]
        if accurate or (route == "gram" and values.size):
            return GramSpectrum(left, values, features)
    left, values, right = scipy.linalg.svd(np.asarray(features, np.float64), full_matrices=False, check_finite=False)
    rank = int((values > max(features.shape) * np.finfo(np.float64).eps * values[0]).sum())
    if not rank:
        raise UserError("features: all zero, accepted are features of rank 1 or more")
    return SvdSpectrum(np.ascontiguousarray(left[:, :rank]), values[:rank], right[:rank])


def _gram_system(features: Features) -> tuple[Array, Array]:
    """Left singular vectors and singular values from the Gram matrix, the negligible ones left out."""
    n, m = features.shape
    if n > m:
        flat = np.asarray(features, np.float64)
        squares, right = scipy.linalg.eigh(flat.T @ flat)
        keep = squares > n * np.finfo(np.float64).eps * squares[-1]
        values = np.sqrt(squares[keep])[::-1]
        return (flat @ right[:, keep][:, ::-1]) / values, values
    gram = np.zeros((n, n))
    for _, block in column_blocks(features):
        gram += block @ block.T
    squares, left = scipy.linalg.eigh(gram)
    keep = squares > n * np.finfo(np.float64).eps * max(squares[-1], 0.0)
    return np.ascontiguousarray(left[:, keep][:, ::-1]), np.sqrt(squares[keep])[::-1]
