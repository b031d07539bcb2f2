"""Whether this machine can hold a run, estimated before anything is allocated."""

from typing import Literal

import torch

from groktimizer.ground.errors import UserError
from groktimizer.ground.memory import free_memory
from groktimizer.tasks import Task
from groktimizer.training.environment import resolve_device
from groktimizer.training.schedule import evaluation_steps

ROW_BYTES = 320  # of an evaluation at least: ten columns of Python's floats
NOTABLE = 100  # sizes below this are not what fills a memory


def check_machine(
    task: Task, steps: int, every: int | Literal["log"] | None, device: str | torch.device = "cpu"
) -> torch.device:
    """Refuse a run that this machine has no device or not enough memory for; what is estimated is the least it takes.

    Args:
        task: What is to be learnt.
        steps: Budget.
        every: Steps between evaluations, or "log"; None for the task's.
        device: Where to train.

    Returns:
        The device.

    Raises:
        UserError: If the device is not available, or the sizes of the task or the evaluations do not fit in memory.
    """
    place, memory = resolve_device(device), free_memory()
    every = task.default_every if every is None else every
    rows = len(evaluation_steps(steps, every))
    if rows * ROW_BYTES > memory:
        raise UserError(
            f"steps={steps}, every={every}: {rows:,} evaluations take at least {_gigabytes(rows * ROW_BYTES)}, "
            f"{_gigabytes(memory)} are free; use a larger every or 'log'"
        )
    if place.type == "cpu" and task.least_bytes() > memory:
        given = task.options().items()
        named = ", ".join(f"{name}={value}" for name, value in given if isinstance(value, int) and value >= NOTABLE)
        raise UserError(
            f"{named}: {task.name} takes at least {_gigabytes(task.least_bytes())}, {_gigabytes(memory)} are free; "
            "choose smaller sizes"
        )
    return place


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
