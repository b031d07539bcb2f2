"""Four ways down the nuclear norm on the zero-loss manifold, for a grid of step sizes and weights at once.

Every step acts on a stack of matrices, shape (runs, n1, n2), in float64.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.checks import check_positive
from groktimizer.theory.low_rank.problem import NUCLEAR, LowRank, check_each, numbers

Numbers = float | Tensor
Watch = Callable[[int, Tensor, Tensor], None]
PATIENCE = 1000
BLOCK = 128  # steps between two looks at the errors
NEVER = -1


@dataclass(frozen=True, eq=False)
class LowRankRuns:
    """Times in steps, one per run; `NEVER` (-1) where there is none.

    Args:
        method: Name of the method.
        lr: alpha, shape (runs,).
        weight: beta, shape (runs,).
        memorised: First step with ``||X A - y|| <= train_tolerance ||y||``, int64.
        memorised_settled: First step from which that stays so to the end.
        generalised: First step with ``||A - A*|| <= recovery_tolerance ||A*||``; `NEVER` without a known truth.
        settled: First step from which that stays so to the end.
        train_error: Last relative training error.
        recovery_error: Last relative recovery error; NaN without a known truth.
        matrices: Last matrices, shape (runs, n1, n2).
        steps: Steps that were done.
    """

    method: str
    lr: Tensor
    weight: Tensor
    memorised: Tensor
    memorised_settled: Tensor
    generalised: Tensor
    settled: Tensor
    train_error: Tensor
    recovery_error: Tensor
    matrices: Tensor
    steps: int


class _Clock:
    """First and settled steps of ``error <= tolerance``, read block by block."""

    def __init__(self, tolerance: float, runs: int) -> None:
        self.tolerance = tolerance
        self.first = torch.full((runs,), NEVER)
        self.since = torch.full((runs,), NEVER)
        self.error = torch.full((runs,), torch.nan, dtype=torch.float64)

    def look(self, step: int, errors: Tensor) -> None:
        """Take note of the errors after `step`, `step` + 1, ... steps, shape (steps, runs)."""
        met = errors <= self.tolerance
        found = torch.where(met.any(0), step + met.int().argmax(0), NEVER)
        self.first = torch.where(self.first == NEVER, found, self.first)
        broken = (~met).any(0)
        after = step + len(met) - (~met).flip(0).int().argmax(0)  # the step after the last violation of the block
        begun = torch.where(self.since == NEVER, step, self.since)
        self.since = torch.where(met[-1], torch.where(broken, after, begun), NEVER)
        self.error = errors[-1]

    def held(self, step: int, patience: int) -> bool:
        """Whether every run has stayed below the tolerance for so long."""
        return bool(((self.since != NEVER) & (step - self.since >= patience)).all())


@dataclass
class _Descent:
    """The steps of one grid; lr and weight have shape (runs,)."""

    problem: LowRank
    lr: Tensor
    weight: Tensor
    former: Tensor | None = None
    inertia: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.tall = self.lr[:, None, None]
        self.drift = self.lr * self.weight
        self.inertia = torch.ones_like(self.lr)

    def gradient(self, matrices: Tensor) -> Tensor:
        """X'(X A - y)."""
        measurements = self.problem.measurements
        return measurements.adjoint(measurements.apply(matrices) - self.problem.targets)

    def subgradient(self, matrices: Tensor) -> Tensor:
        """``A - lr (X'(X A - y) + weight U V')``."""
        slope = self.gradient(matrices) + self.weight[:, None, None] * NUCLEAR.subgradient(matrices, batched=True)
        return matrices - self.tall * slope

    def proximal(self, matrices: Tensor) -> Tensor:
        """Singular value thresholding of ``A - lr X'(X A - y)`` at ``lr weight``."""
        return NUCLEAR.prox(matrices - self.tall * self.gradient(matrices), self.drift, batched=True)

    def projected(self, matrices: Tensor) -> Tensor:
        """``P(A - lr weight U V')``, P the projection on the matrices that fit."""
        moved = matrices - self.drift[:, None, None] * NUCLEAR.subgradient(matrices, batched=True)
        return self.problem.measurements.project(moved, self.problem.targets)

    def accelerated(self, matrices: Tensor) -> Tensor:
        """A proximal step from ``z = A + ((t - 1)/t+) (A - former)``; t restarts where ``<z - A+, A+ - A> > 0``."""
        following = (1 + (1 + 4 * self.inertia.square()).sqrt()) / 2
        push = ((self.inertia - 1) / following)[:, None, None]
        ahead = matrices if self.former is None else matrices + push * (matrices - self.former)
        landed = self.proximal(ahead)
        uphill = ((ahead - landed) * (landed - matrices)).sum((1, 2)) > 0
        self.inertia = torch.where(uphill, 1.0, following)
        self.former = torch.where(uphill[:, None, None], landed, matrices)
        return landed


