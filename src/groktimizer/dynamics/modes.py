"""One mode of gradient descent and heavy ball: roots, stability, rate, and the exact state at any step.

A mode is a direction in which the objective is quadratic with curvature k (decay included). Positions are measured
from the mode's fixed point, velocities are the last displacement, x_t - x_{t-1}. Gradient descent is momentum 0.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from groktimizer.dynamics.rates import Array, ModeRates, mode_rates

_SLOWEST = 1e-18  # rates below this count as this: nothing moves within any number of steps that is asked for


class Transfer(NamedTuple):
    """Entries of M^t: how position and velocity at step t answer to those at step 0.

    Args:
        position: Position from unit position.
        position_per_velocity: Position from unit velocity.
        velocity_per_position: Velocity from unit position.
        velocity: Velocity from unit velocity.
    """

    position: Array
    position_per_velocity: Array
    velocity_per_position: Array
    velocity: Array


def roots(
    lr: npt.ArrayLike, curvature: npt.ArrayLike, momentum: npt.ArrayLike = 0.0
) -> tuple[npt.NDArray[np.complex128], ...]:
    """Roots of ``z^2 - (1 + mu - eta k) z + mu = 0``, the larger modulus first.

    >>> z1, z2 = roots(1.0, 1e-4, 0.9801)  # critical damping: both are 1 - sqrt(1e-4)
    >>> abs(complex(z1) - 0.99) < 1e-6, abs(complex(z2) - 0.99) < 1e-6
    (True, True)

    Args:
        lr: Step size eta, positive; broadcasts.
        curvature: k; broadcasts.
        momentum: mu in [0, 1]; broadcasts.

    Returns:
        z1 and z2, complex, in the broadcast shape.
    """
    rates = mode_rates(lr, curvature, momentum)
    sign = np.where(rates.negative | rates.folded, -1.0, 1.0)
    turn = 1j * rates.angle.astype(np.float64)
    return sign * np.exp(rates.log_rate + turn), sign * np.exp(rates.log_rate - 2 * rates.half_gap - turn)


def contraction_rate(lr: npt.ArrayLike, curvature: npt.ArrayLike, momentum: npt.ArrayLike = 0.0) -> Array:
    """Factor by which a mode shrinks a step in the long run, ``max |z|``; 1 or more means that it does not shrink.

    Args:
        lr: Step size eta, positive; broadcasts.
        curvature: k; broadcasts.
        momentum: mu in [0, 1]; broadcasts.

    Returns:
        The spectral radius of M, in the broadcast shape.
    """
    return np.exp(mode_rates(lr, curvature, momentum).log_rate)


def is_stable(lr: npt.ArrayLike, curvature: npt.ArrayLike, momentum: npt.ArrayLike = 0.0) -> npt.NDArray[np.bool_]:
    """Whether a mode converges: ``0 < eta k < 2 (1 + mu)`` and ``mu < 1``.

    Args:
        lr: Step size eta, positive; broadcasts.
        curvature: k; broadcasts.
        momentum: mu in [0, 1]; broadcasts.

    Returns:
        Boolean array in the broadcast shape.
    """
    a, mu = np.multiply(lr, curvature), np.asarray(momentum)
    return (a > 0) & (a < 2 * (1 + mu)) & (mu < 1)


def transfer(rates: ModeRates, steps: npt.ArrayLike) -> Transfer:
    """Entries of M^t at any step, as cheap at t = 1e12 as at t = 1.

    The error relative to the mode's envelope is about ``t * angle * eps`` with eps of long double (see `rates`), below
    1e-10 up to 1e6 steps everywhere.

    Args:
        rates: Constants of the modes.
        steps: Integer steps t >= 0 that broadcast against the modes.

    Returns:
        The four entries, each in the broadcast shape.
    """
    cosine, sine = rates.waves(steps)
    lean = rates.balance * sine
    return Transfer(cosine + lean, rates.momentum * sine, -rates.step * sine, cosine - lean)


def state(
    steps: npt.ArrayLike,
    position: npt.ArrayLike,
    lr: npt.ArrayLike,
    curvature: npt.ArrayLike,
    momentum: npt.ArrayLike = 0.0,
    velocity: npt.ArrayLike = 0.0,
) -> tuple[Array, Array]:
    """Exact position and velocity of modes after `steps` steps of heavy ball.

    >>> x, d = state(2, 1.0, lr=0.1, curvature=1.0, momentum=0.5)
    >>> round(float(x), 12), round(float(d), 12)  # 1 -> 0.9 -> 0.9 + (0.5 * -0.1 - 0.1 * 0.9) = 0.76
    (0.76, -0.14)

    Args:
        steps: Integer steps t >= 0, a scalar or any array that broadcasts against the modes, up to 1e12.
        position: Initial distance from the fixed point.
        lr: Step size eta, positive.
        curvature: k, decay included.
        momentum: mu in [0, 1].
        velocity: Initial velocity, ``-eta b`` with torch's momentum buffer b.

    Returns:
        Position and velocity at the steps, in the broadcast shape.
    """
    entries = transfer(mode_rates(lr, curvature, momentum), steps)
    x, d = np.asarray(position, dtype=np.float64), np.asarray(velocity, dtype=np.float64)
    return (
        entries.position * x + entries.position_per_velocity * d,
        entries.velocity_per_position * x + entries.velocity * d,
    )


def envelope(rates: ModeRates, steps: npt.ArrayLike, position: npt.ArrayLike, velocity: npt.ArrayLike = 0.0) -> Array:
    """A bound on |position| at `steps` and at every later step.

    Complex roots: ``|z|^t`` times the amplitude, or, when the angle is small, ``|U_t| <= t |z|^(t-1)``. Real roots: the
    position entry falls monotonically, and the velocity entry |U| rises to its peak at ``ln(1 + gap / L) / gap``
    (gap = ln(z1/z2), L = -ln|z1|), then falls.

    Args:
        rates: Constants of stable modes.
        steps: Steps t >= 0 that broadcast against the modes.
        position: Initial distance from the fixed point.
        velocity: Initial velocity.

    Returns:
        The bound, in the broadcast shape; falls with t.
    """
    t, position, velocity = (np.asarray(part, dtype=np.float64) for part in (steps, position, velocity))
    sine_part = rates.balance * position + rates.momentum * velocity
    peak = np.maximum(t, peak_step(rates))
    cosine, sine = rates.waves(t)
    _, highest = rates.waves(peak)
    velocity_part = np.where(rates.negative, np.abs(sine_part), np.abs(rates.momentum * velocity)) * np.abs(highest)
    falling = np.abs(np.where(rates.negative, cosine, cosine + rates.balance * sine) * position)
    ring = np.where(rates.oscillates, rates.log_rate, -1.0)
    amplitude = np.hypot(position, sine_part * rates.inverse_sine * np.exp(-ring)) * np.exp(t * ring)
    last = np.maximum(t, -1 / np.minimum(ring, -_SLOWEST))  # where t |z|^(t - 1) is largest from t on
    slow = np.abs(position) * np.exp(t * ring) + np.abs(sine_part) * last * np.exp((last - 1) * ring)
    return np.where(rates.oscillates, np.minimum(amplitude, slow), falling + velocity_part)


def peak_step(rates: ModeRates) -> Array:
    """Step (not rounded) at which |U_t| is largest where the roots are real: ``ln(1 + gap / L) / gap``, 1/L at gap 0.

    Args:
        rates: Constants of stable modes.

    Returns:
        The step, 0 where the roots are complex or there is no momentum.
    """
    gap, fall = 2 * rates.half_gap, np.maximum(-rates.log_rate, _SLOWEST)
    safe = np.where(gap == 0, 1.0, gap)
    step = np.where(gap < 1e-8 * fall, 1 / fall, np.log1p(safe / fall) / safe)
    return np.where(rates.oscillates | (rates.momentum == 0), 0.0, step)
