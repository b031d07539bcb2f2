"""Whether N samples are enough for a*: exactly, by certificate, and by figures of the features alone."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.checks import check_vector
from groktimizer.theory.clock.quadratic import Array
from groktimizer.theory.lasso.answers import basis_pursuit
from groktimizer.theory.lasso.checks import check_matrix

NOISE = 1e-9  # relative distance between targets and X a* that is rounding
_FOUND = 1e-6  # relative error of basis pursuit that counts as recovery
STRICT = 1 - 1e-9  # "below 1" without rounding: equal columns of the support give 1 exactly


@dataclass(frozen=True)
class Recovery:
    """What the samples allow.

    Args:
        recovers: Whether the interpolant of least l1 norm is a*: the exact answer.
        error: Its relative distance from a*.
        null_space: Largest ``|<sign a*, h_S>| / ||h_outside S||_1`` over h in the null space of X. Below 1 exactly when
            a* (any with this support and these signs) is the only interpolant of least l1 norm; asked for is a value
            below 1 - 1e-9, as a tie is 1 up to rounding.
        fuchs: ``max_outside |X_j' X_S (X_S'X_S)^-1 sign a*|``. Below 1 certifies recovery, and that ISTA with small
            weight has the support of a* in the end; above 1 recovery is still possible.
        coherence: Largest cosine between two columns.
        sparsity: Number of nonzeros of a*.
    """

    recovers: bool
    error: float
    null_space: float
    fuchs: float
    coherence: float
    sparsity: int

    @property
    def tied(self) -> bool:
        """Whether other interpolants have the l1 norm of a*, although it is the least."""
        return not self.recovers and self.error <= _FOUND

    @property
    def coherence_limit(self) -> float:
        """Every a* with fewer than ``(1 + 1 / coherence) / 2`` nonzeros is recovered (Donoho and Elad 2003)."""
        return math.inf if self.coherence == 0 else (1 + 1 / self.coherence) / 2


def recovery(features: npt.ArrayLike, teacher: npt.ArrayLike) -> Recovery:
    """Can ISTA with a small weight find this a* (n,), not 0, from these samples, without label noise?"""
    x = check_matrix("features", features)
    a = check_vector("teacher", teacher, x.shape[1])
    if not a.any():
        raise UserError("teacher=0: there is nothing to recover, accepted are vectors other than 0")
    error = float(np.linalg.norm(basis_pursuit(x, x @ a) - a) / np.linalg.norm(a))
    null_space = null_space_constant(x, a)
    return Recovery(
        recovers=error <= _FOUND and null_space < STRICT,
        error=error,
        null_space=null_space,
        fuchs=fuchs(x, a),
        coherence=coherence(x),
        sparsity=int(np.count_nonzero(a)),
    )


def attainable(features: Array, targets: Array, teacher: Array, found: Recovery) -> float:
    """Relative recovery error where small weights end, at the l1 fit of noisy targets; inf if it is one of several."""
    if found.tied:
        return math.inf
    if np.linalg.norm(features @ teacher - targets) <= NOISE * np.linalg.norm(targets):
        return found.error
    fitted = features @ np.linalg.lstsq(features, targets, rcond=None)[0]
    return float(np.linalg.norm(basis_pursuit(features, fitted) - teacher) / np.linalg.norm(teacher))


def fuchs(features: Array, teacher: Array) -> float:
    """Fuchs's dual certificate: ``max_outside |X_j' X_S (X_S'X_S)^-1 sign a*|``; inf where X_S is singular."""
    inside = teacher != 0
    own = features[:, inside]
    if np.linalg.matrix_rank(own) < own.shape[1]:
        return math.inf
    dual = np.linalg.pinv(own).T @ np.sign(teacher[inside])
    return float(np.abs(dual @ features[:, ~inside]).max(initial=0.0))


def null_space_constant(features: Array, teacher: Array) -> float:
    """``max <sign a*, h_S>`` over ``X h = 0``, ``||h_outside S||_1 <= 1``, a linear program; inf if X_S is singular."""
    n_samples, n = features.shape
    inside = np.flatnonzero(teacher)
    outside = np.flatnonzero(teacher == 0)
    own = features[:, inside]
    if np.linalg.matrix_rank(own) < inside.size:
        return math.inf
    cost = np.concatenate([-np.sign(teacher[inside]), np.zeros(2 * outside.size)])
    equal = np.hstack([own, features[:, outside], -features[:, outside]])
    bounds = [(None, None)] * inside.size + [(0, None)] * (2 * outside.size)
    mass = np.concatenate([np.zeros(inside.size), np.ones(n - inside.size), np.ones(n - inside.size)])[None]
    found = linprog(cost, A_ub=mass, b_ub=[1.0], A_eq=equal, b_eq=np.zeros(n_samples), bounds=bounds, method="highs")
    return float(0 - found.fun) if found.fun is not None else math.inf


def coherence(features: Array) -> float:
    """Largest cosine between two columns; columns of zeros count as orthogonal."""
    length = np.linalg.norm(features, axis=0)
    unit = features / np.where(length == 0, 1.0, length)
    cosines = np.abs(unit.T @ unit)
    np.fill_diagonal(cosines, 0.0)
    return float(cosines.max())
