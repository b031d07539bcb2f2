"""Processor time of a fit on as many rows and columns as the leukemia table has, on one thread, beyond imports."""

import time
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from measuring import Ratio, Table

from groktimizer.estimators import GrokClassifier

ROWS, COLUMNS, TELLING = 38, 5_000, 50


def table_like_leukemia() -> tuple[np.ndarray, np.ndarray]:
    """27 rows of one class and 11 of the other; in 50 columns their means are 1.5 standard deviations apart."""
    labels = (np.arange(ROWS) >= 27).astype(int)
    features = np.random.default_rng(0).standard_normal((ROWS, COLUMNS))
    features[:, :TELLING] += 1.5 * labels[:, None]
    return features, labels


@pytest.mark.parametrize(
    ("options", "target"),
    [({"penalty": "l2", "level": "interpolate"}, 5.0), ({"penalty": "auto", "level": "auto"}, 30.0)],
)
def test_fit(options: dict[str, Any], target: float, table: Table) -> None:
    features, labels = table_like_leukemia()
    torch.optim.SGD([torch.zeros(1)])  # the first optimizer of a process imports torch._dynamo: 3 seconds
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        GrokClassifier(random_state=0, **options).fit(features, labels)
    words = ", ".join(f"{name} {value}" for name, value in options.items())
    table.add(Ratio(f"fit of 38 x 5,000: {words}", time.process_time() - start, target, "s"))
