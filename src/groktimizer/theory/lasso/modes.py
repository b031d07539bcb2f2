"""ISTA between two events: affine on the active set, so one singular value decomposition gives every step.

With support A, signs s and residual rho = X a - y, as long as neither changes,
``a <- a - alpha (X_A' rho + beta s)`` on A and 0 elsewhere. Let ``X_A = U diag(sigma) V'`` and
``f_i = 1 - alpha sigma_i^2``. After k steps

    a_k = a + V (phi(k) * r) + k d,    rho_k = rho + U (sigma * phi(k) * r),
    phi_i(k) = 1 + f_i + ... + f_i^(k-1),    r = -alpha (sigma * U' rho + beta V's),    d = -alpha beta (s - V V's)

where d is the drift in the null space of X_A, which moves nothing of rho: one more mode, with sigma = 0 and phi(k) = k.
phi_i rises monotonically where f_i >= 0; where alpha sigma_i^2 > 1 it does so on even steps and falls on odd ones.
That is all that the bounds need.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from groktimizer.theory.clock.exponentials import FAR
from groktimizer.theory.clock.quadratic import Array

Steps = npt.ArrayLike
_FASTEST = 1e6  # decay per step that counts as at once
_SAFE = 1e-4  # least eigenvalue of a Gram matrix that is good enough, relative to the largest
_NO_DRIFT = 1e-12  # relative length of a drift that is rounding


@dataclass(frozen=True)
class Clock:
    """How far modes have come after k steps, with losses ``alpha sigma^2`` in [0, 2), shape (r,)."""

    loss: Array

    @cached_property
    def decay(self) -> Array:
        """``-ln |f|``, shape (r,)."""
        if not self.loss.size or self.loss.max() < 1:
            return -np.log1p(-self.loss)
        with np.errstate(divide="ignore"):
            rate = np.where(self.loss > 1, -np.log(np.abs(self.loss - 1)), -np.log1p(-np.minimum(self.loss, 1.0)))
        return np.minimum(rate, _FASTEST)

    @cached_property
    def alternates(self) -> bool:
        """Whether a factor is negative, so that even and odd steps must be looked at apart."""
        return bool((self.loss > 1).any())

    def phi(self, steps: Steps) -> Array:
        """Sums ``1 + f + ... + f^(k-1)``, shape ``steps.shape + (r,)``; inf gives the limit ``1 / (1 - f)``."""
        k = np.asarray(steps, dtype=np.float64)[..., None]
        gone = self._gone(k)
        if self.alternates:
            odd = np.isfinite(k) & (np.mod(np.where(np.isfinite(k), k, 0.0), 2) == 1)
            gone = np.where((self.loss > 1) & odd, -2 - gone, gone)
        return self._way(gone, k)

    def band(self, edges: Array) -> tuple[Array, Array]:
        """Least and greatest `phi` between edges, shape (intervals, r); negative factors stay within the first ones."""
        way = self._way(self._gone(edges[:, None]), edges[:, None])
        low, high = way[:-1], way[1:]
        return low, np.where(self.loss > 1, 2 / np.maximum(self.loss, 1.0) - low, high) if self.alternates else high

    def _gone(self, steps: Array) -> Array:
        """``|f|^k - 1``; of a drift it does not matter."""
        return np.expm1(-np.where(self.loss == 0, 1.0, self.decay) * steps)

    def _way(self, gone: Array, steps: Array) -> Array:
        """`phi` from ``f^k - 1``."""
        still = self.loss == 0
        return np.where(still, np.minimum(steps, FAR), -gone / np.where(still, 1.0, self.loss))


@dataclass(frozen=True)
class Modes:
    """The singular system of an active set: its indices (A,), U (N, r), sigma (r,), 0 of a drift, and V (A, r)."""

    active: npt.NDArray[np.intp]
    left: Array
    values: Array
    right: Array
    lr: float

    @cached_property
    def clock(self) -> Clock:
        """Of all its modes."""
        return Clock(self.lr * self.values**2)

    def phi(self, steps: Steps) -> Array:
        """As `Clock.phi`."""
        return self.clock.phi(steps)


def modes_of(features: Array, active: npt.NDArray[np.intp], lr: float) -> Modes:
    """The modes of some columns of X; where well-conditioned of the smaller Gram matrix, which is half the work."""
    columns = features[:, active]
    wide = active.size >= features.shape[0]
    squares, vectors = np.linalg.eigh(columns @ columns.T if wide else columns.T @ columns)
    if squares.size and squares[0] > _SAFE * squares[-1]:
        values = np.sqrt(squares)
        other = (columns.T if wide else columns) @ (vectors / values)
        return Modes(active, vectors, values, other, lr) if wide else Modes(active, other, values, vectors, lr)
    left, values, right = np.linalg.svd(columns, full_matrices=False)
    least = max(features.shape[0], active.size) * np.finfo(np.float64).eps
    rank = int((values > least * values[0]).sum()) if values.size else 0
    return Modes(active, left[:, :rank], values[:rank], np.ascontiguousarray(right[:rank].T), lr)


@dataclass(frozen=True)
class Motion:
    """A stretch of steps without events.

    Args:
        modes: Of its active set.
        state: a at its start, shape (n,).
        residual: rho at its start, shape (N,).
        signs: s, shape (A,).
        push: r, shape (r,); of a drift its length.
    """

    modes: Modes
    state: Array
    residual: Array
    signs: Array
    push: Array

    def at(self, steps: Steps) -> Array:
        """State after k steps, shape ``steps.shape + (n,)``; good until the next event."""
        k = np.asarray(steps, dtype=np.float64)
        result = np.empty((*k.shape, self.state.size))
        result[...] = self.state
        result[..., self.modes.active] += (self.modes.phi(k) * self.push) @ self.modes.right.T
        return result


def motion_of(modes: Modes, state: Array, residual: Array, weight: float) -> Motion:
    """The stretch that starts from a state a (n,), whose support is that of `modes`, and its residual X a - y (N,)."""
    signs = np.sign(state[modes.active])
    along = signs @ modes.right
    push = -modes.lr * (modes.values * (residual @ modes.left) + weight * along)
    rest = signs - modes.right @ along
    size = float(np.linalg.norm(rest))
    if modes.active.size > modes.values.size and size > _NO_DRIFT * np.sqrt(signs.size):
        left = np.column_stack([modes.left, np.zeros(len(modes.left))])
        right = np.column_stack([modes.right, -rest / size])
        modes = Modes(modes.active, left, np.append(modes.values, 0.0), right, modes.lr)
        push = np.append(push, modes.lr * weight * size)
    return Motion(modes, state, residual, signs, push)
