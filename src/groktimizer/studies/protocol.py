"""What a comparison compares and by which rules: methods, settings of the task, seeds, budgets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from groktimizer.ground.errors import UserError
from groktimizer.measures.times import WINDOW_STEPS
from groktimizer.peers import PEERS, TUNED_SUFFIX, resolve, takes_penalty
from groktimizer.results import identity
from groktimizer.sweeps import RunSpec, make_spec
from groktimizer.tasks import find_task, make_task

Kind = Literal["untuned", "given", "reference", "tuned"]
DEFAULT_METHODS = ("groktimizer", "adamw-tuned", "adamw", "adam-l2", "muon", "grokfast", "orthograd")
QUICK_METHODS = ("groktimizer", "adamw-tuned", "adamw", "adam-l2", "muon")
CAP = 3  # a run may be stopped at this many times the best settled time so far
TUNING_SEEDS = (1, 2, 3)
LONGEST = 5_000


@dataclass(frozen=True)
class Method:
    """An optimizer at one setting.

    Attributes:
        label: name in tables and figures.
        optimizer: name in `PEERS`, perhaps with "-tuned".
        options: overrides of its options.
        kind: "untuned" (its package's defaults), "given" (options from the user), "reference" (a cell measured
            before) or "tuned" (chosen here on tuning seeds).
    """

    label: str
    optimizer: str
    options: Mapping[str, object] = field(default_factory=dict[str, object])
    kind: Kind = "untuned"


@dataclass(frozen=True)
class Setting:
    """A task with options, under a short name.

    Attributes:
        name: what differs from the default, such as "mlp 0.4".
        task: name of the task.
        options: overrides of its options.
    """

    name: str
    task: str
    options: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True)
class Protocol:
    """The rules of one comparison.

    Attributes:
        seeds: seeds that are reported; fresh, when something is tuned.
        tuning_seeds: seeds on which cells are chosen.
        steps: budget of every run.
        every: steps between evaluations; None is the task's.
        precision: of every run.
        threads: of every run.
        device: of every run.
        compile: whether networks are compiled.
        cap: a run may be stopped at this many times the best settled time so far; None gives each the whole budget.
    """

    seeds: Sequence[int]
    steps: int
    tuning_seeds: Sequence[int] = TUNING_SEEDS
    every: int | Literal["log"] | None = None
    precision: str = "fp32"
    threads: int = 1
    device: str = "cpu"
    compile: bool = False
    cap: float | None = CAP

    def check_fresh(self) -> None:
        """Refuse to report a tuned method on a seed that its cell was chosen on.

        Raises:
            UserError: if a seed is among the tuning seeds.
        """
        if common := sorted(set(self.seeds) & set(self.tuning_seeds)):
            told = ", ".join(map(str, common))
            tuning = ", ".join(map(str, self.tuning_seeds))
            raise UserError(f"--seeds {told}: tuning is done on seeds {tuning}, report on others, such as 101,102 …")

    def spec(self, setting: Setting, optimizer: str, options: Mapping[str, object], seed: int, steps: int) -> RunSpec:
        """Specify one run of this comparison.

        Args:
            setting: the task.
            optimizer: name of the optimizer.
            options: overrides of its options.
            seed: seed of data and weights.
            steps: its budget; at most that of the protocol.

        Returns:
            The specification.
        """
        return make_spec(
            setting.task,
            optimizer,
            task_options=setting.options,
            optimizer_options=options,
            seed=seed,
            steps=min(steps, self.steps),
            every=self.every,
            precision=self.precision,
            threads=self.threads,
            device=self.device,
            compile=self.compile,
        )

    def capped(self, best: float | None) -> int:
        """Budget of a run once something has settled: the cap times the best time, plus the window to observe it.

        Args:
            best: best settled time so far, None if nothing has settled.

        Returns:
            Steps, at most the budget of the protocol.
        """
        if best is None or self.cap is None:
            return self.steps
        return min(self.steps, max(1, int(self.cap * best)) + WINDOW_STEPS)


def default_methods(task: str, penalty: str | None, *, quick: bool = False) -> tuple[str, ...]:
    """Methods of a comparison for which none were named.

    Args:
        task: name of the task.
        penalty: name of the complexity, or None.
        quick: whether to take fewer.

    Returns:
        All that take a penalty if one other than ℓ2 is asked for, GROKtimizer first; otherwise decay and its rivals,
        on convex tasks without reference cells, which were measured on networks.

    Example:
        >>> default_methods("sparse-recovery", "l1")
        ('groktimizer', 'adam-subgradient', 'subgradient', 'proximal')
    """
    if penalty not in {None, "l2"}:
        return tuple(name for name in PEERS if takes_penalty(name))
    names = QUICK_METHODS if quick else DEFAULT_METHODS
    convex = find_task(task).factory.convex
    return tuple(name for name in names if not (convex and name.endswith(TUNED_SUFFIX)))


def penalty_options(names: Sequence[str], penalty: str | None, weight: str | None) -> dict[str, object]:
    """Options that ``--penalty`` and ``--weight`` stand for.

    Args:
        names: optimizers; at least one has to take a penalty.
        penalty: name of the complexity, or None.
        weight: its weight as a text, or None.

    Returns:
        "penalty" and "weight_decay", where given.

    Raises:
        UserError: if one is given and none of the optimizers takes a penalty.
    """
    given = {"penalty": penalty, "weight_decay": weight}
    own: dict[str, object] = {key: value for key, value in given.items() if value is not None}
    if own and not any(takes_penalty(name) for name in names):
        takers = ", ".join(name for name in PEERS if takes_penalty(name))
        option = "--penalty" if penalty is not None else "--weight"
        raise UserError(f"{option} {penalty or weight}: {', '.join(names)} takes no penalty; accepted: {takers}")
    return own


def parse_method(name: str, options: Mapping[str, object] | None = None) -> Method:
    """Read a method from the command line: a name, and options that it takes from those given.

    Args:
        name: name of an optimizer, or NAME-tuned.
        options: options for every optimizer that has them.

    Returns:
        The method.
    """
    peer, _ = resolve(name)
    own = {key: value for key, value in (options or {}).items() if key in peer.defaults}
    if own:
        given = " ".join(f"{key}={value}" for key, value in own.items())
        return Method(f"{name} ({given})", name, own, "given")
    if name.endswith(TUNED_SUFFIX):
        return Method(name, name, dict(peer.tuned or {}), "reference")
    return Method(name, name)


def parse_settings(task: str, text: str, options: Mapping[str, object]) -> list[Setting]:
    """Read the settings of a comparison.

    Args:
        task: name of the task.
        text: settings separated by ";", each a list of key=value separated by ","; empty for one setting.
        options: options of the task that hold for every setting.

    Returns:
        The settings, named by what they change.

    Raises:
        UserError: if a part is empty or not key=value, an option is given twice, or two settings are the same one; an
            unknown or wrong option is refused likewise.

    Example:
        >>> [s.name for s in parse_settings("modular-addition", "train_fraction=0.3;model=transformer", {})]
        ['mlp, 30 % train', 'transformer, 40 % train']
    """
    settings: list[Setting] = []
    seen: dict[str, str] = {}
    for part in text.split(";") if text else [""]:
        own = {**options, **_setting_options(part, options)} if text else dict(options)
        made = make_task(task, own).options()
        same = identity(made)
        if same in seen:
            raise UserError(f"--settings {part.strip()!r}: the same setting as {seen[same]!r}; name each once")
        seen[same] = part.strip()
        settings.append(Setting(setting_name(made, make_task(task).options()), task, own))
    return settings


def _setting_options(part: str, options: Mapping[str, object]) -> dict[str, str]:
    """Read one setting: key=value separated by ",".

    Args:
        part: its text.
        options: options that hold for every setting, which it may not give again.

    Returns:
        Its own options.

    Raises:
        UserError: if it is empty, a pair is not key=value, or an option is given twice.
    """
    own: dict[str, str] = {}
    for pair in part.split(","):
        key, equals, value = (word.strip() for word in pair.partition("="))
        if not (key and equals and value):
            raise UserError(f"--settings {part.strip()!r}: expected key=value,key=value;… got {pair.strip()!r}")
        if key in own:
            raise UserError(f"--settings {part.strip()!r}: {key} is given twice")
        if key in options:
            raise UserError(
                f"{key} is given twice: {options[key]} by --set for every setting, {value} by the setting "
                f"{part.strip()!r} (of --settings, or of --tune, which brings some of its own)"
            )
        own[key] = value
    return own


def setting_name(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Name a setting by the options that differ from the defaults; network and train fraction always show."""
    if {"model", "train_fraction"} <= options.keys():
        rest = {key: value for key, value in options.items() if value != defaults[key]}
        named = [str(options["model"]), f"{100 * options['train_fraction']:g} % train"]
        return ", ".join(named + [f"{k}={v}" for k, v in rest.items() if k not in {"model", "train_fraction"}])
    return " ".join(f"{key}={value}" for key, value in options.items() if value != defaults[key]) or "defaults"


def comparison_precision(task: str) -> str:
    """Precision of a comparison: bf16, where a task can be compared in it, if this CPU multiplies it in hardware.

    With AMX it is twice as fast, without it slower than fp32 (measured). The record says which it was.

    Args:
        task: name of the task.

    Returns:
        "bf16", or what a single run of the task uses.
    """
    capabilities = getattr(torch.cpu, "get_capabilities", dict[str, bool])()
    kind = find_task(task).factory
    return "bf16" if kind.bf16 and bool(capabilities.get("amx_bf16")) else kind.precision
