"""The untuned numbers, each by something that it makes happen, computed by hand. Halved or doubled, one of these fails.

`mutants.py` does that to every one of them.
"""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from groktimizer import L1, GROKtimizer, GroupL1, LossBelow
from groktimizer.optim import calibration, constraint, noise, reference, status, switch
from groktimizer.optim import groktimizer as optimizer
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


@pytest.mark.parametrize(("square", "scale"), [(0.75e-9, 1.0), (1.5e-9, 1 / 16)])
def test_entries_are_equal_up_to_rounding(square: float, scale: float) -> None:
    """1 + d and 1 - d: variance d^2, a billionth of the mean square at most."""
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


# ------------------------------------------------------------------ when phase 2 begins
def test_the_level_of_a_model_that_is_taken_on() -> None:
    assert [level_taken_on(loss) for loss in (1e-3, 1e-5, 1.0)] == near(0.05, 1e-3, 2.0)
    theta, opt, _ = quadratic()
    theta.grad = torch.zeros_like(theta)
    opt.observe(1e-3)
    opt.step()
    assert opt.state_dict()["param_groups"][0]["control"]["level"] == 0.05


def test_the_untuned_detector() -> None:
    """s <- (s + loss) / 2 below 2 % of the first loss twice: 0.8^t from 1, the 19th and the 20th."""
    detector, losses, smoothed = LossBelow(), [0.8**t for t in range(40)], [1.0]
    for loss in losses[1:]:
        smoothed.append(0.5 * smoothed[-1] + 0.5 * loss)
    below = [t for t, value in enumerate(smoothed) if value < 0.02]
    assert [detector.update(loss) for loss in losses].index(True) == below[1]
    assert detector.level == 0.02


@pytest.mark.parametrize(("count", "sure"), [(29, False), (30, True)])
def test_three_losses_as_large_as_the_first_may_be_hidden(count: int, sure: bool) -> None:
    """A window without them is below 0.1 for sure from 31 losses on: 3 / 31 < 0.1."""
    detector = LossBelow(absolute=0.1, smoothed=1e-9, below=5, first=1.0)
    detector.seen = flat(losses=100, tests=50, last=1e-9, count=count)
    assert detector.update(1e-9) is sure


# ------------------------------------------------------------------ how noisy a loss is
def flat(**numbers: Any) -> Noise:
    """A memory whose first four losses were 1."""
    known: dict[str, Any] = {"losses": 1000, "early": 4.0, "lean": 6.0}
    return Noise(**(known | numbers))


def seen(losses: list[float]) -> Noise:
    state = Noise()
    for loss in losses:
        noise.take_in(state, loss)
    return state


def test_the_share_of_turns_begins_at_two_in_three_of_eight_and_remembers_64() -> None:
    assert seen([float(-t) for t in range(9)]).turning == pytest.approx(16 / 3 / 15)
    turns = seen([float(t % 2) for t in range(102)]).turning
    assert 1 - turns == pytest.approx(8 / 3 / 64 * (63 / 64) ** 44)


def test_what_is_noise_and_what_is_proven() -> None:
    assert noise.noisy(seen([float(-t) for t in range(5)]))  # three pairs without a turn: 0.48
    assert not noise.noisy(seen([float(-t) for t in range(6)]))  # four: 0.44
    assert not noise.proven(seen([float(t % 2) for t in range(12)]))  # ten pairs
    assert noise.proven(seen([float(t % 2) for t in range(13)]))
    assert not noise.proven(seen([float(-t) for t in range(13)]))  # 0.28


def test_where_a_run_began() -> None:
    """The line through 8, 4, 2, 1: mean 3.75, slope -2.3, a step and a half back."""
    assert noise.start(seen([8.0, 4.0, 2.0, 1.0, 9.0, 9.0, 9.0, 9.0])) == pytest.approx(7.2)


def test_when_a_window_ends() -> None:
    precise = [count for count in range(1, 30) if noise.full(flat(count=count, total=float(count)))]
    assert precise[0] == 8  # 1 / count is below a fifth from 5 on, but eight it takes
    peaked = [count for count in range(1, 30) if noise.full(flat(count=count, total=float(count), peak=2.0))]
    assert peaked[0] == 10
    assert noise.uncertainty(flat(count=10)) == pytest.approx(0.1)  # one loss as large as the first may be hidden
    vague = [count for count in range(1, 30) if noise.full(flat(losses=40, count=count, total=0.01))]
    assert vague[0] == 18  # a quarter of 40, and eight
    faded = Noise(peak=0.1, peak_before=1.0)
    noise.restart(faded)
    assert faded.peak_before == 0.5


