"""Lasso: every step, event and time against ISTA taken step by step; laws, recovery and direct answers."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groktimizer.measures import Clocks, Errors, Verdict, judge
from groktimizer.theory.lasso import (
    Lasso,
    accelerated,
    basis_pursuit,
    interpolant,
    null_space_constant,
    theorem_2_1,
)


@dataclass
class Case:
    features: np.ndarray
    targets: np.ndarray
    teacher: np.ndarray
    a0: np.ndarray
    lr: float
    weight: float

    def path(self):
        return Lasso(self.features, self.targets).trajectory(self.a0, self.lr, self.weight)


SHAPES = [(5, 12), (12, 30), (20, 8), (6, 6), (8, 40), (1, 3), (30, 30)]


def draw(seed):
    """N < n, N >= n; equal and opposite columns (singular active sets, ties); grids of values; steps up to 2 / L."""
    rng = np.random.default_rng(seed)
    n_samples, n = SHAPES[seed % len(SHAPES)]
    features = rng.normal(size=(n_samples, n)) / n_samples**0.5
    if seed % 3 == 0:
        features[:, 1], features[:, -1] = features[:, 0], -features[:, -2]
    if seed % 4 == 1:
        features = np.round(features * 2) / 2
        features[0, 0] += not features.any()
    if seed % 10 == 9:
        features[:, 0] = 0  # a coordinate that only the penalty moves
    teacher = np.zeros(n)
    teacher[:3] = rng.normal(size=3)
    targets = features @ teacher + (0.1 * rng.normal(size=n_samples) if seed % 6 == 2 else 0)
    top = np.linalg.norm(features, 2) ** 2
    lr = float(rng.choice([0.3, 0.9, 1.0, 1.5, 1.95]) / top)
    weight = float(10 ** rng.uniform(-3, -0.3)) * float(np.abs(features.T @ targets).max())
    a0 = np.ones(n) if seed % 7 == 0 else rng.normal(size=n) * float(rng.choice([0, 1e-3, 1, 5]))
    return Case(features, targets, teacher, a0, lr, weight)


def simulate(case, steps):
    """The loop, every iterate, shape (steps + 1, n)."""
    a, path = case.a0.copy(), np.empty((steps + 1, case.a0.size))
    path[0] = a
    for t in range(steps):
        moved = a - case.lr * (case.features.T @ (case.features @ a - case.targets))
        a = np.sign(moved) * np.maximum(np.abs(moved) - case.lr * case.weight, 0)
        path[t + 1] = a
    return path


def first_and_settled(met):
    first = int(met.argmax()) if met.any() else None
    unmet = np.flatnonzero(~met)
    settled = 0 if unmet.size == 0 else int(unmet[-1]) + 1
    return first, settled if settled < len(met) else None


def compare_times(got, values, tolerance, measure, limit):
    """Times within the simulated steps are equal; later ones are checked on the path on both sides."""
    steps, want = len(values) - 1, first_and_settled(values <= tolerance)
    for mine, theirs in zip((got.first, got.settled), want, strict=True):
        if mine is not None and mine > steps:
            assert measure(mine) <= tolerance < measure(mine - 1)
        elif mine is None and theirs is not None:
            assert limit > tolerance
        else:
            assert mine == theirs, (mine, theirs, tolerance)


def check(seed, steps):
    case = draw(seed)
    path, loop = case.path(), simulate(case, steps)
    looked = np.random.default_rng(seed).integers(0, steps, 50)
    scale = max(np.abs(loop[looked]).max(), 1e-300)
    assert np.abs(path.at(looked) - loop[looked]).max() <= 1e-9 * scale, seed
    limit = path.limit
    inside = np.linalg.norm(case.targets)
    train = np.linalg.norm(loop @ case.features.T - case.targets, axis=1) / inside
    end = float(np.linalg.norm(case.features @ limit - case.targets) / inside)
    for tolerance in (0.5, 0.1, 0.01, 1.3 * float(train[-1]) + 1e-9):
        compare_times(path.time_to("train", tolerance), train, tolerance, path.train_error, end)
    for reference in (case.teacher, limit):
        away = np.linalg.norm(loop - reference, axis=1) / np.linalg.norm(reference)
        end = float(np.linalg.norm(limit - reference) / np.linalg.norm(reference))
        for tolerance in (0.5, 0.1, 0.01, 1.3 * float(away[-1]) + 1e-9):
            got = path.time_to(reference, tolerance)
            compare_times(got, away, tolerance, lambda t, r=reference: path.error(t, r), end)


@pytest.mark.parametrize("seed", range(28))
def test_steps_and_times_equal_the_loop(seed):
    check(seed, 3000)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100))
def test_steps_and_times_equal_the_loop_for_long(seed):
    check(seed, 50_000)


def events_of(loop):
    """Changes of sign in a simulated path."""
    signs = np.sign(loop)
    steps, coordinates = np.nonzero(signs[1:] != signs[:-1])
    kinds = [
        "enters" if signs[t, j] == 0 else "leaves" if signs[t + 1, j] == 0 else "flips"
        for t, j in zip(steps, coordinates, strict=True)
    ]
    return list(zip((steps + 1).tolist(), kinds, coordinates.tolist(), strict=True))


def test_events_are_those_of_the_loop_and_hold_every_kind():
    seen: set[str] = set()
    again = 0
    for seed in (1, 2, 4, 8, 11, 18, 25):  # no equal columns there, which the loop tells apart by rounding alone
        case = draw(seed)
        path, loop = case.path(), simulate(case, 4000)
        mine = [(e.step, e.kind, e.coordinate) for e in path.events if e.step <= 4000]
        assert mine == events_of(loop), seed
        seen |= {event[1] for event in mine}
        left = {j for _, kind, j in mine if kind == "leaves"}
        again += sum(kind == "enters" and j in left for _, kind, j in mine)
        assert path.n_events == len(path.events)
    assert seen == {"enters", "leaves", "flips"}
    assert again > 0


def test_ties_leave_at_one_step():
    """Orthogonal features, equal starts and targets: four coordinates cross zero at the same steps, in the same way."""
    path = Lasso(np.eye(4) / 2, np.full(4, 0.1)).trajectory(-np.ones(4), 0.4, 0.04)
    steps = {(e.step, e.kind) for e in path.events}
    assert steps and len(path.events) == 4 * len(steps)
    np.testing.assert_allclose(path.limit, (0.1 / 2 - 0.04) / 0.25)


def test_a_null_direction_drifts_until_it_is_gone():
    """One sample [1, 2], y = 2: least l1 is (0, 1). From (2, 0), which fits, a_1 falls and a_2 rises."""
    path = Lasso([[1.0, 2.0]], [2.0]).trajectory([2.0, 0.0], 0.1, 1e-6)
    half = path.at(10**7)
    np.testing.assert_allclose(half @ [1, 2], 2, atol=1e-5)
    assert 0 < half[0] < 2
    np.testing.assert_allclose(path.limit, [0, 1 - 1e-6 / 4], atol=1e-12)
    times = path.time_to(path.limit, 0.01)
    # The kernel direction is (2, -1) / sqrt 5, on which the signs push with 1 / sqrt 5: (2 - 1) / sqrt 5.
    drift = 1e-7 / 5**0.5 * 2 / 5**0.5
    assert times.first == times.settled
    assert times.first == pytest.approx((2 - 0.01 * 2 / 5**0.5) / drift, rel=1e-3)


def test_one_coordinate_has_a_closed_form():
    """X = [1]: a_t = (y - beta) + (1 - alpha)^t (a0 - y + beta), alternating for alpha > 1."""
    for lr in (0.3, 1.0, 1.7):
        path = Lasso([[1.0]], [1.0]).trajectory([1.5], lr, 0.25)
        t = np.array([0, 1, 2, 3, 10, 31, 10**12])
        np.testing.assert_allclose(path.at(t)[:, 0], 0.75 + (1 - lr) ** t.astype(float) * 0.75, atol=1e-14)


def test_far_steps_rest_at_the_estimator():
    case = draw(1)
    path = case.path()
    np.testing.assert_allclose(path.at(10**12), path.limit, atol=1e-14)
    assert path.at(10**12).shape == (30,)
    assert path.at([[1, 2, 3], [10, 10**6, 10**9]]).shape == (2, 3, 30)
    np.testing.assert_array_equal(path.at(0), case.a0)


@given(st.integers(0, 2**31), st.floats(0.05, 1.99), st.floats(0.01, 0.9))
def test_the_limit_meets_the_optimality_conditions(seed, step, share):
    """X_j'(y - X a) = beta sign(a_j) where a_j != 0, at most beta elsewhere."""
    rng = np.random.default_rng(seed)
    features, targets = rng.normal(size=(6, 10)), rng.normal(size=6)
    problem = Lasso(features, targets)
    weight = share * problem.max_weight
    limit = problem.trajectory(rng.normal(size=10), step / problem.sharpness, weight).limit
    pull = features.T @ (targets - features @ limit)
    np.testing.assert_allclose(pull[limit != 0], weight * np.sign(limit[limit != 0]), atol=1e-9)
    assert np.abs(pull).max() <= weight * (1 + 1e-9)


