"""What can be wrong: with what the user gave, or with what is installed."""


class UserError(ValueError):
    """A mistake of the user, told in one line; any other error is one of the program and shows its file and line."""

    __module__ = "groktimizer"  # where tracebacks say it is from


class UnknownName(UserError):
    """A name that is not in its table; the text gives the nearest one."""


class MissingExtra(ImportError):
    """An optional package is not installed; the text says which extra brings it."""
