"""Networks of the laboratory: plain modules whose weights are drawn from a generator, never from the global state."""

from groktimizer.models.mlp import MLP
from groktimizer.models.modular import ModularMLP, ModularTransformer
from groktimizer.models.networks import NETWORKS, Network

__all__ = ["MLP", "NETWORKS", "ModularMLP", "ModularTransformer", "Network"]
