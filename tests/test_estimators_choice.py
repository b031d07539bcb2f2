"""What inner folds choose: the level of numbers and of classes."""

import math

import numpy as np
import pytest

from groktimizer.estimators import GrokRegressor
from groktimizer.estimators.choice import LEVELS, _smallest  # pyright: ignore[reportPrivateUsage]


def test_numbers_take_the_best_level_and_classes_the_smallest_within_an_error():
    draw = np.random.default_rng(0).normal(size=50)
    draw = (draw - draw.mean()) / draw.std()
    scored = [
        (level, mean + spread * draw) for level, mean, spread in ((0.02, 1.1, 1.0), (0.1, 1.0, 0.0), (0.4, 1.2, 0.0))
    ]
    error = 1 / math.sqrt(50)  # of the first level's difference to the second, 0.14; the difference is 0.1
    assert _smallest(scored, errors=0.0) == 0.1
    assert _smallest(scored, errors=1.0) == 0.02
    assert _smallest(scored, errors=0.99 * 0.1 / error) == 0.1
    assert _smallest(scored, errors=1.01 * 0.1 / error) == 0.02


@pytest.mark.slow
@pytest.mark.parametrize("noise, levels", [(0.0, LEVELS[:2]), (3.0, LEVELS[3:])])
def test_the_level_of_numbers_follows_their_noise(noise: float, levels: tuple[float, ...]):
    draw = np.random.default_rng(1)
    inputs = draw.normal(size=(60, 4))
    targets = inputs[:, 0] + noise * draw.normal(size=60)
    model = GrokRegressor(16, penalty="l2", random_state=0).fit(inputs, targets)
    assert model.level_ in levels
