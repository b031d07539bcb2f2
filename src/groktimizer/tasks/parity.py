"""The parity of a few of many bits, for an MLP, or of all bits of a string, for a recurrent network."""

from dataclasses import dataclass
from random import Random
from typing import ClassVar

import torch
from torch import nn
from typing_extensions import override

from groktimizer.ground.checks import at_least_one, fraction, whole, word
from groktimizer.ground.errors import UserError
from groktimizer.ground.seeds import derive_seed
from groktimizer.models import CELLS, MLP, Recurrent
from groktimizer.tasks.criterion import Criterion, accuracy
from groktimizer.tasks.labels import spoil
from groktimizer.tasks.problem import LOSSES, Batch, Problem, classification
from groktimizer.tasks.streams import generator
from groktimizer.tasks.task import Task

LONGEST = 62  # bits of a number of 64 with its sign
TEST_SAMPLES = 2000
CLASSES = 2
MODELS = ("mlp", *CELLS)


@dataclass(frozen=True)
class ParityTask(Task):
    """The parity of the first `k` of `n` bits, ±1 each, from `n_train` different strings; tested on up to 2,000 others.

    After arXiv 2303.11873, which has n = 40, 1,000 strings and the hinge loss. A recurrent network reads bit by bit.

    Attributes:
        n: Bits of a string, 1 … 62.
        k: Bits that count, 1 … n. Which ones is no matter to the network, whose weights are drawn alike.
        n_train: Training strings, fewer than 2ⁿ.
        model: "mlp" (one hidden layer of ReLU), "gru" or "lstm".
        width: Hidden units, or size of the state.
        loss: One of `LOSSES`.
        wrong_labels: Part of the training strings with the other parity, in [0, 1).
        batch_size: Samples per step, None for all.
        name: Name in the registry.

    Raises:
        UserError: If an option is out of its range.
    """

    n: int = 20
    k: int = 3
    n_train: int = 600
    model: str = "mlp"
    width: int = 128
    loss: str = "cross-entropy"
    wrong_labels: float = 0.0
    batch_size: int | None = None
    name: str = "bit-parity"

    default_steps: ClassVar[int] = 10_000
    default_every: ClassVar[int] = 10

    def __post_init__(self) -> None:
        """Check every option."""
        whole("n", self.n, 1, LONGEST)
        whole("k", self.k, 1, self.n)
        at_least_one(n_train=self.n_train, width=self.width, batch_size=self.batch_size)
        word("model", self.model, MODELS)
        word("loss", self.loss, LOSSES)
        fraction(wrong_labels=self.wrong_labels)
        if self.n_train >= 2**self.n:
            raise UserError(f"n_train={self.n_train}: expected fewer than the {2**self.n} strings of n={self.n} bits")

    @property
    @override
    def memorised(self) -> Criterion:
        return accuracy("train", 0.99, self.wrong_labels)

    @property
    @override
    def generalised(self) -> Criterion:
        return accuracy("test", 0.99, self.wrong_labels)

    @override
    def least_bytes(self) -> int:
        """Estimate the memory that a run takes at least: strings, a hidden layer twice, a training pass."""
        return 4 * (self.n_train * self.n + 2 * self.n * self.width + self.n_train * self.width)

    def strings(self, seed: int) -> torch.Tensor:
        """Draw different strings, those to train on first.

        Args:
            seed: Seed of the draw.

        Returns:
            Bits 0 and 1, shape (samples, n), int64.
        """
        everything = 2**self.n
        drawn = Random(derive_seed(seed, "strings")).sample(
            range(everything), min(self.n_train + TEST_SAMPLES, everything)
        )
        return torch.tensor(drawn).unsqueeze(1) >> torch.arange(self.n) & 1

    @override
    def build(self, seed: int, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Problem:
        network = self._network(generator(seed, "init"), dtype).to(device)
        bits = self.strings(seed)
        inputs, classes = (2 * bits - 1).to(device, dtype), bits[:, : self.k].sum(1) % 2
        seen = self.n_train
        right = spoil(classes[:seen], self.wrong_labels, CLASSES, seed)
        train, test = Batch(inputs[:seen], right.to(device)), Batch(inputs[seen:], classes[seen:].to(device))
        objective = LOSSES[self.loss]
        return Problem(network, train, test, objective, classification(train, test, objective), self.batch_size)

    def _network(self, source: torch.Generator, dtype: torch.dtype) -> nn.Module:
        if self.model == "mlp":
            return MLP((self.n, self.width, CLASSES), generator=source, dtype=dtype)
        return Recurrent(self.model, self.width, CLASSES, generator=source, dtype=dtype)
