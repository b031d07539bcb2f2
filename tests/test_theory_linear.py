"""Linear estimators in the proportional limit: against quadrature, closed forms, and finite matrices."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate

from groktimizer.theory.linear.estimators import (
    LinearEstimator,
    accuracy,
    decay_floors,
    decayed_delay,
    delay,
    divergence,
    late_losses,
    marchenko_pastur,
    needed_loss,
    train_loss_closed_form,
)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9, 0.99, 1.5, 4.0])
def test_moments_of_the_law(ratio):
    # E nu^k: 1, 1, 1 + ratio; and for ratio < 1 E 1/nu = 1/(1 - ratio), E 1/nu^2 = 1/(1 - ratio)^3.
    values, weights = marchenko_pastur(ratio)
    assert weights.sum() == pytest.approx(1, rel=1e-12)
    assert weights @ values == pytest.approx(1, rel=1e-12)
    assert weights @ values**2 == pytest.approx(1 + ratio, rel=1e-12)
    if ratio < 1:
        assert weights @ values**-1.0 == pytest.approx(1 / (1 - ratio), rel=1e-9)
        assert weights @ values**-2.0 == pytest.approx((1 - ratio) ** -3, rel=1e-9)


@pytest.mark.parametrize("gap", [3e-3, -2e-3, 2e-4, -5e-5, 1e-7])
def test_moments_next_to_ratio_1(gap):
    # E 1/nu = 1/(1 - ratio) and E 1/nu^2 = 1/(1 - ratio)^3 below 1; above, nu / ratio follows the law of 1/ratio.
    ratio = 1 - gap
    values, weights = marchenko_pastur(ratio)
    assert weights.sum() == pytest.approx(1, rel=1e-12) and weights @ values == pytest.approx(1, rel=1e-12)
    inside, scale = values > 0, max(ratio, 1.0)
    below, mass = (1 / scale if ratio > 1 else ratio), weights[inside] * scale
    assert mass @ (values[inside] / scale) ** -1.0 == pytest.approx(1 / (1 - below), rel=1e-8)
    assert mass @ (values[inside] / scale) ** -2.0 == pytest.approx((1 - below) ** -3, rel=1e-8)


@pytest.mark.parametrize("ratio,decay", [(0.9993, 0.0), (1.0008, 0.0), (0.99997, 2e-5)])
def test_late_losses_next_to_ratio_1_equal_adaptive_quadrature(ratio, decay):
    # In x = ln(nu - l-) the integrand is smooth at every scale of the edge, and quad resolves it piece by piece.
    low, width, half, eta = (1 - ratio) ** 2 / (1 + ratio**0.5) ** 2, 4 * ratio**0.5, decay / 2, 0.01
    edges = np.linspace(math.log(width) - 60, math.log(width), 61)
    for t in (3e3, 2e6, 5e8):

        def integrand(x, t=t):
            above = math.exp(x)
            nu = low + above
            shrunk = math.exp(-2 * eta * (nu + half) * t)
            spread = (shrunk**2 + ((shrunk * nu + half) / (nu + half)) ** 2) / 2
            return spread * math.sqrt(above * max(width - above, 0.0)) / (2 * math.pi * ratio * nu) * above

        parts = [integrate.quad(integrand, a, b, epsabs=0, epsrel=1e-9)[0] for a, b in itertools.pairwise(edges)]
        atom = (1 - 1 / ratio if ratio > 1 else 0.0) * (1.0 if decay == 0 else 0.5)
        assert LinearEstimator(ratio, eta, decay).losses(t)[1] == pytest.approx(sum(parts) + atom, rel=1e-6)


def test_losses_equal_adaptive_quadrature_of_the_density():
    ratio, t, eta, gamma = 0.6, 70.0, 0.01, 0.03
    low, high = (1 - ratio**0.5) ** 2, (1 + ratio**0.5) ** 2

    def integrand(nu):
        decay = math.exp(-2 * eta * (nu + gamma / 2) * t)
        spread = (decay**2 + ((decay * nu + gamma / 2) / (nu + gamma / 2)) ** 2) / 2
        return spread * math.sqrt((high - nu) * (nu - low)) / (2 * math.pi * ratio * nu)

    expected = integrate.quad(integrand, low, high, epsabs=1e-12, epsrel=1e-10)[0]
    assert LinearEstimator(ratio, eta, gamma).losses(t)[1] == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("ratio", [0.1, 0.9, 1.5])
def test_train_loss_equals_its_bessel_form(ratio):
    t = np.array([0.0, 1, 10, 100, 1000, 3000])
    expected = train_loss_closed_form(ratio, 0.01, t)
    np.testing.assert_allclose(LinearEstimator(ratio, 0.01).losses(t)[0], expected, rtol=1e-8)


def test_generalisation_falls_by_the_train_loss():
    # Eq (21): dL_gen/dt = -4 eta L_tr.
    model, t = LinearEstimator(0.7, 0.01), 50.0
    slope = (model.losses(t + 1e-3)[1] - model.losses(t - 1e-3)[1]) / 2e-3
    assert slope == pytest.approx(-0.04 * model.losses(t)[0], rel=1e-6)


def test_late_losses_are_the_limit():
    exact, late = LinearEstimator(0.5, 0.01).losses(60_000.0), late_losses(0.5, 0.01, 60_000.0)
    assert late[0] == pytest.approx(exact[0], rel=0.05) and late[1] == pytest.approx(exact[1], rel=0.05)


def test_without_decay_an_underdetermined_student_never_generalises():
    model = LinearEstimator(1.5, 0.01)
    assert model.losses(1e9)[1] == pytest.approx(1 - 1 / 1.5, rel=1e-9)
    assert model.times(1e-3)[1] == math.inf and delay(1.5, 0.01) == math.inf
    assert LinearEstimator(1.5, 0.01, 1e-3).losses(1e9)[1] < model.losses(1e9)[1]


@pytest.mark.parametrize("ratio,steps", [(0.1, 40.7), (0.5, 716), (0.9, 56_386), (0.99, 1.05e7)])
def test_delays_of_the_paper(ratio, steps):
    assert delay(ratio, 0.01) == pytest.approx(steps, rel=5e-3)


def test_the_delay_formula_is_the_limit_of_small_tolerances():
    # By Eq (11) with k = (1 - sqrt(ratio))^2: 4 eta k (t2 - t1) = ln(1/k) - 1.5 ln(t2/t1); Eq (12) drops the last term,
    # which at epsilon = 1e-3 and ratio 0.9 is most of it.
    errors = []
    for tolerance in (1e-3, 1e-6, 1e-12, 1e-24):
        train, test = LinearEstimator(0.9, 0.01).times(tolerance)
        errors.append(1 - (test - train) / delay(0.9, 0.01))
    assert errors == sorted(errors, reverse=True) and 0.6 < errors[0] < 0.7 and errors[-1] < 0.05
    edge = (1 - 0.9**0.5) ** 2
    refined = (-math.log(edge) - 1.5 * math.log(test / train)) / (4 * 0.01 * edge)
    assert test - train == pytest.approx(refined, rel=1e-2)


def test_the_delay_diverges_as_stated():
    errors = [abs(delay(1 - gap, 1.0) / divergence(1 - gap, 1.0) - 1) for gap in (1e-1, 1e-2, 1e-4)]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 1e-3


def simulate(ratio, decay, lr, steps, seed=0, size=1000, columns=24):
    """Iteration (3) on a drawn train set, `columns` students and teachers at once; each column's losses at `steps`."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(round(size / ratio), size))
    sigma = x.T @ x / x.shape[0]
    values, vectors = np.linalg.eigh(sigma)
    student, teacher = (rng.normal(size=(size, columns)) / (2 * size) ** 0.5 for _ in range(2))
    # One eigendecomposition iterates the linear map (3) any number of times.
    start, fixed = vectors.T @ (student - teacher), vectors.T @ teacher
    rows = []
    for t in steps:
        factor = (1 - lr * (2 * values + decay)) ** t
        drift = np.where(2 * values + decay > 1e-12, (1 - factor) / np.maximum(2 * values + decay, 1e-12), lr * t)
        place = factor[:, None] * start - (decay * drift)[:, None] * fixed
        rows.append(((place**2 * values[:, None]).sum(axis=0), (place**2).sum(axis=0)))
    return np.array(rows), sigma


