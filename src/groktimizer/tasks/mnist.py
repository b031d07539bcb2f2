"""Handwritten digits of MNIST, 5,000 of them, a thousand to train on: real data that generalises late."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from groktimizer.models import MLP
from groktimizer.tasks._checks import above_zero, at_least_one, generator, one_of
from groktimizer.tasks.criterion import Criterion
from groktimizer.tasks.problem import LOSSES, Batch, Problem, Task, classification
from groktimizer.tasks.tables import TABLES, load, standardise

SAMPLES, PIXELS, CLASSES = TABLES["mnist-5k"].rows, TABLES["mnist-5k"].columns, 10
# Best test accuracy of AdamW with cross-entropy, best cell of six (600 steps, evaluated every 25, mean of two seeds).
REFERENCE = {100: 0.699, 300: 0.826, 1000: 0.899}
PART_OF_REFERENCE = 0.95


@dataclass(frozen=True)
class MnistTask(Task):
    """A two-layer ReLU network on `n_train` of 5,000 images (arXiv 2506.05718, Figure 35), tested on the rest.

    Pixels are standardised on the training part. The images come from the cache of `groktimizer data`; the first run
    fetches them.

    Attributes:
        n_train: Training images, 1 … 4999.
        init_scale: Factor on the initial weights; large ones fit before they generalise.
        width: Hidden units.
        loss: "cross-entropy" or "mse" (one-hot targets, mean over samples and classes).
        batch_size: Samples per step, None for all.
        name: Name in the registry.

    Raises:
        ValueError: If an option is out of its range.
    """

    n_train: int = 1000
    init_scale: float = 8.0
    width: int = 256
    loss: str = "cross-entropy"
    batch_size: int | None = None
    name: str = "mnist"

    default_steps: ClassVar[int] = 10_000
    default_every: ClassVar[int] = 10

    def __post_init__(self) -> None:
        """Check every option."""
        at_least_one(n_train=self.n_train, width=self.width, batch_size=self.batch_size)
        above_zero(init_scale=self.init_scale)
        one_of("loss", self.loss, LOSSES)
        if self.n_train >= SAMPLES:
            raise ValueError(f"n_train={self.n_train}: expected at most {SAMPLES - 1} of the {SAMPLES} images")

    @property
    def memorised(self) -> Criterion:
        """Condition of t1."""
        return Criterion("train_accuracy", 0.99, above=True)

    @property
    def generalised(self) -> Criterion:
        """Condition of t2 and of settled."""
        known = [n for n in REFERENCE if n <= self.n_train]
        best = REFERENCE[max(known) if known else min(REFERENCE)]
        return Criterion("test_accuracy", round(PART_OF_REFERENCE * best, 3), above=True)

    def build(self, seed: int, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Problem:
        """Shuffle and split the images and draw a network.

        Args:
            seed: Seed of split and initial weights.
            dtype: Type of parameters and pixels.
            device: Where network and data are put.

        Returns:
            The problem.
        """
        images, digits = load("mnist-5k")
        order = torch.randperm(SAMPLES, generator=generator(seed, "split"))
        rows, others = order[: self.n_train], order[self.n_train :]
        inputs, held_out = standardise(images[rows], images[others])

        def part(pixels: Tensor, of: Tensor) -> Batch:
            return Batch(pixels.to(device, dtype), digits[of].to(device))

        train, test = part(inputs, rows), part(held_out, others)
        network = MLP(
            (PIXELS, self.width, CLASSES), self.init_scale, generator=generator(seed, "init"), dtype=dtype
        ).to(device)
        objective = LOSSES[self.loss]
        return Problem(network, train, test, objective, classification(train, test, objective), self.batch_size)
