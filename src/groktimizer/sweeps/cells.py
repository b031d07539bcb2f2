"""What a sweep computes: one record a cell, a trained run or exact clocks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

from groktimizer.ground.checks import not_negative, positive, whole, word
from groktimizer.ground.errors import UserError
from groktimizer.ground.names import convert_all
from groktimizer.results import PREDICTION, Record, identity, provenance
from groktimizer.sweeps.spec import CODE, RunSpec
from groktimizer.sweeps.work import STACKED, Reporter, record_of, run_spec, run_stack
from groktimizer.tasks import find_task, make_task
from groktimizer.training import Run

Momentum = float | Literal["critical"]
TIMES = ("memorised", "memorised_settled", "generalised", "settled", "delay")
CLOCK_OPTIONS: Mapping[str, tuple[type, ...]] = {
    "lr": (float,),
    "weight_decay": (float,),
    "momentum": (float, str),
    "switch": (int, type(None)),
}


class Cell(Protocol):
    """Anything that becomes a record."""

    @property
    def identity(self) -> str:
        """Of its record."""
        ...

    @property
    def shape(self) -> str:
        """What it has in common with cells that cost as much."""
        ...

    @property
    def label(self) -> str:
        """In one line of progress."""
        ...

    def canonical(self) -> dict[str, object]:
        """All that determines its record."""
        ...

    def compute(self, checkpoint: Path, every: int | None, report: Reporter) -> Record | str:
        """The record; or, of a run that was asked to stop, what became of it."""
        ...


@dataclass(frozen=True)
class Training:
    """A run to be trained.

    Attributes:
        spec: From `make_spec`.
    """

    spec: RunSpec

    @property
    def identity(self) -> str:
        """That of the run."""
        return self.spec.identity

    @property
    def shape(self) -> str:
        """Everything but the seed and the optimizer's numbers."""
        return self._shape

    @cached_property
    def _shape(self) -> str:
        known = self.spec.canonical()
        kinds = {key: value for key, value in self.spec.optimizer_options.items() if isinstance(value, str)}
        return identity({**known, "seed": 0, "optimizer": {"name": self.spec.optimizer, "options": kinds}})

    @property
    def label(self) -> str:
        """Task, optimizer, seed."""
        return f"{self.spec.task}, {self.spec.optimizer}, seed {self.spec.seed}"

    def canonical(self) -> dict[str, object]:
        """Of the run."""
        return self.spec.canonical()

    def compute(self, checkpoint: Path, every: int | None, report: Reporter) -> Record | str:
        """Train it, from its saved state if there is one."""
        run = run_spec(self.spec, checkpoint=checkpoint, checkpoint_every=every, on_event=report)
        return _stopped(run) if run.interrupted else record_of(self.spec, run)


def compute_together(
    cells: Sequence[Training], checkpoints: Sequence[Path], every: int | None, report: Reporter
) -> Iterator[tuple[Training, Record | str | Exception, float]]:
    """Train cells of one shape side by side in this process.

    Args:
        cells: They.
        checkpoints: File of the saved state of each.
        every: Steps between saves, None for the loop's default.
        report: Called with the progress of one of them.

    Yields:
        Each cell as it ends: its record, what became of it when it was asked to stop, or what went wrong; and its
        share of the seconds.
    """
    for place, run in run_stack([cell.spec for cell in cells], checkpoints, every, report):
        cell = cells[place]
        if isinstance(run, Run):
            yield cell, _stopped(run) if run.interrupted else record_of(cell.spec, run, STACKED), run.seconds
        else:
            yield cell, run, 0.0


def _stopped(run: Run) -> str:
    return f"stopped at step {run.steps}; its state is saved"


@dataclass(frozen=True)
class Clock:
    """Exact clocks of a problem, see `tasks.clocks`.

    Attributes:
        task: A name that `find_task` takes.
        task_options: All of the task's options.
        seed: Of its draw.
        lr: eta.
        weight_decay: lambda or beta.
        momentum: mu, or "critical".
        switch: Step from which decay and momentum act.
        own: Digest of the file of a task of the user's own.
    """

    task: str
    task_options: Mapping[str, object]
    seed: int
    lr: float
    weight_decay: float
    momentum: Momentum = 0.0
    switch: int | None = None
    own: str = field(default="")

    def canonical(self) -> dict[str, object]:
        """The specification as plain content."""
        settings = {key: getattr(self, key) for key in CLOCK_OPTIONS}
        task = {"name": self.task, "options": dict(self.task_options)}
        kept: dict[str, object] = {"clock": "exact", "task": task, "seed": self.seed, **settings, "code": CODE}
        return {**kept, "own": self.own} if self.own else kept

    @property
    def identity(self) -> str:
        """Hash of the specification."""
        return self._identity

    @property
    def shape(self) -> str:
        """The task with its options."""
        return self._shape

    @cached_property
    def _identity(self) -> str:
        return identity(self.canonical())

    @cached_property
    def _shape(self) -> str:
        return identity({"clock": self.task, "options": dict(self.task_options)})

    @property
    def label(self) -> str:
        """Task, η, λ, seed."""
        return f"{self.task}, lr {self.lr:g}, weight_decay {self.weight_decay:g}, seed {self.seed}"

    def compute(self, checkpoint: Path, every: int | None, report: Reporter) -> Record | str:
        """Find the times; nothing is saved on the way."""
        from groktimizer.tasks.clocks import exact_clocks  # loads the theory, and SciPy with it

        del checkpoint, every, report
        task = make_task(self.task, self.task_options)
        found = exact_clocks(task, self.seed, self.lr, self.weight_decay, self.momentum, self.switch)
        times = {name: getattr(found, name) for name in TIMES}
        transition = asdict(found.transition)
        content = {"times": times, "status": transition["verdict"], "advice": transition["reason"]}
        return Record.of(PREDICTION, self.canonical(), content, provenance(1))


def make_clock(task: str, task_options: Mapping[str, object], options: Mapping[str, object], seed: int) -> Clock:
    """Complete and check the specification of exact clocks.

    Args:
        task: A name that `find_task` takes.
        task_options: Overrides of the task's options.
        options: "lr", "weight_decay", "momentum", "switch"; texts are read.
        seed: Of the draw.

    Returns:
        The cell.

    Raises:
        UserError: If an option is missing, unknown or wrong.
    """
    found = find_task(task)
    made = found.make(dict(task_options))
    given: dict[str, Any] = convert_all(f"the clocks of {task}", options, CLOCK_OPTIONS)
    for name in ("lr", "weight_decay"):
        if name not in given:
            raise UserError(f"{name}: exact clocks need it; expected a number, or an axis of them")
    positive(lr=given["lr"])
    not_negative(weight_decay=given["weight_decay"])
    if isinstance(given.get("momentum"), str):
        word("momentum", given["momentum"], ["critical", "a number in [0, 1)"])
    if given.get("switch") is not None:
        whole("switch", given["switch"], 0, also="or None")
    return Clock(found.name, made.options(), whole("seed", seed, 0), own=found.digest, **given)
