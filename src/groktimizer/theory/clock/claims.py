"""A theorem applied to numbers: what it says, which of its conditions hold, and how both are printed truly."""

import math
from dataclasses import dataclass

from groktimizer.theory.clock.rounding import rounded

_SAME = 1e-9  # relative, two floats that were meant equal


@dataclass(frozen=True)
class Condition:
    """One condition of a theorem.

    Args:
        text: What is the case, with its numbers: the condition if it holds, its opposite if not.
        holds: Whether it does.
        trusted: It cannot be seen in the numbers, and is taken to hold.
    """

    text: str
    holds: bool
    trusted: bool = False


@dataclass(frozen=True)
class Bound:
    """A theorem applied to a problem.

    Args:
        theorem: Its name and, unless the context gives it, its paper.
        quantity: What is bounded, and on which side: ends with "<=", ">=" or "~".
        value: The number; steps for times. NaN where the formula has no real value, such as the log of a number <= 0.
        conditions: The theorem's conditions.
    """

    theorem: str
    quantity: str
    value: float
    conditions: tuple[Condition, ...]

    @property
    def guaranteed(self) -> bool:
        """Whether there is a number and every condition holds, those that are taken on trust included."""
        return not math.isnan(self.value) and all(condition.holds for condition in self.conditions)

    @property
    def failing(self) -> tuple[str, ...]:
        """What is the case instead of the conditions that do not hold."""
        return tuple(condition.text for condition in self.conditions if not condition.holds)

    @property
    def trusted(self) -> tuple[str, ...]:
        """The conditions that are taken on trust."""
        return tuple(condition.text for condition in self.conditions if condition.trusted)

    @property
    def rounded(self) -> str:
        """The value in at most four digits or whole steps, never on the wrong side of the number that it stands for.

        >>> Bound("ours", "||a - a*|| >=", 2.8068, ()).rounded, Bound("ours", "t1 <=", 1451.2, ()).rounded
        ('2.806', '1,452')
        """
        side = self.quantity[-2:]
        return rounded(self.value, side if side in (">=", "<=") else "~")

    @property
    def standing(self) -> str:
        """Whether the bound is guaranteed, and on what trust, in one line."""
        if not self.guaranteed:
            return f"not guaranteed: {'; '.join(self.failing) or 'there is no number'}"
        return f"conditions hold; taken on trust: {'; '.join(self.trusted)}" if self.trusted else "conditions hold"


def stated(holds: bool, condition: str, opposite: str) -> Condition:
    """A condition in words and its opposite, of which the one is the text that is the case."""
    return Condition(condition if holds else opposite, holds)


def trusted(text: str) -> Condition:
    """A condition that the numbers cannot show."""
    return Condition(text, True, trusted=True)


def at_most(name: str, value: float, limit: float) -> Condition:
    """``value <= limit``, up to rounding; the text says which of the two is larger."""
    return _compared(name, value, limit, value <= limit * (1 + _SAME), ("<=", ">"))


def at_least(name: str, value: float, limit: float) -> Condition:
    """``value >= limit``, up to rounding; the text says which of the two is larger."""
    return _compared(name, value, limit, value >= limit * (1 - _SAME), (">=", "<"))


def _compared(name: str, value: float, limit: float, holds: bool, signs: tuple[str, str]) -> Condition:
    """The comparison with as many digits as tell both numbers apart."""
    sign = signs[0] if holds else signs[1]
    digits = next((d for d in (4, 6, 9) if f"{value:.{d}g}" != f"{limit:.{d}g}"), 4 if holds else 17)
    return Condition(f"{name} = {value:.{digits}g} {sign} {limit:.{digits}g}", bool(holds))
