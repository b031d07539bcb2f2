"""GROKtimizer and its parts: detector, constraint, guard, calibration, and the slow reference twin."""

from groktimizer.optim.detector import Detector, LossBelow
from groktimizer.optim.groktimizer import GROKtimizer
from groktimizer.optim.groups import param_groups

__all__ = ["Detector", "GROKtimizer", "LossBelow", "param_groups"]
