"""Taking on other people's models and states, mixed precision, several ranks, and what is refused by name."""

import copy
import math
import multiprocessing
import pickle
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from groktimizer import L2, GROKtimizer, param_groups
from groktimizer.optim import phase_one
from optim_cases import INF, LEFT, Problem, equal, rank_of_two, run


def fitted(optimizer: type[torch.optim.Optimizer], **options: Any) -> tuple[Problem, torch.optim.Optimizer]:
    problem = Problem()
    theirs = optimizer(problem.params, **options)
    run(problem, lambda: theirs.step(problem.closure), 400)
    return problem, theirs


@pytest.mark.parametrize(
    ("metric", "weight_decay"), [("adaptive", None), ("adaptive", 0.1), ("euclidean", None), ("euclidean", 1e-2)]
)
def test_a_memorised_model_is_taken_on_plain(metric: str, weight_decay: float | None) -> None:
    problem, _ = fitted(torch.optim.AdamW, lr=1e-2, weight_decay=0.0)
    start = sum(float(v.square().sum()) for v in problem.values())
    opt = problem.optimizer({"lr": 1e-2, "weight_decay": weight_decay, "metric": metric, "interpolation": INF})
    run(problem, lambda: opt.step(problem.closure), 400)
    assert opt.switch_step == 0
    assert sum(float(v.square().sum()) for v in problem.values()) < 0.9 * start
    assert problem.loss().item() < 0.2


@LEFT
def test_adamw_state_is_taken_over_in_the_middle_of_training() -> None:
    """The second moments, their count and AdamW's own beta2 go on; its first moment is dropped, the velocity rests."""
    problem, adamw = fitted(torch.optim.AdamW, lr=1e-2, betas=(0.9, 0.95))
    opt = GROKtimizer(problem.params, interpolation=INF)
    opt.load_state_dict(adamw.state_dict())
    group = opt.param_groups[0]
    assert (opt.phase, group["beta2"], group["moment_steps"]) == (2, 0.95, 400)
    for param in problem.params:
        assert not opt.state[param]["exp_avg"].any()
        assert torch.equal(opt.state[param]["exp_avg_sq"], adamw.state[param]["exp_avg_sq"])
    run(problem, lambda: opt.step(problem.closure), 300)
    assert problem.loss().item() < 0.2


def test_adam_state_continues_phase_one_exactly() -> None:
    """Loaded before the switch, Adam's whole state goes to the default base, which is Adam."""
    problem, adam = fitted(torch.optim.Adam, lr=1e-3, betas=(0.9, 0.98), fused=True)
    opt = GROKtimizer(problem.params, lr=1e-2, weight_decay=0.1, interpolation=1e-12)
    opt.load_state_dict(adam.state_dict())
    for group in adam.param_groups:
        group["lr"] = 1.2e-2
    twin = copy.deepcopy((problem, adam))
    run(problem, lambda: opt.step(problem.closure), 5)
    run(twin[0], lambda: twin[1].step(twin[0].closure), 5)
    assert equal(problem.values(), twin[0].values())


@LEFT
def test_sgd_state_brings_no_moments() -> None:
    problem, sgd = fitted(torch.optim.SGD, lr=0.1, momentum=0.9)
    opt = GROKtimizer(problem.params, interpolation=INF)
    opt.load_state_dict(sgd.state_dict())
    assert (opt.phase, opt.param_groups[0]["moment_steps"], opt.state_bytes) == (2, 0, 0)
    run(problem, lambda: opt.step(problem.closure), 200)
    assert problem.loss().item() < 0.2


def test_a_state_of_the_other_metric_is_refused() -> None:
    problem = Problem()
    state = problem.optimizer({"metric": "euclidean"}).state_dict()
    with pytest.raises(ValueError, match="metric='euclidean': expected 'adaptive'"):
        problem.optimizer({}).load_state_dict(state)


def test_a_phase_two_state_loads_into_a_fresh_optimizer_and_back() -> None:
    problem = Problem()
    opt = problem.optimizer({"interpolation": 0.2})
    early = copy.deepcopy(opt.state_dict())
    run(problem, lambda: opt.step(problem.closure), 150)
    late = opt.state_dict()
    fresh = Problem().optimizer({"interpolation": 0.2})
    fresh.load_state_dict(late)
    assert (fresh.phase, fresh.base) == (2, None)
    fresh.load_state_dict(early)
    assert fresh.phase == 1
    assert fresh.base is not None
    assert not fresh.state


def test_the_saved_state_does_not_change_with_the_optimizer() -> None:
    problem = Problem()
    opt = problem.optimizer({"interpolation": 0.2})
    saved = opt.state_dict()
    control = copy.deepcopy(saved["param_groups"][0]["control"])
    run(problem, lambda: opt.step(problem.closure), 100)
    assert saved["param_groups"][0]["control"] == control


def test_a_lambda_base_deepcopies_and_says_why_it_does_not_pickle() -> None:
    problem = Problem()
    opt = problem.optimizer({"base": lambda groups: torch.optim.SGD(groups, lr=0.1)})
    copy.deepcopy((problem, opt))[1].step()
    with pytest.raises(pickle.PicklingError, match="cannot be pickled: define it with `def` at the top level"):
        pickle.dumps(opt)


