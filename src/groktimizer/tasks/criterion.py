"""The condition that a task sets: a level on one column of a history."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Criterion:
    """A condition on one column of a history.

    Attributes:
        metric: Name of the column, such as "test_accuracy".
        threshold: The level, in the unit of the column.
        above: True if the condition is value ≥ threshold, False if it is value ≤ threshold.
    """

    metric: str
    threshold: float
    above: bool

    def met(self, values: np.ndarray | float) -> np.ndarray:
        """Say where the condition holds; NaN never meets it.

        Args:
            values: Values of the column, any shape.

        Returns:
            Truth values of the same shape.

        Example:
            >>> Criterion("train_loss", 0.01, above=False).met(np.array([1.0, 0.01, np.nan])).tolist()
            [False, True, False]
        """
        array = np.asarray(values, dtype=np.float64)
        return array >= self.threshold if self.above else array <= self.threshold
