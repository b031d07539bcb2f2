"""The comparison's rules: who is chosen, who is capped, who is faster; against settled times known in closed form."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from groktimizer.peers import PEERS, takes_penalty
from groktimizer.results import Record, Store
from groktimizer.studies import (
    Method,
    Protocol,
    Setting,
    compare,
    default_methods,
    parse_method,
    parse_settings,
    summarise,
    tune,
)
from groktimizer.studies.compare import _strongest
from groktimizer.studies.summary import spread, verdict
from groktimizer.studies.tuning import prior_order
from groktimizer.sweeps import Outcome, RunSpec, SweepEvent

SETTING = Setting("small", "modular-addition", {"p": 11})
WINDOW = 500


def outcome(spec: RunSpec, settled: float, every: int = 5) -> Outcome:
    """What a run yields whose settled time would be `settled`, within its budget."""
    seen = int(settled) if math.isfinite(settled) and settled + WINDOW <= spec.steps else None
    times = {"memorised": 5, "generalised": seen, "generalised_95": seen, "settled": seen, "evaluated_every": every}
    summary = {"times": times, "status": "grokked" if seen else "not-generalised", "steps": spec.steps, "seconds": 1.0,
               "passes": spec.steps, "peak_memory_bytes": 1, "state_bytes": 1}  # fmt: skip
    return Outcome(spec, Record(spec.canonical(), {"step": np.array([0])}, summary, {}))


def law(spec: RunSpec) -> float:
    """Settled time 10 + 2 / (lr · decay) + seed; lr 3e-2 never settles on an even seed."""
    options = spec.optimizer_options
    if options["lr"] == 3e-2 and spec.seed % 2 == 0:
        return math.inf
    return 10 + round(2.0 / (options["lr"] * (options["weight_decay"] or 1.0))) + spec.seed


class Runner:
    """Executes by the law and remembers every wave."""

    def __init__(self) -> None:
        self.waves: list[list[RunSpec]] = []

    def __call__(self, specs: Sequence[RunSpec]) -> list[Outcome]:
        self.waves.append(list(specs))
        return [outcome(spec, law(spec)) for spec in specs]


def test_tuning_chooses_the_cell_that_brute_force_chooses():
    run, protocol = Runner(), Protocol(seeds=[101], steps=5_000)
    tuning = tune(SETTING, "adamw", protocol, run)
    assert tuning.cells == len(PEERS["adamw"].grid) >= 8

    def brute(cell):
        times = [law(protocol.spec(SETTING, "adamw", cell, seed, 5_000)) for seed in (1, 2, 3)]
        return times.count(math.inf), float(np.median(times))

    assert tuning.method.options == min(PEERS["adamw"].grid, key=brute)
    assert tuning.method.kind == "tuned"
    assert [len(wave) for wave in run.waves] == [2, tuning.cells - 2, 3 * 2]
    assert {spec.seed for wave in run.waves for spec in wave} == {1, 2, 3}


def test_tuning_holds_the_penalty_and_takes_the_grid_that_fits_it():
    run, protocol = Runner(), Protocol(seeds=[101], steps=5_000)
    setting = Setting("mlp", "modular-addition")
    tuning = tune(setting, "groktimizer", protocol, run, {"penalty": "nuclear", "nesterov": True})
    assert tuning.cells == len(PEERS["groktimizer"].penalised_grid) >= 8
    specs = [spec for wave in run.waves for spec in wave]
    assert {spec.optimizer_options["penalty"] for spec in specs} == {"nuclear"}
    assert {spec.optimizer_options["weight_decay"] for spec in specs} == {None}
    assert tuning.method.options["penalty"] == "nuclear"
    held = tune(setting, "adam-subgradient", protocol, run, {"penalty": "l2", "weight_decay": "1e-4"})
    assert held.cells == 3  # one for each lr
    assert {trial.options["weight_decay"] for trial in held.trials} == {"1e-4"}


def test_tuning_caps_at_three_times_the_best_so_far():
    """Wave 1 has the whole budget; wave 2 three times the best of wave 1 plus the window; wave 3 of both."""
    run, protocol = Runner(), Protocol(seeds=[101], steps=5_000)
    tuning = tune(SETTING, "adamw", protocol, run)
    best = [min(law(spec) for wave in run.waves[:k] for spec in wave) for k in (1, 2)]
    assert {spec.steps for spec in run.waves[0]} == {5_000}
    assert {spec.steps for spec in run.waves[1]} == {3 * best[0] + WINDOW}
    assert {spec.steps for spec in run.waves[2]} == {3 * best[1] + WINDOW}
    for trial in tuning.trials:
        assert (trial.settled is None) == (law_of(trial) + WINDOW > trial.budget)


def law_of(trial) -> float:
    return law(Protocol(seeds=[1], steps=9).spec(SETTING, "adamw", trial.options, trial.seed, 9))


def test_the_first_wave_is_the_reference_cell():
    for peer in PEERS.values():
        order = prior_order(peer)
        assert sorted(order) == list(range(len(peer.grid)))
        if peer.tuned is not None and dict(peer.tuned) in [dict(cell) for cell in peer.grid]:
            assert dict(peer.grid[order[0]]) == dict(peer.tuned)


def test_dnf_counts_as_infinity():
    assert spread([100, None, 120]) == spread([120, 100, None])
    assert (spread([100, None, 120]).median, spread([100, None, 120]).high) == (120.0, None)
    assert spread([100, None, None]).median is None
    assert (spread([None]).median, spread([None]).low) == (None, None)


def row(label: str, times: Sequence[float], budget: int = 5_000, full: int = 5_000):
    spec = Protocol(seeds=[1], steps=budget).spec(SETTING, "adamw", {}, 1, budget)
    return summarise(Method(label, "adamw"), [outcome(spec, time) for time in times], budget, full)


def test_a_row_counts_failures_and_failed_runs():
    spec = Protocol(seeds=[1], steps=99).spec(SETTING, "adamw", {}, 1, 99)
    made = summarise(
        Method("x", "adamw"), [outcome(spec, math.inf), Outcome(spec, None, error="out of memory")], 99, 500
    )
    assert (made.successes, made.statuses, made.errors) == (0, ["censored", "failed"], ["out of memory"])
    assert made.times == [None, None] and made.success[0] == 0.0
    nearer = outcome(spec, math.inf)
    assert nearer.record is not None
    record = replace(nearer.record, summary={**nearer.record.summary, "status": "nearer"})
    capped = summarise(Method("x", "adamw"), [replace(nearer, record=record)], 99, 500)
    assert capped.statuses == ["censored"]


def test_faster_needs_a_test_that_says_so():
    fast, slow = row("a", [100, 101, 102, 103, 104, 105]), row("b", [200, 210, 190, 205, math.inf, 220])
    mixed = row("c", [90, 250, 80, 260, 190, 200])
    assert verdict(fast, fast) is None
    assert [getattr(verdict(a, b), "verdict", "") for a, b in ((fast, slow), (slow, fast), (mixed, slow))] == [
        "faster",
        "slower",
        "level",
    ]


def test_a_capped_method_is_judged_by_the_times_that_its_budget_could_show():
    """A cap of 620 steps hides what settles after step 120: the reference's 130 and more are then DNF as well."""
    reference = row("b", [130, 140, 150, 160, 170, 180])
    whole, capped = row("a", [math.inf] * 6), row("a", [math.inf] * 6, budget=620)
    told = [getattr(verdict(a, reference), "verdict", "") for a in (whole, capped)]
    assert told == ["slower", "level"] and capped.evaluated_every == 5
    assert getattr(verdict(capped, row("b", [90] * 6)), "verdict", "") == "slower"


