"""Many cells side by side on this machine: a fresh single-thread process for each job."""

import contextlib
import multiprocessing as mp
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from groktimizer.sweeps.cells import Cell
from groktimizer.sweeps.executors.protocol import Done, Job, Telling, computed
from groktimizer.training import Event
from groktimizer.training.environment import ENDINGS

Context = ForkServerContext | SpawnContext
START = {"PYTHONSAFEPATH": "1", "OPENBLAS_NUM_THREADS": "1"}
Pipe = Any  # Connection, or PipeConnection on Windows
PATIENCE = 30.0  # seconds that interrupted runs get to save their state
PAUSE = 0.2  # seconds between two progress messages of one run
GRACE = 5.0  # seconds that a run whose asking process has died gets to save its state


def default_workers() -> int:
    """One process for each core this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@dataclass
class _Running:
    job: Job
    process: BaseProcess
    pipe: Pipe
    left: list[Cell]
    ended: bool = False


@dataclass(frozen=True)
class Local:
    """Processes of this machine.

    Attributes:
        workers: How many at a time.
        attempts: How often a cell is begun whose process dies.
    """

    workers: int
    attempts: int = 1

    def run(self, jobs: Sequence[Job], keep: Callable[[Done], None], tell: Telling) -> None:
        """Keep the processes busy until every cell is done or lost.

        Args:
            jobs: What there is to do, in order.
            keep: Called with every cell.
            tell: Called with the progress.
        """
        context, queue, running = _context(), list(reversed(jobs)), dict[Pipe, _Running]()
        deaths = Counter[str]()
        try:
            while queue or running:
                while queue and len(running) < self.workers:
                    begun = _start(context, queue.pop())
                    running[begun.pipe] = begun
                for pipe in list(wait(list(running))):
                    for done in _receive(running[pipe], tell):
                        deaths[done.cell.identity] += done.lost
                        if done.lost and deaths[done.cell.identity] < self.attempts:
                            running[pipe].left.insert(0, done.cell)  # it is begun once more
                        else:
                            keep(done)
                    if running[pipe].ended:
                        ended = running.pop(pipe)
                        queue += halves(ended.job, ended.left)
        finally:
            _stop(list(running.values()), keep)


def halves(job: Job, left: Sequence[Cell]) -> list[Job]:
    """What is to be begun anew of a job whose process has ended.

    Args:
        job: It.
        left: Cells that are not done.

    Returns:
        A stack as two, to find the run that kills its process; else one job, none where nothing is left.
    """
    middle = len(left) // 2 if job.stacked else 0
    return [job.of(part) for part in (left[:middle], left[middle:]) if part]


def warm_up() -> None:
    """Start the server that runs are forked from, so that it loads PyTorch while this process does other things."""
    if isinstance(_context(), ForkServerContext):
        from multiprocessing import forkserver

        with _clean_start():
            forkserver.ensure_running()


@contextlib.contextmanager
def _clean_start() -> Generator[None, None, None]:
    """Start programs of Python that do not import from the working directory, whose BLAS has one thread.

    Server and processes are started by ``python -c``, which looks for modules in the working directory first: a
    ``random.py`` of the user's there would be run in the place of Python's own. NumPy's threads would share the cores
    with the other processes, and its sums depend on how many there are.

    Yields:
        Nothing.
    """
    before = {name: os.environ.get(name) for name in START}
    os.environ.update(START)
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


def _context() -> Context:
    """Fresh processes that share nothing with this one; on Linux forked from a clean server that has torch loaded."""
    if sys.platform != "linux":
        return mp.get_context("spawn")
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["groktimizer.sweeps.warm"])
    return context


def _start(context: Context, job: Job) -> _Running:
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there, job), daemon=True)
    with _clean_start():
        process.start()
    there.close()
    return _Running(job, process, here, list(job.cells))


def _receive(running: _Running, tell: Telling) -> Iterator[Done]:
    """Take one message of a process.

    Args:
        running: It; what is finished of its job is counted.
        tell: Called if the message is progress.

    Yields:
        A cell, if one has ended or was lost.
    """
    try:
        content = running.pipe.recv()
    except (EOFError, ConnectionError):
        content = None
    if isinstance(content, Event):
        tell(running.left[0], content)
        return
    if isinstance(content, Done):
        # The cell that was asked for, not its copy.
        cell = next(cell for cell in running.left if cell.identity == content.cell.identity)
        running.left.remove(cell)
        goes_on = bool(running.left) and (running.job.stacked or not content.lost)
        yield replace(content, cell=cell)
        if goes_on:
            return
    running.process.join()
    running.pipe.close()
    running.ended = True
    if content is None and (len(running.left) == 1 or not running.job.stacked):
        code = running.process.exitcode
        cause = f"killed by signal {-code}; out of memory?" if code is not None and code < 0 else f"exit code {code}"
        error = f"its process ended without a result ({cause})"
        yield Done(running.left.pop(0), None, error, lost=True)


def _stop(running: Sequence[_Running], keep: Callable[[Done], None]) -> None:
    """Ask the runs under way to save their state, wait for them, keep those that just finished."""
    for one in running:
        if one.process.pid is not None and one.process.is_alive():
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(one.process.pid, signal.SIGINT)
    deadline = time.monotonic() + PATIENCE
    for one in running:
        while not one.ended and one.pipe.poll(max(0.0, deadline - time.monotonic())):
            for done in _receive(one, lambda *_: None):
                keep(done)
        if not one.ended:
            one.process.terminate()


def _work(pipe: Pipe, job: Job) -> None:
    """Do a job in a process of its own and send what comes out.

    Args:
        pipe: To the process that asked.
        job: What to do.
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
        for done in computed(job, report):
            pipe.send(done)
    except BrokenPipeError:
        sys.exit(1)  # nobody is listening any more


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
