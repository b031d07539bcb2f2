"""Network time laws, the zero-loss manifold, and constants along a path."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groktimizer.theory.networks.laws import FirstPassage, NormRun, calibrate, kernel_to_rich_time
from groktimizer.theory.networks.path_constants import (
    Path,
    check_geometric_decrease,
    corrected_delta,
    note_delta,
    path_constants,
    record_path,
)
from groktimizer.theory.networks.zero_loss import PairSum, complexity, descend, fourier_spectrum, second_layer, velocity


def test_kernel_to_rich_time():
    assert kernel_to_rich_time(math.e**3, 0.1) == pytest.approx(30)
    assert kernel_to_rich_time(math.e**3, 0.1, lr=0.01) == pytest.approx(3000)
    with pytest.raises(ValueError, match=r"init_norm=0\.5"):
        kernel_to_rich_time(0.5, 0.1)


def made_runs(kappa, star, count, noise, rng):
    runs = []
    for _ in range(count):
        lr, decay, start = 10 ** rng.uniform(-4, -2), rng.uniform(0.3, 3), star * rng.uniform(1.5, 6)
        slip = math.exp(noise * rng.normal())
        runs.append(NormRun(lr, decay, start, star, slip * math.log(start / star) / (2 * kappa * lr * decay)))
    return runs


def test_calibration_recovers_the_constants_of_runs_that_obey_the_law():
    law = calibrate(made_runs(0.25, 2500.0, 6, 0.0, np.random.default_rng(0)))
    assert law.kappa == pytest.approx(0.25) and law.critical_norm == pytest.approx(2500)
    assert law.mean_percentage_error == pytest.approx(0, abs=1e-9)


def test_the_law_equals_decay_alone():
    # Under decay alone ||theta||^2 shrinks by (1 - eta lambda)^2 a step: kappa = 1 for small eta lambda.
    law, lr, decay = FirstPassage(1.0, 10.0), 1e-3, 0.1
    steps, norm = 0, 40.0
    while norm > 10:
        norm, steps = norm * (1 - lr * decay) ** 2, steps + 1
    assert law.delay(lr, decay, 40.0) == pytest.approx(steps, rel=1e-3)
    assert law.delay(lr, decay, 5.0) == 0 and law.delay(lr, 0.0, 40.0) == math.inf
    for lr, decay, norm in ((0.0, 1.0, 40.0), (1e-3, -1.0, 40.0), (1e-3, 1.0, 0.0), (math.nan, 1.0, 40.0)):
        with pytest.raises(ValueError, match="accepted are lr > 0, weight_decay >= 0, memorised_norm > 0"):
            law.delay(lr, decay, norm)


def test_the_interval_covers_new_runs_and_is_honest_about_few():
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(60):
        law = calibrate(made_runs(0.25, 2500.0, 8, 0.2, rng))
        new = made_runs(0.25, 2500.0, 1, 0.2, rng)[0]
        low, high = law.interval(new.lr, new.weight_decay, new.memorised_norm)
        covered.append(low <= new.delay <= high)
    assert np.mean(covered) >= 0.88
    two = calibrate(made_runs(0.25, 2500.0, 2, 0.2, rng))
    assert two.interval(1e-3, 1.0, 5000.0) == (0.0, math.inf) and math.isnan(two.mean_percentage_error)


def test_runs_that_never_generalised_calibrate_nothing():
    with pytest.raises(ValueError, match="1 given"):
        calibrate([NormRun(1e-3, 1.0, 100.0)])


def test_velocity_is_minus_half_the_gradient_of_the_complexity():
    rng = np.random.default_rng(0)
    data = PairSum.draw(5, 0.6, rng)
    x, y, weights = data.inputs[data.train], data.targets[data.train], rng.normal(size=(5, 14))
    moved, h = velocity(weights, x, y), 1e-6
    for _ in range(8):
        direction = rng.normal(size=weights.shape)
        slope = (complexity(weights + h * direction, x, y) - complexity(weights - h * direction, x, y)) / (2 * h)
        assert -2 * float((moved * direction).sum()) == pytest.approx(slope, rel=1e-5)


def test_the_read_out_interpolates_with_least_norm():
    rng = np.random.default_rng(1)
    hidden, y = rng.normal(size=(6, 20)), rng.normal(size=(6, 3))
    readout = second_layer(hidden, y)
    np.testing.assert_allclose(hidden @ readout, y, atol=1e-12)
    np.testing.assert_allclose(readout, np.linalg.pinv(hidden) @ y, atol=1e-12)


def test_descent_keeps_the_train_loss_at_zero_and_lowers_the_norm():
    rng = np.random.default_rng(2)
    data = PairSum.draw(7, 0.7, rng)
    seen = descend(data, rng.normal(size=(7, 64)) * 7**-0.5, 400, 1e-2, 50)
    assert (seen.train_accuracy == 1).all() and seen.complexity[-1] < seen.complexity[0]
    assert fourier_spectrum(seen.first_layer).shape == (7, 64)
    for layer, told in (
        (np.ones((7, 8)), "width 8"),
        (np.ones((5, 64)), r"first_layer: shape \(5, 64\), accepted are finite numbers of shape \(7, width\)"),
        (np.full((7, 64), np.nan), "accepted are finite numbers"),
        (np.ones((7, 64)), "rank below 20"),
    ):
        with pytest.raises(ValueError, match=told):
            descend(data, layer, 1)
    with pytest.raises(ValueError, match=r"p=5, fraction=1\.5"):
        PairSum.draw(5, 1.5, rng)


@pytest.mark.slow
def test_the_descent_of_section_7_generalises_near_step_2200():
    rng = np.random.default_rng(0)
    data = PairSum.draw(37, 0.7, rng)
    seen = descend(data, rng.normal(size=(37, 512)) * 37**-0.5, 2600, 1e-3, 100)
    assert len(data.inputs) == 703 and len(data.train) == 492
    reached = float(seen.steps[np.argmax(seen.test_accuracy >= 0.99)])
    assert 1800 <= reached <= 2500 and seen.test_accuracy[seen.steps == 500] < 0.1
    assert (seen.train_accuracy == 1).all()


def test_the_printed_rate_fails_where_the_corrected_one_is_attained():
    # g = (x - 1)^2 / 2, h = |x| with subgradient 1 at 0: ||H|| = ||G|| = 1 there, mu = L = 1.
    path = record_path([0.0], lambda x: (float((x[0] - 1) ** 2 / 2), x - 1), lambda x: np.ones(1), 0.5, 0.5, 1)
    assert path.losses[1] / path.losses[0] == pytest.approx(0.5625)
    assert 1 - corrected_delta(0.5, 0.5, 1, 1) == pytest.approx(0.5625)
    assert 1 - note_delta(0.5, 0.5, 1, 1) < 0
    assert check_geometric_decrease(path, corrected_delta(0.5, 0.5, 1, 1)).held
    assert not check_geometric_decrease(path, note_delta(0.5, 0.5, 1, 1)).held


@given(st.floats(0.01, 1.9), st.floats(0, 0.9), st.integers(0, 1000))
def test_the_corrected_rate_holds_for_every_quadratic_and_dominated_pull(alpha, beta, seed):
    rng = np.random.default_rng(seed)
    curvature = np.sort(rng.uniform(0.05, 1, 4))
    x = rng.normal(size=4)
    gradient = curvature * x
    pull = rng.normal(size=4)
    pull *= np.linalg.norm(gradient) * rng.uniform() / np.linalg.norm(pull)
    after = x - alpha * (gradient + beta * pull)
    before_loss, after_loss = (float((curvature * point**2).sum() / 2) for point in (x, after))
    delta = corrected_delta(alpha, beta, float(curvature[0]), float(curvature[-1]))
    if delta > 0:
        assert after_loss <= (1 - delta) * before_loss * (1 + 1e-12) + 1e-300


def test_constants_of_a_quadratic_path():
    # On g = (a x^2 + b y^2)/2: mu between the curvatures, L at most the larger; both exact on an axis.
    curvature = np.array([0.2, 1.0])
    path = record_path(
        [3.0, 1.0], lambda x: (float((curvature * x**2).sum() / 2), curvature * x), np.sign, 0.3, 1e-3, 200
    )
    seen = path_constants(path)
    assert 0.2 - 1e-9 <= seen.polyak <= 1.0 and 0.2 <= seen.smoothness <= 1.0 + 1e-9
    assert seen.chatterjee == pytest.approx(2 * seen.polyak)
    delta = corrected_delta(0.3, 0.1, 0.2, 1.0)
    verdict = check_geometric_decrease(path, delta, share=0.1)
    assert verdict.held and 1 < verdict.dominated_until < 200 and verdict.observed_delta >= delta


def test_paths_that_show_nothing_are_refused():
    nothing = Path(np.zeros(2), np.zeros((2, 1)), np.zeros((2, 1)), np.zeros((2, 1)), 0.1, 0.1)
    with pytest.raises(ValueError, match="no point has a positive loss"):
        path_constants(nothing)
    with pytest.raises(ValueError, match="accepted are"):
        path_constants(Path(np.zeros(3), np.zeros((2, 1)), np.zeros((2, 1)), np.zeros((2, 1)), 0.1, 0.1))
