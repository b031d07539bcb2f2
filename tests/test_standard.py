"""Tables of comparisons: what is run, what it costs, what the page says of it; against laws known in closed form."""

import json
import math
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from groktimizer import studies
from groktimizer.cli import main
from groktimizer.peers import PEERS
from groktimizer.report import pictures, standings
from groktimizer.results import Record, Store
from groktimizer.studies import Entry, check_entries, compare_all
from groktimizer.studies.cost import runs_of
from groktimizer.studies.series import ratio_of, tally
from groktimizer.studies.standard import SHIPPED, STANDARD
from groktimizer.sweeps import Outcome, RunSpec, probe
from groktimizer.tasks import make_task

WINDOW = 500
TINY = {"p": 5, "width": 4}
ROWS = (
    Entry("sums", "modular-addition", TINY, steps=4_000, settles=40, seeds=8, defaults=("sam", "muon")),
    Entry("quotients", "modular-division", TINY, steps=4_000, settles=40, seeds=8, timed=False),
)
SHORT = tuple(replace(row, steps=6, every=3, seeds=2, fewer=1, tuned=("adamw",), defaults=("sgd",)) for row in ROWS)


def law(spec: RunSpec) -> float:
    """Settled step: ours 40 + seed; AdamW's 20 / (lr · decay) + seed; SAM never, and nothing on quotients but AdamW."""
    options, name = spec.optimizer_options, spec.optimizer
    if name == "sam" or (spec.task == "modular-division" and name != "adamw"):
        return math.inf
    if name == "groktimizer":
        return 40 + spec.seed + (0 if options["lr"] is None else 30)
    return spec.seed + round(20 / (options["lr"] * (options["weight_decay"] or 1.0)))


def passes(name: str, step: int) -> int:
    """GROKtimizer and SAM take two a step, everything else one."""
    return step * (2 if name in {"groktimizer", "sam"} else 1)


class Runner:
    """Executes by the law, keeps records with one evaluation a step, and counts."""

    def __init__(self, store: Store) -> None:
        self.store, self.specs = store, list[RunSpec]()

    def __call__(self, specs: Sequence[RunSpec]) -> list[Outcome]:
        self.specs += specs
        return [Outcome(spec, self.record(spec)) for spec in specs]

    def record(self, spec: RunSpec) -> Record:
        seen = int(law(spec)) if law(spec) + WINDOW <= spec.steps else None
        last = spec.steps if seen is None else seen + WINDOW
        step = np.arange(last + 1)
        times = {name: seen for name in ("memorised", "generalised", "generalised_95", "settled")}
        summary = {"times": {**times, "evaluated_every": 1}, "status": "x", "steps": last, "seconds": 1.0,
                   "passes": passes(spec.optimizer, last), "peak_memory_bytes": 1, "state_bytes": 1}  # fmt: skip
        history = {"step": step, "passes": passes(spec.optimizer, 1) * step}
        record = Record(spec.canonical(), history, summary, {})
        self.store.save(record)
        return record


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    run = Runner(Store(tmp_path_factory.mktemp("store")))
    return compare_all(ROWS, Entry.protocol, run.store, run), run


def test_a_row_is_judged_in_passes(done):
    """Seeds 101 to 108: ours 2 (40 + seed) passes. AdamW's best cell has the largest lr · decay, 0.09."""
    series, _ = done
    row = series.standings[0]
    ours, best = [2 * (40 + seed) for seed in range(101, 109)], [seed + 222 for seed in range(101, 109)]
    assert (list(row.ours.passes), list(row.best.passes)) == (ours, best)
    assert (row.best.label, row.best.options["lr"], row.best.options["weight_decay"]) == ("adamw (tuned)", 3e-2, 3.0)
    assert row.ratio == median(ours) / median(best) and row.contested
    assert (row.verdict.verdict, row.verdict.pairs) == ("faster", 8)


