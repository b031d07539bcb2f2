"""What a training run yields: its history, its times, its costs, and a status with advice."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np

from groktimizer.measures import Times

DIVERGED_FACTOR = 1e3
COLLAPSED_FACTOR = 1e-3
DECAYED = 0.5  # of the error when memorised
AT_REST = 0.05  # relative change since half of the steps


class Status(StrEnum):
    """How a run ended. A run that failed is a result, with a status."""

    GROKKED = "grokked"
    GENERALISED_FIRST = "generalised-first"
    GENERALISED = "generalised"
    WITHOUT_UNDERSTANDING = "without-understanding"
    NOT_GENERALISED = "not-generalised"
    NOT_MEMORISED = "not-memorised"
    DIVERGED = "diverged"
    COLLAPSED = "collapsed"
    INTERRUPTED = "interrupted"

    @property
    def advice(self) -> str:
        """What happened and what to change, in one line."""
        return _ADVICE[self]


_ADVICE: Mapping[Status, str] = {
    Status.GROKKED: "generalised and stayed there for a whole window: nothing to change",
    Status.GENERALISED: "reached the test level but did not hold it for a whole window: give more steps, or a smaller "
    "learning rate or weight decay if it keeps falling back",
    Status.GENERALISED_FIRST: "generalised and stayed there without memorising before, so there was no delay: nothing "
    "to change, or less weight decay if the training set should be fitted as closely",
    Status.WITHOUT_UNDERSTANDING: "the initial weights were forgotten, the truth was not found: more samples or "
    "another penalty",
    Status.NOT_GENERALISED: "memorised but did not reach the test level: give more steps, more weight decay, or more "
    "training samples",
    Status.NOT_MEMORISED: "did not fit the training set: give more steps, another learning rate, or less weight decay",
    Status.DIVERGED: "the training loss ended non-finite or 1000 times above its first value: use a smaller learning "
    "rate",
    Status.COLLAPSED: "the parameters ended below a thousandth of their first norm: use less weight decay",
    Status.INTERRUPTED: "stopped by the user: run the same command again to go on from the saved state",
}


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
        history: Columns by name, each of shape (evaluations,): "step" and "phase" (int64; phase 0 for optimizers
            without phases), "train_loss", "test_loss" and, for classification, "train_accuracy", "test_accuracy",
            "norm_l2", "norm_l1" of all parameters, "seconds" since the start (all sessions); on about eight
            evaluations per decade of steps, and NaN elsewhere, "norm_nuclear" and "norm_l2/NAME", "norm_l1/NAME",
            "norm_nuclear/NAME" of each parameter.
        times: The clocks read off the history.
        steps: Steps done.
        seconds: Wall time of all sessions, evaluations included.
        cpu_seconds: Processor time of all sessions, summed over threads.
        passes: Forward/backward passes: one for each closure call, plus what the optimizer says it spent on
            calibration. Evaluations are not counted.
        state_bytes: Size of all tensors in the optimizer's state at the end.
        peak_memory_bytes: Largest resident set of the process so far (on CUDA: largest allocation of the device).
            It is a high-water mark of the process, not of the run: compare runs in fresh processes.
        switch_step: Step at which the optimizer entered phase 2, None if it has no phases or never did.
        optimizer_status: What the optimizer says of itself, empty if nothing.
        resumed: How often the run was taken up from a checkpoint.
    """

    status: Status
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


def judge(history: Mapping[str, np.ndarray], times: Times) -> Status:
    """Say how a finished run ended.

    Diverged means that the last training loss is not finite or above 1000 times the first; collapsed that the last
    parameter norm is below a thousandth of the first. Both are judged at the end: a run that comes back did neither.
    Grokked means that memorising came first. Without understanding is for tasks with a "test_error" against a truth:
    once memorised it fell to less than half, and came to rest without generalisation.

    Args:
        history: Columns with at least "step", "train_loss" and "norm_l2".
        times: Its times.

    Returns:
        The status.
    """
    loss, norm = history["train_loss"], history["norm_l2"]
    if not np.isfinite(loss[-1]) or loss[-1] > DIVERGED_FACTOR * loss[0]:
        return Status.DIVERGED
    if norm[-1] < COLLAPSED_FACTOR * norm[0]:
        return Status.COLLAPSED
    if times.settled is not None:
        grokked = times.delay is not None and times.delay >= 0
        return Status.GROKKED if grokked else Status.GENERALISED_FIRST
    if times.generalised is not None:
        return Status.GENERALISED
    if times.memorised is None:
        return Status.NOT_MEMORISED
    return Status.WITHOUT_UNDERSTANDING if _forgot(history, times.memorised) else Status.NOT_GENERALISED


def _forgot(history: Mapping[str, np.ndarray], memorised: int) -> bool:
    """Whether the error against the truth fell to less than half after memorisation and rests there."""
    if "test_error" not in history:
        return False
    steps, error = history["step"], history["test_error"]
    at, half, end = (float(error[np.searchsorted(steps, step)]) for step in (memorised, steps[-1] / 2, steps[-1]))
    return end < DECAYED * at and abs(end - half) <= AT_REST * end
