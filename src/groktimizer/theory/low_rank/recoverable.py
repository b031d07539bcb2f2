"""Whether what was measured determines the low-rank matrix at all; of sparse vectors `theory.lasso.recovery` says it.

Exact recovery means that the truth is the unique matrix of least nuclear norm that fits the measurements. It fails for
want of numbers, it is proved by a dual certificate, or it is decided by solving the problem. Measurements are X,
targets y, shape (N,), the truth A*, shape (n1, n2), all in float64, a space one of changes of A*, a dual some X'v.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from groktimizer.ground.errors import UserError
from groktimizer.penalties import Nuclear
from groktimizer.theory.low_rank.measurements import Entries, Measurements

NUCLEAR = Nuclear()
_FREE = 1e-9  # relative: singular values below are 0
_TOUCHES = 1e-3  # distance of a singular value of a dual from 1 that counts as 1
_SHOWN = 5e-4  # a smaller distance from 1 is lost in three digits
_SHORT = 2_000  # steps that mostly show a simpler fit if there is one
_STRICT = 1e-9  # relative growth of the norm along the fits that is more than rounding
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
    """Whether the matrix of least nuclear norm that fits is the truth.

    Args:
        outcome: Certified (proved by a dual certificate), recovers (by the numerical solution), misses (another matrix
            fits that is no more complex; it may be near the truth, see `error`), undecided (the splitting method did
            not converge, or nothing shows that its solution is the only one), impossible (for every method that only
            knows the rank).
        reason: Why, in one line.
        error: ``||A - truth|| / ||truth||`` of the fit of least norm, or of a simpler fit that shows a miss before the
            method has converged; None if it was not computed.
        margin: 1 minus the certificate's dual norm off the tangent space; None without a certificate.
    """

    outcome: Outcome
    reason: str
    error: float | None = None
    margin: float | None = None

    @property
    def recoverable(self) -> bool:
        """Whether small weights lead to the truth."""
        return self.outcome in {Outcome.CERTIFIED, Outcome.RECOVERS}

    @property
    def attainable(self) -> float:
        """Relative error where small weights end, of a miss that of the fit that shows it; inf where it is open."""
        decided = self.recoverable or self.outcome is Outcome.MISSES
        return self.error if decided and self.error is not None else math.inf


@dataclass(frozen=True)
class LeastComplexity:
    """The fit of least nuclear norm, and a dual: a combination X'v that is a subgradient there up to the gap."""

    array: Tensor
    dual: Tensor
    gap: float
    steps: int
    converged: bool


def least_complexity(
    measurements: Measurements, targets: Tensor, *, tolerance: float = 1e-8, most_steps: int = 50_000
) -> LeastComplexity:
    """Minimise ``||A||_*`` under ``X A = y`` by Douglas-Rachford splitting.

    ``x = P(z); u = prox_c(2x - z); z <- z + u - x`` with P the projection on the solutions. At a fixed point u = x
    is the minimiser and ``(x - z)/c`` the dual certificate. The scale c is a tenth of the size of the least-norm fit.
    It ends once ``||u - x|| / ||x||`` is at most the tolerance, or gives up after `most_steps`.

    Returns:
        The solution; with targets 0 it is 0.

    Example:
        >>> seen = Entries(torch.tensor([0, 1, 2]), (2, 2))
        >>> found = least_complexity(seen, torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64))
        >>> [round(float(x), 5) for x in found.array.ravel()]
        [2.0, 1.0, 1.0, 0.5]
    """
    targets = targets.double()
    start = measurements.project(torch.zeros(1, *measurements.shape, dtype=torch.float64), targets)
    if not bool(start.any()):
        return LeastComplexity(start[0], start[0], 0.0, 0, True)
    scale = 0.1 * float(NUCLEAR.dual_norm(start[0]))
    z, x, gap, steps = start, start, 1.0, 0
    slope = torch.zeros_like(start)
    while gap > tolerance and steps < most_steps:
        x = measurements.project(z, targets)
        slope = x - z
        u = NUCLEAR.prox(x + slope, scale, batched=True)
        z = u - slope
        steps += 1
        if steps % 10 == 0:
            gap = float((u - x).norm() / x.norm())
    return LeastComplexity(x[0], slope[0] / scale, gap, steps, gap <= tolerance)


