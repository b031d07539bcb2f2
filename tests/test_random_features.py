"""Errors of ridge on random features: against draws of finite size and `theory.ridge`, limits, symmetries."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_draws import agree
from groktimizer.theory.random_features import (
    ACTIVATIONS,
    Coefficients,
    RandomFeatures,
    Setting,
    coefficients,
    curve,
    levelling_decay,
    peaks,
)
from groktimizer.theory.ridge import Ridge
from predictions import told

WIDE = 1e9
PARTS = ("bias", "initialisation", "sampling", "label_noise")


def test_coefficients_are_the_closed_ones():
    """E u·erf(u) = 2/√(3π), E erf² = (2/π) asin(2/3); E |u| = √(2/π)."""
    known = {
        "linear": (0.0, 1.0, 0.0),
        "relu": (1 / np.sqrt(2 * np.pi), 0.5, np.sqrt(1 / 4 - 1 / (2 * np.pi))),
        "erf": (0.0, 2 / np.sqrt(3 * np.pi), np.sqrt(2 / np.pi * np.arcsin(2 / 3) - 4 / (3 * np.pi))),
        "sign": (0.0, np.sqrt(2 / np.pi), np.sqrt(1 - 2 / np.pi)),
        "square": (0.0, 0.0, 1.0),
    }
    for name, wanted in known.items():
        np.testing.assert_allclose(coefficients(name)[:3], wanted, atol=1e-12)
    mean, linear, rest, _ = coefficients(lambda u: np.abs(u) + 3 * u - 1)
    np.testing.assert_allclose((mean, linear, rest), (np.sqrt(2 / np.pi) - 1, 3.0, np.sqrt(1 - 2 / np.pi)), atol=1e-12)
    draws = np.random.default_rng(0).normal(size=400_000)
    for name, function in ACTIVATIONS.items():
        mean, linear, rest, _ = coefficients(name)
        values = function(draws)
        assert abs(values.mean() - mean) < 0.01 and abs((values * draws).mean() - linear) < 0.02
        assert values.var() == pytest.approx(linear**2 + rest**2, rel=0.02)


@pytest.mark.parametrize(
    ("activation", "n", "d", "width", "decay"),
    [
        ("relu", 200, 100, 60, 1e-3),
        ("relu", 100, 200, 300, 1e-2),
        ("tanh", 200, 100, 200, 1e-2),
        ("tanh", 200, 300, 150, 0.1),
        ("linear", 100, 200, 300, 1e-3),
        pytest.param("sign", 150, 50, 500, 1e-4, marks=pytest.mark.slow),
        pytest.param("square", 200, 200, 100, 1e-2, marks=pytest.mark.slow),
    ],
)
def test_draws_of_some_hundred_agree(activation: str, n: int, d: int, width: int, decay: float):
    """Within four standard errors of 16 draws and 3 % for the finite size."""
    agree(Setting(n, d, width, activation, 1.0, 0.2, 0.3), decay, draws=16, size=0.03, seed=n + d + width)


def test_very_many_linear_features_are_the_ridge_of_theory_ridge():
    """Φ = XW'/√(dN) has the kernel XX'/d, that of ridge on x/√d with the same λ."""
    n, d, decay, noise, rng = 150, 100, 0.02, 0.3, np.random.default_rng(0)
    train: list[float] = []
    population: list[float] = []
    for _ in range(12):
        inputs, truth = rng.normal(size=(n, d)) / np.sqrt(d), rng.normal(size=d)
        noises = rng.normal(size=n) * np.sqrt(noise)
        # the teacher of x/√d is √d times that of x, whose norm is 1
        problem = Ridge(inputs, np.sqrt(d) * truth / np.linalg.norm(truth), covariance=1 / d, noise=noises)
        floors = problem.floors(decay)
        train.append(2 * floors.train)
        population.append(floors.population)
    found = RandomFeatures(n, d, coefficients("linear"), noise=noise).errors(WIDE, decay)
    assert np.mean(train) == pytest.approx(float(found.train), rel=0.06)
    assert np.mean(population) == pytest.approx(float(found.test), rel=0.06)
    assert float(found.initialisation) < 1e-6


@pytest.mark.parametrize(("n", "d"), [(200, 50), (200, 150), (100, 300)])
def test_without_decay_they_are_least_squares(n: int, d: int):
    """n > d: noise·d/(n − d). n < d: signal·(1 − n/d) + noise·n/(d − n) (arXiv 1903.08560, Theorem 1)."""
    found = RandomFeatures(n, d, coefficients("linear"), signal=2.0, noise=0.7).errors(WIDE, 1e-13)
    wanted = 0.7 * d / (n - d) if n > d else 2.0 * (1 - n / d) + 0.7 * n / (d - n)
    assert float(found.test) == pytest.approx(wanted, rel=1e-6)
    left = 0.7 * (1 - d / n) if n > d else 0.0
    assert float(found.train) == pytest.approx(left, rel=1e-6, abs=1e-12)


def test_a_kernel_without_linear_part_learns_nothing_and_shrinks_its_residuals():
    """The square's kernel tends to the identity, so residuals are y·nλ/(nλ + 1)."""
    n, decay, noise = 50.0, 0.01, 0.5
    found = RandomFeatures(n, 80, coefficients("square"), noise=noise).errors(WIDE, decay)
    assert float(found.test) == pytest.approx(1.0, rel=1e-6)
    assert float(found.train) == pytest.approx((1 + noise) * (n * decay / (n * decay + 1)) ** 2, rel=1e-6)


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_under_a_huge_decay_the_answer_is_0(activation: str):
    problem = RandomFeatures(100, 50, coefficients(activation), 1.5, 0.2, 0.3)
    found = problem.errors([10, 100, 1000], 1e9)
    np.testing.assert_allclose(found.test, problem.null, rtol=1e-6)
    np.testing.assert_allclose(found.train, problem.null + 0.3, rtol=1e-6)


