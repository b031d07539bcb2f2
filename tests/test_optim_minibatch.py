"""Mini-batches: how noisy a loss is, the switch that waits, the step that anneals, a guard that is not fooled."""

import math

import numpy as np
import pytest
import torch
from numpy.random import Generator, default_rng

from groktimizer import GROKtimizer, LossBelow
from groktimizer.optim import constraint, noise
from groktimizer.optim.constraint import Rule
from groktimizer.optim.control import Control
from groktimizer.optim.guard import Action, watch
from groktimizer.optim.reference import Reference
from optim_cases import Problem, sgd_base

LEVEL = 0.02


def seen(losses: list[float]) -> noise.Noise:
    state = noise.Noise()
    for loss in losses:
        noise.take_in(state, loss)
    return state


def singles(rng: Generator, count: int, share: float, size: float) -> list[float]:
    """Losses of single samples: a share of them `size`, all others tiny."""
    return [size if hard else 1e-4 * float(rng.random()) for hard in rng.random(count) < share]


# ------------------------------------------------------------------ how noisy a loss is
def test_the_window_equals_plain_sums() -> None:
    losses = default_rng(0).exponential(1.0, 40).tolist()
    state = seen(losses)
    assert noise.mean(state) == pytest.approx(np.mean(losses))
    assert noise.variance(state) == pytest.approx(np.sum(np.diff(losses) ** 2) / 2 / 40)
    start = np.polyval(np.polyfit(range(noise.EARLY), losses[: noise.EARLY], 1), 0.0)
    assert noise.start(state) == pytest.approx(max(start, np.mean(losses[: noise.EARLY])))


def test_half_the_mean_square_difference_is_the_variance_whatever_the_trend() -> None:
    """E (x_t - x_s)^2 / 2 = sigma^2 for independent x; a slope of b adds b^2 / 2."""
    rng, count = default_rng(1), 20_000
    for slope in (0.0, 1e-3):
        state = seen([5.0 + slope * t + 0.7 * float(rng.standard_normal()) for t in range(count)])
        assert noise.variance(state) == pytest.approx(0.49, rel=0.03)


@pytest.mark.parametrize("law", ["normal", "exponential", "cauchy", "rare"])
def test_two_in_three_losses_of_any_law_are_turns(law: str) -> None:
    rng, shares = default_rng(2), []
    state = noise.Noise()
    for t in range(6_000):
        value = float(rng.random() < 0.01) + 1e-3 * float(rng.random())
        value = value if law == "rare" else float(getattr(rng, f"standard_{law}")())
        noise.take_in(state, value)
        if t > 200:
            shares.append(state.turning)
            assert noise.noisy(state)
    assert np.mean(shares) == pytest.approx(2 / 3, abs=0.01)


@pytest.mark.parametrize("rate", [0.5, 0.9, 0.99, 1.0])
def test_a_loss_that_falls_has_no_noise(rate: float) -> None:
    """Of four pairs of changes none turns: the first guess, 2/3 with a weight of eight, is at 4/9, below 0.45."""
    assert noise.noisy(seen([rate**t for t in range(4)]))
    assert not noise.noisy(seen([rate**t for t in range(6)]))
    assert not noise.noisy(seen([rate**t for t in range(40)]))  # nor one that rests
    assert not noise.proven(seen([rate**t for t in range(40)]))


def test_a_full_batch_that_swings_at_first_has_no_noise() -> None:
    """Five swings in fifteen losses are fewer than noise has: ten of thirteen changes."""
    losses = [9.0, 7.7, 12.0, 8.7, 4.1, 2.2, 1.4, 0.93, 0.36, 0.31, 0.51, 0.23, 0.12, 0.037, 0.011]
    assert not noise.noisy(seen(losses))
    detector = LossBelow()
    assert [detector.update(loss) for loss in losses].index(True) == len(losses) - 1


def test_noise_is_taken_for_a_trend_once_in_fifty_runs_at_most() -> None:
    rng = default_rng(6)
    runs = rng.exponential(size=(300, 60)).tolist()
    fooled = sum(not all(noise.noisy(seen(run[:t])) for t in range(2, 60)) for run in runs)
    assert fooled <= 6