@dataclass(frozen=True)
class Tangent:
    """A space of changes of the truth, and the gradient of the nuclear norm there.

    Args:
        basis: Orthonormal basis of the space, shape ``(entries, dimension)``.
        gradient: The part of every subgradient that lies in it, U V', shape ``(entries,)``.
    """

    basis: Tensor
    gradient: Tensor

    @property
    def dimension(self) -> int:
        """Of the tangent space of rank r: r(n1 + n2 - r), the numbers that the truth consists of."""
        return self.basis.shape[1]


def tangent(truth: Tensor) -> Tangent:
    """The matrices ``U B' + C V'``: the tangent space at a low-rank matrix, float64, where the norm is smooth."""
    left, values, right = torch.linalg.svd(truth)
    rank = _rank(values)
    rows, columns = torch.arange(truth.shape[0])[:, None], torch.arange(truth.shape[1])[None, :]
    inside = ((rows < rank) | (columns < rank)).ravel()  # u_i v_j' with one of the two among the leading ones
    basis = torch.einsum("ai,jb->abij", left, right).reshape(truth.numel(), -1)[:, inside]
    return Tangent(basis, NUCLEAR.subgradient(truth).ravel())


def face(truth: Tensor) -> Tangent:
    """The matrices ``U S V'``, S symmetric, along which the norm of the truth, float64, is linear and its rank stays.

    A change inside it that is not seen leads to other matrices that fit, of the same rank, and one way along it no more
    complex: so to see all of them is necessary for recovery. Of the whole tangent space that is not so: 1 in a corner
    is the only 2 x 2 matrix of nuclear norm 1 with 1 in that corner.

    Returns:
        The space.
    """
    left, values, right = torch.linalg.svd(truth, full_matrices=False)
    rank = _rank(values)
    return Tangent(_symmetric(left[:, :rank], right[:rank]), NUCLEAR.subgradient(truth).ravel())


def _rank(values: Tensor) -> int:
    """Of the matrix with these singular values."""
    return int((values > _FREE * values[0]).sum()) if values.numel() else 0


def _symmetric(left: Tensor, right: Tensor) -> Tensor:
    """Orthonormal basis of the matrices ``U S V'`` with S symmetric, from U and V'."""
    one, two = torch.triu_indices(len(right), len(right))
    pairs = torch.einsum("ai,ib->iab", left[:, one], right[two]) + torch.einsum("ai,ib->iab", left[:, two], right[one])
    return (pairs.flatten(1) / pairs.flatten(1).norm(dim=1, keepdim=True)).T


def _alone(measurements: Measurements, dual: Tensor) -> bool:
    """Whether a dual leaves one matrix: all of least norm lie where its own is 1: X must see changes there."""
    left, values, right = torch.linalg.svd(dual, full_matrices=False)
    basis = _symmetric(left[:, values > 1 - _TOUCHES], right[values > 1 - _TOUCHES])
    return injectivity(measurements, Tangent(basis, dual.ravel())) > 0


def injectivity(measurements: Measurements, space: Tangent) -> float:
    """Least singular value of X on a space, 0 if it is 0 to rounding."""
    if space.dimension > measurements.count:
        return 0.0
    values = torch.linalg.svdvals(measurements.dense().double() @ space.basis)
    return float(values[-1]) if float(values[-1]) > _FREE * float(values[0]) else 0.0


def certificate(measurements: Measurements, space: Tangent, dual: Tensor | None = None) -> float | None:
    """Operator norm off the tangent space of a combination of the measurements that equals the gradient inside it.

    If X is injective on the tangent space and this number is below 1, the truth is the unique minimiser (Candes and
    Recht 2009, Lemma 3.1).

    Returns:
        The number, or None if X is not injective on the space.
    """
    if injectivity(measurements, space) == 0:
        return None
    matrix = measurements.dense().double()
    left, values, right = torch.linalg.svd(matrix @ space.basis, full_matrices=False)
    base = torch.zeros_like(space.gradient) if dual is None else dual.ravel()
    wanted = space.basis.T @ (space.gradient - base)
    found = base + matrix.T @ (left @ ((right @ wanted) / values))
    rest = found - space.basis @ (space.basis.T @ found)
    return float(NUCLEAR.dual_norm(rest.reshape(measurements.shape)))


