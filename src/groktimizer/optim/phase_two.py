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
from typing import Any, NamedTuple

import torch
from torch import Tensor

from groktimizer.dynamics import critical_momentum
from groktimizer.optim import guard, store, updates
from groktimizer.optim.agreement import PLAIN, Group, Scope, device_of, largest, local, stacked, sums
from groktimizer.optim.settings import ADAPTIVE_DECAY, Settings
from groktimizer.penalties import L2, Penalty
from groktimizer.penalties.base import raised


def reference_decay(groups: list[dict[str, Any]], control: dict[str, Any], settings: Settings) -> float:
    """The decay that sets momentum and damped time: the largest of L2; the untuned one where there is no L2.

    Args:
        groups: The parameter groups.
        control: The control numbers.
        settings: The optimizer's settings.

    Returns:
        lambda, > 0.
    """
    decays = [decay_of(group, control) for group in groups if isinstance(group["penalty"], L2)]
    return max(decays, default=0.0) or settings.pace * control["decay_retreat"]


def decay_of(group: dict[str, Any], control: dict[str, Any]) -> float:
    """The weight of a group's penalty now.

    Args:
        group: A parameter group.
        control: The control numbers.

    Returns:
        Its weight_decay times what guard and constraint make of it.
    """
    scale = control["decay_retreat"]
    if not group["decay_given"]:
        scale *= control["decay_scale"]
    return group["weight_decay"] if scale == 1.0 else group["weight_decay"] * scale


def numbers(group: dict[str, Any], control: dict[str, Any], reference: float) -> tuple[float | Tensor, float, float]:
    """A group's numbers now.

    Args:
        group: A parameter group.
        control: The control numbers.
        reference: The decay that sets the momentum of groups without one.

    Returns:
        Step size, weight of the penalty, and the decay that sets the momentum.
    """
    scale = control["lr_retreat"]
    if not group["lr_given"]:
        scale *= control["lr_scale"] * control["calibrated"]
    decay = decay_of(group, control)
    return group["lr"] if scale == 1.0 else group["lr"] * scale, decay, decay or reference


class Moving(NamedTuple):
    """The tensors of one group that have a gradient, with what a step needs of each."""

    params: list[Tensor]
    grads: list[Tensor]
    entries: list[store.Entry]


def prepare(
    groups: list[dict[str, Any]],
    state: store.State,
    settings: Settings,
    process_group: Group,
) -> list[Moving]:
    """Complete the state of tensors whose first gradient has come.

    In phase 2 the second moment of such a tensor starts from the gradient's square, corrected so that this gradient
    alone sets its scale, and a state that the guard holds takes it in as it is: it has not moved yet.

    Args:
        groups: The parameter groups.
        state: The optimizer's state.
        settings: The optimizer's settings.
        process_group: The argument of that name.

    Returns:
        What moves, by group.

    Raises:
        UserError: If a gradient is sparse.
    """
    everything: list[Moving] = []
    for group in groups:
        moving = Moving([], [], [])
        incomplete: list[Tensor] = []
        for param in group["params"]:
            grad = param.grad
            if grad is not None:
                if grad.layout != torch.strided:
                    guard.refuse_sparse(param)
                entry = state[param]
                moving.params.append(param)
                moving.grads.append(grad)
                moving.entries.append(entry)
                if type(entry.get("scale")) is not float:
                    incomplete.append(param)
        if incomplete:
            _complete(group, incomplete, groups, state, settings, process_group)
        everything.append(moving)
    return everything


def _complete(
    group: dict[str, Any],
    incomplete: list[Tensor],
    groups: list[dict[str, Any]],
    state: store.State,
    settings: Settings,
    process_group: Group,
) -> None:
    control, names = groups[0]["control"], settings.tensors(groups)
    scales = dict(zip(group["params"], settings.known_scales(group, state, process_group), strict=True))
    late = control["phase"] > 1
    for param in incomplete:
        entry = state[param]
        if "scale" in entry:
            store.number(entry, "scale")  # of a framework that has put a tensor in its place
            store.number(entry, "unit")
            continue
        if late and settings.adaptive and store.MOMENT not in entry and group["moment_steps"]:
            assert param.grad is not None
            start = local(store.use(entry, param, store.MOMENT))
            start.copy_(local(param.grad).square().mul_(1.0 - group["beta2"] ** group["moment_steps"]))
        if late and control["kept"] and settings.guard:
            local(store.use(entry, param, store.SNAPSHOT)).copy_(local(param))
        if late:
            for name in names:
                if name in (store.VELOCITY, store.MOMENT):
                    store.use(entry, param, name)
        store.begin(entry, param, names, scales[param], 1.0 if weighs_itself(group) else 0.0)


