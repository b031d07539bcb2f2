"""What the optimizer says of itself: what is going on, what to change, and what is worth a warning."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from groktimizer.optim.control import Control

COLLAPSED = 1e-3  # of the norm at the switch
FALLEN = 0.25  # of the norm at the switch, with a loss far above its start
GROWN = 2.0  # times the norm at the switch
FAR = 10.0  # times the level
STALLED = 500  # steps without a better loss
LUCKY = 10  # times as many where batches differ: the mean of a lucky streak stands for long
EVERY = 50  # steps between two looks at what is worth a warning
JOINING = (
    "joining",
    "under DistributedDataParallel.join() ranks may run out of data, so they cannot agree on a loss and none is used; "
    "from then on (torch does not say when it ended): pass process_group=False and observe a loss that is the same on "
    "every rank, or give every rank as many batches",
)


@dataclass(frozen=True)
class Chosen:
    """What the user has set, so that advice names an option that there is.

    Args:
        lr: Whether lr was given.
        weight_decay: Whether weight_decay was given.
        adaptive: Whether the metric is the adaptive one.
        level: Whether interpolation was given a level of its own.
        begins: The loss below which phase 2 begins; nan while that is not known.
        window: Losses of differing batches of which the mean is to be below it; 0 where they do not differ.
    """

    lr: bool = False
    weight_decay: bool = False
    adaptive: bool = True
    level: bool = False
    begins: float = math.nan
    window: int = 0

    @property
    def less_decay(self) -> str:
        """How to weaken the pull of the penalty."""
        return "lower weight_decay" if self.weight_decay else "pass a lower level as interpolation="

    @property
    def less_lr(self) -> str:
        """How to shorten the steps."""
        return "lower lr" if self.lr else "pass lr= a smaller step than the untuned one"

    @property
    def reachable(self) -> str:
        """How to end phase 1 where the loss stays above its level."""
        return (
            "raise interpolation to a level it can reach" if self.level else "pass interpolation= a level it can reach"
        )


def describe(control: Control, norm: float, chosen: Chosen) -> str:
    """One or two sentences on the state of a run.

    Args:
        control: The control numbers.
        norm: Norm of the penalised parameters now; 0 in phase 1 where it is not known.
        chosen: What the user has set.

    Returns:
        The text.
    """
    if not math.isfinite(norm) and control.phase == 1:
        return (
            "phase 1: not finite: parameters are inf or nan; look for such numbers in the data, or lower the base's lr"
        )
    if not math.isfinite(norm):
        return (
            f"not finite: parameters are inf or nan; {chosen.less_lr}, or give interpolation a level so that the guard "
            "acts"
        )
    return _fitting(control, chosen) if control.phase == 1 else _shrinking(control, norm, chosen)


def _fitting(control: Control, chosen: Chosen) -> str:
    steps, last = control.steps, control.last_loss
    if not control.observed:
        if steps == 0:
            return "phase 1: no step yet"
        return (
            f"phase 1: {steps} steps without a training loss; call opt.observe(loss) before opt.step(), "
            "or opt.step(closure), otherwise phase 2 never begins"
        )
    if control.emptied:
        return "phase 1: the penalised weights are at zero for one loss, which the level is a share of"
    if control.inflated:
        return "phase 1: the penalised weights are halved until they lose no more than twice what zero weights do"
    if not math.isfinite(last):
        return "phase 1: the training loss is not finite; lower the base's lr or check the data"
    if _stalled(control, chosen):
        return (
            f"never interpolated: the training loss {last:.3g} has not improved for {steps - control.best_step} "
            f"steps; train longer, use a larger model, or {chosen.reachable}"
        )
    return f"phase 1: fitting, training loss {last:.3g}{_to_go(chosen)}"


def _to_go(chosen: Chosen) -> str:
    """What phase 2 waits for."""
    if math.isnan(chosen.begins):
        return ""
    if not chosen.window:
        return f"; phase 2 begins below {chosen.begins:.3g}"
    return (
        f"; batches differ, so phase 2 begins once the mean of enough losses, {chosen.window} so far, is below "
        f"{chosen.begins:.3g} for sure"
    )


def _stalled(control: Control, chosen: Chosen) -> bool:
    steps, patience = control.steps, STALLED * LUCKY if chosen.window else STALLED
    return control.observed and steps - control.best_step >= max(patience, steps // 2)


def _fell_to_nothing(control: Control, shrunk: float) -> bool:
    """Whether the fit went with the norm: both far from where phase 2 began."""
    last, start, level = control.last_loss, control.start_loss, control.level
    if math.isnan(last) or math.isnan(start) or shrunk > FALLEN:
        return False
    return last > 10.0 * (0.0 if math.isnan(level) else level) and last > 25.0 * start


def _shrinking(control: Control, norm: float, chosen: Chosen) -> str:
    text = f"phase 2 since step {control.switch_step}"
    if control.detector.get("plateau", math.nan) > 0.0:
        text += f" (a plateau of the loss at {control.detector['plateau']:.3g})"
    if control.finish_step >= 0:
        text += f", in the Euclidean metric since step {control.finish_step}"
    if control.rollbacks:
        times = "once" if control.rollbacks == 1 else f"{control.rollbacks} times"
        text += f", rolled back {times}"
    known = not math.isnan(control.start_norm)
    start = control.start_norm if known else norm
    if norm == 0.0 and not start:
        remedy = "a lower weight_decay" if chosen.weight_decay else "weight_decay= a small number"
        return text + (
            ": every penalised parameter is 0; a model that has not memorised needs a level for interpolation, "
            f"one that has, {remedy}"
        )
    if norm < COLLAPSED * start or _fell_to_nothing(control, norm / start if start else 1.0):
        return text + f": collapsed, the norm fell from {start:.3g} to {norm:.3g}; {chosen.less_decay}"
    last, level = control.last_loss, control.level
    if not control.observed:
        return text + ": no training loss observed, so neither the constraint nor the guard acts"
    if math.isinf(last) or (math.isnan(last) and control.observed and not math.isnan(control.first_loss)):
        return text + f": the training loss is not finite; {chosen.less_lr}"
    if not math.isnan(level) and last > FAR * level:
        return text + (
            f": the training loss {last:.3g} has left the interpolation level {level:.3g}; {chosen.less_decay}"
        )
    return text + (_grew(norm, start, chosen) or f": parameter norm {norm:.4g}, at the switch {start:.4g}")


def _grew(norm: float, start: float, chosen: Chosen) -> str:
    """Of a norm that grows where it should shrink; empty if it does not."""
    if not norm > GROWN * start:
        return ""
    told = f": the norm has grown from {start:.3g} to {norm:.3g}; "
    if not chosen.weight_decay:
        return told + "pass weight_decay= a larger number than the untuned one, or metric='euclidean'"
    scale = "here gradients are scaled to unit size, so that 1 to 3 is usual, not AdamW's 0.01 to 0.1"
    return (
        told
        + f"raise weight_decay ({scale if chosen.adaptive else 'it weighs the gradient as in SGD'}), or leave it out"
    )


def warnings_due(
    control: Control, norm: Callable[[], float], chosen: Chosen, params: Sequence[Tensor] = ()
) -> Iterator[tuple[str, str]]:
    """What a user should hear without asking, each thing once.

    Args:
        control: The control numbers.
        norm: Measures the norm of the penalised parameters, which takes a pass over them: asked for rarely.
        chosen: What the user has set.
        params: All that the optimizer holds.

    Yields:
        A key, and the text.
    """
    if params and all(param.grad is None for param in params):
        yield (
            "strangers",
            "no parameter that it holds has a gradient, so nothing moves: make the optimizer from the model that is "
            "trained, after it was copied or wrapped, and step before gradients are cleared",
        )
    if not control.observed and (control.phase == 1 or not chosen.weight_decay):
        what = "phase 2 never begins" if control.phase == 1 else "neither constraint nor guard acts"
        yield (
            "silent",
            (
                f"no training loss observed in {control.steps} steps, so {what}: call opt.observe(loss) before "
                "opt.step(), or opt.step(closure)"
            ),
        )
    if control.observed and not math.isnan(control.first_loss) and not math.isfinite(control.last_loss):
        told = f"the training loss of step {control.steps} is {control.last_loss}"
        yield "infinite", f"{told}; look for such numbers in the data, or {chosen.less_lr}"
        return
    if control.phase == 1:
        if _stalled(control, chosen):
            yield "stalled", _fitting(control, chosen)
        return
    if control.rollbacks:
        yield (
            "left",
            (
                f"by step {control.steps} the training loss had left the interpolation level and the last "
                f"interpolating state was taken back, with lr and decay halved; if that goes on, "
                f"{chosen.less_decay}"
            ),
        )
    elif not math.isnan(control.level) and control.last_loss > FAR * control.level and not control.kept:
        yield "left", _shrinking(control, norm(), chosen)
    measured = not math.isnan(control.level) and not math.isnan(control.start_norm)
    look = control.steps // EVERY
    if chosen.adaptive and chosen.weight_decay and measured and look & (look - 1) == 0:  # the 1st, 2nd, 4th, 8th ...
        grew = _grew(norm(), control.start_norm, chosen)
        if grew:
            yield "grown", grew.removeprefix(": ")
