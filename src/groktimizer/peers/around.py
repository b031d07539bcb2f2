"""An optimizer around another one, and the ways to take a step that are told to it: SAM's, L-BFGS's, clipped rows."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import override

from groktimizer.ground.errors import UserError

Closure = Callable[[], Any]
Take = Callable[[Optimizer, Closure | None], Any]
SMALLEST_ROW = 1e-8  # rows below are taken for zero and stay so


class Around(Optimizer):
    """An optimizer around another: the same groups and state, another way to take a step.

    Args:
        inner: The other; its groups and state are this one's.
        take: Takes a step from it and a closure; gives the loss.

    Example:
        >>> from functools import partial
        >>> weight = torch.ones(1, 2, requires_grad=True)
        >>> opt = Around(torch.optim.SGD([weight], lr=1.0), partial(clipped, [weight], [], 1.0))
        >>> weight.grad = torch.tensor([[-2.0, -3.0]])
        >>> opt.step()
        >>> [round(entry, 3) for entry in weight.flatten().tolist()]
        [0.6, 0.8]
    """

    def __init__(self, inner: Optimizer, take: Take) -> None:
        self.inner, self.take = inner, take
        super().__init__([dict(group) for group in inner.param_groups], {})
        self._share()

    def _share(self) -> None:
        self.param_groups, self.state = self.inner.param_groups, self.inner.state

    @override
    def __getstate__(self) -> dict[str, Any]:
        """Everything that deepcopy and pickle need."""
        return super().__getstate__() | {"inner": self.inner, "take": self.take}

    @override
    def __setstate__(self, state: dict[str, Any]) -> None:
        """Put the content of a copy in place; state and groups are the inner optimizer's again."""
        super().__setstate__(state)
        self._share()

    @torch.no_grad()
    @override
    def step(self, closure: Closure | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] (one for torch's overloads)
        """Take one step, in the way that was told."""
        return self.take(self.inner, closure)

    @override
    def state_dict(self) -> dict[str, Any]:
        """The inner optimizer's state."""
        return self.inner.state_dict()

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the inner optimizer's state."""
        self.inner.load_state_dict(state_dict)
        self._share()


def needed(closure: Closure | None) -> Closure:
    """Ask for a closure.

    Args:
        closure: What `step` was given.

    Returns:
        The closure, called with gradients on.

    Raises:
        UserError: If there is none.
    """
    if closure is None:
        raise UserError("closure=None: this optimizer looks at the loss itself, expected step(closure)")
    return torch.enable_grad()(closure)


def at_the_worst(inner: Optimizer, closure: Closure | None) -> Any:
    """Take a step of pytorch-optimizer's SAM, which asks for the gradients at the weights first: two passes.

    Args:
        inner: SAM.
        closure: Zeroes the gradients, computes loss and gradients.

    Returns:
        The loss at the weights.
    """
    evaluate = needed(closure)
    loss = evaluate()
    inner.step(evaluate)
    return loss


def raised(weights: Sequence[Tensor], weight: float, inner: Optimizer, closure: Closure | None) -> Any:
    """Take a step on loss + β‖W‖²: what the closure gives is raised by β‖W‖², the gradients by 2βW, at every call.

    Args:
        weights: The tensors of W.
        weight: β.
        inner: An optimizer that calls its closure at several points, such as L-BFGS.
        closure: Zeroes the gradients, computes loss and gradients.

    Returns:
        The loss at the first point, without penalty.
    """
    evaluate, losses = needed(closure), list[Any]()

    def objective() -> Any:
        losses.append(evaluate())
        with torch.no_grad():
            for param in weights:
                if param.grad is not None:
                    param.grad.add_(param, alpha=2 * weight)
            return losses[-1].detach() + weight * sum(float(param.square().sum()) for param in weights)

    inner.step(objective)
    return losses[0]


def clipped(
    tensors: Sequence[Tensor], start: Sequence[Tensor], radius: float, inner: Optimizer, closure: Closure | None
) -> Any:
    """Take a step and then project rows onto a ball; before the first step give others its radius as their norm.

    Args:
        tensors: What is clipped.
        start: What is rescaled before the first step, if it has not been; the first group remembers.
        radius: Of the ball.
        inner: Any optimizer.
        closure: As it takes it.

    Returns:
        The loss.
    """
    if not inner.param_groups[0].get("begun"):
        onto_sphere(start, radius)
        inner.param_groups[0]["begun"] = True
    loss = inner.step() if closure is None else inner.step(torch.enable_grad()(closure))
    for tensor in tensors:
        tensor.copy_(torch.renorm(_rows(tensor), 2, 0, radius).view_as(tensor))
    return loss


@torch.no_grad()
def onto_sphere(tensors: Sequence[Tensor], radius: float) -> None:
    """Give every row the same norm; rows of zeros stay.

    Args:
        tensors: What is rescaled, in place.
        radius: The norm.
    """
    for tensor in tensors:
        rows = _rows(tensor)
        norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        tensor.copy_((rows * (radius / norms.clamp_min(SMALLEST_ROW))).view_as(tensor))


def _rows(tensor: Tensor) -> Tensor:
    """What goes into one unit each; a vector is one row."""
    return tensor.flatten(1) if tensor.ndim > 1 else tensor.reshape(1, -1)
