"""What `Lasso.grokking_time` returns, and what to call the transition that it saw."""

import math
from dataclasses import dataclass, replace

import numpy as np
from typing_extensions import override

from groktimizer.measures import Clocks, Errors, Transition, judge
from groktimizer.theory.clock.forecast import End, broken
from groktimizer.theory.clock.quadratic import Array
from groktimizer.theory.lasso.answers import interpolant
from groktimizer.theory.lasso.checks import FARTHEST
from groktimizer.theory.lasso.path import LassoPath
from groktimizer.theory.lasso.recovery import Recovery, attainable, recovery


@dataclass(frozen=True)
class LassoTimes(Clocks):
    """Clocks of ``||X a - y|| / ||y||`` <= train_tolerance and ``||a - a*|| / ||a*||`` <= test_tolerance, for ever.

    Args:
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

    train_tolerance: float
    test_tolerance: float
    memorised_error: float
    train_floor: float
    recovery_floor: float
    n_events: int
    attainable: float = math.inf
    start_share: float = math.inf

    @property
    @override
    def transition(self) -> Transition:
        """What the run did after it had memorised."""
        ends = (self.memorised_error, self.recovery_floor, self.test_tolerance, self.attainable, self.start_share)
        return judge(self, Errors(*ends))

    @property
    def ends(self) -> dict[str, End]:
        """Where both errors end, and why."""
        train, test = End(self.train_floor, self.train_tolerance), End(self.recovery_floor, self.test_tolerance)
        if self.attainable > self.test_tolerance:
            why = "a smaller weight lowers it if the samples allow that (see `recovery`)"
            if math.isfinite(self.attainable):
                why = (
                    f"with small weights at {self.attainable:.6g}, as the samples do not single out a* (see `recovery`)"
                )
            test = replace(test, why=why)
        return {"train": train, "test": test}

    @property
    def advice(self) -> tuple[str, ...]:
        """One line for each tolerance that cannot be kept."""
        return tuple(broken(self.ends))


def times_along(
    path: LassoPath, teacher: Array, train_tolerance: float, test_tolerance: float, found: Recovery | None = None
) -> LassoTimes:
    """Exact times of a run of ISTA towards a* (n,), not 0, and the limits of both errors; `found` is its `recovery`."""
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
        settled=test.settled,
        train_tolerance=train_tolerance,
        test_tolerance=test_tolerance,
        memorised_error=float(path.error(min(train.first or 0, FARTHEST), teacher)),
        train_floor=float(np.linalg.norm(path.features @ limit - path.targets) / np.linalg.norm(path.targets)),
        recovery_floor=floor,
        n_events=path.n_events,
        attainable=least,
        start_share=share,
    )
