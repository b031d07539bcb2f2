"""Everything the theory says of one low-rank problem at once: what `groktimizer predict low-rank` prints."""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from groktimizer.ground import checks
from groktimizer.measures import Clocks, Errors, Transition, Verdict, judge
from groktimizer.theory.clock.forecast import Descent, End, better_weight, broken, grid, known, until_rest
from groktimizer.theory.low_rank.problem import LowRank, TimeLaw, numbers
from groktimizer.theory.low_rank.recoverable import Outcome, Recoverability
from groktimizer.theory.low_rank.solvers import PATIENCE, solve

PROXIMAL, ACCELERATED = "proximal (SVT)", "accelerated"
MOST_STEPS = 200_000  # of one method, unless more are asked for: two seconds for a 10 x 10 matrix
BEYOND = "small weights end beyond the tolerance of A*"
SPREAD = 9  # measured: an error of 1e-2 takes up to so many times the paper's law
_FIRST = 20  # steps over 1 / sqrt(alpha beta) of the first accelerated run
_REST = 1e-2  # relative change of the error over the second half of a run that counts as rest


@dataclass(frozen=True, eq=False)
class Outlook:
    """What is known before a step is taken; there is no law where recovery is impossible."""

    lr: float
    weight: float
    train_tolerance: float
    test_tolerance: float
    verdict: Recoverability
    law: TimeLaw | None

    @property
    def hopeless(self) -> bool:
        """Whether small weights end beyond the test tolerance: recovery is impossible, or the simplest fit too far."""
        return self.verdict.outcome is Outcome.IMPOSSIBLE or self.reach == "beyond"

    @property
    def reach(self) -> str:
        """Whether the fit that shows a miss is "within" the test tolerance of A* or "beyond"; empty without a miss."""
        if self.verdict.outcome is not Outcome.MISSES or self.verdict.error is None:
            return ""
        return "within" if self.verdict.error <= self.test_tolerance else "beyond"

    @property
    def told(self) -> str:
        """The verdict in one line, of a miss also on which side of the test tolerance it is."""
        said = f"{self.verdict.outcome}: {self.verdict.reason}"
        return f"{said}; that array is {self.reach} the tolerance" if self.reach else said

    @property
    def expected(self) -> float:
        """Steps by which SVT should have recovered A*: the law times `SPREAD`, or `TimeLaw.latest` if less."""
        if self.law is None or self.hopeless:
            return math.inf
        return min(self.law.latest, SPREAD * self.law.generalised)


@dataclass(frozen=True, eq=False)
class LowRankForecast:
    """What happens when the steps are taken; `skipped` says why there are no plain ones, `proximal` is None then."""

    accelerated: Descent
    proximal: Descent | None
    skipped: str
    transition: Transition
    advice: tuple[str, ...]


def outlook(problem: LowRank, start: Tensor, lr: float, weight: float, tolerances: tuple[float, float]) -> Outlook:
    """Recoverability and law, without a step, of a problem with its truth.

    Returns:
        Both, for lr at most 1 / sharpness, a weight below `weight_limit`, and tolerances of train and recovery error.
    """
    train, test = tolerances
    checks.positive(train_tolerance=train, test_tolerance=test)
    rate = numbers("lr", lr)
    problem.check_lr(rate)
    problem.check_lr(rate, accelerated=True)
    problem.check_weight(numbers("weight", weight))
    verdict = problem.verdict()
    impossible = verdict.outcome is Outcome.IMPOSSIBLE
    law = None if impossible else problem.time_law(lr, weight, start, tolerance=test)
    return Outlook(lr, weight, train, test, verdict, law)


def forecast(problem: LowRank, start: Tensor, seen: Outlook, *, iterate: bool = False) -> LowRankForecast:
    """Take the steps: accelerated ones, and plain ones where that is affordable, or asked for by `iterate`.

    >>> import torch
    >>> truth = torch.outer(torch.tensor([3.0, 2.0, 1.0]), torch.tensor([1.0, -1.0, 0.5]))
    >>> pairs = torch.tensor([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)])
    >>> problem = LowRank.completion(pairs, truth[pairs[:, 0], pairs[:, 1]], (3, 3), truth)
    >>> seen = outlook(problem, torch.zeros(3, 3), 0.5, 1e-2, (1e-2, 1e-2))
    >>> seen.law.earliest < forecast(problem, torch.zeros(3, 3), seen).proximal.generalised < seen.law.latest
    True

    Args:
        problem: The problem.
        start: A0, shape (n1, n2).
        seen: Its outlook.
        iterate: Take plain steps however many, and accelerated ones beyond `MOST_STEPS`.

    Returns:
        The forecast.
    """
    most = math.inf if iterate else MOST_STEPS
    fast = _accelerated(problem, start, seen, most)
    skipped = _reason(seen, most)
    slow = None
    if not skipped:
        budget = seen.expected if math.isfinite(seen.expected) else SPREAD * MOST_STEPS
        slow = _run(problem, start, seen, PROXIMAL, math.ceil(1.1 * budget) + PATIENCE)
    transition = _transition(problem, start, seen, fast)
    return LowRankForecast(fast, slow, skipped, transition, _advice(problem, start, seen, fast, most))


