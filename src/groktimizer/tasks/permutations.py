"""The permutations of five things, S5, as numbers: a group that is neither commutative nor solvable."""

from functools import cache
from itertools import permutations

import torch
from torch import Tensor

THINGS = 5
ORDER = 120


@cache
def elements() -> Tensor:
    """List all permutations in lexicographic order, the identity first.

    Returns:
        Shape (120, 5), int64; row a holds the images a(0) … a(4).

    Example:
        >>> elements()[[0, 119]].tolist()
        [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]]
    """
    return torch.tensor(list(permutations(range(THINGS))))


@cache
def _numbers() -> Tensor:
    """Of the images read as digits to the base 5, the number of the permutation, shape (5⁵,)."""
    numbers = torch.full((THINGS**THINGS,), -1)
    numbers[_digits(elements())] = torch.arange(ORDER)
    return numbers


def _digits(images: Tensor) -> Tensor:
    return (images * THINGS ** torch.arange(THINGS)).sum(-1)


def compose(a: Tensor, b: Tensor) -> Tensor:
    """Compute ab, which does b first: (ab)(i) = a(b(i)).

    Args:
        a: Numbers of permutations, shape (n,), int64.
        b: Likewise.

    Returns:
        Numbers, shape (n,).

    Example:
        >>> compose(torch.tensor([0, 119]), torch.tensor([7, 119])).tolist()
        [7, 0]
    """
    return _numbers()[_digits(elements()[a].gather(-1, elements()[b]))]


def inverse(a: Tensor) -> Tensor:
    """Compute a⁻¹.

    Args:
        a: Numbers of permutations, shape (n,), int64.

    Returns:
        Numbers, shape (n,).
    """
    return _numbers()[_digits(elements()[a].argsort(-1))]
