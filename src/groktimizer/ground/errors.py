"""What can be wrong: with what the user gave, with what is installed, or with a program, and where in it."""

import inspect
import warnings
from collections.abc import Container
from pathlib import Path

# What a program raises when it is wrong, or when the machine is too small: told in one line where a command ends. Not
# among them: SystemExit, KeyboardInterrupt, warnings.
FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)

# Packages that stand between the user's line and ours.
_BETWEEN = ("groktimizer", "torch", "sklearn", "lightning", "transformers", "accelerate")


class UserError(ValueError):
    """A mistake of the user, told in one line; any other error is one of the program and shows its file and line."""

    __module__ = "groktimizer"  # where tracebacks say it is from


class UnknownName(UserError):
    """A name that is not in its table; the text gives the nearest one."""


class MissingExtra(ImportError):
    """An optional package is not installed; the text says which extra brings it."""


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line of the user: the nearest one that is neither ours nor of a package that calls us.

    Args:
        text: What is to be known.
        category: Its class.
    """
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] in _BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=max(level - (frame is None), 1))


def place(error: BaseException, files: Container[str] | None = None) -> str | None:
    """Say where an error was raised.

    Args:
        error: What was caught.
        files: Only in these files; None for any.

    Returns:
        The innermost place, as in ``tasks/ridge.py:12 in build``; None if there is none.
    """
    found, trace = None, error.__traceback__
    if isinstance(error, SyntaxError) and error.filename and (files is None or error.filename in files):
        return f"{Path(error.filename).name}:{error.lineno}"
    while trace is not None:
        code = trace.tb_frame.f_code
        if files is None or code.co_filename in files:
            found = f"{'/'.join(Path(code.co_filename).parts[-2:])}:{trace.tb_lineno} in {code.co_name}"
        trace = trace.tb_next
    return found