METHODS: Mapping[str, Callable[[_Descent, Tensor], Tensor]] = {
    "subgradient": _Descent.subgradient,
    "proximal": _Descent.proximal,
    "projected": _Descent.projected,
    "accelerated": _Descent.accelerated,
}


def _grid(lr: Numbers, weight: Numbers) -> tuple[Tensor, Tensor]:
    """Step sizes and weights as vectors of one length."""
    one, two = numbers("lr", lr), numbers("weight", weight)
    if len(one) != len(two) and 1 not in {len(one), len(two)}:
        raise UserError(f"lr and weight of lengths {len(one)} and {len(two)}: accepted are equal ones, or one number")
    one, two = torch.broadcast_tensors(one, two)
    return one, two


@torch.no_grad()
def solve(
    problem: LowRank,
    method: str,
    lr: Numbers,
    weight: Numbers,
    steps: int,
    *,
    start: Tensor | None = None,
    train_tolerance: float = 1e-3,
    recovery_tolerance: float = 1e-2,
    patience: int = PATIENCE,
    watch: Watch | None = None,
) -> LowRankRuns:
    """Run one method for every pair of step size and weight, and read off the clocks.

    Args:
        problem: The problem.
        method: "subgradient" (polar factor), "proximal" (singular value thresholding), "projected" (subgradient steps
            of the norm alone, projected on the fits) or "accelerated" (proximal, with momentum and adaptive restart:
            O'Donoghue and Candes 2015).
        lr: alpha, a number or shape (runs,).
        weight: beta, a number or shape (runs,).
        steps: Steps to do at most.
        start: A0, shape (n1, n2); None for 0.
        train_tolerance: Memorised means a relative training error of at most this.
        recovery_tolerance: Generalised means a relative recovery error of at most this.
        patience: The grid stops once every run has stayed recovered for so many steps.
        watch: Called with a number of steps, and the relative training and recovery errors after that many steps and
            the next ones, shape (steps, runs) each; NaN without a known truth.

    Returns:
        Times, errors and matrices.

    Raises:
        UserError: If a setting is not accepted.

    Example:
        >>> truth = torch.outer(torch.tensor([3.0, 2.0, 1.0]), torch.tensor([1.0, -1.0, 0.5]))
        >>> pairs = torch.tensor([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)])
        >>> problem = LowRank.completion(pairs, truth[pairs[:, 0], pairs[:, 1]], (3, 3), truth)
        >>> slow = solve(problem, "proximal", 0.5, 1e-3, 20_000)
        >>> fast = solve(problem, "accelerated", 0.5, 1e-3, 20_000)
        >>> bool(slow.memorised < slow.generalised), bool(5 * fast.settled < slow.settled)
        (True, True)
    """
    if method not in METHODS:
        raise UserError(f"method={method!r}: accepted are {', '.join(METHODS)}")
    for name, value in (("steps", steps), ("patience", patience)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise UserError(f"{name}={value!r}: accepted are whole numbers >= 0")
    check_positive("train_tolerance", train_tolerance)
    check_positive("recovery_tolerance", recovery_tolerance)
    rates, weights = _grid(lr, weight)
    problem.check_weight(weights)
    if method == "projected":
        check_each("lr", rates)
    else:
        problem.check_lr(rates, accelerated=method == "accelerated")
    descent, advance = _Descent(problem, rates, weights), METHODS[method]
    matrices = problem.begin(start).expand(len(rates), *problem.shape).clone()
    train, recovery = _Clock(train_tolerance, len(rates)), _Clock(recovery_tolerance, len(rates))
    _look(problem, [matrices], 0, train, recovery, watch)
    step = 0
    while step < steps and not recovery.held(step, patience):
        block: list[Tensor] = []
        for _ in range(min(BLOCK, steps - step)):
            matrices = advance(descent, matrices)
            block.append(matrices)
        _look(problem, block, step + 1, train, recovery, watch)
        step += len(block)
    return LowRankRuns(
        method=method,
        lr=rates,
        weight=weights,
        memorised=train.first,
        memorised_settled=train.since,
        generalised=recovery.first,
        settled=recovery.since,
        train_error=train.error,
        recovery_error=recovery.error,
        matrices=matrices,
        steps=step,
    )


def _look(
    problem: LowRank, block: list[Tensor], step: int, train: _Clock, recovery: _Clock, watch: Watch | None
) -> None:
    """Measure both relative errors of the matrices after `step`, `step` + 1, ... steps."""
    matrices = torch.cat(block)
    residual = problem.measurements.apply(matrices) - problem.targets
    fits = (residual.norm(dim=1) / problem.targets.norm()).reshape(len(block), -1)
    train.look(step, fits)
    errors = torch.full_like(fits, torch.nan)
    if problem.truth is not None:
        distance = (matrices - problem.truth).flatten(1).norm(dim=1)
        errors = (distance / problem.truth.norm()).reshape(len(block), -1)
        recovery.look(step, errors)
    if watch is not None:
        watch(step, fits, errors)
