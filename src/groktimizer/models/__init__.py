"""Networks of the laboratory: plain modules whose weights are drawn from a generator, never from the global state."""

from groktimizer.models.mlp import MLP
from groktimizer.models.modular import ModularMLP, ModularTransformer

__all__ = ["MLP", "ModularMLP", "ModularTransformer"]
