"""The two networks on which modular arithmetic groks: an MLP and a one-layer transformer."""

import math

import torch
from torch import Tensor, nn
from typing_extensions import override

from groktimizer.ground.checks import at_least_one, word
from groktimizer.ground.errors import UserError
from groktimizer.models._init import Generator, linear, normal
from groktimizer.models.activations import ACTIVATIONS

COMBINE = ("product", "sum", "concatenation", "matrix")


class ModularMLP(nn.Module):
    """Logits b2 + W2 N φ(b1 + W1 (E_a ∘ F_b)), with ∘ a product or sum entry by entry, both in a row, or of matrices.

    N does nothing or is a LayerNorm.

    The tables E and F (p × width, N(0, 1)) are one and the same or two; W1, b1, W2, b2 are drawn as PyTorch does. With
    ``combine="matrix", tables=2, biases=False, width=64`` it is the network of arXiv 2506.05718, Figure 1, whose code
    draws W1 and W2 from N(0, 1/rows) instead.

    Args:
        p: Modulus, the number of symbols and of classes.
        width: Width of the embedding and of the hidden layer.
        combine: "product" or "sum": entry by entry; "concatenation": one behind the other, so that W1 has 2·width
            columns; "matrix": both are read as √width × √width matrices, row by row, and multiplied.
        tables: 1: E serves both inputs; 2: each has its own.
        activation: φ, one of `ACTIVATIONS`.
        biases: Whether b1 and b2 are there.
        norm: Whether N is a LayerNorm.
        generator: Source of randomness; None is PyTorch's global one.
        dtype: Type of the parameters; the numbers drawn are the same for every type.

    Raises:
        UserError: If a size is not positive, a word or number of tables is unknown, or matrices cannot be square.

    Example:
        >>> pairs = torch.zeros(5, 2, dtype=torch.long)
        >>> ModularMLP(97)(pairs).shape, ModularMLP(97, 64, combine="matrix", tables=2, biases=False)(pairs).shape
        (torch.Size([5, 97]), torch.Size([5, 97]))
    """

    def __init__(
        self,
        p: int,
        width: int = 128,
        *,
        combine: str = "product",
        tables: int = 1,
        activation: str = "relu",
        biases: bool = True,
        norm: bool = False,
        generator: Generator = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        at_least_one(p=p, width=width)
        word("combine", combine, COMBINE)
        word("activation", activation, ACTIVATIONS)
        if tables not in {1, 2}:
            raise UserError(f"tables={tables}: expected 1 or 2")
        self.side = math.isqrt(width)
        if combine == "matrix" and self.side**2 != width:
            raise UserError(f"width={width}: expected a square number, such as 64, with combine='matrix'")
        self.combine, self.activation = combine, ACTIVATIONS[activation]
        self.embedding = normal(p, width, generator=generator)
        self.second = normal(p, width, generator=generator) if tables == 2 else None
        both = 2 * width if combine == "concatenation" else width
        self.hidden = linear(both, width, bias=biases, generator=generator)
        self.output = linear(width, p, bias=biases, generator=generator)
        self.before_readout = nn.LayerNorm(width) if norm else nn.Identity()
        self.to(dtype)

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, shape (n, p), of pairs (a, b) of integers in [0, p), shape (n, 2)."""
        left = nn.functional.embedding(inputs[:, 0], self.embedding)
        right = nn.functional.embedding(inputs[:, 1], self.embedding if self.second is None else self.second)
        return self.output(self.before_readout(self.activation(self.hidden(self._combined(left, right)))))

    def _combined(self, left: Tensor, right: Tensor) -> Tensor:
        """E_a ∘ F_b, shape (n, width), or (n, 2·width)."""
        if self.combine == "product":
            return left * right
        if self.combine == "sum":
            return left + right
        if self.combine == "concatenation":
            return torch.cat((left, right), dim=-1)
        square = (self.side, self.side)
        return (left.unflatten(-1, square) @ right.unflatten(-1, square)).flatten(-2)


class ModularTransformer(nn.Module):
    """One block of attention and ReLU on the tokens a, b, "="; no biases, no normalisation.

    One table of p + 1 rows embeds the tokens, positions are learned, the read-out of the last token is untied. With x
    the embedded tokens: y = x₃ + W_O attention(x₃; x), z = y + W_out relu(W_in y) with 4·width units, logits = U z.
    Every matrix is N(0, 1)/√fan-in; embedding and positions, which select one row of `width` numbers, N(0, 1)/√width.
    Only the last token asks (the others' answers would not be read).

    Args:
        p: Modulus, the number of classes.
        width: Width d of the residual stream.
        heads: Number of attention heads; divides the width.
        generator: Source of randomness; None is PyTorch's global one.
        dtype: Type of the parameters; the numbers drawn are the same for every type.

    Raises:
        UserError: If a size is not positive or heads do not divide the width.

    Example:
        >>> ModularTransformer(97)(torch.zeros(5, 2, dtype=torch.long)).shape
        torch.Size([5, 97])
    """

    def __init__(
        self,
        p: int,
        width: int = 128,
        heads: int = 4,
        *,
        generator: Generator = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        at_least_one(p=p, width=width, heads=heads)
        if width % heads:
            raise UserError(f"heads={heads}: expected a divisor of width={width}")
        self.heads = heads
        std, wide = 1 / math.sqrt(width), 4 * width
        self.embedding = normal(p + 1, width, std=std, generator=generator)
        self.position = normal(3, width, std=std, generator=generator)
        self.query = normal(width, width, std=std, generator=generator)
        self.key = normal(width, width, std=std, generator=generator)
        self.value = normal(width, width, std=std, generator=generator)
        self.attention_output = normal(width, width, std=std, generator=generator)
        self.expand = normal(wide, width, std=std, generator=generator)
        self.contract = normal(width, wide, std=1 / math.sqrt(wide), generator=generator)
        self.readout = normal(p, width, std=std, generator=generator)
        self.to(dtype)

    def _attend(self, inputs: Tensor) -> Tensor:
        """Let "=" ask a, b and itself.

        What a symbol offers depends on nothing but itself and its place, and the question is always the same: scores
        and values are computed once per symbol and place and looked up, which is the same function at a third of the
        cost of attention over all pairs.

        Args:
            inputs: Pairs, shape (n, 2).

        Returns:
            Weighted values of all heads, shape (n, width).
        """
        symbols = self.embedding.shape[0]
        heads = (self.heads, self.embedding.shape[1] // self.heads)
        tokens = (self.embedding + self.position.unsqueeze(1)).flatten(0, 1)
        query = (self.query @ tokens[-1]).unflatten(-1, heads)
        keys = nn.functional.linear(tokens, self.key).unflatten(-1, heads)
        values = nn.functional.linear(tokens, self.value)
        scores = (keys * query).sum(-1) / math.sqrt(heads[1])
        places = torch.cat((inputs, inputs.new_full((len(inputs), 1), symbols - 1)), 1)
        places = places + symbols * torch.arange(3, device=inputs.device)
        weights = torch.softmax(nn.functional.embedding(places, scores), dim=1)
        offered = (nn.functional.embedding(places[:, i], values).unflatten(-1, heads) for i in range(3))
        shares = [w.unsqueeze(-1) * v for w, v in zip(weights.unbind(1), offered, strict=True)]
        return (shares[0] + shares[1] + shares[2]).flatten(1)

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, shape (n, p), of pairs (a, b) of integers in [0, p), shape (n, 2)."""
        last = self.embedding[-1] + self.position[-1]
        stream = last + nn.functional.linear(self._attend(inputs), self.attention_output)
        grown = torch.relu(nn.functional.linear(stream, self.expand))
        return nn.functional.linear(stream + nn.functional.linear(grown, self.contract), self.readout)
