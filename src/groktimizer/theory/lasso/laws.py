"""Time laws of sparse recovery; each names its theorem in arXiv 2506.05718, or says that it is ours.

A law whose conditions fail is still computed; whether it holds is then luck.
"""

import math

import numpy as np

from groktimizer.theory.lasso.answers import interpolant
from groktimizer.theory.quadratic import Array
from groktimizer.theory.ridge.bounds import Bound, Condition

_PAPER = "arXiv 2506.05718"


def _step_conditions(features: Array, lr: float, weight: float) -> tuple[Condition, ...]:
    """Those of Theorems 3.1 and 3.3."""
    top = float(np.linalg.norm(features, 2) ** 2)
    left = weight * math.sqrt(features.shape[1])
    return (
        Condition(f"lr * s_max(X'X) = {lr * top:.4g} in (0, 2)", 0 < lr * top < 2),  # noqa: PLR2004
        Condition(f"weight * sqrt(n) = {left:.4g} in (0, {top:.4g})", 0 < left < top),
    )


def theorem_3_3(
    features: Array, targets: Array, teacher: Array, lr: float, weight: float, a0: Array | None = None
) -> Bound:
    """The delay: ``t2 - t1 ~ ||a_hat - a*||_inf / (alpha beta)``, a_hat the interpolant reached at t1.

    Each coordinate drifts by alpha beta a step, so the farthest one sets the time. An order of magnitude: the constant
    depends on the instance (measured: t2 / law between 0.5 and 1.6).

    Args:
        features: X, shape (N, n).
        targets: y, shape (N,).
        teacher: a*, shape (n,).
        lr: alpha.
        weight: beta.
        a0: Start, by default 0.

    Returns:
        The law, with the conditions of Theorems 3.1 and 3.3.
    """
    away = float(np.abs(interpolant(features, targets, a0) - teacher).max())
    return Bound(f"{_PAPER}, Theorem 3.3", "t2 - t1 ~", away / (lr * weight), _step_conditions(features, lr, weight))


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

    Args:
        distance: ``||a_t1 - a*||_2``.
        lr: alpha.
        weight: beta.
        excess: eta.
        slope: G: sqrt(n) of the l1 norm, sqrt(min(n1, n2)) of the nuclear norm. Without it a condition is open.
        sharpness: L, the largest curvature of the loss. Without it a condition is open.

    Returns:
        The law; an open condition counts as failing.
    """
    conditions = (
        Condition("lr * L in (0, 2): L is not given", False)
        if sharpness is None
        else Condition(f"lr * L = {lr * sharpness:.4g} in (0, 2)", 0 < lr * sharpness < 2),  # noqa: PLR2004
        Condition("lr * weight * G^2 <= excess: G is not given", False)
        if slope is None
        else Condition(
            f"lr * weight * G^2 = {lr * weight * slope**2:.4g} <= {excess:.4g}", lr * weight * slope**2 <= excess
        ),
    )
    return Bound(f"{_PAPER}, Theorem 2.1", "t2 - t1 <=", distance**2 / (lr * weight * excess), conditions)


def accelerated(distance: float, lr: float, weight: float, excess: float, sharpness: float) -> Bound:
    """The delay of the accelerated method: ``sqrt(2) distance / sqrt(alpha beta eta)``, the square root of the others.

    Ours, from ``f(a_t) - f* <= 2 distance^2 / (alpha (t + 1)^2)`` (Beck and Teboulle 2009, Theorem 4.4): an excess of
    beta eta in the objective is an excess of eta in the penalty at equal fit. An order of magnitude: that theorem is
    of the objective, not of the recovery error, and of steps that begin at t1 without momentum and do not restart.
    Where a* is not the fit of least h, or the bias of the weight is beyond the tolerance, there is no t2.

    Args:
        distance: ``||a_t1 - a_beta||_2``, to the Lasso estimator.
        lr: alpha.
        weight: beta.
        excess: eta.
        sharpness: L, the largest eigenvalue of X'X.

    Returns:
        The law.
    """
    condition = Condition(f"lr * L = {lr * sharpness:.4g} <= 1", lr * sharpness <= 1)
    value = math.sqrt(2 / (lr * weight * excess)) * distance
    return Bound("ours, from Beck and Teboulle (2009), Theorem 4.4", "t2 - t1 ~", value, (condition,))


def theorem_3_6(features: Array, teacher: Array, a0: Array | None = None) -> Bound:
    """What l2 alone leaves: ``||a - a*|| >= ||(I - V V')a*||`` for N < n, from a start in the row space, such as 0.

    From such a start it holds at every step, whatever the weight; from any other with weight > 0 in the end. There the
    part ``(I - V V')a0`` only shrinks, so ``min over c in [0, 1] of ||(I - V V')(a* - c a0)||`` holds at every step
    (alpha times the weight at most 1): 0 for a0 = a*.

    Args:
        features: X, shape (N, n).
        teacher: a*, shape (n,).
        a0: Start, shape (n,); by default 0.

    Returns:
        The floor of the absolute error at every step; 0 where the data determine a*.
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
        (Condition(f"N = {n_samples} < n = {n}", n_samples < n),),
    )


def predicted_memorisation(features: Array, targets: Array, a0: Array, lr: float, weight: float) -> Bound:
    """Predictor of t1 in the code of arXiv 2506.05718, not a bound.

    ``t1 ~ -ln(1 + (1 - rho) ||a0 - a_LS|| / (alpha beta)) / ln rho``, rho the slowest factor ``max |1 - alpha sigma|``
    over the nonzero eigenvalues of X'X: after it the residual moves less than the penalty does.

    Args:
        features: X, shape (N, n).
        targets: y, shape (N,).
        a0: Start, shape (n,).
        lr: alpha.
        weight: beta.

    Returns:
        The prediction; a_LS is the interpolant nearest to a0.
    """
    values = np.linalg.svd(features, compute_uv=False)
    values = values[values > max(features.shape) * np.finfo(np.float64).eps * values[0]]
    rho = float(np.abs(1 - lr * values**2).max())
    away = float(np.linalg.norm(a0 - interpolant(features, targets, a0)))
    value = -math.log1p((1 - rho) * away / (lr * weight)) / math.log(rho) if 0 < rho < 1 else math.nan
    return Bound(f"{_PAPER}, predictor of its code", "t1 ~", value, _step_conditions(features, lr, weight))
