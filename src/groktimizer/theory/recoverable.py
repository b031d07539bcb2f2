"""Whether what was measured determines the sparse vector or the low-rank matrix at all.

Exact recovery means that the truth is the unique array of least complexity that fits the measurements. It fails for
want of numbers, it is proved by a dual certificate, or it is decided by solving the problem. (Basis pursuit has an
exact path of its own in `theory.lasso`; here both complexities share one splitting method.)
"""

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from groktimizer.penalties import L1, Nuclear
from groktimizer.theory.measurements import Entries, Measurements

Complexity = L1 | Nuclear
_FREE = 1e-9  # relative: singular values below are 0
_SHORT = 2_000  # steps that mostly show a simpler fit if there is one
_SAME = 1e-6  # relative distance at which the solution of the splitting method is the truth


class Outcome(StrEnum):
    """What the measurements can do."""

    CERTIFIED = "certified"
    RECOVERS = "recovers"
    MISSES = "misses"
    UNDECIDED = "undecided"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True)
class Verdict:
    """Whether the array of least complexity that fits is the truth.

    Args:
        outcome: Certified (proved by a dual certificate), recovers (by the numerical solution), misses (another array
            fits that is no more complex), undecided (the splitting method did not converge), impossible (for every
            method that only knows sparsity or rank).
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


def shortage(penalty: Complexity, measurements: Measurements, truth: Tensor) -> str | None:
    """Why no method can recover the truth, if that shows without solving anything.

    Args:
        penalty: `L1` or `Nuclear`.
        measurements: X.
        truth: Vector or matrix.

    Returns:
        One line, or None.
    """
    space = tangent(penalty, truth.double())
    if isinstance(penalty, Nuclear) and isinstance(measurements, Entries):
        for dim, index in measurements.unseen:
            if bool(truth.movedim(dim, 0)[index].any()):
                line = ("row", "column")[dim]
                return f"no entry of {line} {index} is observed, so recovery is impossible: observe one there at least"
    if space.dimension > measurements.count:
        what = "non-zero entries" if isinstance(penalty, L1) else "degrees of freedom r(n1 + n2 - r)"
        return (
            f"{space.dimension} {what}, but only N={measurements.count} measurements, so recovery is impossible: "
            f"take N ≥ {space.dimension}"
        )
    return None


def recoverable(penalty: Complexity, measurements: Measurements, truth: Tensor) -> Verdict:
    """Say whether the array of least complexity that fits noiseless measurements is the truth.

    Args:
        penalty: `L1` or `Nuclear`.
        measurements: X.
        truth: Vector or matrix that is measured.

    Returns:
        The verdict.

    Raises:
        ValueError: If truth and measurements differ in shape, or the truth is 0.

    Example:
        >>> recoverable(Nuclear(), Entries(torch.tensor([0, 1]), (2, 2)), torch.ones(2, 2)).reason
        'no entry of row 1 is observed, so recovery is impossible: observe one there at least'
    """
    truth = truth.double()
    if tuple(truth.shape) != tuple(measurements.shape):
        raise ValueError(f"truth of shape {tuple(truth.shape)}: accepted is {tuple(measurements.shape)}")
    if not bool(truth.any()):
        raise ValueError("truth: all zeros, accepted is an array with something to recover")
    lacking = shortage(penalty, measurements, truth)
    if lacking is not None:
        return Verdict(Outcome.IMPOSSIBLE, lacking)
    space = tangent(penalty, truth)
    size = certificate(penalty, measurements, space)
    if size is not None and size < 1:
        return Verdict(Outcome.CERTIFIED, f"dual certificate of norm {size:.3f} < 1", 0.0, 1 - size)
    targets = measurements.apply(truth[None])[0]
    found = least_complexity(penalty, measurements, targets, most_steps=_SHORT)
    if not found.converged and _saved(penalty, found.array, truth) <= _FREE:
        found = least_complexity(penalty, measurements, targets)
    error = float((found.array - truth).norm() / truth.norm())
    size = certificate(penalty, measurements, space, found.dual)
    if size is not None and size < 1:
        return Verdict(Outcome.CERTIFIED, f"dual certificate of norm {size:.3f} < 1", error, 1 - size)
    saved = _saved(penalty, found.array, truth)
    if saved > _FREE:
        told = f"an array at relative distance {error:.2g} fits with {saved:.2g} less complexity: measure more"
        return Verdict(Outcome.MISSES, told, error)
    if not found.converged:
        return Verdict(Outcome.UNDECIDED, f"not solved in {found.steps} steps (gap {found.gap:.1g})", error)
    if error <= _SAME:
        return Verdict(Outcome.RECOVERS, f"the solution of least complexity is the truth within {error:.1g}", error)
    told = f"an array at relative distance {error:.2g} fits with the same complexity: measure more"
    return Verdict(Outcome.MISSES, told, error)


def _saved(penalty: Complexity, array: Tensor, truth: Tensor) -> float:
    """How much less complex an array is than the truth, relative."""
    return 1 - float(penalty.value(array) / penalty.value(truth))