def test_a_closure_that_needs_many_evaluations_works_as_base() -> None:
    def lbfgs(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.LBFGS([p for group in groups for p in group["params"]], line_search_fn="strong_wolfe")

    problem = Problem()
    opt = problem.optimizer({"base": lbfgs, "interpolation": 0.05})
    run(problem, lambda: opt.step(problem.closure), 60)
    assert opt.phase == 2
    assert opt.switch_step is not None
    assert opt.switch_step < 30


def test_grad_scaler_skips_do_not_advance_the_clock() -> None:
    problem = Problem(torch.float32)
    opt = problem.optimizer({})
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**4)
    for step in range(6):
        for param in problem.params:
            param.grad = None
        loss = problem.loss()
        scaler.scale(loss).backward()
        if step % 2:
            assert problem.params[0].grad is not None
            problem.params[0].grad[0, 0] = math.inf
        opt.observe(loss)
        scaler.step(opt)
        scaler.update()
    assert opt.state_dict()["param_groups"][0]["control"]["steps"] == 3


@pytest.mark.parametrize(
    "schedule",
    [
        lambda opt: torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=0.1, total_steps=100, cycle_momentum=False),
        lambda opt: torch.optim.lr_scheduler.StepLR(opt, 20, 0.5),
        lambda opt: torch.optim.lr_scheduler.ReduceLROnPlateau(opt, patience=3),
    ],
    ids=["OneCycle", "Step", "Plateau"],
)
def test_torch_schedulers_drive_it(schedule: Any) -> None:
    problem = Problem()
    opt = problem.optimizer({"lr": 0.1, "weight_decay": 1e-3, "metric": "euclidean", "interpolation": 0.2})
    scheduler = schedule(opt)
    for _ in range(100):
        loss = opt.step(problem.closure)
        scheduler.step(*([loss.detach()] if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau) else []))
    assert opt.param_groups[0]["lr"] != 0.1
    assert problem.loss().item() < 1.0


def test_param_groups_spare_biases_and_normalisation_and_list_shared_tensors_once() -> None:
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 5, bias=False))
    model[3].weight = model[0].weight
    model[1].weight.requires_grad_(False)
    groups = param_groups(model)
    assert [tensor.shape for tensor in groups[0]["params"]] == [(5, 4)]
    assert [tensor.shape for tensor in groups[1]["params"]] == [(4,), (4,), (4,)]
    assert groups[1]["weight_decay"] == 0.0
    GROKtimizer(groups)
    with pytest.raises(ValueError, match="no trainable parameter"):
        param_groups(nn.ReLU())


@pytest.mark.slow
def test_all_ranks_switch_together_on_the_mean_loss() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    ranks = [context.Process(target=rank_of_two, args=(rank, address, queue)) for rank in range(2)]
    for process in ranks:
        process.start()
    results = [queue.get(timeout=300) for _ in ranks]
    for process in ranks:
        process.join()
    assert results[0] == results[1]
    alone = Problem()
    opt = alone.optimizer({"interpolation": 0.2})
    run(alone, lambda: opt.step(alone.closure), 120)
    assert results[0][0] == opt.switch_step


THETA = nn.Parameter(torch.ones(3))
REFUSED: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("lr", {"lr": -0.1}, "lr=-0.1: expected a finite number ≥ 0"),
    ("lr nan", {"lr": math.nan}, "lr=nan"),
    ("lr text", {"lr": "fast"}, "lr='fast'"),
    ("lr of two elements", {"lr": torch.ones(2)}, r"lr='a tensor of shape \(2,\)': expected"),
    ("weight_decay", {"weight_decay": -1.0}, "weight_decay=-1.0: expected a finite number ≥ 0"),
    ("weight_decay zero", {"weight_decay": 0.0}, "weight_decay=0 in every group"),
    ("lr * weight_decay", {"lr": 2.0, "weight_decay": 0.5}, "must be < 1 .* accepted at this lr is weight_decay < 0.5"),
    ("damping", {"damping": 0.0}, "damping=0.0: expected a finite number > 0"),
    ("beta2", {"beta2": 1.0}, r"beta2=1.0: expected a number in \[0, 1\)"),
    ("eps", {"eps": 0.0}, "eps=0.0"),
    ("metric", {"metric": "manhattan"}, "metric='manhattan': expected adaptive or euclidean"),
    ("penalty", {"penalty": "l1"}, "penalty='l1': expected L2"),
    ("interpolation", {"interpolation": 0.0}, "interpolation=0.0: expected a loss level > 0"),
    ("interpolation negative", {"interpolation": -1}, "interpolation=-1.0"),
    ("interpolation nan", {"interpolation": math.nan}, "interpolation=nan"),
    ("interpolation text", {"interpolation": "soon"}, "interpolation='soon'"),
    ("capturable", {"capturable": True}, "capturable=True is not supported"),
    ("differentiable", {"differentiable": True}, "differentiable=True is not supported"),
    ("foreach and fused", {"metric": "euclidean", "foreach": True, "fused": True}, "expected one of them"),
    ("fused adaptive", {"fused": True}, "accepted: compiled=True"),
    ("compiled euclidean", {"metric": "euclidean", "compiled": True}, "accepted there is fused=True"),
    ("maximize", {"maximize": True}, "maximize=True with interpolation=None"),
    ("poll", {"poll": 0}, "poll=0: expected a whole number ≥ 1 or None"),
    ("base", {"base": lambda _: "adam"}, "returned str"),
)


