"""Sparse recovery by ISTA: exact paths and times, laws, recovery checks, direct answers (arXiv 2506.05718)."""

from groktimizer.theory.lasso.answers import basis_pursuit, interpolant, objective
from groktimizer.theory.lasso.laws import accelerated, predicted_memorisation, theorem_2_1, theorem_3_3, theorem_3_6
from groktimizer.theory.lasso.path import Event, LassoPath
from groktimizer.theory.lasso.problem import Lasso
from groktimizer.theory.lasso.recovery import Recovery, coherence, fuchs, null_space_constant, recovery
from groktimizer.theory.lasso.solvers import Runs, solve
from groktimizer.theory.lasso.times import LassoTimes

__all__ = [
    "Event",
    "Lasso",
    "LassoPath",
    "LassoTimes",
    "Recovery",
    "Runs",
    "accelerated",
    "basis_pursuit",
    "coherence",
    "fuchs",
    "interpolant",
    "null_space_constant",
    "objective",
    "predicted_memorisation",
    "recovery",
    "solve",
    "theorem_2_1",
    "theorem_3_3",
    "theorem_3_6",
]
