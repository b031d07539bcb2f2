"""The constants of a mode, from which its state at any step follows in a few elementary functions.

A mode of curvature k under heavy ball obeys, with a = eta k, position x and velocity d = x_t - x_{t-1},

    d <- mu d - a x,    x <- x + d,    so (x, d) <- M (x, d),  M = [[1 - a, mu], [-a, mu]],

whose eigenvalues solve ``z^2 - (1 + mu - a) z + mu = 0``. By Cayley-Hamilton

    M^t = C_t I + U_t [[(1 - mu - a)/2, mu], [-a, -(1 - mu - a)/2]],
    C_t = (z1^t + z2^t)/2,   U_t = (z1^t - z2^t)/(z1 - z2),

so everything is in C and U. Their constants (log of the modulus, log of the ratio of the roots, angle) are computed
without cancellation and in the platform's extended precision: the phase ``t * angle`` is what limits accuracy at large
t, and its error is t times that precision (5e-20 on x86, 1e-16 where long double is double).
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
LongArray = npt.NDArray[np.longdouble]
BoolArray = npt.NDArray[np.bool_]

_GONE = 1e4  # stands for an infinite logarithm: exp(-1e4) is 0, and 0 * 1e4 is 0 where 0 * inf is not
_NEAR_CRITICAL = 1e-1  # relative gap of the roots below which the roots are written around sqrt(mu)
_LONG_TWO_PI = 2 * np.arctan2(np.longdouble(0), np.longdouble(-1))


@dataclass(frozen=True)
class ModeRates:
    """Constants of an array of modes; every field broadcasts against the others.

    Args:
        log_rate: ln |z1|, z1 the slower root; per step.
        half_gap: ln(z1 / z2) / 2 where the roots are real, 0 elsewhere.
        angle: arg z1, or pi minus it where `folded`; 0 where the roots are real; radians per step, extended precision.
        inverse_sine: 1 / sin(angle), 0 where the roots are real.
        oscillates: The roots are complex.
        negative: The roots are real and negative, the position changes sign every step.
        folded: The roots are complex with a negative real part; an angle near pi would lose what its sine needs.
        step: a = eta k.
        momentum: mu.
        balance: (1 - mu - a) / 2.
    """

    log_rate: Array
    half_gap: Array
    angle: LongArray
    inverse_sine: Array
    oscillates: BoolArray
    negative: BoolArray
    folded: BoolArray
    step: Array
    momentum: Array
    balance: Array

    def take(self, modes: npt.NDArray[np.intp]) -> "ModeRates":
        """The constants of some of the modes."""
        return ModeRates(**{field.name: getattr(self, field.name)[modes] for field in fields(self)})

    def waves(self, steps: npt.ArrayLike) -> tuple[Array, Array]:
        """C and U of the module's text.

        Args:
            steps: Integer steps t >= 0 that broadcast against the modes (a column for a table).

        Returns:
            C_t and U_t, in the broadcast shape.
        """
        t = np.asarray(steps, dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            here, before = np.exp(t * self.log_rate), np.exp(np.maximum(t - 1, 0) * self.log_rate)
            cosine, sine = self._real(t, here, before)
            if self.oscillates.any():
                turn = phase(t, self.angle)
                cosine = np.where(self.oscillates, here * np.cos(turn), cosine)
                sine = np.where(self.oscillates, before * np.sin(turn) * self.inverse_sine, sine)
            alternates = self.negative | self.folded
            if not alternates.any():
                return cosine, sine
            odd = np.mod(t, 2) == 1
            return np.where(alternates & odd, -cosine, cosine), np.where(alternates & ~odd, -sine, sine)

    @property
    def apart(self) -> BoolArray:
        """Where `displacement` holds: two real positive roots farther apart than the slower one is from 1."""
        return ~self.oscillates & ~self.negative & (2 * self.half_gap > -np.expm1(self.log_rate))

    def displacement(self, steps: npt.ArrayLike) -> Array:
        """How far a mode of unit distance, released at rest, has come after t steps, as a negative number.

        With w = 1 - z and ``w1 w2 = a`` it is ``-(z1 w2 (1 - z1^t) - z2 w1 (1 - z2^t)) / (z1 - z2)``, which keeps its
        digits where the mode has hardly moved and the difference of two positions would lose them.

        Args:
            steps: Integer steps t >= 0 that broadcast against the modes.

        Returns:
            Position minus 1, in the broadcast shape; meaningless where the roots are not `apart`.
        """
        t = np.asarray(steps, dtype=np.float64)
        slow, gap = -np.expm1(self.log_rate), 2 * self.half_gap
        fast, ratio = np.where(slow > 0, self.step / np.where(slow > 0, slow, 1.0), 1.0), np.exp(-gap)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            first = fast * np.expm1(t * self.log_rate)
            if (self.half_gap >= _GONE).all():  # one root only: gradient descent
                return first
            return (first - ratio * slow * np.expm1(t * (self.log_rate - gap))) / -np.expm1(-gap)

    def _real(self, t: Array, here: Array, before: Array) -> tuple[Array, Array]:
        """|C| and |U| where the roots are real: hyperbolic, t z^(t-1) where they coincide."""
        if (self.half_gap >= _GONE).all():  # one root only: gradient descent
            return here * np.where(t > 0, 0.5, 1.0), before * (t > 0)
        gap = 2 * self.half_gap
        ratio = np.where(gap == 0, t, np.expm1(-gap * t) / np.where(gap == 0, 1.0, np.expm1(-gap)))
        return here * (1 + np.exp(-gap * t)) / 2, before * ratio


def phase(steps: Array, angle: LongArray) -> Array:
    """``steps * angle`` within a turn; the product is taken in extended precision.

    Args:
        steps: Whole steps.
        angle: Radians a step.

    Returns:
        Radians in [0, 2 pi), in the broadcast shape.
    """
    turns = steps * (angle / _LONG_TWO_PI)
    turns = turns - np.floor(turns)
    return (turns * _LONG_TWO_PI).astype(np.float64)


def mode_rates(lr: npt.ArrayLike, curvature: npt.ArrayLike, momentum: npt.ArrayLike = 0.0) -> ModeRates:
    """Constants of modes under heavy ball (gradient descent at momentum 0).

    Args:
        lr: Step size eta, positive; broadcasts.
        curvature: k of the mode, decay included; any sign.
        momentum: mu in [0, 1]; broadcasts.

    Returns:
        The constants, in the broadcast shape.
    """
    mu, a = np.broadcast_arrays(
        np.asarray(momentum, np.longdouble), np.multiply(lr, np.asarray(curvature, np.longdouble), dtype=np.longdouble)
    )
    low, high = ((1 - mu) / (1 + np.sqrt(mu))) ** 2, (1 + np.sqrt(mu)) ** 2
    discriminant = (a - low) * (a - high)
    width, trace = np.sqrt(np.abs(discriminant)), 1 + mu - a
    oscillates, negative = discriminant < 0, (discriminant >= 0) & (a >= high)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = np.where(oscillates | (width == 0), 0, np.arctanh(np.minimum(width / np.abs(trace), 1)))
        inverse_sine = np.where(oscillates, 2 * np.sqrt(mu) / width, 0)
        log_rate = np.where(oscillates, np.log1p(mu - 1) / 2, _real_log_rate(a, mu, width, gap, negative))
    return ModeRates(
        log_rate=np.maximum(log_rate, -_GONE).astype(np.float64),
        half_gap=np.minimum(gap, _GONE).astype(np.float64),
        angle=np.where(oscillates, np.arctan2(width, np.abs(trace)), np.longdouble(0)),
        inverse_sine=inverse_sine.astype(np.float64),
        oscillates=oscillates,
        negative=negative,
        folded=oscillates & (trace < 0),
        step=a.astype(np.float64),
        momentum=mu.astype(np.float64),
        balance=((1 - mu - a) / 2).astype(np.float64),
    )


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


def _real_log_rate(a: LongArray, mu: LongArray, width: LongArray, gap: LongArray, negative: BoolArray) -> LongArray:
    """Log of |z1| where the roots are real: around sqrt(mu) when they nearly meet, else as a distance from 1.

    With w = 1 - |z1|: ``w = 2 a / (1 - mu + a + width)`` for positive roots and
    ``w = 2 (2 (1 + mu) - a) / (3 + mu - a + width)`` for negative ones, neither of which cancels near w = 0.

    Args:
        a: eta k, extended precision.
        mu: Momentum.
        width: |z1 - z2|.
        gap: ln(z1 / z2) / 2.
        negative: The roots are negative.

    Returns:
        ln |z1|; meaningless where the roots are complex.
    """
    away = np.where(negative, np.abs(3 + mu - a), np.abs(1 - mu + a))  # w1 + w2
    near = (width <= _NEAR_CRITICAL * np.minimum(np.abs(1 + mu - a), away)) & (mu > 0)
    falls = 2 * a / (1 - mu + a + width)
    alternates = 2 * (2 * (1 + mu) - a) / (3 + mu - a + width)
    grows = np.log(np.abs(1 + mu - a) + width) - np.log(np.longdouble(2))
    stable = np.where(negative, a < 2 * (1 + mu), a >= 0)
    far = np.where(stable, np.log1p(-np.where(negative, alternates, falls)), grows)
    return np.where(near, np.log1p(mu - 1) / 2 + gap, far)
