"""Corners of proximal phase 2: schedules, zeros, late or broken gradients, 16 bits, DTensors, saved, rolled back."""

import io
import math
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from groktimizer import L1, L2, GROKtimizer, GroupL1, Nuclear
from groktimizer.optim.control import Control
from groktimizer.optim.phase_two import decay_of
from groktimizer.penalties import Penalty
from optim_cases import INF

SAMPLES, UNKNOWNS = 40, 100
METRICS = ("adaptive", "euclidean")


def draw(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Features and a sparse teacher."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(SAMPLES, UNKNOWNS, generator=generator, dtype=torch.float64) / SAMPLES**0.5
    teacher = torch.zeros(UNKNOWNS, dtype=torch.float64)
    teacher[:5] = torch.tensor([1.0, -1.0, 0.7, 1.3, -0.6])
    return features.to(dtype), teacher.to(dtype)


def gradient(theta: Tensor, features: Tensor, teacher: Tensor) -> Tensor:
    return features.T @ (features @ (theta - teacher))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("penalty", [L1(), L2()], ids=["l1", "l2"])
def test_a_schedule_that_lowers_lr_slows_the_motion_at_once(penalty: Penalty, metric: str) -> None:
    features, teacher = draw()
    theta = nn.Parameter(torch.full((UNKNOWNS,), 0.3, dtype=torch.float64))
    opt = GROKtimizer([theta], lr=1e-2, weight_decay=1e-3, metric=metric, penalty=penalty, interpolation=INF)  # pyright: ignore[reportArgumentType]
    moves: list[float] = []
    for lr in [1e-2] * 30 + [1e-4, 0.0, 0.0, 1e-2]:
        opt.param_groups[0]["lr"] = lr
        before = theta.detach().clone()
        theta.grad = gradient(before, features, teacher)
        opt.step()
        moves.append(float((theta.detach() - before).norm()))
    assert moves[30] < 0.02 * moves[29]
    assert moves[31] == moves[32] == 0.0
    assert moves[33] > 0.3 * moves[29]


@pytest.mark.parametrize("closed", [True, False], ids=["closure", "observe"])
def test_a_start_at_zero_is_weighed_by_the_gradient(closed: bool) -> None:
    """A weight of 1 is the one that holds theta at 0; and the status says that a model at 0 has memorised nothing."""
    features, teacher = draw()
    theta = nn.Parameter(torch.zeros(UNKNOWNS, dtype=torch.float64))
    opt = GROKtimizer([theta], metric="euclidean", penalty=L1(), interpolation=INF)

    def closure() -> Tensor:
        opt.zero_grad()
        loss = 0.5 * (features @ (theta - teacher)).square().sum()
        loss.backward()
        return loss

    for _ in range(400):
        if closed:
            opt.step(closure)
        else:
            opt.observe(closure().detach())
            opt.step()
    assert units(opt) == [pytest.approx(float((features.T @ (features @ teacher)).abs().max()))]
    assert not theta.detach().any()
    assert "a model that has not memorised needs a level for interpolation" in opt.status


@pytest.mark.parametrize("penalty", [L1(), Nuclear(), GroupL1()], ids=["l1", "nuclear", "group"])
def test_an_adaptive_start_at_zero_does_not_depend_on_the_unit_of_the_loss(penalty: Penalty) -> None:
    ends: list[Tensor] = []
    for unit in (1e-4, 1.0, 1e4):
        generator = torch.Generator().manual_seed(1)
        truth = torch.randn(6, 2, generator=generator, dtype=torch.float64) @ torch.ones(2, 5, dtype=torch.float64)
        theta = nn.Parameter(torch.zeros(6, 5, dtype=torch.float64))
        opt = GROKtimizer([theta], lr=1e-2, penalty=penalty, interpolation=INF, eps=1e-30, guard=False)
        for _ in range(60):
            theta.grad = unit * (theta.detach() - truth)
            opt.observe(unit * float((theta.detach() - truth).square().sum()) / 2)
            opt.step()
        ends.append(theta.detach().clone())
    assert bool(ends[0].any())
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(ends[2], ends[1], rtol=1e-6, atol=1e-9)


def units(opt: GROKtimizer) -> list[float | None]:
    """What a weight of 1 means for each tensor of the first group; None while that is not known."""
    return [opt.state.get(param, {}).get("unit") or None for param in opt.param_groups[0]["params"]]


def test_an_empty_tensor_does_not_disturb_the_unit_of_the_others() -> None:
    values = torch.linspace(-1.0, 2.0, 12).reshape(4, 3)
    alone, beside, empty = nn.Parameter(values.clone()), nn.Parameter(values.clone()), nn.Parameter(torch.empty(0, 3))
    one, two = (GROKtimizer(params, penalty=L1(), interpolation=INF) for params in ([alone], [beside, empty]))
    for opt in (one, two):
        for param in opt.param_groups[0]["params"]:
            param.grad = torch.ones_like(param) * 1e-3
        opt.step()
    assert units(two) == units(one) * 2
    assert units(one)[0] not in {None, 1.0}
    assert torch.equal(alone, beside)


def test_a_broken_gradient_leaves_the_unit_for_the_next_step() -> None:
    theta = nn.Parameter(torch.linspace(-1.0, 2.0, 12))
    opt = GROKtimizer([theta], penalty=L1(), interpolation=INF, metric="euclidean", lr=1e-3)
    theta.grad = torch.full_like(theta, math.nan)
    opt.param_groups[0]["params"][0].data.copy_(torch.full_like(theta, math.nan))
    opt.step()
    assert units(opt) == [None]
    theta.data.copy_(torch.linspace(-1.0, 2.0, 12))
    theta.grad = torch.ones_like(theta)
    opt.step()
    start = torch.linspace(-1.0, 2.0, 12)
    assert units(opt) == [pytest.approx(float(start.square().sum() / start.abs().sum()))]


def test_a_tensor_whose_gradient_comes_late_is_weighed_when_it_comes() -> None:
    first, late = (nn.Parameter(torch.full((4, 3), size)) for size in (1.0, 5.0))
    opt = GROKtimizer([first, late], penalty=Nuclear(), interpolation=INF)
    first.grad = torch.ones_like(first)
    opt.step()
    assert units(opt) == [pytest.approx(12**0.5), None]
    first.grad, late.grad = torch.ones_like(first), torch.ones_like(late)
    opt.step()
    assert units(opt) == [pytest.approx(12**0.5), pytest.approx(5 * 12**0.5)]


def test_the_unit_is_what_the_step_applies() -> None:
    """One untuned Euclidean step from rest is prox of lr * weight * decay_scale * unit."""
    theta = nn.Parameter(torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64))
    opt = GROKtimizer([theta], lr=0.5, penalty=L1(), metric="euclidean", interpolation=INF)
    start = theta.detach().clone()
    theta.grad = torch.zeros_like(theta)
    opt.step()
    unit = float(start.square().sum() / start.abs().sum())
    scale = opt.state_dict()["param_groups"][0]["control"]["decay_scale"]
    torch.testing.assert_close(theta.detach(), L1().prox(start, 0.5 * scale * unit), rtol=1e-12, atol=0.0)


