"""Low-rank matrices under the nuclear norm: recoverability, time laws, solvers (arXiv 2506.05718)."""

from groktimizer.theory.low_rank.problem import NUCLEAR, LowRank, TimeLaw, simplest

__all__ = ["NUCLEAR", "LowRank", "TimeLaw", "simplest"]
