"""GROKtimizer, the grokking clocks and the laboratory: networks that generalise soon after they memorise."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from groktimizer.ground.errors import UserError
    from groktimizer.optim import Detector, GROKtimizer, LossBelow, param_groups
    from groktimizer.penalties import L1, L2, Elastic, GroupL1, Nuclear

__version__ = "0.2.0"
__all__ = [
    "L1",
    "L2",
    "Detector",
    "Elastic",
    "GROKtimizer",
    "GroupL1",
    "LossBelow",
    "Nuclear",
    "UserError",
    "__version__",
    "param_groups",
]
_HOMES = dict.fromkeys(("L1", "L2", "Elastic", "GroupL1", "Nuclear"), "penalties") | {"UserError": "ground.errors"}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: torch is loaded then, so that the command line answers before."""
    if name in {"optim", "penalties"}:
        return import_module(f"groktimizer.{name}")
    if name not in __all__:
        raise AttributeError(f"module 'groktimizer' has no attribute {name!r}")
    value = getattr(import_module(f"groktimizer.{_HOMES.get(name, 'optim')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__all__})
