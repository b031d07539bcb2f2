"""Operations on a finite set of symbols as tables of questions and answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from groktimizer.tasks.permutations import ORDER, compose, inverse
from groktimizer.tasks.problem import Batch


@dataclass(frozen=True)
class Operation:
    """An operation a ∘ b on p symbols: the numbers mod p, or the elements of a group of order p.

    Attributes:
        summary: What it is, in one line.
        answers: The results from a, b (each of shape (n,), int64) and p.
        divides: Whether it divides by b: then p is prime and b = 0 is left out.
        order: Of the group whose elements are the symbols: then p is that; None for numbers.
    """

    summary: str
    answers: Callable[[Tensor, Tensor, int], Tensor]
    divides: bool = False
    order: int | None = None

    def size(self, p: int) -> int:
        """Number of all questions."""
        return p * (p - 1) if self.divides else p * p


def _quotient(a: Tensor, b: Tensor, p: int) -> Tensor:
    """The c with b·c = a."""
    inverse = torch.tensor([0] + [pow(x, -1, p) for x in range(1, p)])
    return a * inverse[b] % p


_PART = "from a part of all pairs"
OPERATIONS: Mapping[str, Operation] = {
    "modular-addition": Operation(f"(a + b) mod p {_PART}", lambda a, b, p: (a + b) % p),
    "modular-subtraction": Operation(f"(a - b) mod p {_PART}", lambda a, b, p: (a - b) % p),
    "modular-multiplication": Operation(f"(a * b) mod p {_PART}", lambda a, b, p: a * b % p),
    "modular-division": Operation(f"(a / b) mod p, p prime, {_PART}", _quotient, divides=True),
    "modular-squares": Operation(f"(a^2 + b^2) mod p {_PART}", lambda a, b, p: (a * a + b * b) % p),
    "modular-quadratic": Operation(f"(a^2 + ab + b^2) mod p {_PART}", lambda a, b, p: (a * a + a * b + b * b) % p),
    "modular-quadratic-shifted": Operation(
        f"(a^2 + ab + b^2 + a) mod p {_PART}", lambda a, b, p: (a * a + a * b + b * b + a) % p
    ),
    "modular-cubic": Operation(f"(a^3 + ab) mod p {_PART}", lambda a, b, p: (a**3 + a * b) % p),
    "modular-cubic-mixed": Operation(f"(a^3 + ab^2 + b) mod p {_PART}", lambda a, b, p: (a**3 + a * b * b + b) % p),
    **{
        name: Operation(f"{told} of two permutations of five things {_PART}", answers, order=ORDER)
        for name, told, answers in (
            ("s5-composition", "ab", lambda a, b, p: compose(a, b)),
            ("s5-conjugation", "a b a^-1", lambda a, b, p: compose(compose(a, b), inverse(a))),
            ("s5-sandwich", "aba", lambda a, b, p: compose(compose(a, b), a)),
        )
    },
}


def table(operation: str, p: int) -> Batch:
    """List every question and its answer.

    Args:
        operation: One of `OPERATIONS`.
        p: Modulus; prime where b is divided by.

    Returns:
        Pairs, shape (n, 2), and answers, shape (n,), n = p² (division: p(p − 1)); int64.

    Example:
        >>> pairs, answers = table("modular-division", 5)
        >>> bool((pairs[:, 1] * answers % 5 == pairs[:, 0]).all())
        True
    """
    rule = OPERATIONS[operation]
    pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))
    if rule.divides:
        pairs = pairs[pairs[:, 1] != 0]
    a, b = pairs.unbind(1)
    return Batch(pairs, rule.answers(a, b, p))
