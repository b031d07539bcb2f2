"""A multilayer perceptron for tables and small images."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from typing_extensions import override

from groktimizer.ground.checks import positive, whole
from groktimizer.ground.errors import UserError
from groktimizer.models._init import Generator, linear


class MLP(nn.Module):
    """Affine layers with ReLU between them.

    Initialised as PyTorch does (uniform on ±1/√fan-in), every weight and bias times `init_scale`: a large scale delays
    generalisation, as in Omnigrok.

    Args:
        sizes: Widths from inputs to outputs, at least two.
        init_scale: Factor on the initial parameters, positive.
        generator: Source of randomness; None is PyTorch's global one.
        dtype: Type of the parameters; the numbers drawn are the same for every type.

    Raises:
        UserError: If there are fewer than two sizes, one is not positive, or the scale is not positive.

    Example:
        >>> MLP([64, 256, 10])(torch.zeros(5, 64)).shape
        torch.Size([5, 10])
    """

    def __init__(
        self,
        sizes: Sequence[int],
        init_scale: float = 1.0,
        *,
        generator: Generator = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if len(sizes) < 2:
            raise UserError(f"sizes={list(sizes)}: expected at least two widths")
        for i, size in enumerate(sizes):
            whole(f"sizes[{i}]", size)
        positive(init_scale=init_scale)
        self.layers = nn.ModuleList(linear(i, o, scale=init_scale, generator=generator) for i, o in pairwise(sizes))
        self.to(dtype)

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs, shape (n, sizes[-1]), of inputs of shape (n, sizes[0])."""
        hidden = inputs
        for layer in self.layers[:-1]:
            hidden = torch.relu(layer(hidden))
        return self.layers[-1](hidden)
