"""Networks by name: those that classify pairs of symbols."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import nn

from groktimizer.ground.checks import at_least_one, word
from groktimizer.ground.errors import UserError
from groktimizer.models.activations import ACTIVATIONS
from groktimizer.models.modular import COMBINE, ModularMLP, ModularTransformer
from groktimizer.models.transformer import DeepTransformer
from groktimizer.models.two_hot import TwoHotMLP


@dataclass(frozen=True)
class Shape:
    """What a network of pairs is made of; None is what the network has by itself.

    Attributes:
        width: Width.
        heads: Attention heads.
        combine: How two embeddings become one, one of `COMBINE`.
        tables: Tables of embeddings, 1 or 2.
        activation: One of `ACTIVATIONS`.
        layers: Blocks.
        norm: Whether there are LayerNorms.
        tied: Whether the table is the read-out too.
    """

    width: int = 128
    heads: int = 4
    combine: str | None = None
    tables: int | None = None
    activation: str | None = None
    layers: int | None = None
    norm: bool | None = None
    tied: bool | None = None

    def given(self) -> dict[str, Any]:
        """What is not left to the network, by name; width and heads are not among it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None and name not in {"width", "heads"}}


@dataclass(frozen=True)
class Network:
    """A network from pairs of p symbols to p classes.

    Attributes:
        summary: What it is, in one line.
        make: Draws it from p, its shape, a source of randomness and the type of its parameters.
        takes: What of a `Shape` it can be given, beside width and heads.
        blocks: Its square matrices of the width, in numbers of them: an estimate from below.
    """

    summary: str
    make: Callable[[int, Shape, torch.Generator, torch.dtype], nn.Module]
    takes: frozenset[str]
    blocks: int

    def weights(self, p: int, shape: Shape) -> int:
        """Estimate the number of its weights from below: the tables and the square matrices."""
        tables = 1 if shape.tied else 2
        return tables * p * shape.width + self.blocks * (shape.layers or 1) * shape.width**2


def check_shape(model: str, shape: Shape) -> None:
    """Check that a network can have a shape.

    Args:
        model: Name of the network, one of `NETWORKS`.
        shape: What it shall be made of.

    Raises:
        UserError: If the name is unknown, the network does not take an option, or a value is out of its range.
    """
    word("model", model, NETWORKS)
    at_least_one(width=shape.width, heads=shape.heads, layers=shape.layers)
    takes = NETWORKS[model].takes
    for name, value in shape.given().items():
        if name not in takes:
            raise UserError(f"{name}={value}: model={model} takes {', '.join(sorted(takes))} and no {name}")
    for name, words in (("combine", COMBINE), ("activation", ACTIVATIONS)):
        if getattr(shape, name) is not None:
            word(name, getattr(shape, name), words)
    if shape.tables not in {None, 1, 2}:
        raise UserError(f"tables={shape.tables}: expected 1 or 2")
    if model == "transformer" and shape.width % shape.heads:
        raise UserError(f"heads={shape.heads}: expected a divisor of width={shape.width}")
    if (model == "matrix-mlp" or shape.combine == "matrix") and math.isqrt(shape.width) ** 2 != shape.width:
        raise UserError(f"width={shape.width}: {model} needs a square number, such as 64")


# One block as `ModularTransformer` has it, said in so many words.
_PLAIN = (("layers", 1), ("norm", False), ("tied", False), ("activation", "relu"))


def _mlp(p: int, shape: Shape, source: torch.Generator, dtype: torch.dtype) -> nn.Module:
    return ModularMLP(p, shape.width, **shape.given(), generator=source, dtype=dtype)


def _matrix(p: int, shape: Shape, source: torch.Generator, dtype: torch.dtype) -> nn.Module:
    own: dict[str, Any] = {"combine": "matrix", "tables": 2, **shape.given()}
    return ModularMLP(p, shape.width, **own, biases=False, generator=source, dtype=dtype)


def _two_hot(p: int, shape: Shape, source: torch.Generator, dtype: torch.dtype) -> nn.Module:
    return TwoHotMLP(p, shape.width, **shape.given(), generator=source, dtype=dtype)


def _gromov(p: int, shape: Shape, source: torch.Generator, dtype: torch.dtype) -> nn.Module:
    own: dict[str, Any] = {"activation": "quadratic", **shape.given()}
    return TwoHotMLP(p, shape.width, **own, mean_field=True, generator=source, dtype=dtype)


def _transformer(p: int, shape: Shape, source: torch.Generator, dtype: torch.dtype) -> nn.Module:
    if all(option in _PLAIN for option in shape.given().items()):
        return ModularTransformer(p, shape.width, shape.heads, generator=source, dtype=dtype)
    return DeepTransformer(p, shape.width, shape.heads, **shape.given(), generator=source, dtype=dtype)


NETWORKS: Mapping[str, Network] = {
    "mlp": Network(
        "one table, entrywise product, one hidden layer",
        _mlp,
        frozenset({"combine", "tables", "activation", "norm"}),
        1,
    ),
    "matrix-mlp": Network(
        "two tables, product of matrices, one hidden layer, no biases", _matrix, frozenset({"activation"}), 1
    ),
    "two-hot": Network("one hidden layer on both symbols as ones", _two_hot, frozenset({"activation"}), 0),
    "gromov": Network(
        "the same with the square and mean-field scaling (arXiv 2301.02679)", _gromov, frozenset({"activation"}), 0
    ),
    "transformer": Network(
        "blocks of attention and ReLU on the tokens a, b, =",
        _transformer,
        frozenset({"layers", "norm", "tied", "activation"}),
        12,
    ),
}
