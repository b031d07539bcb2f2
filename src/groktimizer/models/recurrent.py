"""A recurrent network that reads a string of numbers and classifies it."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from typing_extensions import override

from groktimizer.ground.checks import at_least_one, word
from groktimizer.models._init import Generator, linear

CELLS: Mapping[str, type[nn.GRU | nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}


class Recurrent(nn.Module):
    """Logits b + W h of the last state h of torch's GRU or LSTM, which reads one number at a time.

    Initialised as PyTorch does: the cell uniform on ±1/√width.

    Args:
        cell: One of `CELLS`.
        width: Size of the state.
        classes: Number of classes.
        generator: Source of randomness; None is PyTorch's global one.
        dtype: Type of the parameters; the numbers drawn are the same for every type.

    Raises:
        UserError: If a size is not positive or the cell unknown.

    Example:
        >>> Recurrent("gru", 16, 2)(torch.ones(5, 8)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        cell: str,
        width: int,
        classes: int,
        *,
        generator: Generator = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        word("cell", cell, CELLS)
        at_least_one(width=width, classes=classes)
        with torch.random.fork_rng(devices=[]):  # its own initialisation is overwritten and leaves no trace
            self.cell = CELLS[cell](1, width, batch_first=True, dtype=torch.float64, device="cpu")
        bound = 1 / math.sqrt(width)
        for parameter in self.cell.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        self.output = linear(width, classes, generator=generator)
        self.to(dtype)

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, shape (n, classes), of strings of t numbers, shape (n, t)."""
        return self.output(self.cell(inputs.unsqueeze(-1))[0][:, -1])
