"""The compiled sparse solvers against their formulas in NumPy, the exact path, and the estimator they converge to."""

from typing import Any

import numpy as np
import pytest

from groktimizer.theory.lasso import Lasso, objective, solve
from second_lasso import lasso_by_coordinates

METHODS = ("subgradient", "projected", "ista", "accelerated")
ALL = np.arange(201)


def problem(seed=0, n_samples=40, n=100):
    """The instance class of the measured table: five N(0, 1) entries, features N(0, 1) / sqrt(N)."""
    rng = np.random.default_rng(seed)
    features, teacher = rng.normal(size=(n_samples, n)) / n_samples**0.5, np.zeros(n)
    teacher[rng.choice(n, 5, replace=False)] = rng.normal(size=5)
    return features, teacher, np.full(n, 1e-6)


def shrink(a, threshold):
    return np.sign(a) * np.maximum(np.abs(a) - threshold, 0)


def twin(method, features, targets, a0, lr, weight, steps):
    """The formulas of the module's docstring; every iterate, shape (steps + 1, n)."""
    a, path, inverse, t = a0.copy(), [a0.copy()], np.linalg.pinv(features), 1.0
    z = a.copy()
    for _ in range(steps):
        if method == "subgradient":
            a = a - lr * (features.T @ (features @ a - targets) + weight * np.sign(a))
        elif method == "projected":
            a = a - lr * weight * np.sign(a)
            a = a - inverse @ (features @ a - targets)
        elif method == "ista":
            a = shrink(a - lr * features.T @ (features @ a - targets), lr * weight)
        else:
            new = shrink(z - lr * features.T @ (features @ z - targets), lr * weight)
            following = (1 + (1 + 4 * t * t) ** 0.5) / 2
            if (z - new) @ (new - a) > 0:
                z, t = new, 1.0
            else:
                z, t = new + (t - 1) / following * (new - a), following
            a = new
        path.append(a.copy())
    return np.array(path)


def first_and_settled(met):
    unmet = np.flatnonzero(~met)
    settled = 0 if unmet.size == 0 else int(unmet[-1]) + 1
    return (int(met.argmax()) if met.any() else -1), (settled if settled < len(met) else -1)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_follows_its_formula(method):
    features, teacher, start = problem()
    targets = features @ teacher
    runs = solve(features, targets, start, 0.1, 1e-2, ALL, teacher, method=method, test_tolerance=0.7)
    path = twin(method, features, targets, start, 0.1, 1e-2, 200)
    np.testing.assert_allclose(runs.a, path[-1], atol=1e-10)
    train = np.linalg.norm(path @ features.T - targets, axis=1) / np.linalg.norm(targets)
    test = np.linalg.norm(path - teacher, axis=1) / np.linalg.norm(teacher)
    np.testing.assert_allclose(runs.train_error, train, atol=1e-10)
    np.testing.assert_allclose(runs.recovery_error, test, atol=1e-10)
    assert (runs.memorised, runs.memorised_settled) == first_and_settled(runs.train_error <= 1e-2)
    assert (runs.generalised, runs.settled) == first_and_settled(runs.recovery_error <= 0.7)
    if method == "projected":
        assert runs.memorised == 1 and runs.train_error[1:].max() < 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_runs_side_by_side_are_the_single_runs(method):
    features, teacher, start = problem()
    targets = features @ teacher
    lr, weight = np.array([[0.05], [0.1]]), np.array([1e-3, 1e-2, 1e-1])
    settings: dict[str, Any] = {"method": method, "train_tolerance": 0.1, "test_tolerance": 0.8}
    batch = solve(features, targets, start, lr, weight, ALL[::20], teacher, **settings)
    assert batch.a.shape == (2, 3, 100) and batch.recovery_error.shape == (2, 3, 11) and batch.memorised.shape == (2, 3)
    for i, j in np.ndindex(2, 3):
        one = solve(features, targets, start, lr[i, 0], weight[j], ALL[::20], teacher, **settings)
        np.testing.assert_allclose(batch.a[i, j], one.a, atol=1e-10)
        np.testing.assert_allclose(batch.train_error[i, j], one.train_error, atol=1e-10)
        for name in ("memorised", "memorised_settled", "generalised", "settled"):
            assert getattr(batch, name)[i, j] == getattr(one, name), name