SIZE, SHARE = st.floats(0.05, 20), st.floats(0.0, 2.0)


@settings(max_examples=60, deadline=None)
@given(SIZE, SIZE, SIZE, st.floats(-6, 2), SHARE, SHARE, st.floats(0.1, 2), st.floats(0, 2))
def test_symmetries(n, d, width, decay, nonlinear, noise, linear, rest):
    """Sizes count by their ratios, σ → sσ is λ → λ/s²; the parts are not negative and add up to the test error."""
    sizes, lam = 100 * np.array([n, d, width]), 10**decay
    problem = RandomFeatures(sizes[0], sizes[1], Coefficients(0.0, linear, rest), 1.0, nonlinear, noise)
    found = problem.errors(sizes[2], lam)
    larger = RandomFeatures(7 * sizes[0], 7 * sizes[1], Coefficients(5.0, linear, rest), 1.0, nonlinear, noise)
    scaled = RandomFeatures(sizes[0], sizes[1], Coefficients(0.0, -3 * linear, 3 * rest), 1.0, nonlinear, noise)
    for other in (larger.errors(7 * sizes[2], lam / 7), scaled.errors(sizes[2], 9 * lam)):
        for name, value in vars(found).items():
            np.testing.assert_allclose(getattr(other, name), value, rtol=1e-6, atol=1e-9)
    parts = np.array([getattr(found, name) for name in PARTS])
    assert (parts >= -1e-9 * found.test).all()
    assert parts.sum() == pytest.approx(float(found.test), rel=1e-9)
    assert 0 <= found.train <= problem.null + noise + 1e-9


def test_initialisation_and_bias_are_those_of_the_mean_predictor():
    """For one W the mean over samples is (Σ+κ)⁻¹c; brute force: many samples' mean for each of a few W of finite size.

    The linear part of a predictor with parameters θ is W'θ μ₁/√(dN); with a linear σ it is all of it.
    """
    n, d, width, decay, rng = 40, 30, 25, 0.02, np.random.default_rng(1)
    truth = np.eye(d)[0]
    means: list[np.ndarray] = []
    for _ in range(60):
        first = rng.normal(size=(width, d)) / np.sqrt(d * width)
        learned = np.zeros(d)
        for _ in range(60):
            inputs = rng.normal(size=(n, d))
            phi = inputs @ first.T
            theta = np.linalg.solve(phi.T @ phi / n + decay * np.eye(width), phi.T @ (inputs @ truth) / n)
            learned += first.T @ theta / 60
        means.append(learned)
    centre = np.mean(means, axis=0)
    found = RandomFeatures(n, d, coefficients("linear")).errors(width, decay)
    assert (truth - centre) @ (truth - centre) == pytest.approx(float(found.bias), rel=0.1)
    spread = np.mean([(one - centre) @ (one - centre) for one in means])
    assert spread == pytest.approx(float(found.initialisation), rel=0.1)


def test_the_peak_is_at_as_many_features_as_samples_and_decay_levels_it():
    problem, sizes = RandomFeatures(200, 100, coefficients("relu"), noise=0.25), np.geomspace(10, 4000, 201)
    ((size, test),) = peaks(curve(problem, 1e-8, sizes))
    assert size == pytest.approx(200, rel=0.04) and test > 20
    level = levelling_decay(problem, sizes)
    assert level is not None and not peaks(curve(problem, 1.001 * level, sizes))
    assert (np.diff(curve(problem, 0.999 * level, sizes).errors.test) > 0).any()