@pytest.mark.parametrize(("options", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_bad_argument_is_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        GROKtimizer([THETA], **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ([], "empty"),
        ([{"params": []}], "empty"),
        ([THETA, THETA], r"params\[1\] of shape \(3,\) is listed twice"),
        ([{"params": [THETA]}, {"params": [THETA]}], "listed twice"),
        ([nn.Parameter(torch.ones(2, dtype=torch.complex64))], "is complex"),
        ([nn.Parameter(torch.ones(2).to_sparse())], "is sparse"),
        ({THETA}, "set"),
        ([{"params": {THETA}}], "params is a set"),
        ([{"params": [THETA], "lr": -1.0}], "lr=-1.0"),
        (nn.Linear(2, 1), r"params is a module \(Linear\): expected its parameters, param_groups\(model\)"),
        (nn.Sequential(nn.Linear(2, 1)), r"params is a module \(Sequential\)"),
        ([nn.Linear(2, 1)], r"params\[0\] is a Linear: expected tensors"),
    ],
    ids=[
        "empty",
        "empty group",
        "twice",
        "in two groups",
        "complex",
        "sparse",
        "set",
        "set in a group",
        "group lr",
        "module",
        "modules in a row",
        "module in a list",
    ],
)
def test_bad_parameters_are_refused_in_one_line(params: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        GROKtimizer(params)
    assert "\n" not in str(caught.value)


def test_a_sparse_gradient_and_a_loss_of_several_numbers_are_refused() -> None:
    embedding = nn.Embedding(4, 2, sparse=True)
    opt = GROKtimizer(embedding.parameters(), interpolation=INF)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match="is sparse: expected dense gradients"):
        opt.step()
    with pytest.raises(ValueError, match=r"a tensor of shape \(2,\): expected one number"):
        opt.observe(torch.ones(2))


def test_the_l2_penalty_is_half_the_square_and_its_prox_the_argmin() -> None:
    """prox: u + (u - theta) / step = 0 at u = theta / (1 + step); any other point is worse."""
    theta = torch.randn(7, dtype=torch.float64)
    assert L2().value(theta).item() == pytest.approx(0.5 * float(theta @ theta))
    both = L2().value(torch.stack([theta, 2 * theta]), batched=True)
    torch.testing.assert_close(both, torch.stack([L2().value(theta), L2().value(2 * theta)]))
    best = L2().prox(theta, 0.3)

    def objective(point: torch.Tensor) -> float:
        return float(L2().value(point) + (point - theta).square().sum() / 0.6)

    assert all(objective(best) < objective(best + 1e-3 * torch.randn(7, dtype=torch.float64)) for _ in range(50))
    assert torch.equal(L2().subgradient(theta), theta)


def test_a_checkpoint_file_of_either_phase_loads_with_weights_only(tmp_path: Path) -> None:
    for steps in (3, 150):
        problem = Problem()
        opt = problem.optimizer({"interpolation": 0.2})
        run(problem, lambda o=opt, p=problem: o.step(p.closure), steps)
        torch.save(opt.state_dict(), tmp_path / "opt.pt")
        fresh = problem.optimizer({"interpolation": 0.2})
        fresh.load_state_dict(torch.load(tmp_path / "opt.pt", weights_only=True))
        assert fresh.phase == opt.phase


def test_phase_one_stays_on_the_fused_kernel_unless_the_state_has_other_strides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fused kernels take tensors for flat rows; the state of a channels_last model has the entries in another order."""
    fused: list[list[bool | None]] = []
    lanes = phase_one.lanes

    def watched(*arguments: Any) -> list[dict[str, Any]]:
        found = lanes(*arguments)
        fused.append([group["fused"] for group in found])
        return found

    monkeypatch.setattr(phase_one, "lanes", watched)
    weight = torch.nn.Parameter(torch.linspace(-0.1, 0.1, 24).reshape(1, 2, 3, 4))
    opt = GROKtimizer([weight], interpolation=1e-9)
    for _ in range(3):
        weight.grad = torch.ones_like(weight)
        opt.observe(1.0)
        opt.step()
    assert fused == [[True]] * 3
    state = copy.deepcopy(opt.state_dict())
    for name in ("exp_avg", "exp_avg_sq"):
        state["state"][0][name] = state["state"][0][name].to(memory_format=torch.channels_last)
    opt.load_state_dict(state)
    opt.observe(1.0)
    opt.step()
    assert fused[3] == [None]
