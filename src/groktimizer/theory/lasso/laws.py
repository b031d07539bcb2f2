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


def theorem_2_1(distance: float, lr: float, weight: float, excess: float) -> Bound:
    """The delay of any penalty h: ``||a_t1 - a*||^2 / (alpha beta eta)``, until h exceeds its least value by eta / 2.

    Args:
        distance: ``||a_t1 - a*||_2``.
        lr: alpha.
        weight: beta.
        excess: eta.

    Returns:
        The law.
    """
    return Bound(f"{_PAPER}, Theorem 2.1", "t2 - t1 <=", distance**2 / (lr * weight * excess), ())


def accelerated(distance: float, lr: float, weight: float, excess: float, sharpness: float) -> Bound:
    """The delay of the accelerated method: ``sqrt(2) distance / sqrt(alpha beta eta)``, the square root of the others.

    Ours, from ``f(a_t) - f* <= 2 distance^2 / (alpha (t + 1)^2)`` (Beck and Teboulle 2009, Theorem 4.4): an excess of
    beta eta in the objective is an excess of eta in the penalty at equal fit.

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
    return Bound("ours, from Beck and Teboulle (2009), Theorem 4.4", "t2 - t1 <=", value, (condition,))


def theorem_3_6(features: Array, teacher: Array) -> Bound:
    """What l2 alone leaves: ``||a - a*|| >= ||(I - V V')a*||`` for N < n, whatever its weight and the steps.

    Args:
        features: X, shape (N, n).
        teacher: a*, shape (n,).

    Returns:
        The floor of the absolute error; 0 where the data determine a*.
    """
    seen = np.linalg.lstsq(features, features @ teacher, rcond=None)[0]
    n_samples, n = features.shape
    return Bound(
        f"{_PAPER}, Theorem 3.6",
        "||a - a*|| >=",
        float(np.linalg.norm(teacher - seen)),
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
