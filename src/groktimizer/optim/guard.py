"""The guard: when a state is kept, when the run goes back to it, and what both do to the tensors."""

import math
from enum import Enum
from typing import Any

from torch import Tensor

from groktimizer.optim import noise, store
from groktimizer.optim.agreement import Group, local
from groktimizer.optim.constraint import Rule, between, inherited, stretch
from groktimizer.optim.control import Control
from groktimizer.optim.settings import Settings
from groktimizer.optim.upkeep import penalised


class Action(Enum):
    """What the guard wants done before this step's update."""

    CONTINUE = "continue"
    KEEP = "keep this interpolating state"
    ROLL_BACK = "return to the kept state"


def watch(state: Control, loss: float, level: float, first_loss: float, rule: Rule, *, newest: bool = True) -> Action:
    """Decide whether to keep this state, go on, or go back: one step of the guard.

    Going back is due when the loss is not finite, stays far above the level, or stays above it although lr has shrunk
    to nothing; then lr and decay start anew, smaller.

    Args:
        state: The control numbers, changed in place.
        loss: Training loss before this step.
        level: Interpolation level epsilon, in units of the loss.
        first_loss: First training loss ever seen.
        rule: The constants.
        newest: Whether this loss belongs to the parameters as they are; only those can be kept.

    Returns:
        The action; `Action.ROLL_BACK` only when a state has been kept.
    """
    state.since_kept += 1
    finite = math.isfinite(loss)
    differ, factor, (low, high) = noise.proven(state.noise), stretch(state), between(state)
    far = max(rule.far * level, rule.share * first_loss)
    outside = not finite or (low if differ else loss) > far
    state.outside = state.outside + 1 if outside else 0
    lost = state.above >= rule.lost * factor and state.lr_scale < rule.dead * inherited(state, rule)[0]
    if not finite or lost or state.outside >= rule.patience * factor:
        return _retreat(state, rule) if state.kept else Action.CONTINUE
    arrived = state.steps - 1 <= state.switch_step  # the detector was sure, whatever a mean of many losses still says
    steady = arrived or (high <= level and (differ or loss <= level))
    if newest and steady and (not state.kept or state.since_kept >= rule.keep_every):
        state.kept, state.since_kept = True, 0
        return Action.KEEP
    return Action.CONTINUE


def _retreat(state: Control, rule: Rule) -> Action:
    """Begin phase 2 again, smaller."""
    noise.forget(state.noise)
    if rule.inherits:
        state.lr_scale, state.decay_scale = inherited(state, rule)
    state.lr_retreat *= rule.retreat
    state.decay_retreat *= rule.retreat
    state.mean, state.damped_time, state.returned = math.nan, 0.0, False
    state.since_kept, state.above, state.outside, state.probes_left = 0, 0, 0, 0
    state.rollbacks += 1
    return Action.ROLL_BACK


def keep(groups: list[dict[str, Any]], state: dict[Any, dict[str, Any]]) -> None:
    """Copy the parameters as they are: an interpolating state.

    Args:
        groups: The parameter groups.
        state: The optimizer's state, whose snapshots are written.
    """
    for group in groups:
        for param in group["params"]:
            if param.requires_grad and param in state:
                local(store.use(state[param], param, store.SNAPSHOT)).copy_(local(param))


def copied(groups: list[dict[str, Any]]) -> dict[int, Tensor]:
    """Copies of this rank's parts of the parameters, by the parameters' ids."""
    return {id(param): local(param).detach().clone() for group in groups for param in group["params"]}


def empty(
    groups: list[dict[str, Any]], state: dict[Any, dict[str, Any]], control: Control, start: dict[int, Tensor]
) -> None:
    """Keep the parameters as they were before this step, and set those that are penalised to zero, for one loss.

    Args:
        groups: The parameter groups.
        state: The optimizer's state, whose snapshots are written.
        control: The control numbers, which say so.
        start: What `copied` gave before the step.
    """
    control.emptied = True
    for group in groups:
        for param in group["params"]:
            if param in state and id(param) in start:
                local(store.use(state[param], param, store.SNAPSHOT)).copy_(start[id(param)])
    for param in penalised(groups):
        if param in state:
            local(param).zero_()


def refill(groups: list[dict[str, Any]], state: dict[Any, dict[str, Any]]) -> None:
    """Undo `empty`.

    Args:
        groups: The parameter groups.
        state: The optimizer's state.
    """
    for group in groups:
        for param in group["params"]:  # whatever is penalised or frozen by now
            kept = state.get(param, {}).get(store.SNAPSHOT)
            if kept is not None and not store.is_idle(kept):
                local(param).copy_(local(kept))
                state[param][store.SNAPSHOT] = store.idle(param)


def halve(groups: list[dict[str, Any]], state: dict[Any, dict[str, Any]], settings: Settings, over: Group) -> None:
    """Halve what is penalised; phase 1 begins there, with steps measured anew.

    Args:
        groups: The parameter groups.
        state: The optimizer's state: Adam's, which has counted one step from larger weights, begins anew.
        settings: The optimizer's settings.
        over: The argument ``process_group``.
    """
    store.rewind(state)
    for param in penalised(groups):
        if param in state:
            local(param).mul_(0.5)
    for group in groups:
        settings.measure_again(group, state, over)
        for param in group["params"]:
            for name in (store.VELOCITY, store.MOMENT):
                entry = state.get(param, {})
                if name in entry and not store.is_idle(entry[name]):
                    local(entry[name]).zero_()


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
            kept = entry.get(store.SNAPSHOT)
            if kept is not None and param.requires_grad and not store.is_idle(kept):
                local(param).copy_(local(kept))
            for name in (store.VELOCITY, store.MOMENT):
                if name in entry and not store.is_idle(entry[name]):
                    entry[name].zero_()
            for name in (store.GRADIENT, store.DIRECTION):  # what a bad gradient may be in
                if name in entry:
                    entry[name] = store.idle(param)
