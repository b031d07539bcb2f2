"""The same by drawing: samples, features and labels of finite size, solved exactly."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from groktimizer.ground.checks import not_negative, positive, whole
from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.quadratic import Array
from groktimizer.theory.random_features.activations import ACTIVATIONS, DERIVATIVES, coefficients

FRESH = 1000  # samples on which the test error is taken


@dataclass(frozen=True)
class Setting:
    """A problem of finite size.

    Attributes:
        samples: n.
        inputs: d.
        width: N.
        activation: One of `ACTIVATIONS`.
        signal: ‖β‖².
        nonlinear: Variance of g(x) = √nonlinear·(⟨e, x⟩² − 1)/√2, e a unit vector.
        noise: Variance of the label noise.
        output_scale: s; above 0 the features are the N(d + 1) of the tangent kernel.
    """

    samples: int
    inputs: int
    width: int
    activation: str
    signal: float = 1.0
    nonlinear: float = 0.0
    noise: float = 0.0
    output_scale: float = 0.0


@dataclass(frozen=True)
class _Drawn:
    """First-layer weights W (N, d), and what they make of inputs (m, d)."""

    weights: Array
    function: Callable[[Array], Array]
    derivative: Callable[[Array], Array] | None
    mean: float
    scale: float

    def features(self, x: Array) -> Array:
        """All of them, (m, N) or (m, N(d + 1))."""
        second = (self.function(self._seen(x)) - self.mean) / np.sqrt(len(self.weights))
        if self.derivative is None:
            return second
        first = self._slopes(x, self.derivative)[:, :, None] * (x / np.sqrt(x.shape[1]))[:, None, :]
        return np.concatenate([second, first.reshape(len(x), -1)], axis=1)

    def kernel(self, x: Array, other: Array) -> Array:
        """Inner products of inputs' features with those of others; the N·d of the first layer are not formed."""
        seconds = [(self.function(self._seen(y)) - self.mean) / np.sqrt(len(self.weights)) for y in (x, other)]
        found = seconds[0] @ seconds[1].T
        if self.derivative is None:
            return found
        slopes = [self._slopes(y, self.derivative) for y in (x, other)]
        return found + slopes[0] @ slopes[1].T * (x @ other.T / x.shape[1])

    def _seen(self, x: Array) -> Array:
        return x @ self.weights.T / np.sqrt(x.shape[1])

    def _slopes(self, x: Array, derivative: Callable[[Array], Array]) -> Array:
        return self.scale * derivative(self._seen(x)) / np.sqrt(len(self.weights))


def simulate(setting: Setting, weight_decay: float, rng: np.random.Generator) -> tuple[float, float]:
    """Draw a problem, fit it, and measure.

    Args:
        setting: Its sizes.
        weight_decay: λ > 0.
        rng: Source of everything drawn.

    Returns:
        Mean squares as in `Errors`: train, of the noisy labels; test, of noiseless ones on 1,000 fresh samples.

    Raises:
        UserError: If a size, λ or s is not accepted, or σ jumps and s > 0.
    """
    positive(weight_decay=weight_decay)
    not_negative(output_scale=setting.output_scale)
    for name in ("samples", "inputs", "width"):
        whole(name, getattr(setting, name))
    if setting.output_scale and setting.activation in ACTIVATIONS and setting.activation not in DERIVATIVES:
        raise UserError(f"activation={setting.activation!r}: jumps, with an output_scale expected one that does not")
    n, d = setting.samples, setting.inputs
    first = rng.normal(size=(setting.width, d))
    inputs, fresh = rng.normal(size=(n, d)), rng.normal(size=(FRESH, d))
    truth, square = (vector / np.linalg.norm(vector) for vector in rng.normal(size=(2, d)))
    derivative = DERIVATIVES[setting.activation] if setting.output_scale else None
    mean = coefficients(setting.activation).mean
    drawn = _Drawn(first, ACTIVATIONS[setting.activation], derivative, mean, setting.output_scale)

    def labels(x: Array) -> Array:
        bent = ((x @ square) ** 2 - 1) / np.sqrt(2)
        return np.sqrt(setting.signal) * (x @ truth) + np.sqrt(setting.nonlinear) * bent

    noisy = labels(inputs) + np.sqrt(setting.noise) * rng.normal(size=n)
    parameters = setting.width * (d + 1 if setting.output_scale else 1)
    if parameters < n:  # the smaller of the two systems
        phi = drawn.features(inputs)
        theta = np.linalg.solve(phi.T @ phi + n * weight_decay * np.eye(parameters), phi.T @ noisy)
        train, found = phi @ theta - noisy, drawn.features(fresh) @ theta
    else:
        dual = np.linalg.solve(drawn.kernel(inputs, inputs) + n * weight_decay * np.eye(n), noisy)
        train, found = -n * weight_decay * dual, drawn.kernel(fresh, inputs) @ dual
    test = found - labels(fresh)
    return float(train @ train / n), float(test @ test / FRESH)
