"""One step of phase 2: the tensors that move, the numbers of each group, and the kernel or map that moves them."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from groktimizer.dynamics import critical_momentum
from groktimizer.optim import calibration, constraint, noise, proximal, store, updates, upkeep
from groktimizer.optim.agreement import PLAIN, Group, Scope, local
from groktimizer.optim.control import Control
from groktimizer.optim.restore import begin_phase_two
from groktimizer.optim.settings import ADAPTIVE_DECAY, Settings
from groktimizer.optim.weighing import along, unweigh, weigh, weighs_itself
from groktimizer.penalties import L2
from groktimizer.penalties.base import raised


def reference_decay(groups: list[dict[str, Any]], control: Control, settings: Settings) -> float:
    """The decay that sets momentum and damped time: the largest of L2; the untuned one where there is no L2.

    Args:
        groups: The parameter groups.
        control: The control numbers.
        settings: The optimizer's settings.

    Returns:
        lambda, > 0.
    """
    decays = [decay_of(group, control) for group in groups if isinstance(group["penalty"], L2)]
    return max(decays, default=0.0) or settings.pace * control.decay_retreat


def decay_of(group: dict[str, Any], control: Control) -> float:
    """The weight of a group's penalty now.

    Args:
        group: A parameter group.
        control: The control numbers.

    Returns:
        Its weight_decay times what guard and constraint make of it.
    """
    scale = control.decay_retreat
    if not group["decay_given"]:
        scale *= control.decay_scale
    return group["weight_decay"] if scale == 1.0 else group["weight_decay"] * scale


def numbers(group: dict[str, Any], control: Control, reference: float) -> tuple[float | Tensor, float, float]:
    """A group's numbers now.

    Args:
        group: A parameter group.
        control: The control numbers.
        reference: The decay that sets the momentum of groups without one.

    Returns:
        Step size, weight of the penalty, and the curvature that the momentum is critical for.
    """
    scale = control.lr_retreat
    if not group["lr_given"]:
        scale *= control.lr_scale * control.calibrated
        if control.finish_step >= 0:
            scale /= group["nominal_lr"]  # of the excursion's lr a schedule's factor is left
    decay = decay_of(group, control)
    curvature = decay or reference
    if control.finish_step >= 0 and constraint.holds(control):
        curvature *= ALONG
    return group["lr"] if scale == 1.0 else group["lr"] * scale, decay, curvature


ALONG = 0.25  # of lambda: what h and the loss, by its multiplier, curve along the set where the loss is the level
LATE = 12.0  # units of damped time after which a proximal penalty goes over; at 2 l1 loses modular addition
COOLED = 0.25  # of lr, from which on those units are too long to wait for


class Moving(NamedTuple):
    """The tensors of one group that have a gradient, with what a step needs of each."""

    params: list[Tensor]
    grads: list[Tensor]
    entries: list[store.Entry]


def prepare(
    groups: list[dict[str, Any]],
    state: store.State,
    control: Control,
    settings: Settings,
    process_group: Group,
) -> list[Moving]:
    """Complete the state of tensors whose first gradient has come.

    In phase 2 the second moment of such a tensor starts from the gradient's square, corrected so that this gradient
    alone sets its scale, and a state that the guard holds takes it in as it is: it has not moved yet.

    Args:
        groups: The parameter groups.
        state: The optimizer's state.
        control: The control numbers.
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
                    upkeep.refuse_sparse(param)
                entry = state[param]
                moving.params.append(param)
                moving.grads.append(grad)
                moving.entries.append(entry)
                if type(entry.get("scale")) is not float:
                    incomplete.append(param)
        if incomplete:
            names = settings.tensors(groups)
            _complete(group, incomplete, names, state, control, settings, process_group)
        everything.append(moving)
    return everything


def _complete(
    group: dict[str, Any],
    incomplete: list[Tensor],
    names: tuple[str, ...],
    state: store.State,
    control: Control,
    settings: Settings,
    process_group: Group,
) -> None:
    scales = dict(zip(group["params"], settings.known_scales(group, state, process_group), strict=True))
    late = control.phase > 1
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
        if late and control.kept and settings.guard:
            local(store.use(entry, param, store.SNAPSHOT)).copy_(local(param))
        if late:
            store.wake(entry, param, names)
        store.begin(entry, param, names, scales[param], 1.0 if weighs_itself(group) else 0.0)


def constrain(groups: list[dict[str, Any]], control: Control, settings: Settings, loss: float, level: float) -> None:
    """Move lr and decay by one training loss (see `constraint.constrain`), at the pace of the first group.

    Args:
        groups: The parameter groups.
        control: The control numbers, changed in place.
        settings: The optimizer's settings.
        loss: Training loss before this step.
        level: The interpolation level.
    """
    if control.finish_step >= 0 and math.isnan(control.curvature):
        return  # nothing moves before the first curvature is known
    reference = reference_decay(groups, control, settings)
    lr = float(numbers(groups[0], control, reference)[0])
    decays = any(isinstance(group["penalty"], L2) and group["weight_decay"] for group in groups)
    cap = 0.25 / lr if lr > 0.0 and decays else math.inf  # a proximal map is stable whatever its weight
    rate = math.sqrt(lr * reference)
    if lr > 0.0 and not decays and not settings.adaptive:
        rate = settings.rule.pace  # weights under a proximal map follow at once; those of a paused schedule do not
    constraint.constrain(control, loss, level, rate, settings.rule, cap=cap)


