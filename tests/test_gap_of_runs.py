"""``run --measure norm-gap``: the level, the least norms of convex tasks by other solvers, and where there is none."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, linprog

from groktimizer.cli import main
from groktimizer.cli.parser import MEASURES as OFFERED
from groktimizer.peers import penalised
from groktimizer.results import Store
from groktimizer.sweeps import MEASURES, check_measure, make_spec, run_or_reuse, run_spec
from groktimizer.tasks import make_task
from groktimizer.training.gap import gap_reference

RIDGE = ["run", "ridge", "--set", "n=6", "m=15", "lr=1", "--optimizer", "sgd", "--steps", "60"]
OWN = """
from dataclasses import dataclass
import torch
from torch import nn
from groktimizer.tasks import Batch, Criterion, Problem, Task, classification, cross_entropy

@dataclass(frozen=True)
class Odd(Task):
    layer: str = "LayerNorm"

    memorised = generalised = Criterion("train_accuracy", 0.9, above=True)

    def build(self, seed, *, dtype=torch.float32, device="cpu"):
        samples = Batch(torch.eye(4, dtype=dtype), torch.tensor([0, 1, 0, 1]))
        last = {"LayerNorm": nn.LayerNorm(2), "Dropout": nn.Dropout(0.5)}[self.layer]
        model = nn.Sequential(nn.Linear(4, 2), last).to(dtype)
        return Problem(model, samples, samples, cross_entropy, classification(samples, samples, cross_entropy))
