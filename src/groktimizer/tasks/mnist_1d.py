"""MNIST-1D: ten shapes in one dimension, shifted, sheared and noisy, 5,000 of them, made and not fetched."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from groktimizer.ground.extras import require
from groktimizer.tasks.images import PART_OF_REFERENCE, ImageTask
from groktimizer.tasks.problem import Problem


@dataclass(frozen=True)
class Mnist1dTask(ImageTask):
    """A two-layer ReLU network on `n_train` of the 5,000 signals of MNIST-1D (arXiv 2011.14439), tested on the rest.

    The package of its authors, mnist1d, makes the signals, 40 numbers each. They are standardised on the training part.

    Attributes:
        n_train: Training signals, 1 … 4999.
        init_scale: Factor on the initial weights; large ones fit before they generalise.
        width: Hidden units.
        loss: One of `LOSSES`.
        batch_size: Samples per step, None for all.
        wrong_labels: Part of the training signals with another class than theirs, in [0, 1).
        level: Part of tuned AdamW's test accuracy (with right labels and the two-layer network) that counts as
            generalised, in [0, 1].
        name: Name in the registry.

    Raises:
        UserError: If an option is out of its range, or mnist1d is not installed.
    """

    n_train: int = 1000
    init_scale: float = 8.0
    width: int = 256
    loss: str = "cross-entropy"
    batch_size: int | None = None
    wrong_labels: float = 0.0
    level: float = PART_OF_REFERENCE
    name: str = "mnist-1d"

    samples: ClassVar[int] = 5000
    pixels: ClassVar[int] = 40
    classes: ClassVar[int] = 10
    # Best cell of AdamW with cross-entropy, of nine (init_scale 1, after 600 steps, mean of two seeds); at 8 level.
    reference: ClassVar[Mapping[int, float]] = {100: 0.238, 300: 0.308, 1000: 0.471, 4000: 0.609}
    default_steps: ClassVar[int] = 10_000
    default_every: ClassVar[int] = 10

    @override
    def build(self, seed: int, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Problem:
        signals, digits = _signals()
        return self.divide(signals, digits, seed, dtype, device)


@cache
def _signals() -> tuple[Tensor, Tensor]:
    """Make the package's own data set, and leave Python's and NumPy's random numbers where they were.

    Returns:
        Signals, shape (5000, 40), float64, and their classes.
    """
    maker = require("mnist1d.data", extra="lab")
    state, numpy_state = random.getstate(), np.random.get_state()
    try:
        made = maker.make_dataset()
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)
    parts = [np.concatenate((made[name], made[f"{name}_test"])) for name in ("x", "y")]
    return torch.from_numpy(parts[0]), torch.from_numpy(parts[1])
