"""The specification of a run: everything that determines its numbers, complete and checked before anything starts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from torch import nn

from groktimizer.ground.checks import is_whole, whole, word
from groktimizer.ground.errors import UnknownName, UserError
from groktimizer.ground.names import lookup, unknown
from groktimizer.peers import find_peer, resolve
from groktimizer.results import identity
from groktimizer.tasks import Precision, find_task, make_task
from groktimizer.training import check_machine
from groktimizer.training.session import MOST_STEPS

CODE = 2  # raised when a change of the package changes what the same specification computes
MOST_THREADS = 1024
MEASURES = ("norm-gap", "flatness")
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
        measure: what is measured of the trained network, one of `MEASURES`; empty for nothing.
        own: digests of the files that define a task or an optimizer of the user's own, by "task" and "optimizer".
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
    measure: str = ""
    own: Mapping[str, str] = field(default_factory=dict[str, str])

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
            **({"measure": self.measure} if self.measure else {}),
            **({"own": dict(self.own)} if self.own else {}),
        }

    @cached_property
    def identity(self) -> str:
        """Hash of the specification, 16 hexadecimal digits."""
        return identity(self.canonical())

    @property
    def method(self) -> str:
        """The optimizer, and the knobs that tell cells of its grid apart."""
        given = self.optimizer_options
        knobs = [f"{key} {given[key]:g}" for key in ("lr", "weight_decay") if isinstance(given.get(key), int | float)]
        return " ".join([self.optimizer, *knobs])


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
    measure: str | None = None,
) -> RunSpec:
    """Complete and check a specification; what is not given is the default of task and optimizer.

    Args:
        task: a name that `find_task` takes.
        optimizer: a name that `find_peer` takes, or NAME-tuned for its reference cell.
        task_options: overrides of the task's options; texts are read as the options' types.
        optimizer_options: overrides of the optimizer's options, likewise.
        seed: seed of data, weights and batches.
        steps: budget, default the task's.
        every: steps between evaluations or "log", default the task's.
        precision: "fp32", "bf16" or "fp64"; default the task's.
        threads: CPU threads of one operation, None for PyTorch's own choice.
        device: where to train.
        compile: whether to compile the network.
        stop_on_settled: whether to end once generalisation has settled.
        measure: one of `MEASURES`, taken of the trained network; None for nothing.

    Returns:
        The specification.

    Raises:
        UserError: if `every` is neither "log" nor a whole number ≥ 1; other wrong names and values likewise.

    Example:
        >>> a = make_spec("modular-addition", "adamw", optimizer_options={"lr": "1e-3"})
        >>> a.identity == make_spec("modular-addition", "adamw", task_options={"p": 97}).identity
        True
    """
    found = find_task(task)
    made = found.make(task_options or {})
    peer, options = resolve(optimizer, optimizer_options)
    if not peer.digest:
        peer.build(nn.Linear(2, 2), options)  # the optimizer's own checks, before any run starts
    if measure is not None:
        word("measure", measure, MEASURES)
    every = made.default_every if every is None else every
    if every != "log" and not (is_whole(every) and every >= 1):
        raise UserError(f"every={every!r}: expected a whole number ≥ 1 or 'log'")
    return RunSpec(
        task=found.name,
        task_options=made.options(),
        optimizer=peer.name,
        optimizer_options=options,
        seed=whole("seed", seed, 0),
        steps=whole("steps", made.default_steps if steps is None else steps, 1, MOST_STEPS),
        every=every,
        precision=lookup("precision", precision or made.precision, PRECISIONS),
        threads=None if threads is None else whole("threads", threads, 1, MOST_THREADS),
        device=device,
        compile=compile,
        stop_on_settled=stop_on_settled,
        measure=measure or "",
        own={kind: digest for kind, digest in (("task", found.digest), ("optimizer", peer.digest)) if digest},
    )


def check_limits(specs: Iterable[RunSpec]) -> None:
    """Refuse what this machine cannot hold; and, where the task tells, steps that diverge and weights that leave 0.

    What is drawn to know the limits is drawn once a seed, whatever the number of optimizers.

    Args:
        specs: The runs.

    Raises:
        UserError: If lr, weight or penalty do not suit a task, with what is accepted; if the device is not there, or
            the memory does not suffice.
    """
    draws: dict[str, list[RunSpec]] = {}
    for spec in specs:
        draws.setdefault(identity({"task": spec.canonical()["task"], "seed": spec.seed}), []).append(spec)
    for alike in draws.values():
        task = make_task(alike[0].task, alike[0].task_options)
        for spec in alike:
            check_machine(task, spec.steps, spec.every, spec.device)
        limits = task.limits(alike[0].seed)
        for spec in alike:
            if reason := find_peer(spec.optimizer).suits(task, spec.optimizer_options, limits):
                raise UserError(reason)


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
    owned = {"task": set(find_task(task).defaults())}
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