def test_a_refused_group_is_not_kept() -> None:
    opt = GROKtimizer([nn.Parameter(torch.ones(3, 3))], penalty=Nuclear())
    assert opt.base is not None
    before = len(opt.base.param_groups)
    with pytest.raises(ValueError, match="at least 2 dimensions"):
        opt.add_param_group({"params": [nn.Parameter(torch.ones(3))]})
    assert len(opt.param_groups) == 1
    assert len(opt.base.param_groups) == before


@pytest.mark.parametrize("option", ["compiled", "fused"])
def test_kernels_that_do_not_exist_are_refused_for_a_group_too(option: str) -> None:
    metric = "euclidean" if option == "fused" else "adaptive"
    groups = [{"params": [nn.Parameter(torch.ones(3))], "penalty": L1()}]
    with pytest.raises(ValueError, match=rf"{option}=True with penalty=L1\(\)"):
        GROKtimizer(groups, metric=metric, **{option: True})  # pyright: ignore[reportArgumentType]


def test_after_going_back_the_acceleration_starts_anew() -> None:
    features, teacher = draw()
    theta = nn.Parameter(torch.zeros(UNKNOWNS, dtype=torch.float64))
    opt = GROKtimizer([theta], lr=0.1, penalty=L1(), metric="euclidean", interpolation=0.5, guard=True)

    def step(broken: bool = False) -> None:
        theta.grad = gradient(theta.detach(), features, teacher)
        opt.observe(math.nan if broken else float(0.5 * (features @ (theta.detach() - teacher)).square().sum()))
        opt.step()

    for _ in range(120):
        step()
    control = Control.of(opt.param_groups)
    assert opt.phase == 2
    assert float(control.age) > 3
    step(broken=True)
    assert control.rollbacks == 1
    assert float(control.age) == 0.0
    start = theta.detach().clone()
    weight = decay_of(opt.param_groups[0], control) * opt.state[theta]["unit"]
    lr = 0.1 * control.lr_retreat
    step()
    weight = decay_of(opt.param_groups[0], control) * opt.state[theta]["unit"]
    plain = L1().prox(start - lr * gradient(start, features, teacher), lr * weight)
    torch.testing.assert_close(theta.detach(), plain, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("metric", "lr"), [("adaptive", 2e-4), pytest.param("adaptive", 1e-3, marks=pytest.mark.slow), ("euclidean", 1e-2)]
)
def test_small_steps_add_up_in_16_bits(metric: str, lr: float) -> None:
    values: list[float] = []
    for dtype in (torch.float32, torch.bfloat16):
        features, teacher = draw(torch.float32)
        theta = nn.Parameter(torch.full((UNKNOWNS,), 0.3).to(dtype))
        opt = GROKtimizer([theta], lr=lr, weight_decay=1e-2, metric=metric, penalty=L1(), interpolation=INF)  # pyright: ignore[reportArgumentType]
        for _ in range(2000):
            theta.grad = gradient(theta.detach().float(), features, teacher).to(dtype)
            opt.step()
        found = theta.detach().float()
        values.append(float(0.5 * (features @ (found - teacher)).square().sum() + 1e-2 * found.abs().sum()))
    assert values[1] < 1.35 * values[0]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3))
    return nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), *layers)


