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


def accuracy(part: str, level: float, wrong_labels: float = 0.0) -> Criterion:
    """Make the condition that a part of the samples is classified right.

    Args:
        part: "train" or "test".
        level: The part of them, where all labels of the training samples are right.
        wrong_labels: The part of the training labels that is wrong; the level is lowered in proportion, since no
            network that generalises fits them, and they draw on the others.

    Returns:
        The condition, on "train_accuracy" or "test_accuracy".

    Example:
        >>> accuracy("test", 0.99, wrong_labels=0.05).threshold
        0.941
    """
    return Criterion(f"{part}_accuracy", round(level * (1 - wrong_labels), 3), above=True)
