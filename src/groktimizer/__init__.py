"""GROKtimizer, the grokking clocks and the laboratory: networks that generalise soon after they memorise."""

from groktimizer.optim import Detector, GROKtimizer, LossBelow, param_groups
from groktimizer.penalties import L2

__version__ = "0.1.0"
__all__ = ["L2", "Detector", "GROKtimizer", "LossBelow", "__version__", "param_groups"]
