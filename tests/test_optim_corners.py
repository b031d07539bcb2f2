"""Corners that a review found, each with the failure it had: polled losses, unusual bases, paused schedules, scales."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from groktimizer import L1, L2, GROKtimizer, LossBelow
from groktimizer.optim import lengths
from groktimizer.penalties import Penalty
from optim_cases import INF, LEFT, Problem, equal, run


@LEFT
@pytest.mark.parametrize("poll", [1, 10])
def test_the_guard_saves_a_poisoned_run_whatever_the_poll(poll: int) -> None:
    """Several losses in one reading: one rollback, and only the newest vouches for a kept state."""
    problem = Problem()
    opt = problem.optimizer({"interpolation": 0.2, "poll": poll})
    run(problem, lambda: opt.step(problem.closure), 200)
    assert all("snapshot" in opt.state[param] for param in problem.params)
    with torch.no_grad():
        problem.params[0].fill_(math.nan)
    run(problem, lambda: opt.step(problem.closure), 500)
    assert opt.state_dict()["param_groups"][0]["control"]["rollbacks"] == 1
    assert 0.18 < problem.loss().item() < 0.22  # the constraint binds


def composite(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    from groktimizer.peers import Composite

    params = [param for group in groups for param in group["params"]]
    matrices, rest = [p for p in params if p.ndim == 2], [p for p in params if p.ndim != 2]
    return Composite([torch.optim.SGD(matrices, lr=0.1, momentum=0.9), torch.optim.Adam(rest, lr=1e-2)])


def orthograd(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    from pytorch_optimizer import OrthoGrad

    return OrthoGrad(torch.optim.Adam(groups, lr=1e-2))


@LEFT
@pytest.mark.parametrize("base", [composite, orthograd])
def test_bases_that_keep_their_state_their_own_way_resume_bit_equal(base: Any) -> None:
    options = {"base": base, "interpolation": 0.05}
    whole = Problem()
    opt = whole.optimizer(options)
    run(whole, lambda: opt.step(whole.closure), 25)
    assert opt.phase == 1
    assert opt.state_bytes > 0
    saved, values = copy.deepcopy(opt.state_dict()), whole.values()
    run(whole, lambda: opt.step(whole.closure), 300)
    part = Problem()
    resumed = part.optimizer(options)
    with torch.no_grad():
        for param, value in zip(part.params, values, strict=True):
            param.copy_(value)
    resumed.load_state_dict(saved)
    run(part, lambda: resumed.step(part.closure), 300)
    assert resumed.phase == opt.phase
    assert equal(part.values(), whole.values())


def test_a_base_that_counts_steps_in_its_group_hands_over_its_count_and_beta2() -> None:
    def adamp(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        from pytorch_optimizer import AdamP

        return AdamP(groups, lr=1e-2, betas=(0.9, 0.95))

    problem = Problem()
    opt = problem.optimizer({"base": adamp, "interpolation": 0.2})
    run(problem, lambda: opt.step(problem.closure), 100)
    assert opt.switch_step is not None
    group = opt.param_groups[0]
    assert (group["beta2"], group["moment_steps"]) == (0.95, 100)


def test_a_relative_level_needs_a_positive_first_loss() -> None:
    with pytest.raises(ValueError, match=r"interpolation=None with a first training loss of -0\.5"):
        LossBelow().update(-0.5)


def test_somebodys_phase_one_goes_on_in_phase_two() -> None:
    problem = Problem()
    early = problem.optimizer({"interpolation": 1e-9})
    run(problem, lambda: early.step(problem.closure), 60)
    late = problem.optimizer({"interpolation": INF})
    late.load_state_dict(early.state_dict())
    assert (late.phase, late.base) == (2, None)
    assert late.param_groups[0]["moment_steps"] == 60


def test_another_kind_of_base_is_refused_by_name() -> None:
    problem = Problem()
    saved = problem.optimizer({"base": composite}).state_dict()
    with pytest.raises(ValueError, match="saved with base Composite: expected Adam"):
        problem.optimizer({}).load_state_dict(saved)


def test_a_paused_schedule_does_not_pile_up_velocity() -> None:
    problem = Problem()
    opt = problem.optimizer({"lr": 1e-3, "weight_decay": 0.5, "interpolation": INF})
    run(problem, lambda: opt.step(problem.closure), 50)
    before = [opt.state[param]["exp_avg"].clone() for param in problem.params]
    opt.param_groups[0]["lr"] = 0.0
    run(problem, lambda: opt.step(problem.closure), 50)
    after = [opt.state[param]["exp_avg"] for param in problem.params]
    assert equal(before, after)


def test_a_parameter_whose_gradient_comes_late_is_scaled_by_its_own_gradient() -> None:
    """Its second moment starts where a constant gradient would have brought it: force = g / |g|."""
    early, late = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    opt = GROKtimizer([early, late], lr=1e-3, weight_decay=1e-3, interpolation=INF)
    for step in range(30):
        early.grad = torch.ones(2)
        late.grad = torch.full((2,), 1e-3) if step >= 10 else None
        opt.step()
    correction = 1.0 - 0.98**30
    root = (opt.state[late]["exp_avg_sq"] / correction).sqrt()
    torch.testing.assert_close(root, torch.full((2,), 1e-3), rtol=1e-4, atol=0.0)


@pytest.mark.slow
def test_every_parameter_shape_is_compiled_once() -> None:
    """More lists of shapes than one function may be recompiled for."""
    params = [nn.Parameter(torch.ones(3 + k, dtype=torch.float64)) for k in range(9)]
    for param in params:
        opt = GROKtimizer([param], lr=1e-3, weight_decay=1e-2, interpolation=INF, compiled=True)
        param.grad = torch.full_like(param, 2.0)
        opt.step()  # a force of 1, and decay of 1e-2
        torch.testing.assert_close(param.detach(), torch.full_like(param, 1.0 - 1e-3 * 1.01))


def test_two_optimizers_do_not_share_a_detector() -> None:
    detector = LossBelow(absolute=0.5)
    opt = Problem().optimizer({"interpolation": detector})
    opt.observe(0.1)
    opt.step()
    assert detector.first is None


def test_losses_of_skipped_steps_do_not_count_when_they_are_not_finite() -> None:
    problem = Problem()
    opt = problem.optimizer({})
    opt.observe(torch.tensor(math.inf))
    opt.observe(torch.tensor(3.0))
    opt.step()
    assert opt.state_dict()["param_groups"][0]["control"]["last_loss"] == 3.0


def test_sparse_gradients_are_refused_in_phase_one_too() -> None:
    embedding = nn.Embedding(4, 2, sparse=True)
    opt = GROKtimizer(embedding.parameters())
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match="is sparse: expected dense gradients"):
        opt.step()


def test_float16_and_a_decay_too_strong_for_the_default_step_are_refused() -> None:
    with pytest.raises(ValueError, match=r"torch.float16, whose range .* bfloat16"):
        GROKtimizer([nn.Parameter(torch.ones(2, dtype=torch.float16))])
    with pytest.raises(ValueError, match=r"weight_decay=300\.0 with an effective lr of 0\.04: .* weight_decay < 25"):
        GROKtimizer([nn.Parameter(torch.tensor([1.0, -1.0]))], weight_decay=300.0)


def test_collapse_is_named_when_the_fit_went_with_the_norm() -> None:
    problem = Problem()
    adam = torch.optim.Adam(problem.params, lr=1e-2)
    run(problem, lambda: adam.step(problem.closure), 600)
    opt = problem.optimizer({"lr": 1e-2, "weight_decay": 20.0, "interpolation": INF})
    run(problem, lambda: opt.step(problem.closure), 300)
    assert "collapsed" in opt.status


@LEFT
@pytest.mark.slow
def test_a_small_scale_regression_survives_being_taken_on() -> None:
    """Targets a tenth as large: an absolute level would lie above what the zero function reaches."""
    problem = Problem()
    problem.targets = 0.1 * problem.targets
    adam = torch.optim.Adam(problem.params, lr=3e-3)
    run(problem, lambda: adam.step(problem.closure), 3000)
    memorised = problem.loss().item()
    assert memorised < 1e-5
    for metric in ("adaptive", "euclidean"):
        taken, opt_problem = None, copy.deepcopy(problem)
        taken = opt_problem.optimizer({"interpolation": INF, "metric": metric})
        run(opt_problem, lambda o=taken, p=opt_problem: o.step(p.closure), 400)
        assert opt_problem.loss().item() < 0.2 * float(problem.targets.square().mean())


def test_a_length_is_summed_exactly_whatever_the_blocks_and_strides() -> None:
    torch.manual_seed(5)
    wide = torch.randn(900, 700)  # more than two blocks
    exact = float(wide.double().square().sum())
    for tensor in (wide, wide.T, wide.reshape(9, 100, 7, 100).to(memory_format=torch.channels_last)):
        assert float(lengths.square(tensor)) == pytest.approx(exact, rel=1e-13)
    assert sum(block.numel() for block in lengths.blocks(wide)) == wide.numel() > 2 * lengths.BLOCK


@pytest.mark.parametrize("penalty", [L2(), L1()], ids=["l2", "l1"])
def test_a_run_is_the_same_in_blocks_of_five(penalty: Penalty, monkeypatch: pytest.MonkeyPatch) -> None:
    """The switch, the finish and its probes of the curvature, with zeros that a proximal map holds."""
    ends: list[list[torch.Tensor]] = []
    for block in (lengths.BLOCK, 5):
        monkeypatch.setattr(lengths, "BLOCK", block)
        problem = Problem()
        opt = problem.optimizer({"interpolation": 0.2, "penalty": penalty})
        run(problem, lambda opt=opt, problem=problem: opt.step(problem.closure), 400)
        assert opt.state_dict()["param_groups"][0]["control"]["finish_step"] > 0
        ends.append(problem.values())
    for whole, cut in zip(*ends, strict=True):
        torch.testing.assert_close(cut, whole, rtol=1e-9, atol=1e-12)
