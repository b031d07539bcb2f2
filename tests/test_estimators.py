"""The estimators: scikit-learn's own checks, what weights, rows and columns mean to them, what inner folds choose."""

import io
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import check_estimator

from groktimizer.estimators import GrokClassifier, GrokRegressor
from groktimizer.estimators.table import frame, merged

QUICK: dict[str, Any] = {"hidden": 16, "penalty": "l2", "level": "interpolate", "random_state": 0}


def quick(**changes: Any) -> dict[str, Any]:
    return QUICK | changes


def iris() -> Any:
    return load_iris(return_X_y=True)


def flipped() -> tuple[np.ndarray, np.ndarray]:
    """A fifth of the labels are wrong."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((300, 10))
    return features, (features[:, 0] > 0.0) ^ (rng.random(300) < 0.2)


def sparse(rows: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three of a hundred columns count."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((rows, 100))
    return features, features[:, :3] @ [2.0, -1.5, 1.0] + noise * rng.standard_normal(rows)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", [quick(max_steps=200), {"hidden": 8, "max_steps": 100, "random_state": 0}])
@pytest.mark.parametrize("kind", [GrokClassifier, GrokRegressor])
def test_scikit_learns_own_checks(kind: Any, options: dict[str, Any]) -> None:
    found = check_estimator(kind(**options), on_fail="raise", on_skip=None)
    assert len(found) > 50
    assert {check["status"] for check in found} <= {"passed", "skipped"}
    reasons = {str(check["exception"]) for check in found if check["status"] == "skipped"}
    assert all("pandas" in reason or "SCIPY_ARRAY_API" in reason for reason in reasons)


def test_a_weight_is_a_row_that_is_there_more_often_and_the_order_of_rows_does_not_matter() -> None:
    features, labels = iris()
    features, labels = features[::5], labels[::5]
    weights = np.arange(len(labels)) % 3
    one = GrokClassifier(**QUICK).fit(features, labels, sample_weight=weights)
    shuffled = np.random.default_rng(1).permutation(np.repeat(np.arange(len(labels)), weights))
    other = GrokClassifier(**QUICK).fit(features[shuffled], labels[shuffled])
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)


def test_rows_are_merged() -> None:
    table = merged(
        np.array([[1.0], [2.0], [1.0], [3.0]]), np.array([[0.0], [1.0], [0.0], [1.0]]), np.array([1, 2, 2, 0])
    )
    np.testing.assert_array_equal(table.inputs, [[1.0], [2.0]])
    np.testing.assert_allclose(table.weights, [1.2, 0.8])


@pytest.mark.parametrize("turns", [False, True])
def test_the_first_layer_is_unfolded_to_rows_as_they_come(turns: bool) -> None:
    rng = np.random.default_rng(0)
    rows = 3.0 + 2.0 * rng.standard_normal((5, 9))
    rows[:, 4] = 7.0
    found = frame(merged(rows, np.zeros((5, 1)), np.ones(5)), turns=turns)
    mapped = found(rows)
    assert mapped.shape == (5, 4 if turns else 9)
    if not turns:
        np.testing.assert_allclose(mapped.std(0), np.arange(9) != 4, atol=1e-12)
    gram = ((rows - rows.mean(0)) / np.where(rows.std(0) > 0, rows.std(0), 1.0)) @ (
        ((rows - rows.mean(0)) / np.where(rows.std(0) > 0, rows.std(0), 1.0)).T
    )
    np.testing.assert_allclose(mapped @ mapped.T, gram, atol=1e-9)
    weight, bias = rng.standard_normal((3, mapped.shape[1])), rng.standard_normal(3)
    whole, moved = found.unfold(weight, bias)
    np.testing.assert_allclose(rows @ whole.T + moved, mapped @ weight.T + bias, atol=1e-9)


def test_it_interpolates_and_then_has_a_small_norm() -> None:
    features, target = sparse(30, 0.0)
    model = GrokRegressor(**QUICK).fit(features, target)
    assert model.interpolated_
    assert np.mean((model.predict(features) - target) ** 2) == pytest.approx(0.02 * target.var(), rel=0.1)
    assert model.n_iter_ == len(model.history_)
    assert "phase 2" in model.status_


def test_l1_finds_the_columns_that_count() -> None:
    features, target = sparse(40, 0.0)
    model = GrokRegressor(**quick(penalty="l1")).fit(features, target)
    assert set(np.argsort(model.feature_importances_)[-3:]) == {0, 1, 2}
    assert model.feature_importances_[:3].sum() > 0.5
    assert not hasattr(GrokRegressor(**QUICK).fit(features, target), "feature_importances_")


@pytest.mark.slow
def test_inner_folds_choose_the_penalty_and_the_level() -> None:
    clean = GrokRegressor(hidden=16, random_state=0).fit(*sparse(40, 0.0))
    under_l2 = clean.inner_scores_["l2"]
    assert clean.penalty_ == "l1"
    assert clean.level_ == float(min(under_l2, key=under_l2.__getitem__)) <= 0.1
    assert set(map(float, clean.inner_scores_["l1"])) == {clean.level_}
    assert min(clean.inner_scores_["l1"].values()) < min(under_l2.values())
    features, target = sparse(60, 3.0)
    noisy = GrokRegressor(hidden=8, penalty="l2", random_state=0).fit(features[:, :5], target)
    assert noisy.level_ > 0.1
    assert set(noisy.inner_scores_) == {"l2"}
    assert set(noisy.inner_scores_["l2"]) == {0.02, 0.05, 0.1, 0.2, 0.4}
    assert noisy.inner_scores_["l2"][noisy.level_] < noisy.inner_scores_["l2"][0.02]


def test_probabilities_are_cooled_by_what_inner_folds_say() -> None:
    features, labels = flipped()
    train, test = slice(0, 60), slice(60, None)
    model = GrokClassifier(hidden=16, level=0.05, penalty="auto", random_state=0).fit(features[train], labels[train])
    assert model.temperature_ > 1.0
    probabilities = model.predict_proba(features[test])
    np.testing.assert_allclose(probabilities.sum(1), 1.0)

    def loss(odds: np.ndarray) -> float:
        return -float(np.log(odds[np.arange(len(odds)), labels[test].astype(int)]).mean())

    hot = probabilities**model.temperature_
    assert loss(probabilities) < loss(hot / hot.sum(1, keepdims=True))


def test_several_outputs_and_types() -> None:
    features, target = sparse(30, 0.0)
    both = np.column_stack([target, 100.0 - 3.0 * target])
    model = GrokRegressor(**QUICK).fit(features.astype(np.float32), both)
    assert model.predict(features[:4].astype(np.float32)).shape == (4, 2)
    one = GrokClassifier(**QUICK).fit(features, np.where(target > 0, "yes", "no"))
    assert set(one.predict(features)) == {"yes", "no"}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_is_kept_when_it_is_copied_stored_and_searched() -> None:
    features, labels = iris()
    model = make_pipeline(MinMaxScaler(), GrokClassifier(**quick(max_steps=100)))
    found: Any = GridSearchCV(model, {"grokclassifier__hidden": [4, 16]}, cv=2).fit(features[::3], labels[::3])
    assert found.best_score_ > 0.8
    assert found.best_estimator_[-1].get_params()["max_steps"] == 100
    buffer = io.BytesIO()
    joblib.dump(found, buffer)
    buffer.seek(0)
    np.testing.assert_array_equal(joblib.load(buffer).predict(features), found.predict(features))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 0}, "hidden=0: expected whole numbers >= 1"),
        ({"max_steps": 2.5}, "max_steps=2.5: expected"),
        ({"penalty": "l3"}, "penalty='l3': expected one of 'auto', 'l2', 'l1', 'group'"),
        ({"level": 1.5}, "level=1.5: expected 'auto', 'interpolate' or a number between 0 and 1"),
        ({"batch_size": -1}, "batch_size=-1: expected 'auto' or a whole number"),
    ],
)
def test_a_bad_argument_is_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="^" + message.replace("(", r"\(")):
        GrokRegressor(**quick(**options)).fit(*sparse(10, 0.0))


def test_bad_data_are_refused() -> None:
    features, target = sparse(10, 0.0)
    with pytest.raises(ValueError, match="at least two classes, the data have 1 class"):
        GrokClassifier(**QUICK).fit(features, np.zeros(10, int))
    with pytest.raises(ValueError, match="features, but GrokRegressor is expecting 100 features"):
        GrokRegressor(**QUICK).fit(features, target).predict(features[:, :5])
    constant = GrokRegressor(**QUICK).fit(features, np.full(10, 3.0))
    np.testing.assert_allclose(constant.predict(features), 3.0, atol=0.2)


def test_what_was_not_fitted_is_said() -> None:
    with pytest.warns(ConvergenceWarning, match="in max_steps=2; raise max_steps, hidden or level"):
        GrokRegressor(**quick(max_steps=2)).fit(*sparse(10, 0.0))
