"""Scikit-learn's handwritten digits, few samples, large initialisation: real data that generalises late."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from groktimizer.ground.extras import require
from groktimizer.tasks.images import ImageTask
from groktimizer.tasks.problem import Batch, Problem, cross_entropy


def load() -> tuple[Tensor, Tensor]:
    """Read the images that scikit-learn ships.

    Returns:
        Pixels in [0, 1], shape (1797, 64), float64; classes, shape (1797,), int64.
    """
    images, classes = require("sklearn.datasets", extra="lab").load_digits(return_X_y=True)
    return torch.from_numpy(images) / 16, torch.from_numpy(classes).long()


@dataclass(frozen=True)
class DigitsTask(ImageTask):
    """A two-layer ReLU network on `n_train` of the 1,797 images, tested on the rest.

    Attributes:
        n_train: Training images, 1 … 1796.
        init_scale: Factor on the initial weights; large ones fit before they generalise.
        width: Hidden units.
        batch_size: Samples per step, None for all.
        name: Name in the registry.

    Raises:
        UserError: If an option is out of its range.
    """

    n_train: int = 64
    init_scale: float = 8.0
    width: int = 256
    batch_size: int | None = None
    name: str = "digits"

    samples: ClassVar[int] = 1797
    pixels: ClassVar[int] = 64
    classes: ClassVar[int] = 10
    # Best cell of AdamW's tuning grid (600 steps, evaluated every 10, mean over seeds 0 to 3).
    reference: ClassVar[Mapping[int, float]] = {32: 0.728, 64: 0.879, 128: 0.927, 300: 0.955, 1000: 0.984}
    default_steps: ClassVar[int] = 10_000
    default_every: ClassVar[int] = 5

    @override
    def build(self, seed: int, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Problem:
        images, classes = load()
        train, test = (Batch(images[rows] - 0.5, classes[rows]) for rows in self.split(seed))
        return self.assemble(train, test, cross_entropy, seed, dtype, device)
