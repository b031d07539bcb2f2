"""Small chores on tensors: the norm of what is penalised, and what must not be in a gradient or stay in a weight."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from groktimizer.ground.errors import UserError
from groktimizer.optim.agreement import ALONE, Scope, device_of, local, scope_of_shards, sums
from groktimizer.optim.lengths import square


def refuse_sparse(param: Tensor) -> NoReturn:
    """Refuse a parameter whose gradient is sparse.

    Args:
        param: The parameter.

    Raises:
        UserError: One line with what is accepted.
    """
    raise UserError(
        f"the gradient of a parameter of shape {tuple(param.shape)} is sparse: expected dense gradients "
        "(build nn.Embedding with sparse=False)"
    )


def check_dense(params: Iterable[Tensor]) -> None:
    """Refuse sparse gradients.

    Args:
        params: Parameters.

    Raises:
        UserError: If one has a sparse gradient.
    """
    for param in params:
        if param.grad is not None and param.grad.layout != torch.strided:
            refuse_sparse(param)


def penalised(groups: list[dict[str, Any]]) -> list[Tensor]:
    """The tensors that the penalty shrinks.

    Args:
        groups: The parameter groups.

    Returns:
        Trainable tensors of groups with weight_decay > 0.
    """
    shrunk = [param for group in groups if group["weight_decay"] != 0 for param in group["params"]]
    return [param for param in shrunk if param.requires_grad]


def squares(groups: list[dict[str, Any]], scope: Scope) -> list[Tensor | float]:
    """This rank's parts of the squared norms of what the penalty shrinks.

    Args:
        groups: The parameter groups.
        scope: Who takes part.

    Returns:
        One part per tensor.
    """
    return [square(param) * scope.share(param) for param in penalised(groups)]


def norm(groups: list[dict[str, Any]], scope: Scope | None = None) -> float:
    """Norm of all parameters that the penalty shrinks; of sharded ones a reduction, which every rank has to ask for.

    Args:
        groups: The parameter groups.
        scope: Who takes part; None finds out.

    Returns:
        The l2 norm over trainable tensors of groups with weight_decay > 0; nan for tensors without data.
    """
    params = penalised(groups)
    if any(param.is_meta for param in params):
        return float("nan")
    scope = scope or scope_of_shards(params) or ALONE
    return math.sqrt(sums([sum(squares(groups, scope))], scope, device_of(params))[0])


FLUSH_SHARE, FLUSH_BELOW = 1e-10, 1e-20
FLUSH_EVERY = 50
FLUSH_SPEED = 100.0  # a velocity this many times as large as a dead entry still dies with it
NARROW = (torch.float32, torch.bfloat16)


def flush(params: Sequence[Tensor], velocities: Sequence[Tensor]) -> None:
    """Set to zero what decay has brought, with its velocity, below 1e-10 of a tensor's largest entry, or below 1e-20.

    A direction that the loss does not use shrinks exponentially. Its products with activations and other weights reach
    float32's subnormal range within a few hundred steps, and a CPU computes there ten times slower and more; beside
    the largest entry such a number is a thousandth of float32's rounding. float64 is left alone, and so are devices, on
    which subnormal numbers cost nothing.

    Args:
        params: Parameters, changed in place.
        velocities: Their velocities, changed in place.
    """
    for param, velocity in zip(map(local, params), map(local, velocities), strict=True):
        if param.dtype in NARROW and param.device.type == "cpu" and param.numel():
            size = param.abs()
            smallest, largest = (float(value) for value in torch.aminmax(size))
            least = max(largest * FLUSH_SHARE, FLUSH_BELOW)
            if smallest < least:
                dead = (size < least) & (velocity.abs() < FLUSH_SPEED * least)
                param.masked_fill_(dead, 0.0)
                velocity.masked_fill_(dead, 0.0)
            torch.hardshrink(velocity, FLUSH_BELOW, out=velocity)
