"""The population covariance of the features in its three forms: a multiple of the identity, a diagonal, a matrix."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from groktimizer.theory.ridge.checks import check_finite, check_numbers
from groktimizer.theory.ridge.spectrum import Array, GramSpectrum, Spectrum

_SYMMETRY = 1e-10  # relative


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

    def apply(self, vector: Array) -> Array:
        """Sigma x for x of shape (m,)."""
        if self.matrix is not None:
            return self.matrix @ vector
        if self.diagonal is not None:
            return vector * self.diagonal
        assert self.scale is not None  # one form is set
        return vector * self.scale

    def residual(self, away: Array) -> tuple[Array, float]:
        """Half the gradient and the value of the population loss at teacher + `away`."""
        bent = self.apply(away)
        return bent, max(float(away @ bent), 0.0)

    def sandwich(self, system: Spectrum) -> Array:
        """V' Sigma V; shape (rank, rank)."""
        if self.matrix is not None:
            right = system.expand(np.eye(system.values.size)) if isinstance(system, GramSpectrum) else system.right
            return right @ self.matrix @ right.T
        return system.sandwich(self.diagonal if self.diagonal is not None else np.full(self.features, self.scale))

    def eigenvalues(self) -> Array:
        """All eigenvalues, falling; shape (m,)."""
        if self.matrix is not None:
            return np.asarray(np.linalg.eigvalsh(self.matrix)[::-1], dtype=np.float64)
        return np.sort(self.diagonal)[::-1] if self.diagonal is not None else np.full(self.features, self.scale)

    def least(self) -> float:
        """Smallest eigenvalue."""
        if self.scale is not None:
            return self.scale
        return max(float(self.eigenvalues()[-1]), 0.0)


@dataclass(frozen=True)
class Sample:
    """A population given by test points: loss ``mean_i (<theta, f_i> - y_i)^2``, for targets that no theta reaches.

    Args:
        points: Test features F, shape (N, m).
        targets: Shape (N,).
    """

    points: Array
    targets: Array
    scale: None = None

    def apply(self, vector: Array) -> Array:
        """F'F x / N."""
        return self.points.T @ (self.points @ vector) / self.targets.size

    def residual(self, away: Array) -> tuple[Array, float]:
        """Half the gradient and the value of the loss at `away` (the teacher is 0)."""
        miss = self.points @ away - self.targets
        return self.points.T @ miss / self.targets.size, float(miss @ miss) / self.targets.size

    def sandwich(self, system: Spectrum) -> Array:
        """V' F'F V / N; shape (rank, rank)."""
        seen = np.stack([system.project(point) for point in self.points])
        return seen.T @ seen / self.targets.size

    def least(self) -> float:
        """Smallest eigenvalue of F'F/N: 0 when there are fewer points than features."""
        if self.points.shape[0] < self.points.shape[1]:
            return 0.0
        return float(np.linalg.svd(self.points, compute_uv=False)[-1] ** 2) / self.targets.size


def covariance_of(value: npt.ArrayLike | None, m: int) -> Covariance:
    """Read a covariance argument.

    Args:
        value: None (identity), a scalar (its multiple), a vector (m,), a matrix (m, m).
        m: Number of features.

    Returns:
        The covariance; a constant vector becomes a scale.

    Raises:
        ValueError: If the shape does not fit, or it is not finite, symmetric and positive semidefinite.
    """
    if value is None:
        return Covariance(1.0, None, None, m)
    given = np.asarray(check_numbers("covariance", value), dtype=np.float64)
    check_finite("covariance", given)
    if given.shape not in {(), (m,), (m, m)}:
        raise ValueError(f"covariance: shape {given.shape}, accepted are (), ({m},) and ({m}, {m})")
    if given.ndim == 2:  # noqa: PLR2004
        return _matrix(given, m)
    if given.size and given.min() < 0:
        raise ValueError(f"covariance: entry {given.min():g} is negative, accepted are positive semidefinite ones")
    if given.min() == given.max():
        return Covariance(float(given.flat[0]), None, None, m)
    return Covariance(None, given, None, m)


def _matrix(given: Array, m: int) -> Covariance:
    """A checked matrix covariance."""
    size = max(float(np.abs(given).max()), np.finfo(np.float64).tiny)
    skew = float(np.abs(given - given.T).max())
    if skew > _SYMMETRY * size:
        raise ValueError(f"covariance: differs from its transpose by {skew:.3g}, accepted are symmetric matrices")
    lowest = float(np.linalg.eigvalsh(given)[0])
    if lowest < -_SYMMETRY * size * m:
        raise ValueError(
            f"covariance: eigenvalue {lowest:.3g} is negative, accepted are positive semidefinite matrices"
        )
    return Covariance(None, None, (given + given.T) / 2, m)
