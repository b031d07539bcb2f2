"""The squared Euclidean norm."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from groktimizer.penalties.base import Penalty, Step, flat, raised, spread


@dataclass(frozen=True)
class L2(Penalty):
    """``h(theta) = 1/2 ||theta||^2``, the complexity that weight decay minimises.

    Every method works on one tensor, or on a stack of tensors along a leading axis when ``batched`` is set.

    Example:
        >>> import torch
        >>> L2().value(torch.tensor([3.0, 4.0]))
        tensor(12.5000)
    """

    name: ClassVar[str] = "l2"

    @property
    @override
    def separable(self) -> bool:
        """True: the square is a sum over the entries."""
        return True

    @property
    @override
    def kinked(self) -> bool:
        """False: no weight makes 0 the answer unless the gradient is 0 there."""
        return False

    @override
    def value(self, theta: Tensor, *, batched: bool = False) -> Tensor:
        """Half the squared norm."""
        return (0.5 * flat(raised(theta), batched).square().sum(-1)).to(theta.dtype)

    @override
    def subgradient(self, theta: Tensor, *, batched: bool = False) -> Tensor:
        """The gradient of h, which is theta itself."""
        del batched
        return theta

    @override
    def prox(self, theta: Tensor, step: Step, *, batched: bool = False) -> Tensor:
        """``argmin_u h(u) + ||u - theta||^2 / (2 step)``, the shrinkage ``theta / (1 + step)``."""
        values = raised(theta)
        return (values / (1.0 + spread(step, values, batched=batched, separable=True))).to(theta.dtype)

    @override
    def dual_norm(self, theta: Tensor, *, batched: bool = False) -> Tensor:
        """The Euclidean norm."""
        return torch.linalg.vector_norm(flat(raised(theta), batched), dim=-1).to(theta.dtype)