def sparse_problem(seed, n_samples, n=100, sparsity=5):
    rng = np.random.default_rng(seed)
    features, teacher = rng.normal(size=(n_samples, n)) / n_samples**0.5, np.zeros(n)
    teacher[rng.choice(n, sparsity, replace=False)] = rng.normal(size=sparsity)
    return features, teacher


@pytest.mark.slow
def test_grokking_without_taking_the_steps():
    features, teacher = sparse_problem(0, 50)
    problem = Lasso(features, features @ teacher)
    start = np.full(100, 1e-6)
    times = problem.grokking_time(start, 0.1, 1e-7, 1e-2, 1e-2, teacher)
    assert times.memorised is not None and times.settled is not None and times.delay is not None
    assert times.memorised < 200 < 10**7 < times.delay
    assert times.transition.verdict is Verdict.GROKKED
    assert times.advice == ()
    path = problem.trajectory(start, 0.1, 1e-7)
    around = path.error([times.settled - 1, times.settled], teacher)
    assert around[1] <= 1e-2 < around[0]
    # Theorem 3.3 within a factor of two; the same problem at ten times the weight takes a tenth of the time.
    law, memory, _ = problem.laws(start, 0.1, 1e-7, teacher)
    assert 0.5 < times.delay / law.value < 2
    assert law.guaranteed and memory.value > times.memorised
    faster = problem.grokking_time(start, 0.1, 1e-6, 1e-2, 1e-2, teacher)
    assert faster.generalised == pytest.approx(times.settled / 10, rel=1e-3)


