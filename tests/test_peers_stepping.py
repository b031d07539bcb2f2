"""Peers that step in their own way, each against its formulas: Lion, SAM, averages, clipped rows, L-BFGS, a switch.

The formulas are iterated here in numpy on a convex quadratic, or on the small network of test_peers.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from groktimizer.models import MLP, ModularMLP, ModularTransformer
from groktimizer.peers import PEERS, resolve
from groktimizer.sweeps import check_limits, make_spec
from groktimizer.tasks import make_task
from groktimizer.training import Run, train
from test_peers import problem, run

NEW = ("lion", "sam", "schedulefree", "clip", "pinned", "two-phase", "lbfgs")
STEPS = 7
CURVATURES = np.array([[3.0, 0.5, 0.1], [1.0, 0.2, 2.0]])
START = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]])


class Bowl(nn.Module):
    """½ Σ curvature·weight², whose gradient is curvature·weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(START))

    def loss(self) -> Tensor:
        return (torch.tensor(CURVATURES) * self.weight.square()).sum() / 2


def descend(name: str, options: dict[str, Any], steps: int = STEPS) -> tuple[Bowl, torch.optim.Optimizer]:
    model = Bowl()
    peer, complete = resolve(name, options)
    optimizer = peer.build(model, complete)
    run(optimizer, model.loss, steps)
    return model, optimizer


def same(found: Tensor, wanted: np.ndarray, rtol: float = 1e-10) -> None:
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=rtol, atol=1e-13)


def adamw(theta: np.ndarray, at: Callable[[np.ndarray], np.ndarray], lr: float, decay: float) -> np.ndarray:
    """AdamW of β 0.9 and 0.999 whose gradient is taken where `at` says."""
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for t in range(1, STEPS + 1):
        grad = CURVATURES * at(theta)
        m, v = 0.9 * m + 0.1 * grad, 0.999 * v + 0.001 * grad**2
        theta = (1 - lr * decay) * theta - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return theta


def test_lion_goes_by_the_sign_of_mixed_momentum():
    theta, m, lr, decay = START, np.zeros_like(START), 0.1, 0.3
    for _ in range(STEPS):
        grad = CURVATURES * theta
        theta, m = (1 - lr * decay) * theta - lr * np.sign(0.9 * m + 0.1 * grad), 0.99 * m + 0.01 * grad
    same(descend("lion", {"lr": lr, "weight_decay": decay})[0].weight, theta)


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_sam_takes_its_gradient_at_the_worst_point_of_a_ball(rho: float):
    def worst(theta: np.ndarray) -> np.ndarray:
        grad = CURVATURES * theta
        return theta + rho * grad / np.linalg.norm(grad)

    wanted = adamw(START, worst, lr=0.1, decay=0.3)
    same(
        descend("sam", {"lr": 0.1, "weight_decay": 0.3, "rho": rho})[0].weight, wanted, rtol=1e-7
    )  # its norm is in float32


def test_schedulefree_averages_what_it_offers():
    """x is the mean of the z, y lies between them; the gradient is taken at y and x is offered."""
    x, z, v, lr, decay, beta = START, START, np.zeros_like(START), 0.1, 0.3, 0.9
    for t in range(1, STEPS + 1):
        y = (1 - beta) * z + beta * x
        v = 0.999 * v + 0.001 * (CURVATURES * y) ** 2
        z = z - lr * (CURVATURES * y / (np.sqrt(v / (1 - 0.999**t)) + 1e-8) + decay * y)
        x = x + (z - x) / t
    model, optimizer = descend("schedulefree", {"lr": lr, "weight_decay": decay})
    same(model.weight, (1 - beta) * z + beta * x)
    optimizer.eval()  # pyright: ignore[reportAttributeAccessIssue]
    same(model.weight, x)


