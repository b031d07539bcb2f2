"""The untuned numbers, each by something that it makes happen, computed by hand. Halved or doubled, one of these fails.

`mutants.py` does that to every one of them.
"""

import math
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from groktimizer import L1, L2, GROKtimizer, GroupL1
from groktimizer.optim import calibration, constraint, phase_two, reference, status
from groktimizer.optim import groktimizer as optimizer
from groktimizer.optim.agreement import ALONE, Scope
from groktimizer.optim.constraint import RULES, Rule
from groktimizer.optim.control import Control
from groktimizer.optim.guard import Action, watch
from groktimizer.optim.losses import Inbox
from groktimizer.optim.noise import Noise
from groktimizer.optim.status import Chosen
from groktimizer.optim.switch import level_taken_on
from groktimizer.optim.upkeep import flush

INF = math.inf
RULE, LEVEL = Rule(), 0.1


def weight(*values: float, shape: tuple[int, ...] = (-1,)) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values, dtype=torch.float64).reshape(shape))


def moved(theta: nn.Parameter, *grads: list[float], **options: Any) -> list[float]:
    """Where a fresh optimizer takes a tensor on these gradients."""
    known: dict[str, Any] = {"interpolation": INF}
    opt = GROKtimizer([theta], **(known | options))
    for grad in grads:
        theta.grad = torch.tensor(grad, dtype=theta.dtype).reshape(theta.shape)
        opt.step()
    return theta.detach().flatten().tolist()


def near(*values: float, rel: float = 1e-9) -> Any:
    return pytest.approx(list(values), rel=rel)


# ------------------------------------------------------------------ steps
def test_untuned_decay_without_a_gradient() -> None:
    """lr 0.004 and decay 2: b = 0.2 at first, then mu 0.2 + 2 theta with mu = (1 - sqrt(0.008))^2."""
    assert moved(weight(0.1), [0.0]) == near(0.1 - 0.004 * 0.2)
    velocity = (1 - math.sqrt(0.008)) ** 2 * 0.2 + 2 * 0.0992
    assert moved(weight(0.1), [0.0], [0.0]) == near(0.0992 - 0.004 * velocity)


@pytest.mark.parametrize(("size", "longer"), [(1e-4, 1 / 16), (0.03, 0.5), (0.05, 1.0), (0.3, 3.0), (50.0, 10.0)])
def test_larger_entries_take_longer_steps(size: float, longer: float) -> None:
    left = size - 0.004 * longer * 2 * size
    assert moved(weight(size, -size), [0.0, 0.0]) == near(left, -left)


@pytest.mark.parametrize(("square", "scale"), [(0.75e-5, 1.0), (1.5e-5, 1 / 16)])
def test_entries_are_equal_up_to_rounding(square: float, scale: float) -> None:
    """1 + d and 1 - d: variance d^2, 1e-5 of the mean square at most."""
    apart = math.sqrt(square)
    opt = GROKtimizer([weight(1.0 + apart, 1.0 - apart)])
    assert opt.param_groups[0]["scales"] == [scale]


def test_equal_entries_take_the_usual_step() -> None:
    """The gains of a normalisation are 1: steps of 0.04 would move all of them at once by far too much."""
    assert moved(weight(1.0, 1.0), [0.0, 0.0]) == near(1.0 - 0.004 * 2, 1.0 - 0.004 * 2)


def test_the_second_moment_forgets_two_percent_a_step_and_eps_is_1e_8() -> None:
    """A gradient of 1e-8 has size 2e-8. After 1 and 0.5: n / c = (0.98 x 0.02 + 0.02 x 0.25) / (1 - 0.98^2)."""
    given = {"lr": 1e-3, "weight_decay": 1e-12}
    assert moved(weight(0.0), [1e-8], **given) == near(-5e-4)
    momentum = (1 - math.sqrt(1e-15)) ** 2
    force = 0.5 / math.sqrt((0.98 * 0.02 + 0.02 * 0.25) / (1 - 0.98**2))
    assert moved(weight(0.0), [1.0], [0.5], **given) == near(-1e-3 * (1 + momentum + force), rel=1e-6)


def test_the_untuned_weight_of_a_separable_penalty() -> None:
    """theta = +-1, gradients 1: the unit is 1, ten times the step; theta - 0.04, then cut by 0.04 x 0.1."""
    assert moved(weight(1.0, -1.0), [1.0, 1.0], penalty=L1()) == near(0.956, -1.036, rel=1e-7)