def _transition(problem: LowRank, start: Tensor, seen: Outlook, fast: Descent) -> Transition:
    """What the accelerated run did, with the errors that tell why, where it rests; or that nothing can be found."""
    if seen.verdict.outcome is Outcome.IMPOSSIBLE:
        return Transition(Verdict.IMPOSSIBLE, seen.verdict.reason)
    if not fast.resting:
        return fast.transition
    at = float(fast.recovery_error[np.searchsorted(fast.steps, fast.memorised or 0)])
    share = float(problem.unseen(problem.begin(start)).norm() / problem.known_truth().norm())
    return judge(fast, Errors(at, float(fast.recovery_error[-1]), seen.test_tolerance, seen.verdict.attainable, share))


def _reason(seen: Outlook, most: float) -> str:
    """Why plain steps are not taken, or nothing."""
    if seen.verdict.outcome is Outcome.IMPOSSIBLE:
        return "recovery is impossible"
    if seen.hopeless:
        return BEYOND
    if seen.expected > most:
        return f"may take {seen.expected:,.0f} steps; --iterate takes them"
    return ""


def _run(problem: LowRank, start: Tensor, seen: Outlook, name: str, steps: int, weight: float | None = None) -> Descent:
    """One run with its curve."""
    half = steps // 2
    runs = solve(
        problem,
        "accelerated" if name == ACCELERATED else "proximal",
        seen.lr,
        seen.weight if weight is None else weight,
        steps,
        start=start,
        train_tolerance=seen.train_tolerance,
        recovery_tolerance=seen.test_tolerance,
        patience=max(PATIENCE, steps // 20),
        grid=np.append(grid(steps), half),
    )
    done, kept = int(runs.steps), runs.grid.numpy()
    train, recovery = runs.train_errors[0].numpy(), runs.recovery_errors[0].numpy()
    middle, end = float(recovery[np.searchsorted(kept, half)]), float(runs.recovery_error)
    before = kept < done
    return Descent(
        *known(runs.memorised, runs.memorised_settled, runs.generalised, runs.settled),
        name,
        np.append(kept[before], done),
        np.append(train[before], float(runs.train_error)),
        np.append(recovery[before], end),
        taken=done,
        # A run that has settled stops soon after: where it ends is then no question for its times.
        resting=int(runs.settled) >= 0 or abs(middle - end) <= _REST * end,
    )


def _accelerated(problem: LowRank, start: Tensor, seen: Outlook, most: float, weight: float | None = None) -> Descent:
    """The accelerated run, until it rests."""
    first = _FIRST / math.sqrt(seen.lr * (seen.weight if weight is None else weight)) + PATIENCE
    return until_rest(lambda steps: _run(problem, start, seen, ACCELERATED, steps, weight), first, most)


def _advice(problem: LowRank, start: Tensor, seen: Outlook, fast: Descent, most: float) -> tuple[str, ...]:
    """A tolerance that cannot be kept, and the weight that keeps both or that is faster."""
    if not fast.resting:
        return ()
    train, test = (float(f"{errors[-1]:.3g}") for errors in (fast.train_error, fast.recovery_error))
    ends = {"train": End(train, seen.train_tolerance), "test": End(test, seen.test_tolerance)}
    lines = broken({"train": ends["train"]} if seen.hopeless else ends)
    if seen.hopeless:
        return tuple(lines)

    def told(_: Clocks, weight: float, both: int) -> str:
        law = problem.time_law(seen.lr, weight, start, tolerance=seen.test_tolerance)
        return f"{ACCELERATED} within both from step {both:,}, law of {PROXIMAL} t2 ~ {law.generalised:,.0f}"

    def run(weight: float) -> Clocks:
        return _accelerated(problem, start, seen, most, weight)

    return (*lines, *better_weight(seen.weight, problem.weight_limit, ends, run, told))