@pytest.mark.parametrize("inner", ["lion", "adamw"])
def test_clip_cuts_long_rows_after_every_step_and_leaves_short_ones(inner: str):
    """Of two matrices the second is the read-out; with a step so short that nothing else moves."""
    model = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 2, bias=False)).double()
    first, second = model.parameters()
    with torch.no_grad():
        first.copy_(torch.tensor(START))
        second.fill_(9.0)
    peer, options = resolve("clip", {"inner": inner, "lr": 1e-12, "radius": 4.0, "start": False})
    run(peer.build(model, options), lambda: model(torch.ones(1, 3, dtype=torch.float64)).sum(), 3)
    lengths = np.linalg.norm(START, axis=1, keepdims=True)
    assert lengths[0] < 4 < lengths[1]
    wanted = START * np.minimum(1, 4 / lengths)
    np.testing.assert_allclose(first.detach().numpy(), wanted, rtol=1e-6)
    np.testing.assert_allclose(second.detach().numpy(), 9.0, rtol=1e-6)


def test_clip_starts_with_rows_of_one_length():
    model = ModularMLP(7, 12, generator=torch.Generator().manual_seed(0))
    peer, options = resolve("clip", {"radius": 1.5, "vectors": False})
    biases = [param.clone() for param in model.parameters() if param.ndim == 1]
    run(peer.build(model, {**options, "lr": 1e-12}), lambda: model(torch.zeros(1, 2, dtype=torch.long)).sum(), 1)
    for param in model.parameters():
        if param.ndim > 1:
            torch.testing.assert_close(param.norm(dim=1), torch.full((len(param),), 1.5))
    vectors = [param for param in model.parameters() if param.ndim == 1]
    assert all(torch.allclose(*pair) for pair in zip(biases, vectors, strict=True))
    optimizer = peer.build(model, {**options, "lr": 1e-12, "vectors": True})
    run(optimizer, lambda: model(torch.zeros(1, 2, dtype=torch.long)).sum(), 1)
    assert [float(param.detach().norm()) for param in vectors] == pytest.approx([1.5, 1.5])
    with torch.no_grad():
        vectors[0].mul_(0.5)
    run(optimizer, lambda: model(torch.zeros(1, 2, dtype=torch.long)).sum(), 1)
    assert float(vectors[0].detach().norm()) == pytest.approx(0.75)  # not again


@pytest.mark.parametrize(
    ("model", "options", "hidden"),
    [
        (ModularMLP(5, 4), {}, ["embedding", "hidden.weight", "hidden.bias"]),
        (ModularMLP(5, 4), {"vectors": False, "skip": "embedding, output"}, ["hidden.weight"]),
        (ModularMLP(5, 4, combine="matrix", tables=2, biases=False), {}, ["embedding", "second", "hidden.weight"]),
        (
            ModularTransformer(5, 4, 2),
            {},
            ["embedding", "position", "query", "key", "value", "attention_output", "expand", "contract"],
        ),
        (MLP((3, 4, 2)), {"vectors": False}, ["layers.0.weight"]),
        (MLP((3, 4, 2)), {"vectors": False, "skip": "layers"}, []),
    ],
)
def test_clip_leaves_the_read_out_and_what_it_is_told_to(model: nn.Module, options: dict[str, Any], hidden: list[str]):
    peer, complete = resolve("clip", options)
    clipped = {id(param) for param in peer.build(model, complete).take.args[0]}  # pyright: ignore[reportAttributeAccessIssue]
    assert [name for name, param in model.named_parameters() if id(param) in clipped] == hidden


def test_pinned_is_adamw_between_projections_onto_a_sphere():
    """Weights and biases together; it begins on the sphere, and its moments are those of the gradients there."""
    peer, options = resolve("pinned", {"lr": 0.05, "norm": 3.0, "weight_decay": 0.2})
    model, loss = problem()
    other, plain = problem()
    parameters = list(other.parameters())
    matrices, vectors = [[p for p in parameters if (p.ndim == 2) == two] for two in (True, False)]
    groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=0.05, betas=(0.9, 0.98), weight_decay=0.2)

    def project() -> None:
        size = math.sqrt(sum(float(p.detach().square().sum()) for p in parameters))
        with torch.no_grad():
            for p in parameters:
                p.mul_(3.0 / size)

    project()
    optimizer = peer.build(model, options)
    for _ in range(STEPS):
        reference.zero_grad()
        plain().backward()
        reference.step()
        project()
        run(optimizer, loss, 1)
        assert sum(float(p.detach().square().sum()) for p in model.parameters()) == pytest.approx(9.0, rel=1e-12)
    for value, wanted in zip(model.parameters(), parameters, strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-10, atol=1e-12)


