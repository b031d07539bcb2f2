"""Networks by name: those that classify pairs of symbols."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from groktimizer.ground.errors import UserError
from groktimizer.models.modular import ModularMLP, ModularTransformer

Make = Callable[[int, int, int, torch.Generator, torch.dtype], nn.Module]


@dataclass(frozen=True)
class Network:
    """A network from pairs of p symbols to p classes.

    Attributes:
        summary: What it is, in one line.
        make: Draws it from p, width, heads, a source of randomness and the type of its parameters.
        check: Refuses a width, or heads, that it cannot have.
        blocks: Its square matrices of the width, in numbers of them: an estimate from below.
    """

    summary: str
    make: Make
    check: Callable[[int, int], None]
    blocks: int

    def weights(self, p: int, width: int) -> int:
        """Estimate the number of its weights from below: the two tables and the square matrices."""
        return 2 * p * width + self.blocks * width * width


def _any(_width: int, _heads: int) -> None:
    """Every width will do."""


def _square(width: int, _heads: int) -> None:
    if math.isqrt(width) ** 2 != width:
        raise UserError(f"width={width}: matrix-mlp needs a square number, such as 64")


def _divided(width: int, heads: int) -> None:
    if width % heads:
        raise UserError(f"heads={heads}: expected a divisor of width={width}")


def _mlp(p: int, width: int, _heads: int, source: torch.Generator, dtype: torch.dtype) -> nn.Module:
    return ModularMLP(p, width, generator=source, dtype=dtype)


def _matrix(p: int, width: int, _heads: int, source: torch.Generator, dtype: torch.dtype) -> nn.Module:
    return ModularMLP(p, width, combine="matrix", tables=2, biases=False, generator=source, dtype=dtype)


def _transformer(p: int, width: int, heads: int, source: torch.Generator, dtype: torch.dtype) -> nn.Module:
    return ModularTransformer(p, width, heads, generator=source, dtype=dtype)


NETWORKS: Mapping[str, Network] = {
    "mlp": Network("one table, entrywise product, one hidden layer", _mlp, _any, 1),
    "matrix-mlp": Network("two tables, product of matrices, one hidden layer, no biases", _matrix, _square, 1),
    "transformer": Network("one block of attention and ReLU on the tokens a, b, =", _transformer, _divided, 12),
}
