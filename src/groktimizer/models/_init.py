"""Weights drawn in float64 from a generator, so that every dtype of a model starts from the same numbers."""

import math

import torch
from torch import nn

Generator = torch.Generator | None


def normal(*shape: int, std: float = 1.0, generator: Generator = None) -> nn.Parameter:
    """Draw a parameter with N(0, std²) entries.

    Args:
        shape: Its shape.
        std: Standard deviation.
        generator: Source of randomness; None is PyTorch's global one.

    Returns:
        A float64 parameter.
    """
    return nn.Parameter(torch.randn(shape, dtype=torch.float64, generator=generator) * std)


def linear(
    inputs: int, outputs: int, *, scale: float = 1.0, bias: bool = True, generator: Generator = None
) -> nn.Linear:
    """Make an affine layer with PyTorch's default initialisation, times a scale.

    Weight and bias are uniform on ±scale/√inputs.

    Args:
        inputs: Number of inputs.
        outputs: Number of outputs.
        scale: Factor on the initial values.
        bias: Whether it has a bias.
        generator: Source of randomness; None is PyTorch's global one.

    Returns:
        A float64 layer.
    """
    with torch.random.fork_rng(devices=[]):  # its own initialisation is overwritten and leaves no trace
        layer = nn.Linear(inputs, outputs, bias=bias, dtype=torch.float64, device="cpu")
    bound = scale / math.sqrt(inputs)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return layer
