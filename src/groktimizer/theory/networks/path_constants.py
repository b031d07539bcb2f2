"""Constants of the memorisation theorems along a recorded path (arXiv 2506.05718 and its author's public note).

The path is (sub)gradient descent ``x <- x - alpha (G + beta H)`` on ``g + beta h``, g >= 0, infimum 0. Constants are
estimated over the points that were visited: they bound nothing elsewhere, which is what "along the path" means. Use the
estimates to judge whether a theorem could apply, and `check_geometric_decrease` to see whether its conclusion held.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from groktimizer.ground.errors import UserError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Path:
    """A recorded path.

    Args:
        losses: g at each point, shape (T,).
        gradients: G, shape (T, p).
        subgradients: H, shape (T, p).
        points: x, shape (T, p).
        lr: alpha.
        weight: beta.
    """

    losses: Array
    gradients: Array
    subgradients: Array
    points: Array
    lr: float
    weight: float


@dataclass(frozen=True)
class PathConstants:
    """What the path shows of the theorems' constants.

    Args:
        polyak: Largest mu with ``2 mu g <= ||G||^2`` at every point (PL constant).
        smoothness: Largest ``||G(x) - G(y)|| / ||x - y||`` between neighbours, and at least ``||G||^2 / (2 g)``.
        chatterjee: Least ``||G||^2 / g`` over the points (CL constant of the smallest ball that holds the path).
        radius: Largest distance from the first point.
        local: ``4 g(x0) < radius^2 chatterjee``: the CL condition at the first point for this radius.
    """

    polyak: float
    smoothness: float
    chatterjee: float
    radius: float
    local: bool


def path_constants(path: Path) -> PathConstants:
    """Estimate PL, smoothness and CL constants from a path.

    Args:
        path: At least two points.

    Returns:
        The estimates; mu and the CL constant are upper estimates, the smoothness a lower one.

    Raises:
        UserError: If shapes disagree or no point has a positive loss.
    """
    if path.points.ndim != 2 or path.gradients.shape != path.points.shape or len(path.losses) != len(path.points):
        raise UserError(
            f"path: losses {path.losses.shape}, gradients {path.gradients.shape}, points {path.points.shape}; "
            "accepted are (T,), (T, p), (T, p)"
        )
    positive = path.losses > 0
    if not positive.any():
        raise UserError("path: no point has a positive loss, accepted is a path that starts before memorisation")
    squares = (path.gradients**2).sum(axis=1)
    least = float((squares[positive] / path.losses[positive]).min())
    most = float((squares[positive] / path.losses[positive]).max())
    moves = np.linalg.norm(np.diff(path.points, axis=0), axis=1)
    turns = np.linalg.norm(np.diff(path.gradients, axis=0), axis=1)
    moved = moves > 0
    lipschitz = float((turns[moved] / moves[moved]).max()) if moved.any() else 0.0
    radius = float(np.linalg.norm(path.points - path.points[0], axis=1).max())
    return PathConstants(
        polyak=least / 2,
        smoothness=max(lipschitz, most / 2),
        chatterjee=least,
        radius=radius,
        local=4 * float(path.losses[0]) < radius**2 * least,
    )


def note_delta(lr: float, weight: float, polyak: float, smoothness: float) -> float:
    """The rate as the note prints it: ``mu alpha ((2 - alpha L)(1 + beta) + alpha beta^2 L)``.

    Its proof loses two signs and half of a cross term: one step on ``g = (x - 1)^2 / 2``, h = |x|, from x = 0 with
    alpha = beta = 1/2 leaves 0.5625 of g, where this rate promises a negative share. See `corrected_delta`.

    Args:
        lr: alpha.
        weight: beta.
        polyak: mu.
        smoothness: L.

    Returns:
        delta as printed.
    """
    return polyak * lr * ((2 - lr * smoothness) * (1 + weight) + lr * weight**2 * smoothness)


def corrected_delta(lr: float, share: float, polyak: float, smoothness: float) -> float:
    """A rate for which ``g(x+) <= (1 - delta) g(x)`` holds whenever ``beta ||H|| <= gamma ||G||``; ours.

    From smoothness, ``g(x+) <= g - alpha G'(G + beta H) + (L alpha^2 / 2) ||G + beta H||^2``. The terms in G'H add up
    to ``-alpha beta (1 - alpha L) G'H``, at most ``alpha gamma |1 - alpha L| ||G||^2``, the term in ||H||^2 is at most
    ``(L alpha^2 gamma^2 / 2) ||G||^2``, and ``||G||^2 >= 2 mu g``; together

        delta = mu alpha ((2 - alpha L) - 2 gamma |1 - alpha L| - alpha L gamma^2),

    which is attained by the example of `note_delta`. The note's condition ``||H|| <= ||G||`` is gamma = beta; the
    paper's ``beta ||H|| <= ||G||`` is gamma = 1, where delta is 0 for alpha L <= 1: the two forces may cancel.

    >>> corrected_delta(0.5, 0.5, 1.0, 1.0)
    0.4375

    Args:
        lr: alpha.
        share: gamma.
        polyak: mu.
        smoothness: L.

    Returns:
        delta; nothing is guaranteed when it is not positive.
    """
    step = lr * smoothness
    return polyak * lr * ((2 - step) - 2 * share * abs(1 - step) - step * share**2)


@dataclass(frozen=True)
class DecreaseCheck:
    """Whether ``g(t) <= (1 - delta)^t g(0)`` held while the loss gradient dominated.

    Args:
        delta: The rate that was checked.
        dominated_until: First step at which ``beta ||H|| > gamma ||G||``; the length of the path if there is none.
        held: The inequality held up to there.
        first_violation: First step at which it did not, or None.
        observed_delta: Least ``1 - g(t+1)/g(t)`` over the dominated steps.
    """

    delta: float
    dominated_until: int
    held: bool
    first_violation: int | None
    observed_delta: float


def check_geometric_decrease(path: Path, delta: float, share: float | None = None) -> DecreaseCheck:
    """Check the theorem's conclusion on the dominated part of a path.

    Args:
        path: The path.
        delta: Rate, from `corrected_delta` or `note_delta`.
        share: gamma; by default beta, which makes the condition the note's ``||H|| <= ||G||``.

    Returns:
        What was seen.
    """
    pull, push = np.linalg.norm(path.subgradients, axis=1), np.linalg.norm(path.gradients, axis=1)
    ahead = pull > push if share is None else path.weight * pull > share * push
    until = int(np.argmax(ahead)) if ahead.any() else len(path.losses)
    last = min(until + 1, len(path.losses))  # the step out of the last dominated point still obeys the theorem
    losses = path.losses[:last]
    steps = np.arange(last)
    shrink = 1 - delta
    promised = losses[0] * np.where(steps == 0, 1.0, shrink**steps if shrink > 0 else shrink)
    wrong = np.flatnonzero(losses > promised * (1 + 1e-9) + np.finfo(np.float64).tiny)
    ratios = 1 - losses[1:] / np.where(losses[:-1] > 0, losses[:-1], np.inf)
    observed = float(ratios.min()) if ratios.size else math.nan
    return DecreaseCheck(delta, until, wrong.size == 0, int(wrong[0]) if wrong.size else None, observed)


def record_path(
    start: npt.ArrayLike,
    loss: Callable[[Array], tuple[float, Array]],
    subgradient: Callable[[Array], Array],
    lr: float,
    weight: float,
    steps: int,
) -> Path:
    """Run subgradient descent and keep what the estimators need; for problems small enough to keep every point.

    Args:
        start: x0, shape (p,).
        loss: x -> (g, G).
        subgradient: x -> H.
        lr: alpha.
        weight: beta.
        steps: Number of steps.

    Returns:
        The path with steps + 1 points.
    """
    x = np.array(start, dtype=np.float64)
    rows: list[tuple[float, Array, Array, Array]] = []
    for _ in range(steps + 1):
        value, gradient = loss(x)
        pull = subgradient(x)
        rows.append((value, gradient, pull, x))
        x = x - lr * (gradient + weight * pull)
    values, gradients, pulls, points = zip(*rows, strict=True)
    return Path(np.array(values), np.array(gradients), np.array(pulls), np.array(points), lr, weight)
