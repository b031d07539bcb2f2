"""What inner folds of the training rows choose: how far to fit, which penalty, and how sure the outputs are."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from scipy.optimize import minimize_scalar

from groktimizer.estimators.path import Shape, Stop, follow, outputs
from groktimizer.estimators.table import Array, Frame, Table, frame
from groktimizer.ground.extras import require

K = TypeVar("K")
INTERPOLATE = 0.02  # of what outputs of zero lose: the optimizer's own level
LEVELS = (INTERPOLATE, 0.05, 0.1, 0.2, 0.4)
FOLDS = 3
COOLEST, HOTTEST = math.log(0.1), math.log(100.0)  # of the temperature


@dataclass(frozen=True)
class Choice:
    """What is fitted to all rows.

    Attributes:
        penalty: Name of the penalty of the first layer.
        level: Training loss in units of what outputs of zero lose.
        temperature: By what the outputs for classes are divided; 1 where no folds were made.
        scores: Mean loss out of fold of each penalty and level tried.
    """

    penalty: str
    level: float
    temperature: float
    scores: dict[tuple[str, float], float]


def stops(table: Table, shape: Shape, levels: Sequence[float], seed: int) -> Iterator[tuple[Stop, Frame]]:
    """Fit rows as they come along a path of levels.

    Args:
        table: Rows, numbers to be met standardised.
        shape: The network.
        levels: Rising.
        seed: Of the initial weights.

    Yields:
        The network at each level, whose first layer takes what the map gives.
    """
    found = frame(table, turns=shape.penalty == "l2")
    mapped = table._replace(inputs=found(table.inputs))
    for stop in follow(mapped, shape, levels, seed=seed, columns=table.inputs.shape[1]):
        yield stop, found


def choose(table: Table, shape: Shape, penalties: Sequence[str], levels: Sequence[float], seed: int) -> Choice:
    """Choose on inner folds: the level under the first penalty, then the penalty at that level.

    Rows out of fold are scored by their loss: squared error, or cross-entropy after one temperature for all has been
    fitted. The level of numbers is the best. That of classes is the smallest that is not worse than the best one by
    more than a standard error of their difference over the rows: the likeliest class hardly depends on the level, and
    rare classes suffer from high ones. By the same rule the penalty is the first: few rows often prefer another by
    chance. With fewer than two classes of two rows, or four numbers, nothing is chosen.

    Args:
        table: Rows, numbers to be met standardised.
        shape: The network; its penalty does not count.
        penalties: To choose from, at least one.
        levels: To choose from, rising, at least one.
        seed: Of the folds and the initial weights.

    Returns:
        The choice.
    """
    parts = _folds(table, seed, classes=shape.classes)
    if not parts:
        return Choice(penalties[0], levels[0], 1.0, {})
    held = np.concatenate([test for _, test in parts])
    found: dict[tuple[str, float], Array] = {}
    best = levels[0]
    for penalty in penalties:
        wanted = levels if penalty == penalties[0] else (best,)
        said: dict[float, list[Array]] = {level: [] for level in wanted}
        for train, test in parts:
            for stop, turned in stops(table.part(train), replace(shape, penalty=penalty), wanted, seed):
                said[stop.level].append(outputs(stop.layers, turned(table.inputs[test])))
        found |= {(penalty, level): np.concatenate(each) for level, each in said.items()}
        if penalty == penalties[0]:
            losses = [(level, _losses(table, held, found[penalty, level], shape)[0]) for level in wanted]
            best = _first(losses, errors=float(shape.classes))
    scored = {each: _losses(table, held, said, shape) for each, said in found.items()}
    scores = {each: float(losses.mean()) for each, (losses, _) in scored.items()}
    chosen = _first([((penalty, best), scored[penalty, best][0]) for penalty in penalties], errors=1.0)
    return Choice(*chosen, scored[chosen][1], scores)


def _first(scored: list[tuple[K, Array]], errors: float) -> K:
    """The first that is not worse than the best by more than so many standard errors."""
    _, best = min(scored, key=lambda each: float(each[1].mean()))
    worse = ((name, losses - best) for name, losses in scored)
    return next(name for name, more in worse if more.mean() <= errors * more.std() / math.sqrt(len(more)))


def _folds(table: Table, seed: int, *, classes: bool) -> list[tuple[Array, Array]]:
    """Rows to train on and rows out of fold; the only row of a class is always trained on."""
    selection = require("sklearn.model_selection", extra="sklearn")
    labels = table.targets.argmax(1) if classes else np.zeros(len(table.inputs), int)
    sizes = np.bincount(labels)
    several = np.flatnonzero(sizes[labels] > 1)
    fewest = int(sizes[sizes > 1].min(initial=FOLDS)) if classes else len(labels) // 2
    count = min(FOLDS, fewest)
    if count < 2 or (classes and (sizes > 1).sum() < 2):
        return []
    alone = np.flatnonzero(sizes[labels] == 1)
    kind = selection.StratifiedKFold if classes else selection.KFold
    parts = kind(count, shuffle=True, random_state=seed).split(several, labels[several] if classes else None)
    return [(np.sort(np.concatenate([several[train], alone])), several[test]) for train, test in parts]


def _losses(table: Table, held: Array, said: Array, shape: Shape) -> tuple[Array, float]:
    """Weighted losses of the rows out of fold, and the temperature."""
    targets, weights = table.targets[held], table.weights[held]
    if not shape.classes:
        return weights * ((said - targets) ** 2).mean(1), 1.0

    def losses(heat: float) -> Array:
        cool = said / math.exp(heat)
        cool = cool - cool.max(1, keepdims=True)
        return weights * (np.log(np.exp(cool).sum(1)) - (targets * cool).sum(1))

    best: Any = minimize_scalar(lambda heat: float(losses(heat).mean()), bounds=(COOLEST, HOTTEST), method="bounded")
    return losses(float(best.x)), math.exp(float(best.x))