@pytest.mark.parametrize("ratio", [0.1, *(pytest.param(near, marks=pytest.mark.slow) for near in (0.9, 1.5))])
@pytest.mark.parametrize("decay", [0.0, pytest.param(0.01, marks=pytest.mark.slow)])
def test_formulas_agree_with_finite_matrices_within_monte_carlo_error(ratio, decay):
    steps = np.array([0, 100, 1000, 10_000])
    rows, _ = simulate(ratio, decay, 1e-3, steps, columns=24)
    for row, t in zip(rows, steps, strict=True):
        expected = LinearEstimator(ratio, 1e-3, decay).losses(float(t))
        for seen, formula in zip(row, expected, strict=True):
            error = seen.std(ddof=1) / len(seen) ** 0.5
            assert abs(seen.mean() - formula) < 4 * error + 0.02 * formula, (t, seen.mean(), float(formula), error)


def test_the_simulation_above_is_the_iteration():
    rng = np.random.default_rng(3)
    rows, sigma = simulate(0.9, 0.02, 0.01, [300], seed=3, size=60, columns=5)
    rng.normal(size=(round(60 / 0.9), 60))
    student, teacher = (rng.normal(size=(60, 5)) / 120**0.5 for _ in range(2))
    gap = student - teacher
    for _ in range(300):
        gap = gap - 0.02 * sigma @ gap - 0.01 * 0.02 * (gap + teacher)
    np.testing.assert_allclose(rows[0][1], (gap**2).sum(axis=0), rtol=1e-10)
    np.testing.assert_allclose(rows[0][0], (gap * (sigma @ gap)).sum(axis=0), rtol=1e-10)