def test_equal_losses_between_spikes_hide_nothing() -> None:
    """Hinge loss, single samples: exact zeros, and a rare one that is not."""
    assert noise.proven(seen([2.0 if t % 9 == 0 else 0.0 for t in range(100)]))


def test_the_running_mean_averages_as_many_losses_as_it_needs() -> None:
    rng = default_rng(3)
    state = noise.Noise()
    errors, claimed = [], []
    for t in range(30_000):
        noise.take_in(state, 8.0 if rng.random() < 0.025 else 0.0)  # mean 0.2, standard deviation 1.25
        if t > 3_000:
            errors.append(state.mean - 0.2)
            claimed.append(noise.standard_error(state))
    assert abs(np.mean(errors)) < 0.03
    assert np.std(errors) < 0.1
    assert 0.3 * np.std(errors) < np.mean(claimed) < 2.0 * np.std(errors)
    assert noise.memory(seen([0.9**t for t in range(50)])) == noise.SHORT


# ------------------------------------------------------------------ the switch
def test_the_switch_of_a_falling_loss_is_where_plain_smoothing_puts_it() -> None:
    for rate in (0.6, 0.8, 0.95):
        losses = [3.0 * rate**t for t in range(200)]
        smoothed, below, wanted = losses[0], 0, None
        for t, loss in enumerate(losses):
            smoothed = 0.5 * smoothed + 0.5 * loss
            below = below + 1 if smoothed < 0.02 * losses[0] else 0
            if wanted is None and below >= 2:
                wanted = t
        detector = LossBelow()
        assert [detector.update(loss) for loss in losses].index(True) == wanted


@pytest.mark.parametrize(("share", "size"), [(0.04, 1.5), (0.05, 1.0), (0.2, 0.4), (0.5, 0.1)])
def test_lucky_streaks_do_not_begin_phase_two(share: float, size: float) -> None:
    """The mean is two to four times the level, most losses are far below it: 30 runs of 800."""
    early = 0
    for seed in range(30):
        rng, detector = default_rng(seed), LossBelow()
        losses = [1.0, 1.05, 0.95, 1.0, *singles(rng, 800, share, size)]
        early += any([detector.update(loss) for loss in losses])
    assert early <= 1


def test_phase_two_begins_when_the_mean_is_below_for_sure() -> None:
    """Hard samples become rare, and the switch comes within a thousand losses."""
    for seed in range(10):
        rng, detector = default_rng(seed), LossBelow()
        losses = [1.0, 1.05, 0.95, 1.0, *singles(rng, 500, 0.05, 1.0), *singles(rng, 1500, 0.005, 1.0)]
        steps = [detector.update(loss) for loss in losses].index(True)
        assert 500 < steps < 1500


@pytest.mark.parametrize("first", [1e-3, 9.0])
def test_the_level_is_not_one_samples(first: float) -> None:
    """The first loss is a lucky or an unlucky one; its weight in the line through four is 0.7."""
    rng, detector = default_rng(4), LossBelow()
    for loss in [first, *rng.uniform(0.5, 1.5, 60).tolist()]:
        detector.update(loss)
    assert detector.level != LEVEL * first
    assert 0.3 * LEVEL < (detector.level or 0.0) < 0.75 * LEVEL * max(first, 1.7)


def test_smoothing_zero_takes_each_loss_at_its_word() -> None:
    detector = LossBelow(absolute=0.5, smoothing=0.0, patience=1)
    assert [detector.update(loss) for loss in (1.0, 0.6, 0.9, 0.4)] == [False, False, False, True]


def test_a_detector_goes_on_from_its_numbers_and_from_older_ones() -> None:
    losses = [1.0, 1.05, *singles(default_rng(5), 900, 0.004, 1.0)]
    plain, detector = LossBelow(), LossBelow()
    answers = [plain.update(loss) for loss in losses]
    again: list[bool] = []
    for loss in losses:
        fresh = LossBelow()
        fresh.load_state_dict(detector.state_dict())
        again.append(fresh.update(loss))
        detector = fresh
    assert again == answers
    assert True in answers
    old = LossBelow()
    old.load_state_dict({"first": 1.0, "smoothed": 0.5, "below": 0})
    assert not old.update(0.4)