def test_too_few_samples_grok_without_understanding():
    features, teacher = sparse_problem(0, 12)
    problem = Lasso(features, features @ teacher)
    assert not problem.recovery(teacher).recovers
    start = 10 * np.random.default_rng(1).normal(size=100)
    times = problem.grokking_time(start, 0.1, 1e-3, 1e-2, 1e-2, teacher)
    assert times.generalised is None and times.settled is None
    assert times.transition.verdict is Verdict.WITHOUT_UNDERSTANDING
    assert "wanted 0.01" in times.transition.reason
    assert any("recovery" in line for line in times.advice)


def called(memorised: int | None, generalised: int | None, early: float, late: float, **limits: float) -> Verdict:
    """The verdict of an exact run with these recovery errors when memorised and in the end, wanted 0.01."""
    times = Clocks(memorised, memorised, generalised, generalised if late <= 0.01 else None)
    return judge(times, Errors(early, late, 0.01, **limits)).verdict


def test_l2_forgets_the_start_and_stays_above_the_floor():
    """Ridge's limit (X'X + beta)^-1 X'y from a large start: the floor of Theorem 3.6, named for what it is."""
    features, teacher = sparse_problem(0, 30)
    problem = Lasso(features, features @ teacher)
    floor = problem.laws(np.zeros(100), 0.1, 1e-3, teacher)[2]
    ridge = np.linalg.solve(features.T @ features + 1e-9 * np.eye(100), features.T @ features @ teacher)
    away = float(np.linalg.norm(ridge - teacher))
    assert away == pytest.approx(floor.value, rel=1e-6) and floor.guaranteed
    norm = float(np.linalg.norm(teacher))
    early = np.linalg.norm(interpolant(features, features @ teacher, 10 * np.ones(100)) - teacher) / norm
    assert called(60, None, float(early), away / norm) is Verdict.WITHOUT_UNDERSTANDING


@pytest.mark.parametrize(
    ("memorised", "generalised", "early", "late", "verdict"),
    [
        (None, None, 1.0, 0.9, Verdict.NOT_MEMORISED),
        (10, 100, 1.0, 0.001, Verdict.GROKKED),
        (10, 10, 0.001, 0.001, Verdict.EARLY),
        (10, None, 1.0, 0.9, Verdict.NOT_GENERALISED),
        (10, 50, 1.0, 0.2, Verdict.WITHOUT_UNDERSTANDING),
    ],
)
def test_every_verdict(memorised, generalised, early, late, verdict):
    assert called(memorised, generalised, early, late) is verdict