def advance(
    group: dict[str, Any],
    moving: Moving,
    settings: Settings,
    numbers: tuple[float | Tensor, float, float],
    *,
    age: Tensor | None,
    scope: Scope,
    flush: bool,
) -> Tensor | None:
    """Move the tensors of one group, this rank's parts of them.

    Args:
        group: A parameter group.
        moving: Its tensors, as `prepare` gives them.
        settings: The optimizer's settings.
        numbers: Step size, weight of the penalty (its scales applied), and the decay that sets the momentum.
        age: Steps since the last restart, of proximal groups.
        scope: Who takes part.
        flush: Whether subnormal entries are due to be cleared.

    Returns:
        This rank's part of the restart test, summed over a proximal group's tensors; None for an L2 group.
    """
    params, grads, entries = moving
    lr, decay, reference = numbers
    proximal = not isinstance(group["penalty"], L2)
    if not params or ((settings.adaptive or proximal) and float(lr) == 0.0):
        return None  # a paused schedule: at momentum 1 the velocity would only pile up
    columns = [params, grads, [entry[store.VELOCITY] for entry in entries]]
    momentum = critical_momentum(float(lr), reference, group["damping"])
    scalars = updates.Scalars(float(lr), decay, momentum, eps=group["eps"], maximize=group["maximize"])
    if settings.adaptive:
        group["moment_steps"] += 1
        correction = 1.0 - group["beta2"] ** group["moment_steps"]
        columns.append([entry[store.MOMENT] for entry in entries])
        scalars = scalars._replace(beta2=group["beta2"], correction=correction)
    if any(type(param) not in PLAIN for param in params):
        columns = [[local(tensor) for tensor in column] for column in columns]
    turn = None
    if proximal:
        shares = [scope.share(param) for param in params]
        turn = _proximal(group, entries, columns, scalars, age if settings.accelerates else None, shares)
    elif settings.adaptive:
        kernel = updates.choose(foreach=group["foreach"], compiled=settings.compiled, device=params[0].device)
        scales = [entry["scale"] for entry in entries]
        for lane, own in updates.lanes(scales, scalars, group["damping"], reference):
            kernel(*([column[i] for i in lane] for column in columns), own)
    else:
        updates.euclidean_step(
            columns[0], columns[1], list(columns[2]), scalars, lr=lr, foreach=group["foreach"], fused=group["fused"]
        )
    if flush:
        guard.flush(columns[0], columns[2])
    return turn


def _proximal(
    group: dict[str, Any],
    entries: list[store.Entry],
    columns: list[list[Tensor]],
    scalars: updates.Scalars,
    age: Tensor | None,
    shares: list[float],
) -> Tensor:
    turn = torch.zeros((), device=columns[0][0].device, dtype=raised(columns[0][0]).dtype)
    momentum: float | Tensor = critical_momentum(scalars.lr, ADAPTIVE_DECAY, group["damping"])
    if age is not None:
        count = age.to(raised(columns[0][0]).dtype)
        momentum = (count - 1.0) / (count + 2.0)
    for entry, share, *tensors in zip(entries, shares, *columns, strict=True):
        lr, weight = scalars.lr * entry["scale"], scalars.weight_decay * entry["unit"]
        own = scalars._replace(lr=lr, weight_decay=weight)
        turn += proximal_step(group["penalty"], tensors, own, momentum).to(turn) * share
    return turn


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


def restart(groups: list[dict[str, Any]], state: store.State, control: dict[str, Any]) -> Tensor:
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
    turn, age = (_on(device, control[name]) for name in ("turn", "age"))
    go_on = turn <= 0.0
    age = age * go_on.to(age) + 1.0
    control["turn"], control["age"] = 0.0, age
    for group in groups:
        if not isinstance(group["penalty"], L2):
            for param in group["params"]:
                velocity = state.get(param, {}).get(store.VELOCITY)
                if velocity is not None and not store.is_idle(velocity):
                    local(velocity).mul_(go_on.to(velocity.device, velocity.dtype))
    return age