def test_the_untuned_weight_of_a_penalty_of_groups() -> None:
    """The unit is the norm, sqrt 2: a row of 0.96 shrinks by 0.04 x 0.4 sqrt 2 of its norm 0.96 sqrt 2."""
    found = moved(weight(1.0, -1.0, shape=(1, 2)), [1.0, -1.0], penalty=GroupL1())
    assert found == near(0.96 - 0.016, 0.016 - 0.96, rel=1e-7)


def test_phase_one_is_adam_at_its_numbers() -> None:
    ours, theirs = weight(0.06, -0.08), weight(0.06, -0.08)
    adam = torch.optim.Adam([theirs], lr=1.2e-2, betas=(0.9, 0.98))
    grads = [[1.0, 0.1], [-0.5, 0.2], [0.3, 0.3]]
    for grad in grads:
        theirs.grad = torch.tensor(grad, dtype=torch.float64)
        adam.step()
    assert moved(ours, *grads, interpolation=1e-9) == near(*theirs.detach().tolist())


def quadratic(**options: Any) -> tuple[nn.Parameter, GROKtimizer, Any]:
    """1/2 sum k x^2 with k = 1 ... 9, from ones."""
    curvatures, theta = torch.arange(1.0, 10.0, dtype=torch.float64), weight(*[1.0] * 9)
    opt = GROKtimizer([theta], metric="euclidean", interpolation=INF, **options)

    def closure() -> Tensor:
        theta.grad = None
        loss = 0.5 * (curvatures * theta.square()).sum()
        loss.backward()
        return loss

    return theta, opt, closure


def test_the_untuned_euclidean_step_is_a_quarter_of_the_limit() -> None:
    """4 / 9 is the limit, 1e-4 the first decay; 20 passes at first, 3 more every 20 steps."""
    theta, opt, closure = quadratic()
    opt.step(closure)
    assert theta.detach()[:3].tolist() == near(*[1 - (k + 1e-4) / 9 for k in (1, 2, 3)], rel=0.02)
    passes = [opt.extra_passes]
    for _ in range(20):
        passes.append(opt.extra_passes)
        opt.step(closure)
    assert (passes[0], passes[-1], opt.extra_passes) == (20, 20, 23)


def test_a_probe_is_a_thousandth_of_the_norm_and_a_step_grows_by_a_third_at_most() -> None:
    theta, opt, closure = quadratic()
    closure()
    opt.step()
    assert float((theta.detach() - 1).norm()) == pytest.approx(3e-3)
    state = Control("euclidean", calibrated=0.1, curvature=9.0)
    calibration._adopt(state, 0.1)
    assert state.calibrated == pytest.approx(0.13)


def test_a_finish_on_a_loss_without_curvature_takes_steps_of_a_hundredth() -> None:
    """A loss of straight pieces: lr 0.01 in the finish; before it, and once a curvature is known, lr stays."""
    for known, began, lr in ((math.nan, 7, 0.01), (math.nan, -1, 0.1), (9.0, 7, 0.1)):
        state = Control("euclidean", calibrated=0.1, curvature=known, finish_step=began)
        calibration._adopt(state, 0.0)
        assert state.calibrated == lr


