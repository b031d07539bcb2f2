"""Linear models, kernels and trees of scikit-learn, each with its grid on inner folds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.cross_decomposition import PLSRegression
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

Array = NDArray[Any]
Grid = Mapping[str, Sequence[float]]
COMPONENTS, WIDTH = "n_components", "gamma"  # the latter in units of one over the number of columns


class PLSClassifier(ClassifierMixin, BaseEstimator):
    """Partial least squares on one column for each class; the largest prediction is the class.

    Args:
        n_components: Components.
    """

    def __init__(self, n_components: int = 2) -> None:
        self.n_components = n_components

    def fit(self, X: Array, y: Array) -> "PLSClassifier":
        """Fit to rows, shape (n, p), and labels, shape (n,)."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.model_ = PLSRegression(self.n_components).fit(X, np.eye(len(self.classes_))[codes])
        return self

    def predict(self, X: Array) -> Array:
        """Labels, shape (m,)."""
        return self.classes_[self.model_.predict(X).argmax(1)]


class _Kind(NamedTuple):
    """A classifier and a regressor made from a seed, and their grids."""

    classifier: Callable[[int], Any]
    classes: Grid
    regressor: Callable[[int], Any]
    numbers: Grid


def _logspace(low: float, high: float, count: int) -> list[float]:
    return [float(f"{value:.3g}") for value in np.logspace(low, high, count)]


KINDS: Mapping[str, _Kind] = {
    "linear-l2": _Kind(
        lambda _: LogisticRegression(max_iter=2_000),
        {"C": _logspace(-4, 2, 7)},
        lambda _: Ridge(),
        {"alpha": _logspace(-2, 4, 7)},
    ),
    "linear-l1": _Kind(
        lambda seed: OneVsRestClassifier(LogisticRegression(l1_ratio=1.0, solver="liblinear", random_state=seed)),
        {"estimator__C": _logspace(-2, 1, 6)},
        lambda _: ElasticNet(l1_ratio=0.9, max_iter=5_000),
        {"alpha": _logspace(-3, 0, 7)},
    ),
    "pls": _Kind(
        lambda _: PLSClassifier(),
        {COMPONENTS: [1, 2, 3, 4, 6, 8]},
        lambda _: PLSRegression(),
        {COMPONENTS: [1, 2, 3, 4, 6, 8]},
    ),
    "svm-rbf": _Kind(
        lambda _: SVC(),
        {"C": _logspace(-1, 2, 4), WIDTH: [1.0, 0.3, 0.1, 0.03, 0.01]},
        lambda _: SVR(),
        {"C": _logspace(-1, 2, 4), WIDTH: [1.0, 0.3, 0.1, 0.03, 0.01]},
    ),
    "forest": _Kind(
        lambda seed: RandomForestClassifier(300, random_state=seed),
        {},
        lambda seed: RandomForestRegressor(300, random_state=seed),
        {},
    ),
    "boosting": _Kind(
        lambda seed: GradientBoostingClassifier(max_features="sqrt", random_state=seed),
        {"learning_rate": [0.03, 0.1]},
        lambda seed: GradientBoostingRegressor(max_features="sqrt", random_state=seed),
        {"learning_rate": [0.03, 0.1]},
    ),
}
ABOUT: Mapping[str, str] = {
    "linear-l2": "logistic or ridge regression",
    "linear-l1": "logistic regression under ℓ1, elastic net (0.9 of it ℓ1)",
    "pls": "partial least squares",
    "svm-rbf": "support vectors, Gaussian kernel",
    "forest": "300 random trees",
    "boosting": "100 boosted trees",
}


def grid_text(name: str) -> dict[str, Any]:
    """The grids of a method, for the identity of its records."""
    kind = KINDS[name]
    return {"classes": dict(kind.classes), "numbers": dict(kind.numbers)}


def search(name: str, targets: Array, columns: int, inner: list[tuple[Array, Array]], seed: int) -> GridSearchCV:
    """A method with its grid on inner folds; columns are standardised, numbers to be met too.

    Args:
        name: One of `KINDS`.
        targets: Training targets; whole numbers are classes.
        columns: Of the rows.
        inner: Folds.
        seed: Of what is drawn.

    Returns:
        The search, not fitted.
    """
    kind, classes = KINDS[name], targets.dtype.kind == "i"
    model, grid = (kind.classifier(seed), kind.classes) if classes else (kind.regressor(seed), kind.numbers)
    pipeline: Any = make_pipeline(StandardScaler(), model)
    place = f"{pipeline.steps[-1][0]}__"
    if not classes:
        pipeline = TransformedTargetRegressor(pipeline, transformer=StandardScaler())
        place = f"regressor__{place}"
    most = min(min(len(train) for train, _ in inner) - 1, columns)  # components that there can be
    values = {f"{place}{key}": list(each) for key, each in grid.items()}
    if WIDTH in grid:
        values[f"{place}{WIDTH}"] = [value / columns for value in grid[WIDTH]]
    if COMPONENTS in grid:
        values[f"{place}{COMPONENTS}"] = [value for value in grid[COMPONENTS] if value <= most]
    return GridSearchCV(pipeline, values, cv=inner, scoring="balanced_accuracy" if classes else "r2")