"""


def ridge_at(features: np.ndarray, targets: np.ndarray, level: float) -> float:
    """‖θ‖ of ridge regression at the weight at which (1/2n)‖Φθ − y‖² is the level, in the dual."""
    gram = features @ features.T

    def at(log_weight: float) -> tuple[float, float]:
        dual = np.linalg.solve(gram + math.exp(log_weight) * np.eye(len(gram)), targets)
        return float(np.square(gram @ dual - targets).mean()) / 2 - level, float(np.linalg.norm(features.T @ dual))

    root: Any = brentq(lambda log: at(log)[0], -25.0, 15.0)
    return at(float(root))[1]


def test_the_gap_of_ridge_is_told_recorded_and_that_of_the_closed_form(tmp_path: Path, capsys):
    words = [*RIDGE, "--measure", "norm-gap", "--out", str(tmp_path)]
    assert main([*words, "--json", str(tmp_path / "x.json")]) == 0
    told = capsys.readouterr().out
    summary = json.loads((tmp_path / "x.json").read_text())["summary"]
    found = summary["measured"]["norm-gap"]
    problem = make_task("ridge", {"n": 6, "m": 15}).build(0, dtype=torch.float64)
    features, targets = (part.numpy() for part in problem.train)
    level = 0.02 * min(problem.evaluate(problem.model)["train_loss"], float(np.square(targets).mean()) / 2)
    (record,) = Store(tmp_path).query()
    assert found["level"] == pytest.approx(level) and found["penalty"] == "l2"
    assert found["norm"] == pytest.approx(record.history["norm_l2"][-1])
    assert found["loss"] == pytest.approx(record.history["train_loss"][-1])
    assert found["least"] == pytest.approx(ridge_at(features, targets, level), rel=2e-3)
    assert found["gap"] == pytest.approx(found["norm"] / found["least"]) and found["gap"] > 1
    assert record.summary["measured"]["norm-gap"] == found
    assert f"norm-gap     {found['gap']:.3f}: l2 norm " in told
    assert main(words) == 0 and "reused" in capsys.readouterr().out


def test_without_the_option_nothing_is_measured_and_the_identity_is_that_of_before():
    plain = make_spec("ridge", "sgd", task_options={"n": 6, "m": 15}, steps=3)
    assert "measure" not in plain.canonical() and not run_spec(plain).measured
    assert replace(plain, measure="norm-gap").identity != plain.identity
    assert OFFERED == MEASURES


def test_the_gap_under_l1_is_that_of_a_linear_programme_where_the_level_is_small():
    """The least ‖w‖₁ with |x·w − y| ≤ r in every sample brackets that with ½‖Xw − y‖² ≤ level at two radii r."""
    spec = make_spec(
        "sparse-recovery", "proximal", task_options={"n": 20, "N": 10, "s": 2, "init_scale": 1.0},
        optimizer_options={"lr": 0.1, "penalty": "l1", "weight_decay": 1e-4}, steps=50, measure="norm-gap",
    )  # fmt: skip
    found: Any = run_spec(spec).measured["norm-gap"]
    problem = make_task(spec.task, spec.task_options).build(0, dtype=torch.float64)
    features, targets = (part.numpy() for part in problem.train)
    assert found["level"] == pytest.approx(0.02 * min(float(problem.evaluate(problem.model)["train_loss"]),
                                                      float(targets @ targets) / 2))  # fmt: skip

    def least(radius: float) -> float:
        both = np.hstack([features, -features])
        bounds = np.concatenate([targets + radius, radius - targets])
        return linprog(np.ones(40), A_ub=np.vstack([both, -both]), b_ub=bounds).fun

    radius = math.sqrt(2 * found["level"])  # ‖r‖∞ ≤ ‖r‖₂ ≤ √N ‖r‖∞
    assert least(radius) <= found["least"] <= least(radius / math.sqrt(10))
    assert found["penalty"] == "l1" and found["gap"] == pytest.approx(found["norm"] / found["least"])


def test_a_large_initialisation_does_not_raise_the_level():
    levels = [
        gap_reference(make_task("digits", {"init_scale": scale}).build(0), penalised, "l2").level
        for scale in (1.0, 8.0)
    ]
    assert levels[0] == pytest.approx(0.02 * math.log(10), rel=0.02)
    assert levels[1] < 2 * levels[0]  # biases stay, which are larger too


def test_the_reference_leaves_the_network_as_it_is():
    problem = make_task("digits", {"n_train": 20, "width": 8}).build(3, dtype=torch.float64)
    before = [param.detach().clone() for param in problem.model.parameters()]
    assert gap_reference(problem, penalised, "l2").model is problem.model
    assert all(torch.equal(*pair) for pair in zip(problem.model.parameters(), before, strict=True))


def test_a_run_without_a_gap_is_recorded_with_the_reason(tmp_path: Path, capsys):
    words = ["run", "modular-addition", "--set", "p=5", "width=4", "lr=1e12", "--optimizer", "sgd", "--steps", "9"]
    assert main([*words, "--measure", "norm-gap", "--out", str(tmp_path)]) == 0
    assert "norm-gap     none: " in capsys.readouterr().out
    (record,) = Store(tmp_path).query()
    assert "not finite" in record.summary["measured"]["norm-gap"]["reason"]


def test_a_run_stopped_while_it_is_measured_goes_on_from_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spec, store = (
        make_spec("ridge", "sgd", task_options={"n": 6, "m": 15}, steps=20, measure="norm-gap"),
        Store(tmp_path),
    )

    def stopped(*_: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr("groktimizer.sweeps.measure.gap_of_run", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_or_reuse(spec, store)
    assert not store.has(spec.identity)
    monkeypatch.undo()
    record, _ = run_or_reuse(spec, store)
    assert record.summary["resumed"] == 1 and record.summary["measured"]["norm-gap"]["gap"] > 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["modular-addition", "--set", "p=5", "--penalty", "l1"], "norm-gap with penalty=l1: expected one vector"),
        (["matrix-sensing", "--penalty", "nuclear"], "norm-gap with penalty=nuclear: expected l2 or l1"),
        (["sparse-recovery", "--set", "depth=2", "--penalty", "l1"], "norm-gap with penalty=l1: expected one vector"),
        (["odd:Odd"], "norm-gap: weights before LayerNorm can shrink without the function changing"),
        (["odd:Odd", "--set", "layer=Dropout"], "norm-gap: the training loss differs when asked twice"),
    ],
)
def test_a_run_that_it_does_not_suit_is_refused_before_it_begins(words, told, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "odd", raising=False)
    (tmp_path / "odd.py").write_text(OWN)
    assert told in refused(["run", *words, "--measure", "norm-gap"])
    assert not (tmp_path / "groktimizer-results").exists()


def test_an_unknown_measure_is_one_line():
    with pytest.raises(ValueError, match="measure='norm_gap': did you mean 'norm-gap'"):
        make_spec("ridge", "sgd", measure="norm_gap")
    check_measure(make_spec("ridge", "sgd"))
