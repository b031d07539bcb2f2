"""Euclidean metric without lr: the step size from the sharpness of the training loss.

Power iteration on gradient differences, ``H v ~ (grad(theta + h v) - grad(theta)) / h``. With a closure each product
costs one extra pass at a point that is left again; a closure frees its graph and fused attention has no second
derivative, so gradients are differenced. Without a closure the probe is an ordinary, very short step: the next call's
gradient completes the product, and nothing extra is computed; entries that a proximal map has set to 0 stay there, so
that a probe may be evaluated and saved as well. Both assume that successive losses are of the same batch.
Lengths are those of all tensors together, over all ranks where they are sharded.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from groktimizer.optim import store
from groktimizer.optim.agreement import Scope, device_of, local, sums
from groktimizer.optim.control import Control
from groktimizer.optim.lengths import blocks, square, square_of
from groktimizer.penalties import L2

SAFETY = 0.25  # of 4 / sharpness, the stability limit of heavy ball at momentum ~ 1
EVERY = 20
FIRST, LATER = 20, 3
GROWTH = 1.3
SHORT = 1e-2  # step of a finish whose loss has no curvature to be found
REACH = 1e-3  # length of a probe, in units of the parameters' norm

Groups = list[dict[str, Any]]
Closure = Callable[[], Any]


def due(control: Control) -> bool:
    """Whether this step begins or completes a probe.

    Args:
        control: The control numbers, this step counted.

    Returns:
        True in the middle of probes, and when the sharpness is due to be estimated anew.
    """
    since = control.steps - 1 - control.switch_step
    return bool(control.probes_left) or since % EVERY == 0 or math.isnan(control.curvature)


def parts(groups: Groups, state: store.State, control: Control, scope: Scope) -> list[Tensor | float]:
    """This rank's parts of the two squared lengths that a probe needs.

    Args:
        groups: The parameter groups, gradients set.
        state: The optimizer's state.
        control: The control numbers.
        scope: Who takes part.

    Returns:
        Of the product that this step's gradient completes, or else of the direction to set out along; and of theta.
    """
    reach = control.probe_reach
    direction: Tensor | float = 0.0
    theta: Tensor | float = 0.0
    held = _held(groups, control)
    for param in _moving(groups):
        share = scope.share(param)
        if control.probes_left:
            direction = direction + square_of(_product(param, state, reach, held)) * share
        else:
            direction = direction + square(_heading(param, state, held, known=_known(control))) * share
            theta = theta + square(param) * share
    return [direction, theta]


def sums_of(groups: Groups, state: store.State, control: Control, scope: Scope) -> list[float]:
    """The sums of `parts`, by a reduction of their own where the step's one did not carry them.

    Args:
        groups: The parameter groups, gradients set.
        state: The optimizer's state.
        control: The control numbers.
        scope: Who takes part.

    Returns:
        Two squared lengths.
    """
    return sums(parts(groups, state, control, scope), scope, device_of(_moving(groups)))


def refresh(
    groups: Groups,
    state: store.State,
    control: Control,
    closure: Closure | None,
    squares: list[float],
    scope: Scope,
) -> bool:
    """Re-estimate the sharpness when it is due and set ``control.calibrated``.

    Args:
        groups: The parameter groups, gradients set.
        state: The optimizer's state; keeps the leading direction (and, while probing, one gradient).
        control: The control numbers.
        closure: The user's closure, if there is one.
        squares: The sums of `parts`.
        scope: Who takes part.

    Returns:
        Whether this step went into a probe, so that no update is due.
    """
    params, held = _moving(groups), _held(groups, control)
    along, size = (math.sqrt(max(value, 0.0)) for value in squares)
    if control.probes_left:
        _finish_probe(params, state, control, along, held)
        return True
    count = LATER if _known(control) else FIRST
    reach = REACH * (size or 1.0)  # from zeros by the length itself
    for param in params:
        heading = store.use(state[param], param, store.DIRECTION)
        torch.div(_heading(param, state, held, known=_known(control)), along or 1.0, out=local(heading))
    if closure is None:
        control.probes_left, control.probe_reach = count, reach
        _begin_probes(params, state, reach)
        return True
    control.extra_passes += count
    _adopt(control, _power_iteration(params, state, closure, count, reach, scope))
    return False


def _moving(groups: Groups) -> list[Tensor]:
    return [param for group in groups for param in group["params"] if param.grad is not None]


def _known(control: Control) -> bool:
    return not math.isnan(control.curvature)


def _held(groups: Groups, control: Control) -> set[int]:
    """Ids of the tensors whose zeros are a proximal map's: those of the finish, which no run begins with."""
    if control.finish_step < 0:
        return set()
    pulled = [group for group in groups if not isinstance(group["penalty"], L2) and group["weight_decay"] != 0.0]
    return {id(param) for group in pulled for param in group["params"]}


