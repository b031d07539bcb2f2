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
    """Re-estimate the sharpness when it is due and set ``control["calibrated"]``.

    Args:
        groups: The parameter groups, gradients set.
        state: The optimizer's state; keeps the leading direction (and, while probing, one gradient).
        control: The controller's numbers.
        closure: The user's closure, if there is one.

    Returns:
        Whether this step went into a probe, so that no update is due.
    """
    since = control["steps"] - 1 - control["switch_step"]
    params = [param for group in groups for param in group["params"] if param.grad is not None]
    if control.get("probes_left", 0):
        _finish_probe(params, state, control)
        return True
    if since % EVERY == 0 or "curvature" not in control:
        count = FIRST if "curvature" not in control else LATER
        if closure is None:
            control["probes_left"] = count
            _begin_probes(params, state, control)
            return True
        control["extra_passes"] += count
        _adopt(control, _power_iteration(params, state, closure, count))
    return False


def _adopt(control: dict[str, Any], sharpness: float) -> None:
    if not 0.0 < sharpness < float("inf"):
        return  # a flat or broken probe says nothing: the step stays, and the next calibration comes soon
    target = SAFETY * 4.0 / sharpness
    control["calibrated"] = target if "curvature" not in control else min(target, GROWTH * control["calibrated"])
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


def _begin_probes(params: list[Tensor], state: State, control: dict[str, Any]) -> None:
    grads = [param.grad for param in params if param.grad is not None]
    control["probe_reach"] = REACH * max(_length(params), 1e-12)
    for param, grad, direction in zip(params, grads, _directions(params, grads, state), strict=True):
        state[param]["probe_direction"] = direction
        state[param]["probe_gradient"] = grad.clone()
        param.add_(direction, alpha=control["probe_reach"])


def _finish_probe(params: list[Tensor], state: State, control: dict[str, Any]) -> None:
    """Complete one product, go back, and set out along it if another probe is left."""
    reach = control["probe_reach"]
    probed = [param for param in params if "probe_gradient" in state[param]]
    grads = [param.grad for param in probed if param.grad is not None]
    products = [(grad - state[param]["probe_gradient"]) / reach for param, grad in zip(probed, grads, strict=True)]
    for param, product in zip(probed, products, strict=True):
        param.sub_(state[param]["probe_direction"], alpha=reach)
        state[param]["probe_direction"] = product
    control["probes_left"] -= 1
    if control["probes_left"]:
        for param, direction in zip(probed, _directions(probed, grads, state), strict=True):
            state[param]["probe_direction"] = direction
            param.add_(direction, alpha=reach)
        return
    for param in probed:
        del state[param]["probe_gradient"]
    _adopt(control, _length(products))
