"""What the limit sees of an activation: its mean, its linear part and the rest, under a Gaussian."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from groktimizer.ground.errors import UserError
from groktimizer.ground.names import lookup
from groktimizer.theory.clock.quadratic import Array

_REACH = 12.0  # beyond it a standard Gaussian has no mass in float64
_NODES = 400  # on either side of 0, where an activation may have a kink


def _erf(u: Array) -> Array:
    from scipy.special import erf

    return np.asarray(erf(u))


ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "linear": lambda u: u,
    "relu": lambda u: np.maximum(u, 0.0),
    "tanh": np.tanh,
    "erf": _erf,
    "sign": np.sign,
    "square": lambda u: (u**2 - 1) / np.sqrt(2),
}


class Coefficients(NamedTuple):
    """Those of σ(u) = μ₀ + μ₁u + μ⋆·(what is orthogonal to both, of variance 1), u ~ N(0, 1).

    Attributes:
        mean: μ₀.
        linear: μ₁, of either sign.
        rest: μ⋆ ≥ 0.
    """

    mean: float
    linear: float
    rest: float


def coefficients(activation: str | Callable[[Array], Array]) -> Coefficients:
    """Integrate an activation against 1, u and itself under a standard Gaussian; it may have a kink at 0.

    Args:
        activation: One of `ACTIVATIONS`, or a function from an array to one of the same shape.

    Returns:
        Its coefficients.

    Raises:
        UserError: If the name is unknown or a value is not finite.

    Example:
        >>> relu = coefficients("relu")
        >>> bool(np.allclose(relu, (1 / np.sqrt(2 * np.pi), 0.5, np.sqrt(0.25 - 1 / (2 * np.pi)))))
        True
    """
    function = lookup("activation", activation, ACTIVATIONS) if isinstance(activation, str) else activation
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    u = _REACH * (nodes + 1) / 2
    u = np.concatenate([-u[::-1], u])
    mass = np.concatenate([weights[::-1], weights]) * _REACH / 2 * np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    values = np.asarray(function(u), dtype=np.float64)
    if values.shape != u.shape or not np.isfinite(values).all():
        raise UserError("activation: expected a function from an array to finite numbers, one for each entry")
    mean, linear, square = (float(mass @ (values * other)) for other in (np.ones_like(u), u, values))
    rest = square - mean**2 - linear**2
    return Coefficients(mean, linear, float(np.sqrt(rest)) if rest > 1e-12 * square else 0.0)
