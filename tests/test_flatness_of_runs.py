"""``run --measure flatness``, ``reproduce flat-minima``: what is invariant or refused, claims that can fail."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from groktimizer.cli import main
from groktimizer.papers import flat_minima as paper
from groktimizer.papers import flat_minima_runs as runs
from groktimizer.papers.flat_minima_runs import SOLUTIONS, Measured, Row
from groktimizer.papers.reproduction import Effort, Reproduced
from groktimizer.peers import penalised
from groktimizer.results import Store
from groktimizer.sweeps import make_spec, run_spec
from groktimizer.tasks import make_task
from groktimizer.training.flatness import SPREAD, check_flatness, flatness_of_run

SMALL = {"p": 7, "train_fraction": 0.6, "width": 8}


def found_of(level: float = 0.05, steps: int = 200) -> dict[str, Any]:
    """AdamW on a small table of pairs, measured at a level."""
    spec = make_spec("modular-addition", "adamw", task_options=SMALL, optimizer_options={"lr": 3e-2}, steps=steps)
    task = make_task(spec.task, spec.task_options)
    problem = task.build(0)
    optimizer = torch.optim.AdamW(problem.model.parameters(), lr=3e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        problem.loss(problem.model, *problem.train).backward()
        optimizer.step()
    before = [param.detach().clone() for param in problem.model.parameters()]
    found: dict[str, Any] = flatness_of_run(problem, level, penalised, 3)
    assert all(torch.equal(*pair) for pair in zip(problem.model.parameters(), before, strict=True))
    return found


def test_rescaling_leaves_what_is_invariant_and_the_level_is_met():
    found = found_of()
    plain, moved, level = found["as_is"], found["rescaled"], found["levelled"]
    for name in ("fisher_rao", "relative"):
        assert moved[name] == pytest.approx(plain[name], rel=1e-9)
    assert abs(moved["largest"] / plain["largest"] - 1) > 0.05 and moved["norm"] != pytest.approx(plain["norm"])
    assert 1 / SPREAD < moved["norm"] / plain["norm"] < SPREAD
    assert found["train_loss"] < 0.05 and level["largest"] > plain["largest"]  # less sure, sharper
    at_its_own = found_of(level=found["train_loss"])["levelled"]
    assert at_its_own["largest"] == pytest.approx(plain["largest"], rel=1e-2)  # the same network
    assert at_its_own["norm"] == pytest.approx(plain["norm"], rel=1e-3)


def test_no_confidence_brings_a_network_that_is_wrong_to_the_level():
    assert found_of(steps=1)["levelled"] is None


def test_a_run_measures_it_and_tells_it(tmp_path: Path, capsys):
    words = ["run", "tabular", "--set", "n_train=30", "width=8", "--steps", "40", "--measure", "flatness"]
    assert main([*words, "--out", str(tmp_path), "--json", str(tmp_path / "x.json")]) == 0
    assert "flatness     largest curvature " in capsys.readouterr().out
    found = json.loads((tmp_path / "x.json").read_text())["summary"]["measured"]["flatness"]
    (record,) = Store(tmp_path).query()
    assert found["train_loss"] == pytest.approx(record.history["train_loss"][-1])
    assert found["test_accuracy"] == pytest.approx(record.history["test_accuracy"][-1])
    assert found["entropy"] is None and 0 < found["kept"] <= 1 and found["margin"] > 0


def test_a_network_that_is_not_finite_has_a_reason():
    spec = make_spec("modular-addition", "sgd", task_options=SMALL, optimizer_options={"lr": 1e12}, steps=9)
    assert run_spec(make_spec(**_arguments(spec), measure="flatness")).measured["flatness"] == {
        "reason": "the network is not finite"
    }


def _arguments(spec: Any) -> dict[str, Any]:
    return {
        "task": spec.task, "optimizer": spec.optimizer, "task_options": spec.task_options,
        "optimizer_options": spec.optimizer_options, "steps": spec.steps,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["ridge", "--set", "n=6", "m=15"], "flatness: the task has no classes"),
        (["modular-addition", "--set", "p=5", "model=transformer"], "flatness: the network's outputs are not those of"),
        (["digits", "--set", "loss=hinge"], "flatness: the loss has no second derivative"),
    ],
)
def test_what_it_does_not_suit_is_refused_before_it_begins(words, told, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    assert told in refused(["run", *words, "--measure", "flatness"])


@pytest.mark.parametrize("loss", ["mse", "stablemax"])
def test_other_smooth_losses_are_measured(loss: str):
    check_flatness(make_task("digits", {"loss": loss, "n_train": 20, "width": 8}).build(0))


# claims that can fail


def made(values: Mapping[str, Sequence[float]], accuracy: Sequence[float] = (0.5, 0.9, 0.8, 0.7)) -> Measured:
    """A row on 10 seeds: a measure of each solution near a value, the same accuracy order on every seed."""
    rng = np.random.default_rng(0)
    found: dict[str, list[dict[str, Any]]] = {}
    for k, solution in enumerate(SOLUTIONS):
        found[solution] = []
        for _ in range(10):
            state = {name: float(given[k] * np.exp(0.1 * rng.normal())) for name, given in values.items()}
            rest = {"train_loss": 0.01, "level": 0.02, "test_accuracy": accuracy[k] + 0.01 * rng.normal()}
            found[solution].append({"as_is": state, "rescaled": state, "levelled": None, **rest})
    return Measured(Row("made", "tabular", {}, (1.0,)), range(10), found, [1.0] * 10)


def test_a_flatter_solution_is_seen_and_a_sharper_one_fails():
    row = made({"largest": (3.0, 1.0, 0.2, 1.0)})
    assert paper._against([row], "switch", "largest", "as_is").passed
    sharper = paper._against([row], "adamw", "largest", "as_is")
    assert not sharper.passed and "p 0.002" in sharper.measured and sharper.measured.startswith("made ×4.7 (")
    assert not paper._against([row], "lbfgs", "largest", "as_is").passed  # level
    assert not paper._against([row, made({"largest": (1, 2, 2, 2)})], "switch", "largest", "as_is").passed  # one row
    unknown = paper._against([row], "switch", "largest", "levelled")
    assert not unknown.passed and "unknown (0 pairs" in unknown.measured


def test_a_predictor_has_the_sign_that_is_claimed():
    row = made({"norm": (4.0, 1.0, 2.0, 3.0), "largest": (1.0, 4.0, 3.0, 2.0)})
    assert paper._predicts([row], "norm", "pooled").passed
    assert not paper._predicts([row], "largest", "pooled").passed
    assert not paper._predicts([row], "norm", "within").passed  # within a solution both are noise


def test_the_norm_gap_is_over_the_least_norm_that_fits():
    row = made({"norm": (4.0, 1.0, 2.0, 3.0)})
    assert (row.of("end", "gap") == 1).all()
    np.testing.assert_allclose(row.of("adamw", "gap"), row.of("adamw", "norm") / row.of("end", "norm"))
    above = [{**one, "train_loss": 0.03} for one in row.found["end"]]  # the level is 0.02
    row = replace(row, found={**row.found, "end": above})
    assert (row.of("adamw", "gap") == 1).all() and (row.of("end", "gap") < 1).all()


def test_invariance_that_is_lost_is_seen():
    row = made({"fisher_rao": (1.0, 1.0, 1.0, 1.0), "largest": (1.0, 1.0, 1.0, 1.0)})
    assert paper._unmoved([row], "fisher_rao").passed
    moved = [{**one, "rescaled": {**one["as_is"], "fisher_rao": 1.01}} for one in row.found["end"]]
    row = replace(row, found={**row.found, "end": moved})
    assert not paper._unmoved([row], "fisher_rao").passed


@pytest.mark.slow
def test_lbfgs_takes_the_largest_weight_that_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One small row through every figure; the switch is the weights before phase 2's first step."""
    row = Row("small", "modular-addition", {**SMALL, "p": 5}, (1e-2, 1e-3))
    monkeypatch.setattr(runs, "QUICK", (row,))
    monkeypatch.setattr(runs, "STEPS", 60)
    effort = Effort(quick=True, workers=2, store=Store(tmp_path))
    monkeypatch.setattr(Effort, "seeds", lambda self, quick, whole: range(6))
    monkeypatch.setattr("groktimizer.papers.flat_minima_runs.train", _in_this_process)
    figures: list[Reproduced] = [make(effort) for make in paper.PAPER.figures.values()]
    assert [figure.name for figure in figures] == ["Flatness", "Same loss", "Prediction", "Rescaling", "Robustness"]
    assert all(check.measured and figure.panels for figure in figures for check in figure.checks)
    (found,) = runs.measured(effort)
    for seed, chosen in zip(found.seeds, found.chosen, strict=True):
        records = [run_spec(row.fit(seed, decay, None)) for decay in row.decays]
        level = found.found["end"][seed]["level"]
        fits = [d for d, run in zip(row.decays, records, strict=True) if run.history["train_loss"][-1] <= 1.01 * level]
        assert chosen == (max(fits) if fits else row.decays[-1])
    switch = run_spec(row.spec("groktimizer", 0, 60)).switch_step
    assert switch is not None and found.found["switch"][0]["train_loss"] == pytest.approx(
        float(run_spec(row.spec("groktimizer", 0, switch, None)).history["train_loss"][-1])
    )


def _in_this_process(cells: Mapping[Any, Sequence[Any]], effort: Effort, what: str) -> dict[Any, list[Any]]:
    from groktimizer.sweeps import run_or_reuse

    assert effort.store is not None and what
    return {cell: [run_or_reuse(spec, effort.store)[0] for spec in group] for cell, group in cells.items()}


@pytest.mark.slow
def test_the_command_draws_every_figure(tmp_path: Path):
    words = ["reproduce", "flat-minima", "--quick", "--out", str(tmp_path), "--json", str(tmp_path / "x.json")]
    assert main(words) == 0
    figures = json.loads((tmp_path / "x.json").read_text())["flat-minima"]["figures"]
    assert len(figures) == 5 and all(Path(figure["picture"]).exists() for figure in figures)
