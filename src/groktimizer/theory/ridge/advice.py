"""What to do about a grokking time: choose another decay, or stop early; each with the exact run that backs it."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from groktimizer.ground.checks import whole
from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.exponentials import lowest
from groktimizer.theory.clock.search import LATEST
from groktimizer.theory.ridge.modal import Start
from groktimizer.theory.ridge.problem import Momentum, Ridge
from groktimizer.theory.ridge.times import GrokkingTime
from groktimizer.theory.ridge.trajectory import Trajectory

_LEAST_DECAY = 1e-12  # relative to the largest curvature: less decay than this is not looked at
_DECAY_DIGITS = 1e-4  # relative accuracy of an advised decay
_FAR = 10.0  # times the wish: a delay from which on smaller decays are not looked at
_NEAR, _JITTER = 1.3, 20  # a delay above so many times the wish and so many steps more is beyond what ringing moves
_FINE = 1.02  # ratio of neighbouring decays where the delay is near the wish
_Ends = Callable[[float], tuple[float, float]]  # settled and memorised step of a decay


@dataclass(frozen=True)
class DecayAdvice:
    """A weight decay, why it was asked for, what it costs in the long run (`bias`), and the run that shows it."""

    reason: str
    lr: float
    weight_decay: float
    times: GrokkingTime
    bias: float
    curve: Trajectory


@dataclass(frozen=True)
class StoppingAdvice:
    """The best step to stop training without decay, against the best decay.

    Args:
        step: Step of least population loss of gradient descent without decay; None if it is the limit.
        loss: That loss.
        weight_decay: lambda of least population loss of the ridge estimator; may be negative (arXiv 2009.14286).
        decay_loss: That loss.
        curve: The run without decay.
    """

    step: int | None
    loss: float
    weight_decay: float
    decay_loss: float
    curve: Trajectory


def recommend(
    ridge: Ridge,
    theta0: npt.ArrayLike | Start,
    train_tolerance: float,
    test_tolerance: float,
    *,
    max_delay: int,
    lr: float | None = None,
    momentum: Momentum = 0.0,
) -> DecayAdvice:
    """The decay that bounds the delay (generalised for good minus memorised) with the least bias.

    The bias rises with the decay, so the least decay that meets `max_delay` is the best.

    Args:
        ridge: The problem.
        theta0: Initial parameters, shape (m,).
        train_tolerance: epsilon.
        test_tolerance: c.
        max_delay: Wanted delay at most, steps.
        lr: eta; by default ``1 / sharpness``, the largest step without sign changes.
        momentum: As in `Ridge.trajectory`.

    Returns:
        The advice.

    Raises:
        UserError: If the wish is no whole number, or no decay grants it.
    """
    whole("max_delay", max_delay, least=0)
    eta, start = 1 / ridge.sharpness if lr is None else lr, ridge.start(theta0)
    ridge.trajectory(start, eta, 0.0)  # refuses a step size with which descent without decay diverges

    @cache
    def times(decay: float) -> GrokkingTime:
        return ridge.grokking_time(start, eta, decay, train_tolerance, test_tolerance, momentum)

    def ends(decay: float) -> tuple[float, float]:
        found = times(decay)
        if found.settled is None or found.memorised is None:
            return math.inf, 0.0
        return float(found.settled), float(found.memorised)

    low, high = _LEAST_DECAY * ridge.sharpness, min(ridge.sharpness, 0.9 * (2 / eta - ridge.sharpness), 0.9 / eta)
    floors = {float(decay): ridge.floors(float(decay)) for decay in np.geomspace(high, low, 60)}
    candidates = [decay for decay, floor in floors.items() if floor.population <= test_tolerance]
    found = _search(ends, candidates, max_delay) if candidates else None
    if found is None:
        least = min(floors.values(), key=lambda floor: floor.population)
        why = f"population loss ends at {least.population:.6g} at the least, mostly from the {least.largest_term}"
        if delays := [(float(np.subtract(*ends(decay))), decay) for decay in candidates]:
            why = "shortest delay found is {:,.0f} steps, at weight_decay {:.3g}".format(*min(delays))
        raise UserError(
            f"max_delay={max_delay:g}: no weight_decay from {low:.3g} to {high:.3g} generalises that soon; the {why}"
        )
    told = _up(found)
    found = told if float(np.subtract(*ends(told))) <= max_delay else found
    reason, curve = f"delay at most {max_delay} steps, least bias", ridge.trajectory(start, eta, found, momentum)
    return DecayAdvice(reason, eta, found, times(found), ridge.floors(found).bias, curve)


def _up(decay: float) -> float:
    """Six digits, rounded up: what is printed is what was computed."""
    unit = 10.0 ** (math.floor(math.log10(decay)) - 5)
    return float(f"{math.ceil(decay / unit) * unit:.6g}")


def _search(ends: _Ends, candidates: list[float], wish: float) -> float | None:
    """Least decay whose delay is at most `wish`, from a coarse grid that falls; None if there is none."""

    # Where the train loss rings, its first crossing jumps, so the delay is no monotone function of the decay: a coarse
    # walk down ends where the delay is far above the wish, and every fine cell between there and the least decay that
    # grants it is searched from the left.
    def delay(decay: float) -> float:
        return float(np.subtract(*ends(decay)))

    seen: list[float] = []
    for decay in candidates:
        seen.append(decay)
        if math.isfinite(delay(decay)) and delay(decay) > _FAR * max(wish, 1.0):
            break
    best = min(seen, key=lambda decay: (max(delay(decay), wish), decay))
    top, bottom = seen[max(seen.index(best) - 1, 0)], best
    while bottom > candidates[-1] and delay(bottom) <= _NEAR * wish + _JITTER:
        bottom /= _FINE
    if delay(bottom) <= wish:
        return bottom
    cells = np.geomspace(bottom, top, 2 + int(math.log(top / bottom) / math.log(_FINE))).tolist()
    halves = (_least(ends, left, right, wish) for left, right in itertools.pairwise(cells))
    return next((found for found in halves if found is not None), None)


def _least(ends: _Ends, low: float, high: float, wish: float) -> float | None:
    """Least decay in ``(low, high]`` whose delay is at most `wish`, the left half first; None if none is found."""
    (first, early), (second, late) = ends(low), ends(high)
    if min(first, second) - max(early, late) > wish:  # none has it if both steps lie between those of the ends
        return None
    if high / low <= 1 + _DECAY_DIGITS:
        return high if second - late <= wish else None
    middle = math.sqrt(low * high)
    found = _least(ends, low, middle, wish)
    return found if found is not None else _least(ends, middle, high, wish)


def early_stopping(ridge: Ridge, theta0: npt.ArrayLike | Start, lr: float) -> StoppingAdvice:
    """The optimal stopping step of gradient descent without decay, exact, against the best ridge estimator."""
    curve = ridge.trajectory(theta0, lr, 0.0)
    step, loss = lowest(curve.population_pieces[0])
    return StoppingAdvice(None if step == LATEST else step, loss, *best_weight_decay(ridge), curve)


def best_weight_decay(ridge: Ridge) -> tuple[float, float]:
    """Lambda > -h_min of least population loss of the ridge estimator, possibly negative, and that loss."""
    # It stays in the span of the data: with a negative lambda (arXiv 2009.14286) a null-space part would grow.
    least, most = float(ridge.modal.curvature[-1]), ridge.sharpness

    def loss(decay: float) -> float:
        return ridge.modal.energy(ridge.modal.distance(decay), -ridge.modal.teacher.flat)

    below, above = -least * (1 - np.geomspace(1e-3, 1, 60)[:-1]), np.geomspace(1e-9 * most, 1e4 * most, 120)
    grid = np.concatenate([below, [0.0], above]).tolist()
    values = [loss(value) for value in grid]
    place = int(np.argmin(values))
    ends = (grid[max(place - 1, 0)], grid[min(place + 1, len(grid) - 1)])
    found: Any = minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-10 * most})
    return (float(found.x), float(found.fun)) if found.fun < values[place] else (grid[place], values[place])


def effective_ranks(eigenvalues: npt.ArrayLike, k: int) -> tuple[float, float]:
    """Effective ranks of a covariance's tail: ``r_k = sum_{i>k} l_i / l_{k+1}``, ``R_k = (sum l_i)^2 / sum l_i^2``.

    Interpolation is benign when for some k much smaller than n both r_k >= n (the tail acts as decay) and R_k >> n
    (noise spreads over many directions).

    >>> effective_ranks([1.0, 0.5, 0.5, 0.5, 0.5], k=1)
    (4.0, 4.0)

    Args:
        eigenvalues: Of the population covariance, any order, non-negative.
        k: Directions left out, the largest ones.

    Returns:
        r_k and R_k; 0 where the tail is empty or zero.

    Raises:
        UserError: If k is not in 0 .. number of eigenvalues, or an eigenvalue is negative or not finite.
    """
    values = np.sort(np.asarray(eigenvalues, dtype=np.float64))[::-1]
    if not 0 <= k <= values.size:
        raise UserError(f"k={k}: accepted are 0 to {values.size}")
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise UserError(f"eigenvalues: least {values[-1]:g}, accepted are finite numbers >= 0")
    tail = values[k:]
    if not tail.any():
        return 0.0, 0.0
    return float(tail.sum() / tail[0]), float(tail.sum() ** 2 / (tail**2).sum())
