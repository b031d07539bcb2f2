"""The population that the features are drawn from: by its covariance, or by test points."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.checks import check_finite, check_numbers
from groktimizer.theory.ridge.spectrum import Array, Spectrum

_SYMMETRY = 1e-10  # relative
_UNSEEN = 1e-12  # share of the squares below which a direction of test points counts as one of the train features


@dataclass(frozen=True, eq=False)
class Population:
    """Population loss ``||R (theta - teacher) - targets||^2``.

    Args:
        root: R with ``R'R = E[phi phi']``: a multiple of the identity, shape (); a diagonal, (m,); a matrix, (m, m);
            or test points over sqrt(N), (N, m).
        targets: Test targets over sqrt(N), shape (N,), which no theta need reach; None where a teacher is named.
        scale: The covariance as a multiple of the identity, None if it is none.
    """

    root: Array
    targets: Array | None = None
    scale: float | None = None

    @property
    def wanted(self) -> Array | float:
        """What `image` should be at the teacher."""
        return 0.0 if self.targets is None else self.targets

    def image(self, vectors: Array) -> Array:
        """``R x`` for x of shape (..., m)."""
        return vectors @ self.root.T if self.root.ndim == 2 else vectors * self.root

    def images(self, system: Spectrum) -> Array:
        """Those of the right singular vectors where R is a matrix, as columns; shape (k, rank)."""
        parts = (self.root[:, columns] @ block.T for columns, block in system.blocks())
        return sum(parts, np.zeros((self.root.shape[0], system.values.size)))

    def loss(self, away: Array) -> float:
        """Population loss at teacher + `away`."""
        miss = self.image(away) - self.wanted
        return float(miss @ miss)

    def least(self) -> float:
        """Smallest eigenvalue of R'R: 0 when there are fewer test points than features."""
        if self.root.ndim < 2:
            return float(self.root.min()) ** 2 if self.scale is None else self.scale
        if self.root.shape[0] < self.root.shape[1]:
            return 0.0
        values = np.linalg.svd(self.root, compute_uv=False) ** 2
        return float(values[-1]) if values[-1] > values.size * np.finfo(np.float64).eps * values[0] else 0.0

    def reach(self, system: Spectrum, coordinates: Array) -> tuple[Array, Array]:
        """What test targets ask for beyond ``V coordinates``: the null space's part and the rest, of shape (N,)."""
        seen = self.images(system)
        asked, hidden = self.wanted - seen @ coordinates, self.root - system.expand(seen)
        wide = hidden.shape[0] <= hidden.shape[1]
        squares, basis = np.linalg.eigh(hidden @ hidden.T if wide else hidden.T @ hidden)
        keep = squares > _UNSEEN * float(np.einsum("ij,ij->", self.root, self.root))
        basis = basis[:, keep] if wide else hidden @ (basis[:, keep] / np.sqrt(squares[keep]))
        reached = basis @ (basis.T @ asked)
        return reached, asked - reached


def covariance_of(value: npt.ArrayLike | None, m: int) -> Population:
    """Read a covariance argument.

    Args:
        value: None (identity), a scalar (its multiple), a vector (m,), a matrix (m, m).
        m: Number of features.

    Returns:
        The population; a constant vector counts as a scalar.

    Raises:
        UserError: If the shape does not fit, or it is not finite, symmetric and positive semidefinite.
    """
    given = np.asarray(check_numbers("covariance", 1.0 if value is None else value), dtype=np.float64)
    check_finite("covariance", given)
    if given.shape not in {(), (m,), (m, m)}:
        raise UserError(f"covariance: shape {given.shape}, accepted are (), ({m},) and ({m}, {m})")
    if given.ndim < 2:
        if given.min() < 0:
            raise UserError(f"covariance: entry {given.min():g} is negative, accepted are positive semidefinite ones")
        if given.min() == given.max():
            return Population(np.sqrt(np.asarray(given.min())), scale=float(given.min()))
        return Population(np.sqrt(given))
    size = max(float(np.abs(given).max()), np.finfo(np.float64).tiny)
    skew = float(np.abs(given - given.T).max())
    if skew > _SYMMETRY * size:
        raise UserError(f"covariance: differs from its transpose by {skew:.3g}, accepted are symmetric matrices")
    values, vectors = np.linalg.eigh((given + given.T) / 2)
    if values[0] < -_SYMMETRY * size * m:
        raise UserError(
            f"covariance: eigenvalue {values[0]:.3g} is negative, accepted are positive semidefinite matrices"
        )
    values[values < m * np.finfo(np.float64).eps * size] = 0.0
    return Population((vectors * np.sqrt(values)).T)
