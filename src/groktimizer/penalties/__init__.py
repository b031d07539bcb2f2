"""Complexities h(theta) that phase 2 minimises on the zero-loss manifold: value, subgradient, proximal map."""

from collections.abc import Mapping

from groktimizer.ground.names import lookup
from groktimizer.penalties.base import Penalty
from groktimizer.penalties.elastic import Elastic
from groktimizer.penalties.group import GroupL1
from groktimizer.penalties.l1 import L1
from groktimizer.penalties.l2 import L2
from groktimizer.penalties.nuclear import Nuclear

__all__ = ["L1", "L2", "PENALTIES", "Elastic", "GroupL1", "Nuclear", "Penalty", "named_penalty"]

PENALTIES: Mapping[str, Penalty] = {"l2": L2(), "l1": L1(), "nuclear": Nuclear(), "group": GroupL1("rows")}


def named_penalty(name: str) -> Penalty:
    """Find a penalty by the name that the command line uses.

    Args:
        name: "l2", "l1", "nuclear" or "group" (rows of matrices).

    Returns:
        The penalty.

    Raises:
        UnknownName: If there is no such penalty.
    """
    return lookup("penalty", name, PENALTIES)
