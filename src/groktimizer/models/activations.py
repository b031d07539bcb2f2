"""Activations by name."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Activation = Callable[[Tensor], Tensor]
ACTIVATIONS: Mapping[str, Activation] = {
    "relu": torch.relu,
    "quadratic": torch.square,
    "gelu": torch.nn.functional.gelu,
}
