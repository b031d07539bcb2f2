"""The same by drawing: samples, features and labels of finite size, solved exactly."""

from dataclasses import dataclass

import numpy as np

from groktimizer.ground.checks import positive, whole
from groktimizer.theory.clock.quadratic import Array
from groktimizer.theory.random_features.activations import ACTIVATIONS, coefficients

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
    """

    samples: int
    inputs: int
    width: int
    activation: str
    signal: float = 1.0
    nonlinear: float = 0.0
    noise: float = 0.0


def simulate(setting: Setting, weight_decay: float, rng: np.random.Generator) -> tuple[float, float]:
    """Draw a problem, fit it, and measure.

    Args:
        setting: Its sizes.
        weight_decay: λ > 0.
        rng: Source of everything drawn.

    Returns:
        Mean squares as in `Errors`: train, of the noisy labels; test, of noiseless ones on 1,000 fresh samples.
    """
    positive(weight_decay=weight_decay)
    for name in ("samples", "inputs", "width"):
        whole(name, getattr(setting, name))
    n, d = setting.samples, setting.inputs
    first = rng.normal(size=(setting.width, d))
    inputs, fresh = rng.normal(size=(n, d)), rng.normal(size=(FRESH, d))
    truth, square = (vector / np.linalg.norm(vector) for vector in rng.normal(size=(2, d)))
    function, mean = ACTIVATIONS[setting.activation], coefficients(setting.activation).mean

    def features(x: Array) -> Array:
        return (function(x @ first.T / np.sqrt(d)) - mean) / np.sqrt(setting.width)

    def labels(x: Array) -> Array:
        bent = ((x @ square) ** 2 - 1) / np.sqrt(2)
        return np.sqrt(setting.signal) * (x @ truth) + np.sqrt(setting.nonlinear) * bent

    phi = features(inputs)
    noisy = labels(inputs) + np.sqrt(setting.noise) * rng.normal(size=n)
    if setting.width < n:  # the smaller of the two systems
        theta = np.linalg.solve(phi.T @ phi + n * weight_decay * np.eye(setting.width), phi.T @ noisy)
    else:
        theta = phi.T @ np.linalg.solve(phi @ phi.T + n * weight_decay * np.eye(n), noisy)
    train, test = phi @ theta - noisy, features(fresh) @ theta - labels(fresh)
    return float(train @ train / n), float(test @ test / FRESH)
