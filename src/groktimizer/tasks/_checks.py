"""Checks of options: one line that names the option, its value and what is accepted."""

import math
from collections.abc import Iterable

import torch

from groktimizer.ground.errors import UserError
from groktimizer.ground.names import nearest
from groktimizer.ground.seeds import derive_seed


def at_least_one(**sizes: int | None) -> None:
    """Check that sizes are at least one; None passes.

    Args:
        sizes: Sizes by the name of their option.

    Raises:
        UserError: If one is not.
    """
    for name, size in sizes.items():
        if size is not None and not (is_whole(size) and size >= 1):
            raise UserError(f"{name}={size!r}: expected a whole number ≥ 1")


def above_zero(**values: float) -> None:
    """Check that numbers are finite and positive.

    Args:
        values: Numbers by the name of their option.

    Raises:
        UserError: If one is not.
    """
    for name, value in values.items():
        if not (is_number(value) and math.isfinite(value) and value > 0):
            raise UserError(f"{name}={value!r}: expected a finite number > 0")


def part(**values: float) -> None:
    """Check that numbers are parts of a whole.

    Args:
        values: Numbers by the name of their option.

    Raises:
        UserError: If one is not in [0, 1].
    """
    for name, value in values.items():
        if not (is_number(value) and 0 <= value <= 1):
            raise UserError(f"{name}={value!r}: expected a number in [0, 1]")


def is_whole(value: object) -> bool:
    """Whether a value is an int; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether a value is an int or a float; True and False are neither."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def one_of(name: str, value: object, accepted: Iterable[str]) -> None:
    """Check that a word is one of a few.

    Args:
        name: Name of the option.
        value: What was given.
        accepted: The words it may be.

    Raises:
        UserError: If it is none of them.
    """
    words = list(accepted)
    if not isinstance(value, str):
        raise UserError(f"{name}={value!r}: expected {' or '.join(words)}")
    if value not in words:
        guess = nearest(value, words)
        hint = f"did you mean {guess!r}? " if guess is not None else ""
        raise UserError(f"{name}={value!r}: {hint}expected {' or '.join(words)}")


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
