"""How fast phase 2 shrinks: the constraint moves lr and decay by the training loss; phase 1's step by its noise.

Everything here is arithmetic on `Control`, so that a state dict carries it, a test can drive it with a list of losses,
and all ranks that see the same losses decide alike. Test data never comes near it.
"""

import math
from dataclasses import dataclass

from groktimizer.optim import noise
from groktimizer.optim.control import Control


@dataclass(frozen=True)
class Rule:
    """Constants of the constraint and the guard.

    Args:
        start: What multiplies the nominal decay at the switch.
        smoothing: Weight of the past in the running mean of the loss.
        ring: Units of damped time ``sum sqrt(lr * decay)`` that the excursion after the switch takes at least.
        hold: Units of damped time before decay may shrink.
        decay_gain: Shrinking of the decay for each step above the level, times ``min(1, ln(mean / level))``.
        growth: Growing of the decay for each step below the level, times ``min(1, ln(level / mean))``.
        pace: Damped time that a step takes from which on decay changes at these rates once the loss has come back; of
            slower steps in proportion, so that the weights follow.
        late_gain: Shrinking of lr above the level when the loss has not come back within `hold`.
        lr_gain: Shrinking of lr above the level once the loss has come back below it.
        cooling: Damped time over which lr falls by 1/e while the loss stays below the level; inf: never.
        noisy_cooling: The same where batches differ: a noisy step keeps the loss up until it is small.
        keep_every: Steps between two kept states.
        far: Multiple of the level that counts as having left the manifold.
        share: Share of the first loss below which it does not, whatever the level.
        patience: Steps out there before going back.
        astray: Multiple of the level beyond which a step counts towards `lost`.
        lost: Steps that far above the level, with lr below `dead` of its start, before going back.
        dead: See `lost`.
        retreat: Factor on lr and on decay after going back.
        inherits: Whether lr starts smaller where `anneal` has shortened phase 1's steps.
    """

    start: float = 1.0
    smoothing: float = 0.9
    ring: float = 2.0
    hold: float = 6.0
    decay_gain: float = 0.02
    growth: float = 0.0
    pace: float = 0.0
    late_gain: float = 0.04
    lr_gain: float = 0.05
    cooling: float = 8.0
    noisy_cooling: float = 2.0
    keep_every: int = 20
    far: float = 25.0
    share: float = 0.5
    patience: int = 20
    astray: float = 1.0
    lost: int = 100
    dead: float = 0.01
    retreat: float = 0.5
    inherits: bool = True


RULES = {
    "adaptive": Rule(),
    "euclidean": Rule(
        start=1e-4,
        hold=0.0,
        decay_gain=0.05,
        growth=0.05,
        pace=0.1,
        lr_gain=0.0,
        late_gain=0.0,
        cooling=math.inf,
        noisy_cooling=math.inf,
        inherits=False,
        astray=4.0,
        lost=300,
        dead=math.inf,
    ),
}

HOLDS = 0.1  # relative distance of the mean loss from the level within which the constraint holds
UNMOVED = 0.1  # relative distance from the start within which the loss has not begun to fall
SHRINK, SMALLEST = 0.5, 1.0 / 12.0  # of phase 1's step: by how much, and down to which (Adam's usual 1e-3)


def fresh(metric: str) -> Control:
    """The control numbers of a new optimizer.

    Args:
        metric: Its metric.

    Returns:
        Phase 1, nothing seen.
    """
    return Control(metric, decay_scale=RULES[metric].start)


def anneal(state: Control, loss: float, *, shortens: bool = True) -> None:
    """Shorten phase 1's steps where batches differ and the loss no longer falls.

    With noise a constant step ends on a floor. The mean over a window of `noise.REST` losses, or as many more as it
    takes to know it within `noise.PRECISE`, at most those and a quarter of the run, must be a tenth below the best one
    so far; else ``anneal_scale`` halves, at most to a twelfth. A loss that is still where it began, or free of noise,
    changes nothing.

    Args:
        state: The control numbers, changed in place.
        loss: Training loss before this step.
        shortens: Whether the step may be shortened; a base of the user's own is left as it is.
    """
    if not math.isfinite(loss):
        return
    known = noise.proven(state.noise)
    noise.take_in(state.noise, loss)
    if noise.proven(state.noise) and not known:
        state.best_loss = math.nan  # of single losses; from now on it is one of the mean
    if not noise.noisy(state.noise):
        noise.restart(state.noise)
    elif shortens and noise.proven(state.noise) and noise.full(state.noise, noise.REST):
        average, best, origin = noise.mean(state.noise), state.anneal_best, noise.start(state.noise)
        if origin > 0.0 and average > noise.FALLS * best and abs(average - origin) > UNMOVED * origin:
            state.anneal_scale = max(SMALLEST, SHRINK * state.anneal_scale)
        state.anneal_best = average if math.isnan(best) else min(best, average)
        noise.restart(state.noise)