def test_over_samples_there_are_three_descents():
    """Peaks at n = d from label noise and at n = N (arXiv 2006.03509); the first grows as σ is more linear."""
    sizes = np.geomspace(10, 20_000, 401)
    firsts: list[float] = []
    for rest in (0.3, 0.1):
        problem = RandomFeatures(1, 100, Coefficients(0.0, 1.0, rest), noise=1.0)
        found = curve(problem, 1e-8, sizes, width=1000)
        (one, first), (two, _) = peaks(found)
        assert one == pytest.approx(100, rel=0.1) and two == pytest.approx(1000, rel=0.05)
        top = int(np.flatnonzero(found.sizes == one)[0])
        assert found.errors.label_noise[top] > 0.8 * first
        firsts.append(first)
    assert firsts[1] > 1.5 * firsts[0]
    quiet = RandomFeatures(1, 100, Coefficients(0.0, 1.0, 0.1))
    assert [round(size, -2) for size, _ in peaks(curve(quiet, 1e-8, sizes, width=1000))] == [1000]
    assert levelling_decay(quiet, sizes, width=1000) == pytest.approx(
        levelling_decay(RandomFeatures(77, 100, Coefficients(0.0, 1.0, 0.1)), sizes, width=1000)
    )


# ------------------------------------------------------------------ the command
QUICK = ["predict", "random-features", "--n", "60", "--d", "30", "--draws", "2"]


@pytest.mark.slow
def test_the_command_says_what_the_theory_does_and_draws_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    content = told(QUICK, tmp_path)
    problem = RandomFeatures(60, 30, coefficients("relu"), noise=0.25)
    np.testing.assert_allclose(content["test"], problem.errors(content["sizes"], 1e-6).test)
    assert content["parameters"] == content["sizes"]
    (peak,) = content["peaks"]
    assert peak["size"] == pytest.approx(60, rel=0.1)
    text = capsys.readouterr().out
    assert f"peak         N = {peak['size']:,.0f}" in text
    assert f"from weight_decay {content['levelling_decay']:.4g} on" in text
    assert text.count("simulated") == len(content["simulated"]["size"]) >= 8
    near = [np.interp(size, content["sizes"], content["test"]) for size in content["simulated"]["size"]]
    ratios = np.array(content["simulated"]["test"]) / near
    assert 0.7 < np.median(ratios) < 1.4
    assert Path(content["picture"]).read_bytes().startswith(b"\x89PNG")


def test_over_samples_two_peaks_are_told_and_nothing_is_drawn_if_not_asked(tmp_path: Path):
    words = ["predict", "random-features", "--over", "samples", "--width", "400", "--d", "40", "--activation", "tanh"]
    content = told([*words, "--noise", "1", "--draws", "0"], tmp_path)
    assert [round(np.log10(peak["size"] / 40)) for peak in content["peaks"]] == [0, 1]
    assert content["simulated"]["size"] == []
    assert set(content["parameters"]) == {400}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--activation", "rleu"], "unknown --activation 'rleu': did you mean 'relu'?"),
        (["--weight-decay", "0"], "--weight-decay=0.0: expected a finite number > 0"),
        (["--weight-decay", "1e-40"], "--weight-decay 1e-40: accepted are values from 1e-12 to 1e+06"),
        (["--noise", "-1"], "--noise=-1.0: expected a finite number ≥ 0"),
        (["--over", "samples"], "--over samples, --width None: accepted are --over samples with --width"),
        (["--width", "9"], "--over features, --width 9: accepted are --over samples with --width"),
        (["--n", "0"], "'0': expected a whole number ≥ 1"),
        (["--n", "9" * 30], "needs more than"),
        (["--signal", "1e90"], "--signal 1e+90: accepted are sizes from"),
    ],
)
def test_bad_input_ends_in_one_line(words, complaint, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    assert complaint in refused(["predict", "random-features", *words])


def test_bad_values_from_python_end_in_one_line():
    problem = RandomFeatures(100, 50, coefficients("relu"))
    for wrong, told_ in (
        (lambda: RandomFeatures(0, 50, coefficients("relu")), "samples=0: expected a finite number > 0"),
        (lambda: RandomFeatures(1, 50, Coefficients(1.0, 0.0, 0.0)), "activation: constant"),
        (lambda: RandomFeatures(1, 50, coefficients("relu"), noise=-1), "noise=-1: expected a finite number ≥ 0"),
        (lambda: problem.errors(10, 0.0), "weight_decay=0.0: expected numbers from 1e-60 to 1e"),
        (lambda: problem.errors([10, np.nan], 1.0), r"width=\[10.0, nan\]: expected numbers"),
        (lambda: curve(problem, 1.0, [3, 2, 1]), "sizes: expected at least three numbers that ascend"),
        (lambda: coefficients("rleu"), "unknown activation 'rleu'"),
        (lambda: coefficients(lambda u: 1 / (u - u)), "activation: expected a function"),
    ):
        with np.errstate(all="ignore"), pytest.raises(ValueError, match=told_) as caught:
            wrong()
        assert "\n" not in str(caught.value)
