"""What a training run yields: its history, its times, its costs, and a status with advice."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from groktimizer.measures import Times, Verdict


@dataclass(frozen=True)
class Event:
    """Progress of a run.

    Attributes:
        kind: "start", "progress" (one for each evaluation) or "end".
        step: Steps done.
        steps: Budget of steps.
        metrics: The columns of the last evaluation.
        phase: Phase of the optimizer, 1 or 2; 0 if it has none.
        steps_per_second: Mean speed of this session; 0 before its first step.
        eta_seconds: Seconds until the budget is used up at that speed; infinite before the first step.
    """

    kind: Literal["start", "progress", "end"]
    step: int
    steps: int
    metrics: Mapping[str, float]
    phase: int
    steps_per_second: float
    eta_seconds: float


@dataclass(frozen=True)
class Run:
    """Result of a training run.

    Attributes:
        status: How it ended.
        history: Columns by name, each of shape (evaluations,): "step", "phase" (0 for optimizers without phases) and
            "passes" so far, all int64; "train_loss", "test_loss" and, for classification, "train_accuracy",
            "test_accuracy", "norm_l2", "norm_l1" of all parameters, "seconds" since the start (all sessions); on about
            eight evaluations per decade of steps, and NaN elsewhere, "norm_nuclear" and "norm_l2/NAME",
            "norm_l1/NAME", "norm_nuclear/NAME" of each parameter.
        times: The clocks read off the history.
        steps: Steps done.
        seconds: Wall time of all sessions, evaluations included.
        cpu_seconds: Processor time of all sessions, summed over threads.
        passes: Forward/backward passes: one for each closure call, whatever the optimizer calls it for (a line search,
            a second gradient, calibration). Evaluations are not counted.
        state_bytes: Size of all tensors in the optimizer's state at the end.
        peak_memory_bytes: Largest resident set of the process so far (on CUDA: largest allocation of the device).
            It is a high-water mark of the process, not of the run: compare runs in fresh processes.
        switch_step: Step at which the optimizer entered phase 2, None if it has no phases or never did.
        optimizer_status: What the optimizer says of itself, empty if nothing.
        resumed: How often the run was taken up from a checkpoint.
        measured: What `train` was asked to measure at the end; empty if nothing.
    """

    status: Verdict
    history: dict[str, np.ndarray]
    times: Times
    steps: int
    seconds: float
    cpu_seconds: float
    passes: int
    state_bytes: int
    peak_memory_bytes: int
    switch_step: int | None
    optimizer_status: str
    resumed: int
    measured: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def interrupted(self) -> bool:
        """Whether the user stopped it."""
        return self.status is Verdict.INTERRUPTED
