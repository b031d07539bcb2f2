"""`groktimizer reproduce`: claims beside the committed table, the table at the end, figures that are recorded."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import claims_table
from groktimizer.cli import main
from groktimizer.ground.errors import UserError
from groktimizer.papers import PAPERS, claims
from groktimizer.papers.claims import Claim
from groktimizer.papers.making import Figure, make_ahead
from groktimizer.papers.reproduction import HERE, Check, Effort, Line, Panel, Paper, Reproduced, train
from groktimizer.results import FIGURE, Record, Store
from groktimizer.sweeps import RunSpec, make_spec
from groktimizer.sweeps.executors import Done, Job, Local
from groktimizer.sweeps.executors.protocol import Telling

PANEL = Panel("t", "x", "y", (Line("a", np.array([1.0, 2.0]), np.array([1.0, np.nan])),))
KNOWN = {
    "1": {"holds": "pass", "known to fail": "not reproduced", "breaks": "pass", "removed": "pass"},
    "2": {"mended": "not reproduced", "also holds": "pass"},
}
Table = Callable[[dict[str, dict[str, str]]], None]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The figures of the paper "fake" that were computed, in the order in which they were."""
    order: list[str] = []

    def first(effort: Effort) -> Reproduced:
        order.append("1")
        checks = (Check("holds", "1", True), Check("known to fail", "0.3", False), Check("breaks", "7", False))
        return Reproduced("Figure 1", "one", (PANEL,), checks, effort.shorter("2 seeds"))

    def second(effort: Effort) -> Reproduced:
        order.append("2")
        checks = (Check("mended", "2", True), Check("also holds", "3", True), Check("unheard of", "4", True))
        return Reproduced("Figure 2", "two", (PANEL,), checks)

    monkeypatch.setitem(PAPERS, "fake", Paper("arXiv 0, Nothing", {"1": first, "2": second}))
    return order


@pytest.fixture
def tabled(monkeypatch: pytest.MonkeyPatch) -> Table:
    """Sets the table of the paper "fake"."""

    def write(content: dict[str, dict[str, str]]) -> None:
        rows = [
            Claim("fake", figure, claim, verdict, "was so")
            for figure, found in content.items()
            for claim, verdict in found.items()
        ]
        monkeypatch.setattr(claims, "table", lambda: {"quick": rows})

    write(KNOWN)
    return write


def reproduce(out: Path, *words: str) -> tuple[int, dict[str, Any]]:
    code = main(["reproduce", "fake", "--quick", "--out", str(out), "--json", str(out / "x.json"), *words])
    return code, json.loads((out / "x.json").read_text())


@pytest.mark.usefixtures("made", "tabled")
def test_each_claim_has_its_verdict_once_in_the_table_at_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code, content = reproduce(tmp_path)
    *before, totals = capsys.readouterr().out.splitlines()
    assert code == 1
    assert totals.startswith("7 claims: 4 pass, 1 not reproduced, 1 failed, 1 missing; ")
    rows = [tuple(line.split(maxsplit=2)) for line in before[before.index("") + 1 :]]
    assert rows == [
        ("paper", "figure", "verdict         claim — value"),
        ("fake", "1", "pass            holds — 1"),
        ("fake", "1", "not reproduced  known to fail — 0.3"),
        ("fake", "1", "FAIL            breaks — 7 (was pass)"),
        ("fake", "1", "missing         removed — was so"),
        ("fake", "2", "pass            mended — 2 (was not reproduced)"),
        ("fake", "2", "pass            also holds — 3"),
        ("fake", "2", "pass            unheard of — 4 (not in the table)"),
    ]
    assert "Figure 1  FAIL (setting changed): one" in before and "Figure 2  pass: two" in before
    assert not any("known to fail" in line for line in before[: before.index("")])
    assert [figure["verdict"] for figure in content["fake"]["figures"]] == ["FAIL", "pass"]
    assert [row["verdict"] for row in content["claims"]][:3] == ["pass", "not reproduced", "FAIL"]


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize(
    ("figure", "known", "code"),
    [
        ("1", {"holds": "pass", "known to fail": "not reproduced", "breaks": "not reproduced"}, 0),
        ("1", {"holds": "pass", "known to fail": "not reproduced", "breaks": "pass"}, 1),
        ("1", {"holds": "pass", "known to fail": "not reproduced"}, 1),  # not in the table: judged by itself
        ("2", {"mended": "not reproduced"}, 0),
        ("2", {"mended": "pass", "removed": "not reproduced"}, 1),
        ("2", {}, 0),
    ],
)
def test_only_what_the_table_knows_is_excused(
    figure: str, known: dict[str, str], code: int, tmp_path: Path, tabled: Table
):
    tabled({figure: known, "3": {"of a figure that is gone": "pass"}})
    assert reproduce(tmp_path, "--figures", figure)[0] == code
    assert reproduce(tmp_path, "--figures", figure, "--seed", "5")[0] == code  # the same table on every seed


