"""Classification on a finite set of symbols: a table of an operation × a network × a loss."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from groktimizer.ground.checks import at_least_one, fraction, is_number, whole, word
from groktimizer.ground.errors import UserError
from groktimizer.models import NETWORKS, Shape, check_shape
from groktimizer.tasks.criterion import Criterion, accuracy
from groktimizer.tasks.labels import spoil
from groktimizer.tasks.operations import OPERATIONS, table
from groktimizer.tasks.permutations import ORDER
from groktimizer.tasks.problem import LOSSES, Batch, Problem, classification
from groktimizer.tasks.streams import generator
from groktimizer.tasks.task import Task

LARGEST_P = 4096


def is_prime(p: int) -> bool:
    """Say whether a number is prime, by trial division.

    Args:
        p: A whole number.

    Returns:
        True if it is prime.

    Example:
        >>> [p for p in range(12) if is_prime(p)]
        [2, 3, 5, 7, 11]
    """
    return p > 1 and all(p % d for d in range(2, int(p**0.5) + 1))


@dataclass(frozen=True)
class FiniteTask(Task):
    """An operation a ∘ b on the numbers mod p, learnt from a part of all pairs; the answer is a class.

    Attributes:
        name: The operation, one of `OPERATIONS`.
        p: Modulus; prime for division.
        train_fraction: Part of all pairs that is trained on (rounded down), inside (0, 1).
        model: The network, one of `models.NETWORKS`; with "matrix-mlp", width 64 and batch_size 2048 it is that of
            arXiv 2506.05718.
        width: Width of the network; a square number where embeddings are multiplied as matrices.
        heads: Attention heads of the transformer.
        loss: One of `LOSSES`: "cross-entropy", "mse" (one-hot targets, mean over samples and classes), "hinge" or
            "stablemax".
        batch_size: Samples per step, None for all.
        combine: How the MLP makes one of two embeddings, one of `models.modular.COMBINE`; None, here and below, is the
            network's own.
        tables: Tables of embeddings of the MLP, 1 or 2.
        activation: Of the hidden units, one of `models.activations.ACTIVATIONS`.
        layers: Blocks of the transformer.
        norm: Whether the transformer has LayerNorms, or the MLP one before its read-out.
        tied: Whether the transformer reads out with its table of embeddings.
        wrong_labels: Part of the training pairs with another answer than theirs, in [0, 1).

    Raises:
        UserError: If an option is out of its range.
    """

    name: str = "modular-addition"
    p: int = 97
    train_fraction: float = 0.4
    model: str = "mlp"
    width: int = 128
    heads: int = 4
    loss: str = "cross-entropy"
    batch_size: int | None = None
    combine: str | None = None
    tables: int | None = None
    activation: str | None = None
    layers: int | None = None
    norm: bool | None = None
    tied: bool | None = None
    wrong_labels: float = 0.0

    default_steps: ClassVar[int] = 15_000
    default_every: ClassVar[int] = 5
    bf16: ClassVar[bool] = True
    settings: ClassVar[str] = "model=mlp,train_fraction=0.4;train_fraction=0.3;train_fraction=0.2;model=transformer"

    def __post_init__(self) -> None:
        """Check every option."""
        word("name", self.name, OPERATIONS)
        whole("p", self.p, 2, LARGEST_P)
        if OPERATIONS[self.name].order not in {None, self.p}:
            raise UserError(f"p={self.p}: {self.name} has {OPERATIONS[self.name].order} symbols")
        if OPERATIONS[self.name].divides and not is_prime(self.p):
            raise UserError(f"p={self.p}: {self.name} needs a prime p (otherwise some b have no inverse)")
        if not (is_number(self.train_fraction) and 0 < self.train_fraction < 1):
            raise UserError(f"train_fraction={self.train_fraction!r}: expected a number inside (0, 1)")
        word("loss", self.loss, LOSSES)
        at_least_one(batch_size=self.batch_size)
        check_shape(self.model, self.shape)
        fraction(wrong_labels=self.wrong_labels)
        if not 0 < self.train_size < self.size:
            raise UserError(
                f"train_fraction={self.train_fraction}: leaves {self.train_size} of {self.size} pairs for training, "
                f"expected at least 1 and fewer than {self.size}"
            )

    @property
    def shape(self) -> Shape:
        """What the network is made of."""
        return Shape(
            self.width, self.heads, self.combine, self.tables, self.activation, self.layers, self.norm, self.tied
        )

    @property
    def size(self) -> int:
        """Number of all pairs."""
        return OPERATIONS[self.name].size(self.p)

    @property
    def train_size(self) -> int:
        """Number of training pairs."""
        return int(self.train_fraction * self.size + 1e-9)

    @override
    def least_bytes(self) -> int:
        """Estimate the memory that a run takes at least: the pairs, the network twice, a training or a test pass."""
        width, network = self.width, NETWORKS[self.model].weights(self.p, self.shape)
        rows = self.train_size if self.batch_size is None else min(self.batch_size, self.train_size)
        step, test = rows * (3 * width + 2 * self.p), (self.size - self.train_size) * 2 * self.p
        return 24 * self.size + 8 * network + 4 * max(step, test)

    @property
    @override
    def memorised(self) -> Criterion:
        return accuracy("train", 0.99, self.wrong_labels)

    @property
    @override
    def generalised(self) -> Criterion:
        return accuracy("test", 0.99, self.wrong_labels)

    @property
    @override
    def secondary(self) -> Criterion:
        return accuracy("test", 0.95, self.wrong_labels)

    @override
    def build(self, seed: int, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Problem:
        pairs, answers = table(self.name, self.p)
        order = torch.randperm(self.size, generator=generator(seed, "split"))

        def part(rows: Tensor, wrong: float) -> Batch:
            return Batch(pairs[rows].to(device), spoil(answers[rows], wrong, self.p, seed).to(device))

        train, test = part(order[: self.train_size], self.wrong_labels), part(order[self.train_size :], 0.0)
        objective = LOSSES[self.loss]
        return Problem(
            model=NETWORKS[self.model].make(self.p, self.shape, generator(seed, "init"), dtype).to(device),
            train=train,
            test=test,
            objective=objective,
            measure=classification(train, test, objective),
            batch_size=self.batch_size,
        )


@dataclass(frozen=True)
class PermutationTask(FiniteTask):
    """An operation on the 120 permutations of five things, the group S5, learnt from a part of all pairs.

    ab is not ba: where no `tables` are given the MLP has two, since with one its product is the same both ways.

    Attributes:
        name: The operation, one of `OPERATIONS` on permutations.
        p: Their number.
        train_fraction: As in `FiniteTask`.
        batch_size: Samples per step, None for all.
    """

    name: str = "s5-composition"
    p: int = ORDER
    train_fraction: float = 0.7
    batch_size: int | None = 1024

    fixed: ClassVar[frozenset[str]] = frozenset({"name", "p"})
    settings: ClassVar[str] = ""

    @property
    @override
    def shape(self) -> Shape:
        shape = super().shape
        return replace(shape, tables=2) if self.model == "mlp" and self.tables is None else shape
