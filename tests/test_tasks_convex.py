"""Sparse and low-rank tasks: what is drawn, which errors are measured, and that each complexity does what it should."""

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from groktimizer.cli import main
from groktimizer.penalties import L1, L2, Nuclear, Penalty
from groktimizer.tasks import make_task
from groktimizer.tasks.finite import FiniteTask
from groktimizer.tasks.matrix import MatrixTask, ProductMatrix, leverage
from groktimizer.tasks.mnist import MnistTask
from groktimizer.tasks.problem import Problem
from groktimizer.tasks.products import Product
from groktimizer.tasks.sparse import ProductVector, SparseTask
from groktimizer.tasks.task import Task
from groktimizer.tasks.teacher import TeacherTask
from groktimizer.theory.low_rank.measurements import Entries
from groktimizer.theory.low_rank.recoverable import Outcome


def proximal(task: Task, penalty: Penalty, lr: float, weight: float, steps: int, seed: int = 0) -> tuple[Problem, dict]:
    """Train with proximal gradient steps in float64; first steps at which the task's conditions hold, as a history."""
    problem = task.build(seed, dtype=torch.float64)
    first: dict[str, int] = {}
    for step in range(steps):
        if step % 10 == 0:
            found = problem.evaluate(problem.model)
            for name, criterion in (("memorised", task.memorised), ("generalised", task.generalised)):
                if criterion.met(found[criterion.metric]):
                    first.setdefault(name, step)
            if len(first) == 2:
                break
        problem.model.zero_grad()
        problem.loss(problem.model, *problem.train).backward()
        with torch.no_grad():
            for p in problem.model.parameters():
                assert p.grad is not None
                p.copy_(penalty.prox(p - lr * p.grad, lr * weight))
    return problem, first


# what is drawn


def test_the_sparse_data_are_the_papers():
    data = SparseTask(n=400, s=7, N=300).draw(1)
    assert int((data.teacher != 0).sum()) == 7
    assert float(data.features.square().mean()) * 300 == pytest.approx(1.0, abs=0.02)
    torch.testing.assert_close(data.targets, data.features @ data.teacher)
    signs = data.factors[0].sign()
    assert abs(float(signs.sum())) < 4 * 20
    assert float(data.factors[0].norm()) == pytest.approx(1e-6, rel=0.2)


def test_coherent_samples_see_one_entry_each_and_the_others_are_spread():
    data = SparseTask(n=50, s=5, N=40, features="coherent", tau=0.25).draw(0)
    coherent, spread = data.features[:10], data.features[10:]
    assert ((coherent != 0).sum(1) == 1).all()
    assert coherent.sum() == 10
    assert float(spread.square().sum(1).mean()) == pytest.approx(1.0, abs=0.15)
    torch.testing.assert_close(data.targets[:10], data.teacher[coherent.argmax(1)])


def test_the_noise_has_the_ratio_asked_for():
    """E‖a*‖² = s, so ‖ξ‖² ≈ s/SNR."""
    clean, noisy = (SparseTask(n=20, s=20, N=5000, snr=snr).draw(3) for snr in (None, 100.0))
    assert float((noisy.targets - clean.targets).square().sum()) == pytest.approx(20 / 100, rel=0.1)
    assert torch.equal(noisy.features, clean.features)


@pytest.mark.parametrize("r", [1, 3])
def test_the_orthogonal_model_has_equal_singular_values(r: int):
    values = torch.linalg.svdvals(MatrixTask(n1=8, n2=6, r=r, N=40).draw(2).teacher)
    torch.testing.assert_close(values[:r], torch.full((r,), r**-0.5, dtype=torch.float64))
    assert float(values[r:].abs().max()) < 1e-12


def test_the_gaussian_model_has_the_norm_of_a_matrix_of_ones():
    teacher = MatrixTask(n1=8, n2=6, N=40, truth="gaussian").draw(2).teacher
    assert float(teacher.norm()) == pytest.approx(math.sqrt(48))
    assert int(torch.linalg.matrix_rank(teacher)) == 2


def test_each_observed_entry_comes_once_and_the_leading_ones_have_the_highest_leverage():
    task = MatrixTask(n1=9, n2=7, r=2, N=40, tau=0.5)
    data = task.draw(4)
    places = data.inputs[:, 0] * 7 + data.inputs[:, 1]
    assert len(places.unique()) == 40
    torch.testing.assert_close(data.targets, data.teacher.flatten()[places])
    scores = leverage(data.teacher, 2)
    assert float(scores.mean()) == pytest.approx(2.0)
    assert set(places[:20].tolist()) == set(scores.flatten().argsort(descending=True)[:20].tolist())


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_depth_is_the_number_of_factors(depth: int):
    sparse = SparseTask(n=12, s=2, N=8, depth=depth).build(0, dtype=torch.float64).model
    assert isinstance(sparse, ProductVector)
    assert len(list(sparse.parameters())) == depth
    torch.testing.assert_close(sparse.product(), torch.stack(list(sparse.parameters())).prod(0))
    matrix = MatrixTask(n1=5, n2=4, r=1, N=12, depth=depth, init="identity", init_scale=0.5).build(0).model
    assert isinstance(matrix, ProductMatrix)
    torch.testing.assert_close(matrix.product(), 0.5**depth * torch.eye(5, 4))


