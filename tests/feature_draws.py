"""Draws of finite size beside the limit of many features, for the tests of random and of tangent features."""

import numpy as np

from groktimizer.theory.random_features import RandomFeatures, Setting, coefficients, simulate


def agree(setting: Setting, decay: float, *, draws: int, size: float, seed: int, train: bool = True) -> None:
    """Within four standard errors and the part `size` for the finite size: the test error, and that of training."""
    rng = np.random.default_rng(seed)
    drawn = np.array([simulate(setting, decay, rng) for _ in range(draws)])
    sigma = coefficients(setting.activation)
    parts = setting.signal, setting.nonlinear, setting.noise, setting.output_scale
    found = RandomFeatures(setting.samples, setting.inputs, sigma, *parts).errors(setting.width, decay)
    start = 0 if train else 1
    for values, wanted in zip(drawn.T[start:], (found.train, found.test)[start:], strict=True):
        error = values.std(ddof=1) / np.sqrt(draws)
        assert abs(values.mean() - wanted) < 4 * error + size * wanted
        assert error < 0.1 * wanted
