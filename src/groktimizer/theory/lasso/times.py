"""What `Lasso.grokking_time` returns, and what to call the transition that it saw."""

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np

from groktimizer.theory.clock.quadratic import Array
from groktimizer.theory.lasso.answers import interpolant
from groktimizer.theory.lasso.checks import FARTHEST
from groktimizer.theory.lasso.path import LassoPath
from groktimizer.theory.lasso.recovery import Recovery, attainable, recovery

_DECAYED = 0.5  # the error at the end over that when memorised: below, something has been forgotten
_DELAYED = 2  # iterates up to generalisation over those up to memorisation: above, it is a delay
_GONE = 1e-6  # a recovery error that is told as 0


class Verdict(Enum):
    """What became of a run after it had memorised."""

    GROKKING = "grokking: it memorised first and found a* much later"
    AT_ONCE = "no delay: it found a* while it memorised, or soon after"
    BIASED = "a* up to the bias of the weight: a smaller one ends within the tolerance"
    WITHOUT_UNDERSTANDING = "grokking without understanding: the start was forgotten, a* was not found"
    NEARER = "nearer, not there: the error fell, but a* is not where small weights end"
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
        memorised_error: Recovery error at `memorised` (at the start where there is none, at step 1e12 if it is later).
        train_floor: Limit of the train error.
        recovery_floor: Limit of the recovery error.
        n_events: Changes of support or sign of the run.
        attainable: Recovery error where small weights end: of the fit of least l1 norm. Looked for only if
            `recovery_floor` is beyond the tolerance; inf if not, or if there are several such fits.
        start_share: ``||(I - X^+ X) a0|| / ||a*||``, the part of the start that the samples do not see and only the
            penalty removes; looked for likewise.
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
    attainable: float = math.inf
    start_share: float = math.inf

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
        return judge(
            self.memorised, self.generalised, self.memorised_error, self.recovery_floor, self.test_tolerance,
            attainable=self.attainable, start_share=self.start_share,
        )  # fmt: skip

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
            if self.attainable <= self.test_tolerance:
                more = "the bias of weight; a smaller weight lowers it"
            elif math.isfinite(self.attainable):
                more = (
                    f"with small weights at {self.attainable:.6g}, as the samples do not single out a* (see `recovery`)"
                )
            else:
                more = "a smaller weight lowers it if the samples allow that (see `recovery`)"
            lines.append(
                f"test_tolerance={self.test_tolerance:g} cannot be kept: the recovery error ends at "
                f"{self.recovery_floor:.6g}, {more}"
            )
        return tuple(lines)


def judge(
    memorised: int | None,
    generalised: int | None,
    memorised_error: float,
    final_error: float,
    tolerance: float,
    *,
    attainable: float = math.inf,
    start_share: float = math.inf,
) -> Transition:
    """Name a transition; of use for any penalty, l2 among them (see `theorem_3_6`).

    >>> judge(60, None, 240.0, 0.83, 0.01).verdict.name
    'WITHOUT_UNDERSTANDING'
    >>> judge(17, None, 0.74, 0.031, 0.01, attainable=0.0).verdict.name
    'BIASED'

    Args:
        memorised: Step of memorisation.
        generalised: Step of generalisation.
        memorised_error: Relative recovery error then.
        final_error: Its limit.
        tolerance: Recovery error that counts as generalised.
        attainable: Its limit for small weights; by default beyond every tolerance, as for a penalty that is not that
            of a*.
        start_share: The start's part of `memorised_error`; by default all of it.

    Returns:
        The verdict. Grokking takes more than twice as many iterates to generalise as to memorise, the first of them
        counted as one. Where the final error is beyond the tolerance the weight is the reason if small ones end within
        it. If not, and the error fell to less than half: without understanding if at least half of what it was when
        memorised was the start's.
    """
    if memorised is None:
        return Transition(Verdict.NOT_MEMORISED, f"the recovery error ends at {final_error:.4g}")
    course = f"recovery error {memorised_error:.4g} when memorised, {final_error:.4g} in the end, wanted {tolerance:g}"
    if generalised is not None and final_error <= tolerance:
        late = generalised + 1 > _DELAYED * (memorised + 1)
        return Transition(Verdict.GROKKING if late else Verdict.AT_ONCE, course)
    if attainable <= tolerance < final_error:
        least = "0" if attainable <= _GONE else f"{attainable:.3g}"
        return Transition(
            Verdict.BIASED,
            f"{course}: {final_error:.4g} is the bias of the weight, a smaller one lowers it towards {least}",
        )
    if final_error >= _DECAYED * memorised_error:
        return Transition(Verdict.NO_TRANSITION, course)
    if start_share >= _DECAYED * memorised_error:
        return Transition(Verdict.WITHOUT_UNDERSTANDING, course)
    return Transition(Verdict.NEARER, course)


def times_along(
    path: LassoPath, teacher: Array, train_tolerance: float, test_tolerance: float, found: Recovery | None = None
) -> LassoTimes:
    """Exact times of a path, and the limits of both errors.

    Args:
        path: A run of ISTA.
        teacher: a*, shape (n,), not 0.
        train_tolerance: Memorised means ``||X a - y|| / ||y||`` <= this.
        test_tolerance: Generalised means ``||a - a*|| / ||a*||`` <= this.
        found: `recovery` of a*, if it is known already.

    Returns:
        The times.
    """
    train, test = path.time_to("train", train_tolerance), path.time_to(teacher, test_tolerance)
    limit, size = path.limit, float(np.linalg.norm(teacher))
    floor, least, share = float(np.linalg.norm(limit - teacher)) / size, math.inf, math.inf
    if floor > test_tolerance:
        least = attainable(path.features, path.targets, teacher, found or recovery(path.features, teacher))
        share = float(np.linalg.norm(interpolant(path.features, np.zeros_like(path.targets), path.at(0)))) / size
    return LassoTimes(
        memorised=train.first,
        memorised_settled=train.settled,
        generalised=test.first,
        generalised_settled=test.settled,
        train_tolerance=train_tolerance,
        test_tolerance=test_tolerance,
        memorised_error=float(path.error(min(train.first or 0, FARTHEST), teacher)),
        train_floor=float(np.linalg.norm(path.features @ limit - path.targets) / np.linalg.norm(path.targets)),
        recovery_floor=floor,
        n_events=path.n_events,
        attainable=least,
        start_share=share,
    )
