"""Comparisons one after the other, the rows of a table, and how each ended: in forward-backward passes."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from groktimizer.ground.errors import UserError
from groktimizer.measures import PairedDifference, median_with_dnf, paired_bootstrap
from groktimizer.measures.times import WINDOW_STEPS
from groktimizer.peers import resolve, tunable
from groktimizer.results import Store
from groktimizer.studies.compare import Panel, run_rows
from groktimizer.studies.protocol import Method, Protocol
from groktimizer.studies.standard import OURS, SHIPPED, Entry
from groktimizer.studies.summary import Row, Spread, spread, verdict
from groktimizer.studies.tuning import Runner, Tuning, tune
from groktimizer.sweeps import RunSpec, check_limits

SHIPPED_CAP = 10  # the shipped AdamW gets this many times GROKtimizer's settled time


@dataclass(frozen=True)
class Side:
    """A method in a row of the table.

    Attributes:
        label: of the method.
        options: overrides of its options.
        passes: settled time of each seed in passes, None for DNF.
        settled: their median and range.
        budget: passes after which a run without settling would have been too late.
    """

    label: str
    options: Mapping[str, object]
    passes: Sequence[int | None]
    settled: Spread
    budget: int

    @property
    def successes(self) -> int:
        """Seeds that settled."""
        return len(self.passes) - list(self.passes).count(None)


@dataclass(frozen=True)
class Standing:
    """How a row of the table ended.

    Attributes:
        label: of the row.
        timed: whether times count.
        ours: GROKtimizer untuned.
        best: the tuned method with the smallest median; None if none of them settled on half of its seeds.
        shipped: AdamW at the setting that most code bases ship.
        ratio: our median over the best one's; None if neither is there, 0 if ours alone, +∞ if theirs alone.
        verdict: paired difference of passes to the best on common seeds.
        contested: whether some peer (any method but GROKtimizer) settled on some seed.
        network_ours: passes to obtain one settled network by GROKtimizer untuned; None if no seed settled.
        network_adamw: the same by AdamW with its tuning; None if no seed settled.
    """

    label: str
    timed: bool
    ours: Side
    best: Side | None
    shipped: Side
    ratio: float | None
    verdict: PairedDifference | None
    contested: bool
    network_ours: float | None
    network_adamw: float | None


@dataclass(frozen=True)
class Tally:
    """The table in numbers.

    Attributes:
        rows: rows in which times count.
        level: of them, those in which our median is at most the best peer's.
        near: those in which it is at most 1.5 times the best peer's.
        shipped: those in which it is at most a third of the shipped AdamW's.
        networks: median over them of AdamW's passes for one settled network over ours; None if there is none.
        contested: rows, timed or not, in which a peer settled on some seed.
        settled: of these, those in which GROKtimizer untuned settled on every seed.
    """

    rows: int
    level: int
    near: int
    shipped: int
    networks: float | None
    contested: int
    settled: int


@dataclass(frozen=True)
class Series:
    """A finished table.

    Attributes:
        panels: the comparison of each row.
        protocols: its rules.
        standings: how it ended.
        tally: all of them in numbers.
    """

    panels: Sequence[Panel]
    protocols: Sequence[Protocol]
    standings: Sequence[Standing]
    tally: Tally

    def content(self) -> dict[str, Any]:
        """Everything as plain nested content, for JSON, tables and figures."""
        return asdict(self)


def methods_of(entry: Entry) -> list[Method]:
    """What a row runs untuned."""
    return [OURS, SHIPPED, *(Method(name, name) for name in entry.defaults)]


def check_entries(entries: Sequence[Entry], rules: Callable[[Entry], Protocol]) -> dict[str, Any]:
    """Refuse a table with a row that cannot run.

    Args:
        entries: rows.
        rules: of each.

    Returns:
        Everything that determines the table.

    Raises:
        UserError: if a task, an option or an optimizer of a row is unknown or does not suit it, or two rows have one
            label; one line that names the row.
    """
    labels = [entry.label for entry in entries]
    if len(set(labels)) < len(labels):
        raise UserError(f"rows {', '.join(labels)}: expected each label once")
    return {"table": [_checked(entry, rules) for entry in entries]}


def _checked(entry: Entry, rules: Callable[[Entry], Protocol]) -> dict[str, Any]:
    try:
        protocol = rules(entry)
        protocol.check_fresh()
        peers = [tunable(name) for name in entry.tuned]
        cells = [(peer.name, cell) for peer in peers for cell in peer.grid]
        specs = _first(entry, protocol, [(method.optimizer, method.options) for method in methods_of(entry)] + cells)
        check_limits(specs)
    except UserError as error:
        raise UserError(f"row {entry.label!r}: {error}") from error
    kept = {"label": entry.label, "timed": entry.timed, "fewer": entry.fewer, "tuned": list(entry.tuned)}
    return {**kept, "rules": asdict(protocol), "runs": [spec.identity for spec in specs]}


def _first(entry: Entry, rules: Protocol, cells: Sequence[tuple[str, Mapping[str, object]]]) -> list[RunSpec]:
    """The run of each cell on the first seed."""
    return [rules.spec(entry.setting, name, cell, rules.seeds[0], rules.steps) for name, cell in cells]


def compare_all(
    entries: Sequence[Entry],
    rules: Callable[[Entry], Protocol],
    store: Store,
    run: Runner,
    say: Callable[[str], None] = lambda _: None,
) -> Series:
    """Compare in every row, one after the other; what is recorded is not run again.

    Args:
        entries: rows, from `check_entries`.
        rules: of each.
        store: where `run` keeps its records.
        run: executes specifications.
        say: called with a sentence when a new stage begins.

    Returns:
        The table. In each row GROKtimizer untuned and the tuned methods have the whole budget; the shipped AdamW is
        stopped at ten times GROKtimizer's median, the methods at their defaults at three times the best one.
    """
    panels: list[Panel] = []
    standings: list[Standing] = []
    for number, entry in enumerate(entries, 1):
        where = f"row {number} of {len(entries)}, {entry.label}"
        panels.append(_panel(entry, rules(entry), run, lambda text, where=where: say(f"{where}: {text}")))
        standings.append(_standing(entry, panels[-1], store))
    return Series(panels, [rules(entry) for entry in entries], standings, tally(standings))


def _panel(entry: Entry, rules: Protocol, run: Runner, say: Callable[[str], None]) -> Panel:
    """The comparison of one row: the leaders with the whole budget, then what is stopped at a multiple of theirs."""
    tunings: list[Tuning] = []
    for name in entry.tuned:
        say(f"tuning {name}")
        tunings.append(tune(entry.setting, name, rules, run))
    say(f"comparing on {len(rules.seeds)} seeds")
    few = replace(rules, seeds=rules.seeds[: entry.fewer])
    first, *rest = [tuning.method for tuning in tunings]
    rows = run_rows(entry.setting, [OURS, first], rules, rules.steps, run)
    rows |= run_rows(entry.setting, rest, few, rules.steps, run)
    best = min(median_with_dnf(row.times) for row in rows.values())
    ours = median_with_dnf(rows[OURS.label].times)
    long = replace(few, cap=SHIPPED_CAP, steps=max(rules.steps, _after(SHIPPED_CAP, ours)))
    rows |= run_rows(entry.setting, [SHIPPED], long, long.capped(_finite(ours) or rules.steps / SHIPPED_CAP), run)
    others = [method for method in methods_of(entry) if method not in (OURS, SHIPPED)]
    rows |= run_rows(entry.setting, others, few, few.capped(_finite(best)), run)
    judged = [replace(row, verdict=verdict(row, _on_the_seeds_of(row, rows[first.label]))) for row in rows.values()]
    return Panel(entry.setting, judged, tunings, first.label)


def _finite(time: float) -> float | None:
    return time if math.isfinite(time) else None


def _after(cap: int, time: float) -> int:
    return int(cap * time) + WINDOW_STEPS if math.isfinite(time) else 0


def _on_the_seeds_of(row: Row, other: Row) -> Row:
    return replace(other, seeds=row.seeds, times=other.times[: len(row.times)])


def _standing(entry: Entry, panel: Panel, store: Store) -> Standing:
    rows = {row.method.label: row for row in panel.rows}
    sides = {label: _side(row, store) for label, row in rows.items()}
    ours, rivals = sides[OURS.label], [row for row in panel.rows if _peer(row) != OURS.optimizer]
    tuned = [sides[row.method.label] for row in rivals if row.method.kind == "tuned"]
    best = min(tuned, key=lambda side: median_with_dnf(side.passes))
    common = min(len(best.passes), len(ours.passes))
    adamw = next(tuning for tuning in panel.tunings if tuning.method.label == panel.reference)
    return Standing(
        label=entry.label,
        timed=entry.timed,
        ours=ours,
        best=best if best.settled.median is not None else None,
        shipped=sides[SHIPPED.label],
        ratio=ratio_of(ours.settled.median, best.settled.median),
        verdict=paired_bootstrap(ours.passes[:common], best.passes[:common]),
        contested=any(row.successes for row in rivals),
        network_ours=_network(rows[OURS.label], None, store),
        network_adamw=_network(rows[panel.reference], adamw, store),
    )


def _peer(row: Row) -> str:
    return resolve(row.method.optimizer)[0].name


def ratio_of(ours: float | None, theirs: float | None) -> float | None:
    """Divide two medians of which each may be +∞, written None.

    Args:
        ours: the one.
        theirs: the other.

    Returns:
        The ratio; None if neither is finite.

    Example:
        >>> ratio_of(50.0, 100.0), ratio_of(50.0, None), ratio_of(None, 100.0), ratio_of(None, None)
        (0.5, 0.0, inf, None)
    """
    if ours is None:
        return None if theirs is None else math.inf
    return 0.0 if theirs is None else ours / theirs


def _side(row: Row, store: Store) -> Side:
    runs = list(zip(row.runs, row.times, strict=True))
    passes = [None if run is None or time is None else passes_until(store, run, time) for run, time in runs]
    latest = max(1, row.budget - WINDOW_STEPS)
    budget = max((passes_until(store, run, latest) for run, _ in runs if run is not None), default=latest)
    return Side(row.method.label, row.method.options, passes, spread(passes), budget)


def passes_until(store: Store, identity: str, step: int) -> int:
    """Read how many forward-backward passes a run had done at a step.

    Args:
        store: where its record is.
        identity: of the record.
        step: the step; of a run that ended earlier its last one.

    Returns:
        Passes at the first evaluation from that step on.

    Raises:
        UserError: if the record is of a version that did not count them step by step.
    """
    history = store.load(identity).history
    if "passes" not in history:
        raise UserError(f"record {identity} does not count its passes step by step: run it again with --fresh")
    place = min(int(np.searchsorted(history["step"], step)), len(history["step"]) - 1)
    return int(history["passes"][place])


def _network(row: Row, tuning: Tuning | None, store: Store) -> float | None:
    """Passes to obtain one settled network: all of tuning's, and those of the runs per run that settled."""
    if not row.successes:
        return None
    trials = [] if tuning is None else tuning.trials
    runs = [_cost(store, run, time, row.budget) for run, time in zip(row.runs, row.times, strict=True)]
    return sum(runs) / row.successes + sum(_cost(store, one.identity, one.settled, one.budget) for one in trials)


def _cost(store: Store, identity: str | None, settled: int | None, budget: int) -> int:
    """Passes until a run settled; of one that did not, all but those of the window that only observes."""
    until = max(1, budget - WINDOW_STEPS) if settled is None else settled
    return until if identity is None else passes_until(store, identity, until)


def tally(standings: Sequence[Standing]) -> Tally:
    """Count in how many rows what holds.

    Args:
        standings: how the rows ended.

    Returns:
        The numbers.
    """
    timed = [row for row in standings if row.timed]
    ratios = [row.ratio for row in timed if row.ratio is not None]
    shipped = [ratio_of(row.ours.settled.median, row.shipped.settled.median) for row in timed]
    networks = [ratio_of(row.network_adamw, row.network_ours) for row in timed]
    known = [ratio for ratio in networks if ratio is not None]
    contested = [row for row in standings if row.contested]
    return Tally(
        rows=len(timed),
        level=sum(ratio <= 1.0 for ratio in ratios),
        near=sum(ratio <= 1.5 for ratio in ratios),
        shipped=sum(ratio is not None and ratio <= 1 / 3 for ratio in shipped),
        networks=median(known) if known else None,
        contested=len(contested),
        settled=sum(row.ours.successes == len(row.ours.passes) for row in contested),
    )
