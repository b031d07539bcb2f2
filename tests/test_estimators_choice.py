"""What inner folds choose: the level of numbers and of classes, and the penalty."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from groktimizer.estimators import GrokRegressor, choice
from groktimizer.estimators.choice import LEVELS, _first  # pyright: ignore[reportPrivateUsage]
from groktimizer.estimators.path import Shape
from groktimizer.estimators.table import Table


def test_numbers_take_the_best_level_and_classes_the_first_within_an_error():
    draw = np.random.default_rng(0).normal(size=50)
    draw = (draw - draw.mean()) / draw.std()
    scored = [
        (level, mean + spread * draw) for level, mean, spread in ((0.02, 1.1, 1.0), (0.1, 1.0, 0.0), (0.4, 1.2, 0.0))
    ]
    error = 1 / math.sqrt(50)  # of the first level's difference to the second, 0.14; the difference is 0.1
    assert _first(scored, errors=0.0) == 0.1
    assert _first(scored, errors=1.0) == 0.02
    assert _first(scored, errors=0.99 * 0.1 / error) == 0.1
    assert _first(scored, errors=1.01 * 0.1 / error) == 0.02


@pytest.mark.slow
@pytest.mark.parametrize("noise, levels", [(0.0, LEVELS[:2]), (3.0, LEVELS[3:])])
def test_the_level_of_numbers_follows_their_noise(noise: float, levels: tuple[float, ...]):
    draw = np.random.default_rng(1)
    inputs = draw.normal(size=(60, 4))
    targets = inputs[:, 0] + noise * draw.normal(size=60)
    model = GrokRegressor(16, penalty="l2", random_state=0).fit(inputs, targets)
    assert model.level_ in levels


@pytest.mark.parametrize("gain, chosen", [(0.05, "l2"), (0.5, "l1"), (-0.5, "l2")])
def test_another_penalty_has_to_be_better_by_a_standard_error(
    monkeypatch: pytest.MonkeyPatch, gain: float, chosen: str
):
    """Squared errors are 1 under l2 and 1 − gain ± 1 under l1, whose standard error over 40 rows is 0.16."""
    targets = np.zeros((40, 1))
    signs = np.resize([1.0, -1.0], 40)
    table = Table(signs[:, None], targets, np.ones(40))

    def stops(table: Table, shape: Shape, levels: tuple[float, ...], seed: int):
        for level in levels:
            yield SimpleNamespace(level=level, layers=shape.penalty), lambda inputs: inputs

    def outputs(penalty: str, inputs: np.ndarray) -> np.ndarray:
        return np.ones_like(inputs) if penalty == "l2" else np.sqrt(1 - gain + (1 - abs(gain)) * inputs)

    monkeypatch.setattr(choice, "stops", stops)
    monkeypatch.setattr(choice, "outputs", outputs)
    found = choice.choose(table, Shape((8,), "l2", False, 500, None, "cpu"), ["l2", "l1"], (0.02,), 0)
    assert found.penalty == chosen
    assert found.scores["l1", 0.02] == pytest.approx(1 - gain)
