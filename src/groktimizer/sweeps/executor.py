"""Many runs side by side on this machine: one fresh process per run, results kept as they come in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from groktimizer.ground.checks import whole
from groktimizer.results import Record, Store
from groktimizer.sweeps.cells import Cell, Training
from groktimizer.sweeps.executors import Done, Job, Local, default_workers
from groktimizer.sweeps.spec import RunSpec
from groktimizer.sweeps.work import forget, recorded
from groktimizer.training import Event


@dataclass(frozen=True)
class Outcome:
    """What became of one specification.

    Attributes:
        spec: what was asked.
        record: the result, None if there is none.
        reused: whether it was there already.
        error: why there is no result, in one line.
    """

    spec: RunSpec
    record: Record | None
    reused: bool = False
    error: str | None = None


@dataclass(frozen=True)
class SweepEvent:
    """Progress of one run among many.

    Attributes:
        kind: "progress" (with `event`), or "done" (with `outcome`).
        spec: the run.
        event: its progress.
        outcome: its end.
        place: with an outcome, how many are done, and of how many.
    """

    kind: Literal["progress", "done"]
    spec: RunSpec
    event: Event | None = None
    outcome: Outcome | None = None
    place: tuple[int, int] = (0, 0)


Listener = Callable[[SweepEvent], None]


def execute(
    specs: Sequence[RunSpec],
    store: Store,
    *,
    workers: int | None = None,
    fresh: bool = False,
    checkpoint_every: int | None = None,
    on_event: Listener | None = None,
) -> list[Outcome]:
    """Run specifications side by side, each in a process of its own, and keep their records.

    A run that is recorded already is reused; one that was interrupted goes on from its saved state; one that fails
    becomes an outcome with an error and leaves the others alone. After Ctrl-C what is finished is kept, what is
    under way is saved, and calling again goes on from there.

    Args:
        specs: what to run; the same one twice runs once.
        store: where records and checkpoints are.
        workers: processes at a time, None for one per core.
        fresh: whether to run again what is recorded.
        checkpoint_every: steps between saves of a run, None for the loop's default.
        on_event: called with the progress.

    Returns:
        One outcome per specification, in order.
    """
    workers = default_workers() if workers is None else whole("workers", workers)
    tell = on_event or (lambda _: None)
    done: dict[str, Outcome] = {}
    waiting: dict[str, RunSpec] = {}
    total = len({spec.identity for spec in specs})

    def end(outcome: Outcome) -> None:
        done[outcome.spec.identity] = outcome
        tell(SweepEvent("done", outcome.spec, outcome=outcome, place=(len(done), total)))

    for spec in specs:
        if not fresh and store.has(spec.identity):
            end(Outcome(spec, recorded(spec, store), reused=True))
        else:
            waiting[spec.identity] = spec

    def keep(found: Done) -> None:
        spec = waiting[found.cell.identity]
        if found.record is not None:
            store.save(found.record)
            forget(spec, store)
        end(Outcome(spec, found.record, error=found.error))

    def progress(cell: Cell, event: Event) -> None:
        tell(SweepEvent("progress", waiting[cell.identity], event=event))

    if fresh:
        for spec in waiting.values():
            forget(spec, store)
    jobs = [Job((Training(spec),), (store.checkpoint(name),), checkpoint_every) for name, spec in waiting.items()]
    Local(workers).run(jobs, keep, progress)
    return [done[spec.identity] for spec in specs]
