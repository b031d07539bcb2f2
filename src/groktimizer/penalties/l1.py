"""The sum of absolute values: few non-zero entries."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from groktimizer.penalties.base import Penalty, Step, flat, largest, raised, spread


@dataclass(frozen=True)
class L1(Penalty):
    """``h(theta) = ||theta||_1``, whose minimiser on the zero-loss manifold is sparse.

    Example:
        >>> import torch
        >>> L1().prox(torch.tensor([3.0, -0.5, -2.0]), 1.0)
        tensor([ 2.,  0., -1.])
    """

    name: ClassVar[str] = "l1"

    @property
    @override
    def separable(self) -> bool:
        """True: one term per entry."""
        return True

    @override
    def value(self, theta: Tensor, *, batched: bool = False) -> Tensor:
        """The sum of absolute values."""
        return flat(raised(theta), batched).abs().sum(-1).to(theta.dtype)

    @override
    def subgradient(self, theta: Tensor, *, batched: bool = False) -> Tensor:
        """The signs, with sign(0) = 0."""
        del batched
        return theta.sign()

    @override
    def prox(self, theta: Tensor, step: Step, *, batched: bool = False) -> Tensor:
        """Soft threshold: ``sign(theta) max(|theta| - step, 0)``, computed as theta minus theta clipped to +-step."""
        values = raised(theta)
        bound = spread(step, values, batched=batched, separable=True)
        clipped = values.clamp(-bound, bound)  # pyright: ignore[reportArgumentType, reportCallIssue] (number or tensor)
        return (values - clipped).to(theta.dtype)

    @override
    def dual_norm(self, theta: Tensor, *, batched: bool = False) -> Tensor:
        """The largest absolute value."""
        return largest(flat(theta.abs(), batched))
