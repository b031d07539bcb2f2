"""What executors have in common."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from groktimizer.ground.errors import FAILURES, MissingExtra, UserError, place
from groktimizer.ground.own import FILES
from groktimizer.results import Record
from groktimizer.sweeps.cells import Cell, Training, compute_together
from groktimizer.training import Event

Telling = Callable[[Cell, Event], None]


@dataclass(frozen=True)
class Job:
    """Cells that one process computes.

    Attributes:
        cells: At least one.
        checkpoints: File of the saved state of each.
        every: Steps between saves of a run, None for the loop's default.
        stacked: Whether they are runs of one shape that are trained side by side, not one after the other.
    """

    cells: tuple[Cell, ...]
    checkpoints: tuple[Path, ...]
    every: int | None = None
    stacked: bool = False

    def of(self, left: Sequence[Cell]) -> "Job":
        """The same for some of its cells."""
        names = {cell.identity for cell in left}
        pairs = [pair for pair in zip(self.cells, self.checkpoints, strict=True) if pair[0].identity in names]
        cells, checkpoints = zip(*pairs, strict=True)
        return replace(self, cells=cells, checkpoints=checkpoints)


@dataclass(frozen=True)
class Done:
    """What became of a cell.

    Attributes:
        cell: It.
        record: The result, None if there is none.
        error: Why there is none, in one line.
        lost: Whether its process died or was stopped: another attempt may end well.
        seconds: That it took.
    """

    cell: Cell
    record: Record | None
    error: str | None = None
    lost: bool = False
    seconds: float = 0.0


class Executor(Protocol):
    """Does jobs, in any order, several at a time."""

    def run(self, jobs: Sequence[Job], keep: Callable[[Done], None], tell: Telling) -> None:
        """Do them; on Ctrl-C what is finished is kept before KeyboardInterrupt goes on.

        Args:
            jobs: What there is to do.
            keep: Called with every cell once, as they come in; of one that was stopped, too.
            tell: Called with the progress of runs.
        """
        ...


def computed(job: Job, tell: Callable[[Event], None]) -> Iterator[Done]:
    """Compute the cells of a job here; a mistake in one leaves the others alone.

    Args:
        job: It.
        tell: Called with the progress of runs.

    Yields:
        Each cell, when it is finished; none after one that was stopped.
    """
    if job.stacked:
        yield from _together(job, tell)
        return
    for cell, checkpoint in zip(job.cells, job.checkpoints, strict=True):
        began = time.perf_counter()
        stopped = False
        try:
            found = cell.compute(checkpoint, job.every, tell)
            stopped = isinstance(found, str)
        except FAILURES as error:
            found = told(error)
        seconds = time.perf_counter() - began
        if isinstance(found, Record):
            yield Done(cell, found, seconds=seconds)
            continue
        yield Done(cell, None, found, stopped, seconds)
        if stopped:
            return


def _together(job: Job, tell: Callable[[Event], None]) -> Iterator[Done]:
    left = [cell for cell in job.cells if isinstance(cell, Training)]
    try:
        for cell, found, seconds in compute_together(tuple(left), job.checkpoints, job.every, tell):
            left.remove(cell)
            if isinstance(found, Record):
                yield Done(cell, found, seconds=seconds)
            elif isinstance(found, str):
                yield Done(cell, None, found, lost=True, seconds=seconds)
            else:
                yield Done(cell, None, told(found))
    except FAILURES as error:  # of what they have in common
        for cell in left:
            yield Done(cell, None, told(error))


def told(error: Exception) -> str:
    """A failure in one line; where it was raised, unless it is a mistake of the user."""
    text = " ".join(f"{error}".split())
    if isinstance(error, UserError | MissingExtra) or (isinstance(error, OSError) and place(error, FILES) is None):
        return text
    return f"{type(error).__name__}{text and ': '}{text} ({place(error, FILES) or place(error)})"
