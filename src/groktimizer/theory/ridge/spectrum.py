"""The singular system of the features: one factorisation, and everything after it costs O(rank) a step."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.checks import check_finite, check_numbers

Array = npt.NDArray[np.float64]
Features = npt.NDArray[np.float64] | npt.NDArray[np.float32]

SVD_ENTRIES = 20_000_000  # larger features take the Gram route
_LOSES_DIGITS = 1e-3  # relative singular value below which the Gram route is not accurate enough to be chosen
_BLOCK_ENTRIES = 4_000_000  # of a block of columns: 32 MB in float64


def check_features(value: npt.ArrayLike) -> Features:
    """Read the features.

    Args:
        value: Array-like, shape (n, m).

    Returns:
        The features; float32 stays float32.

    Raises:
        UserError: If it is not a non-empty matrix of finite numbers.
    """
    given = check_numbers("features", value)
    if given.dtype != np.float32:
        given = np.asarray(given, dtype=np.float64)
    if given.ndim != 2 or 0 in given.shape:
        raise UserError(f"features: shape {given.shape}, accepted is (n, m) with n, m >= 1")
    for _, block in _blocks(given):
        check_finite("features", block)
    return given


def _blocks(rows: Features) -> Iterator[tuple[slice, Array]]:
    """Columns of a matrix in float64, at most 32 MB at a time."""
    n, m = rows.shape
    width = max(1, _BLOCK_ENTRIES // n)
    for start in range(0, m, width):
        columns = slice(start, min(start + width, m))
        yield columns, np.asarray(rows[:, columns], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Thin SVD ``features = U diag(values) V'`` restricted to the rank.

    Args:
        left: U, shape (n, rank).
        values: Singular values, falling, shape (rank,).
        rows: V' itself, shape (rank, m), or the features, shape (n, m), which are not copied.
        mix: What makes V' of the features, ``diag(1/values) U'``, shape (rank, n); None if `rows` is V'.
    """

    left: Array
    values: Array
    rows: Features
    mix: Array | None = None

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """V' in blocks of columns, each after the slice of its columns."""
        return ((columns, self._mixed(block)) for columns, block in _blocks(self.rows))

    def _mixed(self, block: Array) -> Array:
        return block if self.mix is None else self.mix @ block

    def project(self, vector: Array) -> Array:
        """Coordinates V'x of a vector (m,); shape (rank,)."""
        image = np.zeros(self.rows.shape[0])
        for columns, block in _blocks(self.rows):
            image += block @ vector[columns]
        return self._mixed(image)

    def expand(self, coordinates: Array) -> Array:
        """V c for coordinates (..., rank); shape (..., m)."""
        weights = coordinates if self.mix is None else coordinates @ self.mix
        return np.concatenate([weights @ block for _, block in _blocks(self.rows)], axis=-1)


def spectrum(features: Features, route: str = "auto") -> Spectrum:
    """Factor the features.

    The Gram route factors the n x n Gram matrix and never holds a second n x m array; it squares the condition number,
    so a singular value s has relative error about ``eps (s_max / s)^2`` and those below ``1e-7 s_max`` count as zero.

    Args:
        features: Shape (n, m), finite; float32 is summed in float64.
        route: "svd" (accurate to rounding, and taken for n > m), "gram", or "auto": Gram from 20 million entries on,
            unless a singular value below a thousandth of the largest would lose its digits there.

    Returns:
        The singular system; singular values that rounding cannot tell from 0 are left out.

    Raises:
        UserError: If the route is unknown or the features are all zero.
    """
    if route not in {"auto", "svd", "gram"}:
        raise UserError(f"route={route!r}: accepted are 'auto', 'svd', 'gram'")
    wide = features.shape[0] <= features.shape[1]
    if wide and (route == "gram" or (route == "auto" and features.size >= SVD_ENTRIES)):
        left, values = _gram_system(features)
        accurate = values.size == features.shape[0] and values[-1] > _LOSES_DIGITS * values[0]
        if accurate or (route == "gram" and values.size):
            return Spectrum(left, values, features, (left / values).T)
    left, values, right = scipy.linalg.svd(np.asarray(features, np.float64), full_matrices=False, check_finite=False)
    rank = int((values > max(features.shape) * np.finfo(np.float64).eps * values[0]).sum())
    if not rank:
        raise UserError("features: all zero, accepted are features of rank 1 or more")
    return Spectrum(np.ascontiguousarray(left[:, :rank]), values[:rank], right[:rank])


def _gram_system(features: Features) -> tuple[Array, Array]:
    """Left singular vectors and singular values from the Gram matrix, the negligible ones left out."""
    n = features.shape[0]
    squares, left = scipy.linalg.eigh(sum((block @ block.T for _, block in _blocks(features)), np.zeros((n, n))))
    keep = squares > n * np.finfo(np.float64).eps * max(squares[-1], 0.0)
    return np.ascontiguousarray(left[:, keep][:, ::-1]), np.sqrt(squares[keep])[::-1]
