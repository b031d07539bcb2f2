"""What a failure is called on the command line: the user's mistake, a limit of the machine, or a mistake of ours."""

import re
from collections.abc import Callable, Iterator, Sequence

from groktimizer.ground.errors import MissingExtra, UserError, place
from groktimizer.ground.own import FILES

BAD_INPUT, BUG = 2, 70
_MEMORY = re.compile(
    "can't allocate|out of memory|not enough memory|unable to allocate|storage size calculation|array is too big"
    "|maximum allowed dimension|invalid buffer size|maximum allowed size",
    re.IGNORECASE,
)
_NUMBERS = re.compile("overflow|domain error|too large|too big|linalgerror|converge|singular", re.IGNORECASE)
_DEVICE = re.compile("CUDA|HIP|MPS|device|backend|Triton|compiler|inductor")
_LARGE, _FAR = 1_000, 1e6


def explain(error: Exception, words: Sequence[str]) -> tuple[str, int]:
    """Turn a failure into a line and an exit code.

    A mistake of the user is a `UserError`. Any other `ValueError` (numpy adding arrays of different lengths) is one of
    the program, and says where it happened.

    Args:
        error: What was caught, one of `FAILURES`.
        words: The command line.

    Returns:
        The line, without line breaks, and 2, or 70 for a mistake of ours, or in code of the user's own.
    """
    told = " ".join(str(error).split())
    name = type(error).__name__
    own = place(error, FILES)
    if isinstance(error, MissingExtra | UserError) or (isinstance(error, OSError) and own is None):
        return f"error: {told}", BAD_INPUT
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("groktimizer"):
        if own is not None:
            return f"error: {error.name}, which your own code needs ({own}), is not installed", BAD_INPUT
        return f"error: {error.name} is not installed: pip install 'groktimizer[lab]'", BAD_INPUT
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError | ValueError) and _MEMORY.search(told)):
        given = ", ".join(_numbers(words, lambda value: value >= _LARGE))
        return f"error: out of memory{given and f' with {given}'}; choose smaller sizes", BAD_INPUT
    if own is not None:
        return f"error in your own code: {name}: {told[:300]} ({own})", BUG
    computed = isinstance(error, RuntimeError | ValueError) and _NUMBERS.search(f"{name} {told}")
    if isinstance(error, ArithmeticError) or computed:
        given = ", ".join(_numbers(words, lambda value: value != 0 and not 1 / _FAR < abs(value) < _FAR))
        return (
            f"error: a number is out of the range of computation{given and f', given {given}'} ({told or name}, "
            f"{place(error)}); choose more moderate ones",
            BAD_INPUT,
        )
    if isinstance(error, RuntimeError) and _DEVICE.search(told) and ("--device" in words or "--compile" in words):
        return f"error: the device or the compiler refuses: {told[:200]} ({place(error)})", BAD_INPUT
    return (
        f"internal error: {name}: {told[:300]} ({place(error)}); this is a mistake of ours, please report it with the "
        "command; python -X dev -m groktimizer … shows the whole traceback",
        BUG,
    )


def _numbers(words: Sequence[str], wanted: Callable[[float], bool]) -> Iterator[str]:
    """The options whose numbers may be to blame, as they were typed."""
    before = ""
    for word in words:
        try:
            found = wanted(float(word.rpartition("=")[2].rpartition(":")[2]))
        except ValueError:
            found = False
        if found:
            yield f"{before} {word}" if before.startswith("--") and "=" not in word else word
        before = word
