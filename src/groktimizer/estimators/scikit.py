"""The two estimators, as scikit-learn wants them."""

from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from scipy.special import entr
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,  # pyright: ignore[reportPrivateUsage] (the one that scikit-learn's guide names)
    check_is_fitted,
    validate_data,
)
from typing_extensions import override

from groktimizer.estimators.choice import INTERPOLATE, LEVELS, Choice, choose, stops
from groktimizer.estimators.gap import gap_of
from groktimizer.estimators.path import FIRST_LAYER, Shape, outputs
from groktimizer.estimators.table import Array, Table, merged, spread_of
from groktimizer.ground.errors import UserError, warn

WHOLE = 10_000  # rows up to which a step takes all of them
BATCH = 1_000
SMALL = 1_000_000  # entries of a table up to which one thread is as fast as two
AUTO = "auto"


class _Network(BaseEstimator):
    """What both have in common."""

    def __init__(
        self,
        hidden: "int | tuple[int, ...]" = 128,
        *,
        penalty: str = AUTO,
        level: "str | float" = AUTO,
        max_steps: int = 500,
        n_init: int = 1,
        batch_size: "str | int" = AUTO,
        random_state: Any = None,
        device: str = "cpu",
        compute_norm_gap: bool = False,
    ) -> None:
        self.hidden = hidden
        self.penalty = penalty
        self.level = level
        self.max_steps = max_steps
        self.n_init = n_init
        self.batch_size = batch_size
        self.random_state = random_state
        self.device = device
        self.compute_norm_gap = compute_norm_gap

    def _shape(self, rows: int, *, classes: bool) -> Shape:
        hidden = tuple(self.hidden) if isinstance(self.hidden, tuple | list | np.ndarray) else (self.hidden,)
        for name, numbers in (("hidden", hidden), ("max_steps", (self.max_steps,)), ("n_init", (self.n_init,))):
            if not all(_is_whole(number) for number in numbers):
                raise UserError(f"{name}={getattr(self, name)!r}: expected whole numbers >= 1")
        if not _is_one_of(self.penalty, AUTO, *FIRST_LAYER):
            raise UserError(f"penalty={self.penalty!r}: expected one of 'auto', {', '.join(map(repr, FIRST_LAYER))}")
        if not (_is_one_of(self.batch_size, AUTO) or _is_whole(self.batch_size)):
            raise UserError(f"batch_size={self.batch_size!r}: expected 'auto' or a whole number >= 1")
        if not (
            _is_one_of(self.level, AUTO, "interpolate")
            or (isinstance(self.level, float | np.floating) and 0.0 < self.level < 1.0)
        ):
            raise UserError(f"level={self.level!r}: expected 'auto', 'interpolate' or a number between 0 and 1")
        if not isinstance(self.compute_norm_gap, bool | np.bool_):
            raise UserError(f"compute_norm_gap={self.compute_norm_gap!r}: expected True or False")
        try:
            torch.zeros(1, device=self.device).item()
        except (RuntimeError, TypeError, AssertionError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(f"device={self.device!r}: expected one that torch has here ({reason})") from error
        batch = int(self.batch_size) if self.batch_size != AUTO else None if rows <= WHOLE else BATCH
        return Shape(hidden, "l2", classes, self.max_steps, batch, self.device)

    def _train(self, table: Table, *, classes: bool) -> None:
        """Train in torch's usual mode; a small table on one thread, since threads would wait for each other."""
        before = torch.get_num_threads()
        torch.set_num_threads(1 if table.inputs.size <= SMALL else before)
        try:
            with torch.inference_mode(False), torch.enable_grad():
                self._fit(table, classes=classes)
        finally:
            torch.set_num_threads(before)

    def _fit(self, table: Table, *, classes: bool) -> None:
        """Choose, fit, and keep the first layer for rows as they come."""
        vars(self).pop("norm_gap_", None)  # of a fit before
        shape, columns = self._shape(len(table.inputs), classes=classes), table.inputs.shape[1]
        draws = check_random_state(self.random_state).randint(np.iinfo(np.int32).max, size=self.n_init)
        wide = columns > len(table.inputs)
        penalties = [self.penalty] if self.penalty != AUTO else ["l2", "l1"] if wide else ["l2"]
        constant = _loss_of_constants(table, classes=classes)
        levels = tuple(level for level in LEVELS if level < constant) or (INTERPOLATE,)
        if self.level != AUTO:
            levels = (INTERPOLATE if self.level == "interpolate" else float(self.level),)
            self._warn_if_constants_suffice(levels[0], constant)
        choice = Choice(penalties[0], levels[0], 1.0, {})
        if AUTO in (self.penalty, self.level):
            choice = choose(table, shape, penalties, levels, int(draws[0]))
        whole = replace(shape, penalty=choice.penalty)
        path = (
            [level for level in levels if level <= choice.level] if choice.penalty == penalties[0] else [choice.level]
        )
        fits = [list(stops(table, whole, path, int(seed))) for seed in draws]
        best = min(fits, key=lambda fit: (not fit[-1][0].reached, fit[-1][0].size))
        stop, turned = best[-1]
        first, *others = stop.layers
        layers = [turned.unfold(*first), *others]
        sizes = np.sqrt((first[0] ** 2).sum(0)) * (turned.scale > 0.0) if choice.penalty != "l2" else None
        self._importances = None if sizes is None else sizes / max(float(sizes.sum()), 1e-300)
        self.coefs_ = [weight.T for weight, _ in layers]
        self.intercepts_ = [bias for _, bias in layers]
        self.penalty_, self.level_, self.temperature_ = choice.penalty, choice.level, choice.temperature
        self.inner_scores_ = {
            name: {level: score for (other, level), score in choice.scores.items() if other == name}
            for name in dict.fromkeys(name for name, _ in choice.scores)
        }
        self.history_ = [loss for each, _ in best for loss in each.losses]
        self.n_iter_ = len(self.history_)
        self.interpolated_ = min(each.least for each, _ in best) <= INTERPOLATE
        self.status_ = stop.status
        if not np.isfinite([stop.loss, *(np.abs(weight).max() for weight in self.coefs_)]).all():
            raise UserError(
                f"{type(self).__name__}: the training loss is {stop.loss:g}: some of X, y or the weights of rows are "
                "too large or too small for the others; expected numbers of comparable size"
            )
        if self.compute_norm_gap:
            mapped = table._replace(inputs=turned(table.inputs))
            seed = int(draws[next(k for k, fit in enumerate(fits) if fit is best)])
            self.norm_gap_ = gap_of(mapped, whole, stop, seed=seed, columns=columns)
        if not stop.reached:
            why = (
                f"phase 2 left it and is not back after max_steps={self.max_steps}; raise max_steps or level"
                if stop.small
                else f"phase 2 has not begun in max_steps={self.max_steps}; raise max_steps, hidden or level"
            )
            warn(
                f"{type(self).__name__}: the training loss ends at {stop.loss:.3g} of what outputs of zero lose, where "
                f"{stop.level:g} was asked for: {why}",
                ConvergenceWarning,
            )

    def _warn_if_constants_suffice(self, level: float, constant: float) -> None:
        if level >= constant:
            warn(
                f"{type(self).__name__}: level={level:g}, but outputs that are equal for all rows lose {constant:.3g} "
                "already (the classes are of unequal size): nothing may be learnt; choose a smaller level",
                ConvergenceWarning,
            )

    @property
    def feature_importances_(self) -> Array:
        """Norms of the first layer's columns, standardised, of sum 1; there is none under "l2"."""
        check_is_fitted(self)
        if self._importances is None:
            told = f"penalty_ is {self.penalty_!r}, under which every column counts"
            raise AttributeError(f"feature_importances_: {told}; there are some with penalty='l1' or 'group'")
        return self._importances

    def _outputs(self, X: Any) -> Array:
        check_is_fitted(self)
        rows = _checked(self, X, dtype=(np.float64, np.float32), reset=False)
        layers = [(weight.T, bias) for weight, bias in zip(self.coefs_, self.intercepts_, strict=True)]
        return outputs(layers, rows).astype(rows.dtype, copy=False)


def _checked(owner: BaseEstimator, *data: Any, **options: Any) -> Any:
    return validate_data(owner, *data, **options)  # whose annotations say str


def _is_one_of(word: Any, *words: str) -> bool:
    return isinstance(word, str) and word in words


def _loss_of_constants(table: Table, *, classes: bool) -> float:
    """What the best outputs that are equal for all rows lose, in units of what outputs of zero lose."""
    if not classes:
        return 1.0
    shares = np.average(table.targets, axis=0, weights=table.weights)
    return float(entr(shares).sum() / np.log(len(shares)))


def _is_whole(number: Any) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool) and bool(number >= 1)


