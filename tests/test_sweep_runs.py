"""Sweeps that are stopped, killed and go on: the final store is that of an undisturbed one."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deadly import Deadly
from groktimizer.cli import main
from groktimizer.ground.errors import UserError
from groktimizer.results import FAILURE, RUN, Record, Store, StoreError, query
from groktimizer.sweeps import Progress, Result, Sweep, make_spec, planned, run_or_reuse, run_sweep
from groktimizer.sweeps.cells import Clock, Training, make_clock
from groktimizer.sweeps.executors import Done, Job, Local
from groktimizer.sweeps.executors.local import halves
from groktimizer.sweeps.executors.protocol import Telling
from groktimizer.sweeps.plan import LONG, load_plan, pack, save_plan
from groktimizer.sweeps.probe import Cost, stack_seconds
from groktimizer.sweeps.reader import parse_sweep
from groktimizer.sweeps.work import STACKED
from groktimizer.tasks import make_task
from groktimizer.theory.lasso import Lasso
from groktimizer.theory.ridge import Ridge
from in_process import Here

CLOCKS = """
task: ridge
kind: clock
set: {n: 8, m: 30, tolerance: 0.1, lr: [0.2, 0.4], weight_decay: [1e-3, 1e-2]}
seeds: 2
"""
TRAINED = """
task: ridge
optimizer: [sgd, groktimizer]
set: {n: 8, m: 30, lr: [0.1, 0.2]}
seeds: 2
steps: 30
every: 10
"""


def done(sweep: Sweep, place: Path, executor: Any = None, **options: Any) -> Result:
    store = Store(place)
    _, plan = planned(sweep, store, 1)
    return run_sweep(sweep, store, plan, workers=1, executor=executor or Here(), **options)


def fingerprint(place: Path) -> str:
    return query.fingerprint(Store(place, write=False).query(None))


@pytest.fixture(autouse=True)
def quick_probes(monkeypatch: pytest.MonkeyPatch):
    """No processes for probes: every cell takes a second, so that a unit has two."""
    second = Cost(1.0)
    monkeypatch.setattr(
        "groktimizer.sweeps.runner.cell_costs", lambda alike, _: {some[0].shape: second for some in alike}
    )


def test_clocks_are_those_of_the_theory(tmp_path: Path):
    sweep = parse_sweep(CLOCKS, "x", ["momentum=0,critical", "switch=none,50"])
    result, store = done(sweep, tmp_path), Store(tmp_path)
    assert (result.done, result.failures, len(result.identities)) == (32, {}, 32)
    for cell in sweep.cells():
        assert isinstance(cell, Clock)
        task = make_task("ridge", {"n": 8, "m": 30, "tolerance": 0.1})
        known = task.theory(cell.seed)
        assert known is not None and isinstance(known.problem, Ridge)
        exact = known.problem.grokking_time(
            known.start.numpy(), cell.lr, cell.weight_decay, 0.1, 0.1, cell.momentum, cell.switch
        )
        times = store.load(cell.identity).summary["times"]
        assert (times["memorised"], times["settled"]) == (exact.memorised, exact.settled)


def test_sparse_clocks_are_those_of_the_lasso(tmp_path: Path):
    cell = make_clock("sparse-recovery", {"n": 30, "N": 15, "s": 2}, {"lr": 0.1, "weight_decay": 1e-3}, 1)
    record = cell.compute(tmp_path, None, lambda _: None)
    known = make_task("sparse-recovery", {"n": 30, "N": 15, "s": 2}).theory(1)
    assert isinstance(record, Record) and known is not None and isinstance(known.problem, Lasso)
    exact = known.problem.grokking_time(known.start.numpy(), 0.1, 1e-3, 1e-3, 1e-2, known.truth.numpy())
    assert record.summary["times"]["memorised"] == exact.memorised is not None
    assert record.summary["times"]["settled"] == exact.settled


@pytest.mark.parametrize(
    ("task", "options", "given", "said"),
    [
        ("digits", {}, {}, "its clocks have no closed form"),
        ("ridge", {"batch_size": 4}, {}, "its clocks have no closed form"),
        ("sparse-recovery", {}, {"momentum": 0.9}, "takes proximal steps"),
        ("ridge", {}, {"lr": 1e6}, "diverges"),
    ],
)
def test_clocks_that_there_are_not_say_why(tmp_path: Path, task: str, options: Any, given: Any, said: str):
    cell = make_clock(task, options, {"lr": 0.1, "weight_decay": 1e-3, **given}, 0)
    with pytest.raises(UserError, match=said):
        cell.compute(tmp_path, None, lambda _: None)


def test_runs_of_a_sweep_are_runs(tmp_path: Path):
    done(parse_sweep(TRAINED, "x"), tmp_path / "sweep")
    spec = make_spec(
        "ridge", "sgd", task_options={"n": 8, "m": 30}, optimizer_options={"lr": 0.2}, seed=1, steps=30, every=10
    )
    alone, _ = run_or_reuse(spec, Store(tmp_path / "alone"))
    again, reused = run_or_reuse(spec, Store(tmp_path / "sweep"))
    assert reused and again.kind == RUN
    for name in set(alone.history) - {"seconds"}:
        np.testing.assert_array_equal(alone.history[name], again.history[name])


@pytest.mark.parametrize("text", [CLOCKS, TRAINED])
def test_however_often_it_is_stopped_the_store_is_that_of_an_undisturbed_sweep(tmp_path: Path, text: str):
    sweep = parse_sweep(text, "x")
    done(sweep, tmp_path / "whole")
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            done(sweep, tmp_path / "stopped", Here(stop=2))
    result = done(sweep, tmp_path / "stopped")
    assert (result.recorded, result.done) == (6, 2)
    assert done(sweep, tmp_path / "stopped", Here(stop=0)).recorded == 8
    assert fingerprint(tmp_path / "stopped") == fingerprint(tmp_path / "whole")


def test_what_another_command_has_recorded_is_not_done_again(tmp_path: Path):
    sweep = parse_sweep(TRAINED, "x", ["optimizer=sgd"])
    first = next(sweep.cells())
    assert isinstance(first, Training)
    run_or_reuse(first.spec, Store(tmp_path))
    result = done(sweep, tmp_path)
    assert (result.recorded, result.done) == (1, 3)
    assert done(sweep, tmp_path, fresh=True).done == 4
    assert done(parse_sweep(TRAINED, "x", ["seeds=3"]), tmp_path).recorded == 4


def test_a_cell_that_fails_is_recorded_as_such_and_the_others_go_on(tmp_path: Path):
    sweep = parse_sweep(CLOCKS, "x", ["lr=0.2,1e5"])
    result = done(sweep, tmp_path)
    assert (result.done, len(result.failures)) == (8, 4)
    assert all("diverges" in error for error in result.failures.values())
    again = done(sweep, tmp_path, Here(stop=0))
    assert (again.recorded, again.done, again.failures) == (4, 0, result.failures)
    assert len(Store(tmp_path).query(FAILURE)) == 4
    with pytest.raises(KeyboardInterrupt):
        done(sweep, tmp_path, Here(stop=0), retry=True)
    assert len(done(sweep, tmp_path, retry=True).failures) == 4


def test_a_lost_cell_is_tried_again_by_the_next_call(tmp_path: Path):
    sweep = parse_sweep(CLOCKS, "x")
    lost = Here(
        spoil=lambda done: Done(done.cell, None, "killed", lost=True) if done.cell.label.endswith("1") else done
    )
    result = done(sweep, tmp_path, lost)
    assert (len(result.lost), result.done, result.failures) == (4, 4, {})
    assert (done(sweep, tmp_path).recorded, len(Store(tmp_path).query(FAILURE))) == (4, 0)


def test_a_disk_that_is_full_ends_it_with_a_message_and_what_is_written_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sweep = parse_sweep(CLOCKS, "x")
    monkeypatch.setattr("groktimizer.sweeps.runner.KEEP_CELLS", 1)
    real, written = Store.save_all, list[int]()

    def full(self: Store, records: Sequence[Record]) -> None:
        if len(written) == 3:
            raise StoreError("cannot write x: No space left on device")
        written.append(len(records))
        real(self, records)

    monkeypatch.setattr(Store, "save_all", full)
    with pytest.raises(StoreError, match="No space left"):
        done(sweep, tmp_path)
    monkeypatch.setattr(Store, "save_all", real)
    assert done(sweep, tmp_path).recorded == 3
    done(sweep, tmp_path / "whole")
    assert fingerprint(tmp_path) == fingerprint(tmp_path / "whole")


def test_a_damaged_shard_is_computed_again(tmp_path: Path):
    sweep = parse_sweep(CLOCKS, "x")
    done(sweep, tmp_path)
    before = fingerprint(tmp_path)
    path = next(Store(tmp_path).shards.glob("*"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="moved to"):
        result = done(sweep, tmp_path)
    assert result.done > 0 and fingerprint(tmp_path) == before


def test_units_hold_equal_shapes_and_the_longest_come_first():
    cells = [*parse_sweep(CLOCKS, "x", ["seeds=50"]).cells(), *parse_sweep(CLOCKS, "x", ["n=9", "seeds=10"]).cells()]
    shapes = {cell.identity: cell.shape for cell in cells}
    long, short = dict.fromkeys(shapes.values())
    plan = pack(cells, lambda _: {long: Cost(0.5), short: Cost(30.0)})
    assert sorted(plan.identities) == sorted(shapes)
    assert all(len({shapes[name] for name in unit}) == 1 for unit in plan.units)
    costs = [seconds * len(unit) for unit, seconds in zip(plan.units, plan.seconds, strict=True)]
    assert costs == sorted(costs, reverse=True)
    assert {len(unit) for unit in plan.units if shapes[unit[0]] == short} == {1}
    assert max(len(unit) for unit in plan.units if shapes[unit[0]] == long) == LONG / 0.5
    assert plan.left({cell.identity for cell in cells[:3]}) == 1.5


def test_a_plan_is_fixed_at_the_first_start(tmp_path: Path):
    sweep, store = parse_sweep(CLOCKS, "x"), Store(tmp_path)
    key, plan = planned(sweep, store, 1)
    turned = replace(plan, units=plan.units[::-1], seconds=plan.seconds[::-1])
    save_plan(tmp_path, key, sweep, turned)
    assert planned(sweep, store, 1) == (key, turned)
    assert planned(parse_sweep(CLOCKS, "x", ["seeds=3"]), store, 1)[0] != key
    path = tmp_path / "plans" / f"{key}.json"
    path.write_text(path.read_text().replace("one by one", "warp"))
    with pytest.raises(StoreError, match="engines of another version"):
        load_plan(tmp_path, key)
    path.write_text(path.read_text()[:50])
    with pytest.raises(StoreError, match=f"damaged plan {path}"):
        load_plan(tmp_path, key)


def test_saved_states_go_when_their_record_is_on_disk(tmp_path: Path):
    sweep, store = parse_sweep(TRAINED, "x", ["optimizer=sgd", "lr=0.1", "seeds=1"]), Store(tmp_path)
    (cell,) = sweep.cells()
    state = store.checkpoint(cell.identity)

    class Saves(Here):
        def run(self, jobs: Sequence[Job], keep: Callable[[Done], None], tell: Telling) -> None:
            state.write_bytes(b"")
            assert jobs[0].checkpoints == (state,)

            def saved(found: Done) -> None:
                keep(found)
                seen.append(state.exists())

            super().run(jobs, saved, tell)

    seen: list[bool] = []
    done(sweep, tmp_path, Saves())
    assert seen == [True] and not state.exists()


def test_a_cell_whose_process_dies_is_begun_again_and_its_neighbours_are_kept(tmp_path: Path):
    deaths = {0: 0, 1: 1, 2: 9, 3: 0}
    cells = tuple(Deadly(tmp_path, number, count) for number, count in deaths.items())
    job = Job(cells, tuple(tmp_path / cell.identity for cell in cells))
    found: list[Done] = []
    Local(1, attempts=3).run([job], found.append, lambda *_: None)
    assert [(done.cell.identity[-1], done.lost) for done in found] == [
        ("0", False),
        ("1", False),
        ("2", True),
        ("3", False),
    ]
    assert "signal 9" in (found[2].error or "")
    assert [len(list(tmp_path.glob(f"{number}-*"))) for number in deaths] == [1, 2, 3, 1]


STACKED_SWEEP = """
task: modular-addition
optimizer: [adamw, groktimizer]
set: {p: 11, width: 16, batch_size: 32, lr: [0.003, 0.01]}
seeds: 5
steps: 40
every: 5
"""


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch):
    """Every cell takes a tenth of a second, side by side."""
    cost = Cost(0.1, STACKED)
    monkeypatch.setattr(
        "groktimizer.sweeps.runner.cell_costs", lambda alike, _: {some[0].shape: cost for some in alike}
    )


@pytest.mark.usefixtures("stacks")
@pytest.mark.parametrize("stop", [3, *(pytest.param(stop, marks=pytest.mark.slow) for stop in (10, 17))])
def test_a_stack_that_was_stopped_ends_as_an_undisturbed_one(tmp_path: Path, stop: int):
    sweep = parse_sweep(STACKED_SWEEP, "x")
    whole = done(sweep, tmp_path / "whole")
    _, plan = planned(sweep, Store(tmp_path / "whole"), 1)
    assert whole.done == 20 and [len(unit) for unit in plan.units] == [10, 10] and set(plan.engines) == {STACKED}
    with pytest.raises(KeyboardInterrupt):
        done(sweep, tmp_path / "cut", Here(stop))
    result = done(sweep, tmp_path / "cut")
    assert (result.recorded, result.done) == (stop, 20 - stop)
    assert fingerprint(tmp_path / "cut") == fingerprint(tmp_path / "whole")
    kept = Store(tmp_path / "cut").load(plan.identities[0])
    assert kept.provenance["engine"] == STACKED


@pytest.mark.usefixtures("stacks")
def test_a_stack_in_a_process_is_the_stack_here_and_one_wrong_run_is_told(tmp_path: Path):
    sweep = parse_sweep(STACKED_SWEEP, "x", ["optimizer=adamw", "lr=0.01,1e18", "precision=fp64", "seeds=4"])
    here, there = done(sweep, tmp_path / "here"), done(sweep, tmp_path / "there", Local(2))
    assert here.done == there.done == 8 and here.failures == there.failures
    assert fingerprint(tmp_path / "here") == fingerprint(tmp_path / "there")


def test_a_stack_is_halved_until_the_run_that_kills_its_process_is_alone(tmp_path: Path):
    cells = tuple(Deadly(tmp_path, number, 9) for number in range(5))
    job = Job(cells, tuple(tmp_path / cell.identity for cell in cells), stacked=True)
    begun: list[str] = []
    queue = [job]
    while queue:
        one = queue.pop()
        begun.append("".join(cell.identity[-1] for cell in one.cells))
        dies = "2" in begun[-1] and len(begun[-1]) > 1
        queue += halves(one, one.cells) if dies else []
    assert begun == ["01234", "234", "34", "2", "01"]
    alone = replace(job, stacked=False)
    assert [one.cells for one in halves(alone, cells[1:])] == [cells[1:]]
    assert halves(job, []) == []


@pytest.mark.parametrize(("given", "stacked"), [("bits", True), ("device", False), ("measure", False)])
def test_the_probe_stacks_only_what_keeps_every_bit(monkeypatch: pytest.MonkeyPatch, given: str, stacked: bool):
    sweep = parse_sweep(STACKED_SWEEP, "x", ["optimizer=adamw"])
    cells = [cell for cell in sweep.cells() if isinstance(cell, Training)]
    if given == "measure":
        cells = [Training(replace(cell.spec, measure="norm-gap")) for cell in cells]
    if given == "device":
        cells = [Training(replace(cell.spec, device="cuda")) for cell in cells]
    assert math.isfinite(stack_seconds(cells)) == stacked
    assert stack_seconds(cells[:3]) == math.inf


def test_a_stack_whose_numbers_differ_is_refused():
    cells = list(parse_sweep(STACKED_SWEEP, "x", ["optimizer=lbfgs"]).cells())
    assert stack_seconds(cells) == math.inf  # hundreds of passes a step amplify the last digit


def test_the_command_says_what_it_does_and_its_json_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file, out = tmp_path / "x.yaml", tmp_path / "out"
    file.write_text(CLOCKS)
    words = ["sweep", str(file), "--out", str(out), "lr=0.2,1e5", "--json", str(tmp_path / "x.json")]
    assert main([*words, "--dry-run"]) == 0
    assert "8 cells in" in capsys.readouterr().out and not list(Store(out).shards.glob("*"))
    assert main(words) == 1
    told = capsys.readouterr().out
    assert "recorded  4 of 8 cells" in told and "--retry-failed" in told
    content = json.loads((tmp_path / "x.json").read_text())
    assert content["cells"] == 8 and len(content["failures"]) == 4 and content["lost"] == {}
    assert main(["runs", "list", "kind=failure", "--out", str(out)]) == 0
    assert "4 records" in capsys.readouterr().out
    assert main(["draw", str(out)]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--gpus", "1"], "expected --executor ray"),
        (["--executor", "ray", "--ray-address", "nowhere"], "'nowhere': expected auto, local, or HOST:PORT"),
        (["--executor", "ray", "--ray-address", "127.0.0.1:9"], "nobody answers"),
    ],
)
def test_clusters_that_there_are_not_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: Any, said: str
):
    file = tmp_path / "x.yaml"
    file.write_text(CLOCKS)
    assert main(["sweep", str(file), "--out", str(tmp_path), *words]) == 2
    assert said in capsys.readouterr().err


def test_progress_counts_to_the_end(tmp_path: Path):
    seen: list[Progress] = []
    done(parse_sweep(CLOCKS, "x"), tmp_path, on_event=seen.append)
    assert [event.done for event in seen] == list(range(1, 9)) and seen[-1].left == 0.0
    assert {event.total for event in seen} == {8}
