"""The growing table of evaluations."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from groktimizer.measures import Condition, norms, window_observed

INTEGERS = ("step", "phase", "passes")


def measure_norms(model: nn.Module, *, full: bool) -> dict[str, float]:
    """Measure the norms that go into a row.

    Args:
        model: The network.
        full: Whether to take the nuclear norms and those of each parameter.

    Returns:
        The columns; those not taken are NaN, so that every row has the same.
    """
    measured = norms(model.named_parameters(), nuclear=full)
    row = {"norm_l2": measured.total_l2, "norm_l1": measured.total_l1, "norm_nuclear": measured.total_nuclear}
    for name in measured.l2:
        row[f"norm_l2/{name}"] = measured.l2[name] if full else math.nan
        row[f"norm_l1/{name}"] = measured.l1[name] if full else math.nan
        row[f"norm_nuclear/{name}"] = measured.nuclear[name] if full else math.nan
    return row


class History:
    """Rows of a run, and whether its generalisation has settled.

    Args:
        generalised: Condition that settles.
    """

    def __init__(self, generalised: Condition) -> None:
        self.generalised = generalised
        self.columns: dict[str, list[float]] = {}
        self._begin: int | None = None
        self._evaluations = 0
        self.settled = False

    def append(self, row: Mapping[str, float]) -> None:
        """Add an evaluation.

        Args:
            row: Values by column; every row has the same columns.
        """
        for name, value in row.items():
            self.columns.setdefault(name, []).append(value)
        self._advance(int(row["step"]), bool(self.generalised.met(row[self.generalised.metric])))

    def _advance(self, step: int, met: bool) -> None:
        """Follow the unbroken stretch of evaluations at which the condition holds.

        Args:
            step: Step of the evaluation.
            met: Whether the condition holds.
        """
        if not met:
            self._begin, self._evaluations = None, 0
            return
        self._begin = step if self._begin is None else self._begin
        self._evaluations += 1
        self.settled = self.settled or window_observed(self._begin, step, self._evaluations)

    def complete_last(self, model: nn.Module) -> None:
        """Fill in the costly norms of the last row, so that every run ends with them.

        Args:
            model: The network in the state of the last row.
        """
        if math.isnan(self.columns["norm_nuclear"][-1]):
            for name, value in measure_norms(model, full=True).items():
                self.columns[name][-1] = value

    def last(self) -> dict[str, float]:
        """Give the last evaluation.

        Returns:
            Values by column.
        """
        return {name: values[-1] for name, values in self.columns.items()}

    def arrays(self) -> dict[str, np.ndarray]:
        """Give the table.

        Returns:
            Columns of shape (evaluations,), int64 for "step", "phase" and "passes", float64 for the rest.
        """
        return {
            name: np.array(values, dtype=np.int64 if name in INTEGERS else np.float64)
            for name, values in self.columns.items()
        }

    def state(self) -> dict[str, Tensor]:
        """Give the table as tensors, for a checkpoint.

        Returns:
            Columns in float64.
        """
        return {name: torch.tensor(values, dtype=torch.float64) for name, values in self.columns.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take the table from a checkpoint; settling is read off it again.

        Args:
            state: What `state` gave.
        """
        columns = {name: values.tolist() for name, values in state.items()}
        self.columns = {}
        for values in zip(*columns.values(), strict=True):
            self.append(dict(zip(columns, values, strict=True)))
