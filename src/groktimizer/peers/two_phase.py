"""AdamW without decay until the training loss interpolates, AdamW with decay from then on: the switch alone."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from typing_extensions import override

from groktimizer.optim.detector import Detector
from groktimizer.peers.around import needed


class TwoPhaseAdamW(torch.optim.AdamW):
    """AdamW whose decay begins when a detector says that the training loss interpolates; moments go on.

    Args:
        params: Parameter groups; those with ``weight_decay=0`` have none in either phase.
        lr: Step size of both phases.
        weight_decay: Decay of phase 2.
        betas: Decay rates of the moments.
        detector: Says from the losses when phase 2 begins; None for at once.

    Attributes:
        detector: The same.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float,
        betas: tuple[float, float],
        detector: Detector | None,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, weight_decay=weight_decay)
        self.detector = detector
        for group in self.param_groups:
            group["later_decay"] = group["weight_decay"]
            group["weight_decay"] = group["weight_decay"] if detector is None else 0.0
        memory = {} if detector is None else detector.state_dict()
        self.param_groups[0]["phases"] = {"steps": 0, "switch_step": 0 if detector is None else None, "memory": memory}

    @property
    def phase(self) -> int:
        """1 or 2."""
        return 1 if self.switch_step is None else 2

    @property
    def switch_step(self) -> int | None:
        """Steps done when phase 2 began; None while it has not."""
        return self.param_groups[0]["phases"]["switch_step"]

    @property
    def status(self) -> str:
        """The phase in words."""
        if self.switch_step is not None:
            return f"decay since step {self.switch_step:,}"
        level = None if self.detector is None else self.detector.level
        return f"no decay yet: the training loss has not been below {'its level' if level is None else f'{level:.3g}'}"

    @override
    def __getstate__(self) -> dict[str, Any]:
        """Everything that deepcopy and pickle need."""
        return super().__getstate__() | {"detector": self.detector}

    @torch.no_grad()
    @override
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] (one for torch's overloads)
        """Take one step of AdamW, with decay if the loss at the weights, or one before, interpolates."""
        loss = needed(closure)()
        phases = self.param_groups[0]["phases"]
        if self.switch_step is None and self.detector is not None:
            if self.detector.update(float(loss)):
                phases["switch_step"] = phases["steps"]
                for group in self.param_groups:
                    group["weight_decay"] = group["later_decay"]
            phases["memory"] = self.detector.state_dict()
        phases["steps"] += 1
        super().step()
        return loss

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load moments, phase and what the detector remembers."""
        super().load_state_dict(state_dict)
        if self.detector is not None:
            self.detector.load_state_dict(self.param_groups[0]["phases"]["memory"])
