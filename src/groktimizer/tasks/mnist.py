"""Handwritten digits of MNIST, 5,000 of them, a thousand to train on: real data that generalises late."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from typing_extensions import override

from groktimizer.data import TABLES, load
from groktimizer.tasks.images import PART_OF_REFERENCE, ImageTask
from groktimizer.tasks.problem import Problem


@dataclass(frozen=True)
class MnistTask(ImageTask):
    """A two-layer ReLU network on `n_train` of 5,000 images (arXiv 2506.05718, Figure 35), tested on the rest.

    Pixels are standardised on the training part. The images come from the cache of `groktimizer data`; the first run
    fetches them.

    Attributes:
        n_train: Training images, 1 … 4999.
        init_scale: Factor on the initial weights; large ones fit before they generalise.
        width: Hidden units.
        loss: One of `LOSSES`.
        batch_size: Samples per step, None for all.
        wrong_labels: Part of the training images with another class than theirs, in [0, 1).
        level: Part of tuned AdamW's test accuracy (with right labels and the two-layer network) that counts as
            generalised, in [0, 1].
        name: Name in the registry.

    Raises:
        UserError: If an option is out of its range.
    """

    n_train: int = 1000
    init_scale: float = 8.0
    width: int = 256
    loss: str = "cross-entropy"
    batch_size: int | None = None
    wrong_labels: float = 0.0
    level: float = PART_OF_REFERENCE
    name: str = "mnist"

    samples: ClassVar[int] = TABLES["mnist-5k"].rows
    pixels: ClassVar[int] = TABLES["mnist-5k"].columns
    classes: ClassVar[int] = 10
    # Best cell of AdamW with cross-entropy, of six (600 steps, evaluated every 25, mean of two seeds).
    reference: ClassVar[Mapping[int, float]] = {100: 0.699, 300: 0.826, 1000: 0.899}
    default_steps: ClassVar[int] = 10_000
    default_every: ClassVar[int] = 10

    @override
    def build(self, seed: int, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Problem:
        images, digits = load("mnist-5k")
        return self.divide(images, digits, seed, dtype, device)
