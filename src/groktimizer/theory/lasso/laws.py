"""Time laws of sparse recovery; each names its theorem in arXiv 2506.05718, or says that it is ours.

A law whose conditions fail is still computed; whether it holds is then luck. Features are X, shape (N, n), targets y,
shape (N,), the teacher a*, shape (n,), and a0 the start, by default 0; lr is alpha, the weight beta, an excess eta. A
distance is ``||a_t1 - a||_2`` to where the law leads, a slope G the largest norm of the penalty's subgradients (sqrt(n)
of the l1 norm, sqrt(min(n1, n2)) of the nuclear norm), the sharpness L the largest curvature of the loss.
"""

import math

import numpy as np
import numpy.typing as npt

from groktimizer.theory.clock.claims import Bound, Condition, at_most, stated
from groktimizer.theory.clock.quadratic import Array
from groktimizer.theory.lasso.answers import interpolant
from groktimizer.theory.lasso.recovery import STRICT, null_space_constant

_PAPER = "arXiv 2506.05718"
_STEEP = 0.9  # largest null-space constant with which the last part of the way does not decide


def _step_conditions(features: Array, lr: float, weight: float) -> tuple[Condition, ...]:
    """Those of Theorems 3.1 and 3.3."""
    top = float(np.linalg.norm(features, 2) ** 2)
    left = weight * math.sqrt(features.shape[1])
    return (
        _inside("lr * s_max(X'X)", lr * top, 2.0),
        _inside("weight * sqrt(n)", left, top),
    )


def _inside(name: str, value: float, limit: float) -> Condition:
    """``0 < value < limit``."""
    told = f"{name} = {value:.4g} %s (0, {limit:.4g})"
    return stated(0 < value < limit, told % "in", told % "outside")


def drift(
    features: Array, targets: Array, teacher: Array, lr: float, weight: float, a0: npt.ArrayLike | None = None
) -> float:
    """``||a_hat - a*||_inf / (alpha beta)``: steps in which a drift of alpha beta a coordinate leads to a*."""
    return float(np.abs(interpolant(features, targets, a0) - teacher).max()) / (lr * weight)


def theorem_3_3(
    features: Array,
    targets: Array,
    teacher: Array,
    lr: float,
    weight: float,
    a0: Array | None = None,
    null_space: float | None = None,
) -> Bound:
    """The delay: ``t2 - t1 ~ ||a_hat - a*||_inf / (alpha beta)``, a_hat the interpolant reached at t1.

    Each coordinate drifts by alpha beta a step, so the farthest one sets the time, but only while the l1 norm falls
    steeply along the fits: near a* its least slope is 1 - kappa, kappa the null-space constant (see `recovery`), looked
    for where `null_space` does not give it. Ours is the factor ``1 / (2 (1 - kappa))`` where kappa is above a half. An
    order of magnitude: the constant depends on the instance. Measured, (t2 - t1) / law with the factor and without: 0.6
    to 1.8 and 0.6 to 4.5 on 24 problems of Gaussian features, 0.1 to 14 and 5 to 63 on 18 of 40 images of digits.

    Returns:
        The law, with the conditions of Theorems 3.1 and 3.3, and kappa at most 0.9.
    """
    kappa = null_space_constant(features, teacher) if null_space is None else null_space
    steep = 2 * (1 - kappa) if kappa < STRICT else 1.0  # from 1 on nothing arrives, and no factor mends the law
    value = drift(features, targets, teacher, lr, weight, a0) / min(steep, 1.0)
    conditions = (*_step_conditions(features, lr, weight), at_most("null-space constant", kappa, _STEEP))
    return Bound(f"{_PAPER}, Theorem 3.3", "t2 - t1 ~", value, conditions)


