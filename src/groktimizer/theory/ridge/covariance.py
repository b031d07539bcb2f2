"""The population covariance of the features in its three forms: a multiple of the identity, a diagonal, a matrix."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.checks import check_finite, check_numbers
from groktimizer.theory.ridge.spectrum import Array, GramSpectrum, Spectrum

_SYMMETRY = 1e-10  # relative
_UNSEEN = 1e-12  # share of the squares below which a direction of test points counts as one of the train features


@dataclass(frozen=True)
class Covariance:
    """``Sigma = E[phi phi']``; exactly one form is set.

    Args:
        scale: The multiple of the identity, or None.
        diagonal: Shape (m,), or None.
        matrix: Shape (m, m), or None.
        features: m.
    """

    scale: float | None
    diagonal: Array | None
    matrix: Array | None
    features: int

    @property
    def targets(self) -> float:
        """What `image` should be at the teacher."""
        return 0.0

    def image(self, vectors: Array) -> Array:
        """``Sigma^(1/2) x`` in some basis for x of shape (..., m): its square is the population loss at teacher + x."""
        if self.matrix is not None:
            return vectors @ self._root.T
        return vectors * np.sqrt(self.variances)

    @property
    def variances(self) -> Array:
        """Diagonal of a Sigma that is not given as a matrix, shape (m,)."""
        return self.diagonal if self.diagonal is not None else np.full(self.features, self.scale)

    @cached_property
    def _root(self) -> Array:
        """R with ``R'R = Sigma``, shape (m, m)."""
        assert self.matrix is not None  # only matrices are factored
        try:
            return np.asarray(np.linalg.cholesky(self.matrix).T, np.float64)
        except np.linalg.LinAlgError:  # semidefinite
            values, vectors = np.linalg.eigh(self.matrix)
            return (vectors * np.sqrt(np.maximum(values, 0.0))).T

    def images(self, system: Spectrum) -> Array | None:
        """Those of the right singular vectors, as columns; None where a second n x m array should not be held."""
        if not isinstance(system, GramSpectrum):
            return self.image(system.right).T
        return None if self.matrix is None else self.image(system.expand(np.eye(system.values.size))).T

    def loss(self, away: Array) -> float:
        """Population loss at teacher + `away`."""
        image = self.image(away)
        return float(image @ image)

    def eigenvalues(self) -> Array:
        """All eigenvalues, falling; shape (m,)."""
        if self.matrix is not None:
            return np.asarray(np.linalg.eigvalsh(self.matrix)[::-1], dtype=np.float64)
        return np.sort(self.variances)[::-1]

    def least(self) -> float:
        """Smallest eigenvalue."""
        if self.scale is not None:
            return self.scale
        return max(float(self.eigenvalues()[-1]), 0.0)


@dataclass(frozen=True)
class Sample:
    """A population given by test points: loss ``mean_i (<theta, f_i> - y_i)^2``, for targets that no theta reaches.

    Args:
        points: Test features over sqrt(N), shape (N, m).
        targets: Test targets over sqrt(N), shape (N,).
    """

    points: Array
    targets: Array
    scale: None = None

    def image(self, vectors: Array) -> Array:
        """``F x / sqrt(N)`` for x of shape (..., m)."""
        return vectors @ self.points.T

    def images(self, system: Spectrum) -> Array:
        """Those of the right singular vectors, as columns; shape (N, rank)."""
        return np.stack([system.project(point) for point in self.points])

    def loss(self, away: Array) -> float:
        """Population loss at `away` (the teacher is 0)."""
        miss = self.image(away) - self.targets
        return float(miss @ miss)

    def least(self) -> float:
        """Smallest eigenvalue of F'F/N: 0 when there are fewer points than features."""
        if self.points.shape[0] < self.points.shape[1]:
            return 0.0
        return float(np.linalg.svd(self.points, compute_uv=False)[-1] ** 2)

    def reach(self, system: Spectrum, coordinates: Array) -> tuple[Array, Array]:
        """Split what the test targets ask for beyond ``V coordinates``: what the null space could give, and the rest.

        Args:
            system: Singular system of the train features.
            coordinates: Along its right singular vectors.

        Returns:
            Both as images, shape (N,).
        """
        seen = self.images(system)
        wanted = self.targets - seen @ coordinates
        hidden = self.points - np.stack([system.expand(row) for row in seen])
        wide = hidden.shape[0] <= hidden.shape[1]
        squares, basis = np.linalg.eigh(hidden @ hidden.T if wide else hidden.T @ hidden)
        keep = squares > _UNSEEN * float(np.einsum("ij,ij->", self.points, self.points))
        basis = basis[:, keep] if wide else hidden @ (basis[:, keep] / np.sqrt(squares[keep]))
        reached = basis @ (basis.T @ wanted)
        return reached, wanted - reached


def covariance_of(value: npt.ArrayLike | None, m: int) -> Covariance:
    """Read a covariance argument.

    Args:
        value: None (identity), a scalar (its multiple), a vector (m,), a matrix (m, m).
        m: Number of features.

    Returns:
        The covariance; a constant vector becomes a scale.

    Raises:
        UserError: If the shape does not fit, or it is not finite, symmetric and positive semidefinite.
    """
    if value is None:
        return Covariance(1.0, None, None, m)
    given = np.asarray(check_numbers("covariance", value), dtype=np.float64)
    check_finite("covariance", given)
    if given.shape not in {(), (m,), (m, m)}:
        raise UserError(f"covariance: shape {given.shape}, accepted are (), ({m},) and ({m}, {m})")
    if given.ndim == 2:
        return _matrix(given, m)
    if given.size and given.min() < 0:
        raise UserError(f"covariance: entry {given.min():g} is negative, accepted are positive semidefinite ones")
    if given.min() == given.max():
        return Covariance(float(given.flat[0]), None, None, m)
    return Covariance(None, given, None, m)


def _matrix(given: Array, m: int) -> Covariance:
    """A checked matrix covariance."""
    size = max(float(np.abs(given).max()), np.finfo(np.float64).tiny)
    skew = float(np.abs(given - given.T).max())
    if skew > _SYMMETRY * size:
        raise UserError(f"covariance: differs from its transpose by {skew:.3g}, accepted are symmetric matrices")
    lowest = float(np.linalg.eigvalsh(given)[0])
    if lowest < -_SYMMETRY * size * m:
        raise UserError(f"covariance: eigenvalue {lowest:.3g} is negative, accepted are positive semidefinite matrices")
    return Covariance(None, None, (given + given.T) / 2, m)
