"""Many runs side by side on this machine: one fresh process per run, results kept as they come in."""

import contextlib
import multiprocessing as mp
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from groktimizer.ground.checks import whole
from groktimizer.ground.errors import FAILURES, MissingExtra, UserError, place
from groktimizer.ground.own import FILES
from groktimizer.results import Record, Store
from groktimizer.sweeps.spec import RunSpec
from groktimizer.sweeps.work import forget, record_of, recorded, run_spec
from groktimizer.training import Event
from groktimizer.training.environment import ENDINGS

Context = ForkServerContext | SpawnContext
SAFE = "PYTHONSAFEPATH"
Pipe = Any  # Connection, or PipeConnection on Windows
PATIENCE = 30.0  # seconds that interrupted runs get to save their state
PAUSE = 0.2  # seconds between two progress messages of one run
GRACE = 5.0  # seconds that a run whose asking process has died gets to save its state


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
    """

    kind: Literal["progress", "done"]
    spec: RunSpec
    event: Event | None = None
    outcome: Outcome | None = None


Listener = Callable[[SweepEvent], None]


def default_workers() -> int:
    """One process for each core this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


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
    for spec in specs:
        if not fresh and store.has(spec.identity):
            done[spec.identity] = Outcome(spec, recorded(spec, store), reused=True)
            tell(SweepEvent("done", spec, outcome=done[spec.identity]))
        else:
            waiting[spec.identity] = spec
    for outcome in _side_by_side(list(waiting.values()), store, workers, (fresh, checkpoint_every), tell):
        done[outcome.spec.identity] = outcome
        tell(SweepEvent("done", outcome.spec, outcome=outcome))
    return [done[spec.identity] for spec in specs]


@dataclass(frozen=True)
class _Job:
    spec: RunSpec
    process: BaseProcess
    pipe: Pipe


def warm_up() -> None:
    """Start the server that runs are forked from, so that it loads PyTorch while this process does other things."""
    if isinstance(_context(), ForkServerContext):
        from multiprocessing import forkserver

        with _only_installed_modules():
            forkserver.ensure_running()


@contextlib.contextmanager
def _only_installed_modules() -> Generator[None, None, None]:
    """Start programs of Python that do not import from the working directory.

    Server and processes are started by ``python -c``, which looks for modules in the working directory first: a
    ``random.py`` of the user's there would be run in the place of Python's own.

    Yields:
        Nothing.
    """
    before = os.environ.get(SAFE)
    os.environ[SAFE] = "1"
    try:
        yield
    finally:
        del os.environ[SAFE]
        if before is not None:
            os.environ[SAFE] = before


def _context() -> Context:
    """Fresh processes that share nothing with this one; on Linux forked from a clean server that has torch loaded."""
    if sys.platform != "linux":
        return mp.get_context("spawn")
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["groktimizer.sweeps.warm"])
    return context


def _side_by_side(
    specs: list[RunSpec], store: Store, workers: int, how: tuple[bool, int | None], tell: Listener
) -> Iterator[Outcome]:
    """Keep `workers` processes busy until every specification has an outcome.

    Args:
        specs: what to run.
        store: where records and checkpoints are.
        workers: processes at a time.
        how: whether to start anew, and steps between saves.
        tell: called with the progress.

    Yields:
        Outcomes as they come in.
    """
    fresh, checkpoint_every = how
    context, queue, jobs = _context(), list(reversed(specs)), dict[Pipe, _Job]()
    try:
        while queue or jobs:
            while queue and len(jobs) < workers:
                spec = queue.pop()
                if fresh:
                    forget(spec, store)
                job = _start(context, spec, store.checkpoint(spec.identity), checkpoint_every)
                jobs[job.pipe] = job
            for pipe in _ready(jobs):
                if (outcome := _receive(jobs[pipe], store, tell)) is not None:
                    del jobs[pipe]
                    yield outcome
    finally:
        _stop(list(jobs.values()), store)


