"""What the records of a sweep say together: groups of seeds, their times, and how these scale."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from groktimizer.measures import median_interval, median_with_dnf
from groktimizer.results import PREDICTION, RUN, Record

CLOCK = "exact clock"
TIMES = ("memorised", "generalised", "settled", "delay")
FEWEST, SPAN = 4, 3.0  # points of a fit at least, and the factor between its ends
WITHOUT = {"seed", "code", "own", "threads", "every", "stop_on_settled"}  # of a specification: no setting of a group


@dataclass(frozen=True)
class Cell:
    """One record of a sweep.

    Attributes:
        identity: Of the record.
        task: Name.
        method: Optimizer, or `CLOCK`.
        settings: Options that are set, by name.
        seed: Of the run.
        status: How it ended.
        advice: What to change.
        times: By name, None where there is none.
        steps: Done, None of clocks.
        seconds: Taken, None of clocks.
    """

    identity: str
    task: str
    method: str
    settings: Mapping[str, Any]
    seed: int
    status: str
    advice: str
    times: Mapping[str, float | None]
    steps: int | None
    seconds: float | None


@dataclass(frozen=True)
class Group:
    """Cells that differ in their seeds alone.

    Attributes:
        task: Name.
        method: Optimizer, or `CLOCK`.
        settings: Of all of them.
        cells: At least one.
    """

    task: str
    method: str
    settings: Mapping[str, Any]
    cells: tuple[Cell, ...]

    def median(self, time: str) -> float:
        """Median over the seeds, inf where more than half have none."""
        return median_with_dnf([cell.times[time] for cell in self.cells])

    def interval(self, time: str) -> tuple[float, float] | None:
        """95 % interval of the median; None where the seeds are too few for one."""
        return median_interval([cell.times[time] for cell in self.cells])

    @property
    def settled(self) -> int:
        """How many settled."""
        return sum(cell.times["settled"] is not None for cell in self.cells)


def cell_of(record: Record) -> Cell | None:
    """Read a record as a cell.

    Args:
        record: Of anything.

    Returns:
        The cell, None if the record is neither a run nor exact clocks.
    """
    spec, summary = record.spec, record.summary
    clock = record.kind == PREDICTION and spec.get("clock") == "exact"
    if record.kind != RUN and not clock:
        return None
    settings = dict(spec["task"]["options"])
    if clock:
        settings |= {key: spec[key] for key in ("lr", "weight_decay", "momentum", "switch")}
    else:
        settings |= {key: value for key, value in spec.items() if key not in {*WITHOUT, "task", "optimizer"}}
        settings |= spec["optimizer"]["options"]
    times: dict[str, Any] = dict(summary["times"])
    first, last = times["memorised"], times["settled"]
    times["delay"] = None if first is None or last is None else last - first
    return Cell(
        identity=record.identity,
        task=spec["task"]["name"],
        method=CLOCK if clock else spec["optimizer"]["name"],
        settings=settings,
        seed=int(spec["seed"]),
        status=str(summary["status"]),
        advice=str(summary["advice"]),
        times={name: times[name] for name in TIMES},
        steps=summary.get("steps"),
        seconds=summary.get("seconds"),
    )


def grouped(cells: Iterable[Cell]) -> list[Group]:
    """Put cells together that differ in their seeds alone.

    Args:
        cells: Any.

    Returns:
        The groups, those of a task and a method beside each other.
    """
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(repr((cell.task, cell.method, sorted(cell.settings.items(), key=str))), []).append(cell)
    groups = [
        Group(some[0].task, some[0].method, some[0].settings, tuple(sorted(some, key=lambda cell: cell.seed)))
        for some in found.values()
    ]
    return sorted(groups, key=lambda group: (group.task, group.method, str(sorted(group.settings.items(), key=str))))


def axes_of(groups: Sequence[Group]) -> list[str]:
    """Settings that have more than one value among groups, by name.

    Args:
        groups: Any.

    Returns:
        Their names: numbers first.
    """
    values: dict[str, set[str]] = {}
    numbers: set[str] = set()
    for group in groups:
        for name, value in group.settings.items():
            values.setdefault(name, set()).add(repr(value))
            if _number(value) is not None:
                numbers.add(name)
    found = [name for name, seen in values.items() if len(seen) > 1]
    return sorted(found, key=lambda name: (name not in numbers, name))


def families(groups: Sequence[Group], inner: Sequence[str]) -> list[tuple[str, list[Group]]]:
    """Divide groups so that in each part only some settings differ.

    Args:
        groups: Any.
        inner: The settings that may differ.

    Returns:
        A name and the groups of each part.
    """
    outer = [name for name in axes_of(groups) if name not in inner]
    found: dict[str, list[Group]] = {}
    for group in groups:
        told = ", ".join(f"{name} {group.settings[name]}" for name in outer if name in group.settings)
        found.setdefault(f"{group.task}, {group.method}{told and ': '}{told}", []).append(group)
    return list(found.items())


@dataclass(frozen=True)
class Fit:
    """A power law of a time, time ∝ x^exponent, by least squares in logarithms.

    Attributes:
        family: Of the groups.
        x: Over what.
        time: Which.
        exponent: Slope.
        error: Its standard error.
        points: Groups with a time.
        without: Groups without one, which are left out.
    """

    family: str
    x: str
    time: str
    exponent: float
    error: float
    points: int
    without: int


PRODUCT = "lr · weight_decay"


def fits(groups: Sequence[Group]) -> list[Fit]:
    """Fit the median times over every numeric axis, and over η λ.

    Args:
        groups: Any.

    Returns:
        The fits that enough points carry: four at least, whose ends differ by a factor of three.
    """
    found: list[Fit] = []
    for axis in [name for name in axes_of(groups) if name not in {"lr", "weight_decay"}]:
        for name, some in families(groups, [axis]):
            found += _fitted(name, axis, [(_number(group.settings.get(axis)), group) for group in some])
    for name, some in families(groups, ["lr", "weight_decay"]):
        found += _fitted(name, PRODUCT, [(_product(group), group) for group in some])
    return found


def _fitted(family: str, x: str, pairs: Sequence[tuple[float | None, Group]]) -> list[Fit]:
    found: list[Fit] = []
    known = [(value, group) for value, group in pairs if value is not None and value > 0]
    for time in ("memorised", "settled", "delay"):
        points = [(value, group.median(time)) for value, group in known]
        usable = [(value, median) for value, median in points if 0 < median < math.inf]
        values = np.array([value for value, _ in usable])
        if len(set(values)) < FEWEST or values.max() / values.min() < SPAN:
            continue
        exponent, error = slope(np.log(values), np.log([median for _, median in usable]))
        found.append(Fit(family, x, time, exponent, error, len(usable), len(points) - len(usable)))
    return found


def slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of a straight line by least squares, and its standard error.

    Args:
        x: Shape (k,), k ≥ 3.
        y: Shape (k,).

    Returns:
        Both.
    """
    from scipy.stats import linregress

    found: Any = linregress(x, y)
    return float(found.slope), float(found.stderr)


def _product(group: Group) -> float | None:
    lr, decay = (_number(group.settings.get(name)) for name in ("lr", "weight_decay"))
    return None if lr is None or decay is None else lr * decay


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