def mixed(model: nn.Module, metric: str, untuned: bool) -> GROKtimizer:
    """L1, nuclear norm, groups, L2 and nothing in one optimizer."""
    penalties = {"0": (L1(), 0.02), "2": (Nuclear(), 0.1), "4": (GroupL1("columns"), 0.1), "6": (L2(), 0.5)}
    groups: list[dict[str, Any]] = []
    for name, (penalty, weight) in penalties.items():
        own = {} if untuned else {"weight_decay": weight if metric == "adaptive" else 1e-4}
        groups.append({"params": [model.get_parameter(f"{name}.weight")], "penalty": penalty, **own})
    groups.append({"params": [model.get_parameter(f"{name}.bias") for name in "246"], "weight_decay": 0.0})
    lr = None if untuned or metric == "adaptive" else 0.05
    return GROKtimizer(groups, lr=lr, metric=metric, interpolation=0.3)  # pyright: ignore[reportArgumentType]


PAIRS = torch.cartesian_prod(torch.arange(7), torch.arange(7))
ANSWERS = (PAIRS[:, 0] + PAIRS[:, 1]) % 3


def train(model: nn.Module, opt: GROKtimizer) -> None:
    opt.zero_grad()
    loss = nn.functional.cross_entropy(model(PAIRS), ANSWERS)
    loss.backward()
    kept = [param.grad.clone() for param in model.parameters() if param.grad is not None]
    opt.observe(loss)
    opt.step()
    assert all(torch.equal(a, p.grad) for a, p in zip(kept, model.parameters(), strict=True) if p.grad is not None)


@pytest.mark.parametrize("untuned", [False, True], ids=["given", "untuned"])
@pytest.mark.parametrize("metric", METRICS)
def test_mixed_penalties_resume_bit_equal(metric: str, untuned: bool) -> None:
    model, steps = network(), 140
    opt = mixed(model, metric, untuned)
    saves: dict[int, bytes] = {}
    for step in range(steps):
        if step % 23 == 0 or (opt.switch_step is not None and step - opt.switch_step in {1, 2}):
            file = io.BytesIO()
            torch.save({"model": model.state_dict(), "opt": opt.state_dict()}, file)
            saves[step] = file.getvalue()
        train(model, opt)
    assert opt.phase == 2
    assert len(saves) >= 7
    for step, content in saves.items():
        saved = torch.load(io.BytesIO(content), weights_only=True)
        other = network()
        other.load_state_dict(saved["model"])
        resumed = mixed(other, metric, untuned)
        resumed.load_state_dict(saved["opt"])
        for _ in range(step, steps):
            train(other, resumed)
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True)), step


