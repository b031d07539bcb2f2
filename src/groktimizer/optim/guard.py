"""Tensor side of the guard, and the small tensor chores of phase 2."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from groktimizer.optim.base import length


def buffer(state: dict[Any, dict[str, Any]], param: Tensor, name: str) -> Tensor:
    """A state tensor shaped like the parameter, zeros on first use.

    Args:
        state: The optimizer's state.
        param: A parameter.
        name: The key.

    Returns:
        The tensor in the state.
    """
    entry = state[param]
    if name not in entry:
        entry[name] = torch.zeros_like(param, memory_format=torch.preserve_format)
    return entry[name]


def moment(state: dict[Any, dict[str, Any]], param: Tensor, correction: float) -> Tensor:
    """The second moment of a parameter; one whose first gradient comes late starts from that gradient's square.

    Args:
        state: The optimizer's state.
        param: A parameter with a gradient.
        correction: The group's bias correction one step ago, so that this gradient alone sets its own scale.

    Returns:
        The tensor in the state.
    """
    entry = state[param]
    if "exp_avg_sq" not in entry and param.grad is not None:
        entry["exp_avg_sq"] = param.grad.square().mul_(correction)
    return entry["exp_avg_sq"]


def dense_gradients(params: list[Tensor]) -> list[Tensor]:
    """The gradients of parameters that have one.

    Args:
        params: Parameters whose ``grad`` is set.

    Returns:
        Their gradients, not copied.

    Raises:
        ValueError: If one is sparse.
    """
    grads: list[Tensor] = []
    for param in params:
        grad = param.grad
        if grad is None or grad.layout != torch.strided:
            raise ValueError(
                f"the gradient of a parameter of shape {tuple(param.shape)} is sparse: accepted are dense gradients "
                "(build nn.Embedding with sparse=False)"
            )
        grads.append(grad)
    return grads


def norm(groups: list[dict[str, Any]]) -> float:
    """Norm of all parameters that the penalty shrinks.

    Args:
        groups: The parameter groups.

    Returns:
        The l2 norm over trainable tensors of groups with weight_decay > 0.
    """
    penalised = [param for group in groups if group["weight_decay"] != 0 for param in group["params"]]
    params = [param for param in penalised if param.requires_grad]
    if any(param.is_meta for param in params):
        return float("nan")
    return sum(length(param) ** 2 for param in params) ** 0.5


FLUSH_SHARE, FLUSH_BELOW = 1e-10, 1e-20
FLUSH_EVERY = 50
FLUSH_SPEED = 100.0  # a velocity this many times as large as a dead entry still dies with it
NARROW = (torch.float32, torch.bfloat16)


def flush(params: Sequence[Tensor], velocities: Sequence[Tensor]) -> None:
    """Set to zero what decay has brought, with its velocity, below 1e-10 of a tensor's largest entry, or below 1e-20.

    A direction that the loss does not use shrinks exponentially. Its products with activations and other weights reach
    float32's subnormal range within a few hundred steps, and a CPU computes there ten times slower and more; beside
    the largest entry such a number is a thousandth of float32's rounding. float64 is left alone.

    Args:
        params: Parameters, changed in place.
        velocities: Their velocities, changed in place.
    """
    for param, velocity in zip(params, velocities, strict=True):
        if param.dtype in NARROW and param.numel():
            size, speed = param.abs(), velocity.abs()
            least = (size.amax() * FLUSH_SHARE).clamp_min(FLUSH_BELOW)
            dead = (size < least) & (speed < FLUSH_SPEED * least)
            param.masked_fill_(dead, 0.0)
            velocity.masked_fill_(dead | (speed < FLUSH_BELOW), 0.0)


def nbytes(content: Any) -> int:
    """Bytes of every tensor in nested dicts.

    Args:
        content: A state, by parameter or by number.

    Returns:
        The sum.
    """
    if isinstance(content, Tensor):
        return content.nbytes
    return sum(nbytes(value) for value in content.values()) if isinstance(content, dict) else 0


def keep(groups: list[dict[str, Any]], state: dict[Any, dict[str, Any]]) -> None:
    """Copy the parameters as they are: an interpolating state.

    Args:
        groups: The parameter groups.
        state: The optimizer's state; each entry gets a ``"snapshot"``.
    """
    for group in groups:
        for param in group["params"]:
            if param.requires_grad:
                buffer(state, param, "snapshot").copy_(param)


def roll_back(groups: list[dict[str, Any]], state: dict[Any, dict[str, Any]]) -> None:
    """Return to the kept parameters, at rest; second moments start anew, since a bad gradient lives long in them.

    Args:
        groups: The parameter groups.
        state: The optimizer's state.
    """
    for group in groups:
        group["moment_steps"] = 0
        for param in group["params"]:
            entry = state.get(param, {})
            if "snapshot" in entry:
                param.copy_(entry["snapshot"])
            for name in ("momentum_buffer", "exp_avg_sq"):
                if name in entry:
                    entry[name].zero_()
            entry.pop("probe_gradient", None)
