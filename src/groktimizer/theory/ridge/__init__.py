"""Ridge regression: exact trajectories, grokking times, bounds and advice (arXiv 2601.19791)."""

from groktimizer.theory.ridge.problem import Ridge
from groktimizer.theory.ridge.times import Floors, GrokkingTime
from groktimizer.theory.ridge.trajectory import Trajectory

__all__ = ["Floors", "GrokkingTime", "Ridge", "Trajectory"]
