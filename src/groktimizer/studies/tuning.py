"""Choosing a method's cell on tuning seeds, with one budget for every method."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from groktimizer.measures import median_with_dnf
from groktimizer.peers import Peer, resolve
from groktimizer.studies.protocol import Method, Protocol, Setting
from groktimizer.sweeps import Outcome, RunSpec

FIRST_WAVE = 2
FINALISTS = 3
Runner = Callable[[Sequence[RunSpec]], list[Outcome]]


@dataclass(frozen=True)
class Trial:
    """One run of one cell.

    Attributes:
        options: the cell.
        seed: tuning seed.
        settled: settled time in steps, None if it did not settle within `budget`.
        budget: steps it was given; fewer than the protocol's means that it was stopped as a censored DNF.
        identity: of its record, None if the run failed.
        error: why there is no record.
    """

    options: Mapping[str, object]
    seed: int
    settled: int | None
    budget: int
    identity: str | None
    error: str | None = None


@dataclass(frozen=True)
class Tuning:
    """How a method was tuned.

    Attributes:
        optimizer: its name.
        cells: size of the grid.
        trials: every run.
        method: the method at its best cell.
    """

    optimizer: str
    cells: int
    trials: Sequence[Trial]
    method: Method


def tune(
    setting: Setting, optimizer: str, protocol: Protocol, run: Runner, held: Mapping[str, object] | None = None
) -> Tuning:
    """Choose the best cell of an optimizer's grid.

    All cells run on the first tuning seed: the two that the reference cell suggests first, then the others, each
    stopped at three times the best settled time so far (plus the window). The best three run on the other tuning
    seeds. Best is: fewest failures, then the smallest median of the settled times (failure = +∞), then the order of
    the grid. Waves do not depend on how many processes there are, so neither does the choice.

    Args:
        setting: the task.
        optimizer: name of the optimizer.
        protocol: seeds and budget.
        run: executes specifications.
        held: options that are not tuned, such as the penalty; those that the optimizer does not have are left out.

    Returns:
        The choice and every trial.
    """
    protocol.check_fresh()
    peer, _ = resolve(optimizer)
    peer = peer.holding({key: value for key, value in (held or {}).items() if key in peer.defaults})
    order = prior_order(peer)
    first, *others = protocol.tuning_seeds
    trials: list[Trial] = []
    for wave in (order[:FIRST_WAVE], order[FIRST_WAVE:]):
        trials += _wave(setting, peer, [(cell, first) for cell in wave], protocol, (run, trials))
    finalists = sorted(order, key=lambda cell: _rank(peer, trials, cell))[:FINALISTS]
    trials += _wave(setting, peer, [(cell, seed) for cell in finalists for seed in others], protocol, (run, trials))
    best = min(finalists, key=lambda cell: _rank(peer, trials, cell))
    return Tuning(optimizer, len(order), trials, Method(f"{optimizer} (tuned)", optimizer, peer.grid[best], "tuned"))


def prior_order(peer: Peer) -> list[int]:
    """Cells in the order in which they run: the reference cell, the middle of the grid, then the rest as written."""
    cells = list(range(len(peer.grid)))
    known = [k for k in cells if peer.tuned is not None and dict(peer.grid[k]) == dict(peer.tuned)]
    chosen = dict.fromkeys([*known, len(cells) // 2 - 1, len(cells) // 2])
    return list(dict.fromkeys([*list(chosen)[:FIRST_WAVE], *cells]))


def _wave(
    setting: Setting,
    peer: Peer,
    pairs: Sequence[tuple[int, int]],
    protocol: Protocol,
    known: tuple[Runner, Sequence[Trial]],
) -> list[Trial]:
    run, before = known
    times = [trial.settled for trial in before if trial.settled is not None]
    budget = protocol.capped(min(times, default=None))
    specs = [protocol.spec(setting, peer.name, peer.grid[cell], seed, budget) for cell, seed in pairs]
    return [
        Trial(peer.grid[cell], seed, _settled(outcome), budget, outcome.record and outcome.spec.identity, outcome.error)
        for (cell, seed), outcome in zip(pairs, run(specs), strict=True)
    ]


def _settled(outcome: Outcome) -> int | None:
    return None if outcome.record is None else outcome.record.summary["times"]["settled"]


def _rank(peer: Peer, trials: Sequence[Trial], cell: int) -> tuple[int, float, int]:
    times = [trial.settled for trial in trials if trial.options == peer.grid[cell]]
    return times.count(None), median_with_dnf(times), cell
