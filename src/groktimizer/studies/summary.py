"""From the records of one method over seeds to one row of the table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from groktimizer.measures import (
    UNFINISHED,
    PairedDifference,
    last_common_time,
    median_with_dnf,
    paired_bootstrap,
    wilson_interval,
)
from groktimizer.studies.protocol import Method
from groktimizer.sweeps import Outcome


@dataclass(frozen=True)
class Spread:
    """Median and range of a time over seeds; a seed that did not get there counts as +∞.

    Attributes:
        median: in steps; None is +∞ (at least half of the seeds did not get there).
        low: the smallest, None if no seed got there.
        high: the largest, None if some seed did not get there.
    """

    median: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Row:
    """One method over all seeds.

    Attributes:
        method: label, optimizer, options, kind.
        options: all its options.
        budget: steps each run was given.
        censored: whether that is less than the protocol's budget (stopped at three times the best).
        seeds: seeds, in order.
        runs: identities of the records, None where a run failed.
        errors: why runs failed, in one line each.
        statuses: how each run ended; "censored" if it was stopped at the cap without having settled.
        memorised: spread of t1.
        generalised: spread of t2.
        generalised_95: spread of t2 at the second level (0.95).
        settled: spread of the settled time.
        times: settled time of each seed, None for DNF.
        evaluated_every: largest gap between two evaluations of a run, in steps: the resolution of the times.
        successes: seeds that settled.
        success: Wilson interval of the success rate, 95 %.
        steps: median number of steps done.
        seconds: median wall time of a run.
        passes: median number of forward/backward passes.
        peak_memory_bytes: median peak of a run's process.
        state_bytes: median size of the optimizer's state at the end.
        verdict: paired difference of settled times to the reference method; None for the reference itself.
    """

    method: Method
    options: dict[str, Any]
    budget: int
    censored: bool
    seeds: Sequence[int]
    runs: Sequence[str | None]
    errors: Sequence[str]
    statuses: Sequence[str]
    memorised: Spread
    generalised: Spread
    generalised_95: Spread
    settled: Spread
    times: Sequence[int | None]
    evaluated_every: int
    successes: int
    success: tuple[float, float]
    steps: float | None
    seconds: float | None
    passes: float | None
    peak_memory_bytes: float | None
    state_bytes: float | None
    verdict: PairedDifference | None = None


def spread(times: Sequence[int | None]) -> Spread:
    """Summarise times over seeds.

    Args:
        times: one per seed, None for DNF.

    Returns:
        Median and range.

    Example:
        >>> spread([100, 120, None])
        Spread(median=120.0, low=100, high=None)
    """
    middle = median_with_dnf(times)
    there = [time for time in times if time is not None]
    high = max(there) if len(there) == len(times) else None
    return Spread(middle if math.isfinite(middle) else None, min(there, default=None), high)


def summarise(method: Method, outcomes: Sequence[Outcome], budget: int, full_budget: int) -> Row:
    """Make the row of one method; a run without record counts as a DNF.

    Args:
        method: the method.
        outcomes: one per seed.
        budget: steps each run was given.
        full_budget: steps of the protocol.

    Returns:
        The row, without a verdict.
    """
    kept = [outcome.record.summary for outcome in outcomes if outcome.record is not None]

    def times(name: str) -> list[int | None]:
        return [None if o.record is None else o.record.summary["times"][name] for o in outcomes]

    def middle(name: str) -> float | None:
        return median(summary[name] for summary in kept) if kept else None

    settled = times("settled")
    successes = len(settled) - settled.count(None)
    censored = budget < full_budget
    return Row(
        method=method,
        options=dict(outcomes[0].spec.optimizer_options),
        budget=budget,
        censored=censored,
        seeds=[outcome.spec.seed for outcome in outcomes],
        runs=[None if outcome.record is None else outcome.spec.identity for outcome in outcomes],
        errors=[outcome.error for outcome in outcomes if outcome.error is not None],
        statuses=[_status(outcome, censored) for outcome in outcomes],
        memorised=spread(times("memorised")),
        generalised=spread(times("generalised")),
        generalised_95=spread(times("generalised_95")),
        settled=spread(settled),
        times=settled,
        evaluated_every=max((summary["times"]["evaluated_every"] for summary in kept), default=0),
        successes=successes,
        success=wilson_interval(successes, len(settled)),
        steps=middle("steps"),
        seconds=middle("seconds"),
        passes=middle("passes"),
        peak_memory_bytes=middle("peak_memory_bytes"),
        state_bytes=middle("state_bytes"),
    )


def _status(outcome: Outcome, censored: bool) -> str:
    if outcome.record is None:
        return "failed"
    status = str(outcome.record.summary["status"])
    return "censored" if censored and status in UNFINISHED else status


def verdict(row: Row, reference: Row) -> PairedDifference | None:
    """Compare settled times over the same seeds, and where one budget is shorter, only those that fit into both.

    Args:
        row: the method.
        reference: the method it is compared with.

    Returns:
        Difference and verdict; None for the reference itself.
    """
    if row.method == reference.method:
        return None
    every = max(row.evaluated_every, reference.evaluated_every)
    horizon = last_common_time((row.budget, reference.budget), every)
    return paired_bootstrap(row.times, reference.times, horizon=horizon)
