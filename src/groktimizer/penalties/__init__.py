"""Complexities h(theta) that phase 2 minimises on the zero-loss manifold: value, subgradient, proximal map."""

from groktimizer.penalties.base import Penalty
from groktimizer.penalties.elastic import Elastic
from groktimizer.penalties.group import GroupL1
from groktimizer.penalties.l1 import L1
from groktimizer.penalties.l2 import L2
from groktimizer.penalties.nuclear import Nuclear

__all__ = ["L1", "L2", "Elastic", "GroupL1", "Nuclear", "Penalty"]
