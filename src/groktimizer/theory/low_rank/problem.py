"""Low-rank matrices from few measurements: the problem, and how long the nuclear norm takes (arXiv 2506.05718).

Loss ``g = 1/2 ||X A - y||^2`` plus ``weight ||A||_*``, steps of size ``lr``; `theory.low_rank.solvers` runs it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from groktimizer.ground import checks
from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.checks import check_lr, check_numbers, check_weight
from groktimizer.theory.low_rank.measurements import Dense, Entries, Measurements, places_of
from groktimizer.theory.low_rank.recoverable import (
    NUCLEAR,
    Recoverability,
    injectivity,
    least_complexity,
    recoverable,
    shortage,
    tangent,
)

_EPS = float(np.finfo(np.float64).eps)
_SPLIT = 1e-6  # relative: what the splitting method leaves of a singular value that is 0


@dataclass(frozen=True)
class TimeLaw:
    """The two clocks of (sub)gradient descent with a small weight, predicted from the interpolant.

    The subgradient of the nuclear norm moves a matrix by at most ``lr weight sqrt(min(n1, n2))`` a step, and only the
    part of it outside the span of the measurements moves clock two.

    Args:
        lr: alpha.
        weight: beta.
        interpolant: A^, the fit next to the start, where gradient descent alone would end.
        distance: ``||A^ - A*||_2->2``.
        memorised: ``-ln(1 + (1 - rho) ||A0 - A^||_F / (lr weight)) / ln rho``, rho the slowest rate of clock one: when
            the loss is level with the drift.
        generalised: ``distance / (lr weight)``, the paper's law; measured, an error of 1e-2 takes 2 to 9 times as long.
        earliest: Before this the relative error is above the tolerance (ours): the way from A^ to A* less what the
            tolerance allows, over ``lr weight sqrt(min(n1, n2))``.
        latest: By this step the projected subgradient's relative error has been below the tolerance (ours); see
            `LowRank.time_law`. Proved for that method alone, and loose: the certificate's margin over the worst growth
            along the fits. Infinite without a dual certificate or where the step is too coarse for the tolerance.
        ripple: ``2 lr weight sqrt(min(n1, n2)) / (1 - rho)``: how far from the interpolants the drift keeps A.
        square: ``||A^ - A*||_F^2``.
    """

    lr: float
    weight: float
    interpolant: Tensor
    distance: float
    memorised: float
    generalised: float
    earliest: float
    latest: float
    ripple: float
    square: float

    def theorem(self, slack: float) -> float:
        """Theorem 3.5: steps until some norm is within `slack` > 0 of the least, ``square / (lr weight slack)``."""
        if not slack > 0:
            raise UserError(f"slack={slack}: accepted are numbers > 0")
        return self.square / (self.lr * self.weight * slack)


class LowRank:
    """A matrix of low rank, measured less often than it has entries.

    >>> truth = torch.outer(torch.tensor([3.0, 2.0, 1.0]), torch.tensor([1.0, -1.0, 0.5]))
    >>> pairs = torch.tensor([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)])
    >>> str(LowRank.completion(pairs, truth[pairs[:, 0], pairs[:, 1]], (3, 3), truth).verdict().outcome)
    'certified'

    Args:
        measurements: X on matrices (n1, n2).
        targets: y, shape ``(N,)``.
        truth: A*, shape (n1, n2); without it there are no recovery errors.

    Raises:
        UserError: If shapes disagree or a value is not a finite real number.
    """

    def __init__(self, measurements: Measurements, targets: Tensor, truth: Tensor | None = None) -> None:
        if len(measurements.shape) != 2:
            raise UserError(f"measurements of arrays of shape {measurements.shape}: accepted are matrices")
        self.measurements = measurements
        self.targets = _real("targets", targets, (measurements.count,))
        self.truth = None if truth is None else _real("truth", truth, measurements.shape)

    @classmethod
    def completion(
        cls, pairs: Tensor, targets: Tensor, shape: tuple[int, int], truth: Tensor | None = None
    ) -> "LowRank":
        """Some entries are seen: `targets`, shape ``(N,)``, in rows and columns `pairs`, shape ``(N, 2)``, int64."""
        return cls(Entries(places_of(pairs, shape), shape), targets, truth)

    @classmethod
    def sensing(cls, matrices: Tensor, targets: Tensor, truth: Tensor | None = None) -> "LowRank":
        """Inner products with matrices of shape ``(N, n1, n2)`` are seen: `targets`, shape ``(N,)``."""
        if matrices.ndim != 3:
            raise UserError(f"matrices of shape {tuple(matrices.shape)}: accepted are (N, n1, n2)")
        return cls(Dense(matrices.double().flatten(1), tuple(matrices.shape[1:])), targets, truth)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n1, n2)."""
        return self.measurements.shape

    @property
    def sharpness(self) -> float:
        """Largest curvature of the loss: ``s_max(X)^2``."""
        return float(self.measurements.curvatures[0])

    @property
    def weight_limit(self) -> float:
        """The weight from which on 0 is the answer: ``||X'y||_2->2``."""
        return float(NUCLEAR.beta_max(self.measurements.adjoint(self.targets[None])[0]))

    def interpolant(self, start: Tensor | None = None) -> Tensor:
        """Where gradient descent without weight ends: the fit next to its start, or to 0; shape (n1, n2)."""
        return self.measurements.project(self.begin(start)[None], self.targets)[0]

    def unseen(self, matrix: Tensor) -> Tensor:
        """The part of a matrix that no measurement sees; shape (n1, n2)."""
        return self.measurements.project(matrix.double()[None], torch.zeros_like(self.targets))[0]

    def begin(self, start: Tensor | None) -> Tensor:
        """A checked start, 0 for None; shape (n1, n2), float64."""
        return torch.zeros(self.shape, dtype=torch.float64) if start is None else _real("start", start, self.shape)

    def verdict(self) -> Recoverability:
        """Whether the measurements determine the matrix; looked for once."""
        return self._verdict

    @cached_property
    def _verdict(self) -> Recoverability:
        return recoverable(self.measurements, self.known_truth())

    def known_truth(self) -> Tensor:
        """A*, shape (n1, n2), refused where it is not known."""
        if self.truth is None:
            raise UserError("truth=None: accepted here is the matrix that was measured")
        return self.truth

    def check_weight(self, weight: Tensor) -> None:
        """Refuse weights that are not positive, or under which 0 is the answer."""
        check_weight(weight, self.weight_limit)

    def time_law(self, lr: float, weight: float, start: Tensor | None = None, *, tolerance: float = 1e-2) -> TimeLaw:
        """Predict both clocks of (sub)gradient descent.

        The latest time: with a dual certificate of norm 1 - m off the tangent space T of A*, s the least singular value
        of X on T, and D = A - A* unseen by X, ``||A||_* - ||A*||_* >= m ||D off T|| >= (m/c) ||D||_F`` where
        ``c^2 = 1 + sharpness / s^2``; so a subgradient step of size d = lr weight shortens D by
        ``d (m/c - d min(n1, n2) / (2 ||D||_F))`` at least.

        Returns:
            The law.

        Raises:
            UserError: If lr is not below 2 / sharpness, the weight not below `weight_limit` or the tolerance not
                positive, or if recovery is impossible.
        """
        truth = self.known_truth()
        lacking = shortage(self.measurements, truth)
        if lacking is not None:
            raise UserError(lacking)
        self.check_weight(numbers("weight", weight))
        self.check_lr(numbers("lr", lr))
        checks.positive(tolerance=tolerance)
        first, fit = self.begin(start), self.interpolant(start)
        error, drift = fit - truth, lr * weight
        if drift == 0:
            raise UserError(
                f"lr={lr:g}, weight={weight:g}: their product is 0, accepted are values whose product is not"
            )
        way = max(float(error.norm()) - tolerance * float(truth.norm()), 0.0)
        rate = float((1 - lr * self.measurements.curvatures).abs().max())
        if rate >= 1:
            least = float(self.measurements.curvatures[-1])
            raise UserError(f"lr={lr:g}: too small to move, accepted are values above {_EPS / least:.2g}")
        width = math.sqrt(min(self.shape))
        away = 1 + (1 - rate) * float((first - fit).norm()) / drift
        pull = self._pull() - drift * min(self.shape) / (2 * tolerance * float(truth.norm()))
        return TimeLaw(
            lr=lr,
            weight=weight,
            interpolant=fit,
            distance=float(NUCLEAR.dual_norm(error)),
            memorised=0.0 if rate == 0 else -math.log(away) / math.log(rate),
            generalised=float(NUCLEAR.dual_norm(error)) / drift,
            earliest=way / (drift * width),
            latest=way / (drift * pull) if pull > 0 else math.inf,
            ripple=2 * drift * width / (1 - rate),
            square=float(error.square().sum()),
        )

    def _pull(self) -> float:
        """Least slope ``m/c`` of the nuclear norm towards the truth along the fits; 0 without a certificate."""
        margin = self.verdict().margin
        if margin is None:
            return 0.0
        least = injectivity(self.measurements, tangent(self.known_truth()))
        return margin / math.sqrt(1 + self.sharpness / least**2)

    def check_lr(self, lr: Tensor, *, accelerated: bool = False) -> None:
        """Refuse step sizes that diverge; accelerated steps take half as much."""
        check_lr(lr, self.sharpness, "measurements", momentum=accelerated)


