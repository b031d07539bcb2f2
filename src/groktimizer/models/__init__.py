"""Networks of the laboratory: plain modules whose weights are drawn from a generator, never from the global state."""

from groktimizer.models.mlp import MLP
from groktimizer.models.modular import ModularMLP, ModularTransformer
from groktimizer.models.networks import NETWORKS, Network, Shape, check_shape
from groktimizer.models.recurrent import CELLS, Recurrent
from groktimizer.models.small_cnn import SmallCNN
from groktimizer.models.transformer import DeepTransformer
from groktimizer.models.two_hot import TwoHotMLP

__all__ = [
    "CELLS",
    "MLP",
    "NETWORKS",
    "DeepTransformer",
    "ModularMLP",
    "ModularTransformer",
    "Network",
    "Recurrent",
    "Shape",
    "SmallCNN",
    "TwoHotMLP",
    "check_shape",
]
