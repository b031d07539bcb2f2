"""AdamW at a fixed norm of the parameters: after every step all of them are rescaled together (arXiv 2606.13753)."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from groktimizer.peers import build
from groktimizer.peers.around import Around


@torch.no_grad()
def rescale(tensors: Sequence[Tensor], norm: float) -> None:
    """Give tensors together a norm, by one factor for all of them; zeros stay.

    Args:
        tensors: What is rescaled, in place.
        norm: The Euclidean norm of all their entries afterwards.

    Example:
        >>> weight, bias = torch.tensor([[3.0]]), torch.tensor([4.0])
        >>> rescale([weight, bias], 10.0)
        >>> float(weight), float(bias)
        (6.0, 8.0)
    """
    size = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(tensor) for tensor in tensors]))
    if size > 0:
        for tensor in tensors:
            tensor.mul_(norm / size)


def held(tensors: Sequence[Tensor], norm: float, inner: Optimizer, closure: Callable[[], Any] | None) -> Any:
    """Take a step and put the parameters back onto a sphere; the first step begins on it.

    Args:
        tensors: All parameters.
        norm: Radius of the sphere.
        inner: Any optimizer.
        closure: As it takes it.

    Returns:
        The loss.
    """
    if not inner.param_groups[0].get("begun"):
        rescale(tensors, norm)
        inner.param_groups[0]["begun"] = True
    loss = inner.step() if closure is None else inner.step(torch.enable_grad()(closure))
    rescale(tensors, norm)
    return loss


def pinned(model: nn.Module, options: Mapping[str, Any]) -> Optimizer:
    """Build AdamW whose parameters, all of them together, are rescaled to a norm before the first and after every step.

    The norm is that of the history's column "norm_l2": weights, biases and scales. Decay then only changes the
    proportion between what decays and what does not, and there is none by default.

    Args:
        model: The network.
        options: AdamW's, and "norm".

    Returns:
        The optimizer.
    """
    tensors = [param for param in model.parameters() if param.requires_grad]
    return Around(build.adamw(model, options), partial(held, tensors, options["norm"]))
