"""What the two ranks of `ranks.py` are played through, by name; apart from it, since that imports torch.distributed."""

from typing import Any

from groktimizer import L1, Elastic, GroupL1

# Untuned, both metrics, every penalty whose groups lie in one shard.
SETTINGS: dict[str, dict[str, Any]] = {
    "adaptive": {},
    "adaptive-l1": {"penalty": L1()},
    "adaptive-elastic": {"penalty": Elastic(L1(), 0.5)},
    "adaptive-group": {"penalty": GroupL1()},
    "euclidean": {"metric": "euclidean"},
    "euclidean-l1": {"metric": "euclidean", "penalty": L1()},
    "euclidean-elastic": {"metric": "euclidean", "penalty": Elastic(L1(), 0.5)},
    "euclidean-group": {"metric": "euclidean", "penalty": GroupL1()},
}


REPLICATED = ("adaptive", "adaptive-l1", "euclidean")  # whole tensors on every rank: only losses are agreed on

OLDER = ("fsdp1", "fsdp1-flat")  # ways to cut a model over ranks beside fsdp2
SLOW = "older_checkpoints"  # the scenario of theirs
CUTS = (4, 12)  # a run is saved after so many steps: in phase 1, in phase 2
