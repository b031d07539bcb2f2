"""Optional packages, imported when they are first needed."""

import importlib
from types import ModuleType

from groktimizer.ground.errors import MissingExtra


def require(module: str, *, extra: str) -> ModuleType:
    """Import a module of an optional package when it is first needed.

    Args:
        module: Its dotted name.
        extra: The extra of this package that installs it.

    Returns:
        The module.

    Raises:
        MissingExtra: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        raise MissingExtra(f"{package} is not installed: pip install 'groktimizer[{extra}]'") from error
