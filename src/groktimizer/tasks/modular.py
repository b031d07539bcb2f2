"""Modular arithmetic: all pairs (a, b), a part of them for training, the class is a ∘ b mod p."""

from dataclasses import dataclass
from math import isqrt
from typing import ClassVar

import torch
from torch import Tensor, nn

from groktimizer.ground.errors import UserError
from groktimizer.models import ModularMLP, ModularTransformer
from groktimizer.tasks._checks import at_least_one, generator, is_number, is_whole, one_of
from groktimizer.tasks.criterion import Criterion
from groktimizer.tasks.problem import LOSSES, Batch, Problem, Task, classification

OPERATIONS = ("modular-addition", "modular-subtraction", "modular-multiplication", "modular-division")
MODELS = ("mlp", "matrix-mlp", "transformer")
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


def table(operation: str, p: int) -> Batch:
    """List every question and its answer.

    Args:
        operation: Name of the task.
        p: Modulus; prime for division, where b = 0 is left out and the answer c solves b·c = a.

    Returns:
        Pairs, shape (n, 2), and answers, shape (n,), n = p² (division: p(p − 1)); int64.

    Example:
        >>> pairs, answers = table("modular-division", 5)
        >>> bool((pairs[:, 1] * answers % 5 == pairs[:, 0]).all())
        True
    """
    pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))
    if operation == "modular-division":
        pairs = pairs[pairs[:, 1] != 0]
    a, b = pairs.unbind(1)
    match operation:
        case "modular-addition":
            answers = (a + b) % p
        case "modular-subtraction":
            answers = (a - b) % p
        case "modular-multiplication":
            answers = a * b % p
        case _:
            inverse = torch.tensor([0] + [pow(x, -1, p) for x in range(1, p)])
            answers = a * inverse[b] % p
    return Batch(pairs, answers)


@dataclass(frozen=True)
class ModularTask(Task):
    """One operation mod p.

    Attributes:
        name: The operation, one of `OPERATIONS`.
        p: Modulus; prime for division.
        train_fraction: Part of all pairs that is trained on (rounded down), inside (0, 1).
        model: "mlp" (`ModularMLP`), "matrix-mlp" (the same with two tables, a product of matrices and no biases: the
            network of arXiv 2506.05718, there with width 64 and batch_size 2048) or "transformer"
            (`ModularTransformer`).
        width: Width of the network; a square number for "matrix-mlp".
        heads: Attention heads of the transformer.
        loss: "cross-entropy" or "mse" (one-hot targets, mean over samples and classes).
        batch_size: Samples per step, None for all.

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

    default_steps: ClassVar[int] = 15_000
    default_every: ClassVar[int] = 5

    def __post_init__(self) -> None:
        """Check every option."""
        one_of("name", self.name, OPERATIONS)
        if not (is_whole(self.p) and 2 <= self.p <= LARGEST_P):
            raise UserError(f"p={self.p!r}: expected a whole number from 2 to {LARGEST_P}")
        if self.name == "modular-division" and not is_prime(self.p):
            raise UserError(f"p={self.p}: modular-division needs a prime p (otherwise some b have no inverse)")
        if not (is_number(self.train_fraction) and 0 < self.train_fraction < 1):
            raise UserError(f"train_fraction={self.train_fraction!r}: expected a number inside (0, 1)")
        one_of("model", self.model, MODELS)
        one_of("loss", self.loss, LOSSES)
        at_least_one(width=self.width, heads=self.heads, batch_size=self.batch_size)
        if self.model == "transformer" and self.width % self.heads:
            raise UserError(f"heads={self.heads}: expected a divisor of width={self.width}")
        if self.model == "matrix-mlp" and isqrt(self.width) ** 2 != self.width:
            raise UserError(f"width={self.width}: matrix-mlp needs a square number, such as 64")
        if not 0 < self.train_size < self.size:
            raise UserError(
                f"train_fraction={self.train_fraction}: leaves {self.train_size} of {self.size} pairs for training, "
                f"expected at least 1 and fewer than {self.size}"
            )

    @property
    def size(self) -> int:
        """Number of all pairs."""
        return self.p * (self.p - 1) if self.name == "modular-division" else self.p * self.p

    @property
    def train_size(self) -> int:
        """Number of training pairs."""
        return int(self.train_fraction * self.size + 1e-9)

    def least_bytes(self) -> int:
        """Estimate the memory that a run takes at least: the pairs, the network twice, a training or a test pass."""
        width, transformer = self.width, self.model == "transformer"
        network = 2 * self.p * width + (12 if transformer else 1) * width * width
        rows = self.train_size if self.batch_size is None else min(self.batch_size, self.train_size)
        step, test = rows * (3 * width + 2 * self.p), (self.size - self.train_size) * 2 * self.p
        return 24 * self.size + 8 * network + 4 * max(step, test)

    @property
    def memorised(self) -> Criterion:
        """Condition of t1."""
        return Criterion("train_accuracy", 0.99, above=True)

    @property
    def generalised(self) -> Criterion:
        """Condition of t2 and of settled."""
        return Criterion("test_accuracy", 0.99, above=True)

    @property
    def secondary(self) -> Criterion | None:
        """Condition of the second column, if any."""
        return Criterion("test_accuracy", 0.95, above=True)

    def _network(self, source: torch.Generator, dtype: torch.dtype) -> nn.Module:
        """Make the network.

        Args:
            source: Source of its initial weights.
            dtype: Type of its parameters.

        Returns:
            The network, on the CPU.
        """
        if self.model == "mlp":
            return ModularMLP(self.p, self.width, generator=source, dtype=dtype)
        if self.model == "matrix-mlp":
            return ModularMLP(
                self.p, self.width, combine="matrix", tables=2, biases=False, generator=source, dtype=dtype
            )
        return ModularTransformer(self.p, self.width, self.heads, generator=source, dtype=dtype)

    def build(self, seed: int, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Problem:
        """Split all pairs and draw a network.

        Args:
            seed: Seed of split and initial weights; the split depends on nothing else but the number of pairs.
            dtype: Type of the parameters.
            device: Where network and data are put.

        Returns:
            The problem.
        """
        pairs, answers = table(self.name, self.p)
        order = torch.randperm(self.size, generator=generator(seed, "split"))

        def part(rows: Tensor) -> Batch:
            return Batch(pairs[rows].to(device), answers[rows].to(device))

        train, test = part(order[: self.train_size]), part(order[self.train_size :])
        objective = LOSSES[self.loss]
        return Problem(
            model=self._network(generator(seed, "init"), dtype).to(device),
            train=train,
            test=test,
            objective=objective,
            measure=classification(train, test, objective),
            batch_size=self.batch_size,
        )
