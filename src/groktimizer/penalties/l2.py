"""The squared Euclidean norm."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class L2:
    """``h(theta) = 1/2 ||theta||^2``, the complexity that weight decay minimises.

    Every method works on one tensor, or on a stack of tensors along a leading axis when ``batched`` is set.

    Example:
        >>> import torch
        >>> L2().value(torch.tensor([3.0, 4.0]))
        tensor(12.5000)
    """

    def value(self, theta: Tensor, *, batched: bool = False) -> Tensor:
        """Half the squared norm.

        Args:
            theta: Tensor of any shape; with `batched`, ``(runs, ...)``.
            batched: Whether the leading axis counts independent tensors.

        Returns:
            A scalar; with `batched`, shape ``(runs,)``.
        """
        squares = theta.square()
        return 0.5 * (squares.flatten(1).sum(1) if batched else squares.sum())

    def subgradient(self, theta: Tensor) -> Tensor:
        """The gradient of h, which is theta itself.

        Args:
            theta: Tensor of any shape.

        Returns:
            `theta`, not copied.
        """
        return theta

    def prox(self, theta: Tensor, step: float) -> Tensor:
        """``argmin_u h(u) + ||u - theta||^2 / (2 step)``, the shrinkage ``theta / (1 + step)``.

        Args:
            theta: Tensor of any shape.
            step: Step times weight, non-negative.

        Returns:
            A tensor shaped like `theta`.
        """
        return theta / (1.0 + step)
