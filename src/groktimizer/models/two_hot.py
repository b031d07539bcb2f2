"""The network of one hidden layer whose input is two ones: where each of the two symbols stands."""

import math

import torch
from torch import Tensor, nn
from typing_extensions import override

from groktimizer.ground.checks import at_least_one, word
from groktimizer.models._init import Generator, linear, normal
from groktimizer.models.activations import ACTIVATIONS


class TwoHotMLP(nn.Module):
    """Logits b2 + W2 φ(b1 + W1 x) of x ∈ {0, 1}^2p with ones at a and p + b; columns of W1 are looked up.

    Drawn as PyTorch draws affine layers, uniform on ±1/√fan-in. With `mean_field` it is the network of arXiv
    2301.02679: no biases, N(0, 1) weights, logits (1/width) W2 φ(W1 x/√(2p)); with φ the square its solution is known:
    cosines of one frequency in each unit, with phases that add up.

    Args:
        p: Modulus, the number of symbols and of classes.
        width: Hidden units.
        activation: φ, one of `ACTIVATIONS`.
        mean_field: Whether it is the network of the paper.
        generator: Source of randomness; None is PyTorch's global one.
        dtype: Type of the parameters; the numbers drawn are the same for every type.

    Raises:
        UserError: If a size is not positive or the activation unknown.

    Example:
        >>> TwoHotMLP(97, 500, "quadratic", mean_field=True)(torch.zeros(5, 2, dtype=torch.long)).shape
        torch.Size([5, 97])
    """

    def __init__(
        self,
        p: int,
        width: int = 128,
        activation: str = "relu",
        *,
        mean_field: bool = False,
        generator: Generator = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        at_least_one(p=p, width=width)
        word("activation", activation, ACTIVATIONS)
        self.activation, self.mean_field = ACTIVATIONS[activation], mean_field
        if mean_field:
            self.left, self.right = normal(p, width, generator=generator), normal(p, width, generator=generator)
            self.readout = normal(p, width, generator=generator)
            self.hidden_bias, self.output_bias = None, None
        else:
            first, second = linear(2 * p, width, generator=generator), linear(width, p, generator=generator)
            self.left, self.right = (nn.Parameter(part.clone()) for part in first.weight.detach().T.split(p))
            self.readout = second.weight
            self.hidden_bias, self.output_bias = first.bias, second.bias
        self.to(dtype)

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, shape (n, p), of pairs (a, b) of integers in [0, p), shape (n, 2)."""
        found = nn.functional.embedding(inputs[:, 0], self.left) + nn.functional.embedding(inputs[:, 1], self.right)
        if self.mean_field:
            p, width = self.left.shape
            return nn.functional.linear(self.activation(found / math.sqrt(2 * p)), self.readout / width)
        assert self.hidden_bias is not None
        return nn.functional.linear(self.activation(found + self.hidden_bias), self.readout, self.output_bias)
