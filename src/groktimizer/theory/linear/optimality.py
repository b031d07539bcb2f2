"""How fast any first-order method can be on quadratics, and how close critical damping comes.

On quadratics with curvatures in [low, high] the error after t steps is a polynomial of degree t with value 1 at 0,
applied to the curvature. The best worst case is the Chebyshev polynomial's: ``1 / T_t((kappa + 1)/(kappa - 1))``, so no
first-order method guarantees a factor f in fewer than ``acosh(1/f) / acosh((kappa + 1)/(kappa - 1))`` steps (in more
dimensions than steps).
"""

import itertools
import math
from bisect import bisect_left

import numpy as np

from groktimizer.dynamics import critical_momentum, envelope, mode_rates, stability_limit
from groktimizer.ground.errors import UserError

_CURVATURES = 400  # points of the grid of curvatures


def lower_bound_steps(low: float, high: float, factor: float) -> int:
    """Least t with ``1 / T_t <= factor``, below which no first-order method shrinks every mode in [low, high] by it."""
    _check(low, high, factor)
    # acosh(1 + x) = log1p(x + sqrt(x (x + 2))) keeps its digits for large condition numbers.
    x = 2 * low / (high - low)
    return math.ceil(math.acosh(1 / factor) / math.log1p(x + math.sqrt(x * (x + 2))) - 1e-9)


def polyak(low: float, high: float) -> tuple[float, float, float]:
    """Step size, momentum and rate of the best heavy ball for curvatures in [low, high].

    ``eta = 4/(sqrt(high) + sqrt(low))^2``, ``mu = rate^2``, ``rate = (sqrt(kappa) - 1)/(sqrt(kappa) + 1)``.

    Returns:
        (lr, momentum, rate).
    """
    _check(low, high, 0.5)
    total = math.sqrt(high) + math.sqrt(low)
    rate = (math.sqrt(high) - math.sqrt(low)) / total
    return 4 / total**2, rate**2, rate


def critical_steps(lr: float, weight_decay: float, high: float, factor: float) -> int:
    """Steps after which critically damped momentum has every mode in [weight_decay, high] below `factor` for ever.

    Returns:
        The steps, by bisection on the envelope over a grid of curvatures.

    Raises:
        UserError: If a number is out of range.
    """
    _check(weight_decay, high, factor)
    mu = critical_momentum(lr, weight_decay)
    if lr * high >= stability_limit(mu):
        raise UserError(f"lr={lr:g}: diverges, accepted are values below {stability_limit(mu) / high:.6g}")
    rates = mode_rates(lr, np.geomspace(weight_decay, high, _CURVATURES), mu)
    one, still = np.ones(_CURVATURES), np.zeros(_CURVATURES)

    def shrunk(step: int) -> bool:
        return bool(envelope(rates, step, one, still).max() <= factor)

    most = next(most for most in (2**power for power in itertools.count()) if shrunk(most))
    return bisect_left(range(most), True, key=shrunk)


def _check(low: float, high: float, factor: float) -> None:
    """Refuse an empty range of curvatures and a factor that asks for nothing."""
    if not 0 < low < high < math.inf:
        raise UserError(f"low={low!r}, high={high!r}: accepted are 0 < low < high")
    if not 0 < factor < 1:
        raise UserError(f"factor={factor!r}: accepted are numbers between 0 and 1")
