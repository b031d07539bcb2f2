"""Ridge: every step and every time against the loop that users run, over random problems of every shape."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest

from groktimizer.dynamics import critical_momentum
from groktimizer.theory.ridge import Ridge


@dataclass
class Case:
    features: np.ndarray
    teacher: np.ndarray
    covariance: npt.ArrayLike | None
    noise: np.ndarray | None
    theta0: np.ndarray
    lr: float
    weight_decay: float
    momentum: float | Literal["critical"]
    switch: int | None
    carry: bool

    def ridge(self):
        return Ridge(self.features, self.teacher, self.covariance, self.noise)

    def settings(self) -> dict[str, Any]:
        return {"momentum": self.momentum, "switch": self.switch, "carry_velocity": self.carry}


def draw(seed):
    """A random problem: n < m, n > m, or a spectrum with repeated and zero values; a momentum; perhaps a switch."""
    rng = np.random.default_rng(seed)
    n, m = [(5, 20), (12, 30), (20, 8), (6, 6)][seed % 4]
    features = rng.normal(size=(n, m)) / m**0.5
    if seed % 5 == 0:  # degenerate: values 1, 1, .5, .5, 0 ...
        left, _, right = np.linalg.svd(features, full_matrices=False)
        values = np.zeros(min(n, m))
        values[:4] = [1.0, 1.0, 0.5, 0.5]
        features = (left * values) @ right
    square = rng.normal(size=(m, m)) / m**0.5
    covariance = [None, 1 / m, rng.uniform(0.1, 2, m), square @ square.T][seed // 4 % 4]
    momentum = [0.0, 0.9, "critical", 0.98][seed % 4 if seed % 3 else seed // 8 % 4]
    weight_decay = float(10 ** rng.uniform(-3, -1))
    top = np.linalg.norm(features, 2) ** 2 / n + weight_decay
    lr = float(rng.choice([0.2, 0.9, 1.7])) / top
    return Case(
        features,
        rng.normal(size=m) / m**0.5,
        covariance,
        rng.normal(size=n) * 0.1 if seed % 6 == 1 else None,
        rng.normal(size=m),
        lr,
        min(weight_decay, 0.5 / lr),
        momentum,
        int(rng.integers(1, 60)) if seed % 3 == 2 else None,
        bool(seed % 2),
    )


def simulate(case, steps):
    """The loop: torch's SGD with momentum and decay, in NumPy; every iterate, shape (steps + 1, m)."""
    n, m = case.features.shape
    y = case.features @ case.teacher + (0 if case.noise is None else case.noise)
    mu = critical_momentum(case.lr, case.weight_decay) if case.momentum == "critical" else case.momentum
    gram, pull = case.features.T @ case.features / n, case.features.T @ y / n
    theta, path, last = case.theta0.copy(), np.empty((steps + 1, m)), np.zeros(m)
    path[0] = theta
    for t in range(steps):
        before = case.switch is not None and t < case.switch
        decay, momentum = (0.0, 0.0) if before else (case.weight_decay, mu)
        if case.switch == t and not case.carry:
            last = np.zeros(m)
        last = momentum * last - case.lr * (gram @ theta - pull + decay * theta)
        theta = theta + last
        path[t + 1] = theta
    return path


def losses(case, path):
    n, m = case.features.shape
    y = case.features @ case.teacher + (0 if case.noise is None else case.noise)
    train = ((path @ case.features.T - y) ** 2).sum(axis=1) / (2 * n)
    away = path - case.teacher
    sigma = np.eye(m) if case.covariance is None else np.asarray(case.covariance, float)
    if sigma.ndim < 2:
        sigma = np.diag(np.broadcast_to(sigma, m))
    return train, np.einsum("ti,ij,tj->t", away, sigma, away)


def first_and_settled(curve, tolerance):
    met = curve <= tolerance
    first = int(met.argmax()) if met.any() else None
    unmet = np.flatnonzero(~met)
    settled = 0 if unmet.size == 0 else int(unmet[-1]) + 1
    return first, settled if settled < len(curve) else None


def check(seed, steps):
    case = draw(seed)
    ridge = case.ridge()
    path = simulate(case, steps)
    curve = ridge.trajectory(case.theta0, case.lr, case.weight_decay, **case.settings())
    looked = np.unique(np.geomspace(1, steps, 40).astype(int) - 1)
    np.testing.assert_allclose(
        curve.theta(looked), path[looked], rtol=0, atol=1e-10 * np.abs(path[looked]).max(), err_msg=f"seed {seed}"
    )
    error = np.linalg.norm(curve.theta(looked) - path[looked], axis=1) / np.linalg.norm(path[looked], axis=1)
    assert error.max() <= 1e-10, (seed, error.max())
    train, test = losses(case, path)
    np.testing.assert_allclose(curve.train_loss(looked), train[looked], rtol=1e-8, atol=1e-14)
    np.testing.assert_allclose(curve.population_loss(looked), test[looked], rtol=1e-8, atol=1e-14)
    # Tolerances between the floor and the start, one loose and one tight, so that curves ring around them.
    floors = ridge.floors(case.weight_decay)
    for place in (0.3, 0.003):
        epsilon, c = (
            max(floor, 1e-12) * 1.0001 + place * (float(values[0]) - floor) * 0.1
            for floor, values in ((floors.train, train), (floors.population, test))
        )
        if epsilon <= 0 or c <= 0:
            continue
        times = ridge.grokking_time(case.theta0, case.lr, case.weight_decay, epsilon, c, **case.settings())
        assert not times.unresolved
        got = (times.memorised, times.memorised_settled, times.generalised, times.settled)
        want = (*first_and_settled(train, epsilon), *first_and_settled(test, c))
        for mine, theirs in zip(got, want, strict=True):
            assert mine == theirs or (theirs is None and mine > steps), (seed, place, got, want)


@pytest.mark.parametrize("seed", range(40))
def test_steps_and_times_equal_the_loop(seed):
    check(seed, 3000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40, 240))
def test_steps_and_times_equal_the_loop_for_long(seed):
    check(seed, 100_000)