def crossing(values, gap, lr, goal):
    """First steps with train and generalisation loss at most `goal`, of `gap` under (3) without decay, by bisection."""
    found = []
    for weight in (values, np.ones_like(values)):
        low, high = 0, 10**9
        if (np.where(values > 1e-9, 0.0, gap**2) * weight).sum() > goal:  # what no step removes
            found.append(math.inf)
            continue
        while high - low > 1:
            middle = (low + high) // 2
            short = (weight * (1 - 2 * lr * values) ** (2 * middle) * gap**2).sum() > goal
            low, high = (middle, high) if short else (low, middle)
        found.append(high)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [0.1, 0.9, 1.5])
def test_times_agree_with_a_thousand_inputs_at_the_step_of_the_paper(ratio):
    # eta = 0.01, epsilon = 1e-3: 95 % are correct from the loss epsilon / (2 erfinv(0.95)^2) on. The smallest of 1000
    # eigenvalues decides the late times, so they scatter by several percent from draw to draw.
    rng = np.random.default_rng(1)
    seen = []
    for _ in range(6):
        x = rng.normal(size=(round(1000 / ratio), 1000))
        values = np.maximum(np.linalg.eigvalsh(x.T @ x / x.shape[0]), 0.0)
        seen.append(crossing(values, rng.normal(size=1000) / 1000**0.5, 0.01, needed_loss(1e-3)))
    expected, measured = LinearEstimator(ratio, 0.01).times(1e-3), np.array(seen, dtype=float)
    for place, formula in enumerate(expected):
        column = measured[:, place]
        if math.isinf(formula):
            assert np.isinf(column).all()
            continue
        assert abs(column.mean() - formula) < 4 * column.std(ddof=1) / 6**0.5 + 0.01 * formula, (column, formula)


@pytest.mark.slow
def test_floors_of_decay_are_half_of_the_printed_ones():
    # papers.md: Eq (15) gives half of Eq (16)'s levels; simulation decides.
    ratio, decay = 0.5, 1e-3
    train, test = decay_floors(ratio, decay)
    exact = LinearEstimator(ratio, 0.1, decay).losses(1e7)
    assert exact[0] == pytest.approx(train, rel=0.02) and exact[1] == pytest.approx(test, rel=0.05)
    rows, _ = simulate(ratio, decay, 0.1, [10**6], columns=24)
    assert rows[0][0].mean() == pytest.approx(train, rel=0.1) and rows[0][1].mean() == pytest.approx(test, rel=0.1)
    assert decayed_delay(ratio, 0.1) < delay(ratio, 0.1)


