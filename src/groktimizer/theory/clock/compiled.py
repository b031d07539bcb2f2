"""What the compiled loops of sparse and low-rank problems share; importing this file imports numba."""

import numpy as np
import numpy.typing as npt

from groktimizer.ground.compiled import compiled

__all__ = ["compiled", "note"]


@compiled
def note(marks: npt.NDArray[np.int64], step: int, met: bool) -> None:
    """Keep the first step with a condition, and the first of those that hold since; -1 for none."""
    if not met:
        marks[1] = -1
        return
    if marks[0] < 0:
        marks[0] = step
    if marks[1] < 0:
        marks[1] = step
