"""Critical damping on the zero-loss manifold, in scalars.

Heavy ball with decay, ``b <- mu b + g + lambda theta; theta <- theta - eta b``, moves a mode of curvature k by
``z^2 - (1 + mu - eta k) z + mu = 0``. A flat direction of the training loss has k = lambda; its two roots meet at
``mu = (1 - sqrt(eta lambda))^2``, where it contracts by ``1 - sqrt(eta lambda)`` a step instead of ``1 - eta lambda``.
"""

import math


def critical_momentum(lr: float, weight_decay: float, damping: float = 1.0) -> float:
    """Momentum that damps the mode of curvature `weight_decay` with ratio `damping`.

    ``mu = (1 - damping * sqrt(lr * weight_decay))^2``: below 1 the mode oscillates, at 1 its roots meet, above 1 it
    creeps. Once ``damping * sqrt(lr * weight_decay)`` exceeds 1 the formula would turn upwards; there 0 is returned.

    Args:
        lr: Step size eta, positive.
        weight_decay: Decay lambda, non-negative.
        damping: Damping ratio zeta, positive.

    Returns:
        mu in [0, 1].
    """
    return max(0.0, 1.0 - damping * math.sqrt(lr * weight_decay)) ** 2


def stability_limit(momentum: float) -> float:
    """Largest stable ``lr * curvature`` of heavy ball: ``2 (1 + momentum)``.

    Args:
        momentum: mu in [0, 1).

    Returns:
        The limit, dimensionless.
    """
    return 2.0 * (1.0 + momentum)


def fastest_curvature(lr: float, weight_decay: float) -> float:
    """Largest curvature that still contracts at the critical rate ``1 - sqrt(lr * weight_decay)``.

    Modes with ``lr k`` in ``[lr * weight_decay, (2 - sqrt(lr * weight_decay))^2]`` are critically damped or underdamped
    at the critical momentum, and so share its rate; stiffer ones have a slower negative real root.

    Args:
        lr: Step size eta, positive.
        weight_decay: Decay lambda, non-negative.

    Returns:
        The curvature k, in units of 1/lr.
    """
    return (2.0 - math.sqrt(lr * weight_decay)) ** 2 / lr
