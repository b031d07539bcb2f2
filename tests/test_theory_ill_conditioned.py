"""Ridge on features whose curvatures span thirty decades: every loss against the loop in extended precision."""

from functools import partial

import numpy as np
import pytest
import scipy.linalg

from groktimizer.dynamics import Phase, mode_rates, solve
from groktimizer.dynamics.rates import flow_rates
from groktimizer.theory.ridge import Ridge, early_stopping, spectrum

LONG = np.longdouble
STEPS = np.arange(301)


def fourier(n: int, m: int, rng: np.random.Generator) -> np.ndarray:
    inputs, weights = rng.normal(size=(n, 2)), rng.normal(size=(m, 2)) * 0.3
    return (2 / m) ** 0.5 * np.cos(inputs @ weights.T + rng.uniform(0, 2 * np.pi, m))


def doubled(n: int, m: int, rng: np.random.Generator) -> np.ndarray:
    half = rng.normal(size=(n, m - m // 2))
    return np.hstack([half, half[:, : m // 2]])


def constant(n: int, m: int, rng: np.random.Generator) -> np.ndarray:
    features = rng.normal(size=(n, m)) * 1e-4
    features[:, : m // 3], features[:, m // 3] = 2.5, 0.0
    return features


FEATURES = {
    "hilbert": lambda n, m, rng: scipy.linalg.hilbert(max(n, m))[:n, :m] * rng.choice([1.0, 1e3]),
    "powers": lambda n, m, rng: np.vander(rng.uniform(-1, 1, n), m, increasing=True),
    "fourier": fourier,
    "doubled columns": doubled,
    "constant columns": constant,
    "float32": lambda n, m, rng: fourier(n, m, rng).astype(np.float32),
}
POPULATIONS = ("identity", "diagonal", "matrix", "noise", "test points")


def loop(features, targets, theta0, lr, decay, momentum, switch):
    """Every iterate in extended precision, of the torch rule; before `switch` plain gradient descent without decay."""
    x, theta = features.astype(LONG), theta0.astype(LONG)
    last, path = np.zeros_like(theta), [theta]
    for t in STEPS[1:]:
        late = switch is None or t > switch
        pull = x.T @ (x @ theta - targets) / x.shape[0] + (LONG(decay) * theta if late else 0)
        last = (LONG(momentum) * last if late else 0) - LONG(lr) * pull
        theta = theta + last
        path.append(theta)
        last = np.zeros_like(theta) if t == switch else last
    return np.array(path)


def root(population: str, m: int, rng: np.random.Generator) -> np.ndarray:
    """R with Sigma = R'R."""
    if population == "matrix":
        return rng.normal(size=(m, m)) / m**0.5
    return np.diag(rng.uniform(0.3, 1, m)) if population == "diagonal" else np.eye(m)


def worst(features, population, rng, decay, momentum: float, switch, route: str = "auto") -> float:
    """Largest relative error of population loss, train loss and parameters over all steps."""
    n, m = features.shape
    teacher, theta0 = rng.normal(size=m), rng.normal(size=m) * rng.choice([0.0, 0.01, 1.0])
    if population == "test points":
        targets, wanted, seen = rng.normal(size=n), rng.normal(size=9), rng.normal(size=(9, m))
        problem = Ridge.from_targets(features, targets, seen, wanted, route=route)
        seen, wanted = seen.astype(LONG) / LONG(3), wanted.astype(LONG) / LONG(3)
    else:
        seen = root(population, m, rng).astype(LONG)
        wanted = seen @ teacher.astype(LONG)
        sigma = (seen.T @ seen).astype(float)
        noise = rng.normal(size=n) if population == "noise" else np.zeros(n)
        problem = Ridge(features, teacher, np.diag(sigma) if population == "diagonal" else sigma, noise, route=route)
        targets = features.astype(LONG) @ teacher.astype(LONG) + noise
    lr = rng.choice([0.4, 1.0, 1.7]) / problem.sharpness
    path = loop(features, targets, theta0, lr, decay, momentum, switch)
    population_loss = ((path @ seen.T - wanted) ** 2).sum(axis=1)
    train_loss = ((path @ features.astype(LONG).T - targets) ** 2).sum(axis=1) / (2 * n)
    curve = problem.trajectory(theta0, lr, decay, momentum, switch)
    return max(
        float((np.abs(curve.population_loss(STEPS) - population_loss) / population_loss).max()),
        float((np.abs(curve.train_loss(STEPS) - train_loss) / (train_loss + 1e-16 * train_loss[0])).max()),
        float(np.abs(curve.theta(STEPS) - path).max() / np.abs(path).max()),
    )


SETTINGS = [(0.0, 0.0, None), (0.0, 0.9, None), (1e-19, 0.0, None), (1e-5, 0.95, 90)]


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("population", POPULATIONS)
def test_losses_equal_the_loop_in_extended_precision(name: str, population: str):
    for seed, (n, m) in enumerate([(9, 9), (11, 24), (18, 7)]):
        rng = np.random.default_rng(1000 + seed)
        decay, momentum, switch = SETTINGS[(seed + POPULATIONS.index(population)) % 4]
        features = FEATURES[name](n, m, rng)
        assert worst(features, population, rng, decay, momentum, switch) < 1e-8, (name, population, n, m)


def stopping_problem() -> tuple[Ridge, np.ndarray, np.ndarray, np.ndarray]:
    """Fourier features of noisy targets: the loss on test points falls, then rises for ever without decay."""
    rng = np.random.default_rng(7)
    inputs, seen = rng.normal(size=(50, 2)), rng.normal(size=(80, 2))
    weights, phases = rng.normal(size=(300, 2)) * 0.4, rng.uniform(0, 2 * np.pi, 300)
    train, test = ((2 / 300) ** 0.5 * np.cos(part @ weights.T + phases) for part in (inputs, seen))
    problem = Ridge.from_targets(train, np.sin(inputs[:, 0]) + 1.5 * rng.normal(size=50), test, np.sin(2 * seen[:, 0]))
    theta, lr, wanted = rng.normal(size=300) * 0.1, 1 / problem.sharpness, np.sin(2 * seen[:, 0])
    losses, start = [], theta.copy()
    for _ in range(2001):
        losses.append(float(((test @ theta - wanted) ** 2).mean()))
        theta = theta - lr * train.T @ (train @ theta - problem.noise) / 50
    return problem, start, np.array(losses), np.array(lr)


def test_times_and_the_best_step_without_decay_equal_the_loop():
    problem, start, losses, lr = stopping_problem()
    values = problem.modal.system.values
    assert values[-1] / values[0] < 1e-11
    found = early_stopping(problem, start, float(lr))
    assert found.step == int(losses.argmin()) and found.loss == pytest.approx(losses.min(), rel=1e-9)
    for share in (1.02, 1.3):
        times = problem.grokking_time(start, float(lr), 0.0, 1e9, share * losses.min())
        assert times.generalised == int((losses <= share * losses.min()).argmax())
        # Modes that have not arrived after 2^52 steps leave open where the loss ends, and the answer says so.
        assert times.unresolved == ("population",) and "still moves" in times.advice[-1]
    two = problem.grokking_time(start, float(lr), 1e-3, 1e9, 1.02 * losses.min(), switch=2000)
    assert two.generalised == int((losses <= 1.02 * losses.min()).argmax())


def test_displacement_is_the_difference_of_positions():
    # Where nothing cancels both formulas agree; where all does, extended precision decides.
    for momentum in (0.0, 0.5, 0.9):
        curvature = np.array([0.5 * (1 - momentum**0.5) ** 2, 1e-3 * (1 - momentum) ** 2, 1e-13, 1e-25])
        rates = mode_rates(1.0, curvature, momentum)
        assert rates.apart.all()
        for t in (1, 2, 7, 300):
            moved, d = np.zeros(4, LONG), np.zeros(4, LONG)
            for _ in range(t):
                d = LONG(momentum) * d - curvature.astype(LONG) * (1 + moved)
                moved = moved + d
            np.testing.assert_allclose(rates.displacement(t), moved.astype(float), rtol=1e-13)
    assert not mode_rates(1.0, np.array([0.25]), 0.25).apart.any()  # the double root: (1 - sqrt(mu))^2 = 1/4
    slow = flow_rates(1e-3, np.array([1e-18, 0.0]))
    np.testing.assert_allclose(slow.displacement(10), [-1e-20, 0.0], rtol=1e-14)


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_a_mode_measured_from_its_start_keeps_its_digits(momentum: float):
    # h = 1e-20 and pull 1: the fixed point is 1e20 away, after 100 steps the mode has come a few hundred.
    phases = [Phase(0, 1.0, 0.0, momentum), Phase(100, 1.0, 1e-3, momentum)]
    first, second = solve(phases, np.array([1e-20]), np.ones(1), np.full(1, 0.25), target=np.zeros(1))
    assert first.from_start.all() and not first.from_end.from_start.any() and first.end[0] == 1e20
    x, d = LONG(0.25), LONG(0)
    for _ in range(100):
        d = LONG(momentum) * d - (LONG(1e-20) * x - 1)
        x = x + d
    assert second.position[0] == pytest.approx(float(x), rel=1e-14)


def test_the_gram_route_is_chosen_only_where_it_keeps_the_digits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spectrum, "SVD_ENTRIES", 50)
    rng = np.random.default_rng(3)
    even = rng.normal(size=(5, 40))
    assert spectrum.spectrum(even).mix is not None
    for uneven in (fourier(12, 40, rng), np.vstack([even, even[:1]]), scipy.linalg.hilbert(9)):
        assert spectrum.spectrum(uneven).mix is None
    measure = partial(worst, even, rng=rng, decay=0.0, momentum=0.0, switch=None, route="gram")
    assert all(measure(population) < 1e-10 for population in POPULATIONS)
