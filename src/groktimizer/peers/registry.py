"""The table of optimizers: name, defaults, tuning grid, reference cell."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from types import MappingProxyType, NoneType
from typing import Any

from torch import nn
from torch.optim import Optimizer

from groktimizer.ground.errors import UnknownName, UserError
from groktimizer.ground.names import convert_all, lookup, unknown
from groktimizer.peers import build

TUNED_SUFFIX = "-tuned"
SCALES = ("lr", "vector_lr", "weight_decay", "lamb", "damping")
Cell = Mapping[str, Any]
NUMBER_OR_NONE = (float, NoneType)
WORD_OR_NONE = (str, NoneType)


@dataclass(frozen=True)
class Peer:
    """An optimizer that can be run and compared.

    Attributes:
        name: Name in the table.
        summary: What it is, in one line.
        defaults: All its options with the values its package gives them.
        grid: Cells of the tuning grid, at least 8; each is a set of overrides of the defaults.
        build: Makes the optimizer from a network and all options.
        tuned: Reference cell, overrides of the defaults; None if none was measured.
        tuned_source: Where the reference cell was measured.
        kinds: Types of options of which the default does not tell.
        penalised_grid: The grid under a penalty other than the default one, where weights mean something else; empty if
            the grid serves both.
    """

    name: str
    summary: str
    defaults: Cell
    grid: tuple[Cell, ...]
    build: Callable[[nn.Module, Cell], Optimizer]
    tuned: Cell | None = None
    tuned_source: str = ""
    kinds: Mapping[str, tuple[type, ...]] = field(default_factory=dict)
    penalised_grid: tuple[Cell, ...] = ()

    def holding(self, held: Mapping[str, object]) -> "Peer":
        """The same optimizer with a grid in which some options are held fixed.

        Args:
            held: Overrides that every cell gets, such as the penalty.

        Returns:
            A peer; cells that no longer differ are one.
        """
        other = held.get("penalty", self.defaults.get("penalty")) != self.defaults.get("penalty")
        grid = self.penalised_grid if other and self.penalised_grid else self.grid
        cells = [{**cell, **held} for cell in grid]
        return replace(self, grid=tuple(cell for k, cell in enumerate(cells) if cell not in cells[:k]))

    def options(self, overrides: Mapping[str, object]) -> dict[str, Any]:
        """Complete overrides to all options.

        Args:
            overrides: Values by name; texts are read as the types of the options.

        Returns:
            Every option with its value.

        Raises:
            UnknownName: If there is no such option.
            UserError: If a value is of the wrong type or out of range.
        """
        kinds = {key: self.kinds.get(key, (type(value),)) for key, value in self.defaults.items()}
        given = convert_all(f"optimizer {self.name}", overrides, kinds)
        check_ranges({key: value for key, value in given.items() if value is not None})
        return {**self.defaults, **given}


def check_ranges(options: Mapping[str, object]) -> None:
    """Check the options that mean the same in every optimizer.

    Args:
        options: Converted values by name.

    Raises:
        UserError: If a number is out of its range; the line names option, value and range.
    """
    for key, value in options.items():
        if not isinstance(value, float):
            continue
        if key in {"lr", "vector_lr"} and not 0 < value < math.inf:
            raise UserError(f"{key}={value}: expected a finite learning rate > 0")
        if key in {"weight_decay", "lamb"} and not 0 <= value < math.inf:
            raise UserError(f"{key}={value}: expected a finite number ≥ 0")
        if key in SCALES and value != 0 and not build.SMALLEST <= value <= build.LARGEST:
            raise UserError(f"{key}={value}: expected a number from {build.SMALLEST:g} to {build.LARGEST:g}")
        if key == "interpolation" and build.LARGEST < value < math.inf:
            raise UserError(f"{key}={value}: expected a loss level up to {build.LARGEST:g}, or inf")
        if key in {"beta1", "beta2", "momentum", "alpha"} and not 0 <= value < 1:
            raise UserError(f"{key}={value}: expected a number in [0, 1)")


def cells(**values: tuple[Any, ...]) -> tuple[Cell, ...]:
    """Multiply out a grid.

    Args:
        values: Values of each option.

    Returns:
        One cell for each combination.

    Example:
        >>> len(cells(lr=(1e-3, 1e-2), weight_decay=(0.3, 1.0, 3.0)))
        6
    """
    return tuple(dict(zip(values, choice, strict=True)) for choice in product(*values.values()))


ADAM_DEFAULTS = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999}
ADAMW_DEFAULTS = {**ADAM_DEFAULTS, "weight_decay": 1e-2}
# The pairs cover lr 1e-3 … 3e-2 and decay 0.3 … 3 and contain the best cells known for either network.
ADAMW_PAIRS = (
    (1e-3, 1.0),
    (3e-3, 1.0),
    (3e-3, 3.0),
    (1e-2, 1.0),
    (1e-2, 3.0),
    (2e-2, 2.0),
    (2e-2, 3.0),
    (3e-2, 0.3),
    (3e-2, 1.0),
    (3e-2, 3.0),
)
ADAMW_GRID = tuple({"lr": lr, "weight_decay": decay, "beta2": 0.98} for lr, decay in ADAMW_PAIRS)
MLP_SOURCE = "modular addition, p = 97, 40 % of the pairs, MLP of width 128, full batch"

_ENTRIES = (
    Peer(
        "groktimizer",
        "GROKtimizer: interpolate first, then critically damped momentum with decay",
        {
            "lr": None,
            "weight_decay": None,
            "metric": "adaptive",
            "penalty": "l2",
            "damping": 1.0,
            "interpolation": None,
            "base": None,
            "guard": True,
        },
        cells(lr=(1e-3, 1.5e-3, 2e-3, 3e-3), weight_decay=(2.0, 3.0)),
        build.groktimizer,
        kinds={key: NUMBER_OR_NONE for key in ("lr", "weight_decay", "interpolation")} | {"base": WORD_OR_NONE},
        # Weights that are not given follow from the parameters (`optim.phase_two.weigh`); lr and damping are left.
        penalised_grid=cells(lr=(1e-3, 2e-3, 4e-3, 8e-3), damping=(0.7, 1.0)),
    ),
    Peer(
        "sgd",
        "torch.optim.SGD: gradient descent, momentum optional, coupled decay",
        {"lr": 1e-3, "momentum": 0.0, "weight_decay": 0.0, "nesterov": False},
        cells(lr=(0.1, 0.3, 1.0, 3.0), momentum=(0.0, 0.9), weight_decay=(1e-4,)),
        build.sgd,
    ),
    Peer(
        "adam",
        "torch.optim.Adam without decay",
        ADAM_DEFAULTS,
        cells(lr=(1e-3, 3e-3, 1e-2, 3e-2), beta2=(0.98, 0.999)),
        build.adam,
    ),
    Peer(
        "adamw",
        "torch.optim.AdamW: Adam with decoupled decay",
        ADAMW_DEFAULTS,
        ADAMW_GRID,
        build.adamw,
        tuned={"lr": 3e-2, "weight_decay": 3.0, "beta2": 0.98},
        tuned_source=MLP_SOURCE,
    ),
    Peer(
        "adam-l2",
        "torch.optim.Adam on loss + weight_decay * |theta|^2 (no 1/2)",
        {**ADAM_DEFAULTS, "weight_decay": 1e-6},
        cells(lr=(1e-3, 1e-2), weight_decay=(1e-6, 1e-5, 1e-4, 1e-3)),
        build.adam_l2,
    ),
    Peer(
        "adam-subgradient",
        "torch.optim.Adam on loss + weight_decay * penalty of the weights, by subgradients (arXiv 2506.05718)",
        {**ADAM_DEFAULTS, "penalty": "l1", "weight_decay": 1e-6},
        cells(lr=(1e-3, 1e-2, 1e-1), weight_decay=(1e-7, 1e-6, 1e-5, 1e-4)),
        build.adam_subgradient,
    ),
    Peer(
        "subgradient",
        "subgradient descent on loss + weight_decay * penalty of the weights",
        {"lr": 0.1, "penalty": "l1", "weight_decay": 1e-5},
        cells(lr=(0.01, 0.1), weight_decay=(1e-6, 1e-5, 1e-4, 1e-3)),
        build.subgradient,
    ),
    Peer(
        "proximal",
        "proximal gradient descent on loss + weight_decay * penalty of the weights: ISTA, SVT",
        {"lr": 0.1, "penalty": "l1", "weight_decay": 1e-5},
        cells(lr=(0.01, 0.1), weight_decay=(1e-6, 1e-5, 1e-4, 1e-3)),
        build.proximal,
    ),
    Peer(
        "muon",
        "torch.optim.Muon on matrices, torch.optim.AdamW on the rest",
        {"lr": 1e-3, "weight_decay": 0.1, "momentum": 0.95, "adjust_lr": "original", "vector_lr": 1e-3},
        cells(lr=(1e-2, 3e-2, 0.1, 0.3), weight_decay=(0.3, 1.0), adjust_lr=("match_rms_adamw",), vector_lr=(1e-2,)),
        build.muon,
        tuned={"lr": 0.1, "weight_decay": 0.3, "adjust_lr": "match_rms_adamw", "vector_lr": 1e-2},
        tuned_source=MLP_SOURCE,
    ),
    Peer(
        "grokfast",
        "pytorch_optimizer.GrokFastAdamW: AdamW on gradients with their slow part amplified",
        {
            "lr": 1e-4,
            "beta1": 0.9,
            "beta2": 0.99,
            "weight_decay": 0.0,
            "alpha": 0.98,
            "lamb": 2.0,
            "normalize_lr": True,
        },
        cells(lr=(1e-3, 3e-3, 1e-2, 3e-2), weight_decay=(1.0, 3.0), normalize_lr=(False,)),
        build.grokfast,
        tuned={"lr": 1e-2, "weight_decay": 1.0, "beta2": 0.98, "normalize_lr": False},
        tuned_source=MLP_SOURCE,
    ),
    Peer(
        "orthograd",
        "pytorch_optimizer.OrthoGrad around torch.optim.AdamW: gradients orthogonal to the weights",
        ADAMW_DEFAULTS,
        ADAMW_GRID,
        build.orthograd,
    ),
)
PEERS: Mapping[str, Peer] = MappingProxyType({entry.name: entry for entry in _ENTRIES})


def peer_names() -> tuple[str, ...]:
    """List every name that `resolve` takes.

    Returns:
        The optimizers, then those with a reference cell as NAME-tuned.
    """
    return (*PEERS, *(name + TUNED_SUFFIX for name, peer in PEERS.items() if peer.tuned is not None))


def takes_penalty(name: str) -> bool:
    """Say whether an optimizer lets its complexity be chosen.

    Args:
        name: A name that `resolve` takes.

    Returns:
        True if it has the option "penalty".

    Example:
        >>> [name for name in PEERS if takes_penalty(name)]
        ['groktimizer', 'adam-subgradient', 'subgradient', 'proximal']
    """
    return "penalty" in resolve(name)[0].defaults


def resolve(name: str, overrides: Mapping[str, object] | None = None) -> tuple[Peer, dict[str, Any]]:
    """Find an optimizer and complete its options.

    Args:
        name: A name of `PEERS`, or such a name with "-tuned" for its reference cell.
        overrides: Options by name; texts are read as the types of the options.

    Returns:
        The optimizer (for NAME-tuned that of NAME) and all its options: what is the same run has the same pair.

    Raises:
        UnknownName: If there is no such optimizer or option.
        UserError: If a value is of the wrong type or out of range.

    Example:
        >>> peer, options = resolve("adamw-tuned", {"lr": "0.01"})
        >>> peer.name, options["lr"], options["weight_decay"]
        ('adamw', 0.01, 3.0)
    """
    if name not in peer_names():
        raise UnknownName(unknown("optimizer", name, peer_names()))
    peer = lookup("optimizer", name.removesuffix(TUNED_SUFFIX), PEERS)
    tuned = peer.tuned if name.endswith(TUNED_SUFFIX) else None
    return peer, peer.options({**(tuned or {}), **(overrides or {})})
