"""What the estimators do with odd data, with weights inside the folds, and with what they keep of a fit."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from scipy.optimize import brentq
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from groktimizer.estimators import GrokClassifier, GrokRegressor
from groktimizer.estimators.choice import LEVELS, stops
from groktimizer.estimators.gap import gap_of
from groktimizer.estimators.path import Shape, Stop
from groktimizer.estimators.table import Table, merged

QUICK: dict[str, Any] = {"hidden": 16, "penalty": "l2", "level": "interpolate", "random_state": 0}
FOLDED: dict[str, Any] = {"hidden": 4, "max_steps": 20, "random_state": 0}
RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 4))
NUMBERS = X[:, 0]
LABELS = (NUMBERS > 0).astype(int)


def quick(**changes: Any) -> dict[str, Any]:
    return QUICK | changes


def spoilt(value: float) -> np.ndarray:
    """X with one cell replaced."""
    other = X.copy()
    other[0, 0] = value
    return other


@pytest.mark.parametrize(
    ("kind", "rows", "target", "error", "message"),
    [
        (GrokClassifier, X, np.zeros(12, int), ValueError, "at least two classes, the data have 1 class"),
        (GrokClassifier, X[:1], LABELS[:1], ValueError, "at least two classes, the data have 1 class"),
        (GrokRegressor, X[:1], NUMBERS[:1], ValueError, "minimum of 2 is required by GrokRegressor"),
        (GrokClassifier, X[:0], LABELS[:0], ValueError, "0 sample"),
        (GrokClassifier, spoilt(np.nan), LABELS, ValueError, "Input X contains NaN"),
        (GrokRegressor, spoilt(-np.inf), NUMBERS, ValueError, "Input X contains infinity"),
        (GrokRegressor, X, spoilt(np.nan)[:, 0], ValueError, "Input y contains NaN"),
        (GrokClassifier, X, spoilt(np.nan)[:, 0], ValueError, "Input y contains NaN"),
        (GrokClassifier, X, NUMBERS, ValueError, "Unknown label type: continuous"),
        (GrokClassifier, np.full((12, 2), "a", dtype=object), LABELS, ValueError, "could not convert string to float"),
        (GrokRegressor, X, np.full(12, "a"), ValueError, "could not convert string to float"),
        (GrokClassifier, X[:, :0], LABELS, ValueError, "0 feature"),
        (GrokClassifier, X[:, 0], LABELS, ValueError, "Expected 2D array, got 1D array"),
        (GrokClassifier, X, LABELS[:5], ValueError, "inconsistent numbers of samples"),
        (GrokClassifier, X, np.eye(2)[LABELS], ValueError, "y should be a 1d array"),
        (GrokClassifier, X.astype(complex), LABELS, ValueError, "Complex data not supported"),
    ],
)  # fmt: skip
def test_data_that_cannot_be_fitted_are_refused(kind: Any, rows: Any, target: Any, error: Any, message: str) -> None:
    """Whether something is chosen or not: nothing is trained before the data are looked at."""
    for options in (QUICK, {}):
        with pytest.raises(error, match=message):
            kind(**options).fit(rows, target)


def test_weights_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least two classes, the data have 1 class"):
        GrokClassifier().fit(X, LABELS, sample_weight=LABELS)
    for kind in (GrokClassifier, GrokRegressor):
        with pytest.raises(ValueError, match="at least one non-zero"):
            kind().fit(X, LABELS, sample_weight=np.zeros(12))
        with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
            kind().fit(X, LABELS, sample_weight=-np.ones(12))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": None}, "hidden=None: expected whole numbers >= 1"),
        ({"hidden": 1.5}, "hidden=1.5: expected whole numbers >= 1"),
        ({"penalty": ["l2"]}, r"penalty=\['l2'\]: expected one of 'auto', 'l2', 'l1', 'group'"),
        ({"level": 1}, "level=1: expected 'auto', 'interpolate' or a number between 0 and 1"),
        ({"level": np.array([0.1, 0.2])}, r"level=array\(\[0.1, 0.2\]\): expected 'auto', 'interpolate' or a number"),
        ({"batch_size": np.array([3, 4])}, r"batch_size=array\(\[3, 4\]\): expected 'auto' or a whole number >= 1"),
        ({"penalty": np.array(["l1"])}, r"penalty=array\(\['l1'\].*: expected one of 'auto'"),
        ({"compute_norm_gap": "yes"}, "compute_norm_gap='yes': expected True or False"),
        ({"class_weight": {0: -1.0, 1: 1.0}}, r"class_weight=\{0: -1.0, 1: 1.0\}: expected finite weights >= 0"),
        ({"class_weight": {0: float("inf"), 1: 1.0}}, r"class_weight=\{0: inf, 1: 1.0\}: expected finite weights >= 0"),
        ({"device": "meta"}, r"device='meta': expected one that torch has here"),
        ({"device": "abacus"}, r"device='abacus': expected one that torch has here \(Expected one of cpu"),
        ({"class_weight": {5: 1.0}}, "The classes, .* are not in class_weight"),
    ],
)
def test_an_argument_of_the_wrong_kind_is_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="^" + message) as caught:
        GrokClassifier(**quick(**options)).fit(X, LABELS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "options"),
    [
        (np.arange(12), {}),  # as many classes as rows: nothing to choose by
        ([0] * 11 + [2], {}),  # one row of a class, and one other class
        ([0, 1], {}),
        ([0, 1, 0, 1], {"level": 0.02, "penalty": "auto"}),  # two folds, not three
        (np.where(LABELS, "yes", "no").astype(object), {"level": 0.02}),
    ],
)
def test_few_rows_are_fitted(labels: Any, options: dict[str, Any]) -> None:
    rows = X[: len(labels)].astype(object)
    how: dict[str, Any] = {"hidden": 16, "random_state": 0} | options
    model = GrokClassifier(**how).fit(rows, labels)
    np.testing.assert_array_equal(model.predict(rows), labels)
    if not options:
        assert (model.level_, model.temperature_, model.inner_scores_) == (0.02, 1.0, {})


def test_numbers_of_few_rows_and_constant_ones_are_fitted() -> None:
    for rows in (2, 3):
        model = GrokRegressor(16, random_state=0).fit(X[:rows], NUMBERS[:rows])
        assert model.inner_scores_ == {}
        assert np.mean((model.predict(X[:rows]) - NUMBERS[:rows]) ** 2) < 0.03 * NUMBERS[:rows].var()
    alone = GrokRegressor(**QUICK).fit(X, NUMBERS, sample_weight=np.arange(12) == 3)
    np.testing.assert_allclose(alone.predict(X[3:4]), NUMBERS[3], atol=1e-3)


def test_what_is_not_fitted_or_has_other_columns_says_so() -> None:
    with pytest.raises(NotFittedError):
        GrokClassifier().predict(X)
    model = GrokClassifier(**QUICK).fit(X, LABELS)
    for ask in (model.predict, model.predict_proba):
        with pytest.raises(ValueError, match="X has 2 features, but GrokClassifier is expecting 4 features"):
            ask(X[:, :2])


def same(one: Any, other: Any) -> None:
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_weights_are_rows_in_the_folds_too_and_so_are_weights_of_classes() -> None:
    rows = RNG.standard_normal((30, 3))
    labels = (rows[:, 0] + 0.5 * RNG.standard_normal(30) > 0).astype(int)
    weights = np.arange(30) % 3
    often = np.random.default_rng(1).permutation(np.repeat(np.arange(30), weights))
    one = GrokClassifier(**FOLDED).fit(rows, labels, sample_weight=weights)
    other = GrokClassifier(**FOLDED).fit(rows[often], labels[often])
    assert one.inner_scores_ == other.inner_scores_ and set(one.inner_scores_["l2"]) == set(LEVELS)
    assert (one.level_, one.temperature_) == (other.level_, other.temperature_)
    same(one, other)
    by_class = GrokClassifier(**FOLDED, class_weight={0: 2.0, 1: 1.0}).fit(rows, labels)
    by_row = GrokClassifier(**FOLDED).fit(rows, labels, sample_weight=2 - labels)
    assert by_class.inner_scores_ == by_row.inner_scores_
    same(by_class, by_row)
    numbers = [GrokRegressor(**FOLDED).fit(rows, rows[:, 0], sample_weight=weights)]
    numbers += [GrokRegressor(**FOLDED).fit(rows[often], rows[often, 0])]
    assert numbers[0].inner_scores_ == numbers[1].inner_scores_
    same(*numbers)


def test_of_several_initialisations_the_one_of_least_norm_is_kept() -> None:
    options = quick(hidden=6, n_init=3, random_state=7)
    model = GrokRegressor(**options).fit(X, NUMBERS)
    same(model, GrokRegressor(**options).fit(X, NUMBERS))
    table = merged(X, ((NUMBERS - NUMBERS.mean()) / NUMBERS.std())[:, None], np.ones(12))
    seeds = np.random.RandomState(7).randint(np.iinfo(np.int32).max, size=3)
    shape = Shape((6,), "l2", False, 500, None, "cpu")
    each = [next(stops(table, shape, (0.02,), int(seed))) for seed in seeds]
    stop, found = min(each, key=lambda pair: pair[0].size)
    np.testing.assert_allclose(model.coefs_[0], found.unfold(*stop.layers[0])[0].T, rtol=1e-6)
    assert len({round(stop.size, 6) for stop, _ in each}) == 3


def test_too_few_steps_give_no_network_worse_than_constant_outputs() -> None:
    """Seeds at which 40 steps a level used to end at losses of 1e10 and more: the stop before is kept, and told."""
    table = merged(X, np.eye(2)[LABELS], np.ones(12))
    shape = Shape((4,), "l2", True, 40, None, "cpu")
    for seed in (0, 2):
        found = [stop for stop, _ in stops(table, shape, LEVELS, seed)]
        assert all(stop.loss <= 1.0 and np.isfinite(stop.size) for stop in found)
        lost = [k for k, stop in enumerate(found) if not max(stop.losses) <= 1.0 and k]
        assert lost
        for k in lost:
            assert not found[k].reached and found[k].loss == found[k - 1].loss
            np.testing.assert_array_equal(found[k].layers[0][0], found[k - 1].layers[0][0])


def test_the_norm_gap_of_a_linear_network_is_that_of_ridge_regression() -> None:
    """Without hidden layers the least norm at a level lies on the ridge path, whose weight is found by bisection."""
    rows = (X - X.mean(0)) / X.std(0)
    target = rows @ [1.0, -2.0, 0.0, 0.5] + 0.3 * RNG.standard_normal(12)
    target = (target - target.mean()) / target.std()

    def ridge(weight: float) -> np.ndarray:
        return np.linalg.solve(rows.T @ rows / 12 + weight * np.eye(4), rows.T @ target / 12)

    def excess(weight: float) -> float:
        return float(np.mean((rows @ ridge(weight) - target) ** 2)) - 0.3

    weight: Any = brentq(excess, 1e-9, 1e3)
    least = ridge(weight)
    shape, table = Shape((), "l2", False, 500, None, "cpu"), Table(rows, target[:, None], np.ones(12))
    stop = Stop(0.3, 0.3, True, True, 0, [(1.7 * least[None], np.zeros(1))], 0.0, [], 0.3, "")
    assert gap_of(table, shape, stop, seed=0, columns=4) == pytest.approx(1.7, rel=3e-3)
    assert np.isnan(gap_of(table, replace(shape, penalty="l1"), stop, seed=0, columns=4))
    linear = quick(hidden=(), level=0.3)
    model = GrokRegressor(**linear, compute_norm_gap=True).fit(rows, target)
    assert model.norm_gap_ == pytest.approx(np.linalg.norm(model.coefs_[0]) / np.linalg.norm(least), rel=3e-3)
    assert 0.99 < model.norm_gap_ < 1.2
    assert np.isnan(GrokRegressor(**linear, compute_norm_gap=True).fit(rows, np.full(12, 3.0)).norm_gap_)
    assert "norm_gap_" not in vars(GrokRegressor(**linear).fit(rows, target))


def test_a_fitted_estimator_is_plain_and_skops_keeps_it() -> None:
    model = GrokClassifier(**quick(penalty="auto")).fit(X, LABELS)
    plain = (str, bool, int, float, np.generic, np.ndarray, list, dict, type(None))
    assert all(isinstance(value, plain) for value in vars(model).values())
    kept = skops.io.dumps(model)
    assert skops.io.get_untrusted_types(data=kept) == ["groktimizer.estimators.scikit.GrokClassifier"]
    back = skops.io.loads(kept, trusted=["groktimizer.estimators.scikit.GrokClassifier"])
    np.testing.assert_array_equal(back.predict_proba(X), model.predict_proba(X))
    assert back.inner_scores_ == model.inner_scores_ and back.level_ == model.level_
    arrays = [value for value in vars(model).values() if isinstance(value, np.ndarray)] + model.coefs_
    assert not [array for array in arrays if len(X) in array.shape]  # weights, and not the rows


def test_names_of_columns_and_the_type_of_numbers_are_kept() -> None:
    named = pd.DataFrame(X, columns=list("abcd"))
    scaled = make_pipeline(StandardScaler(), GrokClassifier(**QUICK)).set_output(transform="pandas").fit(named, LABELS)
    model = scaled[-1]
    assert list(model.feature_names_in_) == list("abcd") and model.n_features_in_ == 4
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(named[list("dcba")])
    small = X.astype(np.float32)
    for kind, target, ask in ((GrokClassifier, LABELS, "predict_proba"), (GrokRegressor, NUMBERS, "predict")):
        narrow, wide = (getattr(kind(**QUICK).fit(rows, target), ask) for rows in (small, X))
        assert narrow(small).dtype == np.float32 and narrow(X).dtype == wide(X).dtype == np.float64
        np.testing.assert_allclose(narrow(small), wide(X), atol=2e-3)


def test_logarithms_of_probabilities_are_finite_where_probabilities_are_not() -> None:
    model = GrokClassifier(**QUICK).fit(X, LABELS)
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(model.predict_proba(X)))
    far = copy.deepcopy(model)
    far.temperature_ = 1e-3
    assert far.predict_proba(1e3 * X).min() == 0.0 and np.isfinite(far.predict_log_proba(1e3 * X)).all()
    fresh: Any = clone(model)
    assert fresh.get_params() == model.get_params() and "coefs_" not in vars(fresh)