def finish(
    groups: list[dict[str, Any]], state: store.State, control: Control, settings: Settings, scope: Scope
) -> None:
    """Once the excursion of the loss is over, go on in the Euclidean metric, where batches do not differ.

    Its curvature needs gradients of one batch. It begins at rest, without second moments, with the decay that holds
    the weights where they are; in this metric all penalties have one objective, so one nominal weight, and a weight of
    1 is measured anew.

    Args:
        groups: The parameter groups, gradients set.
        state: The optimizer's state.
        control: The control numbers, after `constrain`; changed in place.
        settings: The optimizer's settings as they are now.
        scope: Who takes part.
    """
    if not control.returned or noise.noisy(control.noise) or not settings.finishes(groups):
        return
    pulled = any(not isinstance(group["penalty"], L2) and group["weight_decay"] != 0.0 for group in groups)
    if pulled and control.damped_time < LATE and control.lr_scale > COOLED:
        return  # no excursion: the loss may not leave the level at all, and h falls in the adaptive metric
    nominal = max(float(group["weight_decay"]) for group in groups)
    pull, squared = along(groups, scope)
    constraint.finish(control, settings.finish.rule, pull / max(squared * nominal, 1e-30))
    for group in groups:
        begin_phase_two(group, state, settings.finish.tensors(groups), counted=set())
        if group["weight_decay"] != 0.0:
            group["weight_decay"] = nominal
        unweigh(group, state)


def step(
    groups: list[dict[str, Any]],
    state: store.State,
    control: Control,
    settings: Settings,
    moving: list[Moving],
    closure: Callable[[], Any] | None,
    scope: Scope,
    squares: list[float] | None,
) -> None:
    """Move everything once, or take a step of a probe of the curvature.

    Args:
        groups: The parameter groups, gradients set.
        state: The optimizer's state.
        control: The control numbers, this step counted.
        settings: The optimizer's settings.
        moving: What moves, as `prepare` gives it.
        closure: The user's closure, if there is one.
        scope: Who takes part.
        squares: The sums of `calibration.parts`, where this step's reduction carried them.
    """
    if not control.probes_left:
        weigh(groups, state, settings, scope)  # a probe is a step away from where theta is
    if settings.calibrates(groups) and calibration.due(control):
        squares = squares or calibration.sums_of(groups, state, control, scope)
        if control.finish_step >= 0:
            closure = None  # nobody asked for its curvature: a framework's closure may be of the last micro-batch only
        if calibration.refresh(groups, state, control, closure, squares, scope):
            return
    reference = reference_decay(groups, control, settings)
    flush = control.steps % upkeep.FLUSH_EVERY == 0
    age = proximal.restart(groups, state, control) if proximal.due(groups) else None
    turns: list[Tensor] = []
    for group, own in zip(groups, moving, strict=True):
        found = numbers(group, control, reference)
        if control.finish_step >= 0 and float(found[0]) == 0.0:
            continue  # a paused schedule: at momentum 1 the velocity would only pile up
        turn = advance(group, own, settings, found, age=age, scope=scope, flush=flush)
        if turn is not None:
            turns.append(turn)
    if turns:
        control.turn = torch.stack([turn.to(turns[0].device) for turn in turns]).sum()


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
    other = not isinstance(group["penalty"], L2)
    if not params or ((settings.adaptive or other) and float(lr) == 0.0):
        return None  # a paused schedule: at momentum 1 the velocity would only pile up
    columns = [params, grads, [entry[store.VELOCITY] for entry in entries]]
    momentum = critical_momentum(float(lr), reference, group["damping"])
    scalars = updates.Scalars(float(lr), decay, momentum, eps=group["eps"], maximize=group["maximize"])
    if settings.adaptive:
        group["moment_steps"] += 1
        correction = 1.0 - group["beta2"] ** group["moment_steps"]
        columns.append([entry[store.MOMENT] for entry in entries])
        scalars = scalars._replace(beta2=group["beta2"], correction=correction)
    if not PLAIN.issuperset(map(type, params)):
        columns = [[local(tensor) for tensor in column] for column in columns]
    turn = None
    if other:
        own = [  # in the Euclidean metric one curvature bounds the steps of all
            (entry["scale"] if settings.adaptive else 1.0, entry["unit"], scope.share(param))
            for entry, param in zip(entries, params, strict=True)
        ]
        turn = _proximal(group, own, columns, scalars, age if settings.accelerates else None)
    elif settings.adaptive:
        moved = group["moment_steps"] * sum(tensor.numel() for tensor in columns[0])
        kernel = updates.choose(
            foreach=group["foreach"], compiled=settings.compiled, device=params[0].device, moved=moved
        )
        scales = [entry["scale"] for entry in entries]
        for lane, own in updates.lanes(scales, scalars, group["damping"], reference):
            kernel(*([column[i] for i in lane] for column in columns), own)
    else:
        updates.euclidean_step(
            columns[0], columns[1], list(columns[2]), scalars, lr=lr, foreach=group["foreach"], fused=group["fused"]
        )
    if flush:
        upkeep.flush(columns[0], columns[2])
    return turn


def _proximal(
    group: dict[str, Any],
    apart: list[tuple[float, float, float]],
    columns: list[list[Tensor]],
    scalars: updates.Scalars,
    age: Tensor | None,
) -> Tensor:
    """Step every tensor, with what it has apart: factor of lr, unit of the penalty, this rank's share."""
    turn = torch.zeros((), device=columns[0][0].device, dtype=raised(columns[0][0]).dtype)
    momentum: float | Tensor = critical_momentum(scalars.lr, ADAPTIVE_DECAY, group["damping"])
    if age is not None:
        count = age.to(raised(columns[0][0]).dtype)
        momentum = (count - 1.0) / (count + 2.0)
    for (scale, unit, share), *tensors in zip(apart, *columns, strict=True):
        own = scalars._replace(lr=scalars.lr * scale, weight_decay=scalars.weight_decay * unit)
        turn += proximal.step(group["penalty"], tensors, own, momentum).to(turn) * share
    return turn
