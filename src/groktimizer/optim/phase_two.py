"""One group's phase-2 update: critically damped momentum for L2, accelerated proximal steps for other complexities.

Proximal steps, for a parameter theta, a penalty h of weight beta and the velocity b of the last step::

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

import math
from typing import Any

import torch
from torch import Tensor

from groktimizer.dynamics import critical_momentum
from groktimizer.optim import guard, updates
from groktimizer.optim.settings import ADAPTIVE_DECAY, Settings
from groktimizer.penalties import L2, Penalty
from groktimizer.penalties.base import raised

State = dict[Any, dict[str, Any]]


def advance(
    group: dict[str, Any],
    state: State,
    settings: Settings,
    numbers: tuple[float | Tensor, float, float],
    *,
    age: Tensor | None,
    flush: bool,
) -> Tensor | None:
    """Move the tensors of one group.

    Args:
        group: A parameter group, gradients set.
        state: The optimizer's state.
        settings: The optimizer's settings.
        numbers: Step size, weight of the penalty (its scales applied), and the decay that sets the momentum.
        age: Steps since the last restart, of proximal groups.
        flush: Whether subnormal entries are due to be cleared.

    Returns:
        The sign of the restart test, summed over a proximal group's tensors; None for an L2 group.

    Raises:
        ValueError: If a gradient is sparse.
    """  # noqa: DOC502 (raised by what it calls)
    params = [param for param in group["params"] if param.grad is not None]
    lr, decay, reference = numbers
    proximal = not isinstance(group["penalty"], L2)
    if not params or ((settings.adaptive or proximal) and float(lr) == 0.0):
        return None  # a paused schedule: at momentum 1 the velocity would only pile up
    grads = guard.dense_gradients(params)
    velocities = [guard.buffer(state, param, "momentum_buffer") for param in params]
    momentum = critical_momentum(float(lr), reference, group["damping"])
    scalars = updates.Scalars(float(lr), decay, momentum, eps=group["eps"], maximize=group["maximize"])
    columns = [params, grads, velocities]
    if settings.adaptive:
        group["moment_steps"] += 1
        before, correction = (1.0 - group["beta2"] ** (group["moment_steps"] - late) for late in (1, 0))
        columns.append([guard.moment(state, param, before) for param in params])
        scalars = scalars._replace(beta2=group["beta2"], correction=correction)
    weigh(group, state, settings)
    turn = None
    if proximal:
        turn = _proximal(group, columns, scalars, age if settings.accelerates else None)
    elif settings.adaptive:
        kernel = updates.choose(foreach=group["foreach"], compiled=settings.compiled, device=params[0].device)
        for lane, own in updates.lanes(_with_grad(group, "scales"), scalars, group["damping"], reference):
            kernel(*([column[i] for i in lane] for column in columns), own)
    else:
        updates.euclidean_step(
            params, grads, list(velocities), scalars, lr=lr, foreach=group["foreach"], fused=group["fused"]
        )
    if flush:
        guard.flush(params, velocities)
    return turn


def _with_grad(group: dict[str, Any], name: str) -> list[float]:
    return [value for param, value in zip(group["params"], group[name], strict=True) if param.grad is not None]


def _proximal(
    group: dict[str, Any], columns: list[list[Tensor]], scalars: updates.Scalars, age: Tensor | None
) -> Tensor:
    units, scales = _with_grad(group, "units"), _with_grad(group, "scales")
    turn = torch.zeros((), device=columns[0][0].device, dtype=raised(columns[0][0]).dtype)
    momentum: float | Tensor = critical_momentum(scalars.lr, ADAPTIVE_DECAY, group["damping"])
    if age is not None:
        count = age.to(raised(columns[0][0]).dtype)
        momentum = (count - 1.0) / (count + 2.0)
    for unit, scale, *tensors in zip(units, scales, *columns, strict=True):
        own = scalars._replace(lr=scalars.lr * scale, weight_decay=scalars.weight_decay * (unit or 0.0))
        turn += whole(proximal_step(group["penalty"], tensors, own, momentum)).to(turn)
    return turn


def whole(value: Tensor) -> Tensor:
    """A number that may be spread over processes, as all of them see it.

    Args:
        value: A scalar; a DTensor is summed up.

    Returns:
        A plain tensor.
    """
    gather = getattr(value, "full_tensor", None)
    return value if gather is None else gather()


def proximal_step(
    penalty: Penalty, tensors: list[Tensor], scalars: updates.Scalars, momentum: float | Tensor
) -> Tensor:
    """One accelerated proximal step of one tensor, in place.

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
    theta, grad, velocity, *moment = tensors
    force, size = grad, None
    if moment:
        moment[0].mul_(scalars.beta2).addcmul_(grad, grad, value=1.0 - scalars.beta2)
        size = (moment[0] / scalars.correction).sqrt_().add_(scalars.eps)
        force = grad / torch.maximum(size, grad.abs())
    here, push = raised(theta), scalars.lr * momentum
    ahead = here - raised(velocity) * (push.to(here.device) if isinstance(push, Tensor) else push)
    moved = torch.add(ahead, force, alpha=scalars.lr if scalars.maximize else -scalars.lr)
    if scalars.weight_decay > 0.0:
        step = scalars.lr * scalars.weight_decay
        moved = penalty.prox(moved, step / size if size is not None and penalty.separable else step)
    gone = here - moved
    velocity.copy_(gone / scalars.lr)
    theta.copy_(moved)
    return ((moved - ahead) * gone).sum()


