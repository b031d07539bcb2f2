"""Continuous time: what gradient descent and heavy ball become when the step size goes to 0.

Gradient descent at step size eta follows gradient flow at time ``eta t``. Heavy ball with momentum ``1 - c sqrt(eta)``
follows the damped oscillator ``x'' + c x' + k x = 0`` at time ``sqrt(eta) t``: the square root is the speed-up.
"""

import numpy as np
import numpy.typing as npt

from groktimizer.dynamics.rates import Array, ModeRates

_GONE = 1e4


def flow(time: npt.ArrayLike, position: npt.ArrayLike, curvature: npt.ArrayLike) -> Array:
    """Gradient flow of a mode: ``x(s) = x(0) exp(-k s)``.

    Args:
        time: s >= 0; s = eta t compares with t steps of gradient descent.
        position: Initial distance from the fixed point.
        curvature: k, decay included.

    Returns:
        Position, in the broadcast shape.
    """
    return np.asarray(position) * np.exp(-np.multiply(time, curvature))


def flow_rates(lr: float, curvature: Array) -> ModeRates:
    """Rates of gradient flow observed every `lr` units of time, in the form that gradient descent has.

    Args:
        lr: Time eta between two observations.
        curvature: k, decay included.

    Returns:
        Rates with ``z1 = exp(-eta k)`` and no second root; good for integer steps.
    """
    zero, false = np.zeros_like(curvature), np.zeros(np.shape(curvature), dtype=bool)
    factor = np.exp(-lr * curvature)
    return ModeRates(
        log_rate=-lr * curvature,
        half_gap=zero + _GONE,
        angle=zero.astype(np.longdouble),
        inverse_sine=zero,
        oscillates=false,
        negative=false,
        folded=false,
        step=-np.expm1(-lr * curvature),
        momentum=zero,
        balance=factor / 2,
    )


def oscillator(
    time: npt.ArrayLike, position: npt.ArrayLike, curvature: npt.ArrayLike, friction: npt.ArrayLike
) -> Array:
    """Damped oscillator ``x'' + c x' + k x = 0`` released at rest: heavy ball's limit at momentum 1 - c sqrt(eta).

    Its exponents solve ``r^2 + c r + k = 0``; with g = c/2 and w = sqrt(k - g^2) it is
    ``x(0) exp(-g s) (cos(w s) + g sin(w s) / w)``, hyperbolic for k < g^2, ``(1 + g s)`` at the critical friction
    ``c = 2 sqrt(k)``, which is where the discrete critical momentum ``(1 - sqrt(eta k))^2`` leads.

    Args:
        time: s >= 0; s = sqrt(eta) t compares with t steps of heavy ball.
        position: Initial distance from the fixed point.
        curvature: k > 0.
        friction: c >= 0.

    Returns:
        Position, in the broadcast shape.
    """
    s, k, g = np.asarray(time, np.float64), np.asarray(curvature, np.float64), np.asarray(friction, np.float64) / 2
    square = k - g * g
    w = np.sqrt(np.abs(square))
    slow = g - np.where(square < 0, w, 0.0)
    turn = np.where(square > 0, w * s, 0.0)
    sine = np.where(w == 0, s, np.where(square > 0, np.sin(turn), -np.expm1(-2 * w * s) / 2) / np.where(w == 0, 1.0, w))
    cosine = np.where(square > 0, np.cos(turn), (1 + np.exp(-2 * w * s)) / 2)
    return np.asarray(position) * np.exp(-slow * s) * (cosine + g * sine)
