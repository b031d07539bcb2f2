"""What the compiled loops of sparse and low-rank problems share; importing this file imports numba."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

Function = TypeVar("Function", bound=Callable[..., Any])
_FAST = {"reassoc", "contract", "nsz", "arcp"}  # sums in any order; NaN and inf stay what they are


def compiled(function: Function) -> Function:
    """Compile at the first call and keep the result beside this file, or in memory where no folder can be written."""
    try:
        return cast(Function, numba.njit(cache=True, fastmath=_FAST, nogil=True)(function))
    except RuntimeError:
        return cast(Function, numba.njit(fastmath=_FAST, nogil=True)(function))


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
