"""A sweep: axes of settings, expanded into the cells that a store should have."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

from groktimizer.ground.checks import whole, word
from groktimizer.ground.errors import UserError
from groktimizer.ground.names import lookup
from groktimizer.peers import resolve
from groktimizer.sweeps.axes import Axis, Range, Sample, grid, size
from groktimizer.sweeps.cells import CLOCK_OPTIONS, Cell, Training, make_clock
from groktimizer.sweeps.spec import RunSpec, make_spec, split_options
from groktimizer.tasks import find_task

KINDS = ("run", "clock")
MANY, MOST = 10_000_000, 2**53  # cells that have to be confirmed; that can be counted at all
Options = dict[str, Any]


@dataclass(frozen=True)
class Sweep:
    """What to compute: a grid, or a sample, of settings, each for every seed.

    Attributes:
        task: A name that `find_task` takes.
        kind: "run" trains; "clock" finds exact times without training, where the task's theory has them.
        optimizers: Of runs.
        axes: By the name of an option of task, optimizer or clock: its values, or a range of them. A prefix "task." or
            "optimizer." decides where both have the name. An optimizer without the option ignores its axis.
        seeds: Of every cell.
        sample: Points in the axes instead of their grid.
        settings: Other arguments of `make_spec`: steps, every, precision, device, measure.
    """

    task: str
    kind: Literal["run", "clock"] = "run"
    optimizers: tuple[str, ...] = ("groktimizer",)
    axes: Mapping[str, Axis] = field(default_factory=dict[str, Axis])
    seeds: tuple[int, ...] = (0,)
    sample: Sample | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        """Refuse what expands to nothing, and names that are not known, before anything is expanded."""
        word("kind", self.kind, KINDS)
        if not self.seeds:
            raise UserError("seeds: the list is empty; expected at least one seed")
        if not self.optimizers:
            raise UserError("optimizer: the list is empty; expected at least one")
        for name, axis in self.axes.items():
            if not isinstance(axis, Range) and not axis:
                raise UserError(f"set {name}: the list is empty; expected at least one value")
            if isinstance(axis, Range) and axis.num is None and self.sample is None:
                raise UserError(f"set {name}: a range without num; expected num, how many values, or a sample")
        if self.kind == "clock" and self.settings:
            raise UserError(f"{next(iter(self.settings))}: a clock has none; expected without, or kind: run")
        owners: dict[tuple[str, str], str] = {}
        for name, owner in self._owners().items():
            if owner in owners:
                raise UserError(f"set {name}: {owners[owner]} says it as well; give one of them")
            owners[owner] = name

    @property
    def count(self) -> int:
        """How many cells it has at most, without making them."""
        points = size(self.axes) if self.sample is None else self.sample.count
        return points * len(self.seeds) * (len(self.optimizers) if self.kind == "run" else 1)

    def check_size(self, *, yes: bool = False) -> None:
        """Refuse so many cells that nobody can have meant them.

        Args:
            yes: Whether they are meant.

        Raises:
            UserError: If there are more than ten million.
        """
        if self.count > MANY and not yes:
            raise UserError(f"{self.count:,} cells: expected at most {MANY:,}; --yes if you mean it")
        whole("cells", self.count, 1, MOST)

    def cells(self) -> Iterator[Cell]:
        """Expand it, each cell once; of runs seeds are innermost, of clocks outermost.

        Yields:
            The cells, complete and checked.
        """
        known = set[str]()
        for cell in self._made(self._points()):
            if cell.identity not in known:
                known.add(cell.identity)
                yield cell

    @property
    def first(self) -> Cell:
        """The first of its cells; the others are not made."""
        return next(self._made(iter([next(self._points())])))

    def check(self) -> None:
        """Make a cell with every value of each list, and the ends of each range, to find what is not accepted.

        Raises:
            UserError: If something is not.
        """
        ends = {
            name: [axis.low, axis.high] if isinstance(axis, Range) else list(axis) for name, axis in self.axes.items()
        }
        first = {name: values[0] for name, values in ends.items()}
        others = [first | {name: value} for name, values in ends.items() for value in values[1:]]
        for _ in replace(self, seeds=self.seeds[:1])._made(iter([first, *others])):
            pass

    def canonical(self) -> dict[str, object]:
        """All that determines its cells, but for defaults and code of the user's own."""
        axes = {name: vars(axis) if isinstance(axis, Range) else list(axis) for name, axis in self.axes.items()}
        sample = None if self.sample is None else vars(self.sample)
        kept = {"task": self.task, "kind": self.kind, "optimizers": list(self.optimizers), "axes": axes}
        return {"sweep": 1, **kept, "seeds": list(self.seeds), "sample": sample, "settings": dict(self.settings)}

    def _points(self) -> Iterator[Options]:
        return grid(self.axes) if self.sample is None else self.sample.points(self.axes)

    def _made(self, points: Iterator[Options]) -> Iterator[Cell]:
        return self._clocks(points) if self.kind == "clock" else self._runs(points)

    def _owners(self) -> dict[str, tuple[str, str]]:
        """Whose each axis is, "task" or "optimizer", and the option's own name."""
        found: dict[str, tuple[str, str]] = {}
        task = find_task(self.task)
        for name in self.axes:
            bare = name.removeprefix("task.")
            if self.kind == "clock":
                owner = "optimizer" if name in CLOCK_OPTIONS else "task"
                lookup("option", bare, dict.fromkeys([*task.defaults(), *CLOCK_OPTIONS]))
            else:
                of_task, _ = split_options(self.task, self.optimizers, [f"{name}=?"])
                owner = "task" if of_task else "optimizer"
            found[name] = owner, bare.removeprefix("optimizer.")
        return found

    def _split(self, point: Options, owners: Mapping[str, tuple[str, str]]) -> tuple[Options, Options]:
        parts: dict[str, Options] = {"task": {}, "optimizer": {}}
        for name, value in point.items():
            owner, bare = owners[name]
            parts[owner][bare] = value
        return parts["task"], parts["optimizer"]

    def _clocks(self, points: Iterator[Options]) -> Iterator[Cell]:
        owners = self._owners()
        parts = (self._split(point, owners) for point in points)
        firsts = [make_clock(self.task, of_task, options, self.seeds[0]) for of_task, options in parts]
        for seed in self.seeds:
            for first in firsts:  # one after the other, they factorise the problem of a seed once
                yield replace(first, seed=whole("seed", seed, 0))

    def _runs(self, points: Iterator[Options]) -> Iterator[Cell]:
        owners = self._owners()
        takes = {name: set(resolve(name)[0].defaults) for name in self.optimizers}

        @lru_cache(1024)
        def spec(optimizer: str, of_task: tuple[Any, ...], options: tuple[Any, ...]) -> RunSpec:
            return make_spec(
                self.task, optimizer, task_options=dict(of_task), optimizer_options=dict(options), **self.settings
            )

        for point in points:
            of_task, options = self._split(point, owners)
            for name in self.optimizers:
                own = {key: value for key, value in options.items() if key in takes[name]}
                first = spec(name, tuple(of_task.items()), tuple(own.items()))
                for seed in self.seeds:
                    yield Training(replace(first, seed=whole("seed", seed, 0)))


def parse_seeds(text: str | int) -> tuple[int, ...]:
    """Read seeds.

    Args:
        text: How many (0, 1, …), "3-7", or "1,5,9".

    Returns:
        The seeds.

    Raises:
        UserError: If it is none of these.

    Example:
        >>> parse_seeds("3-5"), parse_seeds(2)
        ((3, 4, 5), (0, 1))
    """
    words = f"{text}".replace(" ", "")
    accepted = "expected how many, first-last, or seeds with commas"
    if words.isdecimal() and len(words) <= 7:
        return tuple(range(whole("seeds", int(words), 1)))
    low, dash, high = words.partition("-")
    if dash and low.isdecimal() and high.isdecimal() and max(len(low), len(high)) <= 18:
        if not int(low) <= int(high) < int(low) + MANY:
            raise UserError(f"seeds={text!r}: {accepted}")
        return tuple(range(int(low), int(high) + 1))
    parts = words.split(",")
    if len(parts) > 1 and all(part.isdecimal() and len(part) <= 18 for part in parts):
        return tuple(int(part) for part in parts)
    raise UserError(f"seeds={text!r}: {accepted}")
