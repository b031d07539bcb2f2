"""The constraint and the guard: driven by lists of losses, and on networks that are made to fail."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from groktimizer import GROKtimizer, LossBelow
from groktimizer.optim import constraint
from groktimizer.optim.constraint import Rule
from groktimizer.optim.control import Control
from groktimizer.optim.guard import Action, watch
from groktimizer.optim.upkeep import FLUSH_EVERY, flush
from optim_cases import INF, LEFT, Problem, run

RULE = Rule()
LEVEL = 0.1


def drive(losses: list[float], rule: Rule = RULE, rate: float = 0.1) -> tuple[Control, list[Action]]:
    state = Control("adaptive", decay_scale=rule.start)
    actions = []
    for loss in losses:
        constraint.constrain(state, loss, LEVEL, rate, rule, cap=math.inf)
        actions.append(watch(state, loss, LEVEL, 5.0, rule))
    return state, actions


def test_the_first_excursion_is_left_alone() -> None:
    """At rate 1/8, `hold` = 6 units of damped time are 48 steps."""
    state, _ = drive([0.05] + [1.0] * 47, rate=0.125)
    assert state.lr_scale == state.decay_scale == 1.0


def test_above_the_level_for_long_decay_and_lr_shrink_by_the_stated_rates() -> None:
    """A constant loss e * level has ln(mean / level) = 1: each late step multiplies by exp(-gain)."""
    state, _ = drive([math.e * LEVEL] * 80, rate=0.125)
    late = 80 - 48  # the clock, an eighth a step, stands above 6 from the 49th step on
    assert state.decay_scale == pytest.approx(math.exp(-RULE.decay_gain * late))
    assert state.lr_scale == pytest.approx(math.exp(-RULE.late_gain * late))


def test_below_the_level_lr_cools_by_one_e_fold_per_cooling_time() -> None:
    before = 21  # steps until the clock passes `ring` = 2 and the return counts
    state, _ = drive([0.01] * (before + 80), rate=0.1)
    assert state.returned
    assert state.lr_scale == pytest.approx(math.exp(-80 * 0.1 / RULE.cooling), rel=0.03)
    assert state.decay_scale == 1.0


@given(st.lists(st.floats(0.0, 100.0) | st.sampled_from([math.nan, math.inf]), max_size=300))
def test_scales_never_grow_and_stay_positive_whatever_the_losses(losses: list[float]) -> None:
    state = Control("adaptive", decay_scale=RULE.start)
    previous = replace(state)
    for loss in losses:
        constraint.constrain(state, loss, LEVEL, 0.1, RULE, cap=math.inf)
        action = watch(state, loss, LEVEL, 5.0, RULE)
        if action is not Action.ROLL_BACK:
            assert 0.0 < state.lr_scale <= previous.lr_scale
            assert 0.0 < state.decay_scale <= previous.decay_scale
        else:
            assert previous.kept
            assert state.lr_retreat == RULE.retreat * previous.lr_retreat
        previous = replace(state)


def test_growth_raises_decay_below_the_level_up_to_the_cap() -> None:
    rule = Rule(start=1e-4, growth=0.1)
    state = Control("adaptive", decay_scale=rule.start)
    for _ in range(200):
        constraint.constrain(state, 0.001, LEVEL, 0.1, rule, cap=0.01)
    assert state.decay_scale == 0.01


def test_a_state_is_kept_at_once_and_then_every_so_often() -> None:
    _, actions = drive([0.01] * 61)
    assert [i for i, action in enumerate(actions) if action is Action.KEEP] == [0, 20, 40, 60]


@pytest.mark.parametrize("bad", [[math.nan], [math.inf], [4.0] * 20], ids=["nan", "inf", "far"])
def test_leaving_the_manifold_goes_back_and_starts_anew(bad: list[float]) -> None:
    state, actions = drive([0.01] * 5 + bad)
    assert actions[-1] is Action.ROLL_BACK
    assert all(action is not Action.ROLL_BACK for action in actions[:-1])
    assert (state.rollbacks, state.lr_retreat, state.decay_retreat) == (1, 0.5, 0.5)


def test_without_a_kept_state_there_is_nowhere_to_go_back_to() -> None:
    _, actions = drive([math.nan] * 50)
    assert set(actions) == {Action.CONTINUE}


@LEFT
def test_a_bad_step_is_undone_bit_for_bit() -> None:
    """A nan loss: the parameters return to the last kept state, velocity zero, lr and decay halved."""
    problem = Problem()
    opt = problem.optimizer({"interpolation": 0.2})
    run(problem, lambda: opt.step(problem.closure), 150)
    kept = [opt.state[param]["snapshot"].clone() for param in problem.params]
    problem.closure()
    for param in problem.params:
        assert param.grad is not None
        param.grad.fill_(math.nan)
    opt.step()  # unobserved: the poison enters
    assert not all(torch.isfinite(value).all() for value in problem.values())
    opt.step(problem.closure)
    assert all(torch.equal(value, wanted) for value, wanted in zip(problem.values(), kept, strict=True))
    assert not any(opt.state[param]["exp_avg"].any() for param in problem.params)
    assert "rolled back once" in opt.status
    run(problem, lambda: opt.step(problem.closure), 400)
    assert 0.19 < problem.loss().item() < 0.21  # the constraint binds
    assert all(torch.isfinite(value).all() for value in problem.values())


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.05, "weight_decay": 19.0, "interpolation": 0.2},
        {"metric": "euclidean", "lr": 0.3, "weight_decay": 3.0, "interpolation": 0.1},
        {"metric": "euclidean", "lr": 50.0, "weight_decay": 1e-3, "interpolation": 0.2},
    ],
    ids=["adaptive decay far too strong", "Euclidean decay far too strong", "Euclidean lr far too large"],
)
@LEFT
def test_no_run_ends_collapsed(options: dict[str, Any]) -> None:
    """With the guard these end finite, near interpolation; without it they do not."""
    guarded, free = Problem(), Problem()
    for problem, guard in ((guarded, True), (free, False)):
        opt = problem.optimizer(options | {"guard": guard})
        run(problem, lambda o=opt, p=problem: o.step(p.closure), 1200)
        if guard:
            assert "rolled back" in opt.status
    assert guarded.loss().item() < 0.5
    assert not free.loss().item() < 0.5


@LEFT
def test_status_says_what_happened_and_what_to_change() -> None:
    problem = Problem()
    opt = problem.optimizer({})
    assert opt.status == "phase 1: no step yet"
    problem.closure()
    opt.step()
    assert "opt.observe(loss)" in opt.status
    opt.step(problem.closure)
    assert opt.status.startswith("phase 1: fitting, training loss")

    never = Problem()
    opt = never.optimizer({"interpolation": 1e-12, "base": lambda groups: torch.optim.SGD(groups, lr=1e-12)})
    run(never, lambda: opt.step(never.closure), 600)
    assert opt.status.startswith("never interpolated: the training loss")
    assert opt.phase == 1

    collapsed = Problem()
    opt = collapsed.optimizer({"lr": 0.5, "weight_decay": 1.9, "metric": "euclidean", "interpolation": INF})
    for _ in range(200):
        for param in collapsed.params:
            param.grad = torch.zeros_like(param)
        opt.step()
    assert "collapsed" in opt.status
    assert "lower weight_decay" in opt.status

    broken = Problem()
    opt = broken.optimizer({"interpolation": INF})
    with torch.no_grad():
        broken.params[0].fill_(math.inf)
    assert opt.status.startswith("not finite")


def test_the_detector_wants_patience_and_ignores_what_is_not_finite() -> None:
    detector = LossBelow(fraction=0.5, smoothing=0.0, patience=2)
    answers = [detector.update(loss) for loss in (1.0, 0.4, math.nan, 0.4, 0.6, 0.4, 0.3)]
    assert answers == [False] * 6 + [True]
    assert detector.level == 0.5


def test_a_detector_of_ones_own_decides() -> None:
    class AfterTen:
        """Phase 2 after ten losses."""

        def __init__(self) -> None:
            self.count = 0

        @property
        def level(self) -> float:
            return 0.5

        def update(self, loss: float) -> bool:
            self.count += 1
            return self.count > 10

        def state_dict(self) -> dict[str, Any]:
            return {"count": self.count}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.count = state["count"]

    problem = Problem()
    opt = problem.optimizer({"interpolation": AfterTen()})
    run(problem, lambda: opt.step(problem.closure), 15)
    assert opt.switch_step == 10
    again = Problem()
    other = again.optimizer({"interpolation": AfterTen()})
    other.load_state_dict(opt.state_dict())
    assert other.phase == 2


def test_losses_of_accumulated_gradients_are_averaged_and_unread_ones_are_saved() -> None:
    problem = Problem()
    opt = problem.optimizer({"poll": 4, "interpolation": 0.2})
    for loss in (1.0, 2.0, 3.0):
        opt.observe(loss - 0.5)
        opt.observe(torch.tensor(loss + 0.5))
        opt.step()
    assert opt.state_dict()["param_groups"][0]["control"]["unread"] == [3, 1.0, 2.0, 3.0]
    opt.observe(4.0)
    opt.step()
    saved = opt.state_dict()["param_groups"][0]["control"]
    assert saved["unread"] == [0]
    assert (saved["first_loss"], saved["last_loss"]) == (1.0, 4.0)


@pytest.mark.parametrize("with_closure", [True, False])
def test_calibration_finds_the_sharpness_of_a_quadratic(with_closure: bool) -> None:
    """Loss 1/2 sum k x^2 with k = 1..9: sharpness 9, so lr = SAFETY * 4 / 9."""
    from groktimizer.optim.calibration import SAFETY

    curvatures = torch.arange(1.0, 10.0, dtype=torch.float64)
    theta = torch.nn.Parameter(torch.ones(9, dtype=torch.float64))
    opt = GROKtimizer([theta], metric="euclidean", interpolation=1e9)

    def closure() -> torch.Tensor:
        theta.grad = None
        loss = 0.5 * (curvatures * theta.square()).sum()
        loss.backward()
        return loss

    for _ in range(2 if with_closure else 24):
        if with_closure:
            opt.step(closure)
        else:
            opt.observe(closure())
            opt.step()
    assert opt.state_dict()["param_groups"][0]["control"]["calibrated"] == pytest.approx(SAFETY * 4 / 9, rel=0.02)
    assert opt.extra_passes == (20 if with_closure else 0)


def test_untuned_euclidean_shrinks_the_norm_and_keeps_interpolating() -> None:
    problem = Problem()
    opt = problem.optimizer({"metric": "euclidean", "interpolation": 0.05})
    run(problem, lambda: opt.step(problem.closure), 200)
    early = opt.state_dict()["param_groups"][0]["control"]["start_norm"]
    run(problem, lambda: opt.step(problem.closure), 1000)
    norm = sum(float(value.square().sum()) for value in problem.values()) ** 0.5
    assert norm < 0.9 * early
    assert problem.loss().item() < 0.1


def test_directions_that_nothing_uses_do_not_end_in_subnormal_numbers() -> None:
    """With zero gradients theta decays for ever; float32 goes to exact zero, float64 goes on."""
    for dtype, flushed in ((torch.float32, True), (torch.float64, False)):
        theta = torch.nn.Parameter(torch.ones(4, dtype=dtype))
        opt = GROKtimizer([theta], interpolation=INF, lr=0.05, weight_decay=2.0)
        for _ in range(300):
            theta.grad = torch.zeros_like(theta)
            opt.step()
        assert bool((theta == 0.0).all()) is flushed
        assert bool((opt.state[theta]["exp_avg"] == 0.0).all()) is flushed


def test_an_entry_dies_beside_a_large_one_but_not_on_its_way_through_zero() -> None:
    theta = torch.tensor([1.0, 1e-12, -1e-12, 1e-8])
    velocity = torch.tensor([0.1, 1e-11, 0.5, 1e-30])
    flush([theta], [velocity])
    assert theta.tolist() == torch.tensor([1.0, 0.0, -1e-12, 1e-8]).tolist()
    assert velocity.tolist() == torch.tensor([0.1, 0.0, 0.5, 0.0]).tolist()


def test_decay_leaves_no_products_that_underflow() -> None:
    """Only one of three products is used: the factors of the others vanish before they multiply to subnormals."""
    first, second = (torch.nn.Parameter(torch.tensor(values)) for values in ([1.0, 0.7, -0.4], [0.9, -0.5, 0.6]))
    opt = GROKtimizer([first, second], interpolation=INF, lr=0.02, weight_decay=2.0)
    smallest: list[float] = []
    for step in range(400):
        opt.zero_grad()
        ((first * second)[0] - 1.0).square().backward()
        opt.step()
        products = (first * second).detach().abs()
        if step % FLUSH_EVERY == FLUSH_EVERY - 1:
            smallest.append(float(products[products > 0].min()))
    assert float(first.detach()[0]) > 0.1
    assert not first.detach()[1:].any()
    assert min(smallest) > 1e-30
