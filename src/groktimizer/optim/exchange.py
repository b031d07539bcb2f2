"""One step's reduction among ranks: the losses that are due and every sum that the step will decide by."""

import math
from typing import Any

from torch import Tensor

from groktimizer.optim import calibration, proximal, store, upkeep
from groktimizer.optim.agreement import Scope, device_of
from groktimizer.optim.control import Control
from groktimizer.optim.losses import Inbox
from groktimizer.optim.settings import Settings


def exchange(
    inbox: Inbox,
    groups: list[dict[str, Any]],
    state: store.State,
    control: Control,
    settings: Settings,
    scope: Scope,
    *,
    now: bool = False,
) -> tuple[list[float], list[float] | None]:
    """Take in what all ranks have to say at this step; of a process that decides alone, its own losses.

    The restart test of the last step and, now and then, the norm become the whole model's in ``control``.

    Args:
        inbox: Losses on their way.
        groups: The parameter groups, gradients set.
        state: The optimizer's state.
        control: The control numbers, this step counted; ``turn`` and ``norm`` are changed.
        settings: The optimizer's settings.
        scope: Who takes part; where ranks may run out of data, none of their losses is used.
        now: Whether to read the losses whatever the poll.

    Returns:
        The losses to act on now; the sums of `calibration.parts` if this step begins or completes a probe.
    """
    if not scope.groups:
        return inbox.take(now=now), None
    if scope.joining:
        return [], None
    shrinking = control.phase > 1
    turning = shrinking and proximal.due(groups)
    probing = shrinking and scope.cut and settings.calibrates(groups) and calibration.due(control)
    weighing = shrinking and scope.cut and control.steps % upkeep.FLUSH_EVERY == 0
    extras: list[Tensor | float] = [control.turn] if turning else []
    if probing:
        extras += calibration.parts(groups, state, control, scope)
    if weighing:
        extras.append(sum(upkeep.squares(groups, scope)))
    device = device_of([param for group in groups for param in group["params"]])
    found, sums = inbox.agree(extras, scope, device, now=now)
    if turning:
        control.turn, sums = sums[0], sums[1:]
    if weighing:
        control.norm = math.sqrt(float(sums[-1]))
    return found, sums[:2].tolist() if probing else None
