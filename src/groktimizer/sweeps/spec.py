"""The specification of a run: everything that determines its numbers, complete and checked before anything starts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from torch import nn

from groktimizer.ground.errors import UnknownName, UserError
from groktimizer.ground.names import lookup, unknown
from groktimizer.peers import resolve
from groktimizer.results import identity
from groktimizer.tasks import TASKS, Task, make_task

CODE = 1  # raised when a change of the package changes what the same specification computes
MOST_STEPS, MOST_THREADS = 10**15, 1024
CONVEX = ("ridge", "sparse-recovery", "matrix-completion", "matrix-sensing")
Precision = Literal["fp32", "bf16", "fp64"]
PRECISIONS: Mapping[str, Precision] = {"fp32": "fp32", "bf16": "bf16", "fp64": "fp64"}


@dataclass(frozen=True)
class RunSpec:
    """What determines a run. Made by `make_spec`, which completes and checks it.

    Attributes:
        task: name of the task.
        task_options: all its options.
        optimizer: name of the optimizer.
        optimizer_options: all its options.
        seed: seed of data, weights and batches.
        steps: budget of steps.
        every: steps between evaluations, or "log".
        precision: "fp32", "bf16" or "fp64".
        threads: CPU threads of one operation, None for PyTorch's own choice.
        device: where to train.
        compile: whether the network is compiled.
        stop_on_settled: whether the run ends once generalisation has settled.
    """

    task: str
    task_options: Mapping[str, object]
    optimizer: str
    optimizer_options: Mapping[str, Any]
    seed: int
    steps: int
    every: int | Literal["log"]
    precision: Precision = "fp32"
    threads: int | None = 1
    device: str = "cpu"
    compile: bool = False
    stop_on_settled: bool = True

    def canonical(self) -> dict[str, object]:
        """The specification as plain content; equal content is the same run."""
        return {
            "task": {"name": self.task, "options": dict(self.task_options)},
            "optimizer": {"name": self.optimizer, "options": dict(self.optimizer_options)},
            "seed": self.seed,
            "steps": self.steps,
            "every": self.every,
            "precision": self.precision,
            "threads": self.threads,
            "device": self.device,
            "compile": self.compile,
            "stop_on_settled": self.stop_on_settled,
            "code": CODE,
        }

    @cached_property
    def identity(self) -> str:
        """Hash of the specification, 16 hexadecimal digits."""
        return identity(self.canonical())


def whole(name: str, value: object, least: int, most: int | None = None) -> int:
    """Check a whole number.

    Args:
        name: of the argument, for the error.
        value: what was given.
        least: smallest value accepted.
        most: largest value accepted, None for no limit.

    Returns:
        The number.

    Raises:
        UserError: if it is not a whole number, too small or too large.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{name}={value!r}: expected a whole number ≥ {least}")
    if most is not None and value > most:
        raise UserError(f"{name}={value!r}: expected a whole number from {least} to {most:,}")
    return value


