"""The scalar side of phase 2: a constraint that moves lr and decay, and a guard that says when to go back.

Everything here is arithmetic on one plain dict of numbers, so that `state_dict` carries it, a test can drive it with a
list of losses, and all ranks that see the same losses decide alike. Test data never comes near it.
"""

import math
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Action(Enum):
    """What the guard wants done before this step's update."""

    CONTINUE = "continue"
    KEEP = "keep this interpolating state"
    ROLL_BACK = "return to the kept state"


@dataclass(frozen=True)
class Rule:
    """Constants of the constraint and the guard.

    Args:
        start: What multiplies the nominal decay at the switch.
        smoothing: Weight of the past in the running mean of the loss.
        hold: Units of damped time ``sum sqrt(lr * decay)`` before the decay may shrink.
        decay_gain: Shrinking of the decay for each step above the level, times ``min(1, ln(mean / level))``.
        growth: Growing of the decay for each step below the level, times ``min(1, ln(level / mean))``.
        lr_gain: The shrinking of lr above the level, once the loss has come back below the level.
        cooling: Damped time over which lr falls by 1/e while the loss stays below the level; inf: never.
        keep_every: Steps between two kept states.
        far: Multiple of the level that counts as having left the manifold.
        patience: Steps beyond `far` before going back.
        retreat: Factor on lr and on decay after going back.
    """

    start: float = 1.0
    smoothing: float = 0.9
    hold: float = 6.0
    decay_gain: float = 0.02
    growth: float = 0.0
    lr_gain: float = 0.05
    cooling: float = 8.0
    keep_every: int = 25
    far: float = 10.0
    patience: int = 100
    retreat: float = 0.5


def begin(rule: Rule) -> dict[str, Any]:
    """The controller's state on the first step of phase 2.

    Args:
        rule: The constants.

    Returns:
        Plain numbers: what multiplies every group's lr and decay, the running mean, clocks and counters.
    """
    return {
        "lr_scale": 1.0,
        "decay_scale": rule.start,
        "lr_retreat": 1.0,
        "decay_retreat": 1.0,
        "mean": None,
        "damped_time": 0.0,
        "returned": False,
        "kept": False,
        "since_kept": 0,
        "outside": 0,
        "rollbacks": 0,
    }


def constrain(state: dict[str, Any], loss: float, level: float, rate: float, rule: Rule, *, cap: float) -> None:
    """Shrink the norm as fast as the training loss allows: one step of the constraint.

    While the running mean of the loss is above the level, decay shrinks (once `rule.hold` units of damped time have
    passed: the first excursion is where generalisation happens) and, after the first return below the level, lr
    shrinks too. Below the level lr cools slowly, so that a solution that has settled stays.

    Args:
        state: As `begin` gives it; changed in place.
        loss: Training loss before this step.
        level: Interpolation level epsilon, in units of the loss.
        rate: ``sqrt(lr * decay)`` in force, the damped time that one step takes.
        rule: The constants.
        cap: Largest ``decay_scale``.
    """
    if not math.isfinite(loss):
        return
    past = loss if state["mean"] is None else state["mean"]
    state["mean"] = rule.smoothing * past + (1.0 - rule.smoothing) * loss
    excess = state["mean"] / level
    if excess < 1.0 and state["damped_time"] > 2.0:
        state["returned"] = True
    state["damped_time"] += rate
    if excess > 1.0:
        size = min(1.0, math.log(excess))
        if state["returned"]:
            state["lr_scale"] *= math.exp(-rule.lr_gain * size)
        if state["damped_time"] > rule.hold:
            state["decay_scale"] *= math.exp(-rule.decay_gain * size)
        return
    if rule.growth:
        size = min(1.0, -math.log(max(excess, 1e-30)))
        state["decay_scale"] = min(state["decay_scale"] * math.exp(rule.growth * size), cap)
    if state["returned"]:
        state["lr_scale"] *= math.exp(-rate / rule.cooling)


def watch(state: dict[str, Any], loss: float, level: float, rule: Rule) -> Action:
    """Decide whether to keep this state, go on, or go back: one step of the guard.

    Args:
        state: As `begin` gives it; changed in place.
        loss: Training loss before this step.
        level: Interpolation level epsilon, in units of the loss.
        rule: The constants.

    Returns:
        The action; `Action.ROLL_BACK` only when a state has been kept.
    """
    state["since_kept"] += 1
    finite = math.isfinite(loss)
    state["outside"] = state["outside"] + 1 if not (finite and loss <= rule.far * level) else 0
    if not finite or state["outside"] >= rule.patience:
        return _retreat(state, rule) if state["kept"] else Action.CONTINUE
    if loss <= level and (not state["kept"] or state["since_kept"] >= rule.keep_every):
        state["kept"], state["since_kept"] = True, 0
        return Action.KEEP
    return Action.CONTINUE


def _retreat(state: dict[str, Any], rule: Rule) -> Action:
    state["lr_retreat"] *= rule.retreat
    state["decay_retreat"] *= rule.retreat
    state["mean"], state["damped_time"], state["outside"], state["since_kept"] = None, 0.0, 0, 0
    state["rollbacks"] += 1
    return Action.ROLL_BACK