def test_two_phases_are_adamw_without_and_then_with_decay():
    """The switch: the mean of loss and what it was, halved each step, is below 2 % of the first twice in a row."""
    peer, options = resolve("two-phase", {"lr": 0.1, "weight_decay": 2.0})
    model, loss = problem()
    optimizer: Any = peer.build(model, options)
    other, plain = problem()
    matrices, vectors = [[p for p in other.parameters() if (p.ndim == 2) == two] for two in (True, False)]
    groups = [{"params": matrices}, {"params": vectors}]
    reference = torch.optim.AdamW(groups, lr=0.1, betas=(0.9, 0.98), weight_decay=0.0)
    first = smooth = float(plain().detach())
    below, switch = 0, None
    for step in range(60):
        reference.zero_grad()
        value = plain()
        value.backward()
        smooth = (smooth + float(value.detach())) / 2
        below = below + 1 if smooth < 0.02 * first else 0
        if switch is None and below == 2:
            switch, reference.param_groups[0]["weight_decay"] = step, 2.0
        reference.step()
        run(optimizer, loss, 1)
        assert (optimizer.phase, optimizer.switch_step) == (1 if switch is None else 2, switch)
    assert switch is not None and 5 < switch < 50 and f"decay since step {switch}" in optimizer.status
    for value, wanted in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(value, wanted)


def test_lbfgs_finds_the_minimum_of_loss_and_penalty_where_biases_are_free():
    """Least squares with 2β in the normal equations of the centred data; the bias takes the means."""
    rng = np.random.default_rng(0)
    inputs, targets, beta = rng.normal(size=(20, 5)), rng.normal(size=20) + 3.0, 0.1
    model = nn.Linear(5, 1).double()
    x, y = torch.from_numpy(inputs), torch.from_numpy(targets)
    peer, options = resolve("lbfgs", {"weight_decay": beta})
    run(peer.build(model, options), lambda: (model(x).squeeze(1) - y).square().sum() / 2, 5)
    centred = inputs - inputs.mean(0)
    weight = np.linalg.solve(centred.T @ centred + 2 * beta * np.eye(5), centred.T @ (targets - targets.mean()))
    np.testing.assert_allclose(model.weight.detach().numpy()[0], weight, rtol=1e-4)
    assert float(model.bias.detach()) == pytest.approx(targets.mean() - inputs.mean(0) @ weight, rel=1e-4)


# ------------------------------------------------------------------ in a run
ADDITION = make_task("modular-addition", {"p": 7, "width": 8})


def go(name: str, options: dict[str, object] | None = None, **given: Any) -> Run:
    peer, complete = resolve(name, options)
    calls: list[int] = []

    def build(model: nn.Module) -> torch.optim.Optimizer:
        hook = model.register_forward_hook(lambda *_: calls.append(1) if torch.is_grad_enabled() else None)
        assert hook
        return peer.build(model, complete)

    arguments: dict[str, Any] = {"every": 3, **given}
    result = train(ADDITION, build, steps=12, **arguments)
    assert result.passes == len(calls) == result.history["passes"][-1]
    return result


@pytest.mark.parametrize(
    ("name", "passes"), [("lion", 1), ("clip", 1), ("pinned", 1), ("schedulefree", 1), ("two-phase", 1), ("sam", 2)]
)
def test_every_forward_backward_pass_is_counted(name: str, passes: int):
    run = go(name)
    assert run.history["passes"].tolist() == [passes * step for step in run.history["step"]]


