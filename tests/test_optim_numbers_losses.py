"""The untuned numbers by which losses are judged, by hand, as in `test_optim_numbers`."""

import math
from typing import Any

import pytest

from groktimizer import LossBelow
from groktimizer.optim import constraint, noise, switch
from groktimizer.optim.constraint import Rule
from groktimizer.optim.control import Control
from groktimizer.optim.noise import Noise

INF = math.inf
RULE, LEVEL = Rule(), 0.1


# ------------------------------------------------------------------ when phase 2 begins
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
    vague = [count for count in range(1, 30) if noise.full(flat(losses=40, count=count, total=0.01))]
    assert vague[0] == 18  # a quarter of 40, and eight


def test_what_one_bad_sample_adds() -> None:
    """Variance 0.02 and mean 0.1: 0.2 a sample, half a sample in a batch; variance 0.001: 0.01, ten."""
    few, many = ({"count": 8, "total": 0.8, "rough": rough} for rough in (0.16, 0.008))
    assert noise.dispersion(flat(**few)) == pytest.approx(0.2)
    for numbers, jump in ((few, 0.2), (many, 0.01), (many | {"count": 7, "total": 0.7, "rough": 0.007}, 0.0)):
        state = flat(**numbers)
        noise.restart(state)
        assert state.jump == pytest.approx(jump)  # of eight losses and more
        assert (state.count, state.total) == (0, 0.0)
    assert noise.uncertainty(flat(**many), 0.03) == pytest.approx(math.sqrt(0.001 / 8) + 0.03 / 8)
    assert noise.uncertainty(flat(**many, peak=0.2), 0.03) == pytest.approx(math.sqrt(0.001 / 8) + 0.2 / 8)
    for numbers, wanted in (
        (many, 1.0),  # the first loss: no window has ended
        (many | {"jump": 0.03, "losses": 149}, 1.0),  # nor have 150 losses been seen
        (many | {"jump": 0.03, "losses": 150}, 0.03),
        (many | {"jump": 0.001}, 0.01),
        (few | {"jump": 0.1}, 0.2),
        (many | {"jump": 2.0}, 1.0),
    ):
        assert noise.bad(flat(**numbers)) == pytest.approx(wanted)


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
    assert (state.inflated > 0.0) is halves
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


@pytest.mark.parametrize(("losses", "ends"), [(noise.KNOWN - 1, False), (noise.KNOWN, True)])
def test_a_window_ends_early_once_it_is_known_what_a_bad_sample_adds(losses: int, ends: bool) -> None:
    memory = flat(losses=losses, early=4 * 2.3, tests=50, turning=0.9, jump=0.01, count=30, total=30 * 0.04, peak=0.05)
    assert noise.full(memory) is ends


def test_how_phase_two_begins() -> None:
    state = Control("adaptive", anneal_scale=0.25)
    constraint.enter(state, RULE)
    assert (state.decay_scale, state.lr_scale) == (0.25, 0.0625)
    assert [constraint.fresh(metric).decay_scale for metric in ("adaptive", "euclidean")] == [1.0, 1e-4]
