"""Norms of parameters: ℓ2, ℓ1 and nuclear, per tensor and in total."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Norms:
    """Norms of a set of tensors.

    Attributes:
        l2: Euclidean norm of each tensor, by name.
        l1: Sum of absolute values of each tensor, by name.
        nuclear: Sum of singular values of each tensor, by name; empty if not asked for.
    """

    l2: dict[str, float]
    l1: dict[str, float]
    nuclear: dict[str, float]

    @property
    def total_l2(self) -> float:
        """Euclidean norm of all parameters together."""
        return math.hypot(*self.l2.values())

    @property
    def total_l1(self) -> float:
        """Sum of absolute values of all parameters."""
        return math.fsum(self.l1.values())

    @property
    def total_nuclear(self) -> float:
        """Sum over tensors of their nuclear norms; NaN if not asked for."""
        return math.fsum(self.nuclear.values()) if self.nuclear else math.nan


def _nuclear(tensor: Tensor) -> float:
    """Sum the singular values of a tensor.

    Args:
        tensor: Any shape; more than two dimensions count as (first × rest), a vector as one column.

    Returns:
        The nuclear norm; NaN if the tensor is not finite.
    """
    if not torch.isfinite(tensor).all():
        return math.nan
    if tensor.ndim <= 1 or tensor.numel() == 0:
        return float(torch.linalg.vector_norm(tensor.double()))
    exact = tensor if tensor.dtype == torch.float64 else tensor.float()
    return float(torch.linalg.svdvals(exact.reshape(exact.shape[0], -1)).sum())


@torch.no_grad()
def norms(named_tensors: Iterable[tuple[str, Tensor]], *, nuclear: bool = True) -> Norms:
    """Measure named tensors, such as ``model.named_parameters()``.

    Matrices count with their singular values, tensors of more dimensions as (first dimension × rest), vectors and
    scalars as one column: their nuclear norm is their ℓ2 norm.

    Args:
        named_tensors: Names and real tensors of any shape, dtype and device.
        nuclear: Whether to compute the singular values, the only costly part.

    Returns:
        The norms, in the unit of the parameters.

    Example:
        >>> measured = norms([("w", torch.diag(torch.tensor([3.0, 4.0]))), ("b", torch.tensor([0.0, -12.0]))])
        >>> measured.total_l2, measured.total_l1, measured.total_nuclear
        (13.0, 19.0, 19.0)
    """
    tensors = {name: tensor.detach() for name, tensor in named_tensors}
    return Norms(
        l2={name: float(torch.linalg.vector_norm(t, dtype=torch.float64)) for name, t in tensors.items()},
        l1={name: float(torch.linalg.vector_norm(t, ord=1, dtype=torch.float64)) for name, t in tensors.items()},
        nuclear={name: _nuclear(t) for name, t in tensors.items()} if nuclear else {},
    )
