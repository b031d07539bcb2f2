"""What cells cost, from a few of them: a forecast before anything starts."""

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from groktimizer.ground.errors import FAILURES
from groktimizer.results import Record, Store
from groktimizer.sweeps.cells import Cell, Training
from groktimizer.sweeps.executor import execute
from groktimizer.sweeps.executors import default_workers
from groktimizer.sweeps.spec import RunSpec
from groktimizer.tasks import make_task

PROBED = 4  # evaluations of a run whose time is taken, after one that warms up
SHAPES = 8  # that are probed; others cost as much as the dearest of them
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


def cell_seconds(cells: Sequence[Cell], workers: int | None = None) -> dict[str, float]:
    """Measure what cells take at most.

    Args:
        cells: One of each shape.
        workers: Processes at a time, None for one per core.

    Returns:
        Seconds by shape: of a run with all its steps, of exact clocks of one; 0 where no probe told.
    """
    chosen = cells[:: max(1, math.ceil(len(cells) / SHAPES))]
    runs = [cell for cell in chosen if isinstance(cell, Training)]
    found: dict[str, float] = {}
    if runs:
        per_step, start = step_seconds([cell.spec for cell in runs], workers)
        for cell, seconds in zip(runs, per_step, strict=True):
            found[cell.shape] = start + seconds * cell.spec.steps if math.isfinite(seconds) else 0.0
    for cell in chosen:
        if not isinstance(cell, Training):
            found[cell.shape] = _timed(cell)
    dearest = max(found.values(), default=0.0)
    return {cell.shape: max(found.get(cell.shape, dearest), LEAST) for cell in cells}


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
