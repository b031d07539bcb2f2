"""The norm gap against closed forms: ridge, the Lasso through a diagonal network, and what a state cannot undercut."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, linprog
from torch import nn

from groktimizer import GROKtimizer, UserError, param_groups
from groktimizer.measures import least_l1, norm_gap


def drawn(n: int, d: int, sparse: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features, truth = rng.normal(size=(n, d)), np.zeros(d)
    truth[:sparse] = rng.normal(size=sparse) + 2.0
    return features, features @ truth


class Linear(nn.Module):
    """w·x, with or without a bias that no penalty counts."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs @ self.weight + self.bias


class Diagonal(nn.Module):
    """(u² − v²)·x: ‖u‖² + ‖v‖² at its least is ‖w‖₁."""

    def __init__(self, d: int, size: float = 0.3) -> None:
        super().__init__()
        self.u = nn.Parameter(torch.full((d,), size, dtype=torch.float64))
        self.v = nn.Parameter(torch.full((d,), size, dtype=torch.float64))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs @ (self.u.square() - self.v.square())


def squared(features: np.ndarray, targets: np.ndarray):
    inputs, wanted = torch.from_numpy(features), torch.from_numpy(targets)
    return lambda model: (model(inputs) - wanted).square().mean()


def test_a_linear_model_has_the_gap_of_the_closed_form():
    """Ridge at the weight whose error is the level, found in the dual; the bias is free and takes the means."""
    features, targets = drawn(20, 60, 5)
    model, level = Linear(60), 0.05
    x, y = features - features.mean(0), targets - targets.mean()
    gram = x @ x.T

    def at(log_weight: float) -> tuple[float, float]:
        dual = np.linalg.solve(gram + math.exp(log_weight) * np.eye(20), y)
        return float(np.square(gram @ dual - y).mean()), float(np.linalg.norm(x.T @ dual))

    root: Any = brentq(lambda log: at(log)[0] - level, -10.0, 8.0)
    least = at(float(root))[1]
    found = norm_gap(model, squared(features, targets), level, penalised=[model.weight])
    assert found.norm == pytest.approx(math.sqrt(60)) and found.level == level
    assert found.least == pytest.approx(least, rel=1e-3) and found.least >= least * (1 - 1e-6)
    assert found.gap == pytest.approx(math.sqrt(60) / least, rel=1e-3)


@pytest.mark.parametrize("level", [1e-3, 0.1])
def test_a_diagonal_network_has_the_gap_of_the_lasso(level):
    features, targets = drawn(15, 40, 3)
    least = least_l1(features, targets, level)
    found = norm_gap(Diagonal(40), squared(features, targets), level)
    assert found.least**2 == pytest.approx(least, rel=3e-3) and found.least**2 >= least * (1 - 1e-6)


@pytest.mark.parametrize("level", [1e-3, 0.1])
def test_two_layers_have_the_gap_of_the_nuclear_norm(level):
    """‖A‖² + ‖B‖² at its least is twice the nuclear norm of BA: singular values of the targets, less one threshold."""
    targets = np.random.default_rng(0).normal(size=(6, 4))
    values = np.linalg.svd(targets, compute_uv=False)
    allowed = level * targets.size
    cut: Any = brentq(lambda size: float(np.square(np.minimum(values, size)).sum()) - allowed, 0.0, float(values[0]))
    least = math.sqrt(2.0 * float(np.maximum(values - cut, 0.0).sum()))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5, bias=False), nn.Linear(5, 4, bias=False)).double()
    found = norm_gap(model, squared(np.eye(6), targets), level)
    assert found.least == pytest.approx(least, rel=3e-3) and found.least >= least * (1 - 1e-6)


def test_the_least_l1_norm_is_that_of_the_linear_programme_where_the_level_vanishes():
    features, targets = drawn(12, 30, 2)
    both = np.hstack([features, -features])
    programme = linprog(np.ones(60), A_eq=both, b_eq=targets)
    assert least_l1(features, targets, 1e-16) == pytest.approx(programme.fun, rel=1e-6)
    assert least_l1(features, targets, 1.001 * float(np.mean(targets**2))) == 0.0
    norms = [least_l1(features, targets, level) for level in (1e-3, 1e-2, 1e-1, 1.0)]
    assert norms == sorted(norms, reverse=True)


