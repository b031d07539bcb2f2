"""Checks of options: one line that names the option, its value and what is accepted."""

import math
from collections.abc import Iterable

import torch

from groktimizer._names import derive_seed, nearest


def at_least_one(**sizes: int | None) -> None:
    """Check that sizes are at least one; None passes.

    Args:
        sizes: Sizes by the name of their option.

    Raises:
        ValueError: If one is not.
    """
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ValueError(f"{name}={size}: expected a whole number ≥ 1")


def above_zero(**values: float) -> None:
    """Check that numbers are finite and positive.

    Args:
        values: Numbers by the name of their option.

    Raises:
        ValueError: If one is not.
    """
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name}={value}: expected a finite number > 0")


def one_of(name: str, value: str, accepted: Iterable[str]) -> None:
    """Check that a word is one of a few.

    Args:
        name: Name of the option.
        value: What was given.
        accepted: The words it may be.

    Raises:
        ValueError: If it is none of them.
    """
    words = list(accepted)
    if value not in words:
        guess = nearest(value, words)
        hint = f"did you mean {guess!r}? " if guess is not None else ""
        raise ValueError(f"{name}={value!r}: {hint}expected {' or '.join(words)}")


def generator(seed: int, component: str) -> torch.Generator:
    """Make the source of randomness of one component of a run.

    Args:
        seed: Seed of the run.
        component: Name of the component, such as "split".

    Returns:
        A generator on the CPU, independent of all others.

    Raises:
        ValueError: If the seed is not a whole number.
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ValueError(f"seed={seed!r}: expected a whole number")
    return torch.Generator().manual_seed(derive_seed(seed, component))
