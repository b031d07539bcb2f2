"""A complexity plus a little of the squared norm."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from groktimizer.ground.errors import UserError
from groktimizer.penalties.base import Penalty, Step, is_number, raised, spread
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
        if not is_number(self.l2) or not (self.l2 >= 0 and math.isfinite(self.l2)):
            raise UserError(f"l2={self.l2!r}: expected a finite number ≥ 0")

    @property
    def separable(self) -> bool:
        """Whether the complexity is."""
        return self.penalty.separable

    @property
    def kinked(self) -> bool:
        """Whether the complexity has a kink at 0."""
        return self.penalty.kinked

    def check(self, param: Tensor) -> None:
        """Refuse what the complexity refuses.

        Args:
            param: One parameter.
        """
        self.penalty.check(param)

    def value(self, theta: Tensor, *, batched: bool = False) -> Tensor:
        """The weighted sum.

        Args:
            theta: A tensor that the complexity accepts; with `batched`, ``(runs, ...)``.
            batched: Whether the leading axis counts independent tensors.

        Returns:
            A scalar; with `batched`, shape ``(runs,)``.
        """
        return self.penalty.value(theta, batched=batched) + self.l2 * L2().value(theta, batched=batched)

    def subgradient(self, theta: Tensor, *, batched: bool = False) -> Tensor:
        """The complexity's subgradient plus ``l2 theta``; of least norm, as what is free lies across theta.

        Args:
            theta: As in `value`.
            batched: As in `value`.

        Returns:
            A tensor shaped like `theta`.
        """
        values = raised(theta)
        return (self.penalty.subgradient(values, batched=batched) + self.l2 * values).to(theta.dtype)

    def prox(self, theta: Tensor, step: Step, *, batched: bool = False) -> Tensor:
        """The complexity's map at ``theta / (1 + step l2)`` with step ``step / (1 + step l2)``.

        Args:
            theta: As in `value`.
            step: Step times weight, non-negative: what the complexity's own map takes.
            batched: As in `value`.

        Returns:
            A tensor shaped like `theta`.
        """
        values = raised(theta)
        growth = 1.0 + self.l2 * spread(step, values, batched=batched, separable=self.separable)
        own = step / (growth.reshape(step.shape) if isinstance(growth, Tensor) and isinstance(step, Tensor) else growth)
        return self.penalty.prox(values / growth, own, batched=batched).to(theta.dtype)

    def dual_norm(self, theta: Tensor, *, batched: bool = False) -> Tensor:
        """The dual norm of the complexity: the squared norm does not move the weight above which 0 is the answer.

        Args:
            theta: As in `value`.
            batched: As in `value`.

        Returns:
            A scalar; with `batched`, shape ``(runs,)``.
        """
        return self.penalty.dual_norm(theta, batched=batched)