@pytest.mark.usefixtures("made")
def test_a_figure_that_is_gone_is_missed_where_all_were_asked_for(tmp_path: Path, tabled: Table):
    held = {"holds": "pass", "known to fail": "not reproduced", "breaks": "not reproduced"}
    tabled({"1": held})
    assert reproduce(tmp_path)[0] == 0
    tabled({"1": held, "3": {"lost": "not reproduced"}})
    code, content = reproduce(tmp_path)
    assert code == 1 and content["claims"][-1] == {
        "paper": "fake", "figure": "3", "claim": "lost", "verdict": "missing", "value": "was so",
    }  # fmt: skip


@pytest.mark.usefixtures("tabled")
@pytest.mark.slow
def test_a_finished_figure_is_made_once(
    tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    reproduce(tmp_path, "--figures", "1")
    first = reproduce(tmp_path)[1]
    assert made == ["1", "2"] and "Figure 1  FAIL (setting changed) (recorded): one" in capsys.readouterr().out
    again = reproduce(tmp_path)[1]
    assert made == ["1", "2"] and again["claims"] == first["claims"]
    assert [figure["recorded"] for figure in again["fake"]["figures"]] == [True, True]
    assert all(Path(figure["picture"]).read_bytes().startswith(b"\x89PNG") for figure in again["fake"]["figures"])
    reproduce(tmp_path, "--fresh")
    assert made == ["1", "2"] * 2
    reproduce(tmp_path, "--seed", "1")
    assert made == ["1", "2"] * 3
    for place, name, other in (("groktimizer.papers.making", "CODE", -1), (claims.__name__, "version", lambda: "x")):
        monkeypatch.setattr(f"{place}.{name}", other)
        reproduce(tmp_path)
    assert made == ["1", "2"] * 5


@pytest.mark.usefixtures("tabled")
def test_a_killed_reproduction_goes_on_at_the_figure_where_it_was(
    tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
):
    figures = dict(PAPERS["fake"].figures)

    def killed(effort: Effort) -> Reproduced:
        raise KeyboardInterrupt

    monkeypatch.setitem(PAPERS, "fake", replace(PAPERS["fake"], figures={**figures, "2": killed}))
    assert main(["reproduce", "fake", "--quick", "--out", str(tmp_path)]) == 130
    monkeypatch.setitem(PAPERS, "fake", replace(PAPERS["fake"], figures=figures))
    reproduce(tmp_path)
    assert made == ["1", "2"]


def test_figures_made_in_a_process_of_their_own_are_those_made_here(tmp_path: Path):
    """Nothing of a figure hangs on the process; each is made once, and anew only where that is asked for."""
    chosen, effort, store = {"ridge": ["5"], "beyond-l2": ["19"]}, Effort(quick=True, workers=2), Store(tmp_path)
    names = [Figure("ridge", "5", effort), Figure("beyond-l2", "19", effort)]
    assert make_ahead(chosen, effort, store) == {one.identity for one in names}
    for one in names:
        there, here = store.load(one.identity).content, one.make().content
        assert there["checks"] == [dict(check) for check in here["checks"]]
        pairs = zip(there["frame"]["panels"], here["frame"]["panels"], strict=True)
        for line, same in (
            (line, same) for pair in pairs for line, same in zip(*(p["lines"] for p in pair), strict=True)
        ):
            np.testing.assert_allclose(line["y"], same["y"], rtol=1e-12)  # BLAS sums in other orders on other threads
    assert make_ahead(chosen, effort, store) == set()


def ridge(seed: int, **options: object) -> RunSpec:
    return make_spec("ridge", "sgd", task_options={"n": 5, "m": 20} | options, seed=seed, steps=20)


def trained(specs: list[RunSpec], effort: Effort) -> list[Record]:
    return train({"all": specs}, effort, "fake")["all"]


def test_networks_of_all_figures_are_trained_together_and_what_hangs_on_them_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def once(effort: Effort) -> Reproduced:
        found = trained([ridge(0), ridge(1)], effort)
        return Reproduced("Figure 1", "one", (PANEL,), (Check("two", f"{len(found)}", True),))

    def twice(effort: Effort) -> Reproduced:
        (first,) = trained([ridge(2)], effort)
        (second,) = trained([ridge(first.summary["steps"])], effort)
        return Reproduced("Figure 2", "two", (PANEL,), (Check("seed", str(second.spec["seed"]), True),))

    def broken(effort: Effort) -> Reproduced:
        return Reproduced("Figure 3", str(1 // len(trained([ridge(3)], effort)[1:])), (), ())

    said: list[str] = []
    monkeypatch.setitem(PAPERS, "fake", Paper("arXiv 0", {"1": once, "2": twice, "3": broken}))
    store, effort = Store(tmp_path), Effort(workers=1, say=said.append)
    made = make_ahead({"fake": "123"}, effort, store)
    assert [len(store.query()), len(store.query(FIGURE)), len(said)] == [5, 2, 5]
    assert [line.partition(" networks")[0] for line in said] == [f"{k} of 4" for k in (1, 2, 3, 4)] + ["1 of 1"]
    assert store.load(Figure("fake", "2", effort).identity).content["checks"][0]["measured"] == "20"
    assert Figure("fake", "3", effort).identity not in made  # who makes it here sees why
    del said[:]
    assert make_ahead({"fake": "12"}, effort, store) == set() == set(said)


def test_what_is_wanted_afresh_is_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def twice(effort: Effort) -> Reproduced:
        trained([ridge(0)], effort)
        trained([ridge(1)], effort)
        return Reproduced("Figure 1", "one", (PANEL,), ())

    starts: list[str] = []

    class Counted(Local):
        def run(self, jobs: Sequence[Job], keep: Callable[[Done], None], tell: Telling) -> None:
            starts.extend(cell.label for job in jobs for cell in job.cells)
            super().run(jobs, keep, tell)

    for place in ("groktimizer.papers.making", "groktimizer.sweeps.executor"):
        monkeypatch.setattr(f"{place}.Local", Counted)
    monkeypatch.setitem(PAPERS, "fake", Paper("arXiv 0", {"1": twice}))
    for fresh in (False, True):
        make_ahead({"fake": "1"}, Effort(workers=1, fresh=fresh), Store(tmp_path))
        assert starts == ["ridge, sgd, seed 0", "ridge, sgd, seed 1"]
        del starts[:]


def test_a_network_that_cannot_be_trained_leaves_the_other_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def large(effort: Effort) -> Reproduced:
        trained([ridge(0, m=10**9)], effort)
        raise AssertionError

    def small(effort: Effort) -> Reproduced:
        trained([ridge(0)], effort)
        return Reproduced("Figure 2", "two", (PANEL,), ())

    said: list[str] = []
    monkeypatch.setitem(PAPERS, "fake", Paper("arXiv 0", {"1": large, "2": small}))
    effort, store = Effort(workers=1, say=said.append), Store(tmp_path)
    made = make_ahead({"fake": "12"}, effort, store)
    assert [Figure("fake", name, effort).identity in made for name in "12"] == [False, True]
    assert sum("GB are free" in line for line in said) == 1 and len(said) == 2
    with pytest.raises(UserError, match=r"fake: a run failed: .*GB are free"):
        Figure("fake", "1", replace(effort, store=store)).make()


def test_a_figure_that_is_stopped_in_its_process_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def stopped(effort: Effort) -> Reproduced:
        raise KeyboardInterrupt

    monkeypatch.setitem(PAPERS, "fake", Paper("arXiv 0", {"1": stopped}))
    figure = Figure("fake", "1", Effort())
    assert figure.compute(tmp_path, None, lambda _: None) == "stopped"
    with pytest.raises(KeyboardInterrupt):
        figure.make()


def test_a_figure_trains_in_its_own_process_where_it_is_told_to(tmp_path: Path):
    store = Store(tmp_path)
    (record,) = trained([ridge(0)], Effort(workers=HERE, store=store))
    assert store.identities() == [record.identity]
    store.checkpoint(record.identity).parent.mkdir(exist_ok=True)
    store.checkpoint(record.identity).write_bytes(b"of a fresh run that was stopped")
    trained([ridge(0)], Effort(workers=HERE, store=store, fresh=True))
    assert not store.checkpoint(record.identity).exists()


def test_a_wrong_figure_of_one_paper_is_refused_before_another_is_made(tmp_path: Path, made: list[str], refused: Any):
    words = ["reproduce", "all", "--figures", "1", "--out", str(tmp_path)]
    assert "--figures 1: expected some of " in refused(words)
    assert made == []


@pytest.mark.usefixtures("made", "tabled")
def test_a_result_becomes_the_table(tmp_path: Path):
    content = reproduce(tmp_path)[1]
    found, wrong = claims_table.updated({"quick": claims.table()["quick"], "usual": []}, content)
    assert [row.claim for row in wrong] == ["breaks", "removed"]
    kept = json.loads(claims_table.as_json(found))
    assert [row["verdict"] for row in kept["quick"]] == ["pass", "not reproduced", "not reproduced", *["pass"] * 3]
    assert [Claim(**row) for row in kept["quick"]] == found["quick"]


def test_the_committed_table_is_of_the_figures_that_exist_and_is_what_the_page_shows():
    content = claims.table()
    assert {row.paper for row in content["quick"]} == PAPERS.keys()
    for rows in content.values():
        assert {row.verdict for row in rows} <= {claims.PASS, claims.NOT_REPRODUCED}
        assert len({(row.paper, row.figure, row.claim) for row in rows}) == len(rows)
        figures = {(row.paper, row.figure) for row in rows}
        assert figures <= {(name, figure) for name, paper in PAPERS.items() for figure in paper.figures}
    assert {row.figure for row in content["quick"] if row.paper == "ridge"} == PAPERS["ridge"].figures.keys()
    assert claims_table.TABLE.read_text("utf-8") == claims_table.as_json(content)
    assert claims_table.PAGE.read_text("utf-8").endswith(claims_table.MARK + claims_table.as_page(content["quick"]))