# ------------------------------------------------------------------ phase 1's step
def annealed(losses: list[float]) -> Control:
    state = Control("adaptive")
    for loss in losses:
        constraint.anneal(state, loss)
    return state


def test_a_noisy_floor_shortens_the_step_down_to_a_twelfth() -> None:
    rng = default_rng(6)
    falling = [3.0 * 0.95**t * float(rng.uniform(0.8, 1.2)) for t in range(150)]
    assert annealed(falling).anneal_scale == 1.0
    floor = [0.5 * float(rng.uniform(0.5, 1.5)) for _ in range(600)]
    assert annealed(falling[:60] + floor).anneal_scale == constraint.SMALLEST


def test_without_noise_and_before_the_loss_has_moved_the_step_stays() -> None:
    rng = default_rng(7)
    assert annealed([3.0 * 0.9 ** min(t, 30) + 1e-5 * (500 - t) for t in range(500)]).anneal_scale == 1.0
    assert annealed([0.7 + 0.01 * float(rng.standard_normal()) for _ in range(2000)]).anneal_scale == 1.0
    assert annealed([-1.0 + float(rng.standard_normal()) for _ in range(500)]).anneal_scale == 1.0


def noisy_loss(rng: Generator, t: int) -> float:
    return (1.0 if t < 30 else 0.4) * float(rng.uniform(0.5, 1.5))


@pytest.mark.parametrize("own_base", [False, True])
def test_only_the_default_base_takes_shorter_steps_and_a_schedule_goes_on_top(own_base: bool) -> None:
    problem, rng = Problem(), default_rng(8)
    opt = problem.optimizer({"interpolation": 1e-9} | ({"base": sgd_base} if own_base else {}))
    assert opt.base is not None
    before = [group["lr"] for group in opt.base.param_groups]
    for t in range(400):
        problem.closure()
        opt.observe(noisy_loss(rng, t))
        if t == 399:
            opt.param_groups[0]["lr"] *= 0.5
        opt.step()
    scale = opt.state_dict()["param_groups"][0]["control"]["anneal_scale"]
    assert scale == (1.0 if own_base else constraint.SMALLEST)
    after = [group["lr"] for group in opt.base.param_groups]
    assert after == pytest.approx([0.5 * scale * lr for lr in before])


