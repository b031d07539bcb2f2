"""Asks the detector whether phase 2 begins, and keeps the level that counts as interpolation from then on."""

import math
from typing import Any

from groktimizer.ground.checks import is_number
from groktimizer.ground.errors import UserError
from groktimizer.optim.control import Control
from groktimizer.optim.detector import ABOVE, Detector, LossBelow
from groktimizer.optim.noise import Noise, proven
from groktimizer.optim.status import Chosen

INFLATED = 0.5  # of the loss; with squared error it is then at most 4/3 of what zero weights lose
LARGE = 2.0  # times the loss of zero weights: what loses more has to be made smaller before anything can be fitted
TAKEN_ON_LEVEL = 0.05  # a training loss that counts as interpolation for a model taken on without a level, but
TAKEN_ON_FACTOR = 100.0  # at most this multiple of the loss it arrives with: the loss may be on a smaller scale


def detector_for(interpolation: float | Detector | None, *, maximize: bool) -> Detector | None:
    """The detector that an ``interpolation=`` argument stands for.

    Args:
        interpolation: None, a level, infinity, or a detector.
        maximize: Whether the objective is climbed.

    Returns:
        A detector; None for infinity (phase 2 at once).

    Raises:
        UserError: If it is none of these, or a loss level is asked for while maximising.
    """
    if isinstance(interpolation, Detector):
        return interpolation
    if is_number(interpolation) and interpolation == math.inf:
        return None
    if maximize:
        raise UserError(
            f"maximize=True with interpolation={interpolation!r}: accepted then are float('inf') and a detector"
        )
    if interpolation is None:
        return LossBelow()
    return LossBelow(absolute=float(interpolation) if is_number(interpolation) else interpolation)


def chosen(groups: list[dict[str, Any]], detector: Detector | None, control: Control, *, adaptive: bool) -> Chosen:
    """What the user has set, for the texts that give advice.

    Args:
        groups: The parameter groups.
        detector: The detector, if there is one.
        control: The control numbers, which have its memory.
        adaptive: Whether the metric is the adaptive one.

    Returns:
        The options that there are.
    """
    begins = None
    if detector is not None and control.phase == 1:
        _bring_up(detector, control)
        begins = detector.level
    return Chosen(
        lr=any(group["lr_given"] for group in groups),
        weight_decay=any(group["decay_given"] and group["weight_decay"] != 0.0 for group in groups),
        adaptive=adaptive,
        level=isinstance(detector, LossBelow) and detector.absolute is not None,
        begins=math.nan if begins is None else begins,
        window=detector.seen.count if isinstance(detector, LossBelow) and proven(detector.seen) else 0,
    )


def asks(detector: Detector | None, control: Control) -> bool:
    """Whether this step's loss is needed at once: the first, or that of zero weights, which set a relative level.

    Args:
        detector: The detector, if there is one.
        control: The control numbers, this step counted.

    Returns:
        True on the first step, and while the weights are at zero or being halved.
    """
    relative = isinstance(detector, LossBelow) and detector.absolute is None
    return relative and control.phase == 1 and (control.steps == 1 or control.emptied or control.inflated > 0.0)


def inflated(control: Control, losses: list[float], pull: float, squared: float) -> bool:
    """Whether a large initialisation may have raised the first loss: shrinking the weights would lower it at once.

    Args:
        control: The control numbers.
        losses: The first loss, if it was observed.
        pull: How the loss changes as the penalised weights shrink, ``-<theta, g>`` (see `weighing.along`).
        squared: Their squared norm.

    Returns:
        True if the loss falls by more than `INFLATED` of itself per unit of ``ln |theta|``, and what zero weights lose
        is not known.
    """
    asked = control.detector.get("empty", math.nan) > 0.0
    return not asked and bool(losses) and squared > 0.0 and -pull > INFLATED * losses[-1] > 0.0


def deflates(control: Control, losses: list[float]) -> bool:
    """Whether to halve the penalised weights once more: they still lose more than `LARGE` times what zero ones do.

    It ends with the first loss that is not below the one before, as it must be of batches that differ. What the losses
    have told so far is forgotten: it was of another network.

    Args:
        control: The control numbers, changed in place.
        losses: The loss of this step, if it was observed.

    Returns:
        Whether; False for a step without a loss, after which it goes on.
    """
    if not losses:
        return False
    larger = LARGE * control.first_loss < losses[-1] < control.inflated
    control.inflated = losses[-1] if larger else 0.0
    if larger:
        control.detector = LossBelow().state_dict() | {"empty": control.first_loss}
        control.noise = Noise()
    return larger


def take_in_empty(control: Control, losses: list[float], *, deflates: bool = True) -> None:
    """Note the loss of the model with its penalised weights at zero.

    Args:
        control: The control numbers, changed in place.
        losses: That loss, if it was observed.
        deflates: Whether an inflated start is to be made smaller.
    """
    control.emptied = False
    if losses and 0.0 < losses[-1] < math.inf:
        control.detector["empty"] = losses[-1]
        control.inflated = math.inf if deflates and control.first_loss > LARGE * losses[-1] else 0.0
        control.first_loss = min(control.first_loss, losses[-1])


def interpolates(detector: Detector | None, control: Control, loss: float) -> bool:
    """Ask the detector, whose memory is in the control numbers.

    Args:
        detector: The detector, if there is one.
        control: The control numbers, changed in place.
        loss: A training loss.

    Returns:
        Whether phase 2 begins.
    """
    if detector is None:
        return False
    _bring_up(detector, control)
    reached = detector.update(loss)
    control.detector = detector.state_dict()
    return reached


def _bring_up(detector: Detector, control: Control) -> None:
    """Give a detector its memory, which is in the control numbers."""
    fresh = detector.state_dict()
    detector.load_state_dict({name: control.detector.get(name, value) for name, value in fresh.items()})


def level(detector: Detector | None, control: Control, loss: float, *, needed: bool) -> float:
    """The interpolation level; a model taken on without one gets it from its own loss.

    That of a plateau follows the running mean of the loss down, to the level without a plateau at most.

    Args:
        detector: The detector, if there is one.
        control: The control numbers, changed in place.
        loss: A training loss.
        needed: Whether an untuned weight needs a level.

    Returns:
        The level, nan while there is none.
    """
    if isinstance(detector, LossBelow) and control.detector.get("plateau", math.nan) > 0.0:
        _bring_up(detector, control)
        reached, least = detector.level if math.isnan(control.level) else control.level, detector.least
        assert reached is not None
        assert least is not None
        control.level = max(least, min(reached, ABOVE * control.mean))  # a mean that is nan changes nothing
    elif math.isnan(control.level):
        if detector is not None:
            found = detector.level
            control.level = math.nan if found is None else found
        elif needed and math.isfinite(loss):
            control.level = level_taken_on(loss)
    return control.level


def level_taken_on(loss: float) -> float:
    """Interpolation level of a model that arrives memorised, from the loss that it arrives with.

    Args:
        loss: Its first training loss.

    Returns:
        0.05, but between 2 and 100 times the loss.
    """
    return max(min(TAKEN_ON_LEVEL, TAKEN_ON_FACTOR * loss), 2.0 * loss, 1e-30)