def restart(groups: list[dict[str, Any]], state: State, turn: Tensor, age: Tensor) -> None:
    """Bring everything to rest if the momentum points uphill; decided on the device, without a synchronisation.

    Args:
        groups: The parameter groups.
        state: The optimizer's state; velocities are changed in place.
        turn: The restart test summed over all tensors.
        age: Steps since the last restart; changed in place.
    """
    go_on = turn <= 0.0
    age.mul_(go_on.to(age)).add_(1.0)
    for group in groups:
        if not isinstance(group["penalty"], L2):
            for param in group["params"]:
                velocity = state.get(param, {}).get("momentum_buffer")
                if velocity is not None:
                    velocity.mul_(go_on.to(velocity.device, velocity.dtype))


def weigh(group: dict[str, Any], state: State, settings: Settings) -> None:
    """Set ``group["units"]``: what a weight of 1 means for each tensor, from its state at the switch.

    A weight that was given means itself. One that was not is chosen so that the penalty pulls along theta as an L2 of
    the same nominal weight would: ``unit = |theta|^2 / <theta, D dh>``, D the metric. Parameters at 0 have no such
    pull; there a weight of 1 is the one from which on they would stay there. One unit for the group where its fixed
    points have a common objective, one for each tensor where they have none. A tensor without a usable gradient is
    left for a later step (None), without penalty till then.

    Args:
        group: A parameter group.
        state: The optimizer's state.
        settings: The optimizer's settings.
    """
    penalty, params = group["penalty"], group["params"]
    if group["units"] is None:
        itself = isinstance(penalty, L2) or group["given"]["weight_decay"] or group["weight_decay"] == 0.0
        group["units"] = [1.0 if itself else None] * len(params)
    if None not in group["units"]:
        return
    known = zip(group["units"], params, strict=True)
    due = [i for i, (unit, param) in enumerate(known) if unit is None and param.grad is not None and param.numel()]
    if not due:
        return
    pulls = [_pull(params[i], penalty, state, group, settings) for i in due]
    if settings.adaptive and not penalty.separable:
        for i, pull in zip(due, pulls, strict=True):
            group["units"][i] = _unit([pull])
    else:
        unit = _unit(pulls)
        group["units"] = [unit if old is None else old for old in group["units"]]


def _unit(pulls: list[tuple[float, float, float]]) -> float | None:
    squares, along, limits = zip(*pulls, strict=True)
    square, pull = math.fsum(squares), math.fsum(along)
    unit = square / pull if pull > 0.0 else max(limits)
    return unit if math.isfinite(unit) and unit > 0.0 else None


def _pull(
    param: Tensor, penalty: Penalty, state: State, group: dict[str, Any], settings: Settings
) -> tuple[float, float, float]:
    """Of one tensor: its squared norm, the penalty's pull along it (a mean in the metric), the weight that holds it."""
    exact = torch.float64 if param.device.type == "cpu" else torch.float32
    assert param.grad is not None
    theta, force = param.detach().to(exact), param.grad.to(exact)
    pull = float((theta * penalty.subgradient(theta)).sum())
    if settings.adaptive:
        moment = group["beta2"] * state[param]["exp_avg_sq"].to(exact) + (1.0 - group["beta2"]) * force.square()
        size = (moment / (1.0 - group["beta2"] ** group["moment_steps"])).sqrt() + group["eps"]
        if penalty.separable:
            pull /= float(size.square().mean()) ** 0.5
        else:
            force = (force / size).clamp(-1.0, 1.0)
    return float(theta.square().sum()), pull, float(penalty.dual_norm(force))
