"""Complexities h(theta) that phase 2 minimises on the zero-loss manifold: value, subgradient, proximal map."""

from groktimizer.penalties.l2 import L2

__all__ = ["L2"]
