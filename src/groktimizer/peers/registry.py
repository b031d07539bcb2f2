"""The table of optimizers: name, defaults, tuning grid, reference cell; and those of the user's own."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType, NoneType
from typing import Any, get_type_hints

from torch import nn
from torch.optim import Optimizer

from groktimizer.ground.errors import UnknownName, UserError
from groktimizer.ground.names import PLAIN, kinds_of, unknown
from groktimizer.ground.own import Own, digest_of, find_own
from groktimizer.peers import build
from groktimizer.peers.peer import Cell, Excluding, Peer, cells
from groktimizer.peers.pinned import pinned

GROUP = "groktimizer.optimizers"
TUNED_SUFFIX = "-tuned"
NUMBER_OR_NONE = (float, NoneType)
WORD_OR_NONE = (str, NoneType)


def _plain_descent(_: Cell) -> float:
    return 2.0


def _heavy_ball(options: Cell) -> float | None:
    return None if options["nesterov"] else 2.0 * (1.0 + options["momentum"])


def _accelerated(options: Cell) -> float | None:
    return 1.0 if options["metric"] == "euclidean" and options["penalty"] != "l2" else None


def _shrinks(options: Cell) -> bool:
    """Whether phase 2 ends at the minimum under the weight as it is given, and not as its metric scales it."""
    return options["penalty"] == "l1" or options["metric"] == "euclidean"


def _of_parts(task: Excluding) -> str | None:
    size = task.options().get("batch_size")
    return None if size is None else f"batch_size={size}: L-BFGS compares losses of the same samples, expected none"


def _without_hidden(task: Excluding) -> str | None:
    return "clip: linear recovery has no hidden weights to cut, expected a network" if task.convex else None


ADAM_DEFAULTS = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999}
ADAMW_DEFAULTS = {**ADAM_DEFAULTS, "weight_decay": 1e-2}
# The pairs cover lr 1e-3 … 3e-2 and decay 0.3 … 3 and contain the best cells known for either network.
ADAMW_PAIRS = (
    (1e-3, 1.0),
    (3e-3, 1.0),
    (3e-3, 3.0),
    (1e-2, 0.3),
    (1e-2, 1.0),
    (1e-2, 3.0),
    (3e-2, 1.0),
    (3e-2, 3.0),
)
ADAMW_GRID = tuple({"lr": lr, "weight_decay": decay, "beta2": 0.98} for lr, decay in ADAMW_PAIRS)
LION_PAIRS = ((1e-3, 1.0), (1e-3, 3.0), (3e-3, 1.0), (3e-3, 3.0), (1e-2, 0.3), (1e-2, 1.0), (1e-2, 3.0), (1e-2, 5.0))
CLIP_GRID = (
    *cells(inner=("lion",), lr=(1e-3, 3e-3), radius=(1.0, 2.0)),
    *cells(inner=("adamw",), lr=(1e-2, 3e-2), radius=(1.0, 2.0), beta2=(0.98,)),
)
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
        # Weights that are not given follow from the parameters (`optim.weighing.weigh`); lr and damping are left.
        penalised_grid=cells(lr=(1e-3, 2e-3, 4e-3, 8e-3), damping=(0.7, 1.0)),
        steepest=_accelerated,
        solves=_shrinks,
    ),
    Peer(
        "sgd",
        "torch.optim.SGD: gradient descent, momentum optional, coupled decay",
        {"lr": 1e-3, "momentum": 0.0, "weight_decay": 0.0, "nesterov": False},
        cells(lr=(0.1, 0.3, 1.0, 3.0), momentum=(0.0, 0.9), weight_decay=(1e-4,)),
        build.sgd,
        steepest=_heavy_ball,
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
        "torch.optim.Adam on loss + weight_decay * |weights|^2 (no 1/2)",
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
        steepest=_plain_descent,
    ),
    Peer(
        "proximal",
        "proximal gradient descent on loss + weight_decay * penalty of the weights: ISTA, SVT",
        {"lr": 0.1, "penalty": "l1", "weight_decay": 1e-5},
        cells(lr=(0.01, 0.1), weight_decay=(1e-6, 1e-5, 1e-4, 1e-3)),
        build.proximal,
        steepest=_plain_descent,
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
    Peer(
        "lion",
        "pytorch_optimizer.Lion: signs of momentum, decoupled decay (arXiv 2302.06675)",
        {"lr": 1e-4, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0},
        tuple({"lr": lr, "weight_decay": decay} for lr, decay in LION_PAIRS),
        build.lion,
    ),
    Peer(
        "sam",
        "pytorch_optimizer.SAM around torch.optim.AdamW: gradients from the worst point nearby, two passes a step",
        {**ADAMW_DEFAULTS, "rho": 0.05},
        cells(lr=(1e-2, 3e-2), weight_decay=(1.0, 3.0), rho=(0.05, 0.2), beta2=(0.98,)),
        build.sam,
    ),
    Peer(
        "schedulefree",
        "pytorch_optimizer.ScheduleFreeAdamW, evaluated at its averaged weights (arXiv 2405.15682)",
        {"lr": 2.5e-3, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.0, "warmup": 0},
        cells(lr=(3e-3, 1e-2, 3e-2, 0.1), weight_decay=(1.0, 3.0), beta2=(0.98,)),
        build.schedulefree,
    ),
    Peer(
        "clip",
        "norm clipping: Lion or AdamW without decay, rows of the hidden weights cut to a norm after each step",
        {
            "inner": "lion",
            "lr": 1e-3,
            "beta1": 0.9,
            "beta2": 0.97,
            "radius": 2.0,
            "start": True,
            "vectors": True,
            "skip": "readout,output,head",
        },
        CLIP_GRID,
        build.clip,
        misfit=_without_hidden,
    ),
    Peer(
        "pinned",
        "torch.optim.AdamW, all parameters rescaled to one norm after each step (arXiv 2606.13753): an intervention",
        {"lr": 1e-2, "beta1": 0.9, "beta2": 0.98, "weight_decay": 0.0, "norm": 40.0},
        cells(lr=(3e-3, 1e-2), norm=(20.0, 30.0, 40.0, 60.0)),
        pinned,
    ),
    Peer(
        "two-phase",
        "torch.optim.AdamW, whose decay begins when the training loss interpolates: GROKtimizer's switch alone",
        {"lr": 1e-2, "beta1": 0.9, "beta2": 0.98, "weight_decay": 3.0, "interpolation": None},
        ADAMW_GRID,
        build.two_phase,
        kinds={"interpolation": NUMBER_OR_NONE},
    ),
    Peer(
        "lbfgs",
        "torch.optim.LBFGS, strong Wolfe, on loss + weight_decay * |weights|^2 (no 1/2), full batches; passes counted",
        {"lr": 1.0, "weight_decay": 1e-4, "iterations": 20, "history": 100},
        cells(
            weight_decay=(1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3), iterations=(5,)
        ),  # times are known closely
        build.lbfgs,
        misfit=_of_parts,
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
        name: As `find_peer` takes it, perhaps with "-tuned" for its reference cell.
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
    peer = find_peer(name.removesuffix(TUNED_SUFFIX))
    if not name.endswith(TUNED_SUFFIX):
        return peer, peer.options(overrides or {})
    if peer.tuned is None:
        raise UnknownName(unknown("optimizer", name, peer_names()))
    return peer, peer.options({**peer.tuned, **(overrides or {})})


def tunable(name: str) -> Peer:
    """Find an optimizer that can be tuned.

    Args:
        name: As `find_peer` takes it.

    Returns:
        Its entry.

    Raises:
        UnknownName: If there is no such optimizer; NAME-tuned is one that has been tuned.
        UserError: If it has no tuning grid.
    """
    peer = find_peer(name)
    if not peer.grid:
        raise UserError(f"optimizer {name!r}: has no tuning grid; make it a groktimizer.peers.Peer with one")
    return peer


def find_peer(name: str) -> Peer:
    """Find an optimizer by its name.

    Args:
        name: One of `PEERS`, ``module:Name``, or the name of an entry point of the group ``groktimizer.optimizers``.

    Returns:
        Its entry.

    Raises:
        UnknownName: If there is no such optimizer.
        UserError: If an optimizer of the user's own is not there or is none.
    """
    return PEERS[name] if name in PEERS else _own_peer(find_own("optimizer", name, GROUP, peer_names()))


def _own_peer(own: Own) -> Peer:
    """A `Peer`, or a function from a network, and options with defaults, to an optimizer."""
    if isinstance(own.value, Peer):
        return replace(own.value, name=own.name, digest=digest_of(own.file, own.value.build))
    if not callable(own.value):
        raise UserError(f"optimizer {own.name!r}: expected a function from a network to an optimizer, or a Peer")
    try:
        parameters = [*inspect.signature(own.value).parameters.values()][1:]
        hints = get_type_hints(own.value)
    except (NameError, TypeError, ValueError) as error:
        raise UserError(f"optimizer {own.name!r}: its arguments cannot be read ({error})") from error
    if not inspect.signature(own.value).parameters:
        raise UserError(f"optimizer {own.name!r}: takes no argument, expected the network as the first")
    kinds: dict[str, tuple[type, ...]] = {}
    for parameter in parameters:
        default = parameter.default
        given = kinds_of(hints[parameter.name]) if parameter.name in hints else (type(default),)
        kinds[parameter.name] = NUMBER_OR_NONE if given == (NoneType,) else given
        if default is parameter.empty or not PLAIN.issuperset(given):
            raise UserError(
                f"optimizer {own.name!r}: option {parameter.name} needs a default that is true or false, a number, a "
                "word or None"
            )
    summary = (inspect.getdoc(own.value) or own.name).partition("\n")[0]
    defaults = {parameter.name: parameter.default for parameter in parameters}
    return Peer(own.name, summary, defaults, (), partial(_call, own.value), kinds=kinds, digest=own.digest)


def _call(factory: Callable[..., Any], model: nn.Module, options: Mapping[str, Any]) -> Optimizer:
    return factory(model, **options)
