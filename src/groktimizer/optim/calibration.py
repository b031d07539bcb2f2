"""Euclidean metric without lr: the step size from the sharpness of the training loss.

Power iteration on gradient differences, ``H v ~ (grad(theta + h v) - grad(theta)) / h``. With a closure each product
costs one extra pass at a point that is left again; a closure frees its graph and fused attention has no second
derivative, so gradients are differenced. Without a closure the probe is an ordinary, very short step: the next call's
gradient completes the product, and nothing extra is computed. Both assume that successive losses are of the same batch.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

SAFETY = 0.25  # of 4 / sharpness, the stability limit of heavy ball at momentum ~ 1
EVERY = 20
FIRST, LATER = 20, 3
GROWTH = 1.3
REACH = 1e-3  # length of a probe, in units of the parameters' norm

State = dict[Any, dict[str, Any]]


def refresh(
    groups: list[dict[str, Any]], state: State, control: dict[str, Any], closure: Callable[[], Any] | None
) -> bool:
    """Re-estimate the sharpness when it is due and set ``control["lr_scale"]``.

    Args:
        groups: The parameter groups, gradients set.
        state: The optimizer's state; keeps the leading direction (and, between two probes, one gradient).
        control: The controller's numbers.
        closure: The user's closure, if there is one.

    Returns:
        Whether this step went into a probe, so that no update is due.
    """
    since = control["steps"] - 1 - control["switch_step"]
    params = [param for group in groups for param in group["params"] if param.grad is not None]
    probes = control.get("probes_left", 0)
    if closure is None:
        if probes == 0 and since % EVERY == 0 and control.get("calibrated_at") != since:
            control["probes_left"], control["calibrated_at"] = (FIRST if since == 0 else LATER), since
            return _begin_probe(params, state)
        return _go_on_probing(params, state, control) if probes else False
    if since % EVERY == 0:
        count = FIRST if "curvature" not in control else LATER
        control["extra_passes"] += count
        _adopt(control, _power_iteration(params, state, closure, count))
    return False


def _adopt(control: dict[str, Any], sharpness: float) -> None:
    if not 0.0 < sharpness < float("inf"):
        return
    target = SAFETY * 4.0 / sharpness
    control["lr_scale"] = target if "curvature" not in control else min(target, GROWTH * control["lr_scale"])
    control["curvature"] = sharpness


def _length(tensors: list[Tensor]) -> float:
    return float(torch.stack([torch.linalg.vector_norm(t, dtype=torch.float64) for t in tensors]).norm())


def _directions(params: list[Tensor], grads: list[Tensor], state: State) -> list[Tensor]:
    """Unit vector to probe along: the last leading direction, at first the gradient."""
    known = ["probe_direction" in state[param] for param in params]
    raw = [state[param]["probe_direction"] for param in params] if all(known) else [grad.clone() for grad in grads]
    length = _length(raw)
    return [vector / length for vector in raw] if length > 0.0 else raw


def _power_iteration(params: list[Tensor], state: State, closure: Callable[[], Any], count: int) -> float:
    grads = [param.grad for param in params if param.grad is not None]
    origin = [param.detach().clone() for param in params]
    reach = REACH * max(_length(params), 1e-12)
    sharpness = 0.0
    for _ in range(count):
        directions = _directions(params, grads, state)
        for param, start, direction in zip(params, origin, directions, strict=True):
            param.copy_(start + reach * direction)
            param.grad = None
        with torch.enable_grad():
            closure()
        moved = [grad if param.grad is None else param.grad for param, grad in zip(params, grads, strict=True)]
        products = [(new - old) / reach for new, old in zip(moved, grads, strict=True)]
        sharpness = _length(products)
        for param, product in zip(params, products, strict=True):
            state[param]["probe_direction"] = product
    for param, start, grad in zip(params, origin, grads, strict=True):
        param.copy_(start)
        param.grad = grad
    return sharpness


def _begin_probe(params: list[Tensor], state: State) -> bool:
    grads = [param.grad for param in params if param.grad is not None]
    directions = _directions(params, grads, state)
    reach = REACH * max(_length(params), 1e-12)
    for param, grad, direction in zip(params, grads, directions, strict=True):
        state[param]["probe_direction"] = direction
        state[param]["previous_grad"] = grad.clone()
        param.sub_(direction, alpha=reach)
    state[params[0]]["probe_reach"] = torch.tensor(reach, dtype=torch.float64)
    return True


def _go_on_probing(params: list[Tensor], state: State, control: dict[str, Any]) -> bool:
    seen = [param for param in params if "previous_grad" in state[param]]
    reach = float(state[seen[0]].pop("probe_reach"))
    products = []
    for param in seen:
        grad = param.grad
        if grad is not None:
            products.append((state[param].pop("previous_grad") - grad) / reach)
            param.add_(state[param]["probe_direction"], alpha=reach)
            state[param]["probe_direction"] = products[-1]
    control["probes_left"] -= 1
    sharpness = _length(products)
    if control["probes_left"] == 0:
        _adopt(control, sharpness)
    return True
