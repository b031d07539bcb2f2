"""The plan of a sweep: its cells packed into units of work, longest first, fixed when it first starts."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groktimizer.ground.memory import GB, free_memory
from groktimizer.results import StoreError, identity, make_directory, write_json
from groktimizer.sweeps.cells import Cell, Training
from groktimizer.sweeps.sweep import Sweep
from groktimizer.tasks import find_task, make_task
from groktimizer.training import check_machine

FOLDER = "plans"
SHORT, LONG, SHARES = 2.0, 20.0, 32  # seconds of a unit, and into how many a sweep between is divided
MANY = 1024  # cells of a unit at most
ENGINE = "one by one"  # cells of a unit after one another: their numbers do not depend on how they are packed
PROCESS = GB // 2  # memory of a process beside its task


@dataclass(frozen=True)
class Plan:
    """What a sweep consists of.

    Attributes:
        units: Identities of the cells of each unit, longest unit first.
        seconds: Of a cell of each unit, at most, by a probe.
    """

    units: tuple[tuple[str, ...], ...]
    seconds: tuple[float, ...]

    @property
    def identities(self) -> list[str]:
        """Of all cells."""
        return [name for unit in self.units for name in unit]

    def left(self, lacking: set[str]) -> float:
        """Seconds that the cells which are lacking take on one process, at most."""
        costs = zip(self.units, self.seconds, strict=True)
        return sum(seconds * sum(name in lacking for name in unit) for unit, seconds in costs)


def key_of(sweep: Sweep) -> str:
    """What a plan is filed under: the request, the defaults it is completed with, code of the user's own."""
    return identity({**sweep.canonical(), "first": sweep.first.identity, "own": find_task(sweep.task).digest})


def pack(cells: Iterable[Cell], seconds: Callable[[Sequence[Cell]], Mapping[str, float]]) -> Plan:
    """Pack cells of equal shape into units, each of some seconds.

    Args:
        cells: All of them.
        seconds: What a cell of each shape takes, from one of each.

    Returns:
        The plan.
    """
    alike: dict[str, list[Cell]] = {}
    for cell in cells:
        alike.setdefault(cell.shape, []).append(cell)
    costs = seconds([some[0] for some in alike.values()])
    total = sum(costs[shape] * len(some) for shape, some in alike.items())
    length = min(LONG, max(SHORT, total / SHARES))
    units: list[tuple[float, tuple[str, ...]]] = []
    for shape, some in alike.items():
        size = min(MANY, max(1, round(length / costs[shape])))
        names = [cell.identity for cell in some]
        parts = [tuple(names[start : start + size]) for start in range(0, len(names), size)]
        units += [(costs[shape], part) for part in parts]
    units.sort(key=lambda unit: -unit[0] * len(unit[1]))
    return Plan(tuple(part for _, part in units), tuple(cost for cost, _ in units))


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
        engine = content["engine"]
        plan = Plan(tuple(tuple(map(str, unit)) for unit in content["units"]), tuple(map(float, content["seconds"])))
        whole = len(plan.units) == len(plan.seconds)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"damaged plan {path}: delete it, and the same command plans anew") from error
    if engine != ENGINE or not whole:
        raise StoreError(f"plan {path} is for the engine {engine!r}, this groktimizer has {ENGINE!r}: delete it")
    return plan


def save_plan(directory: Path, key: str, sweep: Sweep, plan: Plan) -> None:
    """Keep a plan, whole or not at all."""
    make_directory(directory / FOLDER)
    content = {"request": sweep.canonical(), "engine": ENGINE, "units": plan.units, "seconds": plan.seconds}
    write_json(_path(directory, key), content)


def fitting(cells: Iterable[Cell], workers: int) -> int:
    """How many processes fit into memory with the largest task of these.

    Args:
        cells: One of each shape.
        workers: How many are wished.

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
            most = max(most, task.least_bytes())
    return max(1, min(workers, math.floor(free_memory() / (most + PROCESS))))


def _path(directory: Path, key: str) -> Path:
    return directory / FOLDER / f"{key}.json"