def _ready(jobs: dict[Pipe, _Job]) -> list[Pipe]:
    return list(wait(list(jobs)))


def _start(context: Context, spec: RunSpec, checkpoint: Path, checkpoint_every: int | None) -> _Job:
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there, spec, checkpoint, checkpoint_every), daemon=True)
    with _only_installed_modules():
        process.start()
    there.close()
    return _Job(spec, process, here)


def _receive(job: _Job, store: Store, tell: Listener) -> Outcome | None:
    """Take one message of a run.

    Args:
        job: the run.
        store: where its record goes.
        tell: called if the message is progress.

    Returns:
        The outcome if the run has ended, else None.
    """
    try:
        content = job.pipe.recv()
    except (EOFError, ConnectionError):
        content = None
    if isinstance(content, Event):
        tell(SweepEvent("progress", job.spec, event=content))
        return None
    job.process.join()
    job.pipe.close()
    if isinstance(content, Record):
        store.save(content)
        forget(job.spec, store)
        return Outcome(job.spec, content)
    if isinstance(content, str):
        return Outcome(job.spec, None, error=content)
    code = job.process.exitcode
    cause = f"killed by signal {-code}; out of memory?" if code is not None and code < 0 else f"exit code {code}"
    return Outcome(job.spec, None, error=f"its process ended without a result ({cause})")


def _stop(jobs: list[_Job], store: Store) -> None:
    """Ask the runs under way to save their state, wait for them, keep those that just finished."""
    for job in jobs:
        if job.process.pid is not None and job.process.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(job.process.pid, signal.SIGINT)
    deadline = time.monotonic() + PATIENCE
    for job in jobs:
        while job.pipe.poll(max(0.0, deadline - time.monotonic())):
            if _receive(job, store, lambda _: None) is not None:
                break
        else:
            job.process.terminate()


def _work(pipe: Pipe, spec: RunSpec, checkpoint: Path, checkpoint_every: int | None) -> None:
    """Run one specification in a process of its own and send what comes out.

    Args:
        pipe: to the process that asked.
        spec: what to run.
        checkpoint: file of the saved state.
        checkpoint_every: steps between saves.
    """
    if sys.platform != "win32":
        os.setpgid(0, 0)  # Ctrl-C reaches the asking process alone, which passes it on once
    for number in ENDINGS:
        signal.signal(number, _leave)
    threading.Thread(target=_follow_the_asking_process, daemon=True).start()
    last = 0.0

    def report(event: Event) -> None:
        nonlocal last
        if time.monotonic() - last > PAUSE:
            last = time.monotonic()
            pipe.send(event)

    try:
        run = run_spec(spec, checkpoint=checkpoint, checkpoint_every=checkpoint_every, on_event=report)
        stopped = run.interrupted
        pipe.send(f"stopped at step {run.steps}; its state is saved" if stopped else record_of(spec, run))
    except BrokenPipeError:
        sys.exit(1)  # nobody is listening any more
    except FAILURES as error:
        pipe.send(_told(error))


def _told(error: Exception) -> str:
    """A failure in one line; where it was raised, unless it is a mistake of the user."""
    told = " ".join(f"{error}".split())
    if isinstance(error, UserError | MissingExtra) or (isinstance(error, OSError) and place(error, FILES) is None):
        return told
    return f"{type(error).__name__}{told and ': '}{told} ({place(error, FILES) or place(error)})"


def _follow_the_asking_process() -> None:
    """Wait until the process that asked for this run is gone, however it went; then save as Ctrl-C does, and end.

    Without this a run would notice only when it has something to tell, which may be hours later.
    """
    asking = mp.parent_process()
    if asking is None:
        return
    wait([asking.sentinel])
    signal.raise_signal(signal.SIGINT)
    time.sleep(GRACE)
    os._exit(1)


def _leave(number: int, _frame: FrameType | None) -> None:
    """Leave at once: nothing to save before or after the loop."""
    sys.exit(128 + number)
