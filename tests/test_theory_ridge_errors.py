"""What the ridge theory does not accept, and what it says where a tolerance cannot be met or a bound has no number."""

import math
from typing import Any, cast

import numpy as np
import pytest

from groktimizer.theory.linear.optimality import lower_bound_steps
from groktimizer.theory.ridge import (
    Ridge,
    early_stopping,
    effective_ranks,
    predicted_generalisation,
    recommend,
)


def test_unmet_tolerances_name_the_floor_and_its_term():
    rng = np.random.default_rng(0)
    features, theta0 = rng.normal(size=(10, 40)), rng.normal(size=40)
    null = Ridge(features, np.ones(40)).grokking_time(theta0, 0.01, 1e-3, 1e-6, 1e-3)
    # What the data do not show of the teacher stays: the squared norm of its part outside the span of the samples.
    missing = np.ones(40) - np.linalg.pinv(features) @ features @ np.ones(40)
    told = f"the population loss ends at {null.floors.population:.6g}, mostly from the null space"
    assert null.settled is None and null.advice[-1] == f"test_tolerance=0.001 cannot be kept: {told}"
    assert null.floors.null_space == pytest.approx(missing @ missing) and null.floors.population > missing @ missing
    noisy = Ridge(rng.normal(size=(60, 5)), np.ones(5), noise=rng.normal(size=60)).grokking_time(
        np.zeros(5), 0.1, 1e-9, 1e-3, 1e-5
    )
    assert f"train loss ends at {noisy.floors.train:.6g}, mostly from the label noise" in noisy.advice[0]
    assert f"population loss ends at {noisy.floors.population:.6g}, mostly from the label noise" in noisy.advice[1]
    assert noisy.memorised is None and "null space (rank m)" in noisy.advice[-1]
    biased = Ridge(features, features.T @ np.ones(10)).grokking_time(theta0, 0.01, 0.5, 1.0, 1e-3)
    assert "bias of weight decay" in biased.advice[-1]
    strict = Ridge(features, np.zeros(40) + features[0]).grokking_time(theta0, 0.01, 0.5, 1e-9, 1.0)
    assert f"train loss ends at {strict.floors.train:.6g}, mostly from the bias of weight decay" in strict.advice[0]
    bent = Ridge.from_targets(rng.normal(size=(60, 5)), rng.normal(size=60), np.eye(5), np.ones(5))
    told = bent.grokking_time(np.zeros(5), 0.1, 1e-9, 1e-3, 1e-5).advice
    assert all("mostly from the targets that the features do not reach" in line for line in told[:2])


def test_a_floor_without_a_teacher_is_blamed_on_what_causes_it():
    # Exactly linear targets, unnamed: what decay shrinks, what few samples do not show, then what no theta reaches.
    rng = np.random.default_rng(3)
    teacher, features, seen = rng.normal(size=8), rng.normal(size=(30, 8)), rng.normal(size=(70, 8))
    whole = Ridge.from_targets(features, features @ teacher, seen, seen @ teacher)
    same = Ridge(features, teacher, seen.T @ seen / 70)
    for one in (whole, same):
        floors = one.floors(0.7)
        assert floors.largest_term == floors.largest_train_term == "bias of weight decay"
    assert whole.floors(0.7).bias == pytest.approx(same.floors(0.7).bias, rel=1e-9)
    few = Ridge.from_targets(features[:3], features[:3] @ teacher, seen, seen @ teacher).floors(1e-7)
    known = Ridge(features[:3], teacher, seen.T @ seen / 70).floors(1e-7)
    assert few.largest_term == known.largest_term == "null space" and few.approximation < 1e-20
    assert few.null_space == pytest.approx(known.null_space, rel=1e-6)
    bent = Ridge.from_targets(features, features @ teacher, seen, np.abs(seen @ teacher)).floors(1e-7)
    assert bent.largest_term == "targets that the features do not reach"
    left = np.abs(seen @ teacher) - seen @ teacher
    assert bent.approximation == pytest.approx(left @ left / 70, rel=1e-9)


