"""What a reproduction consists of: figures as values, and claims that were checked. `report` draws, `cli` prints."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from groktimizer.ground.errors import UserError
from groktimizer.results import Record, Store
from groktimizer.sweeps import RunSpec, SweepEvent, execute, run_or_reuse
from groktimizer.sweeps.work import forget

Array = npt.NDArray[np.float64]
Style = Literal["solid", "dashed", "faint", "points"]
Say = Callable[[str], None]
K = TypeVar("K")
T = TypeVar("T")
STEP = "step"
HERE = 0  # processes: none but this one


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        label: What it is; lines of one label in a panel share an entry of the legend.
        x: Abscissae.
        y: Ordinates; not-a-number leaves a gap.
        style: "solid" for what was measured, "dashed" for what a theorem says, "faint" for single runs,
            "points" for values that no line joins.
        colour: Index of the colour: 0 train or t1, 1 population or t2, others free; or the name of a method.
    """

    label: str
    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    style: Style = "solid"
    colour: int | str = 0


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        title: Its title.
        x: Label of the abscissa.
        y: Label of the ordinate.
        lines: Its curves.
        y_log: Whether the ordinate is logarithmic.
        marks: Points on the measured lines.
        x_log: Whether the abscissa is logarithmic.
    """

    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    y_log: bool = True
    marks: bool = False
    x_log: bool = True


@dataclass(frozen=True)
class Check:
    """One claim of the paper, measured.

    Attributes:
        claim: The claim, with what is accepted.
        measured: What came out.
        passed: Whether it held.
    """

    claim: str
    measured: str
    passed: bool


@dataclass(frozen=True)
class Reproduced:
    """One figure of a paper.

    Attributes:
        name: Such as "Figure 2".
        title: What it shows.
        panels: Its panels.
        checks: Its claims.
        changed: Where the setting is not the paper's, or was shortened, and why; empty if it is the paper's.
    """

    name: str
    title: str
    panels: tuple[Panel, ...]
    checks: tuple[Check, ...]
    changed: tuple[str, ...] = ()


def silent(text: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Effort:
    """How much to do.

    Attributes:
        seed: First seed.
        quick: Fewer runs and cells.
        fresh: Make everything again, even where a record exists.
        full: The paper's whole grids where a part is the default.
        workers: Processes that train at a time, None for one per core, `HERE` for this one.
        say: Called with a line of progress.
        store: Where the trained networks' records go and come from; figures that train nothing do without.
        ask: Called with the networks that a figure needs, before it reads or trains them; it may raise.
    """

    seed: int = 0
    quick: bool = False
    fresh: bool = False
    full: bool = False
    workers: int | None = None
    say: Say = silent
    store: Store | None = None
    ask: Callable[[Sequence[RunSpec]], None] | None = None

    def seeds(self, quick: int, whole: int) -> range:
        """So many seeds, from the first."""
        return range(self.seed, self.seed + (quick if self.quick else whole))

    def shorter(self, *changes: str) -> tuple[str, ...]:
        """What a quick run changes; nothing where it is not quick."""
        return changes if self.quick else ()

    def pick(self, quick: T, usual: T, full: T) -> T:
        """What belongs to this effort."""
        return quick if self.quick else full if self.full else usual


Maker = Callable[[Effort], Reproduced]


@dataclass(frozen=True)
class Paper:
    """A paper whose figures are made again.

    Attributes:
        reference: Its number and its title.
        figures: What makes each of them, by name.
        alone: Those that take long by themselves, not for their networks, the longest first: each is made in a process
            of its own where there are others to be made beside it.
    """

    reference: str
    figures: Mapping[str, Maker]
    alone: tuple[str, ...] = ()

    def chosen(self, only: Sequence[str]) -> dict[str, Maker]:
        """The figures that were asked for.

        Args:
            only: Names, such as "4"; empty for all.

        Returns:
            Their makers by name, in their order.

        Raises:
            UserError: If a name is unknown.
        """
        for name in only:
            if name not in self.figures:
                raise UserError(f"--figures {name}: expected some of {', '.join(self.figures)}")
        return {name: make for name, make in self.figures.items() if not only or name in only}


def train(cells: Mapping[K, Sequence[RunSpec]], effort: Effort, what: str) -> dict[K, list[Record]]:
    """Train the runs of every cell, all side by side, or take what is recorded.

    Args:
        cells: What to train, by cell.
        effort: Store, workers, progress.
        what: Name of the figure, for the progress.

    Returns:
        Records, one a specification.

    Raises:
        UserError: If a run failed.
    """
    assert effort.store is not None
    specs = [spec for group in cells.values() for spec in group]
    if effort.ask is not None:
        effort.ask(specs)
    if effort.workers == HERE:
        for spec in specs if effort.fresh else ():
            forget(spec, effort.store)
        found = iter([run_or_reuse(spec, effort.store, fresh=effort.fresh)[0] for spec in specs])
        return {cell: [next(found) for _ in group] for cell, group in cells.items()}
    wanted, ended = {spec.identity for spec in specs}, set[str]()

    def tell(event: SweepEvent) -> None:
        if event.outcome is not None:
            ended.add(event.spec.identity)
            effort.say(f"{what}: {len(ended)} of {len(wanted)} networks")

    outcomes = iter(execute(specs, effort.store, workers=effort.workers, fresh=effort.fresh, on_event=tell))

    def record() -> Record:
        outcome = next(outcomes)
        if outcome.record is None:
            raise UserError(f"{what}: a run failed: {outcome.error}")
        return outcome.record

    return {cell: [record() for _ in group] for cell, group in cells.items()}


def curve(
    run: Record, label: str, column: str, colour: int | str, style: Style = "faint", *, rest: bool = False
) -> Line:
    """A column of a run's history over its steps after the start; with `rest`, one minus it."""
    values = run.history[column][1:]
    return Line(label, run.history["step"][1:], 1 - values if rest else values, style, colour)


