"""A complexity plus a little of the squared norm."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from groktimizer.ground.checks import not_negative
from groktimizer.ground.errors import UserError
from groktimizer.penalties.base import Penalty, Step, raised, spread
from groktimizer.penalties.l2 import L2


@dataclass(frozen=True)
class Elastic(Penalty):
    """``h(theta) = penalty(theta) + (l2/2) ||theta||^2``: strongly convex, so its minimiser is unique.

    Args:
        penalty: The complexity.
        l2: Weight of the squared norm, relative to the complexity.

    Raises:
        UserError: If `penalty` is not a penalty or `l2` is negative or not finite.

    Example:
        >>> import torch
        >>> from groktimizer.penalties import L1
        >>> Elastic(L1(), l2=1.0).prox(torch.tensor([3.0, -0.5]), 1.0)
        tensor([1., 0.])
    """

    penalty: Penalty
    l2: float

    name: ClassVar[str] = "elastic"

    def __post_init__(self) -> None:
        """Check both options."""
        if not isinstance(self.penalty, Penalty):
            raise UserError(f"penalty={self.penalty!r}: expected a penalty, such as L1()")
        not_negative(l2=self.l2)

    @property
    @override
    def separable(self) -> bool:
        """Whether the complexity is."""
        return self.penalty.separable

    @property
    @override
    def kinked(self) -> bool:
        """Whether the complexity has a kink at 0."""
        return self.penalty.kinked

    @override
    def check(self, param: Tensor) -> None:
        """Refuse what the complexity refuses."""
        self.penalty.check(param)

    @override
    def value(self, theta: Tensor, *, batched: bool = False) -> Tensor:
        """The weighted sum."""
        return self.penalty.value(theta, batched=batched) + self.l2 * L2().value(theta, batched=batched)

    @override
    def subgradient(self, theta: Tensor, *, batched: bool = False) -> Tensor:
        """The complexity's subgradient plus ``l2 theta``; of least norm, as what is free lies across theta."""
        values = raised(theta)
        return (self.penalty.subgradient(values, batched=batched) + self.l2 * values).to(theta.dtype)

    @override
    def prox(self, theta: Tensor, step: Step, *, batched: bool = False) -> Tensor:
        """The complexity's map at ``theta / (1 + step l2)`` with step ``step / (1 + step l2)``."""
        values = raised(theta)
        growth = 1.0 + self.l2 * spread(step, values, batched=batched, separable=self.separable)
        own = step / (growth.reshape(step.shape) if isinstance(growth, Tensor) and isinstance(step, Tensor) else growth)
        return self.penalty.prox(values / growth, own, batched=batched).to(theta.dtype)

    @override
    def dual_norm(self, theta: Tensor, *, batched: bool = False) -> Tensor:
        """The dual norm of the complexity: the squared norm does not move the weight above which 0 is the answer."""
        return self.penalty.dual_norm(theta, batched=batched)
