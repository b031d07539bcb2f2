"""What a table will cost, before it is computed: runs, cells and minutes, from a measured time per step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from groktimizer.measures.times import WINDOW_STEPS
from groktimizer.peers import tunable
from groktimizer.studies.protocol import Protocol
from groktimizer.studies.series import SHIPPED_CAP
from groktimizer.studies.standard import OURS, SHIPPED, Entry
from groktimizer.studies.tuning import FINALISTS, FIRST_WAVE
from groktimizer.sweeps import step_seconds


class Runs(NamedTuple):
    """Runs of one kind.

    Attributes:
        optimizer: what they run.
        number: how many.
        steps: of each, if the best methods settle when the table says so.
        most: of each, if nothing ever settles.
    """

    optimizer: str
    number: int
    steps: int
    most: int


@dataclass(frozen=True)
class Forecast:
    """The cost of a row.

    Attributes:
        label: of the row.
        runs: how many runs.
        cells: of all grids.
        ms: milliseconds of a step of GROKtimizer, evaluations included.
        seconds: of one processor, if the best methods settle when the table says so.
        most: of one processor, if nothing ever settles.
    """

    label: str
    runs: int
    cells: int
    ms: float
    seconds: float
    most: float


def runs_of(entry: Entry, rules: Protocol) -> list[Runs]:
    """List the runs of a row.

    Of the first two cells of a grid one is taken to settle and the other to use its whole budget; the rest to run until
    they are stopped, finalists and reported runs to settle within twice the time of the fastest method.

    Args:
        entry: the row.
        rules: its protocol.

    Returns:
        Runs by optimizer and kind.
    """
    whole = rules.steps
    near = min(whole, 2 * entry.settles + WINDOW_STEPS)
    cut = rules.capped(entry.settles)
    finals = FINALISTS * (len(rules.tuning_seeds) - 1)
    found: list[Runs] = []
    for place, name in enumerate(entry.tuned):
        first = min(FIRST_WAVE, cells := len(tunable(name).grid))
        found += [Runs(name, first, (near + whole) // 2, whole), Runs(name, cells - first, cut, whole)]
        found += [Runs(name, finals, near, whole), Runs(name, entry.fewer if place else entry.seeds, near, whole)]
    found += [Runs(OURS.optimizer, entry.seeds, near, whole)]
    long = SHIPPED_CAP * entry.settles + WINDOW_STEPS
    found += [Runs(SHIPPED.optimizer, entry.fewer, long, max(whole, long))]
    return found + [Runs(name, entry.fewer, cut, whole) for name in entry.defaults]


def forecast(
    entries: Sequence[Entry],
    rules: Callable[[Entry], Protocol],
    workers: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Forecast]:
    """Measure a few steps of every optimizer in every row, side by side as they will run, and add up.

    Args:
        entries: rows, from `check_entries`.
        rules: of each.
        workers: processes at a time, None for one per core.
        say: called with a sentence when a row begins.

    Returns:
        The cost of each row. The records of the probes are thrown away.
    """
    found: list[Forecast] = []
    _measured(entries[0], rules(entries[0]), [OURS.optimizer], workers)  # the first process waits for the server
    for entry in entries:
        say(f"timing a few steps: {entry.label}")
        found.append(_row(entry, rules(entry), workers))
    return found


def _row(entry: Entry, rules: Protocol, workers: int | None) -> Forecast:
    runs = runs_of(entry, rules)
    per_step, start = _measured(entry, rules, sorted({kind.optimizer for kind in runs}), workers)

    def total(steps: Callable[[Runs], int]) -> float:
        return sum(kind.number * (start + per_step[kind.optimizer] * steps(kind)) for kind in runs)

    return Forecast(
        label=entry.label,
        runs=sum(kind.number for kind in runs),
        cells=sum(len(tunable(name).grid) for name in entry.tuned),
        ms=1_000 * per_step[OURS.optimizer],
        seconds=total(lambda kind: kind.steps),
        most=total(lambda kind: kind.most),
    )


def _measured(
    entry: Entry, rules: Protocol, optimizers: Sequence[str], workers: int | None
) -> tuple[dict[str, float], float]:
    """Seconds of a step of each optimizer, and of the beginning and end of a run, with all processes busy."""
    specs = [rules.spec(entry.setting, name, {}, rules.seeds[0], rules.steps) for name in optimizers]
    per_step, start = step_seconds(specs, workers)
    return dict(zip(optimizers, per_step, strict=True)), start