def enter(state: Control, rule: Rule) -> None:
    """Set lr and decay that phase 2 begins with, from what noise has left of phase 1's step.

    Noise makes ``g / sqrt(n)`` small in the mean and leaves decay as it is, so decay starts smaller too: it takes the
    annealed share, and lr the square of it.

    Args:
        state: The control numbers, changed in place.
        rule: The constants.
    """
    state.lr_scale, state.decay_scale = inherited(state, rule)


def finish(state: Control, rule: Rule, multiplier: float) -> None:
    """Set what the Euclidean finish begins with.

    Args:
        state: The control numbers, changed in place.
        rule: The constants of the Euclidean metric.
        multiplier: The decay that holds theta against the gradient, in units of the nominal one; without one, <= 0,
            decay begins weak and grows.
    """
    state.finish_step = max(0, state.steps - 1)
    state.lr_retreat, state.decay_retreat = 1.0, 1.0
    state.lr_scale, state.decay_scale = 1.0, max(multiplier, rule.start) if math.isfinite(multiplier) else rule.start
    state.above, state.outside, state.since_kept = 0, 0, rule.keep_every


def inherited(state: Control, rule: Rule) -> tuple[float, float]:
    """The factors on lr and decay with which phase 2 begins, and begins again.

    Args:
        state: The control numbers.
        rule: The constants.

    Returns:
        ``lr_scale`` and ``decay_scale``.
    """
    share = state.anneal_scale if rule.inherits else 1.0
    return share**2, rule.start * share


def constrain(state: Control, loss: float, level: float, rate: float, rule: Rule, *, cap: float) -> None:
    """Shrink the norm as fast as the training loss allows: one step of the constraint.

    The excursion of the loss that follows the switch is where generalisation happens, so it is left alone for
    `rule.hold` units of damped time. After that, and after the first return below the level, a running mean above the
    level shrinks decay and lr. Below the level lr cools slowly, so that a solution that has settled stays.

    Args:
        state: The control numbers, changed in place.
        loss: Training loss before this step; one that is not finite is left to the guard.
        level: Interpolation level epsilon, in units of the loss.
        rate: ``sqrt(lr * decay)`` in force, the damped time that one step takes.
        rule: The constants.
        cap: Largest ``decay_scale``.
    """
    if not math.isfinite(loss):
        return
    past = loss if math.isnan(state.mean) else state.mean
    state.mean = rule.smoothing * past + (1.0 - rule.smoothing) * loss
    noise.take_in(state.noise, loss)
    noise.restart(state.noise)
    low, high = between(state)
    excess = math.log(max(low, 1e-300) / level)
    state.above = state.above + 1 if excess > math.log(rule.astray) else 0
    if high < level and state.damped_time > rule.ring:
        state.returned = True
    state.damped_time += rate
    gain = 1.0 / stretch(state)
    if state.returned and rate < rule.pace:
        gain *= rate / rule.pace
    if excess > 0.0:
        _shrink(state, gain * min(1.0, excess), rule)
    elif high <= level:
        deficit = gain * min(1.0, math.log(level / max(high, 1e-300)))
        if rule.growth:
            state.decay_scale = min(state.decay_scale * math.exp(rule.growth * deficit), cap)
        if state.returned:
            cooling = rule.noisy_cooling if noise.proven(state.noise) else rule.cooling
            state.lr_scale *= math.exp(-rate / cooling)


def holds(state: Control) -> bool:
    """Whether the run is where the loss is at the level.

    Args:
        state: The control numbers, after a loss.

    Returns:
        True if the running mean is within a tenth of it.
    """
    return 1.0 - HOLDS < state.mean / state.level < 1.0 + HOLDS if state.level > 0.0 else False


def between(state: Control) -> tuple[float, float]:
    """Bounds on the training loss: its running mean, less and more a standard error where batches differ.

    Args:
        state: The control numbers, after a loss.

    Returns:
        The lower and the upper bound.
    """
    if not noise.proven(state.noise):
        return state.mean, state.mean
    average, error = state.noise.mean, noise.standard_error(state.noise)
    return average - error, average + error


def stretch(state: Control) -> float:
    """How many times longer than without noise it takes to know the loss: rates and patience follow.

    Args:
        state: The control numbers.

    Returns:
        A factor >= 1.
    """
    return noise.memory(state.noise) / noise.SHORT


def _shrink(state: Control, excess: float, rule: Rule) -> None:
    late = state.damped_time > rule.hold
    if late:
        state.decay_scale *= math.exp(-(rule.late_gain if noise.proven(state.noise) else rule.decay_gain) * excess)
    if state.returned:
        state.lr_scale *= math.exp(-rule.lr_gain * excess)
    elif late:
        state.lr_scale *= math.exp(-rule.late_gain * excess)
