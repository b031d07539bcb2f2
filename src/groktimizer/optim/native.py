"""The adaptive step as one loop over memory, compiled by numba; importing this file imports numba."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise
from typing import Any, TypeAlias

import numba
import numpy as np
import numpy.typing as npt
import torch
from numba.core import cgutils
from numba.core.types import Type, voidptr
from numba.extending import intrinsic
from torch import Tensor
from torch.autograd.graph import increment_version

from groktimizer.ground.compiled import compiled

Numbers: TypeAlias = npt.NDArray[Any]

COMPILES = not os.environ.get("NUMBA_DISABLE_JIT", "0").strip("0")
ROW = 64  # entries
THREAD = 1 << 15  # entries for which a thread of their own pays


def _typed(_context: Any, address: Type) -> tuple[Any, Callable[..., Any]]:
    """How numba makes a pointer of a whole number."""

    def generate(_target: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], cgutils.voidptr_t)

    return voidptr(address), generate


_array: Any = numba.carray  # pyright: ignore[reportPrivateImportUsage] (public, but not in its __all__)
_pointer: Any = intrinsic(_typed)


@compiled
def _move(theta: Numbers, g: Numbers, b: Numbers, n: Numbers, numbers: Numbers) -> None:
    """Move rows of equal length; `numbers` as in `_advance`."""
    lr, decay, momentum, beta2, rest, root, eps, sign = numbers
    for k in range(theta.size):
        force = g[k]
        second = beta2 * n[k] + rest * force * force
        scale = np.sqrt(second) / root + eps
        scale = max(scale, abs(force))
        speed = momentum * b[k] + sign * force / scale + decay * theta[k]
        n[k] = second
        b[k] = speed
        theta[k] = theta[k] - lr * speed


@compiled
def _cut(place: int, size: int) -> int:
    """The next multiple of `ROW` in a tensor: whole rows are computed alike, wherever threads begin."""
    return min(size, max(0, place + ROW - 1) // ROW * ROW)


@compiled
def _advance(
    addresses: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], first: int, last: int, numbers: Numbers
) -> None:
    """Move the entries from `first` to `last` of all tensors, one after the other.

    Args:
        addresses: Of theta, g, b and n of each tensor, shape (tensors, 4).
        lengths: Their entries, shape (tensors,).
        first: The first entry.
        last: The one after the last.
        numbers: lr, decay, momentum, beta2, 1 - beta2, root of the correction, eps, sign of g, in the tensors' type.
    """
    begin = 0
    for i in range(len(lengths)):
        size = lengths[i]
        start, stop = _cut(first - begin, size), _cut(last - begin, size)
        if start < stop:
            theta = _array(_pointer(addresses[i, 0]), size, numbers.dtype)
            g = _array(_pointer(addresses[i, 1]), size, numbers.dtype)
            b = _array(_pointer(addresses[i, 2]), size, numbers.dtype)
            n = _array(_pointer(addresses[i, 3]), size, numbers.dtype)
            _move(theta[start:stop], g[start:stop], b[start:stop], n[start:stop], numbers)
        begin += size


@cache
def _helpers(_process: int) -> ThreadPoolExecutor:
    """Threads of this process: a fork leaves them behind. They start when they are needed."""
    return ThreadPoolExecutor(os.cpu_count())


def advance(
    params: list[Tensor], grads: list[Tensor], velocities: list[Tensor], moments: list[Tensor], scalars: Any
) -> None:
    """`updates.adaptive_step` in one pass over memory, on as many threads as torch has.

    Args:
        params: Parameters theta, moved in place; flat rows of one type on the CPU, as all others.
        grads: Gradients of the training loss, one per parameter; read only.
        velocities: Velocities b, one per parameter, updated in place.
        moments: Second moments n, one per parameter, updated in place.
        scalars: The numbers of this step.
    """
    increment_version(params)
    increment_version(velocities)
    increment_version(moments)
    kind = np.float64 if params[0].dtype == torch.float64 else np.float32
    numbers = np.array(
        [scalars.lr, scalars.weight_decay, scalars.momentum, scalars.beta2, 1.0 - scalars.beta2,
         scalars.correction**0.5, scalars.eps, -1.0 if scalars.maximize else 1.0], kind)  # fmt: skip
    rows = zip(params, grads, velocities, moments, strict=True)
    addresses = np.array([(p.data_ptr(), g.data_ptr(), b.data_ptr(), n.data_ptr()) for p, g, b, n in rows], np.int64)
    lengths = np.array([param.numel() for param in params], np.int64)
    entries = int(lengths.sum())
    threads = max(1, min(torch.get_num_threads(), entries // THREAD))
    cuts = [entries * i // threads for i in range(threads + 1)]
    if threads == 1:
        _advance(addresses, lengths, 0, entries, numbers)
        return
    jobs = [
        _helpers(os.getpid()).submit(_advance, addresses, lengths, first, last, numbers)
        for first, last in pairwise(cuts)
    ]
    try:
        for job in jobs:
            job.result()
    finally:
        wait(jobs)  # whatever interrupts: nobody writes to memory that others may free
