"""What phase 2 asks of a complexity h: value, subgradient, proximal map; from these follows the dual norm."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from groktimizer.ground.checks import not_negative
from groktimizer.ground.errors import UserError

Step = float | Tensor
DOUBLINGS = 100  # of a step, before it is taken that none is long enough


class Penalty(ABC):
    """A convex complexity h with ``h(0) = 0``, as an immutable value.

    Subclasses are final frozen dataclasses with `value`, `subgradient` and `prox`. Every method works on one tensor, or
    on a stack of tensors along a leading axis when ``batched`` is set; 16-bit tensors are computed in float32 and
    returned in their own type.

    Attributes:
        name: Short name.
        separable: Whether h is a sum over the entries; then `prox` also takes one step per entry (a diagonal metric).
        kinked: Whether h has a kink at 0, so that 0 is the answer above a finite weight.
    """

    name: ClassVar[str]

    @property
    def separable(self) -> bool:
        """Whether h is a sum over the entries; False unless a subclass says otherwise."""
        return False

    @property
    def kinked(self) -> bool:
        """Whether h has a kink at 0; True unless a subclass says otherwise."""
        return True

    def check(self, param: Tensor) -> None:  # noqa: B027 (nothing to refuse is a sound default)
        """Refuse a tensor that h is not defined on; every tensor is accepted unless a subclass says otherwise.

        Args:
            param: One parameter.
        """

    @abstractmethod
    def value(self, theta: Tensor, *, batched: bool = False) -> Tensor:
        """h(theta).

        Args:
            theta: Tensor of any shape that `check` accepts; with `batched`, ``(runs, ...)``.
            batched: Whether the leading axis counts independent tensors.

        Returns:
            A scalar; with `batched`, shape ``(runs,)``.
        """

    @abstractmethod
    def subgradient(self, theta: Tensor, *, batched: bool = False) -> Tensor:
        """The subgradient of h of least norm.

        Args:
            theta: As in `value`.
            batched: As in `value`.

        Returns:
            A tensor shaped like `theta`.
        """

    @abstractmethod
    def prox(self, theta: Tensor, step: Step, *, batched: bool = False) -> Tensor:
        """``argmin_u h(u) + ||u - theta||^2 / (2 step)``.

        Args:
            theta: As in `value`.
            step: Step times weight, non-negative: a number; with `batched` also one per run, shape ``(runs,)``; if
                `separable` also one per entry, shaped like `theta`.
            batched: As in `value`.

        Returns:
            A tensor shaped like `theta`.
        """

    def dual_norm(self, theta: Tensor, *, batched: bool = False) -> Tensor:
        """The least step whose proximal map takes theta to 0; of a norm h, ``max <theta, u>`` over ``h(u) <= 1``.

        ``prox(theta, step) = 0`` says that theta / step is a subgradient of h at 0. Found by bisection unless a
        subclass knows better (L2, whose map reaches 0 nowhere: ``||theta||``).

        Args:
            theta: As in `value`.
            batched: As in `value`.

        Returns:
            A scalar; with `batched`, shape ``(runs,)``. Infinity where no step takes theta to 0.
        """
        rows = theta.unbind() if batched else (theta,)
        found = theta.new_tensor([self._least_step(row) for row in rows])
        return found if batched else found[0]

    def _least_step(self, theta: Tensor) -> float:
        values = raised(theta)
        low, high = 0.0, float(torch.linalg.vector_norm(values))
        for _ in range(DOUBLINGS if math.isfinite(high) else 0):
            if not bool(self.prox(values, high).any()):
                break
            low, high = high, 2.0 * high
        else:
            return math.nan if math.isnan(high) else math.inf
        while high - low > 2.0 * torch.finfo(values.dtype).eps * high:
            middle = 0.5 * (low + high)
            low, high = (middle, high) if bool(self.prox(values, middle).any()) else (low, middle)
        return high

    def beta_max(self, gradient_at_zero: Tensor, *, batched: bool = False) -> Tensor:
        """The weight from which on theta = 0 minimises ``g + weight h``, g convex.

        Args:
            gradient_at_zero: The gradient of g at 0.
            batched: As in `value`.

        Returns:
            The dual norm of the gradient; infinity where h is smooth and the gradient is not 0. A scalar; with
            `batched`, shape ``(runs,)``.
        """
        size = self.dual_norm(gradient_at_zero, batched=batched)
        return size if self.kinked else torch.where(size > 0, torch.inf, size)


def raised(theta: Tensor) -> Tensor:
    """Take 16-bit tensors to float32 and leave the others.

    Args:
        theta: Any shape, floating point.

    Returns:
        The same values in float32 or float64.

    Raises:
        UserError: If it holds integers or complex numbers.
    """
    if not theta.is_floating_point():
        raise UserError(f"theta of type {theta.dtype}: expected floating-point tensors")
    return theta.float() if theta.dtype in {torch.bfloat16, torch.float16} else theta


def flat(theta: Tensor, batched: bool) -> Tensor:
    """Lay out the entries of each tensor in a row.

    Args:
        theta: Any shape; with `batched`, ``(runs, ...)``.
        batched: Whether the leading axis counts independent tensors.

    Returns:
        Shape ``(entries,)``; with `batched`, ``(runs, entries)``.
    """
    return theta.reshape(theta.shape[0], math.prod(theta.shape[1:])) if batched else theta.reshape(-1)


def check_order(shape: torch.Size, owner: str) -> None:
    """Refuse vectors and scalars.

    Args:
        shape: Shape of one tensor.
        owner: Who refuses, for the error.

    Raises:
        UserError: If there are fewer than two dims.
    """
    if len(shape) < 2:
        raise UserError(f"{owner} of a tensor of shape {tuple(shape)}: expected tensors with at least 2 dimensions")


def matrices(theta: Tensor, batched: bool, owner: str) -> Tensor:
    """Flatten each tensor from its dim 1 on, as the weight of a convolution is: one row per output channel.

    Args:
        theta: At least two dims; with `batched`, ``(runs, ...)`` with at least three.
        batched: Whether the leading axis counts independent tensors.
        owner: Who needs it, for the error.

    Returns:
        Shape ``(rows, columns)``; with `batched`, ``(runs, rows, columns)``.
    """
    first = 1 if batched else 0
    check_order(theta.shape[first:], owner)
    return theta.reshape(*theta.shape[: first + 1], math.prod(theta.shape[first + 1 :]))


def spread(step: Step, theta: Tensor, *, batched: bool, separable: bool) -> Step:
    """Make a step broadcast against what it acts on.

    Args:
        step: A number, one per run or one per entry.
        theta: What it acts on.
        batched: Whether the leading axis of `theta` counts independent tensors.
        separable: Whether a step per entry is accepted.

    Returns:
        The number, or a tensor of theta's type that broadcasts against `theta`.

    Raises:
        UserError: If a number is negative or not finite, or a tensor is of another shape. (The values of a tensor are
            not looked at: that would wait for the device.)
    """
    if not isinstance(step, Tensor):
        not_negative(step=step)
        return float(step)
    step = step.to(theta.device, theta.dtype)
    if step.ndim == 0 or (separable and step.shape == theta.shape):
        return step
    if batched and step.shape == theta.shape[:1]:
        return step.reshape(-1, *[1] * (theta.ndim - 1))
    accepted = ["a number"] + ["(runs,)"] * batched + [str(tuple(theta.shape))] * separable
    raise UserError(f"step of shape {tuple(step.shape)}: expected {' or '.join(accepted)}")


def largest(values: Tensor) -> Tensor:
    """Maximum of non-negative numbers over the last dim, 0 where there are none.

    Args:
        values: Shape (..., n).

    Returns:
        Shape (...).
    """
    return values.amax(-1) if values.shape[-1] else values.sum(-1)
