"""``predict TASK --set …``: the options of ``run``, for the kinds of prediction that draw a task's problem."""

import argparse
from collections.abc import Mapping, Sequence
from typing import TypeVar

from torch import Tensor

from groktimizer.cli.clocks_parser import PREDICTIONS
from groktimizer.cli.prediction import refuse
from groktimizer.ground.errors import UnknownName, UserError
from groktimizer.ground.names import convert_all, unknown
from groktimizer.sweeps import split_options
from groktimizer.tasks import TASKS, Known, Task, find_task, make_task

Problem = TypeVar("Problem")
OPTIMIZERS = ("groktimizer", "sgd")  # whose lr, weight_decay and momentum a prediction takes
# By kind: what `--set` says of task and optimizer -> the flag that says the same.
FLAGS: Mapping[str, Mapping[str, str]] = {
    "ridge": {key: key for key in ("n", "m", "nu", "teacher_norm", "tolerance", "lr", "weight_decay", "momentum")},
    "sparse": {
        **{key: key for key in ("n", "s", "N", "features", "tau", "test_tolerance", "lr")},
        **{"train_tolerance": "tolerance", "weight_decay": "weight"},
    },
    "low-rank": {
        **{key: key for key in ("n1", "n2", "r", "N", "tau", "test_tolerance", "lr")},
        **{"train_tolerance": "tolerance", "weight_decay": "weight"},
    },
}


def as_kind(words: Sequence[str]) -> list[str]:
    """Read ``predict TASK …`` as the kind of prediction that knows the task's problem.

    Args:
        words: The command line, from "predict" on; the next word is none of the kinds.

    Returns:
        The same with ``KIND --task TASK``.

    Raises:
        UnknownName: If it is neither a kind nor a task.
        UserError: If nothing is known of the task before training.
    """
    name = words[1]
    try:
        kind = find_task(name).factory.prediction
    except UnknownName:
        ours = [task for task, entry in TASKS.items() if entry.factory.prediction and task not in PREDICTIONS]
        raise UnknownName(unknown("prediction", name, [*PREDICTIONS, *ours])) from None
    if kind not in FLAGS:
        if kind or find_task(name).factory.theory is not Task.theory:
            raise UserError(f"{name}: its theory is not read with prediction = {kind!r}, expected {', '.join(FLAGS)}")
        raise UserError(
            f"{name}: nothing is known of it before it is trained; `groktimizer predict network` learns from runs"
        )
    return [words[0], kind, "--task", name, *words[2:]]


def settle(arguments: argparse.Namespace, usual: str) -> None:
    """Give the flags what ``--set`` says, and keep the options of the task that have no flag.

    Args:
        arguments: From the parser; gets "task", the name, "options", of a task of the user's own all that were given,
            and "named", the task that was named, or None.
        usual: The task if none was named.

    Raises:
        UserError: If something is said twice, or an option of an optimizer does not matter here.
    """
    arguments.named = arguments.task
    arguments.task = arguments.task or usual
    flags = FLAGS[arguments.kind]
    of_task, of_optimizer = split_options(arguments.task, OPTIMIZERS, arguments.set)
    values = convert_all(f"task {arguments.task}", of_task, find_task(arguments.task).kinds())
    for key, text in of_optimizer.items():
        if key not in flags:
            known = ", ".join(key for key in ("lr", "weight_decay", "momentum") if key in flags)
            raise UserError(f"--set {key}={text}: no prediction depends on it, accepted of an optimizer are {known}")
    told = values | convert_all("prediction", of_optimizer, dict.fromkeys(of_optimizer, (float,)))
    for key in [key for key in told if key in flags]:
        if _typed(arguments, flags[key]):
            raise UserError(f"--{flags[key].replace('_', '-')}: --set {key}={told[key]} says it as well; give one")
        setattr(arguments, flags[key], told[key])
    arguments.options = {key: value for key, value in values.items() if arguments.task not in TASKS or key not in flags}


def refuse_task(arguments: argparse.Namespace, file: str) -> None:
    """Refuse what is said of a task where files say what the problem is.

    Args:
        arguments: From the parser, after `settle`.
        file: The option that names the file.

    Raises:
        UserError: If a task is named, or an option is given of which files know nothing.
    """
    reason = f"with {file}: the files say what the problem is"
    refuse([f"--task {arguments.named}"] * (arguments.named is not None), reason)
    refuse([f"--set {key}={value}" for key, value in arguments.options.items()], reason)


def drawn_task(arguments: argparse.Namespace, names: Sequence[str]) -> Task:
    """Make the task of the flags and of ``--set``.

    Args:
        arguments: From the parser, after `settle`.
        names: Flags that are options of the task.

    Returns:
        The task; the levels of one of the user's own are those of the prediction, unless others were asked for.
    """
    own = find_task(arguments.task).defaults()
    given = {name: getattr(arguments, name) for name in names if name in own or _typed(arguments, name)}
    given = {name: value for name, value in given.items() if value is not None}
    task = make_task(arguments.task, {**given, **arguments.options})
    if arguments.task not in TASKS:
        for flag, level in (("tolerance", task.memorised), ("test_tolerance", task.generalised)):
            if not _typed(arguments, flag):
                setattr(arguments, flag, level.threshold)
    return task


def known(task: Task, seed: int, kind: type[Problem]) -> tuple[Problem, Tensor, Tensor]:
    """What the theory knows of the problem of a seed.

    Args:
        task: The task.
        seed: Seed of the draw.
        kind: What its problem has to be.

    Returns:
        The problem, initial parameters and what is to be found, as `Known` has them.

    Raises:
        UserError: If the theory knows nothing of a task with these options, or its problem is of another kind.
    """
    found = task.theory(seed)
    if found is None:
        told = " ".join(f"{key}={value}" for key, value in task.options().items())
        raise UserError(f"{task.name} with {told}: nothing is known of it before it is trained")
    if not (isinstance(found, Known) and isinstance(found.problem, kind)):
        gave = type(found.problem if isinstance(found, Known) else found).__name__
        raise UserError(
            f"{task.name}: theory gave a {gave}, prediction = {task.prediction!r} is of a Known with a {kind.__name__}"
        )
    return found.problem, found.start, found.truth


def _typed(arguments: argparse.Namespace, flag: str) -> bool:
    name = f"--{flag.replace('_', '-')}"
    return any(word == name or word.startswith(f"{name}=") for word in arguments.words)
