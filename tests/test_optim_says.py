"""What the optimizer says without being asked: one warning for each thing, and advice that names what the user set."""

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from groktimizer import GROKtimizer
from optim_cases import INF, Problem, run


def said(play: Callable[[], object]) -> list[str]:
    """What is said, each at a line of this file or its neighbour: never at one of torch, whose step stands between."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        play()
    assert {Path(each.filename).parent for each in found} <= {Path(__file__).parent}
    return [str(each.message) for each in found if "GROKtimizer" in str(each.message)]


def trained(options: dict[str, Any], steps: int, *, loss: Callable[[int], float] | None = None) -> list[str]:
    """What is said in a run; `loss` replaces what the optimizer is told."""
    problem = Problem()

    def play() -> None:
        opt = problem.optimizer(options)
        for step in range(steps):
            value = problem.closure()
            opt.observe(value if loss is None else loss(step))
            opt.step()

    return said(play)


def test_a_run_without_a_loss_says_what_to_wire_in_once() -> None:
    problem = Problem()
    opt = problem.optimizer({})

    def play() -> None:
        for _ in range(700):
            problem.closure()
            opt.step()

    (text,) = said(play)
    assert "no training loss observed in 50 steps, so phase 2 never begins" in text
    assert "opt.observe(loss) before opt.step(), or opt.step(closure)" in text


def test_a_model_taken_on_without_a_loss_says_so_only_where_something_needs_it() -> None:
    for options, expected in (({}, 1), ({"weight_decay": 0.5}, 0)):
        problem = Problem()
        opt = problem.optimizer({"interpolation": INF} | options)

        def play(opt: GROKtimizer = opt, problem: Problem = problem) -> None:
            for _ in range(200):
                problem.closure()
                opt.step()

        assert len(said(play)) == expected


def test_an_optimizer_of_another_model_says_that_nothing_moves() -> None:
    problem, other = Problem(), Problem()
    opt = other.optimizer({})

    def play() -> None:
        for _ in range(120):
            opt.observe(problem.closure())
            opt.step()

    (text,) = said(play)
    assert "no parameter that it holds has a gradient, so nothing moves: make the optimizer from the model" in text


@pytest.mark.parametrize("steps", [30, 60])
def test_a_loss_that_is_not_a_number_is_said_in_phase_one(steps: int) -> None:
    problem = Problem()
    opt = problem.optimizer({"interpolation": 1e-12})

    def play() -> None:
        for step in range(120):
            loss = problem.closure()
            opt.observe(loss if step < steps else loss * math.nan)
            opt.step()

    (text,) = said(play)
    assert "is nan; look for such numbers in the data, or pass lr= a smaller step" in text
    assert opt.status.startswith("phase 1: the training loss is not finite")


def test_phase_one_says_what_phase_two_waits_for() -> None:
    problem = Problem()
    opt = problem.optimizer({"interpolation": 1e-12})
    run(problem, lambda: opt.step(problem.closure), 3)
    assert opt.status.endswith("; phase 2 begins below 1e-12")
    noisy = problem.optimizer({"interpolation": 0.5})
    generator = torch.Generator().manual_seed(0)
    for _ in range(40):
        problem.closure()
        noisy.observe(1.0 + torch.rand((), generator=generator))
        noisy.step()
    assert noisy.status.endswith("so far, is below 0.5 for sure") and "batches differ" in noisy.status
    resumed = problem.optimizer({"interpolation": 0.5})
    resumed.load_state_dict(noisy.state_dict())
    assert resumed.status == noisy.status


@pytest.mark.parametrize("decay", [1e-3, 3e-3])
def test_a_decay_on_adamws_scale_is_told_with_the_scale_that_is_usual_here(decay: float) -> None:
    problem = Problem()
    opt = problem.optimizer({"weight_decay": decay, "lr": 2e-3, "interpolation": 0.2, "guard": False})
    (text,) = said(lambda: run(problem, lambda: opt.step(problem.closure), 1500))
    assert "the norm has grown from" in text
    assert "raise weight_decay (here gradients are scaled to unit size, so that 1 to 3 is usual" in text
    assert "raise weight_decay" in opt.status
    assert trained({"weight_decay": 1.5, "interpolation": 0.2, "guard": False}, 600) == []


def test_leaving_the_manifold_is_said_once_and_names_the_option_that_was_set() -> None:
    def loss(step: int) -> float:
        return (1.0, 0.05, 0.05)[min(step, 2)] if step % 100 < 60 else 90.0

    for options, advice in (
        ({}, "pass a lower level as interpolation="),
        ({"weight_decay": 0.5}, "lower weight_decay"),
    ):
        (text,) = trained({"interpolation": 0.2} | options, 700, loss=loss)
        assert "left the interpolation level" in text
        assert advice in text


def test_a_plateau_above_the_level_is_said_once() -> None:
    for options, advice in (
        ({}, "pass interpolation= a level it can reach"),
        ({"interpolation": 0.01}, "raise interpolation to a level it can reach"),
    ):
        (text,) = trained(options, 1400, loss=lambda step: 1.0 + math.exp(-step))
        assert "never interpolated" in text
        assert advice in text


def test_status_does_not_name_an_option_that_was_not_set() -> None:
    problem = Problem()
    opt = problem.optimizer({"interpolation": INF})
    with torch.no_grad():
        problem.params[0].fill_(math.nan)
    assert "pass lr= a smaller step" in opt.status
    given = problem.optimizer({"interpolation": INF, "lr": 1e-3})
    assert "lower lr" in given.status


# ---------------------------------------------------------------- tensors that frameworks put in and take out


def pruned(opt: GROKtimizer, old: nn.Parameter, keep: slice) -> nn.Parameter:
    """A parameter with fewer rows in place of another, its state cut alike."""
    new = nn.Parameter(old.detach()[keep].clone())
    for group in opt.param_groups:
        group["params"] = [new if param is old else param for param in group["params"]]
    entry = opt.state.pop(old, {})
    opt.state[new] = {
        key: value[keep].clone() if isinstance(value, torch.Tensor) and value.ndim else value
        for key, value in entry.items()
    }
    return new


@pytest.mark.parametrize("options", [{}, {"metric": "euclidean", "lr": 0.05, "weight_decay": 1e-3}], ids=str)
@pytest.mark.parametrize("cut", [4, 150])
def test_a_replaced_tensor_is_trained_in_either_phase(options: dict[str, Any], cut: int) -> None:
    """Its state travels with it: the rows that stay move on as they would beside rows that nothing pulls at."""
    problem = Problem()
    opt = problem.optimizer({"interpolation": 0.2} | options)
    run(problem, lambda: opt.step(problem.closure), cut)
    assert opt.phase == (1 if cut == 4 else 2)
    old = problem.params[0]
    new = pruned(opt, old, slice(0, 5))
    problem.params[0] = new
    problem.params[1] = pruned(opt, problem.params[1], slice(0, 5))
    with torch.no_grad():
        narrow = nn.Parameter(problem.params[2].detach()[:, :5].clone())
    for group in opt.param_groups:
        group["params"] = [narrow if param is problem.params[2] else param for param in group["params"]]
    opt.state.pop(problem.params[2], None)
    problem.params[2] = narrow
    before = [param.detach().clone() for param in problem.params]
    run(problem, lambda: opt.step(problem.closure), 25)
    assert not any(torch.equal(a, b) for a, b in zip(before, problem.values(), strict=True))
    saved = opt.state_dict()
    again = problem.optimizer({"interpolation": 0.2} | options)
    again.load_state_dict(saved)
    assert again.phase == opt.phase


def test_the_base_works_on_the_groups_own_lists_and_state() -> None:
    problem = Problem()
    opt = problem.optimizer({"interpolation": 0.2})
    opt.step(problem.closure)
    assert opt.base is not None
    assert opt.base.state is opt.state
    assert opt.base.param_groups[0]["params"] is opt.param_groups[0]["params"]
    late = nn.Parameter(torch.ones(3, dtype=torch.float64))
    opt.param_groups[0]["params"].append(late)
    late.grad = torch.ones_like(late)
    opt.step()
    assert not torch.equal(late, torch.ones_like(late))
    assert {"exp_avg", "exp_avg_sq", "scale", "unit"} <= set(opt.state[late])


def test_a_base_with_groups_of_its_own_gets_replaced_tensors_and_refuses_others() -> None:
    def merged(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.SGD([param for group in groups for param in group["params"]], lr=0.1)

    params = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))]
    opt = GROKtimizer([{"params": [params[0]]}, {"params": [params[1]]}], base=merged)
    new = nn.Parameter(torch.ones(2))
    opt.param_groups[1]["params"][0] = new
    new.grad = torch.ones(2)
    opt.step()
    assert torch.equal(new, torch.full((2,), 0.9))
    opt.param_groups[1]["params"].append(nn.Parameter(torch.ones(2)))
    with pytest.raises(ValueError, match="base=SGD keeps parameter groups of its own, and parameters came or went"):
        opt.step()


@pytest.mark.parametrize("place", [0, 1])
def test_an_empty_group_beside_others_is_accepted(place: int) -> None:
    weight = nn.Parameter(torch.ones(3, 3))
    groups: list[dict[str, Any]] = [{"params": [weight]}]
    groups.insert(place, {"params": [], "weight_decay": 0.0})
    opt = GROKtimizer(groups, interpolation=0.1)
    for loss in (1.0, 0.01, 0.01, 0.01):
        weight.grad = torch.ones_like(weight)
        opt.observe(loss)
        opt.step()
    fresh = GROKtimizer(groups, interpolation=0.1)
    fresh.load_state_dict(opt.state_dict())
    assert fresh.phase == opt.phase
    with pytest.raises(ValueError, match="every parameter group is empty"):
        GROKtimizer([{"params": []}, {"params": []}])


def test_an_observed_loss_replaces_the_closures() -> None:
    """As in Lightning's accumulation, whose closure returns the last micro-batch's loss over their number."""
    problem = Problem()
    opt = problem.optimizer({"interpolation": 0.2})

    def closure() -> Any:
        loss = problem.closure()
        opt.observe(loss)
        return loss / 8.0

    twin = Problem()
    plain = twin.optimizer({"interpolation": 0.2})
    for _ in range(60):
        opt.step(closure)
        plain.step(twin.closure)
    assert opt.switch_step == plain.switch_step is not None
    assert all(torch.equal(a, b) for a, b in zip(problem.values(), twin.values(), strict=True))


def test_a_phase_one_file_is_no_larger_than_adams_but_for_the_snapshot_and_the_probes() -> None:
    """Keys and shapes are those of every step; what an untuned run will end in, two tensors to probe by, included."""
    import io

    def size(opt: torch.optim.Optimizer) -> int:
        buffer = io.BytesIO()
        torch.save(opt.state_dict(), buffer)
        return buffer.getbuffer().nbytes

    given: dict[str, Any] = {"lr": 1e-3, "weight_decay": 1.0}
    for guard, options, buffers in ((False, given, 2), (True, given, 3), (False, {}, 4), (True, {}, 5)):
        params = [nn.Parameter(torch.randn(300, 300)) for _ in range(4)]
        ours, adam = GROKtimizer(params, guard=guard, **options), torch.optim.Adam(params)
        for param in params:
            param.grad = torch.ones_like(param)
        for opt in (ours, adam):
            opt.step()
        assert size(ours) <= 1.2 * size(adam) * buffers / 2