def make_spec(
    task: str,
    optimizer: str,
    *,
    task_options: Mapping[str, object] | None = None,
    optimizer_options: Mapping[str, object] | None = None,
    seed: int = 0,
    steps: int | None = None,
    every: int | Literal["log"] | None = None,
    precision: str | None = None,
    threads: int | None = 1,
    device: str = "cpu",
    compile: bool = False,
    stop_on_settled: bool = True,
) -> RunSpec:
    """Complete and check a specification; what is not given is the default of task and optimizer.

    Args:
        task: name in `TASKS`.
        optimizer: name in `PEERS`, or NAME-tuned for its reference cell.
        task_options: overrides of the task's options; texts are read as the options' types.
        optimizer_options: overrides of the optimizer's options, likewise.
        seed: seed of data, weights and batches.
        steps: budget, default the task's.
        every: steps between evaluations or "log", default the task's.
        precision: "fp32", "bf16" or "fp64"; default fp64 for convex tasks and fp32 otherwise.
        threads: CPU threads of one operation, None for PyTorch's own choice.
        device: where to train.
        compile: whether to compile the network.
        stop_on_settled: whether to end once generalisation has settled.

    Returns:
        The specification.

    Raises:
        UserError: if `every` is neither "log" nor a whole number ≥ 1; other wrong names and values likewise.

    Example:
        >>> a = make_spec("modular-addition", "adamw", optimizer_options={"lr": "1e-3"})
        >>> a.identity == make_spec("modular-addition", "adamw", task_options={"p": 97}).identity
        True
    """
    made = make_task(task, task_options)
    peer, options = resolve(optimizer, optimizer_options)
    peer.build(nn.Linear(2, 2), options)  # the optimizer's own checks, before any run starts
    every = made.default_every if every is None else every
    if every != "log" and (isinstance(every, bool) or not isinstance(every, int) or every < 1):
        raise UserError(f"every={every!r}: expected a whole number ≥ 1 or 'log'")
    return RunSpec(
        task=made.name,
        task_options=made.options(),
        optimizer=peer.name,
        optimizer_options=options,
        seed=whole("seed", seed, 0),
        steps=whole("steps", _budget(made, steps), 1, MOST_STEPS),
        every=every,
        precision=lookup("precision", precision or default_precision(task), PRECISIONS),
        threads=None if threads is None else whole("threads", threads, 1, MOST_THREADS),
        device=device,
        compile=compile,
        stop_on_settled=stop_on_settled,
    )


def _budget(task: Task, steps: int | None) -> int:
    return task.default_steps if steps is None else steps


def default_precision(task: str) -> Precision:
    """The precision a task is run in when none is asked for: convex ones need float64 to reach their levels."""
    return "fp64" if task in CONVEX else "fp32"


def plan(specs: Iterable[RunSpec], seeds: Sequence[int]) -> list[RunSpec]:
    """Expand specifications over seeds: every seed of the first, then of the second, and so on.

    Args:
        specs: what to run; their own seeds do not matter.
        seeds: seeds of the runs.

    Returns:
        One specification per pair, each once.
    """
    expanded = [replace(spec, seed=whole("seed", seed, 0)) for spec in specs for seed in seeds]
    return list({spec.identity: spec for spec in expanded}.values())


def split_options(task: str, optimizers: Sequence[str], pairs: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Tell the task's options from the optimizer's in a list of ``key=value``.

    Args:
        task: name of the task.
        optimizers: names of the optimizers; an option of any of them is accepted.
        pairs: such as ``["lr=1e-3", "task.p=23"]``; a prefix decides where both have the key.

    Returns:
        Options of the task and options of the optimizer, as texts.

    Raises:
        UnknownName: if neither has the key.
        UserError: if a pair has no "=", both have the key and no prefix decides, or a key comes twice.

    Example:
        >>> split_options("modular-addition", ["adamw"], ["p=23", "lr=1e-3"])
        ({'p': '23'}, {'lr': '1e-3'})
    """
    owned = {"task": set(lookup("task", task, TASKS).defaults())}
    owned["optimizer"] = set().union(*(resolve(name)[0].defaults for name in optimizers))
    found: dict[str, dict[str, str]] = {"task": {}, "optimizer": {}}
    for pair in pairs:
        left, equals, value = pair.partition("=")
        if not (left and equals and value):
            raise UserError(f"--set {pair!r}: expected key=value, such as lr=1e-3")
        prefix, dot, bare = left.partition(".")
        owners, key = ([prefix], bare) if dot and prefix in owned else (list(owned), left)
        owners = [owner for owner in owners if key in owned[owner]]
        if not owners:
            raise UnknownName(unknown("option", left, sorted(owned["task"] | owned["optimizer"])))
        if len(owners) > 1:
            raise UserError(f"--set {pair!r}: both have {key}; write task.{key}=… or optimizer.{key}=…")
        if key in found[owners[0]]:
            raise UserError(f"--set {pair!r}: {key} is given twice")
        found[owners[0]][key] = value
    return found["task"], found["optimizer"]