def _real(name: str, values: Tensor, shape: Sequence[int]) -> Tensor:
    """Finite real numbers of a shape in float64."""
    if tuple(values.shape) != tuple(shape):
        raise UserError(f"{name} of shape {tuple(values.shape)}: accepted is {tuple(shape)}")
    if values.is_complex():
        raise UserError(f"{name} of {values.dtype}: accepted are real numbers")
    if not bool(values.isfinite().all()):
        raise UserError(f"{name}: holds NaN or inf, accepted are finite numbers")
    return values.double()


def simplest(problem: LowRank) -> Tensor:
    """The fit of least nuclear norm, shape (n1, n2), for a problem whose truth is not known; refused if not found."""
    found = least_complexity(problem.measurements, problem.targets)
    if not found.converged:
        raise UserError(
            f"truth=None: the fit of least nuclear norm was not found in {found.steps:,} steps (gap {found.gap:.1g}), "
            "accepted here is the matrix that was measured"
        )
    left, values, right = torch.linalg.svd(found.array, full_matrices=False)
    kept = values > _SPLIT * values[0]
    return (left[:, kept] * values[kept]) @ right[kept]


def numbers(name: str, value: float | Tensor) -> Tensor:
    """Read step sizes or weights, real numbers, as a vector in float64."""
    given = value if isinstance(value, Tensor) else torch.from_numpy(np.asarray(check_numbers(name, value), np.float64))
    if given.is_complex():
        raise UserError(f"{name}: holds {given.dtype}, accepted are real numbers")
    if given.ndim > 1 or not given.numel():
        raise UserError(f"{name} of shape {tuple(given.shape)}: accepted are numbers or vectors (runs,)")
    return torch.atleast_1d(given.double())
