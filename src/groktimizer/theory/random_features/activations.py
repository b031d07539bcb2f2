"""What the limit sees of an activation: its mean, its linear part, the rest and its slope, under a Gaussian."""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from groktimizer.ground.errors import UserError
from groktimizer.ground.names import lookup
from groktimizer.theory.clock.quadratic import Array

_REACH = 12.0  # beyond it a standard Gaussian has no mass in float64
_NODES = 400  # on either side of 0, where an activation may have a kink
_ROUNDING = 1e-12  # relative: a smaller variance is that of the linear activation


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

# Derivatives of those that have one almost everywhere and do not jump.
DERIVATIVES: Mapping[str, Callable[[Array], Array]] = {
    "linear": np.ones_like,
    "relu": lambda u: np.where(u > 0, 1.0, 0.0),
    "tanh": lambda u: 1 - np.tanh(u) ** 2,
    "erf": lambda u: 2 / np.sqrt(np.pi) * np.exp(-(u**2)),
    "square": lambda u: np.sqrt(2) * u,
}


class Coefficients(NamedTuple):
    """Those of σ(u) = μ₀ + μ₁u + μ⋆·(what is orthogonal to both, of variance 1), u ~ N(0, 1).

    Attributes:
        mean: μ₀.
        linear: μ₁ = E σ', of either sign.
        rest: μ⋆ ≥ 0.
        squared_slope: E σ'², at least μ₁² + 2μ⋆²; infinite where σ jumps, not-a-number where it is not known. Only
            the tangent kernel needs it.
    """

    mean: float
    linear: float
    rest: float
    squared_slope: float = math.nan

    @property
    def slope_variance(self) -> float:
        """Var σ' = E σ'² − μ₁²; 0 below rounding."""
        found = self.squared_slope - self.linear**2
        return 0.0 if found < _ROUNDING * self.squared_slope else found


def coefficients(
    activation: str | Callable[[Array], Array], derivative: Callable[[Array], Array] | None = None
) -> Coefficients:
    """Integrate an activation against 1, u and itself under a standard Gaussian; it may have a kink at 0.

    Args:
        activation: One of `ACTIVATIONS`, or a function from an array to one of the same shape.
        derivative: Such a function for σ', of an activation that is one; without it `squared_slope` is not known.

    Returns:
        Its coefficients.

    Raises:
        UserError: If the name is unknown, a named one is given a derivative, or a value is not finite.

    Example:
        >>> relu = coefficients("relu")
        >>> bool(np.allclose(relu, (1 / np.sqrt(2 * np.pi), 0.5, np.sqrt(0.25 - 1 / (2 * np.pi)), 0.5)))
        True
    """
    jumps = False
    if isinstance(activation, str):
        if derivative is not None:
            raise UserError(f"derivative: expected None with activation={activation!r}, whose own is known")
        function, derivative = lookup("activation", activation, ACTIVATIONS), DERIVATIVES.get(activation)
        jumps = derivative is None
    else:
        function = activation
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    u = _REACH * (nodes + 1) / 2
    u = np.concatenate([-u[::-1], u])
    mass = np.concatenate([weights[::-1], weights]) * _REACH / 2 * np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    values = _values("activation", function, u)
    mean, linear, square = (float(mass @ (values * other)) for other in (np.ones_like(u), u, values))
    rest = square - mean**2 - linear**2
    slope = math.inf if jumps else math.nan
    if derivative is not None:
        slope = float(mass @ _values("derivative", derivative, u) ** 2)
    return Coefficients(mean, linear, float(np.sqrt(rest)) if rest > _ROUNDING * square else 0.0, slope)


def _values(name: str, function: Callable[[Array], Array], u: Array) -> Array:
    """A function's values, one for each entry."""
    values = np.asarray(function(u), dtype=np.float64)
    if values.shape != u.shape or not np.isfinite(values).all():
        raise UserError(f"{name}: expected a function from an array to finite numbers, one for each entry")
    return values
