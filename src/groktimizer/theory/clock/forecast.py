"""A descent and its clocks, run until it rests, and the weight that would do better: of every problem alike."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import SupportsInt

import numpy as np
import numpy.typing as npt

from groktimizer.measures import Clocks

Array = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int64]
_MORE = 4  # factor of the steps from one try to rest to the next
_WORTH = 2.0  # factor between two weights that is worth a line


@dataclass(frozen=True, eq=False)
class Descent(Clocks):
    """The clocks of a train and a recovery error, and both as curves.

    Args:
        name: The method.
        steps: Steps of the curves, increasing, shape (k,).
        train_error: Shape (k,).
        recovery_error: Shape (k,).
        taken: Steps that were taken one by one; None where every time is exact without taking them.
        resting: Whether it has reached its end, so that a never is for good.
    """

    name: str
    steps: Steps
    train_error: Array
    recovery_error: Array
    taken: int | None
    resting: bool


def grid(last: float, points: int = 300) -> Steps:
    """Steps 0, 1, ... evenly spaced on a log axis up to `last`, at most `points` after 0."""
    return np.unique(np.append(0, np.geomspace(1, max(last, 1.0), points).round().astype(np.int64)))


Known = tuple[int | None, int | None, int | None, int | None]


def known(memorised: SupportsInt, kept: SupportsInt, generalised: SupportsInt, settled: SupportsInt) -> Known:
    """The clocks of a solver, which writes -1 for never."""
    one, two, three, four = (None if int(step) < 0 else int(step) for step in (memorised, kept, generalised, settled))
    return one, two, three, four


def until_rest(run: Callable[[int], Descent], first: float, most: float) -> Descent:
    """Run anew with four times as many steps until it rests, from `first` up to `most`; the last run."""
    steps = min(first, most)
    while True:
        found = run(math.ceil(steps))
        if found.resting or steps >= most:
            return found
        steps = min(_MORE * steps, most)


@dataclass(frozen=True)
class End:
    """The error at the end, what it is wanted to be, and why it ends there."""

    error: float
    tolerance: float
    why: str = "the bias of weight; a smaller weight lowers it"

    @property
    def room(self) -> float:
        """Factor by which it may grow; about that by which the weight may."""
        return self.tolerance / max(self.error, np.finfo(np.float64).tiny)


def broken(ends: Mapping[str, End], names: tuple[str, str] = ("train error", "recovery error")) -> list[str]:
    """One line for each tolerance that cannot be kept; `ends` by "train" and "test", whose errors have names."""
    told = {"train": names[0], "test": names[1]}
    return [
        f"{name}_tolerance={end.tolerance:g} cannot be kept: the {told[name]} ends at {end.error:.6g}, {end.why}"
        for name, end in ends.items()
        if end.error > end.tolerance
    ]


def better_weight(
    weight: float, largest: float, ends: Mapping[str, End], run: Callable[[float], Clocks], told: Callable[..., str]
) -> tuple[str, ...]:
    """What is `told` of the largest weight found that keeps both tolerances; nothing if it is about this one."""
    room = min(end.room for end in ends.values())
    tried = min(weight * room, largest) / 2
    for _ in range(10):
        tried = float(f"{tried:.1e}")
        if room > 1 and tried < _WORTH * weight:
            return ()
        other = run(tried)
        if other.settled is not None and other.memorised_settled is not None:
            too, both = " as well" if room > 1 else "", max(other.settled, other.memorised_settled)
            return (f"weight {tried:g} keeps both tolerances{too}: {told(other, tried, both)}",)
        tried /= 2
    return ()