def test_where_a_bound_has_no_logarithm_it_has_no_number():
    # One step with lr weight_decay >= 1 overshoots: 1 - lr weight_decay has no log; a zero start has nothing to forget.
    overshoot = {bound.theorem: bound for bound in Ridge(FEATURES, ONES).bounds(ONES, 1.0, 1.0, 0.1, 0.1)}
    assert math.isnan(overshoot["Theorem 4.5"].value) and not overshoot["Theorem 4.4"].guaranteed
    ridge = Ridge(FEATURES, ONES)
    still = {(bound.theorem, bound.quantity): bound for bound in ridge.bounds(np.zeros(4), 0.1, 0.1, 0.1, 0.1)}
    assert math.isnan(still["Eq (8)", "t2 >="].value) and not still["Theorem 4.5", "t2 >="].guaranteed
    assert math.isnan(predicted_generalisation(ridge.facts(np.zeros(4), 0.1, 0.1, 0.1, 0.1)))
    # A null-space part that is below c from the start is forgotten in 0 steps.
    assert predicted_generalisation(ridge.facts(np.full(4, 0.1), 0.1, 0.1, 0.1, 0.1)) == 0


FEATURES, ONES = np.eye(3, 4), np.ones(4)
BAD = [
    (lambda: Ridge(np.ones(3), ONES), "features: shape"),
    (lambda: Ridge(np.full((3, 4), np.nan), ONES), "features: holds NaN"),
    (lambda: Ridge(np.zeros((3, 4)), ONES), "all zero"),
    (lambda: Ridge(np.full((3, 4), np.inf), ONES), "features: holds NaN or inf, accepted are finite numbers"),
    (lambda: Ridge(np.ones((0, 4)), ONES), r"features: shape \(0, 4\), accepted is \(n, m\) with n, m >= 1"),
    (lambda: Ridge([["a", "b"]], ONES), "features: holds <U1, accepted are real numbers"),
    (lambda: Ridge([[1.0, 2.0], [3.0]], ONES), "features: rows of different lengths"),
    (lambda: Ridge(FEATURES * 1j, ONES), "features: holds complex128, accepted are real numbers"),
    (lambda: Ridge(FEATURES * 1e90, ONES), r"features: holds an entry of size 1e\+90, accepted are sizes up to 1e\+70"),
    (lambda: Ridge(FEATURES, ONES, route="qr"), "route='qr': accepted are 'auto', 'svd', 'gram'"),
    (lambda: Ridge(FEATURES, np.ones(3)), r"teacher: shape \(3,\)"),
    (lambda: Ridge(FEATURES, ONES * np.inf), "teacher: holds NaN or inf"),
    (lambda: Ridge(FEATURES, ONES, np.ones(3)), "covariance: shape"),
    (lambda: Ridge(FEATURES, ONES, -ONES), "covariance: entry -1"),
    (lambda: Ridge(FEATURES, ONES, np.triu(np.ones((4, 4)))), "transpose"),
    (lambda: Ridge(FEATURES, ONES, np.diag([1.0, 1, 1, -1])), "eigenvalue -1"),
    (lambda: Ridge(FEATURES, ONES, np.eye(3)), r"covariance: shape \(3, 3\), accepted are \(\), \(4,\) and \(4, 4\)"),
    (lambda: Ridge(FEATURES, ONES, np.nan), "covariance: holds NaN or inf"),
    (lambda: Ridge(FEATURES, ONES, np.diag([1.0, 1, 1, np.inf])), "covariance: holds NaN or inf"),
    (lambda: Ridge(FEATURES, ONES, noise=ONES), r"noise: shape \(4,\), accepted is \(3,\)"),
    (lambda: Ridge(FEATURES, ONES, noise=[0.0, np.nan, 0.0]), "noise: holds NaN or inf"),
    (
        lambda: Ridge.from_targets(FEATURES, np.ones(2), FEATURES, np.ones(3)),
        r"noise: shape \(2,\), accepted is \(3,\)",
    ),
    (lambda: Ridge.from_targets(FEATURES, np.ones(3), np.eye(3), np.ones(3)), r"test: features of shape \(3, 3\)"),
    (lambda: Ridge(FEATURES, ONES).floors(-1.0), "weight_decay=-1.0: expected a finite number ≥ 0"),
    (lambda: Ridge(FEATURES, ONES).trajectory(np.ones(3), 0.1, 0.1), "theta0: shape"),
    (lambda: Ridge(FEATURES, ONES).trajectory(ONES, 10.0, 0.1), "lr=10: diverges.*below 4.61538"),
    # Stable below 2 (1 + mu) / (1/3 + lambda), here with mu = 0.9 and with the critical mu = (1 - sqrt(0.8))^2.
    (lambda: Ridge(FEATURES, ONES).trajectory(ONES, 9.0, 0.1, 0.9), "lr=9: diverges on these features.*below 8.76923"),
    (lambda: Ridge(FEATURES, ONES).trajectory(ONES, 8.0, 0.1, "critical"), "lr=8: diverges.*below 4.66683"),
    (lambda: Ridge(FEATURES, ONES).trajectory(ONES, 7.0, 0.1, 0.9, switch=3), "lr=7: diverges.*below 6$"),
    (lambda: recommend(Ridge(FEATURES, ONES), ONES, 0.1, 0.1, max_delay=9, lr=7.0), "lr=7: diverges.*below 6$"),
    (lambda: early_stopping(Ridge(FEATURES, ONES), ONES, 7.0), "lr=7: diverges.*below 6$"),
    (lambda: Ridge(FEATURES, ONES).trajectory(ONES * np.nan, 0.1, 0.1), "theta0: holds NaN or inf"),
    (lambda: Ridge(FEATURES, ONES).trajectory(ONES, np.nan, 0.1), "lr=nan: expected a finite number > 0"),
    (lambda: Ridge(FEATURES, ONES).trajectory(ONES, 0.1, np.inf), "weight_decay=inf: expected a finite number ≥ 0"),
    (lambda: Ridge(FEATURES, ONES).trajectory(ONES, -1.0, 0.1), "lr=-1.0"),
    (lambda: Ridge(FEATURES, ONES).trajectory(ONES, 0.1, -0.1), "weight_decay=-0.1"),
    (lambda: Ridge(FEATURES, ONES).trajectory(ONES, 0.1, 0.0, "critical"), "needs weight_decay > 0"),
    (lambda: Ridge(FEATURES, ONES).trajectory(ONES, 0.1, 0.1, cast(Any, "heavy")), "momentum='heavy'"),
    (lambda: Ridge(FEATURES, ONES).trajectory(ONES, 0.1, 0.1, 1.0), "momentum=1.0"),
    (lambda: Ridge(FEATURES, ONES).trajectory(ONES, 0.1, 0.1, 0.5, flow=True), "flow takes momentum 0"),
    (lambda: Ridge(FEATURES, ONES).trajectory(ONES, 0.1, 0.1, switch=-1), "switch=-1"),
    (lambda: Ridge(FEATURES, ONES).trajectory(ONES, 0.1, 0.1, switch=cast(Any, 1.5)), "switch=1.5: .* whole number"),
    (lambda: Ridge(FEATURES, ONES).trajectory(ONES, 0.1, 0.1, switch=cast(Any, np.inf)), "switch=inf: .* whole number"),
    (lambda: Ridge(FEATURES, ONES).trajectory(ONES, 0.1, 0.1).theta(-1), "t: holds negative"),
    (lambda: Ridge(FEATURES, ONES).grokking_time(ONES, 0.1, 0.1, 0.0, 0.1), "train_tolerance=0.0"),
    (
        lambda: Ridge(FEATURES, ONES).grokking_time(ONES, 0.1, 0.1, 0.1, np.nan),
        "test_tolerance=nan: expected a finite number > 0",
    ),
    (lambda: Ridge(FEATURES, ONES).bounds(ONES, 0.1, 0.0, 0.1, 0.1), "weight_decay=0.0: expected a finite number > 0"),
    (
        lambda: Ridge(FEATURES, ONES).bounds(ONES, 0.1, -0.1, 0.1, 0.1),
        "weight_decay=-0.1: expected a finite number > 0",
    ),
    (lambda: Ridge(FEATURES, ONES).bounds(ONES, 0.1, 0.1, 0.1, 0.1, failure=0), r"failure=0: .* \(0, 1\)"),
    (
        lambda: Ridge(FEATURES, ONES).bounds(ONES, 0.1, 0.1, 0.1, 0.1, init_variance=-1),
        "init_variance=-1: expected a finite number ≥ 0",
    ),
    # The null space of one direction, teacher 1 there: the population loss cannot end below 1.
    (
        lambda: recommend(Ridge(FEATURES, ONES), ONES, 0.1, 0.5, max_delay=9),
        "max_delay=9: no weight_decay .* the population loss ends at 1 at the least, mostly from the null space",
    ),
    (lambda: effective_ranks([1.0], 2), "k=2"),
    (lambda: effective_ranks([1.0, -2.0], 1), "eigenvalues: least -2, accepted are finite numbers >= 0"),
    (lambda: lower_bound_steps(1.0, 1.0, 0.1), "0 < low < high"),
]


@pytest.mark.parametrize("call,message", BAD, ids=[message for _, message in BAD])
def test_bad_input_is_one_line_that_names_it(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