def _on(device: torch.device, value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else stacked([value], device)[0]


def weighs_itself(group: dict[str, Any]) -> bool:
    """Whether a weight of 1 means 1 in a group: that of L2, and one that was given.

    Args:
        group: A parameter group.

    Returns:
        False where `weigh` has to find what it means.
    """
    return isinstance(group["penalty"], L2) or group["decay_given"] or group["weight_decay"] == 0.0


def weigh(groups: list[dict[str, Any]], state: store.State, settings: Settings, scope: Scope) -> None:
    """Set ``state[param]["unit"]``: what a weight of 1 means for each tensor, from its state at the switch.

    A weight that was given means itself. One that was not is chosen so that the penalty pulls along theta as an L2 of
    the same nominal weight would: ``unit = |theta|^2 / <theta, D dh>``, D the metric. Parameters at 0 have no such
    pull; there a weight of 1 is the one from which on they would stay there. One unit for the group (``group["unit"]``)
    where its fixed points have a common objective, one for each tensor where they have none. A tensor without a usable
    gradient is left for a later step (0), without penalty till then. Of sharded tensors the whole is weighed.

    Args:
        groups: The parameter groups.
        state: The optimizer's state.
        settings: The optimizer's settings.
        scope: Who takes part.
    """
    for group in groups:
        if weighs_itself(group):
            continue
        joint = not settings.adaptive or group["penalty"].separable
        waiting = [p for p in group["params"] if p.grad is not None and state[p]["unit"] == 0.0]
        if not waiting and not any(getattr(param, "_fsdp_flattened", False) for param in group["params"]):
            continue  # of a flattened tensor a rank may hold nothing, and no gradient, while others weigh it
        if joint and group["unit"] == 0.0:
            group["unit"] = _unit(_pulls(group, group["params"], state, settings, scope))
        elif not joint and waiting:
            pulls = _pulls(group, waiting, state, settings, scope)
            for param, pull in zip(waiting, pulls, strict=True):
                state[param]["unit"] = _unit([pull])
        if joint:
            for param in waiting:
                state[param]["unit"] = group["unit"]


def _unit(pulls: list[tuple[float, float, float]]) -> float:
    squares, along, limits = zip(*pulls, strict=True)
    square, pull = math.fsum(squares), math.fsum(along)
    unit = square / pull if pull > 0.0 else max(limits)
    return unit if math.isfinite(unit) and unit > 0.0 else 0.0


def _pulls(
    group: dict[str, Any], params: list[Tensor], state: store.State, settings: Settings, scope: Scope
) -> list[tuple[float, float, float]]:
    """Of each tensor: squared norm, the penalty's pull along it (a mean in the metric), the weight that holds it."""
    parts = [_pull(param, state, group, settings, scope.share(param)) for param in params]
    device = device_of(params)
    totals = iter(sums([number for row in parts for number in row[:4]], scope, device))
    limits = largest([row[4] for row in parts], scope, device)
    pulls: list[tuple[float, float, float]] = []
    for limit in limits:
        square, pull, sizes, count = (next(totals) for _ in range(4))
        pulls.append((square, pull / (sizes / count) ** 0.5 if sizes > 0.0 else pull, limit))
    return pulls


def _pull(
    param: Tensor, state: store.State, group: dict[str, Any], settings: Settings, share: float
) -> tuple[float, float, float, float, float]:
    """This rank's part: |theta|^2, <theta, dh>, the squared metric and its entries, the weight that holds theta."""
    if param.grad is None or not param.numel():
        return 0.0, 0.0, 0.0, 0.0, 0.0
    penalty: Penalty = group["penalty"]
    exact = torch.float64 if param.device.type == "cpu" else torch.float32
    theta, force = local(param).detach().to(exact), local(param.grad).to(exact)
    pull = float((theta * penalty.subgradient(theta)).sum())
    sizes, count = 0.0, 0.0
    if settings.adaptive:
        past = local(store.use(state[param], param, store.MOMENT)).to(exact)
        moment = group["beta2"] * past + (1.0 - group["beta2"]) * force.square()
        size = (moment / (1.0 - group["beta2"] ** (group["moment_steps"] + 1))).sqrt() + group["eps"]
        if penalty.separable:
            sizes, count = float(size.square().sum()) * share, size.numel() * share
        else:
            force = (force / size).clamp(-1.0, 1.0)
    return float(theta.square().sum()) * share, pull * share, sizes, count, float(penalty.dual_norm(force))