# which errors are measured


@pytest.mark.parametrize("name", ["sparse-recovery", "matrix-completion", "matrix-sensing"])
def test_the_errors_are_relative(name: str):
    task = make_task(name)
    problem = task.build(5, dtype=torch.float64)
    assert isinstance(task, SparseTask | MatrixTask)
    data = task.draw(5)
    for p in problem.model.parameters():
        with torch.no_grad():
            p.copy_(torch.randn(p.shape, dtype=torch.float64))
    network = problem.model
    assert isinstance(network, Product)
    learnt = network.product()
    found = problem.evaluate(network)
    residual = network(problem.train.inputs) - data.targets
    assert found["train_loss"] == pytest.approx(float(residual.square().sum().detach()) / 2)
    assert found["train_error"] == pytest.approx(float((residual.norm() / data.targets.norm()).detach()))
    assert found["test_error"] == pytest.approx(float(((learnt - data.teacher).norm() / data.teacher.norm()).detach()))
    assert found["test_loss"] == pytest.approx(float((learnt - data.teacher).square().sum().detach()) / 2)


def test_targets_that_are_all_zero_leave_the_error_finite():
    """At τ = 1 all samples may miss the support."""
    task = SparseTask(n=40, s=1, N=2, features="coherent", tau=1.0)
    assert not task.draw(0).targets.any()
    assert math.isfinite(task.build(0).evaluate(task.build(0).model)["train_error"])


# what each complexity does


@pytest.mark.slow
@pytest.mark.slow
def test_the_l1_norm_groks_and_weight_decay_does_not():
    """Theorem 3.6: with weight decay alone the error stays above the part of a* outside the row space of X."""
    task = SparseTask(train_tolerance=0.05)
    data = task.draw(0)
    assert data.problem().recovery(data.teacher.numpy()).recovers
    _, times = proximal(task, L1(), 0.1, 2e-3, 8000)
    problem, never = proximal(task, L2(), 0.1, 1e-4, 8000)
    assert 10 * times["memorised"] < times["generalised"]
    assert "memorised" in never
    assert "generalised" not in never
    hidden = data.teacher - torch.linalg.pinv(data.features) @ data.targets
    floor = float(hidden.norm() / data.teacher.norm())
    assert problem.evaluate(problem.model)["test_error"] >= floor > 0.3


def test_the_nuclear_norm_groks():
    task = MatrixTask(N=90, train_tolerance=0.01)
    assert task.draw(6).problem().verdict().outcome is Outcome.CERTIFIED
    _, times = proximal(task, Nuclear(), 0.5, 1e-3, 2000, seed=6)
    assert 10 * times["memorised"] < times["generalised"]


@pytest.mark.parametrize("task", [SparseTask(init_scale=10.0), MatrixTask(init_scale=1.0)], ids=repr)
def test_without_complexity_training_ends_at_the_nearest_fit(task: SparseTask | MatrixTask):
    problem, _ = proximal(task, L1(), 0.15, 0.0, 3000)
    learnt: Tensor = next(problem.model.parameters()).detach()
    torch.testing.assert_close(learnt, task.draw(0).interpolant(), atol=1e-3, rtol=1e-3)


def test_factors_that_start_equal_can_never_fit_a_negative_entry():
    """The pitfall of the authors' code: at depth 2 equal factors have equal gradients, so a = u² ≥ 0 for ever."""
    ones, signed = (SparseTask(n=30, s=5, N=25, depth=2, init_scale=0.1, init=init) for init in ("ones", "random"))
    assert (ones.draw(1).teacher < 0).any()
    stuck, _ = proximal(ones, L1(), 0.05, 0.0, 3000, seed=1)
    free, _ = proximal(signed, L1(), 0.05, 0.0, 3000, seed=1)
    one, two = stuck.model.parameters()
    assert torch.equal(one, two)
    assert stuck.evaluate(stuck.model)["train_error"] > 0.05
    assert free.evaluate(free.model)["train_error"] < 0.02


def test_a_coherent_sample_set_is_harder():
    """Each coherent sample sees one entry, most of them 0: at τ = 1 and N < n recovery fails."""
    for tau, wanted in ((0.0, True), (1.0, False)):
        data = SparseTask(N=60, features="coherent", tau=tau).draw(0)
        assert data.problem().recovery(data.teacher.numpy()).recovers is wanted


def test_the_theory_is_given_the_same_problem():
    for name in ("matrix-completion", "matrix-sensing"):
        task = make_task(name, {"n1": 5, "n2": 4, "r": 1, "N": 15})
        assert isinstance(task, MatrixTask)
        data = task.draw(1)
        problem = data.problem()
        assert isinstance(problem.measurements, Entries) is (name == "matrix-completion")
        torch.testing.assert_close(problem.measurements.apply(data.teacher[None])[0], data.targets)