def theorem_2_1(
    distance: float,
    lr: float,
    weight: float,
    excess: float,
    slope: float | None = None,
    sharpness: float | None = None,
) -> Bound:
    """The delay of any convex penalty h: ``||a_t1 - a*||^2 / (alpha beta eta)``.

    By then some iterate of the projected subgradient has h within ``(eta + alpha beta G^2) / 2`` of its least value
    among the fits, G the largest norm of its subgradients: within eta under the second condition. Subgradient descent
    itself stays that near the fits to first order, under the first. t2 is that step and not one of a recovery error: of
    that the law says something only where a* is the fit of least h, and as much as h grows away from it.

    Returns:
        The law; an open condition counts as failing.
    """
    conditions = (
        Condition("whether lr * L is in (0, 2) is open: L is not given", False)
        if sharpness is None
        else _inside("lr * L", lr * sharpness, 2.0),
        Condition("whether lr * weight * G^2 is at most the excess is open: G is not given", False)
        if slope is None
        else at_most("lr * weight * G^2", lr * weight * slope**2, excess),
    )
    return Bound(f"{_PAPER}, Theorem 2.1", "t2 - t1 <=", distance**2 / (lr * weight * excess), conditions)


def accelerated(distance: float, lr: float, weight: float, excess: float, sharpness: float) -> Bound:
    """The delay of the accelerated method: ``sqrt(2) distance / sqrt(alpha beta eta)``, the square root of the others.

    Ours, from ``f(a_t) - f* <= 2 distance^2 / (alpha (t + 1)^2)`` (Beck and Teboulle 2009, Theorem 4.4): an excess of
    beta eta in the objective is an excess of eta in the penalty at equal fit. An order of magnitude: that theorem is
    of the objective, not of the recovery error, and of steps that begin at t1 without momentum and do not restart.
    Where a* is not the fit of least h, or the bias of the weight is beyond the tolerance, there is no t2.

    Returns:
        The law.
    """
    condition = at_most("lr * L", lr * sharpness, 1.0)
    value = math.sqrt(2 / (lr * weight * excess)) * distance
    return Bound("ours, from Beck and Teboulle (2009), Theorem 4.4", "t2 - t1 ~", value, (condition,))


def theorem_3_6(features: Array, teacher: Array, a0: Array | None = None) -> Bound:
    """What l2 alone leaves: ``||a - a*|| >= ||(I - V V')a*||`` for N < n, from a start in the row space, such as 0.

    From such a start it holds at every step, whatever the weight; from any other with weight > 0 in the end. There the
    part ``(I - V V')a0`` only shrinks, so ``min over c in [0, 1] of ||(I - V V')(a* - c a0)||`` holds at every step
    (alpha times the weight at most 1): 0 for a0 = a*.

    Returns:
        The floor of the absolute error; 0 where the data determine a*.
    """
    zero = np.zeros(features.shape[0])
    hidden = interpolant(features, zero, teacher)
    if a0 is not None:
        began = interpolant(features, zero, a0)
        square = float(began @ began)
        hidden = hidden - (min(max(float(began @ hidden) / square, 0.0), 1.0) if square else 0.0) * began
    n_samples, n = features.shape
    return Bound(
        f"{_PAPER}, Theorem 3.6",
        "||a - a*|| >=",
        float(np.linalg.norm(hidden)),
        (stated(n_samples < n, f"N = {n_samples} < n = {n}", f"N = {n_samples} >= n = {n}"),),
    )


def predicted_memorisation(features: Array, targets: Array, a0: Array, lr: float, weight: float) -> Bound:
    """Predictor of t1 in the code of arXiv 2506.05718, not a bound.

    ``t1 ~ -ln(1 + (1 - rho) ||a0 - a_LS|| / (alpha beta)) / ln rho``, rho the slowest factor ``max |1 - alpha sigma|``
    over the nonzero eigenvalues of X'X: after it the residual moves less than the penalty does.

    Returns:
        The prediction.
    """
    values = np.linalg.svd(features, compute_uv=False)
    values = values[values > max(features.shape) * np.finfo(np.float64).eps * values[0]]
    rho = float(np.abs(1 - lr * values**2).max())
    away = float(np.linalg.norm(a0 - interpolant(features, targets, a0)))
    value = -math.log1p((1 - rho) * away / (lr * weight)) / math.log(rho) if 0 < rho < 1 else math.nan
    return Bound(f"{_PAPER}, predictor of its code", "t1 ~", value, _step_conditions(features, lr, weight))