def _heading(param: Tensor, state: store.State, held: set[int], *, known: bool) -> Tensor:
    """Where to probe: the last leading direction; at first, and for a tensor that comes late, the gradient."""
    direction = state.get(param, {}).get(store.DIRECTION)
    assert param.grad is not None
    there = known and direction is not None and not store.is_idle(direction)
    return _cut(param, local(direction if there and direction is not None else param.grad), held)


def _product(param: Tensor, state: store.State, reach: float, held: set[int]) -> Iterator[Tensor]:
    """``H v`` of one tensor, in `blocks`; zero for one that took no part in the probe."""
    assert param.grad is not None
    before = state.get(param, {}).get(store.GRADIENT)
    if before is None or store.is_idle(before):
        yield torch.zeros((), device=param.device)
        return
    for new, old, place in zip(blocks(param.grad), blocks(before), blocks(param), strict=True):
        product = _change(new, old, reach)
        yield product.mul_(place != 0) if id(param) in held else product


def _change(new: Tensor, old: Tensor, reach: float, into: Tensor | None = None) -> Tensor:
    """``H v``: how much a gradient has changed along v, for each unit of it."""
    return torch.sub(new, old, out=into).div_(reach)


def _cut(param: Tensor, direction: Tensor, held: set[int]) -> Tensor:
    return direction * (local(param) != 0) if id(param) in held else direction


def _adopt(control: Control, sharpness: float) -> None:
    if not 0.0 < sharpness < math.inf:
        if control.finish_step >= 0 and not _known(control):  # a loss of straight pieces: short steps, not none
            control.calibrated, control.curvature = SHORT, 0.0
        return  # a flat or broken probe says nothing: the step stays, and the next calibration comes soon
    target = SAFETY * 4.0 / sharpness
    control.calibrated = min(target, GROWTH * control.calibrated) if _known(control) else target
    control.curvature = sharpness


def _power_iteration(
    params: list[Tensor], state: store.State, closure: Closure, count: int, reach: float, scope: Scope
) -> float:
    grads = [param.grad for param in params if param.grad is not None]
    origin = [local(param).detach().clone() for param in params]
    sharpness = 1.0
    for probe in range(count):
        for param, start in zip(params, origin, strict=True):
            direction = local(state[param][store.DIRECTION])
            if probe and sharpness > 0.0:
                direction.div_(sharpness)
            local(param).copy_(start + reach * direction)
            param.grad = None
        with torch.enable_grad():
            closure()
        moved = [grad if param.grad is None else param.grad for param, grad in zip(params, grads, strict=True)]
        squares: list[Tensor | float] = []
        for param, new, old in zip(params, moved, grads, strict=True):
            product = _change(local(new), local(old), reach, into=local(state[param][store.DIRECTION]))
            squares.append(square(product) * scope.share(param))
        sharpness = math.sqrt(sums([sum(squares)], scope, device_of(params))[0])
    for param, start, grad in zip(params, origin, grads, strict=True):
        local(param).copy_(start)
        param.grad = grad
    return sharpness


def _begin_probes(params: list[Tensor], state: store.State, reach: float) -> None:
    for param in params:
        assert param.grad is not None
        local(store.use(state[param], param, store.GRADIENT)).copy_(local(param.grad))
        local(param).add_(local(state[param][store.DIRECTION]), alpha=reach)


def _finish_probe(params: list[Tensor], state: store.State, control: Control, sharpness: float, held: set[int]) -> None:
    """Complete one product, go back, and set out along it if another probe is left."""
    reach = control.probe_reach
    probed = [param for param in params if not store.is_idle(state[param].get(store.GRADIENT, param))]
    control.probes_left -= 1
    for param in probed:
        assert param.grad is not None
        direction, before = local(state[param][store.DIRECTION]), local(state[param][store.GRADIENT])
        place = local(param) != 0 if id(param) in held else None
        local(param).sub_(direction, alpha=reach)
        _change(local(param.grad), before, reach, into=direction)
        if place is not None:
            direction.mul_(place)
        if control.probes_left:
            local(param).add_(direction.div_(sharpness or 1.0), alpha=reach)
        else:
            state[param][store.GRADIENT] = store.idle(param)
    if not control.probes_left:
        _adopt(control, sharpness)