def test_the_passes_of_a_line_search_are_counted():
    history = go("lbfgs").history
    assert history["passes"].dtype == np.int64
    spent = np.diff(history["passes"])
    assert spent[0] > 3 * 3 and (spent >= 3).all() and (spent <= 3 * 26).all()


def test_what_is_evaluated_of_schedulefree_is_the_average_and_looking_changes_nothing():
    rare, often = (go("schedulefree", {"lr": 0.1}, every=every).history for every in (12, 1))
    np.testing.assert_array_equal(rare["train_loss"], often["train_loss"][[0, -1]])
    models: list[nn.Module] = []
    peer, options = resolve("schedulefree", {"lr": 0.1})

    def build(model: nn.Module) -> torch.optim.Optimizer:
        models.append(model)
        return peer.build(model, options)

    ended = train(ADDITION, build, steps=12, every=12)
    stepping = ADDITION.build(0).evaluate(models[0])["train_loss"]
    assert ended.history["train_loss"][-1] == often["train_loss"][-1] != stepping


def test_a_peer_says_which_task_it_cannot_run():
    for name, task, options, told in (
        ("lbfgs", "modular-addition", {"batch_size": 16}, "batch_size=16: L-BFGS compares losses of the same samples"),
        ("clip", "ridge", {}, "clip: linear recovery has no hidden weights to cut"),
    ):
        with pytest.raises(ValueError, match=told) as caught:
            check_limits([make_spec(task, name, task_options=options)])
        assert "\n" not in str(caught.value)
        check_limits([make_spec("modular-addition", name)])


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("lbfgs", {"iterations": 0}, "iterations=0: expected a whole number ≥ 1"),
        ("lbfgs", {"history": 0}, "history=0: expected a whole number ≥ 1"),
        ("schedulefree", {"beta1": 0.0}, "beta1=0.0: expected a number inside"),
        ("schedulefree", {"warmup": -1}, "warmup=-1: expected a whole number ≥ 0"),
        ("sam", {"rho": -0.1}, "rho=-0.1: expected a finite number ≥ 0"),
        ("pinned", {"norm": 0.0}, "norm=0.0: expected a finite number > 0"),
        ("clip", {"radius": 0.0}, "radius=0.0: expected a finite number > 0"),
        ("clip", {"inner": "lyon"}, "unknown inner 'lyon': did you mean 'lion'?"),
        ("two-phase", {"interpolation": -1}, "interpolation=-1.0: expected a loss level > 0"),
    ],
)
def test_wrong_options_are_one_line(name: str, options: dict[str, object], told: str):
    with pytest.raises(ValueError, match=told) as caught:
        make_spec("modular-addition", name, optimizer_options=options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["sam", "two-phase", "lbfgs"])
def test_a_peer_that_looks_at_the_loss_asks_for_a_closure(name: str):
    peer, options = resolve(name)
    with pytest.raises(ValueError, match=r"closure=None: .* expected step\(closure\)"):
        peer.build(problem()[0], options).step()


def test_the_grids_have_eight_cells_and_the_defaults_of_the_authors():
    assert all(len(PEERS[name].grid) == 8 for name in NEW)
    wanted = {
        "lion": (1e-4, 0.9, 0.99),
        "schedulefree": (2.5e-3, 0.9, 0.999),
        "clip": (1e-3, 0.9, 0.97),
        "sam": (1e-3, 0.9, 0.999),
    }
    for name, (lr, *betas) in wanted.items():
        group = PEERS[name].build(problem()[0], PEERS[name].defaults).param_groups[0]
        assert (group["lr"], tuple(group["betas"])) == (lr, tuple(betas))
    assert PEERS["sam"].defaults["rho"] == 0.05 and PEERS["clip"].defaults["radius"] == 2.0
    assert PEERS["two-phase"].grid == PEERS["adamw"].grid and math.isclose(PEERS["lbfgs"].defaults["lr"], 1.0)
