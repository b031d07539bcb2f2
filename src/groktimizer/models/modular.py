"""The two networks on which modular arithmetic groks: an MLP and a one-layer transformer."""

import math

import torch
from torch import Tensor, nn

from groktimizer.models._init import Generator, linear, normal, positive


class ModularMLP(nn.Module):
    """Logits b2 + W2 relu(b1 + W1 (E_a ∘ E_b)).

    One embedding table E (p × width, N(0, 1)) serves both inputs; W1, b1, W2, b2 are drawn as PyTorch does.

    Args:
        p: Modulus, the number of symbols and of classes.
        width: Width of the embedding and of the hidden layer.
        generator: Source of randomness; None is PyTorch's global one.
        dtype: Type of the parameters; the numbers drawn are the same for every type.

    Example:
        >>> ModularMLP(97)(torch.zeros(5, 2, dtype=torch.long)).shape
        torch.Size([5, 97])
    """

    def __init__(
        self, p: int, width: int = 128, *, generator: Generator = None, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        positive(p=p, width=width)
        self.embedding = normal(p, width, generator=generator)
        self.hidden = linear(width, width, generator=generator)
        self.output = linear(width, p, generator=generator)
        self.to(dtype)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the logits.

        Args:
            inputs: Pairs (a, b) of integers in [0, p), shape (n, 2).

        Returns:
            Logits, shape (n, p).
        """
        left, right = (nn.functional.embedding(inputs[:, i], self.embedding) for i in (0, 1))
        return self.output(torch.relu(self.hidden(left * right)))


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
        ValueError: If a size is not positive or heads do not divide the width.

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
        positive(p=p, width=width, heads=heads)
        if width % heads:
            raise ValueError(f"heads={heads}: expected a divisor of width={width}")
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

    def _tokens(self, inputs: Tensor) -> Tensor:
        """Embed a, b and "=" with their positions.

        Args:
            inputs: Pairs, shape (n, 2).

        Returns:
            Shape (n, 3, width).
        """
        equals = inputs.new_full((inputs.shape[0], 1), self.embedding.shape[0] - 1)
        return nn.functional.embedding(torch.cat((inputs, equals), dim=1), self.embedding) + self.position

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the logits.

        Args:
            inputs: Pairs (a, b) of integers in [0, p), shape (n, 2).

        Returns:
            Logits, shape (n, p).
        """
        tokens = self._tokens(inputs)
        last = tokens[:, -1]
        split = (self.heads, last.shape[-1] // self.heads)
        queries = nn.functional.linear(last, self.query).unflatten(-1, split)
        keys = nn.functional.linear(tokens, self.key).unflatten(-1, split)
        values = nn.functional.linear(tokens, self.value).unflatten(-1, split)
        scores = (queries.unsqueeze(1) * keys).sum(-1) / math.sqrt(split[1])
        mixed = (torch.softmax(scores, dim=1).unsqueeze(-1) * values).sum(1).flatten(1)
        stream = last + nn.functional.linear(mixed, self.attention_output)
        grown = torch.relu(nn.functional.linear(stream, self.expand))
        return nn.functional.linear(stream + nn.functional.linear(grown, self.contract), self.readout)