@pytest.mark.parametrize("name", ["sparse-recovery", "matrix-completion", "matrix-sensing"])
def test_the_command_line_runs_it(name: str, tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    words = ["run", name, "--optimizer", "adam-l2", "--steps", "100", "--json", "told.json", "--out", str(tmp_path)]
    assert main(words) == 0
    content = json.loads((tmp_path / "told.json").read_text())
    assert content["summary"]["steps"] == 100
    assert content["history"]["train_error"][-1] < content["history"]["train_error"][0]
    assert content["spec"]["task"]["name"] == name


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sparse-recovery", {"s": 101}, "s=101: expected at most n=100"),
        ("sparse-recovery", {"N": 0}, "N=0"),
        ("sparse-recovery", {"n": 0}, "n=0"),
        ("sparse-recovery", {"depth": 5}, "depth=5: expected a whole number from 1 to 4"),
        ("sparse-recovery", {"depth": 2, "init_scale": 0.0}, "init_scale=0.0"),
        ("sparse-recovery", {"init_scale": -1.0}, "init_scale=-1.0"),
        ("sparse-recovery", {"init": "zeros"}, "expected random or ones"),
        ("sparse-recovery", {"features": "gausian"}, "did you mean 'gaussian'"),
        ("sparse-recovery", {"tau": 0.5}, "expected features='coherent'"),
        ("sparse-recovery", {"features": "coherent", "tau": 1.5}, "tau=1.5"),
        ("sparse-recovery", {"features": "coherent", "tau": 1.0, "N": 200}, "200 coherent samples"),
        ("sparse-recovery", {"snr": 0}, "snr=0"),
        ("sparse-recovery", {"train_tolerance": 0}, "train_tolerance=0"),
        ("matrix-completion", {"r": 11}, r"r=11: expected a rank of at most min\(n1, n2\)=10"),
        ("matrix-completion", {"N": 0}, "N=0"),
        ("matrix-completion", {"N": 101}, "at most the 100 entries"),
        ("matrix-completion", {"n1": 20, "N": 19}, "recovery is impossible; expected at least 20"),
        ("matrix-completion", {"truth": "gauss"}, "did you mean 'gaussian'"),
        ("matrix-completion", {"tau": -0.1}, "tau=-0.1"),
        ("matrix-sensing", {"tau": 0.5}, "only matrix-completion"),
        ("matrix-sensing", {"init": "ones"}, "expected random or identity"),
        ("matrix-sensing", {"test_tolerance": "nan"}, "test_tolerance=nan"),
    ],
)
def test_mistakes_are_told_in_one_line(name: str, options: dict, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        make_task(name, options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (SparseTask, {"n": 10.5}, "n=10.5: expected a whole number ≥ 1"),
        (SparseTask, {"N": "40"}, "N='40': expected a whole number ≥ 1"),
        (SparseTask, {"N": True}, "N=True: expected a whole number ≥ 1"),
        (SparseTask, {"s": 2.0}, "s=2.0: expected a whole number ≥ 1"),
        (SparseTask, {"tau": "a"}, r"tau='a': expected a number in \[0, 1\]"),
        (SparseTask, {"snr": "9"}, "snr='9': expected a finite number > 0"),
        (SparseTask, {"depth": 1.5}, "depth=1.5: expected a whole number from 1 to 4"),
        (SparseTask, {"init": 3}, "init=3: expected random or ones"),
        (MatrixTask, {"r": 1.5}, "r=1.5: expected a whole number ≥ 1"),
        (MatrixTask, {"tau": True}, r"tau=True: expected a number in \[0, 1\]"),
        (MatrixTask, {"test_tolerance": "small"}, "test_tolerance='small': expected a finite number > 0"),
        (MnistTask, {"n_train": 10.5}, "n_train=10.5: expected a whole number ≥ 1"),
        (FiniteTask, {"p": 7.0}, "p=7.0: expected a whole number from 2"),
        (FiniteTask, {"train_fraction": "half"}, "train_fraction='half': expected a number inside"),
        (TeacherTask, {"sobolev": True}, "sobolev=True: expected a finite number ≥ 0"),
    ],
)
def test_wrong_types_in_python_are_one_line_too(kind: type[Task], options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message) as caught:
        kind(**options)
    assert "\n" not in str(caught.value)


def test_a_line_without_an_observed_entry_is_refused_where_it_is_to_be_trained(refused):
    """Drawing stays possible: the studies count such draws as not recovered, `predict low-rank` names them."""
    task = MatrixTask(N=12)
    verdict = task.draw(0).problem().verdict()
    assert verdict.outcome is Outcome.IMPOSSIBLE
    with pytest.raises(ValueError, match=r"N=12 and seed=0: no entry of (row|column) \d .* larger N or another seed"):
        task.build(0)
    told = refused(["run", "matrix-completion", "--penalty", "nuclear", "--set", "N=12"])
    assert "recovery is impossible" in told
    MatrixTask(N=80).build(0)


def test_one_factor_may_start_at_zero():
    assert not SparseTask(init_scale=0.0).draw(0).factors[0].any()
