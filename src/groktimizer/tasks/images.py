"""What the tasks of real images share: few of them to train on, and a two-layer network with large initial weights."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from groktimizer.data import standardise
from groktimizer.ground.checks import at_least_one, fraction, part, positive, word
from groktimizer.ground.errors import UserError
from groktimizer.models import MLP
from groktimizer.tasks.criterion import Criterion, accuracy
from groktimizer.tasks.labels import spoil
from groktimizer.tasks.problem import LOSSES, Batch, Problem, classification
from groktimizer.tasks.streams import generator
from groktimizer.tasks.task import Task

PART_OF_REFERENCE = 0.95


class ImageTask(Task):
    """Base of tasks with `n_train` of all images to train on and the rest to test on.

    Generalised means a test accuracy of `level` times what tuned AdamW reaches (`reference`) with the largest number of
    images listed that is not above `n_train`.

    Attributes:
        samples: Number of images.
        pixels: Of an image.
        classes: Number of classes.
        reference: Test accuracy of tuned AdamW by the number of training images.
        n_train: Training images.
        init_scale: Factor on the initial weights.
        width: Hidden units.
        loss: One of `LOSSES`.
        wrong_labels: Part of the training images with another class than theirs, in [0, 1).
        level: The part of `reference` that counts as generalised.
        batch_size: Samples per step, None for all.
    """

    samples: ClassVar[int]
    pixels: ClassVar[int]
    classes: ClassVar[int]
    reference: ClassVar[Mapping[int, float]]
    n_train: int
    init_scale: float
    width: int
    loss: str
    wrong_labels: float
    level: float
    batch_size: int | None

    def __post_init__(self) -> None:
        """Check every option."""
        at_least_one(n_train=self.n_train, width=self.width, batch_size=self.batch_size)
        positive(init_scale=self.init_scale)
        word("loss", self.loss, LOSSES)
        fraction(wrong_labels=self.wrong_labels)
        part(level=self.level)
        if self.n_train >= self.samples:
            raise UserError(f"n_train={self.n_train}: expected at most {self.samples - 1} of the {self.samples} images")

    @property
    @override
    def memorised(self) -> Criterion:
        return accuracy("train", 0.99, self.wrong_labels)

    @property
    @override
    def generalised(self) -> Criterion:
        known = [n for n in self.reference if n <= self.n_train]
        best = self.reference[max(known) if known else min(self.reference)]
        return accuracy("test", self.level * best, self.wrong_labels)

    @override
    def least_bytes(self) -> int:
        """Estimate the memory that a run takes at least: images, the network twice, a test pass."""
        network = self.width * (self.pixels + self.classes)
        return 4 * (self.samples * self.pixels + 2 * network + (self.samples - self.n_train) * self.width)

    def split(self, seed: int) -> tuple[Tensor, Tensor]:
        """Shuffle the images.

        Args:
            seed: Seed of the shuffle.

        Returns:
            Indices to train on, shape (n_train,), and to test on, shape (samples − n_train,).
        """
        order = torch.randperm(self.samples, generator=generator(seed, "split"))
        return order[: self.n_train], order[self.n_train :]

    def network(self, seed: int, dtype: torch.dtype) -> nn.Module:
        """Draw the network.

        Args:
            seed: Seed of the initial weights.
            dtype: Type of the parameters.

        Returns:
            From images, shape (n, pixels), to logits, shape (n, classes).
        """
        sizes = (self.pixels, self.width, self.classes)
        return MLP(sizes, self.init_scale, generator=generator(seed, "init"), dtype=dtype)

    def divide(
        self, images: Tensor, classes: Tensor, seed: int, dtype: torch.dtype, device: str | torch.device
    ) -> Problem:
        """Split the images, standardise pixels on the training part, and assemble the problem.

        Args:
            images: All of them, shape (samples, pixels).
            classes: Theirs, shape (samples,).
            seed: Seed of the run.
            dtype: Type of parameters and pixels.
            device: Where network and data are put.

        Returns:
            The problem.
        """
        rows, others = self.split(seed)
        inputs, held_out = standardise(images[rows], images[others])
        train, test = Batch(inputs, classes[rows]), Batch(held_out, classes[others])
        return self.assemble(train, test, seed, dtype, device)

    def assemble(self, train: Batch, test: Batch, seed: int, dtype: torch.dtype, device: str | torch.device) -> Problem:
        """Draw network and wrong labels and put everything in its place.

        Args:
            train: Images, shape (n_train, pixels), and classes.
            test: The others.
            seed: Seed of the initial weights and the wrong labels.
            dtype: Type of parameters and pixels.
            device: Where network and data are put.

        Returns:
            The problem.
        """
        train = Batch(train.inputs, spoil(train.targets, self.wrong_labels, self.classes, seed))
        train, test = (Batch(batch.inputs.to(device, dtype), batch.targets.to(device)) for batch in (train, test))
        network, objective = self.network(seed, dtype).to(device), LOSSES[self.loss]
        return Problem(network, train, test, objective, classification(train, test, objective), self.batch_size)
