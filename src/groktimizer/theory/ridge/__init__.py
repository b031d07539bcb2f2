"""Ridge regression: exact trajectories, grokking times, bounds and advice (arXiv 2601.19791)."""

from groktimizer.theory.clock.claims import Bound, Condition
from groktimizer.theory.ridge.advice import (
    DecayAdvice,
    StoppingAdvice,
    best_weight_decay,
    early_stopping,
    effective_ranks,
    recommend,
)
from groktimizer.theory.ridge.bounds import Facts, predicted_generalisation, theorem_4_1
from groktimizer.theory.ridge.problem import Ridge
from groktimizer.theory.ridge.times import Floors, GrokkingTime
from groktimizer.theory.ridge.trajectory import Trajectory

__all__ = [
    "Bound",
    "Condition",
    "DecayAdvice",
    "Facts",
    "Floors",
    "GrokkingTime",
    "Ridge",
    "StoppingAdvice",
    "Trajectory",
    "best_weight_decay",
    "early_stopping",
    "effective_ranks",
    "predicted_generalisation",
    "recommend",
    "theorem_4_1",
]
