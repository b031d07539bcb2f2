"""The methods of a benchmark of tables: linear models, kernels and trees, networks, and ours."""

import logging
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from groktimizer.benches import classical, networks
from groktimizer.benches.sets import folds
from groktimizer.ground.extras import require

Array = NDArray[Any]
Family = Literal["classical", "network", "ours"]
RULE = 4  # of "auto" (`estimators.choice`) and of the optimizer below it: records of another are not this method's


class Task(NamedTuple):
    """What a method gets: no row of the test part's targets among it.

    Attributes:
        inputs: Training rows, shape (n, p).
        targets: Class numbers 0 … k − 1 or numbers, shape (n,).
        others: Rows to predict, shape (m, p).
        seed: Of everything that is drawn.
    """

    inputs: Array
    targets: Array
    others: Array
    seed: int

    @property
    def classes(self) -> int:
        """Number of classes; 0 of a regression."""
        return int(self.targets.max()) + 1 if self.targets.dtype.kind == "i" else 0


class Answer(NamedTuple):
    """What a method says.

    Attributes:
        predicted: Class numbers or numbers of the other rows, shape (m,).
        fits: Networks or models that were fitted, inner folds included.
        inner: Score on inner folds; None where none were made.
        told: What was chosen, plain values.
    """

    predicted: Array
    fits: int
    inner: float | None = None
    told: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Method:
    """A method of the benchmark.

    Attributes:
        name: In tables.
        family: "classical", "network" (another's, or another optimizer on our network), "ours".
        about: What it is, in one line.
        fit: Fits and predicts.
        settings: What determines it; part of the identity of its records.
        packages: Modules that are imported before time is taken.
    """

    name: str
    family: Family
    about: str
    fit: Callable[[Task], Answer]
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    packages: tuple[str, ...] = ()

    def prepare(self) -> None:
        """Import what takes long, so that it is not counted as fitting."""
        for package in self.packages:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                require(package, extra="bench")


def score(truth: Array, predicted: Array) -> float:
    """Balanced accuracy of classes, R² of numbers.

    Args:
        truth: Shape (m,); whole numbers are classes.
        predicted: Shape (m,).

    Returns:
        The score; of classes the mean over those that `truth` has.
    """
    metrics = require("sklearn.metrics", extra="sklearn")
    if truth.dtype.kind != "i":
        return float(metrics.r2_score(truth, predicted))
    return float(np.mean([(predicted[truth == kind] == kind).mean() for kind in np.unique(truth)]))


def _classical(name: str) -> Method:
    def fit(task: Task) -> Answer:
        inner = folds(task.targets, task.seed)
        search = classical.search(name, task.targets, task.inputs.shape[1], inner, task.seed)
        search.fit(task.inputs, task.targets)
        tried = len(search.cv_results_["params"]) * len(inner) + 1
        chosen = {key.rpartition("__")[2]: value for key, value in search.best_params_.items()}
        best = float(search.best_score_)
        return Answer(search.predict(task.others), tried, best if math.isfinite(best) else None, chosen)

    return Method(name, "classical", classical.ABOUT[name], fit, {"grid": classical.grid_text(name)})


def _adamw(task: Task) -> Answer:
    def fitted(cell: tuple[float, float], inputs: Array, targets: Array) -> networks.Predictor:
        return networks.adam(inputs, targets, task.classes, task.seed, lr=cell[0], weight_decay=cell[1])

    inner = folds(task.targets, task.seed)
    cell, found = networks.choose(
        lambda *rows: {cell: fitted(cell, *rows) for cell in networks.CELLS}, task.inputs, task.targets, inner, score
    )
    network = fitted(cell, task.inputs, task.targets)
    told = {"lr": cell[0], "weight_decay": cell[1]}
    return Answer(network(task.others), len(networks.CELLS) * len(inner) + 1, found, told)


def _adamw_stopped(task: Task) -> Answer:
    network = networks.stopped_early(task.inputs, task.targets, task.classes, task.seed)
    return Answer(network(task.others), 1)


def _adam(task: Task) -> Answer:
    network = networks.adam(task.inputs, task.targets, task.classes, task.seed, lr=1e-3, interpolate=True)
    return Answer(network(task.others), 1)


def _lbfgs(task: Task) -> Answer:
    def path(inputs: Array, targets: Array) -> Mapping[float, networks.Predictor]:
        return networks.ridge_path(inputs, targets, task.classes, task.seed)

    inner = folds(task.targets, task.seed)
    weight, found = networks.choose(path, task.inputs, task.targets, inner, score)
    network = path(task.inputs, task.targets)[weight]
    return Answer(network(task.others), len(networks.WEIGHTS) * (len(inner) + 1), found, {"weight": weight})


def _real_mlp(task: Task) -> Answer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the packages that it is made of
        for talker in ("lightning", "pytorch_lightning"):  # say which machine they see, and that they have ended
            logging.getLogger(talker).setLevel(logging.ERROR)
        package = require("pytabkit", extra="bench")
        kind = package.RealMLP_TD_Classifier if task.classes else package.RealMLP_TD_Regressor
        model = kind(device="cpu", random_state=task.seed, n_threads=1, verbosity=0)
        model.fit(task.inputs.astype(np.float32), task.targets)
        return Answer(np.asarray(model.predict(task.others.astype(np.float32))), 1)


def _ours(name: str, about: str, **options: Any) -> Method:
    def fit(task: Task) -> Answer:
        from groktimizer.estimators import GrokClassifier, GrokRegressor
        from groktimizer.estimators.choice import FOLDS, LEVELS

        kind = GrokClassifier if task.classes else GrokRegressor
        model = kind(random_state=task.seed, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", require("sklearn.exceptions", extra="sklearn").ConvergenceWarning)
            model.fit(task.inputs, task.targets)
        told = {"penalty": model.penalty_, "level": model.level_, "steps": model.n_iter_, "status": model.status_,
                "interpolated": bool(model.interpolated_)}  # fmt: skip
        path = 1 if model.penalty_ == "l1" or options else 1 + LEVELS.index(model.level_)
        folded = FOLDS * sum(map(len, model.inner_scores_.values()))  # two folds where a class has two rows
        return Answer(model.predict(task.others), folded + path, None, told)

    return Method(name, "ours", about, fit, options or {"rule": RULE}, ("groktimizer.estimators",))


METHODS: Mapping[str, Method] = {
    each.name: each
    for each in (
        *map(_classical, classical.ABOUT),
        Method("realmlp", "network", "RealMLP with its tuned defaults (pytabkit)", _real_mlp, packages=("pytabkit",)),
        Method("adam", "network", "our network, Adam at lr 1e-3 until it interpolates", _adam, networks.SETTINGS),
        Method("adamw-cv", "network", "our network, AdamW, six cells on three inner folds", _adamw,
               {**networks.SETTINGS, "cells": [list(cell) for cell in networks.CELLS]}),
        Method("adamw-stopped", "network", "our network, AdamW at its defaults, stopped by a fifth of the rows",
               _adamw_stopped, networks.SETTINGS),
        Method("lbfgs-cv", "network", "our network, L-BFGS on loss + λ/2 ‖W‖², six λ on three inner folds", _lbfgs,
               {**networks.SETTINGS, "weights": list(networks.WEIGHTS)}),
        _ours("grok-l2", "untuned: least ℓ2 norm that interpolates", penalty="l2", level="interpolate"),
        _ours("grok-l1", "untuned: least ℓ1 norm of the first layer that interpolates", penalty="l1",
              level="interpolate"),
        _ours("grok-auto", "untuned: penalty and level by three inner folds"),
    )
}  # fmt: skip