@pytest.mark.parametrize(
    ("damped", "cooled", "over"), [(11.9, 0.26, False), (12.1, 0.26, True), (11.9, 0.24, True), (12.1, 0.24, True)]
)
def test_a_proximal_penalty_goes_over_late_or_once_the_step_has_cooled(
    damped: float, cooled: float, over: bool
) -> None:
    """After 12 units of damped time, or below a quarter of lr; the l2 norm does not wait."""
    for penalty, goes in ((L1(), over), (L2(), True)):
        groups: list[dict[str, Any]] = [{"params": [], "penalty": penalty, "weight_decay": 0.1}]
        control = Control("adaptive", noise=Noise(turning=0.0), returned=True, damped_time=damped, lr_scale=cooled)
        settings: Any = SimpleNamespace(finishes=lambda _: True, finish=SimpleNamespace(rule=None))
        with pytest.raises(ZeroDivisionError) if goes else nullcontext(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(phase_two, "along", lambda *_: 1 / 0)  # the first thing that it does when it goes over
            phase_two.finish(groups, {}, control, settings, Scope())


def test_the_level_of_a_model_that_is_taken_on() -> None:
    assert [level_taken_on(loss) for loss in (1e-3, 1e-5, 1.0)] == near(0.05, 1e-3, 2.0)
    theta, opt, _ = quadratic()
    theta.grad = torch.zeros_like(theta)
    opt.observe(1e-3)
    opt.step()
    assert opt.state_dict()["param_groups"][0]["control"]["level"] == 0.05


@pytest.mark.parametrize(
    ("share", "began", "critical_for"),
    [(0.91, 7, 0.5), (1.09, 7, 0.5), (0.89, 7, 2.0), (1.11, 7, 2.0), (0.91, -1, 2.0), (1.09, -1, 2.0)],
)
def test_at_the_level_the_finish_is_critical_for_a_quarter_of_the_decay(
    share: float, began: int, critical_for: float
) -> None:
    """Within a tenth of the level, and in the finish alone; the step and the weight of the penalty stay."""
    group = {"lr": 0.1, "lr_given": True, "weight_decay": 2.0, "decay_given": True}
    state = Control("euclidean", level=LEVEL, mean=share * LEVEL, finish_step=began)
    assert phase_two.numbers(group, state, 1.0) == (0.1, 2.0, critical_for)


# ------------------------------------------------------------------ constraint and guard
def constrained(loss: float, rule: Rule = RULE, **numbers: Any) -> Control:
    known: dict[str, Any] = {"mean": loss}
    state = Control("adaptive", **(known | numbers))
    constraint.constrain(state, loss, LEVEL, 0.1, rule, cap=INF)
    return state


def test_the_twin_has_the_same_rules() -> None:
    assert reference.RULES == RULES


def test_what_the_constraint_does_above_the_level() -> None:
    high = math.e * LEVEL
    late, back, early = (
        constrained(high, damped_time=6.0),
        constrained(high, returned=True),
        constrained(high, damped_time=5.8),
    )
    assert [late.decay_scale, late.lr_scale] == near(math.exp(-0.02), math.exp(-0.04))
    assert [back.decay_scale, back.lr_scale] == near(1.0, math.exp(-0.05))
    assert (early.decay_scale, early.lr_scale) == (1.0, 1.0)
    assert constrained(1.0, mean=0.0).mean == pytest.approx(0.1)
    assert [constrained(share * LEVEL).above for share in (0.6, 1.5)] == [0, 1]


def test_what_the_constraint_does_below_the_level() -> None:
    low = LEVEL / 10
    assert [constrained(low, damped_time=time).returned for time in (1.99, 2.01)] == [False, True]
    assert constrained(low, returned=True).lr_scale == pytest.approx(math.exp(-0.1 / 8))
    assert constrained(low, RULES["euclidean"]).decay_scale == pytest.approx(math.exp(0.05))


def watched(losses: list[float], first_loss: float = 1.0, **numbers: Any) -> list[Action]:
    known: dict[str, Any] = {"kept": True, "mean": 1.0}
    state = Control("adaptive", **(known | numbers))
    return [watch(state, loss, LEVEL, first_loss, RULE) for loss in losses]


def test_when_the_guard_goes_back() -> None:
    assert watched([2.6] * 20)[18:] == [Action.CONTINUE, Action.ROLL_BACK]
    assert Action.ROLL_BACK not in watched([2.4] * 50)
    assert Action.ROLL_BACK in watched([5.1] * 20, first_loss=10.0)
    assert Action.ROLL_BACK not in watched([4.9] * 50, first_loss=10.0)
    assert watched([0.2], above=100, lr_scale=0.0099) == [Action.ROLL_BACK]
    assert watched([0.2], above=100, lr_scale=0.0101) == watched([0.2], above=99, lr_scale=0.0099) == [Action.CONTINUE]
    kept = watched([0.01] * 45, kept=False, mean=0.01)
    assert [step for step, action in enumerate(kept) if action is Action.KEEP] == [0, 20, 40]
    state = Control("adaptive", kept=True)
    watch(state, math.nan, LEVEL, 1.0, RULE)
    assert (state.lr_retreat, state.decay_retreat) == (0.5, 0.5)


def test_in_the_euclidean_metric_proximal_steps_of_all_tensors_are_equal() -> None:
    """One curvature bounds them all; by a spread of 0.3 alone this one would be three times as long."""
    theta = weight(0.3, -0.3)
    opt = GROKtimizer([theta], penalty=L1(), interpolation=INF)
    theta.grad = torch.zeros_like(theta)
    settings = replace(opt._chosen, metric="euclidean")
    (moving,) = phase_two.prepare(opt.param_groups, opt.state, opt._control, settings, None)
    opt.state[theta]["unit"], numbers = 1.0, (0.01, 2.0, 2.0)
    with torch.no_grad():
        phase_two.advance(opt.param_groups[0], moving, settings, numbers, age=None, scope=ALONE, flush=False)
    assert opt.state[theta]["scale"] == pytest.approx(3.0)
    assert theta.detach().tolist() == near(0.3 - 0.01 * 2.0, -0.3 + 0.01 * 2.0)


# ------------------------------------------------------------------ chores
def test_what_dies() -> None:
    """Beside 1: below 1e-10 with a velocity below 1e-8; alone: below 1e-20."""
    theta = torch.tensor([1.0, 0.9e-10, 1.1e-10, 0.9e-10, 0.9e-10])
    speed = torch.tensor([0.0, 0.0, 0.0, 0.9e-8, 1.1e-8])
    flush([theta], [speed])
    assert (theta != 0).tolist() == [True, False, True, False, True]
    alone, rest = torch.tensor([1e-12, 0.9e-20, 1.1e-20]), torch.tensor([0.0, 0.9e-20, 1.1e-20])
    flush([alone], [rest])
    assert (alone != 0).tolist() == [True, False, True]
    assert (rest != 0).tolist() == [False, False, True]


def test_what_dies_dies_every_fifty_steps() -> None:
    theta = nn.Parameter(torch.full((2,), 1e-25))
    opt = GROKtimizer([theta], lr=4e-3, weight_decay=2.0, interpolation=INF)  # untuned, some steps measure curvature
    theta.grad = torch.zeros(2)
    alive: list[bool] = []
    for _ in range(50):
        opt.step()
        alive.append(bool(theta.detach().any()))
    assert alive == [True] * 49 + [False]


def test_losses_on_a_device_are_read_every_ten_steps() -> None:
    inbox, read = Inbox(None), []
    for _ in range(10):
        inbox.put(torch.zeros((), device="meta"))
        try:
            inbox.take()
        except (NotImplementedError, RuntimeError):  # there is nothing to read on the meta device
            read.append(True)
        else:
            read.append(False)
    assert read == [False] * 9 + [True]


def test_what_a_status_says_and_when() -> None:
    def told(norm: float = 1.0, **numbers: Any) -> str:
        known: dict[str, Any] = {
            "phase": 2,
            "observed": True,
            "start_norm": 1.0,
            "first_loss": 1.0,
            "last_loss": 0.01,
            "level": 0.1,
        }
        return status.describe(Control("adaptive", **(known | numbers)), norm, Chosen())

    assert ["collapsed" in told(norm) for norm in (0.9e-3, 1.1e-3)] == [True, False]
    assert ["collapsed" in told(norm, start_loss=0.01, last_loss=5.0) for norm in (0.24, 0.26)] == [True, False]
    assert ["has grown" in told(norm) for norm in (1.9, 2.1)] == [False, True]
    assert ["has left" in told(last_loss=loss) for loss in (0.9, 1.1)] == [False, True]
    assert ["never" in told(phase=1, steps=steps) for steps in (499, 500)] == [False, True]
    noisy = [Control("adaptive", steps=steps, observed=True, last_loss=0.01) for steps in (4999, 5000)]
    assert ["never" in status.describe(one, 1.0, Chosen(window=7)) for one in noisy] == [False, True]
    assert [key for key, _ in status.warnings_due(Control("adaptive", steps=50), float, Chosen())] == ["silent"]


def test_a_look_at_what_is_worth_a_warning_every_fifty_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    monkeypatch.setattr(optimizer.status_texts, "warnings_due", lambda state, *_: looks.append(state.steps) or iter(()))
    moved(weight(0.1), *[[0.0]] * 110)
    assert looks == [50, 100]


# ------------------------------------------------------------------ all of them
@pytest.mark.slow
def test_no_number_may_be_halved_or_doubled_unnoticed() -> None:
    script = Path(__file__).with_name("mutants.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
