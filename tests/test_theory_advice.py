"""Bounds, advice and feature maps of the ridge theory."""

import math
import pickle
import re
from typing import Literal

import numpy as np
import pytest

from groktimizer import UserError
from groktimizer.dynamics import critical_momentum
from groktimizer.theory.lasso import Lasso
from groktimizer.theory.linear.optimality import critical_steps, lower_bound_steps, polyak
from groktimizer.theory.networks.features import RandomFourier, RandomRelu, relu_neuron
from groktimizer.theory.ridge import (
    Ridge,
    best_weight_decay,
    early_stopping,
    effective_ranks,
    predicted_generalisation,
    recommend,
    theorem_4_1,
)


def whole(time: int | None) -> int:
    """A time that must be there."""
    assert time is not None
    return time


def default(seed=0, n=100, m=1000):
    """Figure 2 of arXiv 2601.19791: Gaussian features of covariance I/m, unit teacher, unit initialisation."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, m)) / m**0.5
    teacher = rng.normal(size=m)
    return Ridge(features, teacher / np.linalg.norm(teacher), 1 / m), rng.normal(size=m)


@pytest.fixture(scope="module")
def figure_2():
    return default()


def test_the_default_of_figure_2(figure_2):
    ridge, theta0 = figure_2
    times = ridge.grokking_time(theta0, 1.0, 1e-4, 0.01, 0.01)
    t1, t2 = whole(times.memorised_settled), whole(times.settled)
    path = ridge.trajectory(theta0, 1.0, 1e-4)
    assert path.train_loss(t1) <= 0.01 < path.train_loss(t1 - 1)
    assert path.population_loss(t2) <= 0.01 < path.population_loss(t2 - 1) and times.generalised == t2
    bounds = {
        (bound.theorem, bound.quantity): bound for bound in ridge.bounds(theta0, 1.0, 1e-4, 0.01, 0.01, init_variance=1)
    }
    upper, lower = bounds["Eq (8)", "t1 <="], bounds["Eq (8)", "t2 >="]
    assert round(upper.value) == 1452 and round(lower.value) == 11_982 and upper.guaranteed and lower.guaranteed
    facts = ridge.facts(theta0, 1.0, 1e-4, 0.01, 0.01)
    assert abs(predicted_generalisation(facts) / t2 - 1) < 0.03
    assert t1 <= upper.value and t2 >= lower.value


@pytest.mark.parametrize(("momentum", "switch"), [("critical", None), ("critical", 220), (0.99, None)], ids=str)
def test_settled_is_where_the_loss_falls_below_the_level_for_good(figure_2, momentum, switch):
    """Critical damping from step 0, and after 220 steps without decay; momentum 0.99 crosses early and settles late."""
    ridge, theta0 = figure_2
    times = ridge.grokking_time(theta0, 1.0, 1e-4, 0.01, 0.01, momentum, switch=switch)
    losses = ridge.trajectory(theta0, 1.0, 1e-4, momentum, switch=switch).population_loss(np.arange(3_000))
    above = np.flatnonzero(losses > 0.01)
    assert times.settled == above[-1] + 1 and times.generalised == np.flatnonzero(losses <= 0.01)[0]
    assert (times.generalised < times.settled) is (momentum == 0.99)
    if momentum == "critical":  # sqrt(T) steps of the T that descent takes, after the switch
        slow = whole(ridge.grokking_time(theta0, 1.0, 1e-4, 0.01, 0.01).settled)
        assert whole(times.settled) - (switch or 0) < 4 * slow**0.5


def test_slopes_of_the_second_clock(figure_2):
    # GD runs it at rate eta lambda, critical damping at sqrt(eta lambda).
    ridge, theta0 = figure_2
    decays = 10.0 ** np.arange(-2, -9, -1)
    for momentum, slope in ((0.0, -1.0), ("critical", -0.5)):
        times = [ridge.grokking_time(theta0, 1.0, float(d), 0.01, 0.01, momentum).settled for d in decays]
        fitted = np.polyfit(np.log(decays), np.log(times), 1)[0]
        assert abs(fitted - slope) < (0.005 if momentum == 0.0 else 0.02)


CELLS = [(100, 1000, 1e-3, 1), (50, 1000, 1e-4, 1), (200, 1000, 1e-4, 4), (100, 500, 1e-5, 1), (100, 2000, 1e-4, 0.5)]


@pytest.mark.parametrize("n,m,decay,nu2", CELLS)
def test_eq_8_holds_in_every_cell(n, m, decay, nu2):
    ridge, theta0 = default(1, n, m)
    start = theta0 * nu2**0.5
    times = ridge.grokking_time(start, 1.0, decay, 0.01, 0.01)
    for bound in ridge.bounds(start, 1.0, decay, 0.01, 0.01, init_variance=nu2):
        if bound.quantity == "t1 <=":
            assert whole(times.memorised_settled) - 1 <= bound.value, bound
        if bound.quantity == "t2 >=":
            assert whole(times.generalised) >= bound.value, bound


def test_theorem_4_1_curves_bound_the_exact_ones():
    rng = np.random.default_rng(2)
    ridge = Ridge(rng.normal(size=(40, 600)) / 600**0.5, np.zeros(600), 1 / 600)
    theta0, t = rng.normal(size=600), np.arange(0, 3000, 37)
    facts = ridge.facts(theta0, 0.5, 1e-3, 0.01, 0.01)
    curves, conditions = theorem_4_1(facts, t)
    exact = ridge.trajectory(theta0, 0.5, 1e-3)
    assert all(condition.holds for condition in conditions)
    assert (exact.train_loss(t) <= curves["(i) train loss, upper"] * (1 + 1e-9)).all()
    assert (exact.population_loss(t) >= curves["(ii) population loss, lower"]).all()
    assert (exact.norm(t) ** 2 <= curves["(iii) squared norm, upper"] * (1 + 1e-9)).all()


def test_bounds_say_which_condition_fails(figure_2):
    ridge, theta0 = figure_2
    named = {bound.theorem: bound for bound in ridge.bounds(theta0, 1.0, 1e-4, 0.01, 0.01)}
    assert not named["Theorem 4.6"].guaranteed and named["Theorem 4.6"].failing[0].startswith("n = 100 < ")


@pytest.mark.parametrize("momentum", ["critical", 0.9, 0.0])
def test_no_smaller_decay_has_the_recommended_delay(momentum: float | Literal["critical"]):
    # The train loss rings under momentum, its first crossing jumps with the decay, and the delay is not monotone.
    ridge, theta0 = default(5, 12, 50)
    advice = recommend(ridge, theta0, 0.01, 0.03, max_delay=60, lr=1.0, momentum=momentum)

    def delay(decay: float) -> float:
        times = ridge.grokking_time(theta0, 1.0, decay, 0.01, 0.03, momentum)
        return math.inf if times.settled is None else times.settled - whole(times.memorised)

    assert delay(advice.weight_decay) <= 60
    below = advice.weight_decay * np.r_[np.geomspace(0.05, 0.99, 60), 0.995, 0.999, 0.9995]
    assert min(delay(float(decay)) for decay in below) > 60


def test_recommended_decay_meets_the_delay_and_a_little_less_does_not(figure_2):
    ridge, theta0 = figure_2
    advice = recommend(ridge, theta0, 0.01, 0.01, max_delay=5000, lr=1.0)
    assert whole(advice.times.settled) - whole(advice.times.memorised) <= 5000
    less = ridge.grokking_time(theta0, 1.0, advice.weight_decay * 0.999, 0.01, 0.01)
    assert whole(less.settled) - whole(less.memorised) > 5000
    assert advice.curve.population_loss(whole(advice.times.settled)) <= 0.01


def test_a_delay_that_no_decay_grants_is_answered_with_the_shortest_there_is(figure_2):
    """Its decay, given again, has the delay that is told, and that delay can be had."""
    ridge, theta0 = figure_2
    with pytest.raises(UserError, match=r"max_delay=0: .* shortest delay found is") as refused:
        recommend(ridge, theta0, 0.01, 0.01, max_delay=0, lr=1.0)
    told = re.search(r"found is ([\d,]+) steps, at weight_decay (\S+)$", str(refused.value))
    assert told is not None
    steps = int(told[1].replace(",", ""))
    times = ridge.grokking_time(theta0, 1.0, float(told[2]), 0.01, 0.01)
    assert whole(times.settled) - whole(times.memorised) == pytest.approx(steps, abs=2)  # the decay is told to 3 digits
    granted = recommend(ridge, theta0, 0.01, 0.01, max_delay=steps, lr=1.0)
    assert whole(granted.times.settled) - whole(granted.times.memorised) <= steps


def test_a_delay_that_is_no_whole_number_is_refused(figure_2):
    ridge, theta0 = figure_2
    with pytest.raises(UserError, match="max_delay=None: expected a whole number"):
        recommend(ridge, theta0, 0.01, 0.01, max_delay=None, lr=1.0)  # pyright: ignore[reportArgumentType]


def test_problems_and_their_times_are_pickled_with_what_they_know(figure_2):
    ridge, theta0 = figure_2
    times = ridge.grokking_time(theta0, 1.0, 1e-3, 0.01, 0.01)
    other, again = pickle.loads(pickle.dumps((ridge, times)))
    assert other.grokking_time(theta0, 1.0, 1e-3, 0.01, 0.01).settled == times.settled == again.settled
    path = Lasso([[1.0, 0.5, 0.2], [0.1, 1.0, 0.3]], [1.0, 2.0]).trajectory(np.zeros(3), 0.1, 1e-2)
    assert np.array_equal(pickle.loads(pickle.dumps(path)).at(100), path.at(100))


def test_a_covariance_without_full_rank_has_the_least_eigenvalue_0():
    factor = np.random.default_rng(0).normal(size=(12, 6))
    features = np.random.default_rng(1).normal(size=(8, 12))
    ridge = Ridge(features, np.ones(12), covariance=factor @ factor.T / 12)
    assert ridge.population.least() == 0.0
    assert math.isnan(predicted_generalisation(ridge.facts(np.ones(12), 0.1, 1e-3, 0.01, 0.01)))


def test_early_stopping_is_the_minimum_of_the_curve():
    rng = np.random.default_rng(7)
    ridge = Ridge(rng.normal(size=(30, 50)), rng.normal(size=50), noise=2 * rng.normal(size=30))
    advice = early_stopping(ridge, np.zeros(50), 0.5 / ridge.sharpness)
    curve = advice.curve.population_loss(np.arange(20_000))
    assert advice.step == int(curve.argmin()) and abs(advice.loss - curve.min()) < 1e-9
    assert advice.decay_loss <= min(ridge.floors(d).population for d in np.geomspace(1e-6, 1e3, 200)) * (1 + 1e-6)


def test_best_decay_is_negative_for_a_spiked_covariance():
    # arXiv 2009.14286: strong signal in a few directions, a heavy isotropic tail that already acts as decay: the tail
    # shrinks too much, and a negative decay gives some of it back.
    rng = np.random.default_rng(0)
    m, n = 2000, 50
    variance = np.r_[np.full(5, 20.0), np.full(m - 5, 1.0)]
    teacher = np.r_[np.ones(5), np.zeros(m - 5)]
    ridge = Ridge(rng.normal(size=(n, m)) * variance**0.5, teacher, variance)
    decay, loss = best_weight_decay(ridge)
    assert decay < 0 and loss < ridge.floors(0.0).population


def test_effective_ranks():
    # Equal eigenvalues: both are the number left; a geometric tail q^i: r = 1/(1-q), R = (1+q)/(1-q).
    assert effective_ranks(np.ones(10), 3) == (7.0, 7.0)
    r, big = effective_ranks(0.5 ** np.arange(60), 2)
    assert abs(r - 2) < 1e-12 and abs(big - 3) < 1e-12


def test_no_first_order_method_beats_the_lower_bound_and_critical_damping_is_near():
    low, high = 1e-4, 1.0
    bound = lower_bound_steps(low, high, 1e-3)
    lr, momentum, rate = polyak(low, high)
    # The factor (1 + t sqrt(eta lambda)) of the double root and a step size below 4/high cost 2.4 at eta = 1/high.
    assert bound < critical_steps(3.8, low, high, 1e-3) < critical_steps(1.0, low, high, 1e-3) < 2.5 * bound
    assert critical_steps(3.8, low, high, 1e-3) < 1.5 * bound
    assert abs(momentum - rate**2) < 1e-12 and abs(lr - 4 / 1.01**2) < 1e-12
    # Chebyshev: the bound itself, T_t((kappa+1)/(kappa-1)) by its recurrence.
    x, previous, current = (high / low + 1) / (high / low - 1), 1.0, (high / low + 1) / (high / low - 1)
    steps = 1
    while 1 / current > 1e-3:
        previous, current, steps = current, 2 * x * current - previous, steps + 1
    assert steps == bound


def test_feature_maps_and_nonlinear_targets_equal_the_loop():
    rng = np.random.default_rng(1)
    x, x_test, direction = rng.normal(size=(12, 5)), rng.normal(size=(60, 5)), rng.normal(size=5)
    for features in (RandomRelu.draw(40, 5, rng), RandomFourier.draw(40, 5, rng), np.asarray):
        train, test = features(x), features(x_test)
        y, y_test = relu_neuron(direction, x), relu_neuron(direction, x_test)
        ridge = Ridge.from_targets(train, y, test, y_test)
        theta = rng.normal(size=train.shape[1])
        lr, decay = 0.5 / ridge.sharpness, 1e-2 * ridge.sharpness
        curve = ridge.trajectory(theta, lr, decay, 0.5)
        floor = ridge.floors(decay, theta).population
        velocity = np.zeros_like(theta)
        for step in range(201):
            if step % 40 == 0:
                assert curve.train_loss(step) == pytest.approx(
                    ((train @ theta - y) ** 2).mean() / 2, rel=1e-9, abs=1e-13
                )
                assert curve.population_loss(step) == pytest.approx(((test @ theta - y_test) ** 2).mean(), rel=1e-9)
            velocity = 0.5 * velocity - lr * (train.T @ (train @ theta - y) / 12 + decay * theta)
            theta = theta + velocity
        assert curve.population_loss(10**6) == pytest.approx(floor, rel=1e-9)


def test_fourier_features_approach_the_gaussian_kernel():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4, 3))
    features = RandomFourier.draw(200_000, 3, rng, 0.7)(x)
    distance = ((x[:, None] - x[None]) ** 2).sum(axis=-1)
    np.testing.assert_allclose(features @ features.T, np.exp(-0.7 * distance / 2), atol=0.01)


def test_gram_route_equals_the_svd_route_and_accepts_float32():
    rng = np.random.default_rng(4)
    features, teacher, theta0 = rng.normal(size=(20, 300)), rng.normal(size=300), rng.normal(size=300)
    for covariance in (None, rng.uniform(0.5, 2, 300), np.eye(300) * 0.3):
        exact = Ridge(features, teacher, covariance)
        gram = Ridge(features, teacher, covariance, route="gram")
        one, two = (problem.trajectory(theta0, 0.01, 1e-3, "critical") for problem in (exact, gram))
        t = np.array([0, 1, 10, 1000])
        np.testing.assert_allclose(two.theta(t), one.theta(t), atol=1e-11)
        np.testing.assert_allclose(two.population_loss(t), one.population_loss(t), rtol=1e-10)
    single = Ridge(features.astype(np.float32), teacher, route="gram")
    same = Ridge(features.astype(np.float32).astype(np.float64), teacher)
    np.testing.assert_allclose(single.modal.system.values, same.modal.system.values, rtol=1e-12)
    tall = Ridge(rng.normal(size=(50, 8)), np.ones(8), route="gram")
    assert tall.rank == 8 and not tall.overparameterised


def test_gradient_flow_is_the_limit_of_small_steps(figure_2):
    ridge, theta0 = figure_2
    fine = whole(ridge.grokking_time(theta0, 1e-3, 1e-2, 0.01, 0.01).generalised) * 1e-3
    flow = whole(ridge.grokking_time(theta0, 1e-3, 1e-2, 0.01, 0.01, flow=True).generalised) * 1e-3
    assert abs(fine / flow - 1) < 1e-4
    path = ridge.trajectory(theta0, 0.1, 1e-2, flow=True)
    # The null-space part follows exp(-lambda time) exactly.
    flat = ridge.modal.locate(theta0).flat
    np.testing.assert_allclose(ridge.modal.locate(path.theta(70)).flat, flat * math.exp(-0.07), atol=1e-12)


def test_momentum_at_the_critical_value_is_the_double_root_of_the_flat_mode(figure_2):
    ridge, theta0 = figure_2
    named = ridge.trajectory(theta0, 1.0, 1e-4, "critical").population_loss(np.arange(0, 600, 50))
    given = ridge.trajectory(theta0, 1.0, 1e-4, critical_momentum(1.0, 1e-4)).population_loss(np.arange(0, 600, 50))
    np.testing.assert_array_equal(named, given)


def test_a_search_that_may_not_walk_says_so():
    rng = np.random.default_rng(0)
    ridge = Ridge(rng.normal(size=(20, 40)), np.zeros(40))
    times = ridge.grokking_time(rng.normal(size=40), 1 / ridge.sharpness, 1e-6, 0.01, 1.0, "critical", budget=3)
    assert "train" in times.unresolved and times.memorised is None and "budget" in times.advice[-1]


def test_times_far_beyond_any_loop_keep_their_law(figure_2):
    # t2 eta lambda tends to a constant; at lambda = 1e-12 the time has 13 digits.
    ridge, theta0 = figure_2
    products = [whole(ridge.grokking_time(theta0, 1.0, d, 0.01, 0.01).settled) * d for d in (1e-8, 1e-10, 1e-12)]
    assert abs(products[1] / products[2] - 1) < 1e-6 and abs(products[0] / products[2] - 1) < 1e-4


def test_a_start_that_already_generalises_needs_no_step():
    ridge = Ridge(np.eye(3, 5), np.zeros(5))
    times = ridge.grokking_time(np.full(5, 1e-6), 0.5, 0.1, 0.01, 0.01, "critical")
    assert (times.memorised, times.memorised_settled, times.generalised, times.settled, times.delay) == (0, 0, 0, 0, 0)
