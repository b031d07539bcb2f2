"""What users give, refused in one line that names the argument, its value and what is expected."""

import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import TypeGuard

from groktimizer.ground.errors import UserError
from groktimizer.ground.names import nearest


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number of any integer type; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a real number of any type; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def whole(name: str, value: object, least: int = 1, most: int | None = None, *, also: str = "") -> int:
    """Take a whole number.

    Args:
        name: The argument's name.
        value: What was given.
        least: The smallest accepted.
        most: The largest accepted, None for no limit.
        also: What else the caller accepts, for the error, such as "or None".

    Returns:
        The number as an int.

    Raises:
        UserError: If it is no whole number in the range.

    Example:
        >>> whole("steps", 10)
        10
        >>> whole("steps", 0.5)
        Traceback (most recent call last):
        groktimizer.UserError: steps=0.5: expected a whole number ≥ 1
    """
    if not (is_whole(value) and value >= least and (most is None or value <= most)):
        span = f"≥ {least}" if most is None else f"from {least} to {most:,}"
        raise UserError(f"{name}={value!r}: expected a whole number {span}{also and ' '}{also}")
    return int(value)


def at_least_one(**sizes: object) -> None:
    """Check that sizes are whole numbers ≥ 1; None, which stands for "all" or "as usual", passes.

    Args:
        sizes: Sizes by the name of their argument.

    Raises:
        UserError: If one is not.
    """
    for name, size in sizes.items():
        if size is not None:
            whole(name, size)


def positive(**values: object) -> None:
    """Check that numbers are finite and positive.

    Args:
        values: Numbers by the name of their argument.

    Raises:
        UserError: If one is not.

    Example:
        >>> positive(lr=0.1, weight=1)
        >>> positive(lr=0.0)
        Traceback (most recent call last):
        groktimizer.UserError: lr=0.0: expected a finite number > 0
    """
    _each(values, lambda value: value > 0, "a finite number > 0")


def not_negative(**values: object) -> None:
    """Check that numbers are finite and not negative.

    Args:
        values: Numbers by the name of their argument.

    Raises:
        UserError: If one is not.
    """
    _each(values, lambda value: value >= 0, "a finite number ≥ 0")


def part(**values: object) -> None:
    """Check that numbers are parts of a whole.

    Args:
        values: Numbers by the name of their argument.

    Raises:
        UserError: If one is not in [0, 1].
    """
    _each(values, lambda value: 0 <= value <= 1, "a number in [0, 1]")


def fraction(**values: object) -> None:
    """Check that numbers are in [0, 1): weights of the past, shares.

    Args:
        values: Numbers by the name of their argument.

    Raises:
        UserError: If one is not.
    """
    _each(values, lambda value: 0 <= value < 1, "a number in [0, 1)")


def word(name: str, value: object, accepted: Iterable[str]) -> None:
    """Check that a word is one of a few.

    Args:
        name: The argument's name.
        value: What was given.
        accepted: The words it may be.

    Raises:
        UserError: If it is none of them; the text gives the nearest.
    """
    words = list(accepted)
    if not isinstance(value, str) or value not in words:
        guess = nearest(value, words) if isinstance(value, str) else None
        hint = f"did you mean {guess!r}? " if guess is not None else ""
        raise UserError(f"{name}={value!r}: {hint}expected {' or '.join(words)}")


def _each(values: Mapping[str, object], accepted: Callable[[float], bool], expected: str) -> None:
    """Refuse the first number, by its name, that is not finite or not accepted."""
    for name, value in values.items():
        if not (_finite(value) and accepted(value)):
            raise UserError(f"{name}={value!r}: expected {expected}")


def _finite(value: object) -> TypeGuard[float]:
    """Whether it is a finite real number, of whatever type it is."""
    try:
        return is_number(value) and math.isfinite(value)
    except (OverflowError, ValueError):
        return False