@pytest.mark.parametrize("seeds", [[101, 3], [2], [1, 2, 3, 4, 5, 6]])
def test_a_tuned_method_is_never_reported_on_its_tuning_seeds(tmp_path, seeds):
    protocol = Protocol(seeds=seeds, steps=10)
    run = Runner()
    with pytest.raises(ValueError, match=r"tuning is done on seeds 1, 2, 3, report on others"):
        tune(SETTING, "adamw", protocol, run)
    with pytest.raises(ValueError, match=r"--seeds .*: tuning is done on"):
        compare([SETTING], [], protocol, Store(tmp_path), tuned=["adamw"])
    assert not run.waves and not Store(tmp_path).query()
    fresh = Protocol(seeds=seeds, steps=10, tuning_seeds=(7, 8))
    assert {spec.seed for wave in (tune(SETTING, "adamw", fresh, run), run)[1].waves for spec in wave} == {7, 8}


@pytest.mark.parametrize(
    ("text", "options", "complaint"),
    [
        ("width=8,width=16", {}, "'width=8,width=16': width is given twice"),
        ("width=8, width=8", {}, "width is given twice"),
        ("seed=1;width=8;", {"p": "5"}, "unknown option 'seed'|option"),
        ("width=8;", {}, "'': expected key=value"),
        (";width=8", {}, "'': expected key=value"),
        ("width=8,", {}, "'width=8,': expected key=value,key=value;… got ''"),
        ("width=8,,p=5", {}, "got ''"),
        ("p=97;width=8;train_fraction=0.4", {}, "'train_fraction=0.4': the same setting as 'p=97'"),
        ("width=8;width= 8", {}, "the same setting as 'width=8'"),
        ("train_fraction=0.3", {"train_fraction": "0.5"}, "0.5 by --set for every setting, 0.3 by the setting"),
    ],
)
def test_settings_that_contradict_or_repeat_themselves_are_refused(text, options, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse_settings("modular-addition", text, options)


def test_the_default_methods_suit_the_penalty_and_the_task():
    for quick in (False, True):
        penalised = default_methods("sparse-recovery", "l1", quick=quick)
        assert set(penalised) == {"groktimizer", "proximal", "subgradient", "adam-subgradient"}
        assert penalised[0] == "groktimizer" and all(takes_penalty(name) for name in penalised)
        assert "adamw-tuned" in default_methods("modular-addition", "l2", quick=quick)
        convex = default_methods("ridge", None, quick=quick)
        assert "adamw" in convex and not any(name.endswith("-tuned") for name in convex)
        assert {*penalised, *convex} <= set(PEERS)


def test_settings_and_methods_are_read_from_text():
    settings = parse_settings(
        "modular-addition", "train_fraction=0.3; model=transformer,train_fraction=0.2", {"p": "23"}
    )
    assert [setting.name for setting in settings] == ["mlp, 30 % train, p=23", "transformer, 20 % train, p=23"]
    assert parse_method("adamw-tuned").kind == "reference" and parse_method("muon").kind == "untuned"
    assert parse_method("adamw", {"lr": "1", "alpha": "2"}).options == {"lr": "1"}


@pytest.mark.slow
def test_a_real_comparison(tmp_path):
    """Ridge, where theory orders the methods: memorisation without decay never generalises, with decay it does."""
    protocol = Protocol(seeds=[1, 2, 3, 4, 5, 6], steps=3_000, precision="fp64", cap=3)
    setting = parse_settings("ridge", "n=10,m=100", {})[0]
    methods = [
        Method("decay", "sgd", {"lr": 1.0, "weight_decay": 1e-2}, "tuned"),
        Method("no decay", "sgd", {"lr": 1.0, "weight_decay": 0.0}),
    ]
    places: list[tuple[int, int]] = []
    said: list[str] = []

    def note(event: SweepEvent) -> None:
        if event.outcome is not None:
            places.append(event.place)

    done = compare(
        [setting], methods, protocol, Store(tmp_path), reference="decay", on_event=note, on_stage=said.append
    )
    assert places == [(k, 12) for k in range(1, 13)]  # the leader's six, then the others'
    assert said[0].endswith("12 runs, the best known methods first")
    assert said[1:] == ["  decay is sgd lr 1 weight_decay 0.01", "  no decay is sgd lr 1 weight_decay 0"]
    decay, none = done.panels[0].rows
    assert decay.successes == 6 and none.successes == 0
    assert decay.settled.median is not None and decay.verdict is None
    assert none.budget == min(3_000, int(3 * decay.settled.median) + WINDOW)
    assert none.verdict is not None and none.verdict.verdict == "slower"
    assert len(Store(tmp_path).query()) == 12


@pytest.mark.parametrize(
    ("names", "tuned", "expected"),
    [
        (["sgd", "adamw"], [], "adamw lr=0.1"),
        (["adamw", "adamw-tuned"], [], "adamw-tuned lr=0.1"),
        (["adamw-tuned"], ["adamw"], "adamw (tuned)"),
        (["sgd", "muon"], [], "sgd lr=0.1"),
    ],
)
def test_the_reference_is_the_strongest_adamw_whatever_its_row_is_called(names, tuned, expected):
    methods = [Method(f"{name} lr=0.1", name, {"lr": 0.1}, "given") for name in names]
    assert _strongest(methods, tuned) == expected


@pytest.mark.parametrize(
    ("labels", "reference", "complaint"),
    [([], None, "name at least one"), (["a", "a"], None, "one method twice"), (["a"], "b", "expected one of a")],
)
def test_a_comparison_of_nothing_is_refused(tmp_path, labels, reference, complaint):
    methods = [Method(label, "sgd") for label in labels]
    with pytest.raises(ValueError, match=complaint):
        compare([SETTING], methods, Protocol(seeds=[1], steps=1), Store(tmp_path), reference=reference)