def resting(*, losses: int, steps: int, at: float) -> LossBelow:
    """A quiet detector whose loss began at 1 and has rested somewhere for some steps, after one more."""
    memory = flat(losses=losses - 1, turning=0.0).to_dict()
    detector = LossBelow()
    known = {"first": 1.0, "smoothed": at, "empty": INF, "lowest": at, "plateau": math.nan}
    detector.load_state_dict(known | {"below": 0, "resting": steps - 1} | memory)
    detector.update(at)
    return detector


@pytest.mark.parametrize(
    ("losses", "steps", "at", "level"),
    [
        (100, 59, 0.3, 0.02),  # sixty losses, or
        (100, 60, 0.3, 0.6),  # twice where it rests
        (1000, 199, 0.3, 0.02),  # a fifth of all
        (1000, 200, 0.3, 0.6),
        (100, 90, 0.49, 0.98),  # below half of the first
        (100, 90, 0.51, 0.02),
    ],
)
def test_when_a_loss_at_rest_is_a_plateau(losses: int, steps: int, at: float, level: float) -> None:
    assert resting(losses=losses, steps=steps, at=at).level == pytest.approx(level)


@pytest.mark.parametrize(("pull", "asks"), [(-0.49, False), (-0.51, True)])
def test_when_the_loss_of_zero_weights_is_asked_for(pull: float, asks: bool) -> None:
    """A loss of 1 that shrinking the weights would lower by half of itself per unit of ln |theta|."""
    assert switch.inflated(Control("adaptive"), [1.0], pull, 1.0) is asks


@pytest.mark.parametrize(("first", "halves"), [(1.9, False), (2.1, True)])
def test_when_a_start_is_halved(first: float, halves: bool) -> None:
    """Zero weights lose 1; so does what comes after the first halving."""
    state = Control("adaptive", first_loss=first, emptied=True)
    switch.take_in_empty(state, [1.0])
    assert state.inflated is halves
    assert switch.deflates(state, [first]) is halves
    assert not switch.deflates(state, [1.0])


@pytest.mark.parametrize(("spread", "losses"), [(0.0, 19.0), (10.0, 160.0), (1e9, 2000.0)])
def test_how_many_losses_the_running_mean_averages(spread: float, losses: float) -> None:
    """Variance over the square of a quarter of the mean."""
    assert noise.memory(Noise(tests=11, turning=0.9, spread=spread, mean=1.0)) == losses


@pytest.mark.parametrize(
    ("average", "best", "before", "after"),
    [
        (0.5, 0.56, 1.0, 1.0),  # it has fallen to 0.9 of the best
        (0.5, 0.55, 1.0, 0.5),
        (0.91, 0.91, 1.0, 1.0),  # it is where it began
        (0.89, 0.89, 1.0, 0.5),
        (0.5, 0.5, 0.1, 1 / 12),
    ],
)
def test_when_phase_one_takes_shorter_steps(average: float, best: float, before: float, after: float) -> None:
    memory = flat(tests=50, turning=0.9, last=average, count=99, total=99 * average)
    state = Control("adaptive", anneal_scale=before, anneal_best=best, noise=memory)
    constraint.anneal(state, average)
    assert state.anneal_scale == pytest.approx(after)


def test_sixty_losses_say_whether_phase_one_still_falls() -> None:
    scales: list[float] = []
    for count in (58, 59):  # and one more
        memory = flat(tests=50, turning=0.9, last=0.5, count=count, total=0.5 * count)
        state = Control("adaptive", anneal_best=0.5, noise=memory)
        constraint.anneal(state, 0.5)
        scales.append(state.anneal_scale)
    assert scales == [1.0, 0.5]


def test_how_phase_two_begins() -> None:
    state = Control("adaptive", anneal_scale=0.25)
    constraint.enter(state, RULE)
    assert (state.decay_scale, state.lr_scale) == (0.125, 0.125 * 0.0625)
    assert [constraint.fresh(metric).decay_scale for metric in ("adaptive", "euclidean")] == [1.0, 1e-4]


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
    opt = GROKtimizer([theta], interpolation=INF)
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
    silent = [list(status.warnings_due(Control("adaptive", steps=steps), float, Chosen())) for steps in (99, 100)]
    assert [bool(texts) for texts in silent] == [False, True]


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