def test_the_slow_twin_anneals_and_enters_alike() -> None:
    problem, rng = Problem(), default_rng(9)
    opt = problem.optimizer({"interpolation": 0.2})
    twin = Reference([value.clone() for value in problem.values()], level=0.2)
    losses = [noisy_loss(rng, t) for t in range(300)] + [0.01 * float(rng.random()) for _ in range(300)]
    for loss in losses:
        problem.closure()
        grads = [param.grad.clone() for param in problem.params if param.grad is not None]
        opt.observe(loss)
        opt.step()
        twin.step(loss, grads)
    assert opt.phase == twin.phase == 2
    assert opt.state_dict()["param_groups"][0]["control"]["anneal_scale"] == twin.numbers.anneal_scale < 1.0
    for ours, theirs in zip(problem.values(), twin.theta, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


# ------------------------------------------------------------------ phase 2
def test_phase_two_starts_with_what_noise_has_left() -> None:
    """Of a quarter decay takes the share, and lr its square."""
    state = Control("adaptive", anneal_scale=0.25)
    constraint.enter(state, Rule())
    assert (state.decay_scale, state.lr_scale) == (0.25, 0.0625)
    constraint.enter(plain := Control("adaptive"), Rule())
    assert plain.to_dict() == pytest.approx(Control("adaptive").to_dict(), nan_ok=True)


def drive(losses: list[float], rate: float = 0.05) -> tuple[Control, list[Action]]:
    state, actions = Control("adaptive"), []
    for loss in losses:
        constraint.constrain(state, loss, LEVEL, rate, Rule(), cap=math.inf)
        actions.append(watch(state, loss, LEVEL, 1.0, Rule()))
    return state, actions


def test_batches_far_above_the_level_are_no_reason_to_go_back() -> None:
    """Mean half the level, one batch in a hundred at 50 times the level."""
    state, actions = drive(singles(default_rng(10), 4_000, 0.01, 1.0))
    assert Action.ROLL_BACK not in actions
    assert Action.KEEP in actions
    assert state.returned


def test_a_collapse_is_noticed_through_the_noise() -> None:
    rng = default_rng(11)
    fits, gone = singles(rng, 1_500, 0.01, 1.0), (1.0 + rng.uniform(-0.3, 0.3, 1_000)).tolist()
    state, actions = drive(fits + gone)
    assert Action.ROLL_BACK not in actions[:1_500]
    assert Action.ROLL_BACK in actions[1_500:]
    assert state.rollbacks >= 1


def test_where_phase_two_begins_is_kept_whatever_the_mean_of_many_losses_still_says() -> None:
    """The detector's window is below the level for sure; a mean that averages more losses follows later."""
    falling = [*default_rng(14).uniform(0.5, 1.5, 200).tolist(), *default_rng(15).uniform(0.005, 0.015, 30).tolist()]
    for steps, wanted in ((101, Action.KEEP), (102, Action.CONTINUE)):
        state = Control("adaptive", steps=steps, switch_step=100)
        for loss in falling:
            constraint.anneal(state, loss)
        assert noise.proven(state.noise) and state.noise.mean > LEVEL
        assert watch(state, 0.03, LEVEL, 1.0, Rule()) is wanted


def test_going_back_keeps_what_is_known_of_the_noise() -> None:
    rng = default_rng(12)
    state, actions = drive([*singles(rng, 1_500, 0.005, 1.0), math.nan])
    assert actions[-1] is Action.ROLL_BACK
    assert noise.proven(state.noise)
    assert math.isnan(state.noise.mean)


def test_the_numbers_have_one_set_of_keys_of_plain_types() -> None:
    start = {name: type(value) for name, value in Control("adaptive").to_dict().items()}
    state, _ = drive([*singles(default_rng(13), 300, 0.005, 1.0), math.nan, 0.1])
    assert {name: type(value) for name, value in state.to_dict().items()} == start
    assert set(start.values()) == {bool, int, float, str}
    assert Control.from_dict(state.to_dict()).to_dict() == pytest.approx(state.to_dict(), nan_ok=True)


# ------------------------------------------------------------------ trained
def test_phase_two_of_batches_of_two_waits_for_the_whole_loss() -> None:
    """A teacher of twelve features, 120 samples in batches of 2: at the switch the loss of all is below the level."""
    torch.manual_seed(3)
    features = torch.randn(120, 12)
    labels = (features[:, :6].sum(1) > 0).long()
    model = torch.nn.Sequential(torch.nn.Linear(12, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))
    opt = GROKtimizer(model.parameters())
    criterion = torch.nn.functional.cross_entropy
    level = LEVEL * float(criterion(model(features), labels).detach())
    for epoch in range(60):
        for chosen in torch.randperm(120).split(2):
            opt.zero_grad()
            loss = criterion(model(features[chosen]), labels[chosen])
            loss.backward()
            opt.observe(loss)
            whole = float(criterion(model(features), labels).detach()) if epoch else math.inf
            opt.step()
            if opt.phase == 2:
                assert epoch >= 1
                assert whole <= 1.5 * level
                return
    raise AssertionError(opt.status)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("digits", 4), ("breast cancer", 16), ("breast cancer", 64)])
def test_phase_two_begins_in_time_and_fitted(name: str, size: int) -> None:
    """Three seeds of the benchmark's rows, each within 3 times AdamW's epochs and 1.5 times the level."""
    from bench_minibatch import switch

    for seed in range(3):
        ratio, loss = switch(name, size, seed)
        assert ratio <= 3.0
        assert loss <= 1.5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:GROKtimizer. the training loss left the interpolation level")
def test_phase_two_costs_no_accuracy_and_wrong_labels_little() -> None:
    """Within half a point of phase 1 alone, no rollback; of AdamW within two on wrong labels, where seeds differ."""
    from bench_minibatch import against_phase_one, mlp, wrong_labels

    found = [against_phase_one(lambda seed: mlp("digits", seed), 64, 60, seed) for seed in range(3)]
    assert np.mean([gain for gain, _ in found]) >= -0.5
    assert not any(rollbacks for _, rollbacks in found)
    assert np.mean([wrong_labels(seed) for seed in range(10)]) >= -2.0
