"""Modes: the closed forms against the recurrence in exact or extended arithmetic, and the theorems about the roots."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groktimizer.dynamics import (
    Phase,
    contraction_rate,
    critical_momentum,
    envelope,
    fastest_curvature,
    is_stable,
    mode_rates,
    positions,
    roots,
    solve,
    stability_limit,
    state,
)

momenta = st.floats(0, 0.999)
curvatures = st.floats(1e-6, 3.9)


def oscillator(time, position, curvature, friction):
    """Damped oscillator ``x'' + c x' + k x = 0`` released at rest, k > 0: the limit of heavy ball as its steps go to 0.

    Its exponents solve ``r^2 + c r + k = 0``; with g = c/2 and w = sqrt(k - g^2) it is
    ``x(0) exp(-g s) (cos(w s) + g sin(w s) / w)``, hyperbolic for k < g^2, ``(1 + g s)`` at the critical friction
    ``c = 2 sqrt(k)``, which is where the discrete critical momentum ``(1 - sqrt(eta k))^2`` leads.
    """
    g, square = friction / 2, curvature - friction**2 / 4
    w = np.sqrt(abs(square))
    if square > 0:
        return position * np.exp(-g * time) * (np.cos(w * time) + g * np.sin(w * time) / w)
    sine = time if w == 0 else -np.expm1(-2 * w * time) / 2 / w
    return position * np.exp((w - g) * time) * ((1 + np.exp(-2 * w * time)) / 2 + g * sine)


def simulate(steps, x, lr, k, mu, d=0.0):
    """The recurrence in extended precision, position and velocity after `steps` steps."""
    x, d, a, mu = np.longdouble(x), np.longdouble(d), np.longdouble(lr) * np.longdouble(k), np.longdouble(mu)
    for _ in range(steps):
        d = mu * d - a * x
        x = x + d
    return float(x), float(d)


@given(curvatures, momenta, st.integers(0, 300), st.floats(-1, 1), st.floats(-1, 1))
def test_state_equals_the_recurrence_relative_to_the_envelope(k, mu, steps, x, d):
    if not is_stable(1.0, k, mu):
        return
    got_x, got_d = state(steps, x, 1.0, k, mu, d)
    want_x, want_d = simulate(steps, x, 1.0, k, mu, d)
    rates = mode_rates(1.0, k, mu)
    bound = float(envelope(rates, steps, np.float64(x), np.float64(d)))
    assert abs(got_x - want_x) <= 1e-12 * bound + 1e-300
    # The velocity is the difference of two positions, plus a second root that rounding may leave at the first's size.
    before = float(envelope(rates, max(steps - 1, 0), np.float64(x), np.float64(d)))
    assert abs(got_d - want_d) <= 1e-12 * (before + abs(d) * float(np.exp(steps * rates.log_rate))) + 1e-300


@pytest.mark.parametrize("mu", [0.0, 0.25, 0.5, 0.98, critical_momentum(1.0, 1e-4), critical_momentum(0.5, 1e-3, 1.3)])
def test_state_equals_exact_rationals(mu):
    # The recurrence in fractions has no rounding at all.
    for k in (1e-4, 1e-2, 0.7, 1.0, 1.9, (1 + mu**0.5) ** 2, (1 - mu**0.5) ** 2):
        x, d, m, a = Fraction(1), Fraction(1, 3), Fraction(mu), Fraction(k)
        for step in range(41):
            got = state(step, 1.0, 1.0, k, mu, float(Fraction(1, 3)))
            bound = float(envelope(mode_rates(1.0, k, mu), step, np.float64(1), np.float64(1 / 3)))
            assert abs(float(got[0]) - float(x)) <= 1e-14 * bound + 1e-16 * (step == 0)
            d = m * d - a * x
            x = x + d


@pytest.mark.parametrize(
    "mu,k", [(0.0, 1e-5), (0.0, 1.99999), (0.98, 1e-4), (0.9801, 1e-4), (0.999999, 1.0), (0.9999, 3.9)]
)
def test_accuracy_at_a_million_steps(mu, k):
    # Ten thousand exact jumps of 100 steps by the matrix, in extended precision, against one jump of a million.
    a, m = np.longdouble(k), np.longdouble(mu)
    matrix = np.array([[1 - a, m], [-a, m]])
    jump = matrix
    for _ in range(99):
        jump = matrix @ jump
    vector, scale = np.array([1, 0], np.longdouble), np.longdouble(0)
    for _ in range(10_000):
        vector = jump @ vector
        size = np.abs(vector).max()
        vector, scale = vector / size, scale + np.log(size)
    rates = mode_rates(1.0, k, mu)
    log_bound = np.log(np.hypot(1, float(rates.balance * rates.inverse_sine))) + 1e6 * float(rates.log_rate)
    if scale > -600:
        got = float(state(10**6, 1.0, 1.0, k, mu)[0])
        assert abs(got - float(vector[0] * np.exp(scale))) <= 1e-10 * np.exp(log_bound)
    else:  # gone in either
        assert log_bound < -500


@given(st.floats(1e-8, 0.9), st.floats(0.1, 3.0))
def test_damping_ratio_decides_between_oscillating_and_creeping(product, damping):
    if damping * product**0.5 >= 0.99 or abs(damping - 1) < 1e-3:
        return
    rates = mode_rates(1.0, product, critical_momentum(1.0, product, damping))
    assert bool(rates.oscillates) == (damping < 1)


@given(st.floats(1e-8, 0.9))
def test_critical_momentum_is_the_double_root(product):
    # At mu = (1 - s)^2, s = sqrt(eta k): trace = 1 + mu - s^2 = 2 (1 - s), so z = 1 - s twice.
    z1, z2 = roots(1.0, product, critical_momentum(1.0, product))
    assert abs(complex(z1) - (1 - product**0.5)) < 1e-7 and abs(complex(z2) - (1 - product**0.5)) < 1e-7


@given(st.floats(-1, 6), momenta)
def test_stability_region(k, mu):
    if min(abs(k), abs(k - stability_limit(mu))) < 1e-9:
        return
    exact = max(abs(np.roots([1.0, -(1 + mu - k), mu])))
    assert bool(is_stable(1.0, k, mu)) == (exact < 1)
    assert bool(contraction_rate(1.0, k, mu) < 1) == (exact < 1)


@given(curvatures, momenta)
def test_roots_solve_their_equation(k, mu):
    z1, z2 = (complex(z) for z in roots(1.0, k, mu))
    assert abs(z1 + z2 - (1 + mu - k)) < 1e-13 and abs(z1 * z2 - mu) < 1e-13
    assert abs(z1) >= abs(z2) * (1 - 1e-14)


@given(st.floats(1e-6, 0.5), st.floats(0, 1))
def test_modes_up_to_the_fastest_curvature_share_the_critical_rate(product, place):
    mu, top = critical_momentum(1.0, product), fastest_curvature(1.0, product)
    k = product + place * (top - product)
    assert contraction_rate(1.0, k, mu) <= (1 - product**0.5) * (1 + 1e-6)


@settings(max_examples=50)
@given(curvatures, momenta, st.integers(1, 60), st.integers(0, 60))
def test_two_equal_phases_with_carried_velocity_are_one_phase(h, mu, switch, more):
    if not is_stable(1.0, h + 1e-3, mu):
        return
    h_, pull, x0 = np.array([h, 0.0]), np.array([0.3, 0.0]), np.array([1.0, -2.0])
    one = solve([Phase(0, 1.0, 1e-3, mu)], h_, pull, x0)
    two = solve([Phase(0, 1.0, 1e-3, mu), Phase(switch, 1.0, 1e-3, mu, carry_velocity=True)], h_, pull, x0)
    t = np.arange(switch + more + 1)
    np.testing.assert_allclose(positions(one, t), positions(two, t), rtol=0, atol=3e-12)


def test_a_schedule_equals_the_loop_with_reset_and_carried_velocity():
    rng = np.random.default_rng(0)
    h, x0 = np.array([0.0, 1e-3, 0.4, 2.3]), rng.normal(size=4)
    pull = h * rng.normal(size=4)
    for carry in (False, True):
        phases = [Phase(0, 0.5, 0.0), Phase(40, 0.5, 1e-3, 0.9, carry), Phase(100, 0.8, 1e-2, 0.5, carry)]
        x, d, path = x0.copy(), np.zeros(4), [x0]
        for t in range(200):
            phase = [p for p in phases if p.start <= t][-1]
            if t == phase.start and not carry:
                d = np.zeros(4)
            d = phase.momentum * d - phase.lr * (h * x - pull + phase.weight_decay * x)
            x = x + d
            path.append(x)
        np.testing.assert_allclose(positions(solve(phases, h, pull, x0), np.arange(201)), path, rtol=0, atol=1e-13)


def test_steps_that_do_not_start_at_zero_are_refused():
    with pytest.raises(ValueError, match="begin with 0"):
        solve([Phase(3, 1.0, 0.0)], np.ones(1), np.ones(1), np.ones(1))


def test_heavy_ball_follows_the_oscillator_as_the_step_shrinks():
    # Error O(sqrt(eta)): a hundredfold smaller eta gives about a tenth of the error.
    errors = []
    for lr in (1e-4, 1e-6):
        t = np.arange(0, int(6 / lr**0.5), 50)
        for k, friction in ((1.0, 0.5), (1.0, 2.0), (1.0, 5.0)):
            discrete = state(t, 1.0, lr, k, 1 - friction * lr**0.5)[0]
            errors.append(np.abs(discrete - oscillator(t * lr**0.5, 1.0, k, friction)).max())
    assert all(0.05 < fine / coarse < 0.2 for coarse, fine in zip(errors[:3], errors[3:], strict=True))


def test_gradient_descent_follows_the_flow():
    t = np.arange(3000)
    assert np.abs(state(t, 1.0, 1e-3, 2.0)[0] - np.exp(-2.0 * 1e-3 * t)).max() < 1e-3


@given(curvatures, momenta, st.integers(0, 200), st.floats(-1, 1), st.floats(-1, 1))
def test_envelope_bounds_every_later_position(k, mu, start, x, d):
    if not is_stable(1.0, k, mu):
        return
    rates = mode_rates(1.0, k, mu)
    later = np.abs(state(np.arange(start, start + 400), x, 1.0, k, mu, d)[0]).max()
    assert later <= float(envelope(rates, start, np.float64(x), np.float64(d))) * (1 + 1e-9)