def test_accuracy_is_the_chance_of_a_small_error():
    rng = np.random.default_rng(0)
    for outputs in (1, 4):
        errors = rng.normal(size=(400_000, outputs)) * 0.3**0.5
        seen = ((errors**2).mean(axis=1) < 0.2).mean()
        assert accuracy(0.3, 0.2, outputs) == pytest.approx(seen, abs=4e-3)
    assert accuracy(0.3, 0.2) == pytest.approx(math.erf((0.2 / 0.6) ** 0.5), rel=1e-12)


def test_the_delay_is_not_monotone_in_the_number_of_outputs():
    # Figure 2 of the paper: the delay has a maximum near 50 outputs at ratio 0.9.
    gaps = {}
    for outputs in (1, 50, 700):
        train, test = LinearEstimator(0.9, 0.01, outputs=outputs).times(1e-3)
        gaps[outputs] = test - train
    assert gaps[50] > gaps[1] and gaps[50] > gaps[700]


def test_a_larger_student_raises_both_losses_by_the_stated_factor():
    one, three = LinearEstimator(0.5, 0.01).losses(30.0), LinearEstimator(0.5, 0.01, student_scale=3.0).losses(30.0)
    np.testing.assert_allclose(np.array(three) / np.array(one), (1 + 9) / 2, rtol=1e-12)


@pytest.mark.parametrize("ratio", [0.0, 1.0, -1.0, math.nan])
def test_ratios_that_have_no_delay_are_refused(ratio):
    with pytest.raises(ValueError, match="ratio="):
        LinearEstimator(ratio, 0.01)


def test_floors_are_the_limit_of_the_losses_and_name_their_term():
    for ratio, decay in ((0.5, 0.3), (1.5, 0.0), (1.5, 0.4), (0.9, 0.0)):
        model = LinearEstimator(ratio, 0.01, decay, outputs=3, student_scale=2.0)
        train, test = model.losses(1e9)
        floors = model.floors()
        assert floors.train == pytest.approx(float(train), rel=1e-9, abs=1e-14)
        assert floors.generalisation == pytest.approx(float(test), rel=1e-9, abs=1e-14)
    assert LinearEstimator(1.5, 0.01).floors().largest_term == "null space"
    assert LinearEstimator(0.5, 0.01, 0.3).floors().largest_term == "bias of weight decay"


# Stable below 2 / (2 (1 + sqrt(ratio))^2 + gamma): at ratio 1/4 and gamma = 1/2 that is 2 / 5.
BAD = [
    (lambda: LinearEstimator(0.5, 0), "lr=0: expected a finite number > 0"),
    (lambda: LinearEstimator(0.5, math.inf), "lr=inf: expected a finite number > 0"),
    (lambda: LinearEstimator(0.25, 0.4, 0.5), "lr=0.4: diverges on such inputs, accepted are values below 0.4"),
    (lambda: LinearEstimator(0.5, 0.1, -1.0), "weight_decay=-1.0: expected a finite number ≥ 0"),
    (lambda: LinearEstimator(0.5, 0.1).losses(-1), "steps: holds negative"),
    (lambda: LinearEstimator(0.5, 0.1).times(0), "tolerance=0: expected a finite number > 0"),
    (lambda: LinearEstimator(0.5, 0.1).times(1e-3, 1.0), "level=1.0: accepted are numbers in"),
    (lambda: delay(0.5, 0.0), "lr=0.0: expected a finite number > 0"),
    (lambda: divergence(1.0, 0.1), "ratio=1.0: accepted are positive numbers other than 1"),
    (lambda: decayed_delay(1.5, 0.1), "ratio=1.5: accepted are numbers in"),
    (lambda: decay_floors(1.5, 0.1), "ratio=1.5: accepted are numbers in"),
    (lambda: late_losses(1.5, 0.1, 3.0), "ratio=1.5: accepted are numbers in"),
]


@pytest.mark.parametrize("call,message", BAD, ids=[message for _, message in BAD])
def test_bad_settings_are_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
