"""The estimators where a fit ends far from its level, where a class or a column is odd, and under torch's own modes."""

import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from groktimizer.estimators import GrokClassifier, GrokRegressor
from groktimizer.estimators.choice import _folds, stops
from groktimizer.estimators.path import LEFT, LOOKS, Shape
from groktimizer.estimators.table import merged

QUICK: dict[str, Any] = {"hidden": 16, "penalty": "l2", "level": "interpolate", "random_state": 0}
RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 6))
NUMBERS = X[:, 0] + 0.3 * RNG.standard_normal(60)
NOISE = RNG.standard_normal(60)
LABELS = (X[:, 0] > 0).astype(int)


def quick(**changes: Any) -> dict[str, Any]:
    return QUICK | changes


def told(model: Any, rows: np.ndarray, target: np.ndarray) -> list[str]:
    """What a fit warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(rows, target)
    assert all(each.category is ConvergenceWarning and each.filename == __file__ for each in caught)
    return [str(each.message) for each in caught]


@pytest.mark.parametrize(
    ("target", "steps", "words"),
    [
        (NOISE, 20, "phase 2 has not begun in max_steps=20; raise"),
        (NOISE, 200, "phase 2 left it and is not back after max_steps=200; raise"),
        (NUMBERS, 500, ""),
    ],
)
def test_a_fit_says_so_where_its_loss_does_not_end_at_the_level(target: np.ndarray, steps: int, words: str) -> None:
    model = GrokRegressor(**quick(max_steps=steps))
    said = told(model, X, target)
    assert bool(said) == (not model.status_.startswith("phase 2") or model.history_[-1] > LEFT * 0.02) == bool(words)
    assert model.interpolated_ == (min(model.history_) <= 0.02)
    assert words in "".join(said)


def test_a_norm_rests_only_if_it_was_made_small() -> None:
    """This fit's norm rests before phase 2 begins, with its loss at the level: it used to end two steps later."""
    model = GrokRegressor(**QUICK).fit(X, NUMBERS)
    begun = re.search(r"phase 2 since step (\d+)", model.status_)
    assert begun is not None
    assert model.n_iter_ >= int(begun[1]) + 2 * LOOKS


def test_mini_batches_are_judged_by_the_loss_of_all_rows_and_take_no_step_too_many() -> None:
    model = GrokRegressor(**quick(max_steps=50, batch_size=25))  # three batches an epoch: 51 steps
    said = told(model, X, NUMBERS)
    assert model.n_iter_ == 50
    whole = np.mean((model.predict(X) - NUMBERS) ** 2) / NUMBERS.var()
    assert f"ends at {whole:.3g} of what" in said[0]


def test_the_only_row_of_a_class_leaves_the_choice_to_the_others() -> None:
    labels = np.r_[2, LABELS[1:]]
    table = merged(X, np.eye(3)[labels], np.ones(60))
    alone = int(np.flatnonzero(table.targets.argmax(1) == 2)[0])
    parts = _folds(table, 0, classes=True)
    assert len(parts) == 3
    assert all(alone in train and alone not in test for train, test in parts)
    assert sorted(np.concatenate([test for _, test in parts])) == sorted(set(range(60)) - {alone})
    model = GrokClassifier(4, max_steps=60, random_state=0)
    told(model, X, labels)
    assert len(model.inner_scores_["l2"]) > 1 and model.temperature_ != 1.0


def test_constant_outputs_leave_the_level_of_the_others() -> None:
    alone = GrokRegressor(**quick(level=0.1)).fit(X, NUMBERS)
    beside = GrokRegressor(**quick(level=0.1)).fit(X, np.column_stack([np.full(60, 5.0), NUMBERS, np.ones(60)]))
    np.testing.assert_allclose(beside.predict(X)[:, 1], alone.predict(X), rtol=1e-12)
    np.testing.assert_array_equal(beside.predict(X)[:, ::2], np.tile([5.0, 1.0], (60, 1)))


def test_a_level_that_constant_outputs_have_is_told_and_never_chosen() -> None:
    rows, labels = RNG.standard_normal((100, 3)), np.zeros(100, int)
    labels[np.argsort(rows[:, 0])[-5:]] = 1
    lost = -(0.05 * np.log(0.05) + 0.95 * np.log(0.95)) / np.log(2)
    said = told(GrokClassifier(**quick(level=0.4, max_steps=40)), rows, labels)
    assert f"level=0.4, but outputs that are equal for all rows lose {lost:.3g} already" in said[0]
    model = GrokClassifier(4, max_steps=40, random_state=0)
    told(model, rows, labels)
    assert list(model.inner_scores_["l2"]) == [0.02, 0.05, 0.1, 0.2]
    assert model.level_ < lost < 0.4


def test_nothing_of_an_earlier_fit_is_left() -> None:
    model = GrokRegressor(**quick(penalty="l1", level=0.4)).fit(X, NUMBERS)
    assert model.feature_importances_.shape == (6,)
    model.set_params(penalty="l2").fit(X[:, :4], NUMBERS)
    with pytest.raises(
        AttributeError, match=r"feature_importances_: penalty_ is 'l2', .* with penalty='l1' or 'group'"
    ):
        _ = model.feature_importances_


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_torchs_modes_do_not_matter(mode: Any) -> None:
    with mode():
        inside = GrokClassifier(**QUICK).fit(X, LABELS)
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)
    np.testing.assert_array_equal(inside.predict_proba(X), GrokClassifier(**QUICK).fit(X, LABELS).predict_proba(X))


def test_a_small_table_is_fitted_on_one_thread_whatever_torch_has():
    before = torch.get_num_threads()
    try:
        found: list[np.ndarray] = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(GrokClassifier(**quick(hidden=256)).fit(X, LABELS).predict_proba(X))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize("scale", [2.0**-600, 2.0**600])
def test_the_unit_of_the_numbers_does_not_matter_where_their_squares_overflow(scale: float) -> None:
    plain = GrokRegressor(**QUICK).fit(X, NUMBERS)
    scaled = GrokRegressor(**QUICK).fit(X * scale, NUMBERS * scale)
    np.testing.assert_allclose(scaled.predict(X * scale) / scale, plain.predict(X), rtol=1e-9)


def test_of_several_initialisations_the_one_of_least_penalty_is_kept() -> None:
    """The sum of the first layer's absolute values and half the squares of the others', not the l2 norm of all."""
    table = merged(X, ((NUMBERS - NUMBERS.mean()) / NUMBERS.std())[:, None], np.ones(60))
    shape = Shape((4,), "l1", False, 60, None, "cpu")
    stop, _ = next(stops(table, shape, (0.4,), 0))
    weights = [weight for weight, _ in stop.layers]
    assert stop.size == pytest.approx(np.abs(weights[0]).sum() + 0.5 * sum((w**2).sum() for w in weights[1:]), rel=1e-5)
