"""What cells cost, from a few of them: a forecast before anything starts."""

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from groktimizer.ground.errors import FAILURES
from groktimizer.results import Record, Store
from groktimizer.sweeps.cells import Cell, Training
from groktimizer.sweeps.executor import execute
from groktimizer.sweeps.executors import Job, Local, default_workers
from groktimizer.sweeps.spec import RunSpec
from groktimizer.sweeps.work import ALONE, STACKED, stackable
from groktimizer.tasks import make_task

PROBED = 4  # evaluations of a run whose time is taken, after one that warms up
SHAPES = 8  # that are probed; others cost as much as the dearest of them
FEWEST = 8  # runs of one shape that are worth stacking, and so many are checked
PROBED_RUNS = 16  # that are timed side by side
CHECKED, EXACT = 6, 1e-12  # steps and difference of the check in float64
WORTH = 10.0  # seconds of all runs of a shape, below which nobody looks whether a stack is faster
GAIN = 1.25  # times faster that a stack has to be
LEAST = 1e-3  # seconds that a cell takes at least


def step_seconds(specs: Sequence[RunSpec], workers: int | None = None) -> tuple[list[float], float]:
    """Measure a few steps of runs, side by side as they will run; the records are thrown away.

    Args:
        specs: The runs.
        workers: Processes at a time, None for one per core.

    Returns:
        Seconds of a step of each, evaluations included, as much as the slowest where one failed; and of the beginning
        and end of a run.
    """
    short = [_short(spec) for spec in specs]
    with tempfile.TemporaryDirectory() as place:
        began = time.monotonic()
        outcomes = execute(short, Store(place), workers=workers)
        wall = time.monotonic() - began
    records = [outcome.record for outcome in outcomes]
    known = [math.nan if record is None else _per_step(record, int(record.spec["every"])) for record in records]
    worst = max((seconds for seconds in known if math.isfinite(seconds)), default=math.nan)
    busy = sum(float(record.summary["seconds"]) for record in records if record is not None)
    processes = min(default_workers() if workers is None else workers, len(specs))
    start = max(0.0, processes * wall - busy) / len(specs)
    return [seconds if math.isfinite(seconds) else worst for seconds in known], start


def _short(spec: RunSpec) -> RunSpec:
    every = spec.every if spec.every != "log" else make_task(spec.task, spec.task_options).default_every
    return replace(spec, every=every, steps=every * (PROBED + 1), measure="")


def _per_step(record: Record, every: int) -> float:
    seconds = record.history["seconds"]
    return float(seconds[-1] - seconds[1]) / (every * (len(seconds) - 2)) if len(seconds) > 2 else math.nan


@dataclass(frozen=True)
class Cost:
    """What a cell takes.

    Attributes:
        seconds: At most.
        engine: How a process computes several of them, `ALONE` or `STACKED`.
    """

    seconds: float
    engine: str = ALONE


def cell_costs(alike: Sequence[Sequence[Cell]], workers: int | None = None) -> dict[str, Cost]:
    """Measure what cells take at most, and whether runs are faster side by side in one process.

    Args:
        alike: All cells of each shape.
        workers: Processes at a time, None for one per core.

    Returns:
        Cost by shape: of a run with all its steps, of exact clocks; shapes beyond the probed ones as the dearest.
    """
    chosen = alike[:: max(1, math.ceil(len(alike) / SHAPES))]
    runs = [(some[0], some) for some in chosen if isinstance(some[0], Training)]
    found: dict[str, Cost] = {}
    if runs:
        per_step, start = step_seconds([cell.spec for cell, _ in runs], workers)
        for (cell, some), seconds in zip(runs, per_step, strict=True):
            if math.isfinite(seconds):
                alone = Cost(start + seconds * cell.spec.steps)
                worth = alone.seconds * len(some) >= WORTH
                stacked = Cost(stack_seconds(some) * cell.spec.steps, STACKED) if worth else alone
                found[cell.shape] = stacked if stacked.seconds * GAIN <= alone.seconds else alone
    for some in chosen:
        if not isinstance(some[0], Training):
            found[some[0].shape] = Cost(_timed(some[0]))
    dearest = Cost(max((cost.seconds for cost in found.values()), default=0.0))
    costs = {some[0].shape: found.get(some[0].shape, dearest) for some in alike}
    return {shape: replace(cost, seconds=max(cost.seconds, LEAST)) for shape, cost in costs.items()}


def stack_seconds(cells: Sequence[Cell]) -> float:
    """Measure a few steps of runs side by side in one process, if their numbers are those of single runs.

    Args:
        cells: Of one shape.

    Returns:
        Seconds of a step of each, evaluations included; infinite where they are few, cannot be stacked, differ from
        single runs by more than 1e-12 in float64, or in a bit from the same runs in other company: a stack that goes
        on without those that have ended could not end as an undisturbed one.
    """
    specs = [cell.spec for cell in cells if isinstance(cell, Training)]
    if len(specs) < FEWEST or not stackable(specs[0]):
        return math.inf
    specs = [_short(spec) for spec in specs[:: max(1, len(specs) // PROBED_RUNS)][:PROBED_RUNS]]
    exact = [replace(spec, precision="fp64", steps=CHECKED, every=CHECKED // 2) for spec in specs[:FEWEST]]
    with tempfile.TemporaryDirectory() as place:
        single = _computed(exact, place, stacked=False)
        if not _equal(single, _computed(exact, place, stacked=True), EXACT):
            return math.inf
        timed = _computed(specs, place, stacked=True)
        if not _equal(timed[1:2], _computed(specs[1:2], place, stacked=True), 0.0):
            return math.inf
    return sum(_per_step(record, int(record.spec["every"])) for record in timed if record is not None) / len(specs)


def _computed(specs: Sequence[RunSpec], place: str, *, stacked: bool) -> list[Record | None]:
    """The records of runs in their order, from a process of its own; their states are saved apart from others'."""
    folder, found = Path(tempfile.mkdtemp(dir=place)), dict[str, Record | None]()
    cells = tuple(Training(spec) for spec in specs)
    job = Job(cells, tuple(folder / cell.identity for cell in cells), stacked=stacked)
    Local(1).run([job], lambda done: found.update({done.cell.identity: done.record}), lambda *_: None)
    return [found.get(cell.identity) for cell in cells]


def _equal(ones: Sequence[Record | None], others: Sequence[Record | None], apart: float) -> bool:
    """Whether all are there and their histories the same but for so much, seconds aside."""
    for one, other in zip(ones, others, strict=True):
        if one is None or other is None:
            return False
        for name, column in one.history.items():
            twin = other.history[name]
            if name != "seconds" and not (
                column.shape == twin.shape and np.allclose(column, twin, rtol=apart, atol=apart, equal_nan=True)
            ):
                return False
    return True


def _timed(cell: Cell) -> float:
    """Seconds of exact clocks; 0 where they fail."""
    began = 0.0
    for _ in range(2):  # the first one imports what it needs
        began = time.perf_counter()
        try:
            cell.compute(Path(), None, lambda _: None)
        except FAILURES:  # it is told when its turn comes
            return 0.0
    return time.perf_counter() - began
