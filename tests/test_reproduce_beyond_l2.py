"""`groktimizer reproduce beyond-l2`: exact paths against iteration, claims that can fail, one figure by command."""

import json
from pathlib import Path

import numpy as np
import pytest

from groktimizer.cli import main
from groktimizer.results import Store
from groktimizer.studies import beyond_l2_depth as depth
from groktimizer.studies import beyond_l2_networks as networks
from groktimizer.studies import beyond_l2_sparse as sparse
from groktimizer.studies.reproduction import Effort, falling, train
from groktimizer.tasks import SparseTask


def test_falling_is_a_claim_that_can_fail():
    assert falling("x", [3, 2, 1]).passed
    assert not falling("x", [3, 3, 1]).passed and not falling("x", [np.nan, 1]).passed


def test_the_l2_path_is_gradient_descent():
    one, decay = sparse.draw(SparseTask(n=12, s=2, N=5, init_scale=10.0), 0), 1e-3
    a, x, y = one.start.copy(), one.problem.features, one.problem.targets
    train, error = sparse.l2_path(one, decay, np.array([0.0, 1.0, 500.0]))
    for step in range(501):
        if step in {0, 1, 500}:
            place = {0: 0, 1: 1, 500: 2}[step]
            assert train[place] == pytest.approx(np.linalg.norm(x @ a - y) / np.linalg.norm(y), rel=1e-9)
            assert error[place] == pytest.approx(
                np.linalg.norm(a - one.teacher) / np.linalg.norm(one.teacher), rel=1e-9
            )
        a -= sparse.LR * (x.T @ (x @ a - y) + 2 * decay * a)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_runs_side_by_side_are_the_single_runs(layers: int):
    tasks = [SparseTask(n=15, s=2, N=size, depth=layers, init_scale=1.0) for size in (6, 9)]
    found = depth.descend(tasks, 0, 200, decay=1e-3, points=5)
    for place, task in enumerate(tasks):
        data = task.draw(0)
        factors = [factor.numpy().copy() for factor in data.factors]
        x, y, teacher = data.features.numpy(), data.targets.numpy(), data.teacher.numpy()
        for _ in range(200):
            pull = x.T @ (x @ np.prod(factors, axis=0) - y)
            others = [np.prod([f for j, f in enumerate(factors) if j != i], axis=0) for i in range(layers)]
            factors = [f - depth.LR * (pull * o + 2 * 1e-3 * f) for f, o in zip(factors, others, strict=True)]
        error = np.linalg.norm(np.prod(factors, axis=0) - teacher) / np.linalg.norm(teacher)
        assert found.recovery[place, -1] == pytest.approx(error, rel=1e-9)


def test_the_law_of_theorem_3_3_holds_within_a_factor_of_two():
    (one,) = [next(sparse.recoverable(sparse.ROBUST, 0))]
    times = one.times()
    assert times.delay is not None
    assert 0.5 < times.delay / one.law(sparse.LR, sparse.WEIGHT) < 2


def test_groktimizer_beats_ista_a_hundredfold_on_one_draw(tmp_path: Path):
    one = next(sparse.recoverable(sparse.ROBUST, 0))
    spec = networks.proximal_groktimizer("sparse-recovery", "l1", 1e-5, [one.seed], {"N": 40})
    record = train(spec, Effort(workers=1), Store(tmp_path), "x")[0]
    slow = one.times().generalised
    assert slow is not None
    assert 100 * networks.time(record, "generalised") < slow


def test_the_command_prints_a_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["reproduce", "beyond-l2", "--figures", "7", "--quick", "--out", str(tmp_path)]
    assert main([*words, "--json", str(tmp_path / "x.json")]) == 0
    (figure,) = json.loads((tmp_path / "x.json").read_text())["beyond-l2"]["figures"]
    assert figure["verdict"] == "pass (setting changed)" and len(figure["checks"]) == 3
    assert Path(figure["picture"]).read_bytes().startswith(b"\x89PNG")
    assert "Figure 7  pass" in capsys.readouterr().out


@pytest.mark.slow
def test_the_convex_figures_pass(tmp_path: Path):
    chosen = "3,4,5,6,7,8,9,19,27"
    assert main(["reproduce", "beyond-l2", "--figures", chosen, "--quick", "--out", str(tmp_path)]) == 0