def test_more_passes_a_step_can_turn_the_verdict(done, tmp_path):
    """71 + seed steps of two passes against 222 + seed of one: fewer steps, more passes on seeds above 80."""
    series, _ = done
    tuned = next(row for row in series.panels[0].rows if row.method.label == "groktimizer (tuned)")
    assert list(tuned.seeds) == [101, 102, 103, 104, 105, 106] and list(tuned.times) == [70 + s for s in tuned.seeds]
    late = replace(ROWS[0], tuned=("adamw",), defaults=(), seeds=6)
    run = Runner(Store(tmp_path))
    far = lambda entry: replace(entry.protocol(), seeds=[300 + k for k in range(6)])  # noqa: E731
    row = compare_all([late], far, run.store, run).standings[0]
    ours, best = median([2 * (340 + k) for k in range(6)]), median([522 + k for k in range(6)])
    assert row.ratio == ours / best > 1 > ours / 2 / best
    assert row.verdict is not None and row.verdict.verdict == "slower"


def test_who_runs_on_which_seeds_with_which_budget(done):
    series, run = done
    first = [spec for spec in run.specs if spec.task == "modular-addition" and spec.seed > 100]
    seeds = {
        (spec.optimizer, spec.optimizer_options["lr"]): {s.seed for s in first if s.optimizer == spec.optimizer
         and s.optimizer_options == spec.optimizer_options} for spec in first
    }  # fmt: skip
    assert {key: len(found) for key, found in seeds.items()} == {
        ("groktimizer", None): 8, ("adamw", 3e-2): 8, ("groktimizer", 1e-3): 6, ("adamw", 1e-3): 6,
        ("sam", 1e-3): 6, ("muon", 1e-3): 6,
    }  # fmt: skip
    settled = median(40 + seed for seed in range(101, 109))
    shipped = next(row for row in series.panels[0].rows if row.method.label == SHIPPED.label)
    assert shipped.budget == int(10 * settled) + WINDOW
    others = [row for row in series.panels[0].rows if row.method.optimizer in {"sam", "muon"}]
    assert {row.budget for row in others} == {int(3 * settled) + WINDOW} and all(row.censored for row in others)
    assert {spec.seed for spec in run.specs} == {1, 2, 3, *range(101, 109)}


def test_where_ours_never_settles_the_shipped_one_has_the_whole_budget(done):
    series, _ = done
    row, panel = series.standings[1], series.panels[1]
    assert (row.ratio, row.ours.settled.median, row.network_ours) == (math.inf, None, None)
    assert {made.budget for made in panel.rows} == {4_000}
    assert (series.tally.contested, series.tally.settled) == (2, 1)


def test_passes_for_one_network_are_those_of_every_run(done):
    """Counted again from the specifications: until settled, or all but the window of 500 steps."""
    series, run = done
    added = [spec for spec in run.specs if spec.task == "modular-addition"]

    def total(specs):
        return sum(min(law(spec), spec.steps - WINDOW) for spec in specs)

    tuning = total([spec for spec in added if spec.optimizer == "adamw" and spec.seed < 100])
    row = series.standings[0]
    assert row.network_adamw == tuning + np.mean([222 + seed for seed in range(101, 109)])
    assert row.network_ours == np.mean([2 * (40 + seed) for seed in range(101, 109)])
    assert series.tally.networks == row.network_adamw / row.network_ours


def test_the_forecast_counts_the_runs_that_are_made(done):
    _, run = done
    counted = [sum(kind.number for kind in runs_of(row, row.protocol())) for row in ROWS]
    assert counted == [sum(spec.task == row.task for spec in run.specs) for row in ROWS]
    for row in ROWS:
        made = sum(spec.steps for spec in run.specs if spec.task == row.task)
        kinds = runs_of(row, row.protocol())
        assert made <= sum(kind.number * kind.most for kind in kinds) and all(kind.steps <= kind.most for kind in kinds)


@pytest.mark.parametrize(("ours", "theirs", "expected"), [(1.0, 2.0, 0.5), (None, 2.0, math.inf), (3.0, None, 0.0)])
def test_ratios_of_what_never_settled(ours, theirs, expected):
    assert ratio_of(ours, theirs) == expected and ratio_of(None, None) is None


