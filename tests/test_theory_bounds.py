"""Bounds: none that is called guaranteed is broken, none that fails reads as if it held, none is rounded across."""

import math
from decimal import Decimal

import numpy as np
import pytest

from groktimizer.theory.clock.claims import Bound, Condition, at_least, at_most, rounded, trusted
from groktimizer.theory.lasso import Lasso
from groktimizer.theory.lasso.answers import basis_pursuit
from groktimizer.theory.lasso.laws import drift
from groktimizer.theory.ridge import Ridge, theorem_4_1

# guaranteed bounds against exact times


def measured(problem: Ridge, theta0: np.ndarray, lr: float, decay: float, epsilon: float, c: float):
    """The paper's t1 and t2 and the limit of the population loss, from exact times."""
    times = problem.grokking_time(theta0, lr, decay, epsilon, c)
    first = math.inf if times.memorised_settled is None else times.memorised_settled - 1
    second = math.inf if times.generalised is None else times.generalised
    return first, second, times.floors.population


def broken(problem: Ridge, theta0: np.ndarray, lr: float, decay: float, epsilon: float, c: float) -> list[Bound]:
    """Guaranteed bounds that the exact times contradict."""
    first, second, limit = measured(problem, theta0, lr, decay, epsilon, c)
    held = {
        "t1 <=": lambda value: first <= value + 1e-9,
        "t2 >=": lambda value: second >= value - 1e-9,
        "population loss of the limit <=": lambda value: limit <= value,
    }
    found = [bound for bound in problem.bounds(theta0, lr, decay, epsilon, c) if bound.guaranteed]
    return [bound for bound in found if not held[bound.quantity](bound.value)]


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def draw(seed: int) -> tuple[Ridge, np.ndarray, float, float, float, float]:
    """A problem at the edge of the theorems: teacher, noise, start, shape and tolerances of every kind."""
    rng = np.random.default_rng(seed)
    fair = bool(seed % 2)
    n, m = (8, 200) if fair else [(8, 200), (20, 160), (30, 24), (10, 40)][rng.integers(4)]
    features = rng.normal(size=(n, m)) / m**0.5
    if rng.integers(4) == 0:
        features[n // 2 :] = features[: n - n // 2]
    teacher = unit(rng.normal(size=m)) * rng.choice([0.0, 0.01, 1.0, 30.0])
    noise = rng.normal(size=n) * (0.0 if fair else rng.choice([0.0, 0.0, 1e-6, 1.0]))
    starts = [
        rng.normal(size=m),
        np.zeros(m),
        rng.normal(size=m) * 1e-3,
        unit(features.T @ rng.normal(size=n)) * m**0.5,
        np.eye(m)[0] * m**0.5,
    ]
    theta0 = starts[rng.integers(5)]
    covariance = 1 / m if fair else [1 / m, None, rng.uniform(0.5, 1, m) / m][rng.integers(3)]
    problem = Ridge(features, teacher, covariance, noise)
    if not fair and rng.integers(5) == 0:
        seen = rng.normal(size=(m + 9, m)) / m**0.5
        problem = Ridge.from_targets(features, features @ teacher + noise, seen, seen @ teacher)
    lr = float(rng.choice([0.05, 0.5, 0.99])) / problem.sharpness * rng.choice([1.0, 0.1])
    decay = float(10 ** rng.uniform(-7, -3 if fair else -0.3))
    epsilon = float(10 ** rng.uniform(-3 if fair else -6, -1))
    return (
        problem,
        theta0,
        lr,
        min(decay, 0.9 / lr),
        epsilon,
        epsilon * (1.0 if fair else float(rng.choice([1.0, 5.0]))),
    )


def test_no_guaranteed_bound_is_broken():
    counted: dict[str, int] = {}
    for seed in range(80):
        drawn = draw(seed)
        assert broken(*drawn) == [], seed
        for bound in drawn[0].bounds(*drawn[1:]):
            key = f"{bound.theorem} {bound.quantity}"
            counted[key] = counted.get(key, 0) + bound.guaranteed
    assert min(counted.values()) >= 2, counted  # not by guaranteeing nothing


@pytest.mark.slow
def test_no_guaranteed_bound_is_broken_in_many_problems():
    assert [seed for seed in range(100, 3000) if broken(draw(seed)[0], *draw(seed)[1:])] == []


def named(problem: Ridge, theta0: np.ndarray, epsilon: float = 0.02, c: float = 0.02) -> dict[str, Bound]:
    found = problem.bounds(theta0, 0.4, 1e-4, epsilon, c)
    return {f"{bound.theorem} {bound.quantity[:2]}": bound for bound in found}


def wide(seed: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(25, 300)) / 300**0.5, rng.normal(size=300)


def test_label_noise_and_missing_teachers_void_every_bound():
    features, theta0 = wide()
    clean = named(Ridge(features, np.zeros(300), 1 / 300), theta0)
    assert all(bound.guaranteed for bound in clean.values())
    noisy = named(Ridge(features, np.zeros(300), 1 / 300, noise=np.full(25, 0.25)), theta0)
    told = "targets are not the teacher's: root mean square difference 0.25"
    assert all(told in bound.failing for bound in noisy.values())
    seen = np.random.default_rng(0).normal(size=(310, 300)) / 300**0.5
    unreached = named(Ridge.from_targets(features, np.zeros(25), seen, np.full(310, 0.5)), theta0)
    assert all("root mean square difference 0.5" in "; ".join(bound.failing) for bound in unreached.values())
    curves = theorem_4_1(Ridge(features, np.zeros(300), 1, np.ones(25)).facts(theta0, 0.4, 1e-4, 0.1, 0.1), [0, 1])
    assert not curves[1][0].holds


def test_a_start_within_the_span_of_the_data_voids_the_lower_bounds():
    features, theta0 = wide()
    inside = unit(features.T @ np.ones(25)) * 300**0.5
    found = named(Ridge(features, np.zeros(300), 1 / 300), inside)
    lower = ("Eq (8) t2", "Theorem 4.2, Eq (7) t2", "Theorem 4.5 t2")
    assert not any(found[name].guaranteed for name in lower)
    assert all(f"< {275 / 2}" in found[name].failing[0] for name in lower)  # (m - n) nu^2 / 2
    assert found["Theorem 4.4 t1"].guaranteed
    trust = "theta0 is drawn from N(0, nu^2 I)"
    fair = named(Ridge(features, np.zeros(300), 1 / 300), theta0)
    assert all(trust in fair[name].trusted and trust in fair[name].standing for name in lower)


def test_a_start_shorter_than_the_teacher_voids_the_upper_bounds():
    # From 0 the train loss begins at ||Phi theta*||^2 / 2n, whatever epsilon / ||theta_0||^2 says.
    features, _ = wide()
    found = named(Ridge(features, features[0] * 9, 1 / 300), np.full(300, 1e-3), 1e-3, 1e-3)
    for name in ("Eq (8) t1", "Theorem 4.4 t1", "Theorem 4.2, Eq (6) t1"):
        assert any(text.startswith("||theta0|| = 0.01732 < ") for text in found[name].failing), name


def test_condition_3_counts_in_theorem_4_2():
    # 2048 b^4 ||theta*||^4 ln(4/delta) / epsilon^2 samples: with b = 2, a unit teacher and epsilon = 1/2.
    features = np.zeros((3, 400))
    features[:, :3] = 2 * np.eye(3)
    bound = named(Ridge(features, np.eye(400)[5], 1.0), np.ones(400), 0.5, 0.5)["Theorem 4.2, Eq (6) t1"]
    need = 2048 * 16 * math.log(80) / 0.25
    assert bound.failing[0] == f"n = 3 < {need:.4g}"


# what is printed


def test_a_condition_reads_as_what_is_the_case():
    assert at_least("m", 100, 512.3) == Condition("m = 100 < 512.3", False)
    assert at_most("lr", 2.0, 1.5).text == "lr = 2 > 1.5" and at_most("lr", 1.0, 1.5).text == "lr = 1 <= 1.5"
    assert at_least("m", 1.00001, 1.00002).text == "m = 1.00001 < 1.00002"  # as many digits as tell them apart
    assert at_least("m", 2.0, 2.0 * (1 + 1e-12)).holds
    assert not at_least("m", 3.0, math.inf).holds and not at_most("x", math.nan, 1.0).holds
    some = Bound("a theorem", "t2 >=", 5.0, (at_least("m", 3, 2), trusted("x is Gaussian")))
    assert some.guaranteed and some.standing == "conditions hold; taken on trust: x is Gaussian"
    fails = Bound("a theorem", "t2 >=", 5.0, (at_least("m", 1, 2), trusted("x is Gaussian")))
    assert fails.standing == "not guaranteed: m = 1 < 2"


def test_bounds_are_rounded_to_their_own_side():
    rng = np.random.default_rng(0)
    values = [*(10 ** rng.uniform(-9, 15, 500)), 999.95, 999.999, 1000.2, 0.1, 3.0, 1e15, 2.5e-310]
    for value in [*values, *(-value for value in values), 0.0]:
        down, up = (Decimal(rounded(value, side).replace(",", "")) for side in (">=", "<="))
        exact = Decimal(repr(float(value)))  # the shortest decimal that is this float: 0.1 is 0.1
        assert down <= exact <= up
        assert float(up - down) <= max(1e-3 * abs(value) * (1 + 1e-9), 0.0 if abs(value) < 999 else 1.0)
        assert abs(Decimal(rounded(value, "~").replace(",", "")) - exact) <= up - down
    assert rounded(math.nan, "<=") == "nan" and rounded(math.inf, ">=") == "inf"


# the law of the sparse delay


def plateau(seed: int) -> tuple[Lasso, np.ndarray]:
    """Neighbouring columns alike, targets of a few of them."""
    rng = np.random.default_rng(seed)
    wave = np.exp(-0.5 * ((np.arange(40)[:, None] - np.arange(-5, 45)[None]) / 2.0) ** 2)
    features = rng.normal(size=(18, 40)) @ wave[:, 5:45] / 18**0.5
    targets = features[:, 7] - 2 * features[:, 25] + 0.3 * rng.normal(size=18)
    return Lasso(features, targets), basis_pursuit(features, targets)


def test_the_law_of_the_delay_follows_the_slope_near_the_answer():
    errors, plain = [], []
    for seed in range(4):
        problem, teacher = plateau(seed)
        lr, weight = 1 / problem.sharpness, 1e-6 * problem.max_weight
        path, kappa = problem.trajectory(np.zeros(40), lr, weight), problem.recovery(teacher).null_space
        first, second = path.time_to("train", 1e-3).first, path.time_to(teacher, 1e-2).first
        if first is None or second is None or kappa >= 1 - 1e-9:
            continue
        law = problem.laws(np.zeros(40), lr, weight, teacher)[0]
        steps = drift(problem.features, problem.targets, teacher, lr, weight)
        assert law.value == pytest.approx(steps / min(2 * (1 - kappa), 1.0))
        assert (f"null-space constant = {kappa:.4g} > 0.9" in law.failing) == (kappa > 0.9)
        errors.append(abs(math.log((second - first) / law.value)))
        plain.append(abs(math.log((second - first) / steps)))
    assert len(errors) >= 2 and max(errors) < math.log(20) and np.mean(errors) < np.mean(plain)
