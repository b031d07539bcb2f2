"""What the optimizer says of itself: what is going on, and what to change."""

import math
from typing import Any

COLLAPSED = 1e-3  # of the norm at the switch
FALLEN = 0.25  # of the norm at the switch, with a loss far above its start
STALLED = 500  # steps without a better loss


def describe(control: dict[str, Any], norm: float, observed: bool) -> str:
    """One or two sentences on the state of a run.

    Args:
        control: The optimizer's numbers.
        norm: Norm of the penalised parameters now.
        observed: Whether a training loss ever reached the optimizer.

    Returns:
        The text.
    """
    if not math.isfinite(norm):
        return "not finite: parameters are inf or nan; lower lr, or give interpolation a level so that the guard acts"
    return _fitting(control, observed) if control["phase"] == 1 else _shrinking(control, norm, observed)


def _fitting(control: dict[str, Any], observed: bool) -> str:
    steps, last = control["steps"], control["last_loss"]
    if not observed:
        if steps == 0:
            return "phase 1: no step yet"
        return (
            f"phase 1: {steps} steps without a training loss; call opt.observe(loss) before opt.step(), "
            "or opt.step(closure), otherwise phase 2 never begins"
        )
    if last is None or not math.isfinite(last):
        return "phase 1: the training loss is not finite; lower the base's lr or check the data"
    stalled = steps - control["best_step"]
    if stalled >= max(STALLED, steps // 2):
        return (
            f"never interpolated: the training loss {last:.3g} has not improved for {stalled} steps; train longer, use "
            "a larger model, or pass interpolation= a level it can reach"
        )
    return f"phase 1: fitting, training loss {last:.3g}"


def _fell_to_nothing(control: dict[str, Any], shrunk: float) -> bool:
    """Whether the fit went with the norm: both far from where phase 2 began."""
    last, start = control["last_loss"], control["start_loss"]
    if last is None or start is None or shrunk > FALLEN:
        return False
    return last > 10.0 * (control["level"] or 0.0) and last > 25.0 * start


def _shrinking(control: dict[str, Any], norm: float, observed: bool) -> str:
    text = f"phase 2 since step {control['switch_step']}"
    if control["rollbacks"]:
        times = "once" if control["rollbacks"] == 1 else f"{control['rollbacks']} times"
        text += f", rolled back {times}"
    if norm == 0.0 and not control["start_norm"]:
        return text + (
            ": every penalised parameter is 0; a model that has not memorised needs a level for interpolation, "
            "one that has, a lower weight_decay"
        )
    start = control["start_norm"] or norm
    if norm < COLLAPSED * start or _fell_to_nothing(control, norm / start if start else 1.0):
        return text + f": collapsed, the norm fell from {start:.3g} to {norm:.3g}; lower weight_decay"
    last = control["last_loss"]
    if not observed:
        return text + ": no training loss observed, so neither the constraint nor the guard acts"
    if last is not None and not math.isfinite(last):
        return text + ": the training loss is not finite; lower lr"
    level = control["level"]
    if level is not None and last is not None and last > 10.0 * level:
        return text + f": the training loss {last:.3g} has left the interpolation level {level:.3g}; lower weight_decay"
    return text + f": norm {norm:.4g} from {start:.4g}"