def test_the_tally_counts_rows_with_times_alone(done):
    series, _ = done
    row = series.standings[0]
    slow = replace(row, ratio=1.2, ours=replace(row.ours, passes=[None, *row.ours.passes[1:]]))
    found = tally([row, slow, replace(row, ratio=None, timed=True), replace(slow, timed=False)])
    assert (found.rows, found.level, found.near, found.contested, found.settled) == (3, 1, 2, 4, 2)


def in_process(store: Store):
    """Runs without processes of their own."""
    from groktimizer.sweeps import run_or_reuse

    return lambda specs: [Outcome(spec, run_or_reuse(spec, store)[0]) for spec in specs]


def test_the_numbers_of_the_page_are_those_of_the_records(done, tmp_path):
    series, _ = done
    content = {"command": "x", "file": "networks", **series.content()}
    kept = {**content, "frame": standings.frame(content, "title")}
    record = Record.of("comparison", {"table": []}, kept, {})
    again = Record.from_parquet(record.to_parquet(), "here")
    pictures.write_page(again, tmp_path)
    page = (tmp_path / "networks.md").read_text()
    first, second = (line.split(" | ") for line in page.splitlines() if line.startswith(("| sums", "| quotients")))
    assert first[1:3] == ["289 (282–296)", "8/8"] and first[4:8] == ["326 (323–330)", "8/8", "0.89", "faster"]
    assert second[0] == "| quotients (success only)" and second[1].startswith("> ") and second[2] == "0/8"
    assert page.index("| sums") < page.index("networks.png") < page.index("## sums")
    assert "settled on every seed in 1 of the 2 rows" in page
    pictures.draw(again, tmp_path)
    assert (tmp_path / "networks.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "networks.json").read_text())["tally"]["rows"] == 1


def test_the_figure_shows_each_seed_that_settled(done):
    series, _ = done
    figure = standings.plot(standings.frame(series.content(), "title"))
    seeds = [line for line in figure.axes[0].lines if line.get_markersize() == 5]
    drawn = sorted(np.concatenate([np.asarray(line.get_xdata(), dtype=float) for line in seeds]).tolist())
    sides = [side for row in series.standings for side in (row.ours, row.best, row.shipped) if side is not None]
    assert drawn == sorted(float(time) for side in sides for time in side.passes if time is not None)


def test_what_is_recorded_is_not_run_again(tmp_path):
    """The second time, and after half of the records are gone: the same standings."""
    store = Store(tmp_path)
    whole = compare_all(SHORT[:1], Entry.protocol, store, in_process(store)).content()
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "records").iterdir()}
    assert compare_all(SHORT[:1], Entry.protocol, store, in_process(store)).content() == whole
    for path in sorted(made)[::2]:
        path.unlink()
    assert compare_all(SHORT[:1], Entry.protocol, store, in_process(store)).content()["standings"] == whole["standings"]
    kept = sorted(made)[1::2]
    assert {path.stat().st_mtime_ns for path in kept} == {made[path] for path in kept}


