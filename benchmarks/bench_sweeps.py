"""What a sweep costs beside its cells: plan, store, listing, going on; two processes against one, Ray, the report."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from measuring import Ratio, Table

import busy
from groktimizer.peers import find_peer
from groktimizer.results import FIT, Record, Store, provenance, query
from groktimizer.sweeps import Sweep, planned, run_sweep
from groktimizer.sweeps.cells import Clock
from groktimizer.sweeps.executors import Done, Job, Local
from groktimizer.sweeps.reader import parse_sweep
from groktimizer.tasks import make_task
from groktimizer.training import Asked, train, train_stack
from groktimizer.training.session import Session
from in_process import Here

MANY, LISTED, LONG = 10_000, 100_000, 10.0
NOTHING = {"memorised": 1, "memorised_settled": 1, "generalised": 2, "settled": 2, "delay": 1}
# Between us and the command: the peak of a process counts that of the one that it was started from.
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.fixture(autouse=True)
def nothing_to_compute(monkeypatch: pytest.MonkeyPatch):
    """Clocks that know the answer: what is left is what the sweep itself costs."""

    def compute(self: Clock, *_: object) -> Record:
        content = {"times": NOTHING, "status": "grokked", "advice": ""}
        return Record.of("prediction", self.canonical(), content, provenance(1))

    monkeypatch.setattr(Clock, "compute", compute)


def grid(count: int) -> Sweep:
    """So many cells: ten learning rates, ten decays, seeds."""
    text = "task: ridge\nkind: clock\nset: {lr: {log: [0.1, 1], num: 10}, weight_decay: {log: [1e-4, 1e-2], num: 10}}\n"
    return parse_sweep(f"{text}seeds: {count // 100}", "grid")


def test_overhead_and_going_on(tmp_path: Path, table: Table) -> None:
    store, began = Store(tmp_path), time.perf_counter()
    sweep = grid(MANY)
    _, plan = planned(sweep, store, 1)
    done = run_sweep(sweep, store, plan, workers=1, executor=Here())
    spent = time.perf_counter() - began
    assert done.done == MANY
    table.add(Ratio(f"plan, computing nothing and store, {MANY:,} cells, a cell", 1e3 * spent / MANY, 2.0, "ms"))
    began = time.perf_counter()
    sweep, store = grid(MANY), Store(tmp_path)
    _, plan = planned(sweep, store, 1)
    again = run_sweep(sweep, store, plan, workers=1, executor=Here())
    assert again.recorded == MANY
    table.add(Ratio(f"a finished sweep of {MANY:,} cells again", time.perf_counter() - began, 3.0, "s"))


def test_listing(tmp_path: Path, table: Table) -> None:
    query.table_of(Store(tmp_path))  # polars is loaded
    store = Store(tmp_path)
    for start in range(0, LISTED, 4_000):
        store.save_all([_record(seed) for seed in range(start, start + 4_000)])
    began = time.perf_counter()
    found = query.select(query.table_of(Store(tmp_path)), ["settled<500", "lr=0.1"])
    seconds = time.perf_counter() - began
    assert 0 < len(found) < LISTED
    table.add(Ratio(f"listing and filtering {LISTED:,} records, polars loaded", seconds, 1.0, "s"))


def _record(seed: int) -> Record:
    spec = {"clock": "exact", "task": {"name": "ridge", "options": {"n": 10, "m": 40}}, "seed": seed, "lr": 0.1,
            "weight_decay": 1e-3}  # fmt: skip
    times = {"memorised": seed % 100, "settled": seed % 1_000}
    return Record.of(FIT, spec, {"times": times, "status": "grokked"}, {"created": "2026-01-01"})


def _seconds(executor: Any, cells: int, seconds: float, place: Path) -> float:
    jobs = [Job((busy.Busy(number, seconds),), (place / f"{number}",)) for number in range(cells)]
    found: list[Done] = []
    began = time.perf_counter()
    executor.run(jobs, found.append, lambda *_: None)
    assert len(found) == cells and all(done.record is not None for done in found)
    return time.perf_counter() - began


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)  # of Ray's own
def test_two_processes_against_one_and_ray(tmp_path: Path, table: Table) -> None:
    from groktimizer.sweeps.executors.cluster import Ray, prepare_environment

    prepare_environment()  # what Ray reads when it is imported
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(busy)  # the cluster does not have this file
    _seconds(Local(2), 2, 0.1, tmp_path)  # the server of processes is there
    two = _seconds(Local(2), 6, LONG, tmp_path)
    one = _seconds(Local(1), 6, LONG, tmp_path)
    table.add(Ratio("one process over two, cells of 10 s", one / two, 1.8, at_least=True))
    began = time.perf_counter()
    _seconds(Ray("local", 2), 2, 0.1, tmp_path)
    start = time.perf_counter() - began
    ray = _seconds(Ray("local", 2), 6, LONG, tmp_path) - start
    table.add(Ratio(f"Ray on two cores over local, its start ({start:.1f} s) aside", ray / two, 1.1))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "groktimizer"])
def test_runs_side_by_side(optimizer: str, table: Table) -> None:
    """One core, as it is evaluated by default; the same 500 steps."""
    task, peer = make_task("modular-addition", {"p": 23, "width": 32, "batch_size": 64}), find_peer(optimizer)
    runs = [Asked(lambda model: peer.build(model, peer.options({})), seed) for seed in range(64)]

    def alone(some: Sequence[Asked], steps: int) -> float:
        began = time.perf_counter()
        for one in some:
            train(task, one.build_optimizer, seed=one.seed, steps=steps, stop_on_settled=False)
        return (time.perf_counter() - began) / len(some)

    def stacked(some: Sequence[Asked], steps: int) -> float:
        began = time.perf_counter()
        assert len(dict(train_stack(task, some, steps=steps, stop_on_settled=False))) == len(some)
        return (time.perf_counter() - began) / len(some)

    alone(runs[:1], 20)
    stacked(runs[:4], 20)
    each = [alone(runs[:4], 500), stacked(runs, 500), alone(runs[4:8], 500)]
    table.add(
        Ratio(f"{optimizer}: one by one over 64 side by side", (each[0] + each[2]) / 2 / each[1], 3.0, at_least=True)
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("modular-addition", {}),
        ("modular-addition", {"model": "transformer"}),
        ("s5-composition", {}),
        ("ridge", {}),
        ("digits", {}),
        ("tabular", {}),
    ],
    ids=lambda given: given if isinstance(given, str) else "-".join(given.values()),
)
def test_evaluations(name: str, options: dict[str, object], table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """As often as by default, untuned GROKtimizer."""
    spent, evaluate = 0.0, Session.evaluate

    def timed(self: Session, *, full: bool) -> None:
        nonlocal spent
        began = time.perf_counter()
        evaluate(self, full=full)
        spent += time.perf_counter() - began

    monkeypatch.setattr(Session, "evaluate", timed)
    ours = find_peer("groktimizer")
    began = time.perf_counter()
    train(make_task(name, options), lambda model: ours.build(model, ours.options({})), steps=300, stop_on_settled=False)
    share = spent / (time.perf_counter() - began)
    label = ", ".join([name, *map(str, options.values())])
    table.add(Ratio(f"evaluations of 300 steps, {label}", 100 * share, 10.0, "%"))


def test_the_report_of_a_thousand_runs(tmp_path: Path, table: Table) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("task: ridge\noptimizer: sgd\nset: {n: 20, m: 100, lr: {log: [0.1, 1], num: 10}, "
                    "weight_decay: {log: [1e-3, 0.1], num: 10}}\nseeds: 10\nsteps: 200\n")  # fmt: skip
    words = [sys.executable, "-m", "groktimizer"]
    subprocess.run([*words, "sweep", str(file), "--out", str(tmp_path / "out")], check=True)
    began = time.perf_counter()
    launched = subprocess.run([sys.executable, "-c", PEAK, *words, "report", str(tmp_path / "out")],
                              check=True, stdout=subprocess.PIPE, text=True)  # fmt: skip
    seconds = time.perf_counter() - began
    memory = int(launched.stdout.splitlines()[-1]) / 1e6
    size = (tmp_path / "out" / "report.html").stat().st_size / 1e6
    table.add(Ratio("report of 1,000 runs", seconds, 30.0, "s"))
    table.add(Ratio("report of 1,000 runs, memory", memory, 1.0, "GB"))
    table.add(Ratio("report of 1,000 runs, file", size, 5.0, "MB"))
