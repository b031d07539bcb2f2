"""`groktimizer reproduce gauss-newton`: its matrix and step against brute force, and claims that can fail."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev

from groktimizer.cli import main
from groktimizer.models import MLP
from groktimizer.papers import gauss_newton as paper
from groktimizer.results import Record
from groktimizer.tasks import make_problem, make_task


def problem(*sizes: int, n: int = 12) -> paper.Levenberg:
    source = torch.Generator().manual_seed(0)
    model = MLP(sizes, generator=source, dtype=torch.float64)
    inputs = torch.randn(n, sizes[0], generator=source, dtype=torch.float64)
    return paper.Levenberg(model, inputs, torch.randint(0, sizes[-1], (n,), generator=source))


def loss_of(optimizer: paper.Levenberg, theta: Tensor) -> Tensor:
    return nn.functional.cross_entropy(optimizer.logits(theta, optimizer.inputs), optimizer.targets)


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_gradient_and_curvature_of_a_linear_network_are_the_exact_ones(decay: float):
    """Where logits are linear in θ, Gauss-Newton's matrix is the Hessian."""
    optimizer = problem(5, 3)

    def objective(theta: Tensor) -> Tensor:
        return loss_of(optimizer, theta) + decay / 2 * theta.square().sum()

    gradient, root = optimizer.curvature(decay)
    torch.testing.assert_close(gradient, grad(objective)(optimizer.theta))
    wanted = jacrev(grad(objective))(optimizer.theta)
    assert isinstance(wanted, Tensor)
    torch.testing.assert_close(root.T @ root + decay * torch.eye(len(gradient), dtype=torch.float64), wanted)
    assert optimizer.objective(optimizer.theta, decay) == pytest.approx(float(objective(optimizer.theta)), rel=1e-12)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning", "ignore:.*torch.jit.script:DeprecationWarning")
def test_the_curvature_of_a_network_is_that_of_curvlinops():
    curvlinops = pytest.importorskip(
        "curvlinops", reason="curvlinops, which the curvature is checked with, is not installed"
    )
    optimizer = problem(4, 6, 3)
    data = [(optimizer.inputs, optimizer.targets)]
    parameters = list(optimizer.model.parameters())
    operator = curvlinops.GGNLinearOperator(optimizer.model, nn.CrossEntropyLoss(), parameters, data)
    wanted = operator @ torch.eye(len(optimizer.theta), dtype=torch.float64)
    _, root = optimizer.curvature(0.0)
    torch.testing.assert_close(root.T @ root, wanted)


@pytest.mark.parametrize("rows", [4, 30])
def test_either_matrix_solves_the_same_system(rows: int):
    source = torch.Generator().manual_seed(1)
    root = torch.randn(rows, 9, generator=source, dtype=torch.float64)
    b = torch.randn(9, generator=source, dtype=torch.float64)
    wanted = torch.linalg.solve(root.T @ root + 0.2 * torch.eye(9, dtype=torch.float64), b)
    torch.testing.assert_close(paper.solver(root)(b, 0.2), wanted)


def test_without_damping_it_is_newton_on_a_convex_loss():
    """Errors square from step to step: ridge-regularised logistic regression to the last digit in eight steps."""
    optimizer, decay = problem(5, 3), 0.1
    for _ in range(8):
        optimizer.damping = paper.LEAST
        optimizer.step(decay)
    gradient, _ = optimizer.curvature(decay)
    assert float(gradient.norm()) < 1e-13


def test_every_step_goes_down_and_the_network_has_the_parameters():
    optimizer = problem(4, 8, 3)
    losses = [optimizer.objective(optimizer.theta, 1e-3)]
    for _ in range(15):
        if not optimizer.step(1e-3):
            break
        losses.append(optimizer.objective(optimizer.theta, 1e-3))
    assert len(losses) > 8 and (np.diff(losses) < 0).all() and losses[-1] < 0.3 * losses[0]
    logits = functional_call(optimizer.model, {}, (optimizer.inputs,))
    torch.testing.assert_close(logits, optimizer.logits(optimizer.theta, optimizer.inputs))


def test_the_ways_part_at_the_fit_and_decay_shrinks_the_norm():
    made = make_problem(
        make_task("digits", {"n_train": 20, "width": 16}), 0, dtype=torch.float64, device=torch.device("cpu")
    )
    found = paper.descend(made, 40, {0.0: 2, 1e-3: 4})
    plain, shrunk = found[0.0], found[1e-3]
    assert (np.diff(plain.loss) < 0).all()
    assert plain.fit == shrunk.fit and plain.fit is not None
    level = paper.FIT * np.log(10)
    assert plain.loss[plain.fit] <= level < plain.loss[plain.fit - 1]
    np.testing.assert_array_equal(plain.loss[: plain.fit + 1], shrunk.loss[: plain.fit + 1])
    assert len(plain.loss) == plain.fit + 3 and plain.loss[-1] < plain.loss[plain.fit]
    assert len(paper.descend(made, 0, {0.0: 3})[0.0].loss) >= 1  # from where the last one ended, it fits at once


def history(columns: Mapping[str, list[float]]) -> Record:
    return Record({}, {name: np.array(values) for name, values in columns.items()}, {}, {})


def test_the_fit_is_the_first_evaluation_below_two_percent_of_ln_classes():
    level = 0.02 * np.log(10)
    run = history({"step": [0, 5, 10], "train_loss": [2.0, 0.99 * level, 0.0], "test_accuracy": [0.1, 0.6, 0.9]})
    assert paper.at_fit(run, 10) == (5.0, 0.6)
    assert np.isnan(paper.at_fit(history({"step": [0], "train_loss": [1.0], "test_accuracy": [0.1]}), 10)).all()


def test_worse_is_asked_of_the_exact_test():
    low, high = [0.70, 0.71, 0.72, 0.69, 0.70, 0.73], [0.80, 0.82, 0.79, 0.81, 0.80, 0.83]
    assert paper.worse("x", low, high).passed and "lower (6 pairs)" in paper.worse("x", low, high).measured
    assert not paper.worse("x", high, low).passed and "higher" in paper.worse("x", high, low).measured
    assert not paper.worse("x", low, [*low[1:], low[0]]).passed
    assert "too few seeds" in paper.worse("x", low[:3], high[:3]).measured
    lost = paper.worse("x", [float("nan"), *low[1:]], high)
    assert not lost.passed and "5 pairs" in lost.measured
    assert not paper.worse("x", [float("nan")], [0.5]).passed


@pytest.mark.slow
def test_the_quick_figure_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["reproduce", "gauss-newton", "--quick", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert (
        "pass            modular-addition: Gauss-Newton fits in fewer steps" in text
        and "too few seeds (2 pairs)" in text
    )
