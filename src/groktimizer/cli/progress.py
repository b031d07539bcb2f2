"""Progress on stderr: a bar on a terminal, sparse plain lines elsewhere."""

import math
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress
from typing_extensions import override

if TYPE_CHECKING:
    from groktimizer.sweeps import Progress, SweepEvent
    from groktimizer.training import Event

QUIET = 10.0  # seconds between two plain lines
MINUTE, HOUR = 60, 3600


def duration(seconds: float) -> str:
    """Write a time such as 12 s, 3:05 min or 1:20 h; a dash if unknown.

    Args:
        seconds: how long.

    Returns:
        The text.

    Example:
        >>> duration(185.0)
        '3:05 min'
    """
    if not math.isfinite(seconds):
        return "–"
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    big, small = divmod(round(seconds), HOUR if seconds >= HOUR else MINUTE)
    return f"{big}:{small // MINUTE if seconds >= HOUR else small:02d} {'h' if seconds >= HOUR else 'min'}"


def _percent(metrics: Mapping[str, float], part: str) -> str:
    if f"{part}_accuracy" in metrics:
        return f"{metrics[f'{part}_loss']:.2e} ({metrics[f'{part}_accuracy']:.1%})"
    return f"{metrics[f'{part}_loss']:.2e}"


def describe(event: "Event") -> str:
    """Write losses, accuracies, phase, speed and time left of a run in one line."""
    words = [f"{part} {_percent(event.metrics, part)}" for part in ("train", "test") if f"{part}_loss" in event.metrics]
    if event.phase:
        words.append(f"phase {event.phase}")
    if event.steps_per_second:
        words.append(f"{event.steps_per_second:,.0f} steps/s, at most {duration(event.eta_seconds)} left")
    return " · ".join(words)


class _Stderr(Console):
    """Console for progress; a reader that went away is an OSError like a closed terminal."""

    @override
    def on_broken_pipe(self) -> None:
        """Leave it to `Bars`; rich would end the program."""
        raise BrokenPipeError


class Bars:
    """Bars for the runs under way on a terminal; elsewhere one plain line now and then.

    A console that is gone (a closed terminal, a full disk behind ``2>``) ends the drawing, never the run.

    Example:
        >>> with Bars() as bars:
        ...     bars.say("comparing")
    """

    def __init__(self) -> None:
        self._console = _Stderr(stderr=True)
        self._live = self._console.is_terminal and sys.stderr.isatty()  # FORCE_COLOR alone makes no terminal
        self._gone = False
        self._bars: dict[str, TaskID] = {}
        self._last = time.monotonic()
        self._done = 0
        self._progress = RichProgress(
            TextColumn("{task.fields[name]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[unit]} {task.completed:,.0f}/{task.total:,.0f}"),
            TextColumn("{task.fields[told]}"),
            console=self._console,
            transient=True,
            disable=not self._live,
        )

    def __enter__(self) -> Self:
        """Start drawing."""
        self._draw(self._progress.start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing, whatever happened."""
        self._draw(self._progress.stop)

    def _draw(self, draw: Callable[[], None]) -> None:
        if self._gone:
            return
        try:
            draw()
        except OSError:
            self._gone = True

    def say(self, text: str) -> None:
        """Write a line above the bars."""
        self._draw(partial(self._progress.console.print, text, highlight=False, markup=False, soft_wrap=True))

    def run(self, name: str, event: "Event") -> None:
        """Show the progress of a run."""
        self._draw(partial(self._run, name, event))

    def _run(self, name: str, event: "Event") -> None:
        if not self._live:
            if time.monotonic() - self._last > QUIET:
                self._last = time.monotonic()
                self.say(f"{name}: step {event.step:,}/{event.steps:,} · {describe(event)}")
            return
        if name not in self._bars:
            self._bars[name] = self._progress.add_task("", total=event.steps, name=name, unit="step", told="")
        self._progress.update(self._bars[name], completed=event.step, told=describe(event))

    def sweep(self, event: "SweepEvent") -> None:
        """Show the progress of one run among many."""
        name = f"{event.spec.method} seed {event.spec.seed}"
        if event.event is not None:
            self.run(name, event.event)
        if event.outcome is None:
            return
        if name in self._bars:
            self._draw(partial(self._progress.remove_task, self._bars.pop(name)))
        place = "{} of {}".format(*event.place)
        if event.outcome.record is None:
            self.say(f"  {place} {name}: failed: {event.outcome.error}")
            return
        summary = event.outcome.record.summary
        reused = " (recorded before)" if event.outcome.reused else ""
        settled = summary["times"]["settled"]
        told = f"settled at {settled:,}" if settled is not None else summary["status"]
        self.say(f"  {place} {name}: {told}, {summary['steps']:,} steps in {duration(summary['seconds'])}{reused}")


class Count(Bars):
    """One bar for all cells of a sweep on a terminal; elsewhere a plain line now and then.

    Example:
        >>> with Count() as count:
        ...     count.say("planned")
    """

    def show(self, progress: "Progress") -> None:
        """Show how far a sweep is, and a cell that failed."""
        if progress.error is not None and progress.cell is not None:
            self.say(f"  {progress.cell.label}: {progress.error}")
        self._draw(partial(self._count, progress))

    def _count(self, now: "Progress") -> None:
        done = now.recorded + now.done
        told = f"{now.failed:,} failed · " * bool(now.failed) + f"at most about {duration(now.left)} left"
        if self._live:
            if not self._bars:
                self._bars["cells"] = self._progress.add_task("", total=now.total, name="", unit="cell", told="")
            self._progress.update(self._bars["cells"], completed=done, told=told)
        elif time.monotonic() - self._last > QUIET:
            self._last = time.monotonic()
            self.say(f"{done:,} of {now.total:,} cells · {told}")


def plain_console() -> Console:
    """Console for results on stdout; not a terminal means: do not wrap below 120 columns."""
    return Console() if sys.stdout.isatty() else Console(width=120, force_terminal=False)
