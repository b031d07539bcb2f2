"""What `Lasso.grokking_time` returns, and what to call the transition that it saw."""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from groktimizer.theory.lasso.path import LassoPath
from groktimizer.theory.quadratic import Array

_DECAYED = 0.5  # the error at the end over that when memorised: below, something has been forgotten


class Verdict(Enum):
    """What became of a run after it had memorised."""

    GROKKING = "grokking: it memorised first and found a* later"
    AT_ONCE = "no delay: it found a* while it memorised"
    WITHOUT_UNDERSTANDING = "grokking without understanding: the start was forgotten, a* was not found"
    NO_TRANSITION = "no transition: it stayed where it had memorised"
    NOT_MEMORISED = "never memorised"


@dataclass(frozen=True)
class Transition:
    """A verdict with its reason.

    Args:
        verdict: Its name.
        reason: The numbers that it rests on.
    """

    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class LassoTimes:
    """First and settled times, in steps, of relative errors; None where there is none.

    Args:
        memorised: First step with ``||X a - y|| / ||y||`` <= train_tolerance.
        memorised_settled: First step from which it stays so for ever.
        generalised: First step with ``||a - a*|| / ||a*||`` <= test_tolerance.
        generalised_settled: First step from which it stays so for ever.
        train_tolerance: Of the train error.
        test_tolerance: Of the recovery error.
        memorised_error: Recovery error at `memorised` (at the start where there is none).
        train_floor: Limit of the train error.
        recovery_floor: Limit of the recovery error.
        n_events: Changes of support or sign of the run.
    """

    memorised: int | None
    memorised_settled: int | None
    generalised: int | None
    generalised_settled: int | None
    train_tolerance: float
    test_tolerance: float
    memorised_error: float
    train_floor: float
    recovery_floor: float
    n_events: int

    @property
    def settled(self) -> int | None:
        """`generalised_settled` under the name that reports use."""
        return self.generalised_settled

    @property
    def delay(self) -> int | None:
        """Generalised minus memorised, both first times; None if either is missing."""
        if self.generalised is None or self.memorised is None:
            return None
        return self.generalised - self.memorised

    @property
    def transition(self) -> Transition:
        """What the run did after it had memorised."""
        return judge(self.memorised, self.generalised, self.memorised_error, self.recovery_floor, self.test_tolerance)

    @property
    def advice(self) -> tuple[str, ...]:
        """One line for each tolerance that cannot be kept."""
        lines: list[str] = []
        if self.train_floor > self.train_tolerance:
            lines.append(
                f"train_tolerance={self.train_tolerance:g} cannot be kept: the train error ends at "
                f"{self.train_floor:.6g}, the bias of weight; a smaller weight lowers it"
            )
        if self.recovery_floor > self.test_tolerance:
            lines.append(
                f"test_tolerance={self.test_tolerance:g} cannot be kept: the recovery error ends at "
                f"{self.recovery_floor:.6g}; a smaller weight lowers it if the samples allow that (see `recovery`)"
            )
        return tuple(lines)


def judge(
    memorised: int | None, generalised: int | None, memorised_error: float, final_error: float, tolerance: float
) -> Transition:
    """Name a transition; of use for any penalty, l2 among them (see `theorem_3_6`).

    >>> judge(60, None, 240.0, 0.83, 0.01).verdict.name
    'WITHOUT_UNDERSTANDING'

    Args:
        memorised: Step of memorisation.
        generalised: Step of generalisation.
        memorised_error: Relative recovery error then.
        final_error: Its limit.
        tolerance: Recovery error that counts as generalised.

    Returns:
        The verdict; without understanding means that the error fell to less than half and stays above the tolerance.
    """
    if memorised is None:
        return Transition(Verdict.NOT_MEMORISED, f"the recovery error ends at {final_error:.4g}")
    course = f"recovery error {memorised_error:.4g} when memorised, {final_error:.4g} in the end, wanted {tolerance:g}"
    if generalised is not None and final_error <= tolerance:
        return Transition(Verdict.GROKKING if generalised > memorised else Verdict.AT_ONCE, course)
    if final_error < _DECAYED * memorised_error:
        return Transition(Verdict.WITHOUT_UNDERSTANDING, course)
    return Transition(Verdict.NO_TRANSITION, course)


def times_along(path: LassoPath, teacher: Array, train_tolerance: float, test_tolerance: float) -> LassoTimes:
    """Exact times of a path, and the limits of both errors.

    Args:
        path: A run of ISTA.
        teacher: a*, shape (n,), not 0.
        train_tolerance: Memorised means ``||X a - y|| / ||y||`` <= this.
        test_tolerance: Generalised means ``||a - a*|| / ||a*||`` <= this.

    Returns:
        The times.
    """
    train, test = path.time_to("train", train_tolerance), path.time_to(teacher, test_tolerance)
    limit = path.limit
    return LassoTimes(
        memorised=train.first,
        memorised_settled=train.settled,
        generalised=test.first,
        generalised_settled=test.settled,
        train_tolerance=train_tolerance,
        test_tolerance=test_tolerance,
        memorised_error=float(path.error(train.first or 0, teacher)),
        train_floor=float(np.linalg.norm(path.features @ limit - path.targets) / np.linalg.norm(path.targets)),
        recovery_floor=float(np.linalg.norm(limit - teacher) / np.linalg.norm(teacher)),
        n_events=path.n_events,
    )
