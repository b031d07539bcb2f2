"""What every framework's file needs: the optimizer behind a framework's wrapper, and one way to say things."""

from collections.abc import Iterable
from typing import Any

from groktimizer.ground.errors import UserError, warn
from groktimizer.optim import GROKtimizer
from groktimizer.optim.settings import schedule_factor

FADED = 1e-2  # of the learning rate that a group came with


def only_groktimizer(who: str, optimizers: Iterable[Any]) -> GROKtimizer:
    """Find the one `GROKtimizer` among a framework's optimizers, wrapped by accelerate or not.

    Args:
        who: Who asks, for the error.
        optimizers: The framework's optimizers.

    Returns:
        The optimizer itself.

    Raises:
        UserError: If there is none, or more than one.
    """
    given = list(optimizers)
    plain = [getattr(optimizer, "optimizer", optimizer) for optimizer in given]
    found = [optimizer for optimizer in plain if isinstance(optimizer, GROKtimizer)]
    if len(found) != 1:
        names = ", ".join(type(optimizer).__name__ for optimizer in plain) or "none"
        raise UserError(f"{who}: the trainer's optimizers are {names}: expected exactly one GROKtimizer")
    return found[0]


def least_factor(optimizer: GROKtimizer) -> float:
    """What a scheduler has left of the learning rate, in the group where it is least."""
    return min(schedule_factor(group) for group in optimizer.param_groups)


def say(who: str, text: str) -> None:
    """Warn about what is not meant for phase 2, or cannot be done.

    Args:
        who: Who warns.
        text: One sentence.
    """
    warn(f"{who}: {text}")
