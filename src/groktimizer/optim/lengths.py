"""Lengths and spreads of tensors, whole or sharded, summed in float64."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from groktimizer.optim.agreement import Scope, device_of, local, sums, wide

BLOCK = 1 << 18  # entries that a processor's cache holds in float64
EQUAL = 1e-5  # variance over mean square of entries that are equal for our purposes, or to float32's rounding


def square(tensor: Tensor) -> Tensor:
    """Squared l2 norm of this rank's part of a tensor, summed in float64 (float32 where there is none).

    Args:
        tensor: A real tensor.

    Returns:
        A scalar.
    """
    return square_of(blocks(tensor))


def square_of(pieces: Iterable[Tensor]) -> Tensor:
    """The same of pieces.

    Args:
        pieces: At least one tensor; one at a time is held.

    Returns:
        A scalar.
    """
    norms = [torch.linalg.vector_norm(piece, dtype=wide(piece.device)) for piece in pieces]
    return torch.stack(norms).square().sum() if len(norms) > 1 else norms[0].square()


def blocks(tensor: Tensor) -> tuple[Tensor, ...]:
    """This rank's part of a tensor, to be read, in pieces that a processor's cache holds.

    A norm in another type copies its tensor first: of a large one that takes ten times as long as of its blocks. One
    whose entries do not lie in a row is copied as it is.

    Args:
        tensor: Any tensor.

    Returns:
        The part itself if it is small, or on a device.
    """
    part = local(tensor).detach()
    return (part,) if part.numel() <= BLOCK or part.device.type != "cpu" else part.reshape(-1).split(BLOCK)


def deviations(params: list[Tensor], scope: Scope) -> list[float]:
    """Standard deviation of each tensor's entries, the whole tensor's where it is sharded: one reduction for all.

    Args:
        params: Parameters.
        scope: Who takes part.

    Returns:
        The deviations; 0 for a tensor of equal entries, or none, nan for one without data (on the meta device).
    """
    known = [param for param in params if not param.is_meta]
    parts: list[Tensor | float] = []
    for param in known:
        share, part = scope.share(param), local(param).detach()
        total = part.sum(dtype=wide(part.device))
        parts += [total * share, square(param) * share, part.numel() * share]
    totals = iter(sums(parts, scope, device_of(known)))
    result: list[float] = []
    for param in params:
        if param.is_meta:
            result.append(math.nan)
            continue
        total, squares, count = next(totals), next(totals), max(1, round(next(totals)))
        variance = (squares - total * total / count) / count
        result.append(math.sqrt(variance) if variance > EQUAL * squares / count else 0.0)
    return result
