"""Transformers of any depth on the tokens a, b, "=", with or without LayerNorm, with a read-out of its own or not."""

import math

import torch
from torch import Tensor, nn
from typing_extensions import override

from groktimizer.ground.checks import at_least_one, word
from groktimizer.ground.errors import UserError
from groktimizer.models._init import Generator, normal
from groktimizer.models.activations import ACTIVATIONS

TOKENS = 3


class Block(nn.Module):
    """One block: y = x + W_O attention(N x), z = y + W_out φ(W_in N' y) with 4·width units; N and N' normalise or not.

    No biases. Every token asks itself and those before it.

    Args:
        width: Width d of the residual stream.
        heads: Number of attention heads; divides the width.
        activation: φ, one of `ACTIVATIONS`.
        norm: Whether N and N' are LayerNorms; otherwise they do nothing.
        generator: Source of randomness; None is PyTorch's global one.
    """

    def __init__(self, width: int, heads: int, activation: str, *, norm: bool, generator: Generator) -> None:
        super().__init__()
        std, wide = 1 / math.sqrt(width), 4 * width
        self.heads, self.activation = heads, ACTIVATIONS[activation]
        self.query = normal(width, width, std=std, generator=generator)
        self.key = normal(width, width, std=std, generator=generator)
        self.value = normal(width, width, std=std, generator=generator)
        self.attention_output = normal(width, width, std=std, generator=generator)
        self.expand = normal(wide, width, std=std, generator=generator)
        self.contract = normal(width, wide, std=1 / math.sqrt(wide), generator=generator)
        self.before_attention = nn.LayerNorm(width) if norm else nn.Identity()
        self.before_units = nn.LayerNorm(width) if norm else nn.Identity()

    def _split(self, tokens: Tensor, matrix: Tensor) -> Tensor:
        """Queries, keys or values of tokens (n, t, d) head by head: shape (n, heads, t, d/heads)."""
        return nn.functional.linear(tokens, matrix).unflatten(-1, (self.heads, -1)).transpose(1, 2)

    @override
    def forward(self, stream: Tensor, *, last_only: bool = False) -> Tensor:
        """Compute the block.

        Args:
            stream: Tokens, shape (n, t, d).
            last_only: Whether only the last token is wanted.

        Returns:
            Shape (n, t, d), or (n, 1, d).
        """
        seen = self.before_attention(stream)
        asking = seen[:, -1:] if last_only else seen
        query, key, value = self._split(asking, self.query), self._split(seen, self.key), self._split(seen, self.value)
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        if not last_only:
            later = torch.ones(TOKENS, TOKENS, dtype=torch.bool, device=stream.device).triu(1)
            scores = scores.masked_fill(later, -math.inf)
        found = torch.softmax(scores, -1) @ value  # at three tokens cheaper than the fused kernel
        kept = stream[:, -1:] if last_only else stream
        kept = kept + nn.functional.linear(found.transpose(1, 2).flatten(2), self.attention_output)
        grown = self.activation(nn.functional.linear(self.before_units(kept), self.expand))
        return kept + nn.functional.linear(grown, self.contract)


class DeepTransformer(nn.Module):
    """Blocks on the embedded tokens a, b, "=" with learned positions; the read-out of the last token is U or the table.

    With one layer, no norm and not tied it is `ModularTransformer`, which looks up what this one computes pair by pair.
    A last LayerNorm stands before the read-out where the blocks have theirs. Matrices are drawn as there.

    Args:
        p: Modulus, the number of classes.
        width: Width d of the residual stream.
        heads: Number of attention heads; divides the width.
        layers: Blocks.
        activation: Of the units, one of `ACTIVATIONS`.
        norm: Whether the blocks have LayerNorms.
        tied: Whether the first p rows of the embedding are the read-out.
        generator: Source of randomness; None is PyTorch's global one.
        dtype: Type of the parameters; the numbers drawn are the same for every type.

    Raises:
        UserError: If a size is not positive, heads do not divide the width, or the activation is unknown.

    Example:
        >>> DeepTransformer(97, layers=2, norm=True, tied=True)(torch.zeros(5, 2, dtype=torch.long)).shape
        torch.Size([5, 97])
    """

    def __init__(
        self,
        p: int,
        width: int = 128,
        heads: int = 4,
        *,
        layers: int = 1,
        activation: str = "relu",
        norm: bool = False,
        tied: bool = False,
        generator: Generator = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        at_least_one(p=p, width=width, heads=heads, layers=layers)
        word("activation", activation, ACTIVATIONS)
        if width % heads:
            raise UserError(f"heads={heads}: expected a divisor of width={width}")
        std = 1 / math.sqrt(width)
        self.p = p
        self.embedding = normal(p + 1, width, std=std, generator=generator)
        self.position = normal(TOKENS, width, std=std, generator=generator)
        self.blocks = nn.ModuleList(
            Block(width, heads, activation, norm=norm, generator=generator) for _ in range(layers)
        )
        self.before_readout = nn.LayerNorm(width) if norm else nn.Identity()
        self.readout = None if tied else normal(p, width, std=std, generator=generator)
        self.to(dtype)

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, shape (n, p), of pairs (a, b) of integers in [0, p), shape (n, 2)."""
        tokens = torch.cat((inputs, inputs.new_full((len(inputs), 1), self.p)), 1)
        stream = nn.functional.embedding(tokens, self.embedding) + self.position
        for block in self.blocks[:-1]:
            stream = block(stream)
        last = self.before_readout(self.blocks[-1](stream, last_only=True)[:, 0])
        return nn.functional.linear(last, self.embedding[: self.p] if self.readout is None else self.readout)