PLACES: dict[str, tuple[Penalty, Any]] = {
    "l1-sharded": (L1(), Shard(0)),
    "l1-replicated": (L1(), Replicate()),
    "rows-sharded": (GroupL1("rows"), Shard(0)),
    "columns-sharded": (GroupL1("columns"), Shard(0)),
    "nuclear-replicated": (Nuclear(), Replicate()),
}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", PLACES)
def test_a_dtensor_takes_the_steps_of_a_tensor(name: str, metric: str, tmp_path: Any) -> None:
    penalty, place = PLACES[name]
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        values = torch.randn(8, 6)
        spread = nn.Parameter(distribute_tensor(values.clone(), mesh, [place]))
        plain = nn.Parameter(values.clone())
        one, two = (
            GROKtimizer([param], penalty=penalty, metric=metric, lr=0.01, interpolation=INF)  # pyright: ignore[reportArgumentType]
            for param in (spread, plain)
        )
        for _ in range(5):
            grad = torch.randn(8, 6)
            spread.grad, plain.grad = distribute_tensor(grad, mesh, [place]), grad
            one.step()
            two.step()
        torch.testing.assert_close(spread.full_tensor(), plain)  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
        assert not torch.equal(plain, values)
    finally:
        dist.destroy_process_group()


# ------------------------------------------------------------------ the finish
def observed(opt: GROKtimizer, loss: Tensor) -> dict[str, Any]:
    opt.zero_grad()
    loss.backward()
    opt.observe(loss)
    opt.step()
    return opt.state_dict()["param_groups"][0]["control"]


def denoise(seed: int = 0) -> tuple[nn.Parameter, Tensor]:
    source = torch.Generator().manual_seed(seed)
    start, target = (torch.randn(12, 10, generator=source, dtype=torch.float64) for _ in range(2))
    return nn.Parameter(start), target


def test_a_pause_neither_hastens_the_finish_nor_moves_the_weight_of_the_penalty() -> None:
    theta, target = denoise()
    opt, known = GROKtimizer([theta], penalty=L1()), {"damped_time": 0.0, "finish_step": -1}
    found = opt.param_groups[0]["lr"]
    while known["damped_time"] < 6.0:
        known = observed(opt, 0.5 * (theta - target).square().mean())
    assert known["returned"]
    opt.param_groups[0]["lr"] = 0.0
    assert observed(opt, 0.5 * (theta - target).square().mean())["finish_step"] < 0
    opt.param_groups[0]["lr"] = found
    for _ in range(400):
        known = observed(opt, 0.5 * (theta - target).square().mean())
    assert known["finish_step"] > 0
    opt.param_groups[0]["lr"] = 0.0
    paused = [observed(opt, 0.5 * (theta - target).square().mean())["decay_scale"] for _ in range(50)]
    assert paused[-1] == paused[0]


def test_a_proximal_group_without_weight_is_not_waited_for() -> None:
    features, teacher = draw()
    theta = nn.Parameter(0.1 * torch.randn(UNKNOWNS, generator=torch.Generator().manual_seed(1)).double())
    free = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    opt = GROKtimizer([{"params": [theta]}, {"params": [free], "penalty": L1(), "weight_decay": 0.0}])
    known: dict[str, Any] = {"damped_time": 0.0, "finish_step": -1}
    while known["finish_step"] < 0 and known["damped_time"] < 11.0:
        known = observed(opt, (features @ (theta - teacher)).square().mean() + 0.0 * free.sum())
    assert known["finish_step"] > 0


def test_a_finish_whose_loss_has_no_curvature_goes_on() -> None:
    """A hinge is made of straight pieces: its gradient does not change along a short probe."""
    source = torch.Generator().manual_seed(0)
    features, signs = torch.randn(30, 60, generator=source), torch.sign(torch.randn(30, generator=source))
    theta = nn.Parameter(0.1 * torch.randn(60, generator=source))
    opt, norms, known = GROKtimizer([theta]), [], {"finish_step": -1}
    for _ in range(400):
        known = observed(opt, (1.0 - signs * (features @ theta)).clamp(min=0.0).mean())
        norms.append(float(theta.detach().norm()))
    assert 0 < known["finish_step"] < 200
    assert norms[-1] < 0.99 * norms[known["finish_step"]]


def test_a_curvature_is_found_from_zeros_by_short_steps() -> None:
    features, teacher = draw()
    theta = nn.Parameter(torch.zeros(UNKNOWNS, dtype=torch.float64))
    opt = GROKtimizer([theta], metric="euclidean", penalty=L1(), interpolation=INF)
    known: dict[str, Any] = {}
    for _ in range(25):
        known = observed(opt, 0.5 * (features @ (theta - teacher)).square().sum())
    assert known["curvature"] == pytest.approx(float(torch.linalg.eigvalsh(features.T @ features)[-1]), rel=0.1)
