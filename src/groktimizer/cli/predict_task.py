"""``predict TASK --set …``: the options of ``run``, for the kinds of prediction that draw a task's problem."""

import argparse
from collections.abc import Mapping, Sequence

from groktimizer.cli.clocks_parser import PREDICTIONS
from groktimizer.ground.errors import UnknownName, UserError
from groktimizer.ground.names import convert_all, unknown
from groktimizer.sweeps import split_options
from groktimizer.tasks import TASKS, Known, Task, find_task, make_task

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
        raise UserError(
            f"{name}: nothing is known of it before it is trained; `groktimizer predict network` learns from runs"
        )
    return [words[0], kind, "--task", name, *words[2:]]


def settle(arguments: argparse.Namespace, usual: str) -> None:
    """Give the flags what ``--set`` says, and keep the options of the task that have no flag.

    Args:
        arguments: From the parser; gets "task", the name, and "options".
        usual: The task if none was named.

    Raises:
        UserError: If something is said twice, or an option of an optimizer does not matter here.
    """
    arguments.task = arguments.task or usual
    flags = FLAGS[arguments.kind]
    of_task, of_optimizer = split_options(arguments.task, OPTIMIZERS, arguments.set)
    values = convert_all(f"task {arguments.task}", of_task, find_task(arguments.task).kinds())
    for key, text in of_optimizer.items():
        if key not in flags:
            known = ", ".join(key for key in ("lr", "weight_decay", "momentum") if key in flags)
            raise UserError(f"--set {key}={text}: no prediction depends on it, accepted of an optimizer are {known}")
    values |= convert_all("prediction", of_optimizer, dict.fromkeys(of_optimizer, (float,)))
    for key in [key for key in values if key in flags]:
        if _typed(arguments, flags[key]):
            raise UserError(f"--{flags[key].replace('_', '-')}: --set {key}={values[key]} says it as well; give one")
        setattr(arguments, flags[key], values.pop(key))
    arguments.options = values


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


def known(task: Task, seed: int) -> Known:
    """What the theory knows of the problem of a seed.

    Args:
        task: The task.
        seed: Seed of the draw.

    Returns:
        It.

    Raises:
        UserError: If the theory knows nothing of a task with these options.
    """
    found = task.theory(seed)
    if found is None:
        told = " ".join(f"{key}={value}" for key, value in task.options().items())
        raise UserError(f"{task.name} with {told}: nothing is known of it before it is trained")
    return found


def _typed(arguments: argparse.Namespace, flag: str) -> bool:
    name = f"--{flag.replace('_', '-')}"
    return any(word == name or word.startswith(f"{name}=") for word in arguments.words)
