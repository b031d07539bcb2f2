"""The network of one hidden layer whose input is two ones: where each of the two symbols stands."""

import torch
from torch import Tensor, nn
from typing_extensions import override

from groktimizer.ground.checks import at_least_one, word
from groktimizer.models._init import Generator, linear, normal
from groktimizer.models.activations import ACTIVATIONS


class TwoHotMLP(nn.Module):
    """Logits b2 + W2 φ(b1 + W1 x) of x ∈ {0, 1}^2p with ones at a and p + b; columns of W1 are looked up.

    Drawn as PyTorch draws affine layers, uniform on ±1/√fan-in. With `mean_field` it is the network of arXiv
    2301.02679: no biases, and with φ the square a solution is known, cosines of one frequency in each unit with phases
    that add up. The paper's factors 1/√(2p) and 1/width stand in the weights here, which are N(0, σ²) with
    σ = (2·width)^(−1/3)/2: then the logits start small and the cosines that solve it have the amplitude
    (2/width)^(1/3), so that weight decay means the same at every width.

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
        self.activation = ACTIVATIONS[activation]
        if mean_field:
            std = (2 * width) ** (-1 / 3) / 2
            self.left, self.right, self.readout = (normal(p, width, std=std, generator=generator) for _ in range(3))
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
        if self.hidden_bias is not None:
            found = found + self.hidden_bias
        return nn.functional.linear(self.activation(found), self.readout, self.output_bias)
