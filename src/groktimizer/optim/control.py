"""What the optimizer knows beside tensors: every number that decides, in one place, as a state dict carries it."""

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from typing import Any, Self

from torch import Tensor

from groktimizer.optim.noise import Noise, proven

VERSION = 3  # of state dicts; 2 had no finish, 1 other names
OWN = ("noise", "detector")  # fields that hold several numbers, each stored under a name of its own


@dataclass(slots=True)
class Control:
    """Numbers of one type each for ever; nan and -1 stand for "not yet".

    Args:
        metric: The metric that the optimizer was made with.
        phase: 1 while fitting, 2 while shrinking the norm.
        steps: Steps taken.
        switch_step: Steps taken before phase 2 began.
        finish_step: Steps taken before the Euclidean finish of the adaptive metric began.
        observed: Whether a loss was ever given.
        first_loss: The first training loss.
        emptied: Whether the penalised weights are at zero now, to see what that loses.
        inflated: The loss that the next halving of the penalised weights has to stay below; 0 if none is going on.
        last_loss: The last one.
        best_loss: The best one; where batches differ, of the running mean.
        best_step: The step at which it was seen.
        level: The interpolation level.
        start_loss: The first loss of phase 2.
        start_norm: Norm of what is penalised when phase 2 began.
        norm: The same as of the last reduction.
        lr_scale: What the constraint makes of lr.
        decay_scale: What the constraint makes of decay.
        mean: Running mean of the loss in phase 2.
        damped_time: Sum of ``sqrt(lr * decay)``.
        returned: Whether the loss has come back below the level.
        above: Losses in a row above the level.
        kept: Whether the guard holds a state.
        since_kept: Steps since then.
        outside: Losses in a row far outside.
        rollbacks: How often the guard went back.
        lr_retreat: What going back has left of lr.
        decay_retreat: What going back has left of decay.
        anneal_scale: What noise has left of phase 1's step.
        anneal_best: The best mean of a window in phase 1.
        noise: How noisy the losses are.
        extra_passes: Forward-backward passes spent on calibration.
        calibrated: Step size found from the curvature.
        curvature: The curvature.
        probes_left: Probes that are due.
        probe_reach: Length of a probe.
        age: Proximal steps since the last restart; may live on the device.
        turn: The last proximal step's restart test, likewise.
        detector: What the detector remembers.
    """

    metric: str
    phase: int = 1
    steps: int = 0
    switch_step: int = -1
    finish_step: int = -1
    observed: bool = False
    emptied: bool = False
    inflated: float = 0.0
    first_loss: float = math.nan
    last_loss: float = math.nan
    best_loss: float = math.nan
    best_step: int = 0
    level: float = math.nan
    start_loss: float = math.nan
    start_norm: float = math.nan
    norm: float = math.nan
    lr_scale: float = 1.0
    decay_scale: float = 1.0
    mean: float = math.nan
    damped_time: float = 0.0
    returned: bool = False
    above: int = 0
    kept: bool = False
    since_kept: int = 0
    outside: int = 0
    rollbacks: int = 0
    lr_retreat: float = 1.0
    decay_retreat: float = 1.0
    anneal_scale: float = 1.0
    anneal_best: float = math.nan
    noise: Noise = field(default_factory=Noise)
    extra_passes: int = 0
    calibrated: float = 1.0
    curvature: float = math.nan
    probes_left: int = 0
    probe_reach: float = 0.0
    age: float | Tensor = 0.0
    turn: float | Tensor = 0.0
    detector: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, groups: list[dict[str, Any]]) -> Self:
        """The numbers of an optimizer, which travel in its first group: wrappers copy groups, not attributes.

        Args:
            groups: The parameter groups; a dict of numbers, as a state dict has it, is replaced.

        Returns:
            The numbers, to be changed in place.
        """
        held = groups[0]["control"]
        if not isinstance(held, cls):
            held = groups[0]["control"] = cls.from_dict(held)
        return held

    def to_dict(self) -> dict[str, Any]:
        """Everything as a flat dict of plain numbers, with the version of the format."""
        plain = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in OWN}
        plain |= {"version": VERSION, "age": float(self.age), "turn": float(self.turn)}
        return (
            plain
            | self.noise.to_dict()
            | {f"detector_{name}": deepcopy(value) for name, value in self.detector.items()}
        )

    @classmethod
    def from_dict(cls, numbers: Mapping[str, Any]) -> Self:
        """Take up what `to_dict` gave.

        Args:
            numbers: The dict; what it lacks is as at the start, what is not of `Control` is left out.

        Returns:
            The numbers.
        """
        known = {each.name: numbers[each.name] for each in fields(cls) if each.name in numbers and each.name not in OWN}
        memory = {
            name.removeprefix("detector_"): value for name, value in numbers.items() if name.startswith("detector_")
        }
        return cls(**known, noise=Noise.from_dict(numbers), detector=memory)

    def remember(self, loss: float) -> None:
        """Note a training loss for the status text.

        Args:
            loss: A training loss.
        """
        self.last_loss = loss
        if math.isnan(self.first_loss):
            self.first_loss = loss
        told = self.noise.mean if proven(self.noise) else loss
        if math.isnan(self.best_loss) or told < 0.99 * self.best_loss:
            self.best_loss, self.best_step = told, self.steps
