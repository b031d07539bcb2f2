"""Loaded once by the server that runs are forked from: what every run needs and what is slow to import."""

import torch

from groktimizer.sweeps.work import run_spec  # what the runs start with

__all__ = ["load", "run_spec"]


def load() -> None:
    """Build and step an optimizer: PyTorch imports much of itself at the first one, and only then."""
    weights = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.AdamW([weights])
    weights.grad = torch.zeros(1)
    optimizer.step()


torch.set_num_threads(1)
load()
