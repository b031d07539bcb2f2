"""Ground floor: whether what is asked for fits into memory, answered before anything is allocated."""

import contextlib
import os
from pathlib import Path

from groktimizer.ground.errors import UserError

try:
    import resource
except ImportError:  # Windows, where no limit of a process is looked at
    resource = None

ADDRESSES = 2**47  # bytes that a process can address at all
GB = 10**9
_MANY = 10**10 * GB  # more than this is not written out
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def check_memory(what: str, numbers: int, *, item: int = 8) -> None:
    """Refuse what does not fit into memory.

    Args:
        what: The options and their values that make it so large, such as "n=50000, m=50000".
        numbers: How many numbers are held at the same time, counted in whole numbers, which do not overflow.
        item: Bytes of one.

    Raises:
        UserError: If they are more than the memory that is free.

    Example:
        >>> check_memory("n=10, m=10", 100)
        >>> check_memory("n=10**9, m=10**9", 10**18)
        Traceback (most recent call last):
        groktimizer.UserError: n=10**9, m=10**9: needs 8,000,000,000 GB of memory, ...
    """
    needed, free = numbers * item, free_memory()
    if needed > free:
        size = f"{-(-needed // GB):,}" if needed <= _MANY else "more than 10^10"
        raise UserError(
            f"{what}: needs {size} GB of memory, accepted are sizes that fit into the {free / GB:.3g} GB that are free"
        )


def free_memory() -> int:
    """Estimate how many bytes this process can still allocate.

    Returns:
        The least of what the machine, the container and the limit of the process leave.
    """
    found = [ADDRESSES, *_machine()]
    for limit, used in _CGROUPS:
        with contextlib.suppress(OSError, ValueError):  # no such container, or "max"
            found.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
    if resource is not None:
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            found.append(limit - _addresses_taken())
    return max(min(found), 0)


def _machine() -> list[int]:
    """What the machine has free, or at least what it has; empty where neither is told."""
    with contextlib.suppress(OSError):  # not on Linux
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return [int(line.split()[1]) * 1024]
    with contextlib.suppress(AttributeError, OSError, ValueError):  # not on Windows
        return [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    return []


def _addresses_taken() -> int:
    """Bytes of addresses that this process has, against which its limit counts; 0 where that is not told."""
    with contextlib.suppress(OSError):  # not on Linux
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return 0