@pytest.mark.parametrize("size", [0.0, 1e-8, 1.0, 1e4, 1e6])
def test_a_convex_problem_has_one_least_norm_from_every_start(size):
    features, targets = drawn(12, 4, 2)
    model, level = Linear(4), 0.3 * float(np.mean(targets**2))
    least = norm_gap(model, squared(features, targets), level, penalised=[model.weight]).least
    with torch.no_grad():
        model.weight.mul_(size)
    assert norm_gap(model, squared(features, targets), level, penalised=[model.weight]).least == pytest.approx(
        least, rel=2e-3
    )


def test_a_path_of_many_knots_is_followed_to_its_end():
    rng = np.random.default_rng(0)
    features, truth = rng.normal(size=(300, 320)), rng.normal(size=320)
    least = least_l1(features, features @ truth, 1e-3)
    assert 0 < least <= np.abs(truth).sum()


@pytest.mark.parametrize(
    ("loss", "level", "told"),
    [
        (lambda m: m.weight, 1.0, r"loss: gave a tensor of shape \(3,\), expected one number"),
        (lambda m: m.weight.sum() * math.nan, 1.0, "loss: nan is not finite"),
        (lambda m: nn.functional.dropout(m.weight, 0.5).square().sum(), 0.1, "differs when asked twice"),
        (lambda m: (m.weight - 1).square().sum(), 3.0, "level=3: W = 0 has a loss of 3, expected a level below"),
    ],
)
def test_a_loss_that_no_gap_can_be_read_from_is_refused(loss, level, told):
    with pytest.raises(UserError, match=told):
        norm_gap(Linear(3), loss, level)


def test_starts_and_samples_that_do_not_fit_are_refused():
    features, targets = drawn(12, 3, 2)
    with pytest.raises(UserError, match=r"starts\[0\]: parameters of other shapes"):
        norm_gap(Linear(3), squared(features, targets), 0.1, starts=[Linear(4)])
    with pytest.raises(UserError, match=r"shapes \(12, 3\), \(11,\), expected"):
        least_l1(features, targets[1:], 0.1)
    with pytest.raises(UserError, match="not finite"):
        least_l1(features * math.nan, targets, 0.1)


def test_no_level_is_reached_that_there_is_none_for():
    features, targets = drawn(30, 3, 3)
    noisy = targets + np.random.default_rng(1).normal(size=30)
    with pytest.raises(UserError, match=r"level=1e-06: the least error of a linear model is"):
        least_l1(features, noisy, 1e-6)
    with pytest.raises(UserError, match=r"level=1e-06: no minimum of loss \+ penalty is as low"):
        norm_gap(Linear(3), squared(features, noisy), 1e-6)
    with pytest.raises(UserError, match="level=0: expected a finite number > 0"):
        norm_gap(Linear(3), squared(features, noisy), 0)
    with pytest.raises(UserError, match="penalised: none of them"):
        norm_gap(Linear(3), squared(features, noisy), 1.0, penalised=[torch.ones(3)])


@pytest.mark.slow
def test_no_state_of_a_network_is_below_the_least_and_none_is_changed():
    """A network trained by phase 2, in float32: its gap is 1 or more, that of the oracle's own best is 1."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
    inputs, labels = torch.randn(24, 8), torch.randint(3, (24,))

    def loss(network: nn.Module) -> torch.Tensor:
        return nn.functional.cross_entropy(network(inputs), labels)

    opt = GROKtimizer(param_groups(model))
    for _ in range(300):
        opt.zero_grad()
        value = loss(model)
        value.backward()
        opt.observe(value)
        opt.step()
    before = [param.clone() for param in model.parameters()]
    weights = param_groups(model)[0]["params"]
    level = 1.01 * loss(model).item()
    found = norm_gap(model, loss, level, penalised=weights)
    assert found.norm == pytest.approx(math.sqrt(sum(float(w.detach().square().sum()) for w in weights)), rel=1e-5)
    assert found.loss == pytest.approx(loss(model).item(), rel=1e-4)
    assert found.least <= found.norm * 1.001 and found.loss <= level
    assert all(torch.equal(param, kept) for param, kept in zip(model.parameters(), before, strict=True))
    assert all(param.grad is not None for param in model.parameters())
