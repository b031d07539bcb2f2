"""A sweep from its plan to its records: what is recorded is not done again, whatever ended the call before."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from groktimizer.results import FAILURE, Record, Store, identity, make_directory, provenance
from groktimizer.sweeps.cells import Cell
from groktimizer.sweeps.executors import Done, Executor, Job, Local
from groktimizer.sweeps.plan import Plan, fitting, key_of, load_plan, pack, save_plan
from groktimizer.sweeps.probe import cell_costs
from groktimizer.sweeps.sweep import Sweep
from groktimizer.sweeps.work import STACKED
from groktimizer.training import Event

KEEP_SECONDS, KEEP_CELLS = 2.0, 512  # of computation that a kill can cost; cells of a shard
ATTEMPTS = 3  # of a cell whose process dies


@dataclass(frozen=True)
class Progress:
    """How far a sweep is.

    Attributes:
        total: Cells of the sweep.
        recorded: Of them recorded before this call.
        done: Finished in this call.
        failed: Of those, failed.
        left: Seconds until the end, at most.
        cell: That ended or goes on, None before the first.
        error: Why it failed.
        event: Progress of a run.
    """

    total: int
    recorded: int
    done: int
    failed: int
    left: float
    cell: Cell | None = None
    error: str | None = None
    event: Event | None = None


Listener = Callable[[Progress], None]


@dataclass
class Result:
    """What became of a sweep.

    Attributes:
        identities: Of all cells, in the plan's order.
        recorded: How many were recorded before.
        done: How many were finished in this call.
        failures: Cells with a mistake of their own, and what it is; by identity.
        lost: Cells whose process died each time; the same command tries again.
        seconds: Of this call.
    """

    identities: list[str]
    recorded: int = 0
    done: int = 0
    failures: dict[str, str] = field(default_factory=dict[str, str])
    lost: dict[str, str] = field(default_factory=dict[str, str])
    seconds: float = 0.0


def planned(sweep: Sweep, store: Store, workers: int, *, yes: bool = False) -> tuple[str, Plan]:
    """The plan of a sweep: the one that was fixed when it first started, or a new one, which costs a few probes.

    Args:
        sweep: It.
        store: Where plans are kept.
        workers: Processes that the probes keep busy.
        yes: Whether so many cells are meant.

    Returns:
        Its key and the plan.
    """
    sweep.check_size(yes=yes)
    key = key_of(sweep)
    plan = load_plan(store.directory, key)
    if plan is None:
        plan = pack(sweep.cells(), lambda alike: cell_costs(alike, workers), workers)
        save_plan(store.directory, key, sweep, plan)
    return key, plan


def run_sweep(
    sweep: Sweep,
    store: Store,
    plan: Plan,
    *,
    workers: int,
    executor: Executor | None = None,
    fresh: bool = False,
    retry: bool = False,
    checkpoint_every: int | None = None,
    on_event: Listener = lambda _: None,
) -> Result:
    """Compute what the store lacks.

    Args:
        sweep: What is wanted.
        store: Where records are kept.
        plan: From `planned`.
        workers: Processes at a time, fewer where memory does not suffice.
        executor: That does it; None for processes of this machine.
        fresh: Whether to compute again what is recorded.
        retry: Whether to compute again what failed.
        checkpoint_every: Steps between saves of a run.
        on_event: Called with the progress.

    Returns:
        What became of it.
    """
    began = time.monotonic()
    store.check()
    names = plan.identities
    result = Result(names)
    result.failures = {} if fresh or retry else _failures(store, names)
    lacking = set(names) if fresh else store.lacking(names)
    lacking -= result.failures.keys()
    result.recorded = len(names) - len(lacking) - len(result.failures)
    if lacking:
        cells = {cell.identity: cell for cell in sweep.cells() if cell.identity in lacking}
        processes = fitting({cell.shape: cell for cell in cells.values()}.values(), workers, plan.stack)
        keeper = _Keeper(store, plan, lacking, result, processes, on_event)
        jobs = _jobs(plan, cells, store, checkpoint_every)
        if fresh:
            for job in jobs:
                for path in job.checkpoints:
                    path.unlink(missing_ok=True)
        try:
            (executor or Local(processes, ATTEMPTS)).run(jobs, keeper.keep, keeper.progress)
        finally:
            keeper.flush()
        store.tidy()
    result.seconds = time.monotonic() - began
    return result


def _jobs(plan: Plan, cells: Mapping[str, Cell], store: Store, every: int | None) -> list[Job]:
    folder = make_directory(store.directory / "checkpoints")
    jobs: list[Job] = []
    for names, engine in zip(plan.units, plan.engines, strict=True):
        unit = tuple(cells[name] for name in names if name in cells)
        files = tuple(folder / f"{cell.identity}.pt" for cell in unit)
        jobs += [Job(unit, files, every, engine == STACKED)] if unit else []
    return jobs


def _failure(name: str) -> dict[str, Any]:
    return {"failed": name}


def _failures(store: Store, names: list[str]) -> dict[str, str]:
    """What failed before, by identity of the cell."""
    known = set(store.identities())
    kept = {name: identity(_failure(name)) for name in names} if known else {}
    return {name: store.load(told).summary["error"] for name, told in kept.items() if told in known}


class _Keeper:
    """Takes what comes in, keeps it in shards, and tells."""

    def __init__(
        self, store: Store, plan: Plan, lacking: set[str], result: Result, workers: int, tell: Listener
    ) -> None:
        self._store, self._result, self._tell = store, result, tell
        self._records, self._finished, self._seconds = list[Record](), list[Path](), 0.0
        self._began = time.monotonic()
        pairs = zip(plan.units, plan.seconds, strict=True)
        self._costs = {name: seconds for unit, seconds in pairs for name in unit if name in lacking}
        self._left, self._spent, self._workers = sum(self._costs.values()), 0.0, workers

    def keep(self, done: Done) -> None:
        """Keep a cell."""
        name = done.cell.identity
        if done.lost:
            self._result.lost[name] = done.error or ""
        else:
            self._result.done += 1
            self._records.append(self._record(done))
            self._finished.append(self._store.directory / "checkpoints" / f"{name}.pt")
            self._seconds += done.seconds
        cost = self._costs[name]
        self._left, self._spent = self._left - cost, self._spent + cost
        if self._seconds >= KEEP_SECONDS or len(self._records) >= KEEP_CELLS:
            self.flush()
        self._say(done.cell, done.error)

    def progress(self, cell: Cell, event: Event) -> None:
        """Tell how a run goes on."""
        self._say(cell, event=event)

    def flush(self) -> None:
        """Write what is finished."""
        if self._records:
            self._store.save_all(self._records)
            for path in self._finished:
                path.unlink(missing_ok=True)
        self._records, self._finished, self._seconds = [], [], 0.0

    def _record(self, done: Done) -> Record:
        if done.record is not None:
            return done.record
        self._result.failures[done.cell.identity] = done.error or ""
        content = {"error": done.error or "", "cell": done.cell.canonical()}
        return Record.of(FAILURE, _failure(done.cell.identity), content, provenance(1))

    def _say(self, cell: Cell, error: str | None = None, event: Event | None = None) -> None:
        passed = time.monotonic() - self._began
        left = self._left / self._workers if not self._spent else self._left * passed / self._spent
        known = (len(self._result.identities), self._result.recorded, self._result.done, len(self._result.failures))
        self._tell(Progress(*known, left, cell, error, event))
