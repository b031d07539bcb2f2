"""Whether this machine can hold a run, estimated before anything is allocated."""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import Literal

import torch

from groktimizer.tasks import Task
from groktimizer.training.environment import resolve_device
from groktimizer.training.schedule import evaluation_steps

ROW_BYTES = 320  # of an evaluation at least: ten columns of Python's floats
CGROUP = ("memory.max", "memory/memory.limit_in_bytes")
NOTABLE = 100  # sizes below this are not what fills a memory


def memory_bytes() -> int | None:
    """Find how much memory this process can have: the machine's, its container's or its own limit.

    Returns:
        Bytes, or None where the system does not tell.
    """
    return min(_limits(), default=None)


def _limits() -> Generator[int]:
    with contextlib.suppress(AttributeError, ValueError, OSError):
        yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in CGROUP:
        with contextlib.suppress(OSError, ValueError):  # "max" is no number
            yield int((Path("/sys/fs/cgroup") / name).read_text(encoding="ascii"))
    with contextlib.suppress(ImportError):
        import resource  # does not exist on Windows

        soft = resource.getrlimit(resource.RLIMIT_AS)[0]
        if soft != resource.RLIM_INFINITY:
            yield soft


def check_machine(
    task: Task, steps: int, every: int | Literal["log"], device: str | torch.device = "cpu"
) -> torch.device:
    """Refuse a run that this machine has no device or not enough memory for; what is estimated is the least it takes.

    Args:
        task: What is to be learnt.
        steps: Budget.
        every: Steps between evaluations, or "log".
        device: Where to train.

    Returns:
        The device.

    Raises:
        ValueError: If the device is not available, or the sizes of the task or the evaluations do not fit in memory.
    """
    place, memory = resolve_device(device), memory_bytes()
    rows = len(evaluation_steps(steps, every))
    if memory is None:
        return place
    if rows * ROW_BYTES > memory:
        raise ValueError(
            f"steps={steps}, every={every}: {rows:,} evaluations take at least {_gigabytes(rows * ROW_BYTES)}, there "
            f"are {_gigabytes(memory)}; use a larger every or 'log'"
        )
    if place.type == "cpu" and task.least_bytes() > memory:
        given = task.options().items()
        named = ", ".join(f"{name}={value}" for name, value in given if isinstance(value, int) and value >= NOTABLE)
        raise ValueError(
            f"{named}: {task.name} takes at least {_gigabytes(task.least_bytes())}, there are {_gigabytes(memory)}; "
            "choose smaller sizes"
        )
    return place


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