def test_recovery_is_judged_exactly():
    """The null-space constant is below 1 exactly where basis pursuit returns a*; Fuchs below 1 implies it."""
    outcomes: set[bool] = set()
    for n_samples in (8, 12, 16, 20, 25, 40):
        for seed in range(3):
            features, teacher = sparse_problem(seed, n_samples, n=50, sparsity=4)
            found = Lasso(features, features @ teacher).recovery(teacher)
            assert found.recovers == (found.null_space < 1)
            assert found.recovers or found.fuchs >= 1
            outcomes.add(found.recovers)
    assert outcomes == {True, False}


def test_figures_of_small_features():
    """One row (1, 2), a* = e_2: the null space is (2, -1), so the constant is 1/2; both columns are parallel."""
    assert null_space_constant(np.array([[1.0, 2.0]]), np.array([0.0, 1.0])) == pytest.approx(0.5)
    found = Lasso([[1.0, 2.0]], [2.0]).recovery([0.0, 1.0])
    assert found.recovers and found.fuchs == pytest.approx(0.5) and found.coherence == pytest.approx(1.0)
    assert found.coherence_limit == pytest.approx(1.0) and found.sparsity == 1
    assert Lasso(np.eye(3), np.ones(3)).recovery([1.0, 0, 0]).coherence_limit == math.inf


def test_direct_answers_agree():
    features, teacher = sparse_problem(1, 40)
    targets = features @ teacher
    np.testing.assert_allclose(basis_pursuit(features, targets), teacher, atol=1e-10)
    least = interpolant(features, targets)
    np.testing.assert_allclose(least, np.linalg.pinv(features) @ targets, atol=1e-10)
    start = np.random.default_rng(0).normal(size=100)
    fitted = interpolant(features, targets, start)
    np.testing.assert_allclose(features @ fitted, targets, atol=1e-10)
    np.testing.assert_allclose(np.linalg.pinv(features) @ features @ (fitted - start), fitted - start, atol=1e-10)


def test_laws_have_their_exponents():
    assert theorem_2_1(2.0, 0.1, 1e-5, 0.5).value == pytest.approx(4 / (0.1 * 1e-5 * 0.5))
    slow, fast = (accelerated(1.0, 0.1, weight, 0.1, 6.0) for weight in (1e-6, 1e-4))
    assert slow.value / fast.value == pytest.approx(10) and slow.guaranteed
    assert not accelerated(1.0, 0.1, 1e-4, 0.1, 12.0).guaranteed


BAD = [
    ({"features": [1.0, 2.0]}, "features: shape (2,), accepted is (N, n)"),
    ({"features": [[np.nan, 1.0]]}, "features: holds NaN"),
    ({"targets": [1.0, 2.0]}, "targets: shape (2,), accepted is (1,)"),
    ({"a0": [0.0]}, "a0: shape (1,), accepted is (2,)"),
    ({"a0": [0.0, np.inf]}, "a0: holds NaN or inf"),
    ({"lr": 0.4}, "lr=0.4: diverges on these features, accepted are values below 0.4"),
    ({"lr": 0.0}, "lr=0.0: expected a finite number > 0"),
    ({"weight": 0.0}, "weight=0.0: expected a finite number > 0"),
    ({"weight": 4.0}, "weight=4: the answer is 0 from beta_max = 4 on"),
    ({"t": -1}, "t: holds steps that are negative"),
    ({"t": 1e13}, "beyond 1e12"),
    ({"t": 0.5}, "t: holds fractions"),
    ({"target": "test"}, "target='test': accepted are 'train'"),
    ({"target": [0.0, 0.0]}, "target=0: a relative error"),
    ({"tolerance": 0.0}, "tolerance=0.0: expected a finite number > 0"),
]


@pytest.mark.parametrize(("change", "words"), BAD)
def test_what_is_not_accepted_is_said_in_one_line(change, words):
    values = {"features": [[1.0, 2.0]], "targets": [2.0], "a0": [0.0, 0.0], "lr": 0.1, "weight": 0.1, "t": 3}
    values |= {"target": [0.0, 1.0], "tolerance": 0.1} | change
    with pytest.raises(ValueError) as refusal:
        path = Lasso(values["features"], values["targets"]).trajectory(values["a0"], values["lr"], values["weight"])
        path.at(values["t"])
        path.time_to(values["target"], values["tolerance"])
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


def test_other_refusals():
    with pytest.raises(ValueError, match="max_events=2"):
        case = draw(1)
        path = case.path()
        path._max_events = 2
        path.at(10**6)
    with pytest.raises(ValueError, match="teacher=0"):
        Lasso([[1.0, 2.0]], [2.0]).recovery([0.0, 0.0])
    with pytest.raises(ValueError, match="targets: no a fits"):
        basis_pursuit([[1.0], [1.0]], [1.0, 2.0])
