"""A run through a framework against the plain loop that it has to equal."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before the first import of a framework: nothing here may reach for a network

import pytest
import torch
from torch import Tensor

from groktimizer import GROKtimizer

QUIET = [
    # Lightning's walk over a batch asks torch's pytree in the old way.
    pytest.mark.filterwarnings(r"ignore:.isinstance\(treespec, LeafSpec\). is deprecated:FutureWarning"),
    # peft asks transformers for a property by its old name.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    # Lightning on machines with a GPU, or with many cores, that a test does not use.
    pytest.mark.filterwarnings("ignore:GPU available but not used:UserWarning"),
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers:UserWarning"),
]


def parameters(opt: GROKtimizer) -> Tensor:
    """Every entry; the same order of tensors whichever group and tensor a framework lists first."""
    tensors = [param.detach() for group in opt.param_groups for param in group["params"]]
    tensors.sort(key=lambda param: (param.ndim, param.numel()))
    return torch.cat([param.reshape(-1).double() for param in tensors])


def assert_same_run(found: GROKtimizer, wanted: GROKtimizer, tolerance: float = 1e-5) -> None:
    """The switch at the same step, and the same parameters after many steps whose decay follows the loss."""
    assert wanted.phase == 2 and wanted.switch_step is not None
    assert (found.phase, found.switch_step) == (2, wanted.switch_step)
    assert parameters(found).shape == parameters(wanted).shape
    apart = (parameters(found) - parameters(wanted)).norm() / parameters(wanted).norm()
    assert apart <= tolerance
