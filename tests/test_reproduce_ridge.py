"""`groktimizer reproduce ridge`: claims are measured, a false one is seen, nothing is trained twice."""

import json
from pathlib import Path

import numpy as np
import pytest

from groktimizer.cli import main
from groktimizer.papers import ridge, ridge_networks
from groktimizer.papers.reproduction import Effort, count, level, near, rising, slope
from groktimizer.papers.ridge_features import Setting, relu_problem
from groktimizer.results import Store
from groktimizer.tasks import RidgeTask


def test_a_claim_holds_or_does_not():
    assert near("x", 1.01, 1.0, 0.02).passed and not near("x", 1.03, 1.0, 0.02).passed
    assert rising("x", [1, 2, 3]).passed and not rising("x", [1, 1, 3]).passed
    assert level("x", [1.0, 1.1], 1.2).passed and not level("x", [1.0, 1.3], 1.2).passed
    assert count("x", [True, True]).passed and not count("x", [True, False]).passed and not count("x", []).passed
    assert slope([1, 10, 100], [7, 0.7, 0.07]) == pytest.approx(-1)


def test_a_missing_time_fails_every_claim():
    assert not near("x", np.nan, 1.0, 0.1).passed
    assert not rising("x", [1, np.nan]).passed
    assert not level("x", [1.0, np.nan], 2.0).passed


def test_a_cell_is_the_paper_s_default():
    """Figure 2: t1 about 216, t2 about 23,300; Eq (8) says at most 1,452-ish and at least 11,982."""
    found = ridge.cell(RidgeTask(), 0, 1e-4)
    assert 200 < found.t1 < 240 and 22_000 < found.t2 < 24_000
    assert 1_350 < found.t1_bound < 1_550 and found.t2_bound == pytest.approx(11_982, abs=1)
    assert ridge.cell(RidgeTask(), 0, 1e-4, critical=True).settled < 450


def test_the_printed_teacher_of_figure_3_is_out_of_reach_and_the_scaled_one_is_not():
    small = Setting(n=40, m=600, d=40)
    scaled, printed = (relu_problem(Setting(40, 600, 40, teacher_scale=s), 0).times(1e-4) for s in (None, 1.0))
    assert small.teacher_scale is None and scaled.settled is not None
    assert printed.generalised is None and printed.floors.population > 10 * scaled.floors.population


def test_networks_are_trained_once_and_then_read(tmp_path, monkeypatch):
    store, cell = Store(tmp_path), ridge_networks.Cell(n=5, m=20, decay=1.0, lr=2e-2)
    first = ridge_networks.trained([cell], [0], Effort(workers=1, store=store), "x")[0][0]
    monkeypatch.setattr("groktimizer.sweeps.executors.Local.run", lambda _, jobs, *__: jobs.clear())  # none is run
    again = ridge_networks.trained([cell], [0], Effort(workers=1, store=store), "x")[0][0]
    np.testing.assert_array_equal(first.history["test_loss"], again.history["test_loss"])


def test_the_command_prints_a_verdict_and_writes_picture_and_json(tmp_path: Path, capsys):
    words = ["reproduce", "ridge", "--figures", "7", "--quick", "--out", str(tmp_path)]
    assert main([*words, "--json", str(tmp_path / "x.json")]) == 0
    (figure,) = json.loads((tmp_path / "x.json").read_text())["ridge"]["figures"]
    assert figure["verdict"] == "pass" and all(check["passed"] for check in figure["checks"])
    assert Path(figure["picture"]).read_bytes().startswith(b"\x89PNG")
    assert "Figure 7  pass" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["rigde"], "unknown reproduction 'rigde': did you mean 'ridge'?"),
        (["ridge", "--figures", "8"], "--figures 8: expected some of 1, 2, 3, 4, 5, 6, 7"),
        (["ridge", "--workers", "0"], "'0': expected a whole number ≥ 1"),
    ],
)
def test_bad_input_ends_in_one_line(words, complaint, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    assert complaint in refused(["reproduce", *words])


@pytest.mark.slow
def test_every_figure_passes(tmp_path):
    assert main(["reproduce", "ridge", "--quick", "--out", str(tmp_path)]) == 0