def test_a_dry_run_computes_nothing_that_stays(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(studies, "TABLES", {"standard": SHORT[:1]})
    monkeypatch.setattr(probe, "execute", lambda specs, store, workers: in_process(store)(specs))
    words = ["compare", "standard", "--tune", "--dry-run", "--workers", "1", "--out", str(tmp_path / "o")]
    assert main([*words, "--json", str(tmp_path / "x.json")]) == 0
    told, content = capsys.readouterr().out, json.loads((tmp_path / "x.json").read_text())
    runs = sum(kind.number for kind in runs_of(SHORT[0], SHORT[0].protocol()))
    assert re.search(rf"^sums +{runs} +{len(PEERS['adamw'].grid)} +[\d.]+ +[\d.]+ +[\d.]+$", told, re.MULTILINE)
    assert f"{runs} runs on 1 process(es): about" in told
    assert not (tmp_path / "o").exists() and content["rows"][0]["ms"] > 0
    assert content["seconds"] <= content["most"] and content["workers"] == 1


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (Entry("a", "modular-adition"), "row 'a': .*modular-adition.*modular-addition"),
        (Entry("b", "modular-addition", {"q": 5}), "row 'b': .*'q'"),
        (Entry("c", "modular-addition", TINY, tuned=("adamv",)), "row 'c': .*adamv"),
        (Entry("d", "modular-addition", TINY, defaults=("mouon",)), "row 'd': .*mouon"),
        (Entry("e", "modular-addition", {"p": 5, "batch_size": 4}, defaults=("lbfgs",)), "row 'e': .*batch_size=4"),
        (Entry("f", "modular-division", {"p": 4}), "row 'f': p=4"),
        (Entry("sums", "ridge"), "each label once"),
    ],
)
def test_a_row_that_cannot_run_is_refused_before_anything_runs(row, complaint, tmp_path, monkeypatch, refused):
    monkeypatch.setattr(studies, "TABLES", {"standard": (ROWS[0], row)})
    assert re.search(complaint, refused(["compare", "standard", "--tune", "--out", str(tmp_path / "o")]))
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["standard"], "expected --tune, or --tune --dry-run first"),
        (["standard", "--tune", "--seeds", "3"], "--seeds: the table 'standard' fixes it"),
        (["standard", "--tune", "--set", "p=5"], "--set: the table"),
        (["ridge", "--dry-run"], "--dry-run: expected with a table (standard)"),
    ],
)
def test_a_table_is_taken_as_it_is(words, complaint, refused):
    assert complaint in refused(["compare", *words])


def test_the_standard_table_can_run_and_keeps_its_promises():
    check_entries(STANDARD, Entry.protocol)
    for row in STANDARD:
        assert make_task(row.task, row.options).options().get("p", 0) in range(60), row.label
        assert set(row.tuned) >= {"adamw", "groktimizer"} and row.tuned[0] == "adamw"
        assert row.steps >= 3 * row.settles + WINDOW
    lrs = [(cell["lr"], cell["weight_decay"]) for cell in PEERS["adamw"].grid]
    assert len(lrs) == 8 and {(1e-2, 0.3), (1e-2, 1.0), (1e-2, 3.0)} <= set(lrs)


def test_other_rules_are_another_table():
    specs = [check_entries(ROWS, rules) for rules in (Entry.protocol, Entry.protocol)]
    assert specs[0] == specs[1]
    more = check_entries([replace(ROWS[0], steps=3_000), ROWS[1]], Entry.protocol)
    threads = check_entries(ROWS, lambda row: row.protocol(threads=2))
    assert specs[0] != more and specs[0] != threads
    assert specs[0] == check_entries([replace(row, settles=99) for row in ROWS], Entry.protocol)


PROGRAM = """
from groktimizer import studies
from groktimizer.cli import main
row = studies.Entry("sums", "modular-addition", {"p": 5, "width": 4}, steps=6, every=3, tuned=("adamw",), seeds=2,
                    fewer=1)
studies.TABLES = {"standard": (row,)}
raise SystemExit(main(["compare", "standard", "--tune", "--workers", "1", "--out", "OUT", "--json", "OUT.json"]))
"""


@pytest.mark.slow
def test_a_killed_table_goes_on_where_it_was(tmp_path):
    """kill -9 twice; what was finished is not run again, and the standings are those of a table that was not killed."""
    command = [sys.executable, "-c", PROGRAM.replace("OUT", str(tmp_path / "killed"))]
    records = tmp_path / "killed" / "records"
    made: dict[Path, int] = {}
    for after in (3, 9):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as program:
            deadline = time.monotonic() + 120
            while len(list(records.glob("*.parquet"))) < after and time.monotonic() < deadline:
                time.sleep(0.02)
            program.kill()
        assert program.returncode == -signal.SIGKILL
        assert all(path.stat().st_mtime_ns == then for path, then in made.items())
        made = {path: path.stat().st_mtime_ns for path in records.glob("*.parquet")}
    for name in ("killed", "whole"):
        other = [sys.executable, "-c", PROGRAM.replace("OUT", str(tmp_path / name))]
        assert subprocess.run(other, capture_output=True, check=False).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in made} == made
    killed, whole = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("killed", "whole"))
    assert killed["standings"] == whole["standings"] and killed["tally"] == whole["tally"]
    assert (tmp_path / "killed" / "compare-standard.png").exists()
