"""One result for the clocks of any problem, and one verdict on it: of what theory foresees and of what a run did."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

DIVERGED_FACTOR = 1e3
COLLAPSED_FACTOR = 1e-3
DECAYED = 0.5  # the error at rest over that when memorised: below, something has been forgotten or learned
DELAYED = 2  # iterates up to generalisation over those up to memorisation: above, it is a delay
AT_REST = 0.05  # relative change of the error since half of the steps
_SLOWING = 0.25  # way of the last quarter of the steps over that of the quarter before: above, it may only be slow
_STILL = 1e-12  # relative change of an error that is rounding
_GONE = 1e-6  # an error that is told as 0


class Verdict(StrEnum):
    """What became of a run. One that failed is a result, with a verdict."""

    GROKKED = "grokked"
    EARLY = "generalised-first"
    GENERALISED = "generalised"
    BIASED = "biased"
    NEARER = "nearer"
    WITHOUT_UNDERSTANDING = "without-understanding"
    IMPOSSIBLE = "impossible"
    NOT_GENERALISED = "not-generalised"
    NOT_MEMORISED = "not-memorised"
    DIVERGED = "diverged"
    COLLAPSED = "collapsed"
    INTERRUPTED = "interrupted"

    @property
    def advice(self) -> str:
        """What happened and what to change, in one line."""
        return _ADVICE[self]


_ADVICE: Mapping[Verdict, str] = {
    Verdict.GROKKED: "memorised first, generalised much later and stayed there: nothing to change",
    Verdict.EARLY: "generalised before it memorised, or soon after, and stayed there, so there was no delay: nothing "
    "to change, or less weight decay if the training set should be fitted as closely",
    Verdict.GENERALISED: "reached the test level but did not hold it for a whole window (500 steps or more): give "
    "more steps; if it keeps falling back, of a learning rate or weight decay that you have set, less",
    Verdict.BIASED: "found the truth up to the bias of the weight: a smaller one ends within the test level",
    Verdict.NEARER: "came nearer to the truth and rests short of it: more samples, or a smaller weight where that ends "
    "nearer",
    Verdict.WITHOUT_UNDERSTANDING: "the initial weights were forgotten, the truth was not found: more samples or "
    "another penalty",
    Verdict.IMPOSSIBLE: "what is seen of the truth does not determine it: more samples",
    Verdict.NOT_GENERALISED: "memorised but did not reach the test level: give more steps or more training samples; of "
    "a weight decay that you have set, more",
    Verdict.NOT_MEMORISED: "did not fit the training set: give more steps or a larger model; of a weight decay "
    "that you have set, less, or another learning rate",
    Verdict.DIVERGED: "the training loss ended non-finite or 1000 times above its first value: use a smaller learning "
    "rate",
    Verdict.COLLAPSED: "the parameters ended below a thousandth of their first norm: use less weight decay",
    Verdict.INTERRUPTED: "stopped by the user: run the same command again to go on from the saved state",
}
# Neither settled nor failed for good: of a run that was cut short, more steps might have changed it.
UNFINISHED: frozenset[str] = frozenset(
    {
        Verdict.GENERALISED,
        Verdict.BIASED,
        Verdict.NEARER,
        Verdict.WITHOUT_UNDERSTANDING,
        Verdict.NOT_GENERALISED,
        Verdict.NOT_MEMORISED,
    }
)


@dataclass(frozen=True)
class Clocks:
    """Times of one run in steps; None where there is none.

    Attributes:
        memorised: t1, first step at which the run has memorised.
        memorised_settled: First step from which that lasts: for ever where theory says so, in a run for a whole window.
        generalised: t2, first step at which it has generalised.
        settled: First step from which that lasts.
    """

    memorised: int | None
    memorised_settled: int | None
    generalised: int | None
    settled: int | None

    @property
    def delay(self) -> int | None:
        """t2 − t1; None if either is missing."""
        if self.generalised is None or self.memorised is None:
            return None
        return self.generalised - self.memorised

    @property
    def transition(self) -> "Transition":
        """What became of the run, as far as its clocks tell."""
        return judge(self)

    @property
    def resolution(self) -> int:
        """Steps between two looks at the run; 1 where every step is known."""
        return 1


@dataclass(frozen=True)
class Errors:
    """Distances from the truth, relative to its size, that tell why a run did not generalise.

    Attributes:
        memorised: When it memorised.
        rest: Where it rests.
        wanted: The test level.
        attainable: Where small weights end. None: unknown, or not within the level, as for a penalty that is not that
            of the truth.
        start_share: The part of `memorised` that is the start's: what the samples do not see of it. None: unknown, and
            taken for all of it.
    """

    memorised: float
    rest: float
    wanted: float | None = None
    attainable: float | None = None
    start_share: float | None = None

    @property
    def told(self) -> str:
        """Where the error was and is."""
        wanted = "" if self.wanted is None else f", wanted {self.wanted:g}"
        return f"recovery error {self.memorised:.4g} when memorised, {self.rest:.4g} in the end{wanted}"

    @property
    def biased(self) -> bool:
        """Whether the weight keeps the error above the level, and small ones do not."""
        return self.wanted is not None and self.attainable is not None and self.attainable <= self.wanted < self.rest


@dataclass(frozen=True)
class Transition:
    """A verdict with its reason.

    Attributes:
        verdict: What became of the run.
        reason: The numbers that it rests on; empty where no error is known.
    """

    verdict: Verdict
    reason: str = ""


def judge(times: Clocks, errors: Errors | None = None) -> Transition:
    """Name what became of a run.

    Grokked means more than twice as many iterates to generalise as to memorise, the first of them counted as one; of a
    run that was looked at now and then, that they may have been. One that rests short of the truth is biased where
    small weights end within the level. If not, and its error fell to less than half since it memorised, it has
    forgotten its start without understanding, or come nearer: as at least half of the error then was the start's, or
    not.

    Args:
        times: The clocks.
        errors: Where the error was and rests; None if it does not rest or is not known.

    Returns:
        The verdict.

    Example:
        >>> judge(Clocks(60, 60, 900, 900)).verdict, judge(Clocks(60, 60, 70, 70)).verdict.value
        (<Verdict.GROKKED: 'grokked'>, 'generalised-first')
        >>> judge(Clocks(60, 60, None, None), Errors(240.0, 0.83)).verdict.value
        'without-understanding'
        >>> judge(Clocks(17, 17, None, None), Errors(0.74, 0.031, 0.01, attainable=0.0)).verdict.value
        'biased'
    """
    reason = "" if errors is None else errors.told
    if times.settled is not None:
        return Transition(Verdict.GROKKED if _delayed(times) else Verdict.EARLY, reason)
    if times.memorised is None:
        rest = "" if errors is None else f"recovery error {errors.rest:.4g} in the end"
        return Transition(Verdict.NOT_MEMORISED if times.generalised is None else Verdict.GENERALISED, rest)
    if errors is not None and errors.biased:
        least = "0" if (errors.attainable or 0) <= _GONE else f"{errors.attainable:.3g}"
        because = f"{errors.rest:.4g} is the bias of the weight, a smaller one lowers it towards {least}"
        return Transition(Verdict.BIASED, f"{reason}: {because}")
    if errors is not None and errors.rest < DECAYED * errors.memorised:
        forgot = errors.start_share is None or errors.start_share >= DECAYED * errors.memorised
        return Transition(Verdict.WITHOUT_UNDERSTANDING if forgot else Verdict.NEARER, reason)
    return Transition(Verdict.NOT_GENERALISED if times.generalised is None else Verdict.GENERALISED, reason)


def _delayed(times: Clocks) -> bool:
    """Whether generalising may have taken more than twice as many iterates as memorising."""
    if times.memorised is None or times.generalised is None or times.generalised < times.memorised:
        return False
    earliest = max(times.memorised - times.resolution + 1, 0)
    return times.generalised + 1 > DELAYED * (earliest + 1)


def judge_history(
    history: Mapping[str, np.ndarray],
    times: Clocks,
    start_share: Callable[[], float] | None = None,
    wanted: float | None = None,
    attainable: Callable[[], float] | None = None,
) -> Verdict:
    """Say how a finished run ended.

    Diverged means that the last training loss is not finite or above 1000 times the first; collapsed that the last
    parameter norm is below a thousandth of the first. Both are judged at the end: a run that comes back did neither.
    Where the history has a "test_error" against a truth, and this has come to rest, it tells why the run did not
    generalise.

    Args:
        history: Columns with at least "step", "train_loss" and "norm_l2".
        times: Its times.
        start_share: Gives `Errors.start_share`; None if that is unknown.
        wanted: The level of "test_error"; None if the test level is not on it.
        attainable: Gives `Errors.attainable`; None if that is unknown. Asked for only of a run that has arrived.

    Returns:
        The verdict.
    """
    loss, norm = history["train_loss"], history["norm_l2"]
    if not np.isfinite(loss[-1]) or loss[-1] > DIVERGED_FACTOR * loss[0]:
        return Verdict.DIVERGED
    if norm[-1] < COLLAPSED_FACTOR * norm[0]:
        return Verdict.COLLAPSED
    if times.settled is not None or times.memorised is None or "test_error" not in history:
        return judge(times).verdict
    steps, error = history["step"], history["test_error"]
    last = float(steps[-1])
    looks = (times.memorised, last / 2, last * 3 / 4, last)
    at, half, late, end = (float(error[np.searchsorted(steps, step)]) for step in looks)
    within = times.generalised is not None if wanted is None else end <= wanted
    if within or abs(end - half) > AT_REST * end:
        return judge(times).verdict
    arrived = end < DECAYED * at or abs(end - late) <= _SLOWING * abs(late - half) + _STILL * end
    least = None if attainable is None or not arrived else attainable()
    share = None if start_share is None else start_share()
    return judge(times, Errors(at, end, wanted, least, share)).verdict
