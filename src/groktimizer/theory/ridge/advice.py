"""What to do about a grokking time: shorten it, lengthen it, stop early, or choose another decay.

Every piece of advice carries the exact run that backs it.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from groktimizer.dynamics import stability_limit
from groktimizer.ground.checks import positive
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


@dataclass(frozen=True)
class DecayAdvice:
    """A weight decay, and the run that shows what it does.

    Args:
        reason: What was asked for.
        lr: eta.
        weight_decay: lambda.
        times: Exact times of that run.
        bias: Population loss that this decay costs in the long run.
        curve: The run.
    """

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
    max_delay: int | None = None,
    amplify: float | None = None,
    lr: float | None = None,
    weight_decay: float | None = None,
    momentum: Momentum = 0.0,
) -> DecayAdvice:
    """The decay that bounds the delay with the least bias, or that multiplies it.

    The delay (generalised for good minus memorised) falls as decay grows, the bias rises: so the least decay that meets
    `max_delay` is the best. With `amplify` the decay is sought at which the delay is that multiple of the one at
    `weight_decay`.

    Args:
        ridge: The problem.
        theta0: Initial parameters, shape (m,).
        train_tolerance: epsilon.
        test_tolerance: c.
        max_delay: Wanted delay at most, steps.
        amplify: Wanted multiple of the delay at `weight_decay`; above 1 lengthens.
        lr: eta; by default ``1 / sharpness``, the largest step without sign changes.
        weight_decay: lambda to start from, for `amplify`.
        momentum: As in `Ridge.trajectory`.

    Returns:
        The advice.

    Raises:
        UserError: If not exactly one wish is given, or no decay grants it.
    """
    eta, start = 1 / ridge.sharpness if lr is None else lr, ridge.start(theta0)
    _check_stable(ridge, eta)

    def times(decay: float) -> GrokkingTime:
        return ridge.grokking_time(start, eta, decay, train_tolerance, test_tolerance, momentum)

    if (max_delay is None) == (amplify is None):
        raise UserError("max_delay, amplify: accepted is exactly one of them")
    if max_delay is not None:
        reason, wish = f"delay at most {max_delay} steps, least bias", float(max_delay)
    else:
        positive(amplify=amplify)
        if weight_decay is None:
            raise UserError("weight_decay: None, accepted with amplify is the decay to start from")
        base = _delay(times(weight_decay))
        if amplify is None or not (math.isfinite(base) and base > 0):
            raise UserError(f"weight_decay={weight_decay:g}: its run does not grok, so its delay cannot be amplified")
        reason, wish = f"delay {amplify:g} times that at weight_decay={weight_decay:g}", amplify * base
    decay = _least_decay(times, wish, ridge, eta, test_tolerance)
    return DecayAdvice(
        reason, eta, decay, times(decay), ridge.floors(decay).bias, ridge.trajectory(start, eta, decay, momentum)
    )


def _check_stable(ridge: Ridge, lr: float) -> None:
    """Refuse a step size with which gradient descent without decay diverges."""
    positive(lr=lr)
    limit = stability_limit(0.0) / ridge.sharpness
    if lr >= limit:
        raise UserError(f"lr={lr:g}: diverges on these features, accepted are values below {limit:.6g}")


class _Delays:
    """Settled and memorised steps by decay, each computed once."""

    def __init__(self, times: Callable[[float], GrokkingTime]) -> None:
        self._times = times
        self._known: dict[float, tuple[float, float]] = {}

    def ends(self, decay: float) -> tuple[float, float]:
        """Settled and memorised step, inf and 0 where there is none."""
        if decay not in self._known:
            found = self._times(decay)
            both = found.settled is not None and found.memorised is not None
            self._known[decay] = (float(found.settled or 0), float(found.memorised or 0)) if both else (math.inf, 0.0)
        return self._known[decay]

    def __call__(self, decay: float) -> float:
        """Settled minus memorised, inf where there is none."""
        settled, memorised = self.ends(decay)
        return settled - memorised

    def may_grant(self, low: float, high: float, wish: float) -> bool:
        """Whether a decay between two may have the wanted delay, if both steps lie between those of the ends."""
        (first, early), (second, late) = self.ends(low), self.ends(high)
        return min(first, second) - max(early, late) <= wish

    def least(self, low: float, high: float, wish: float) -> float | None:
        """Least decay in ``(low, high]`` whose delay is at most `wish`, the left half first; None if none is found."""
        if not self.may_grant(low, high, wish):
            return None
        if high / low <= 1 + _DECAY_DIGITS:
            return high if self(high) <= wish else None
        middle = math.sqrt(low * high)
        found = self.least(low, middle, wish)
        return found if found is not None else self.least(middle, high, wish)


def _delay(times: GrokkingTime) -> float:
    """Settled minus memorised, inf where there is none."""
    return _Delays(lambda _: times)(0.0)


def _search(delays: _Delays, candidates: list[float], wish: float) -> float | None:
    """Least decay whose delay is at most `wish`, from a coarse grid that falls; None if there is none.

    Where the train loss rings, its first crossing jumps, so the delay is no monotone function of the decay: a coarse
    walk down ends where the delay is far above the wish, and every fine cell between there and the least decay that
    grants it is searched from the left.

    Args:
        delays: Delays by decay.
        candidates: Decays, falling.
        wish: Delay at most.

    Returns:
        The decay.
    """
    seen: list[float] = []
    for decay in candidates:
        seen.append(decay)
        if math.isfinite(delays(decay)) and delays(decay) > _FAR * max(wish, 1.0):
            break
    best = min(seen, key=lambda decay: (max(delays(decay), wish), decay))
    top, bottom = seen[max(seen.index(best) - 1, 0)], best
    while bottom > candidates[-1] and delays(bottom) <= _NEAR * wish + _JITTER:
        bottom /= _FINE
    if delays(bottom) <= wish:
        return bottom
    cells = np.geomspace(bottom, top, 2 + int(math.log(top / bottom) / math.log(_FINE)))
    for left, right in itertools.pairwise(cells):
        found = delays.least(float(left), float(right), wish)
        if found is not None:
            return found
    return None


def _least_decay(
    times: Callable[[float], GrokkingTime], wish: float, ridge: Ridge, lr: float, test_tolerance: float
) -> float:
    """Least decay whose delay is at most `wish`, below the decay at which the bias spoils everything.

    Args:
        times: Times by decay.
        wish: Delay at most.
        ridge: The problem.
        lr: eta.
        test_tolerance: Of the population loss, which must end within it.

    Returns:
        The decay.

    Raises:
        UserError: If no decay grants the wish.
    """
    low, high = _LEAST_DECAY * ridge.sharpness, min(ridge.sharpness, 0.9 * (2 / lr - ridge.sharpness), 0.9 / lr)
    candidates = [float(value) for value in np.geomspace(high, low, 60)]
    ends = [ridge.floors(decay) for decay in candidates]
    open_ones = [decay for decay, end in zip(candidates, ends, strict=True) if end.population <= test_tolerance]
    if open_ones:
        found = _search(_Delays(times), open_ones, wish)
        if found is not None:
            return found
    floors = min(ends, key=lambda floors: floors.population)
    raise UserError(
        f"max_delay={wish:g}: no weight_decay from {low:.3g} to {high:.3g} generalises that soon; the population "
        f"loss ends at {floors.population:.6g} at the least, mostly from the {floors.largest_term}"
    )


def early_stopping(ridge: Ridge, theta0: npt.ArrayLike | Start, lr: float) -> StoppingAdvice:
    """The optimal stopping step of gradient descent without decay, against the best ridge estimator.

    Args:
        ridge: The problem.
        theta0: Initial parameters, shape (m,).
        lr: Step size eta.

    Returns:
        Both optima; the step is exact, found by branch and bound.
    """
    _check_stable(ridge, lr)
    curve = ridge.trajectory(theta0, lr, 0.0)
    step, loss = lowest(curve.population_pieces[0])
    decay, decay_loss = best_weight_decay(ridge)
    return StoppingAdvice(None if step == LATEST else step, loss, decay, decay_loss, curve)


def best_weight_decay(ridge: Ridge) -> tuple[float, float]:
    """Lambda of least population loss of the ridge estimator, over ``lambda > -h_min``, and that loss.

    The estimator stays in the span of the data. A negative lambda (arXiv 2009.14286) is not where gradient descent goes
    from a start with a null-space component: that component would grow.

    Args:
        ridge: The problem.

    Returns:
        lambda, possibly negative, and its population loss.
    """
    least, most = float(ridge.modal.curvature[-1]), ridge.sharpness
    flat = -ridge.modal.teacher.flat

    def loss(decay: float) -> float:
        return ridge.modal.energy(ridge.modal.distance(decay), flat)

    grid = np.concatenate(
        [-least * (1 - np.geomspace(1e-3, 1, 60)[:-1]), [0.0], np.geomspace(1e-9 * most, 1e4 * most, 120)]
    )
    values = [loss(float(value)) for value in grid]
    place = int(np.argmin(values))
    ends = (float(grid[max(place - 1, 0)]), float(grid[min(place + 1, len(grid) - 1)]))
    found = minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-10 * most})
    if found.fun < values[place]:
        return float(found.x), float(found.fun)
    return float(grid[place]), float(values[place])


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
    if not tail.size or tail[0] == 0:
        return 0.0, 0.0
    return float(tail.sum() / tail[0]), float(tail.sum() ** 2 / (tail**2).sum())