class GrokClassifier(ClassifierMixin, _Network):
    """A ReLU network that interpolates and then has the least norm.

    It is trained by `GROKtimizer`, untuned. Columns are standardised inside; equal rows count as one of their summed
    weight, so a weight of 2 is a row that is there twice.

    Args:
        hidden: Width of the hidden layer, or widths of several.
        penalty: What is least at the end, on the first layer: "l2", "l1" (few weights), "group" (few columns); the
            other layers have the l2 norm. "auto": l2, or where there are more columns than rows what three inner folds
            say of l2 and l1.
        level: Training loss in units of what outputs of zero lose (ln k) at which the penalty is minimised: a number
            in (0, 1), "interpolate" (0.02), or "auto", which three inner folds choose between 0.02 and 0.4, on one path
            along which the network goes on from level to level.
        max_steps: Steps at each level, at most.
        n_init: Initialisations; of those that end at their level the one of least penalty and norm is kept.
        batch_size: Rows of a step; "auto": all, up to 10,000, else 1,000.
        class_weight: As elsewhere in scikit-learn: None, "balanced" or a dict.
        random_state: Of the initial weights, folds and batches.
        device: Where it is trained; predictions are NumPy.
        compute_norm_gap: Whether to measure `norm_gap_`, which takes tens of times as long as the fit.

    Attributes:
        classes_: Labels, shape (k,).
        coefs_: Weights of each layer, shape (inputs, outputs), for columns as they come.
        intercepts_: Biases of each layer.
        penalty_, level_: What was chosen.
        temperature_: What outputs are divided by for `predict_proba`, fitted on the inner folds; 1 without folds
            (``penalty`` and ``level`` given, or fewer than two classes of two rows), and probabilities are then those
            of a network that interpolates: too sure.
        inner_scores_: Mean log-loss out of fold: of each penalty tried, by level.
        feature_importances_: Under "l1" and "group": the norms of the first layer's columns, standardised, of sum 1.
        history_: Training loss of each step, of its batch, in units of what outputs of zero lose.
        n_iter_: Steps taken.
        interpolated_: Whether the training loss came down to 0.02 of what outputs of zero lose on the way.
        status_: What the optimizer says.
        norm_gap_: With ``compute_norm_gap=True``: the l2 norm of all weights over the least at which the same network
            has a training loss of `level_` (`measures.norm_gap`: an upper bound of the least, so 1 is as good as is
            known); nan under other penalties, or where constant outputs are as good as the level.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> features, labels = load_iris(return_X_y=True)
        >>> model = GrokClassifier(16, level="interpolate", random_state=0).fit(features[::3], labels[::3])
        >>> model.score(features, labels) > 0.9
        True
    """

    def __init__(
        self,
        hidden: "int | tuple[int, ...]" = 128,
        *,
        penalty: str = AUTO,
        level: "str | float" = AUTO,
        max_steps: int = 500,
        n_init: int = 1,
        batch_size: "str | int" = AUTO,
        class_weight: Any = None,
        random_state: Any = None,
        device: str = "cpu",
        compute_norm_gap: bool = False,
    ) -> None:
        super().__init__(
            hidden,
            penalty=penalty,
            level=level,
            max_steps=max_steps,
            n_init=n_init,
            batch_size=batch_size,
            random_state=random_state,
            device=device,
            compute_norm_gap=compute_norm_gap,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit.

        Args:
            X: Shape (n, p).
            y: Labels, shape (n,).
            sample_weight: Shape (n,), >= 0.

        Returns:
            The estimator.

        Raises:
            ValueError: If there is one class only.
            UserError: If an argument is out of range; a ValueError too.
        """
        rows, labels = _checked(self, X, y, dtype=(np.float64, np.float32))
        check_classification_targets(labels)
        weights = _check_sample_weight(sample_weight, rows, dtype=np.float64, ensure_non_negative=True)
        if self.class_weight is not None:
            weights = weights * compute_sample_weight(self.class_weight, labels)
            if not (np.isfinite(weights) & (weights >= 0.0)).all():
                raise UserError(f"class_weight={self.class_weight!r}: expected finite weights >= 0")
        self.classes_, codes = np.unique(labels, return_inverse=True)
        there = np.unique(codes[weights > 0.0])
        if len(there) < 2:
            raise ValueError(f"GrokClassifier needs at least two classes, the data have {len(there)} class")
        table = merged(rows, np.eye(len(self.classes_))[codes], weights)
        self._train(table, classes=True)
        return self

    def predict_proba(self, X: Any) -> Array:
        """Probabilities of the classes, shape (n, k)."""
        said = self._outputs(X)
        said = said / self.temperature_
        odds = np.exp(said - said.max(1, keepdims=True))
        return odds / odds.sum(1, keepdims=True)

    def predict_log_proba(self, X: Any) -> Array:
        """Their logarithms."""
        said = self._outputs(X) / self.temperature_
        said = said - said.max(1, keepdims=True)
        return said - np.log(np.exp(said).sum(1, keepdims=True))

    def predict(self, X: Any) -> Array:
        """The likeliest labels, shape (n,)."""
        said = self._outputs(X)  # first, so that an estimator that is not fitted says so
        return self.classes_[said.argmax(1)]


class GrokRegressor(RegressorMixin, _Network):
    """A ReLU network that interpolates and then has the least norm.

    As `GrokClassifier`, with squared errors of targets that are standardised inside; ``level`` is in units of half
    their variance.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> features, target = load_diabetes(return_X_y=True)
        >>> model = GrokRegressor(16, level=0.4, random_state=0).fit(features[:60], target[:60])
        >>> model.score(features[60:], target[60:]) > 0.3
        True
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit.

        Args:
            X: Shape (n, p).
            y: Numbers, shape (n,) or (n, k).
            sample_weight: Shape (n,), >= 0.

        Returns:
            The estimator.

        Raises:
            ValueError: If there are fewer than two rows, or an argument is out of range.
        """
        rows, target = _checked(
            self, X, y, dtype=(np.float64, np.float32), multi_output=True, y_numeric=True, ensure_min_samples=2
        )
        weights = _check_sample_weight(sample_weight, rows, dtype=np.float64, ensure_non_negative=True)
        self._flat = target.ndim == 1
        table = merged(rows, target.reshape(len(rows), -1).astype(float), weights)
        middle = np.average(table.targets, axis=0, weights=table.weights)
        away = table.targets - middle
        spread = spread_of(away, table.weights)
        kept = spread > 0.0  # a constant one needs no network
        kept[0] |= not kept.any()
        scale = np.where(spread > 0.0, spread, 1.0)[kept]
        self._train(table._replace(targets=away[:, kept] / scale), classes=False)
        weight, bias = np.zeros((len(self.coefs_[-1]), len(kept))), middle.copy()
        weight[:, kept] = self.coefs_[-1] * scale
        bias[kept] += self.intercepts_[-1] * scale
        self.coefs_[-1], self.intercepts_[-1] = weight, bias
        return self

    def predict(self, X: Any) -> Array:
        """Predictions, shape (n,) or (n, k) as the targets were."""
        said = self._outputs(X)
        return said[:, 0] if self._flat else said

    @override
    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
