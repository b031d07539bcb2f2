"""Low-rank descent step by step, compiled: the four methods of `clock.descent` on matrices; needs numba (`lab`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from groktimizer.ground import checks
from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.checks import check_lr
from groktimizer.theory.low_rank.measurements import Entries
from groktimizer.theory.low_rank.problem import LowRank, numbers

if TYPE_CHECKING:
    from groktimizer.theory.clock.descent import Data

Numbers = float | Tensor
METHODS = ("subgradient", "projected", "proximal", "accelerated")  # in the order of `clock.descent.METHODS`
PATIENCE = 1000
NEVER = -1
_INERTIA = (1 + 5**0.5) / 2  # t_2: momentum begins with the second step, not the third


@dataclass(frozen=True, eq=False)
class LowRankRuns:
    """Times in steps, one per run; `NEVER` (-1) where there is none.

    Args:
        memorised: First step with ``||X A - y|| <= train_tolerance ||y||``, int64.
        memorised_settled: First step from which that stays so to the end.
        generalised: First step with ``||A - A*|| <= recovery_tolerance ||A*||``; `NEVER` without a known truth.
        settled: First step from which that stays so to the end.
        train_error: Last relative training error.
        recovery_error: Last relative recovery error; NaN without a known truth.
        matrices: Last matrices, shape (runs, n1, n2).
        steps: Steps that were done, shape (runs,).
        grid: Steps at which errors were kept, shape (K,).
        train_errors: Relative training errors there, shape (runs, K); NaN after the run's last step.
        recovery_errors: Relative recovery errors there, likewise.
    """

    memorised: Tensor
    memorised_settled: Tensor
    generalised: Tensor
    settled: Tensor
    train_error: Tensor
    recovery_error: Tensor
    matrices: Tensor
    steps: Tensor
    grid: Tensor
    train_errors: Tensor
    recovery_errors: Tensor


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
    grid: Sequence[int] | np.ndarray = (),
) -> LowRankRuns:
    """Run one method for every pair of step size and weight, and read off the clocks.

    Args:
        problem: The problem.
        method: "subgradient", "projected", "proximal" (singular value thresholding) or "accelerated".
        lr: alpha, a number or shape (runs,).
        weight: beta, a number or shape (runs,).
        steps: Steps to do at most.
        start: A0, shape (n1, n2); None for 0.
        train_tolerance: Memorised means a relative training error of at most this.
        recovery_tolerance: Generalised means a relative recovery error of at most this.
        patience: A run stops once it has stayed recovered for so many steps.
        grid: Increasing steps up to `steps` at which errors are kept.

    Returns:
        Times, errors and matrices.

    Raises:
        UserError: If a setting is not accepted, or numba is not installed.

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
    checks.whole("steps", steps, 0)
    checks.whole("patience", patience, 0)
    checks.positive(train_tolerance=train_tolerance, recovery_tolerance=recovery_tolerance)
    rates, weights = _pairs(problem, method, lr, weight)
    begin = problem.begin(start)
    try:
        from groktimizer.theory.clock import descent
    except ImportError:
        raise UserError("numba is not installed: pip install groktimizer[lab]") from None
    sizes = np.array([problem.targets.norm(), np.nan if problem.truth is None else problem.truth.norm()])
    kept = np.unique(np.array([*grid, steps], np.int64))
    data = _data(problem, method, np.array([train_tolerance, recovery_tolerance]) * sizes, kept, patience)
    flat = problem.shape[0] > problem.shape[1]  # matrices are taken with no more rows than columns
    matrices = np.array([(begin.T if flat else begin).numpy().ravel()] * len(rates), order="C")
    history, marks = np.full((2, kept.size + 1, len(rates)), np.nan), np.full((len(rates), 2, 2), NEVER)
    again, done = np.zeros(len(rates), np.int64), [0] * len(rates)
    for i, one in enumerate(slice(i, i + 1) for i in range(len(rates))):  # one by one, as each stops when it may
        part, pair = history[..., one].copy(), (rates[one].numpy(), weights[one].numpy())
        done[i] = descent.run(METHODS.index(method), data, matrices[one], *pair, part, marks[one], again[one])
        history[..., one] = part
    errors = torch.from_numpy(np.sqrt(history.T) / sizes)  # (runs, K + 1, 2)
    found, times = torch.from_numpy(matrices.reshape(-1, *sorted(problem.shape))), torch.from_numpy(marks)
    return LowRankRuns(
        memorised=times[:, 0, 0],
        memorised_settled=times[:, 0, 1],
        generalised=times[:, 1, 0],
        settled=times[:, 1, 1],
        train_error=errors[:, -1, 0],
        recovery_error=errors[:, -1, 1],
        matrices=found.mT if flat else found,
        steps=torch.tensor(done),
        grid=torch.from_numpy(kept),
        train_errors=errors[:, :-1, 0],
        recovery_errors=errors[:, :-1, 1],
    )


def _pairs(problem: LowRank, method: str, lr: Numbers, weight: Numbers) -> tuple[Tensor, Tensor]:
    """Step sizes and weights as checked vectors of one length."""
    one, two = numbers("lr", lr), numbers("weight", weight)
    if len(one) != len(two) and 1 not in {len(one), len(two)}:
        raise UserError(f"lr and weight of lengths {len(one)} and {len(two)}: accepted are equal ones, or one number")
    one, two = (part.contiguous() for part in torch.broadcast_tensors(one, two))
    problem.check_weight(two)
    if method == "projected":  # it fits at every step, so any step size will do
        check_lr(one, 0.0, "measurements")
    else:
        problem.check_lr(one, accelerated=method == "accelerated")
    return one, two


def _data(problem: LowRank, method: str, limits: np.ndarray, grid: np.ndarray, patience: int) -> "Data":
    """The problem as the loop takes it: of matrices with no more rows than columns."""
    from groktimizer.theory.clock.descent import Data

    measured, (n1, n2) = problem.measurements, problem.shape
    order = np.arange(n1 * n2).reshape(n1, n2)
    order = order.T.ravel() if n1 > n2 else order.ravel()
    truth = np.zeros(n1 * n2) if problem.truth is None else problem.truth.numpy().ravel()
    places, matrix, back = np.empty(0, np.int64), np.empty((0, 0)), np.empty((0, 0))
    if isinstance(measured, Entries):
        places = np.ascontiguousarray(np.argsort(order)[measured.places.numpy()])
    else:
        matrix = np.ascontiguousarray(measured.dense().double().numpy()[:, order])
        back = np.ascontiguousarray(np.linalg.pinv(matrix).T) if method == "projected" else matrix
    return Data(
        shape=(min(n1, n2), max(n1, n2)),
        places=places,
        matrix=matrix,
        back=back,
        targets=np.ascontiguousarray(problem.targets.numpy()),
        truth=np.ascontiguousarray(truth[order]),
        limits=np.where(np.isnan(limits), -1.0, limits**2),
        grid=grid,
        patience=patience,
        inertia=_INERTIA,
    )
