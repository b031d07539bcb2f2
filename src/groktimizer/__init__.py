"""GROKtimizer, the grokking clocks and the laboratory: networks that generalise soon after they memorise."""

from groktimizer.optim import Detector, GROKtimizer, LossBelow, param_groups
from groktimizer.penalties import L1, L2, Elastic, GroupL1, Nuclear

__version__ = "0.1.0"
__all__ = [
    "L1",
    "L2",
    "Detector",
    "Elastic",
    "GROKtimizer",
    "GroupL1",
    "LossBelow",
    "Nuclear",
    "__version__",
    "param_groups",
]
