"""Whether what was measured determines the sparse vector or the low-rank matrix at all.

Exact recovery means that the truth is the unique array of least complexity that fits the measurements. It fails for
want of numbers, it is proved by a dual certificate, or it is decided by solving the problem. (Basis pursuit has an
exact path of its own in `theory.lasso`; here both complexities share one splitting method.)
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from groktimizer.ground.errors import UserError
from groktimizer.penalties import L1, Nuclear
from groktimizer.theory.low_rank.measurements import Entries, Measurements

Complexity = L1 | Nuclear
_FREE = 1e-9  # relative: singular values below are 0
_TOUCHES = 1e-3  # distance of a singular value or entry of a dual from 1 that counts as 1
_SHOWN = 5e-4  # a smaller distance from 1 is lost in three digits
_SHORT = 2_000  # steps that mostly show a simpler fit if there is one
_STRICT = 1e-9  # relative growth of the complexity along the fits that is more than rounding
_SAME = 1e-6  # relative distance at which the solution of the splitting method is the truth


class Outcome(StrEnum):
    """What the measurements can do."""

    CERTIFIED = "certified"
    RECOVERS = "recovers"
    MISSES = "misses"
    UNDECIDED = "undecided"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True)
class Recoverability:
    """Whether the array of least complexity that fits is the truth.

    Args:
        outcome: Certified (proved by a dual certificate), recovers (by the numerical solution), misses (another array
            fits that is no more complex; it may be near the truth, see `error`), undecided (the splitting method did
            not converge, or nothing shows that its solution is the only one), impossible (for every method that only
            knows sparsity or rank).
        reason: Why, in one line.
        error: ``||A - truth|| / ||truth||`` of the fit of least complexity, or of a simpler fit that shows a miss
            before the method has converged; None if it was not computed.
        margin: 1 minus the certificate's dual norm off the support or tangent space; None without a certificate.
    """

    outcome: Outcome
    reason: str
    error: float | None = None
    margin: float | None = None

    @property
    def recoverable(self) -> bool:
        """Whether small weights of the complexity lead to the truth."""
        return self.outcome in {Outcome.CERTIFIED, Outcome.RECOVERS}

    @property
    def attainable(self) -> float:
        """Relative error where small weights end, of a miss that of the fit that shows it; inf where it is open."""
        decided = self.recoverable or self.outcome is Outcome.MISSES
        return self.error if decided and self.error is not None else math.inf


@dataclass(frozen=True)
class LeastComplexity:
    """The array of least complexity that fits.

    Args:
        array: It.
        dual: A combination X'v of the measurements that is a subgradient at `array` up to the gap.
        gap: Relative size of the last step of the splitting method.
        steps: Its steps.
        converged: Whether the gap is below the tolerance.
    """

    array: Tensor
    dual: Tensor
    gap: float
    steps: int
    converged: bool


def least_complexity(
    penalty: Complexity,
    measurements: Measurements,
    targets: Tensor,
    *,
    tolerance: float = 1e-8,
    most_steps: int = 50_000,
) -> LeastComplexity:
    """Minimise h(A) under ``X A = y`` by Douglas-Rachford splitting.

    ``x = P(z); u = prox_{c h}(2x - z); z <- z + u - x`` with P the projection on the solutions. At a fixed point u = x
    is the minimiser and ``(x - z)/c`` the dual certificate. The scale c is a tenth of the size of the least-norm fit.

    Args:
        penalty: h.
        measurements: X.
        targets: y, shape ``(N,)``, float64.
        tolerance: Wanted ``||u - x|| / ||x||``.
        most_steps: Steps after which it gives up.

    Returns:
        The solution; with targets 0 it is 0.

    Example:
        >>> seen = Entries(torch.tensor([0, 1, 2]), (2, 2))
        >>> found = least_complexity(Nuclear(), seen, torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64))
        >>> [round(float(x), 5) for x in found.array.ravel()]
        [2.0, 1.0, 1.0, 0.5]
    """
    targets = targets.double()
    start = measurements.project(torch.zeros(1, *measurements.shape, dtype=torch.float64), targets)
    size = float(start.norm())
    if size == 0:
        return LeastComplexity(start[0], start[0], 0.0, 0, True)
    scale = 0.1 * float(penalty.dual_norm(start[0]))
    z, x, gap, steps = start, start, 1.0, 0
    slope = torch.zeros_like(start)
    while gap > tolerance and steps < most_steps:
        x = measurements.project(z, targets)
        slope = x - z
        u = penalty.prox(x + slope, scale, batched=True)
        z = u - slope
        steps += 1
        if steps % 10 == 0:
            gap = float((u - x).norm() / x.norm())
    return LeastComplexity(x[0], slope[0] / scale, gap, steps, gap <= tolerance)


@dataclass(frozen=True)
class Tangent:
    """Where the complexity is smooth around the truth, and its gradient there.

    Args:
        basis: Orthonormal basis of the tangent space, shape ``(entries, dimension)``.
        gradient: The part of every subgradient that lies in it (signs, or U V'), shape ``(entries,)``.
        dimension: Numbers that the truth consists of: s, or r(n1 + n2 - r).
    """

    basis: Tensor
    gradient: Tensor

    @property
    def dimension(self) -> int:
        """Numbers that the truth consists of: s, or r(n1 + n2 - r)."""
        return self.basis.shape[1]


def tangent(penalty: Complexity, truth: Tensor) -> Tangent:
    """The tangent space at a sparse vector or a low-rank matrix.

    Args:
        penalty: `L1` or `Nuclear`.
        truth: Vector or matrix, float64.

    Returns:
        The space: the support, or the matrices ``U B' + C V'``.
    """
    gradient = penalty.subgradient(truth)
    if isinstance(penalty, L1):
        return Tangent(torch.eye(truth.numel(), dtype=truth.dtype)[:, truth.ravel() != 0], gradient.ravel())
    left, values, right = torch.linalg.svd(truth)
    rank = int((values > _FREE * values[0]).sum()) if values.numel() else 0
    rows, columns = torch.arange(truth.shape[0])[:, None], torch.arange(truth.shape[1])[None, :]
    inside = ((rows < rank) | (columns < rank)).ravel()  # u_i v_j' with one of the two among the leading ones
    basis = torch.einsum("ai,jb->abij", left, right).reshape(truth.numel(), -1)[:, inside]
    return Tangent(basis, gradient.ravel())


def face(penalty: Complexity, truth: Tensor) -> Tangent:
    """The part of the tangent space along which the complexity is linear and neither signs nor rank change.

    A change inside it that is not seen leads to other arrays that fit, as sparse or of the same rank, and one way along
    it no more complex: so to see all of them is necessary for recovery. The tangent space of a vector is all of that
    kind; that of a matrix is not: 1 in a corner is the only 2 x 2 matrix of nuclear norm 1 with 1 in that corner.

    Args:
        penalty: `L1` or `Nuclear`.
        truth: Vector or matrix, float64.

    Returns:
        The space: the support, or the matrices ``U S V'`` with S symmetric.
    """
    if isinstance(penalty, L1):
        return tangent(penalty, truth)
    left, values, right = torch.linalg.svd(truth, full_matrices=False)
    rank = int((values > _FREE * values[0]).sum()) if values.numel() else 0
    return Tangent(_symmetric(left[:, :rank], right[:rank]), penalty.subgradient(truth).ravel())


def _symmetric(left: Tensor, right: Tensor) -> Tensor:
    """Orthonormal basis of the matrices ``U S V'`` with S symmetric, from U and V'."""
    one, two = torch.triu_indices(len(right), len(right))
    pairs = torch.einsum("ai,ib->iab", left[:, one], right[two]) + torch.einsum("ai,ib->iab", left[:, two], right[one])
    return (pairs.flatten(1) / pairs.flatten(1).norm(dim=1, keepdim=True)).T


def _alone(penalty: Complexity, measurements: Measurements, dual: Tensor) -> bool:
    """Whether a dual leaves one array: all of least complexity lie where its norm is 1: X must see changes there."""
    if isinstance(penalty, L1):
        basis = torch.eye(dual.numel(), dtype=dual.dtype)[:, dual.ravel().abs() > 1 - _TOUCHES]
    else:
        left, values, right = torch.linalg.svd(dual, full_matrices=False)
        basis = _symmetric(left[:, values > 1 - _TOUCHES], right[values > 1 - _TOUCHES])
    return injectivity(measurements, Tangent(basis, dual.ravel())) > 0


def injectivity(measurements: Measurements, space: Tangent) -> float:
    """Least singular value of X on the tangent space.

    Args:
        measurements: X.
        space: The tangent space.

    Returns:
        It, or 0 if it is 0 to rounding.
    """
    if space.dimension > measurements.count:
        return 0.0
    values = torch.linalg.svdvals(measurements.dense().double() @ space.basis)
    return float(values[-1]) if float(values[-1]) > _FREE * float(values[0]) else 0.0


def certificate(
    penalty: Complexity, measurements: Measurements, space: Tangent, dual: Tensor | None = None
) -> float | None:
    """Dual norm off the tangent space of a combination of the measurements that equals the gradient inside it.

    If X is injective on the tangent space and this number is below 1, the truth is the unique minimiser (Fuchs 2004
    for vectors; Candes and Recht 2009, Lemma 3.1, for matrices).

    Args:
        penalty: `L1` or `Nuclear`.
        measurements: X.
        space: The tangent space at the truth.
        dual: A combination X'v to correct as little as possible; None for the combination of least v.

    Returns:
        The number, or None if X is not injective on the space.
    """
    matrix = measurements.dense().double()
    left, values, right = torch.linalg.svd(matrix @ space.basis, full_matrices=False)
    if injectivity(measurements, space) == 0:
        return None
    base = torch.zeros_like(space.gradient) if dual is None else dual.ravel()
    wanted = space.basis.T @ (space.gradient - base)
    found = base + matrix.T @ (left @ ((right @ wanted) / values))
    rest = found - space.basis @ (space.basis.T @ found)
    return float(penalty.dual_norm(rest.reshape(measurements.shape)))


def _margin(
    penalty: Complexity, measurements: Measurements, space: Tangent, dual: Tensor | None = None
) -> float | None:
    """1 minus the certificate's norm, if the growth along the fits that it proves is more than rounding."""
    size = certificate(penalty, measurements, space, dual)
    if size is None:
        return None
    conditioning = float(measurements.curvatures[0].sqrt()) / injectivity(measurements, space)
    return 1 - size if 1 - size > _STRICT * conditioning else None


def shortage(penalty: Complexity, measurements: Measurements, truth: Tensor) -> str | None:
    """Why no method can recover the truth, if that shows without solving anything.

    Args:
        penalty: `L1` or `Nuclear`.
        measurements: X.
        truth: Vector or matrix.

    Returns:
        One line, or None.
    """
    space = face(penalty, truth.double())
    if isinstance(penalty, Nuclear) and isinstance(measurements, Entries):
        for dim, index in measurements.unseen:
            if bool(truth.movedim(dim, 0)[index].any()):
                line = ("row", "column")[dim]
                return f"no entry of {line} {index} is observed, so recovery is impossible: observe one there at least"
    what = "non-zero entries" if isinstance(penalty, L1) else "changes U S V' that keep the rank"
    if space.dimension > measurements.count:
        return (
            f"{space.dimension} {what}, but only N={measurements.count} measurements, so recovery is impossible: "
            f"take N ≥ {space.dimension}"
        )
    if injectivity(measurements, space) == 0:
        return f"{space.dimension} {what}, not all of them seen, so recovery is impossible: measure more of them"
    return None


def recoverable(penalty: Complexity, measurements: Measurements, truth: Tensor) -> Recoverability:
    """Say whether the array of least complexity that fits noiseless measurements is the truth.

    Args:
        penalty: `L1` or `Nuclear`.
        measurements: X.
        truth: Vector or matrix that is measured.

    Returns:
        The verdict.

    Raises:
        UserError: If truth and measurements differ in shape, or the truth is 0.

    Example:
        >>> recoverable(Nuclear(), Entries(torch.tensor([0, 1]), (2, 2)), torch.ones(2, 2)).reason
        'no entry of row 1 is observed, so recovery is impossible: observe one there at least'
    """
    truth = truth.double()
    if tuple(truth.shape) != tuple(measurements.shape):
        raise UserError(f"truth of shape {tuple(truth.shape)}: accepted is {tuple(measurements.shape)}")
    if not bool(truth.any()):
        raise UserError("truth: all zeros, accepted is an array with something to recover")
    lacking = shortage(penalty, measurements, truth)
    if lacking is not None:
        return Recoverability(Outcome.IMPOSSIBLE, lacking)
    margin = _margin(penalty, measurements, tangent(penalty, truth))
    if margin is not None:
        return Recoverability(Outcome.CERTIFIED, _proof(margin), 0.0, margin)
    targets = measurements.apply(truth[None])[0]
    found = least_complexity(penalty, measurements, targets, most_steps=_SHORT)
    if not found.converged and _saved(penalty, found.array, truth) <= _FREE:
        found = least_complexity(penalty, measurements, targets)
    return _compared(penalty, measurements, truth, found)


def _compared(penalty: Complexity, measurements: Measurements, truth: Tensor, found: LeastComplexity) -> Recoverability:
    """The verdict of a solution and its dual."""
    space = tangent(penalty, truth)
    error = float((found.array - truth).norm() / truth.norm())
    margin = _margin(penalty, measurements, space, found.dual)
    if margin is not None and error <= _SAME:
        return Recoverability(Outcome.CERTIFIED, _proof(margin), error, margin)
    saved = _saved(penalty, found.array, truth)
    more = "measure more"
    if isinstance(penalty, Nuclear) and space.dimension > measurements.count:
        more += f", in general N ≥ {space.dimension} degrees of freedom r(n1 + n2 - r)"
    if saved > _FREE:
        told = f"an array at relative distance {error:.2g} fits with {saved:.2g} less complexity: {more}"
        return Recoverability(Outcome.MISSES, told, error)
    if margin is not None:
        told = f"{_proof(margin)}, yet after {found.steps} steps the solution is at relative distance {error:.2g}"
        return Recoverability(Outcome.UNDECIDED, told, error)
    if not found.converged:
        return Recoverability(Outcome.UNDECIDED, f"not solved in {found.steps} steps (gap {found.gap:.1g})", error)
    if error <= _SAME:
        told, alone = f"the solution found is the truth within {error:.1g}", _alone(penalty, measurements, found.dual)
        outcome = Outcome.RECOVERS if alone else Outcome.UNDECIDED
        return Recoverability(outcome, told if alone else f"{told}, others may be as simple: {more}", error)
    told = f"an array at relative distance {error:.2g} fits with the same complexity: {more}"
    return Recoverability(Outcome.MISSES, told, error)


def _proof(margin: float) -> str:
    size = f"{1 - margin:.3f}" if margin >= _SHOWN else f"1 - {margin:.1g}"
    return f"dual certificate of norm {size} < 1"


def _saved(penalty: Complexity, array: Tensor, truth: Tensor) -> float:
    """How much less complex an array is than the truth, relative."""
    return 1 - float(penalty.value(array) / penalty.value(truth))
