"""Trackers: what a run of `groktimizer.training.train` tells on its way, written for TensorBoard or MLflow."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol


class Event(Protocol):
    """What `training.Event` has that is written."""

    @property
    def step(self) -> int:
        """Steps done."""
        ...

    @property
    def metrics(self) -> Mapping[str, float]:
        """Columns of the last evaluation."""
        ...

    @property
    def phase(self) -> int:
        """Of the optimizer."""
        ...


def tensorboard(writer: Any) -> Callable[[Event], None]:
    """Write losses, accuracies, norms and the phase of a run for TensorBoard.

    Args:
        writer: A ``torch.utils.tensorboard.SummaryWriter``, or anything with its ``add_scalar``.

    Returns:
        What `training.train` takes as ``on_event``.
    """

    def listen(event: Event) -> None:
        for name, value in _values(event).items():
            writer.add_scalar(name, value, event.step)

    return listen


def mlflow(client: Any) -> Callable[[Event], None]:
    """Write losses, accuracies, norms and the phase of a run to the active run of MLflow.

    Args:
        client: The module ``mlflow``, or anything with its ``log_metrics``.

    Returns:
        What `training.train` takes as ``on_event``.
    """

    def listen(event: Event) -> None:
        client.log_metrics(_values(event), step=event.step)

    return listen


def _values(event: Event) -> dict[str, float]:
    """The metrics under names that both take: no tensor's own norms, which are there now and then."""
    return {name: value for name, value in event.metrics.items() if "/" not in name and not math.isnan(value)} | {
        "phase": float(event.phase)
    }
