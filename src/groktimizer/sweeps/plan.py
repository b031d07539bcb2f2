"""The plan of a sweep: its cells packed into units of work, longest first, fixed when it first starts."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from groktimizer.ground.memory import GB, free_memory
from groktimizer.results import StoreError, identity, make_directory, write_json
from groktimizer.sweeps.cells import Cell, Training
from groktimizer.sweeps.probe import Cost
from groktimizer.sweeps.sweep import Sweep
from groktimizer.sweeps.work import ALONE, STACKED
from groktimizer.tasks import find_task, make_task
from groktimizer.training import check_machine

FOLDER = "plans"
SHORT, LONG, SHARES = 2.0, 20.0, 32  # seconds of a unit, and into how many a sweep between is divided
MANY = 1024  # cells of a unit at most
STACK = 64  # runs side by side in one process at most
COPIES = 4  # of the least that a task takes, for a run of a stack: what passes through its network comes on top
PROCESS = GB // 2  # memory of a process beside its task


@dataclass(frozen=True)
class Plan:
    """What a sweep consists of.

    Attributes:
        units: Identities of the cells of each unit, longest unit first.
        seconds: Of a cell of each unit, at most, by a probe.
        engines: How a process computes each unit, `ALONE` or `STACKED`; a run's numbers do not depend on its company.
    """

    units: tuple[tuple[str, ...], ...]
    seconds: tuple[float, ...]
    engines: tuple[str, ...]

    @property
    def identities(self) -> list[str]:
        """Of all cells."""
        return [name for unit in self.units for name in unit]

    @property
    def stack(self) -> int:
        """Runs side by side in one process at most."""
        kinds = zip(self.units, self.engines, strict=True)
        return max((len(unit) for unit, engine in kinds if engine == STACKED), default=1)

    def left(self, lacking: set[str]) -> float:
        """Seconds that the cells which are lacking take on one process, at most."""
        costs = zip(self.units, self.seconds, strict=True)
        return sum(seconds * sum(name in lacking for name in unit) for unit, seconds in costs)


def key_of(sweep: Sweep) -> str:
    """What a plan is filed under: the request, the defaults it is completed with, code of the user's own."""
    return identity({**sweep.canonical(), "first": sweep.first.identity, "own": find_task(sweep.task).digest})


def pack(
    cells: Iterable[Cell], costs: Callable[[Sequence[Sequence[Cell]]], Mapping[str, Cost]], workers: int = 1
) -> Plan:
    """Pack cells of equal shape into units, each of some seconds; stacks as large as keeps the processes busy.

    Args:
        cells: All of them.
        costs: What a cell of each shape takes, and how, from all cells of each.
        workers: Processes at a time.

    Returns:
        The plan.
    """
    alike: dict[str, list[Cell]] = {}
    for cell in cells:
        alike.setdefault(cell.shape, []).append(cell)
    found = costs(list(alike.values()))
    total = sum(found[shape].seconds * len(some) for shape, some in alike.items())
    length = min(LONG, max(SHORT, total / SHARES))
    units: list[tuple[Cost, tuple[str, ...]]] = []
    for shape, some in alike.items():
        cost = found[shape]
        size = min(MANY, max(1, round(length / cost.seconds)))
        if cost.engine == STACKED:
            size = min(STACK, math.ceil(len(some) / workers), _holding(some[0], workers))
        names = [cell.identity for cell in some]
        parts = [tuple(names[start : start + size]) for start in range(0, len(names), size)]
        units += [(cost, part) for part in parts]
    units.sort(key=lambda unit: -unit[0].seconds * len(unit[1]))
    kinds = [cost for cost, _ in units]
    parts = tuple(part for _, part in units)
    return Plan(parts, tuple(cost.seconds for cost in kinds), tuple(cost.engine for cost in kinds))


def _holding(cell: Cell, workers: int) -> int:
    """How many runs of a task a process can hold side by side, at least one."""
    assert isinstance(cell, Training)
    least = make_task(cell.spec.task, cell.spec.task_options).least_bytes()
    return max(1, int(free_memory() / workers / (COPIES * max(1, least))))


def load_plan(directory: Path, key: str) -> Plan | None:
    """Read a plan that was fixed before.

    Args:
        directory: Of the store.
        key: From `key_of`.

    Returns:
        The plan, None if there is none.

    Raises:
        StoreError: If it cannot be read, or another version wrote it.
    """
    path = _path(directory, key)
    if not path.exists():
        return None
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        units = tuple(tuple(map(str, unit)) for unit in content["units"])
        engines = content["engines"] if "engines" in content else [content["engine"]] * len(units)
        plan = Plan(units, tuple(map(float, content["seconds"])), tuple(map(str, engines)))
        whole = len(plan.units) == len(plan.seconds) == len(plan.engines)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"damaged plan {path}: delete it, and the same command plans anew") from error
    if not whole or not set(plan.engines) <= {ALONE, STACKED}:
        known = f"{ALONE!r} and {STACKED!r}"
        raise StoreError(f"plan {path} is for engines of another version, this one has {known}: delete it")
    return plan


def save_plan(directory: Path, key: str, sweep: Sweep, plan: Plan) -> None:
    """Keep a plan, whole or not at all."""
    make_directory(directory / FOLDER)
    content = {"request": sweep.canonical(), **asdict(plan)}
    write_json(_path(directory, key), content)


def fitting(cells: Iterable[Cell], workers: int, stack: int = 1) -> int:
    """How many processes fit into memory with the largest task of these.

    Args:
        cells: One of each shape.
        workers: How many are wished.
        stack: Runs side by side in each.

    Returns:
        At most so many, at least one.

    Raises:
        UserError: If not even one cell fits, or its device is not there.
    """
    most = 0
    for cell in cells:
        if isinstance(cell, Training):
            task = make_task(cell.spec.task, cell.spec.task_options)
            check_machine(task, cell.spec.steps, cell.spec.every, cell.spec.device)
            most = max(most, task.least_bytes() * (1 if stack == 1 else stack * COPIES))
    return max(1, min(workers, math.floor(free_memory() / (most + PROCESS))))


def _path(directory: Path, key: str) -> Path:
    return directory / FOLDER / f"{key}.json"
