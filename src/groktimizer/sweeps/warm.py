"""Loaded once by the server that runs are forked from: what every run needs and what is slow to import."""

import torch

from groktimizer.sweeps.work import run_spec  # what the runs start with
from groktimizer.tasks.clocks import exact_clocks  # what clocks start with

__all__ = ["exact_clocks", "load", "run_spec"]


def load() -> None:
    """Build an optimizer: PyTorch imports much of itself at the first one, and only then.

    It takes no step: where there is a GPU, a step asks CUDA something, and no process forked after that can use it.
    """
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])


torch.set_num_threads(1)
load()
