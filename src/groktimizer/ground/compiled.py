"""Loops compiled by numba; importing this file imports numba."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])
_FAST = {"reassoc", "contract", "nsz", "arcp"}  # sums in any order; NaN and inf stay what they are


def compiled(function: Function) -> Function:
    """Compile at the first call and keep the result beside its file, or in memory where no folder can be written.

    Args:
        function: A function in what numba knows of Python.

    Returns:
        The same, compiled; it lets other threads run, and a division by zero gives inf or nan.
    """
    try:
        return cast(Function, numba.njit(cache=True, fastmath=_FAST, nogil=True, error_model="numpy")(function))
    except RuntimeError:
        return cast(Function, numba.njit(fastmath=_FAST, nogil=True, error_model="numpy")(function))