def _margin(measurements: Measurements, space: Tangent, dual: Tensor | None = None) -> float | None:
    """1 minus the certificate's norm, if the growth along the fits that it proves is more than rounding."""
    size = certificate(measurements, space, dual)
    if size is None:
        return None
    conditioning = float(measurements.curvatures[0].sqrt()) / injectivity(measurements, space)
    return 1 - size if 1 - size > _STRICT * conditioning else None


def shortage(measurements: Measurements, truth: Tensor) -> str | None:
    """Why no method can recover the truth, in one line, if that shows without solving anything."""
    space = face(truth.double())
    if isinstance(measurements, Entries):
        for dim, index in measurements.unseen:
            if bool(truth.movedim(dim, 0)[index].any()):
                line = ("row", "column")[dim]
                return f"no entry of {line} {index} is observed, so recovery is impossible: observe one there at least"
    what = "changes U S V' that keep the rank"
    if space.dimension > measurements.count:
        return (
            f"{space.dimension} {what}, but only N={measurements.count} measurements, so recovery is impossible: "
            f"take N ≥ {space.dimension}"
        )
    if injectivity(measurements, space) == 0:
        return f"{space.dimension} {what}, not all of them seen, so recovery is impossible: measure more of them"
    return None


def recoverable(measurements: Measurements, truth: Tensor) -> Recoverability:
    """Say whether the matrix of least nuclear norm that fits noiseless measurements is the truth.

    >>> recoverable(Entries(torch.tensor([0, 1]), (2, 2)), torch.ones(2, 2)).reason
    'no entry of row 1 is observed, so recovery is impossible: observe one there at least'

    Returns:
        The verdict.

    Raises:
        UserError: If truth and measurements differ in shape, or the truth is 0.
    """
    truth = truth.double()
    if tuple(truth.shape) != tuple(measurements.shape):
        raise UserError(f"truth of shape {tuple(truth.shape)}: accepted is {tuple(measurements.shape)}")
    if not bool(truth.any()):
        raise UserError("truth: all zeros, accepted is an array with something to recover")
    lacking = shortage(measurements, truth)
    if lacking is not None:
        return Recoverability(Outcome.IMPOSSIBLE, lacking)
    space = tangent(truth)
    margin = _margin(measurements, space)
    if margin is not None:
        return Recoverability(Outcome.CERTIFIED, _proof(margin), 0.0, margin)
    targets = measurements.apply(truth[None])[0]
    found = least_complexity(measurements, targets, most_steps=_SHORT)
    if not found.converged and _saved(found.array, truth) <= _FREE:
        found = least_complexity(measurements, targets)
    return _compared(measurements, truth, space, found)


def _compared(measurements: Measurements, truth: Tensor, space: Tangent, found: LeastComplexity) -> Recoverability:
    """The verdict of a solution and its dual."""
    error = float((found.array - truth).norm() / truth.norm())
    margin = _margin(measurements, space, found.dual)
    if margin is not None and error <= _SAME:
        return Recoverability(Outcome.CERTIFIED, _proof(margin), error, margin)
    saved = _saved(found.array, truth)
    more = "measure more"
    if space.dimension > measurements.count:
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
        told, alone = f"the solution found is the truth within {error:.1g}", _alone(measurements, found.dual)
        outcome = Outcome.RECOVERS if alone else Outcome.UNDECIDED
        return Recoverability(outcome, told if alone else f"{told}, others may be as simple: {more}", error)
    told = f"an array at relative distance {error:.2g} fits with the same complexity: {more}"
    return Recoverability(Outcome.MISSES, told, error)


def _proof(margin: float) -> str:
    size = f"{1 - margin:.3f}" if margin >= _SHOWN else f"1 - {margin:.1g}"
    return f"dual certificate of norm {size} < 1"


def _saved(array: Tensor, truth: Tensor) -> float:
    """How much less complex a matrix is than the truth, relative."""
    return 1 - float(NUCLEAR.value(array) / NUCLEAR.value(truth))
