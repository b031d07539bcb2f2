"""One run of a convex descent and its two clocks: what the forecasts of sparse and low-rank problems have in common."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Descent:
    """Times in steps of the relative errors ``||X a - y|| / ||y||`` and ``||a - a*|| / ||a*||``, None for never.

    Args:
        name: The method.
        memorised: First step with train error within its tolerance.
        memorised_settled: First step from which it stays there.
        generalised: First step with recovery error within its tolerance.
        settled: First step from which it stays there.
        steps: Steps of the curves, increasing, shape (k,).
        train_error: Shape (k,).
        recovery_error: Shape (k,).
        taken: Steps that were taken one by one; None where every time is exact without taking them.
        resting: Whether it has reached its end, so that a never is for good.
    """

    name: str
    memorised: int | None
    memorised_settled: int | None
    generalised: int | None
    settled: int | None
    steps: Steps
    train_error: Array
    recovery_error: Array
    taken: int | None
    resting: bool

    @property
    def delay(self) -> int | None:
        """Generalised minus memorised, both first times; None if either is missing."""
        if self.generalised is None or self.memorised is None:
            return None
        return self.generalised - self.memorised


def grid(last: float, points: int = 300) -> Steps:
    """Steps 0, 1, ... evenly spaced on a log axis up to `last`.

    Args:
        last: The last step.
        points: How many at most.

    Returns:
        Increasing whole numbers.
    """
    return np.unique(np.append(0, np.geomspace(1, max(last, 1.0), points).round().astype(np.int64)))


def known(step: int) -> int | None:
    """A step of a solver, which writes -1 for never."""
    return None if step < 0 else int(step)
