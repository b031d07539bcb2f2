"""Accelerated proximal steps: the update rule of complexities other than L2.

For a parameter theta, a penalty h of weight beta and the velocity b of the last step::

    z <- theta - eta m b;   theta' <- prox(z - eta force);   b <- (theta - theta') / eta;   theta <- theta'

b is in the units of the force, as the momentum of the L2 rule is, so a schedule that lowers eta slows the motion at
once. The gradient is taken at theta, so what the user evaluates and saves is the output of a proximal map: exactly
sparse, of low rank up to rounding (but for the short probes of a Euclidean run without lr and without closure).
Everything restarts from rest when ``(z - theta') . (theta' - theta) > 0``: the adaptive restart of O'Donoghue and
Candes (2015).

- Euclidean metric: force is the gradient, the prox has step eta beta, and m = (k - 1)/(k + 2) at the k-th step since
  the last restart: the proximal heavy ball on ``g + beta h``, with the momentum of accelerated proximal gradient.
- Adaptive metric: force is the gradient over its root second moment, clipped to [-1, 1]; m is the critical momentum of
  the untuned L2 rule. A separable h has an exact prox in the diagonal metric, of step ``eta beta / sqrt(n)``: a fixed
  point is stationary for ``g + beta h`` itself. There sqrt(n) is about beta, so that the effective step is eta/beta:
  with a given lr and weight the point is stable only while eta times the sharpness stays below about beta. Any other h
  (nuclear norm, groups) gets its Euclidean prox of step eta beta, decoupled as AdamW's decay is: no fixed objective is
  solved, the penalty balances a gradient of unit size.
"""

from typing import Any

import torch
from torch import Tensor

from groktimizer.optim import store
from groktimizer.optim.agreement import device_of, local, stacked
from groktimizer.optim.control import Control
from groktimizer.optim.updates import Scalars
from groktimizer.penalties import L2, Penalty
from groktimizer.penalties.base import raised


def due(groups: list[dict[str, Any]]) -> bool:
    """Whether some group takes proximal steps now.

    Args:
        groups: The parameter groups.

    Returns:
        True if the penalty of a group is not L2, and a schedule has not paused it.
    """
    return any(not isinstance(group["penalty"], L2) and float(group["lr"]) > 0.0 for group in groups)


BLOCK = 1 << 16  # entries; what a step of so many makes by the way stays in a core's cache, and memory is not asked for


def step(penalty: Penalty, tensors: list[Tensor], scalars: Scalars, momentum: float | Tensor) -> Tensor:
    """One accelerated proximal step of one tensor, in place; on a CPU in blocks of rows where h allows it.

    Args:
        penalty: The complexity h.
        tensors: theta and b, moved in place; between them the gradient, read only; in the adaptive metric a fourth, the
            second moment, updated in place. Of 16-bit tensors the step is computed in float32, and what rounding takes
            from theta stays in b, so that small steps add up.
        scalars: Step size, weight of h, and the constants of the second moment.
        momentum: m.

    Returns:
        ``(z - theta') . (theta' - theta)``, a scalar.
    """
    theta = tensors[0]
    rows = max(1, BLOCK * len(theta) // theta.numel()) if penalty.separable and theta.ndim and theta.numel() else 0
    if not rows or theta.device.type != "cpu" or rows >= len(theta):
        return _step(penalty, tensors, scalars, momentum)
    blocks = zip(*(tensor.split(rows) for tensor in tensors), strict=True)
    return torch.stack([_step(penalty, list(block), scalars, momentum) for block in blocks]).sum()


def _step(penalty: Penalty, tensors: list[Tensor], scalars: Scalars, momentum: float | Tensor) -> Tensor:
    theta, grad, velocity, *moment = tensors
    force, size = grad, None
    if moment:
        moment[0].mul_(scalars.beta2).addcmul_(grad, grad, value=1.0 - scalars.beta2)
        size = (moment[0] / scalars.correction).sqrt_().add_(scalars.eps)
        force = torch.maximum(size, grad.abs())
        torch.div(grad, force, out=force)
    here, push = raised(theta), scalars.lr * momentum
    ahead = raised(velocity) * (push.to(here.device) if isinstance(push, Tensor) else push)
    torch.sub(here, ahead, out=ahead)
    moved = torch.add(ahead, force, alpha=scalars.lr if scalars.maximize else -scalars.lr)
    if scalars.weight_decay > 0.0:
        width = scalars.lr * scalars.weight_decay
        moved = penalty.prox(moved, width / size if size is not None and penalty.separable else width)
    gone = here - moved
    torch.div(gone, scalars.lr, out=velocity)
    theta.copy_(moved)
    return -ahead.sub_(moved).mul_(gone).sum()


def restart(groups: list[dict[str, Any]], state: store.State, control: Control) -> Tensor:
    """Bring everything to rest if the last step's momentum pointed uphill; decided on the device, without waiting.

    Args:
        groups: The parameter groups.
        state: The optimizer's state; velocities are changed in place.
        control: The control numbers: ``turn``, the last step's restart test summed over all tensors, is used up, and
            ``age``, the steps since the last restart, goes on; both may be numbers or live on the device.

    Returns:
        The age, on the device.
    """
    device = device_of([param for group in groups for param in group["params"]])
    turn, age = (_on(device, value) for value in (control.turn, control.age))
    go_on = turn <= 0.0
    age = age * go_on.to(age) + 1.0
    control.turn, control.age = 0.0, age
    for group in groups:
        if not isinstance(group["penalty"], L2):
            for param in group["params"]:
                velocity = state.get(param, {}).get(store.VELOCITY)
                if velocity is not None and not store.is_idle(velocity):
                    local(velocity).mul_(go_on.to(velocity.device, velocity.dtype))
    return age


def _on(device: torch.device, value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else stacked([value], device)[0]
