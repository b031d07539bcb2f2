"""Streams of random numbers: one for each component of a run, independent of all others."""

import torch
from torch import Tensor

from groktimizer.ground.checks import is_whole
from groktimizer.ground.errors import UserError
from groktimizer.ground.seeds import derive_seed


def generator(seed: int, component: str) -> torch.Generator:
    """Make the source of randomness of one component of a run.

    Args:
        seed: Seed of the run.
        component: Name of the component, such as "split".

    Returns:
        A generator on the CPU, independent of all others.

    Raises:
        UserError: If the seed is not a whole number.
    """
    if not is_whole(seed):
        raise UserError(f"seed={seed!r}: expected a whole number")
    return torch.Generator().manual_seed(derive_seed(seed, component))


def normal(seed: int, component: str, *shape: int) -> Tensor:
    """Draw N(0, 1) numbers, float64, from the stream of one component."""
    return torch.randn(shape, dtype=torch.float64, generator=generator(seed, component))
