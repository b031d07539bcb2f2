"""Peers: GROKtimizer and the optimizers people install instead, each with its defaults and its tuning grid.

Defaults are those of the package that ships the optimizer. `NAME-tuned` is the same optimizer at its reference cell.
"""

from groktimizer.optim.groups import NORMALISATIONS
from groktimizer.optim.penalised import penalised
from groktimizer.peers.composite import Composite
from groktimizer.peers.peer import Peer, cells
from groktimizer.peers.registry import PEERS, TUNED_SUFFIX, find_peer, peer_names, resolve, takes_penalty, tunable

__all__ = [
    "NORMALISATIONS",
    "PEERS",
    "TUNED_SUFFIX",
    "Composite",
    "Peer",
    "cells",
    "find_peer",
    "peer_names",
    "penalised",
    "resolve",
    "takes_penalty",
    "tunable",
]