def test_ista_takes_the_steps_of_the_exact_path():
    features, teacher, start = problem()
    targets = features @ teacher
    path = Lasso(features, targets).trajectory(start, 0.1, 1e-3)
    runs = solve(features, targets, start, 0.1, 1e-3, [0, 100, 5000, 12_000], teacher)
    np.testing.assert_allclose(runs.recovery_error, path.error([0, 100, 5000, 12_000], teacher), atol=1e-10)
    exact, train = path.time_to(teacher, 1e-2), path.time_to("train", 1e-2)
    assert (runs.generalised, runs.settled) == (exact.first, exact.settled)
    assert (runs.memorised, runs.memorised_settled) == (train.first, train.settled)
    assert 10_000 < runs.generalised < 11_500  # 10,786 here


def test_momentum_reaches_the_estimator_in_the_square_root_of_the_time():
    features, teacher, start = problem()
    targets = features @ teacher
    times: list[int] = []
    for weight in (1e-3, 1e-5):
        runs = solve(features, targets, start, 0.1, weight, [20_000], teacher, method="accelerated")
        best = objective(features, targets, weight, Lasso(features, targets).estimator(weight))
        assert 0 <= objective(features, targets, weight, runs.a) / best - 1 + 1e-12 < 1e-8
        times.append(int(runs.generalised))
        assert runs.restarts > 0
    assert 7 < times[1] / times[0] < 15  # 10 = sqrt(100); 287 and about 3,250


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e5])
def test_coordinate_descent_returns_on_columns_of_every_size(scale: float):
    """What is asked of it is relative: rounding of columns of size 300 and targets of 100 is far above 1e-15."""
    rng = np.random.default_rng(11)
    features = (rng.normal(size=(25, 8)) + 2) * np.array([0.05, 1, 300, 7, 90, 0.3, 2, 40]) * scale
    targets = 100 * rng.normal(size=25)
    for share in (0.3, 1e-2):
        problem = Lasso(features, targets)
        weight = share * problem.max_weight
        mine, theirs = problem.estimator(weight), lasso_by_coordinates(features, targets, weight)
        best = objective(features, targets, weight, theirs)
        assert abs(objective(features, targets, weight, mine) / best - 1) <= 1e-10


@pytest.mark.slow
def test_the_estimator_is_skglm_s():
    """Slow because skglm compiles itself for a quarter of a minute."""
    features, teacher, _ = problem()
    targets = features @ teacher
    for weight in (1e-2, 1e-4, 1e-6):
        mine, theirs = Lasso(features, targets).estimator(weight), lasso_by_coordinates(features, targets, weight)
        np.testing.assert_allclose(mine, theirs, atol=1e-8)
        best = objective(features, targets, weight, theirs)
        assert abs(objective(features, targets, weight, mine) / best - 1) <= 1e-8
        runs = solve(features, targets, np.zeros(100), 0.1, weight, [100_000], teacher, method="accelerated")
        assert abs(objective(features, targets, weight, runs.a) / best - 1) <= 1e-8


BAD = [
    ({"method": "newton"}, "method='newton': accepted are subgradient, projected, ista, accelerated"),
    ({"lr": 0.4}, "lr=0.4: diverges on these features"),
    ({"lr": 0.3, "method": "accelerated"}, "lr=0.3: may diverge with momentum, accepted are values up to 0.2"),
    ({"weight": [1e-3, 0.0]}, "weight=0.0: expected a finite number > 0"),
    ({"lr": []}, "lr: empty"),
    ({"steps": [3, 3]}, "steps: accepted are increasing"),
    ({"steps": [-1, 3]}, "steps: accepted are increasing"),
    ({"steps": [0.5]}, "steps: accepted is a list of whole numbers"),
    ({"teacher": [0.0, 0.0]}, "all zeros"),
    ({"targets": [1.0, np.nan]}, "targets: shape (2,)"),
    ({"test_tolerance": -1.0}, "test_tolerance=-1.0: expected a finite number > 0"),
]


@pytest.mark.parametrize(("change", "words"), BAD)
def test_what_is_not_accepted_is_said_in_one_line(change, words):
    values = {"features": [[1.0, 2.0]], "targets": [2.0], "a0": [0.0, 0.0], "lr": 0.1, "weight": 0.1}
    values |= {"steps": [10], "teacher": [0.0, 1.0]} | change
    with pytest.raises(ValueError) as refusal:
        solve(**values)
    assert words in str(refusal.value) and "\n" not in str(refusal.value)