def sweep(
    symbol: str,
    values: Sequence[float],
    t1: npt.ArrayLike,
    t2: npt.ArrayLike,
    *bounds: tuple[str, npt.ArrayLike, int | str],
) -> Panel:
    """Times over the values of one knob.

    Args:
        symbol: The knob's.
        values: Its values.
        t1: Steps at each value.
        t2: Steps at each value.
        bounds: Label, steps at each value and colour of what a theorem says.

    Returns:
        The panel.
    """
    x = np.array(values, dtype=np.float64)
    measured = (Line("t1", x, np.asarray(t1)), Line("t2", x, np.asarray(t2), "solid", 1))
    proved = tuple(Line(label, x, np.asarray(y), "dashed", colour) for label, y, colour in bounds)
    return Panel(f"over {symbol}", symbol, STEP, measured + proved, marks=True)


def time(record: Record, name: str) -> float:
    """One of a run's times; infinite if it is missing."""
    value = record.summary["times"][name]
    return np.inf if value is None else float(value)


def step_text(value: float) -> str:
    """A time in words."""
    return f"{value:,.0f}" if np.isfinite(value) else "never"


def number(time: int | None) -> float:
    """A time as a float, not-a-number if there is none."""
    return float("nan") if time is None else float(time)


def slope(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Slope of the least-squares line through (ln x, ln y).

    Args:
        x: Positive numbers.
        y: Positive numbers, as many.

    Returns:
        The slope.

    Example:
        >>> round(slope([1, 10, 100], [3, 0.3, 0.03]), 12)
        -1.0
    """
    return float(np.polyfit(np.log(np.asarray(x, dtype=np.float64)), np.log(np.asarray(y, dtype=np.float64)), 1)[0])


def near(claim: str, value: float, wanted: float, allowed: float) -> Check:
    """A claim about a number: passed if it is within `allowed` of `wanted`."""
    text = f"{claim}: {wanted:g} ± {allowed:g}"
    return Check(text, f"{value:.4f}", bool(abs(value - wanted) <= allowed))


def late(ratios: npt.ArrayLike, least: float, *, prefix: str = "", digits: int = 0) -> Check:
    """A claim that the second clock is late: the smallest t2/t1 is at least so much; not-a-number fails."""
    smallest = float(np.min(ratios))
    told = f"least t2/t1 {smallest:,.{digits}f}"
    return Check(f"{prefix}t2 ≥ {least:g} t1 in every run", told, bool(smallest >= least))


def rising(claim: str, values: npt.ArrayLike) -> Check:
    """A claim that numbers increase from one to the next."""
    given = np.asarray(values, dtype=np.float64)
    return Check(claim, " < ".join(f"{value:,.0f}" for value in given), bool((np.diff(given) > 0).all()))


def falling(claim: str, values: npt.ArrayLike) -> Check:
    """A claim that numbers decrease from one to the next."""
    given = np.asarray(values, dtype=np.float64)
    return Check(claim, " > ".join(f"{value:.3g}" for value in given), bool((np.diff(given) < 0).all()))


def level(claim: str, values: npt.ArrayLike, factor: float) -> Check:
    """A claim that numbers hardly differ: largest over smallest is at most `factor`."""
    given = np.asarray(values, dtype=np.float64)
    spread = float(given.max() / given.min())
    return Check(f"{claim}: largest / smallest ≤ {factor:g}", f"{spread:.3f}", bool(spread <= factor))


def count(claim: str, held: npt.ArrayLike) -> Check:
    """A claim that has to hold in every cell."""
    cells = np.asarray(held, dtype=bool)
    return Check(claim, f"{int(cells.sum())} of {cells.size}", bool(cells.all() and cells.size > 0))
