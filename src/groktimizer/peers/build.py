"""Factories: from a network and plain options to an optimizer of an installed package.

Each gets the same parameter groups: weights under the decay or penalty, biases and normalisation scales without, as
`groktimizer.param_groups` makes them; a model that has nothing but vectors is all weights.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from groktimizer.ground.checks import at_least_one, whole
from groktimizer.ground.errors import UserError
from groktimizer.ground.extras import require
from groktimizer.ground.names import lookup
from groktimizer.optim import penalised
from groktimizer.optim.switch import detector_for
from groktimizer.peers.around import Around, at_the_worst, clipped, raised
from groktimizer.peers.composite import Composite
from groktimizer.peers.muon import Muon
from groktimizer.peers.two_phase import TwoPhaseAdamW
from groktimizer.penalties import named_penalty

Options = Mapping[str, Any]
SMALLEST, LARGEST = 1e-18, 1e18  # of what optimizers multiply: products of two stay inside float32
LINE_SEARCH = 25  # evaluations that one may take, torch's own limit
BaseFactory = Callable[..., Optimizer]
BASES: Mapping[str, BaseFactory] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


def _betas(options: Options) -> tuple[float, float]:
    """Take the two decay rates of Adam's moments.

    Args:
        options: With "beta1" and "beta2".

    Returns:
        Both.
    """
    return options["beta1"], options["beta2"]


def parse_base(text: str | None) -> partial[Optimizer] | None:
    """Read the phase-1 optimizer from a text.

    Args:
        text: "adam", "adamw" or "sgd", perhaps with a learning rate, as in "adam:1e-3" (otherwise PyTorch's default);
            decay is off in each, as phase 1 asks for. None is GROKtimizer's own.

    Returns:
        A factory that can be pickled, or None.

    Raises:
        UserError: If the name or the number cannot be read.

    Example:
        >>> parse_base("adam:1e-3").keywords
        {'weight_decay': 0.0, 'lr': 0.001}
    """
    if text is None:
        return None
    name, colon, number = text.partition(":")
    kind = lookup("base", name, BASES)
    if not colon:
        return partial(kind, weight_decay=0.0)
    try:
        lr = float(number)
    except ValueError:
        raise UserError(f"base={text!r}: expected NAME or NAME:LR, such as adam:1e-3") from None
    if not 0 < lr < float("inf"):
        raise UserError(f"base={text!r}: expected a learning rate > 0")
    if not SMALLEST <= lr <= LARGEST:
        raise UserError(f"base={text!r}: expected a learning rate from {SMALLEST:g} to {LARGEST:g}")
    return partial(kind, weight_decay=0.0, lr=lr)


def groktimizer(model: nn.Module, options: Options) -> Optimizer:
    """Build GROKtimizer.

    Args:
        model: The network.
        options: GROKtimizer's own; "base" and "penalty" as texts.

    Returns:
        The optimizer.
    """
    from groktimizer.optim import GROKtimizer  # the other peers do not need it

    penalty = named_penalty(options["penalty"])
    own: dict[str, Any] = {**options, "base": parse_base(options["base"]), "penalty": penalty}
    return GROKtimizer(penalised.groups(model), **own)


def sgd(model: nn.Module, options: Options) -> Optimizer:
    """Build torch's SGD.

    Args:
        model: The network.
        options: "lr", "momentum", "weight_decay", "nesterov".

    Returns:
        The optimizer.
    """
    return torch.optim.SGD(penalised.groups(model), **options)


def adam(model: nn.Module, options: Options) -> Optimizer:
    """Build torch's Adam without decay.

    Args:
        model: The network.
        options: "lr", "beta1", "beta2".

    Returns:
        The optimizer.
    """
    return torch.optim.Adam(model.parameters(), lr=options["lr"], betas=_betas(options), fused=True)


def adamw(model: nn.Module, options: Options) -> Optimizer:
    """Build torch's AdamW (decoupled decay).

    Args:
        model: The network.
        options: "lr", "weight_decay", "beta1", "beta2".

    Returns:
        The optimizer.
    """
    lr, decay = options["lr"], options["weight_decay"]
    return torch.optim.AdamW(penalised.groups(model), lr, _betas(options), weight_decay=decay, fused=True)


def adam_l2(model: nn.Module, options: Options) -> Optimizer:
    """Build Adam on loss + β‖θ‖² of the weights θ, whose gradient adds 2βθ: torch's coupled decay of 2β.

    Args:
        model: The network.
        options: "lr", "weight_decay" (β, without ½), "beta1", "beta2".

    Returns:
        The optimizer.
    """
    coupled = 2 * options["weight_decay"]
    lr = options["lr"]
    return torch.optim.Adam(penalised.groups(model), lr, _betas(options), weight_decay=coupled, fused=True)


def adam_subgradient(model: nn.Module, options: Options) -> Optimizer:
    """Build Adam on loss + β h, h by its subgradient, summed over the weights.

    Args:
        model: The network.
        options: "lr", "penalty" (a name), "weight_decay" (β), "beta1", "beta2".

    Returns:
        The optimizer.
    """
    return _subgradient(model, options, adam(model, options))


def subgradient(model: nn.Module, options: Options) -> Optimizer:
    """Build subgradient descent on loss + β h, h summed over the weights.

    Args:
        model: The network.
        options: "lr", "penalty" (a name), "weight_decay" (β).

    Returns:
        The optimizer.
    """
    return _subgradient(model, options, torch.optim.SGD(model.parameters(), lr=options["lr"]))


def _subgradient(model: nn.Module, options: Options, inner: Optimizer) -> Optimizer:
    penalty = named_penalty(options["penalty"])
    return penalised.Subgradient(inner, penalised.penalised(model), penalty, options["weight_decay"])


def proximal(model: nn.Module, options: Options) -> Optimizer:
    """Build proximal gradient descent on loss + β h: ISTA, singular value thresholding.

    Args:
        model: The network.
        options: "lr", "penalty" (a name), "weight_decay" (β).

    Returns:
        The optimizer.
    """
    penalty = named_penalty(options["penalty"])
    return penalised.ProximalGradient(penalised.groups(model), options["lr"], penalty, options["weight_decay"])


def muon(model: nn.Module, options: Options) -> Optimizer:
    """Build torch's Muon (on a CPU without bfloat16) on the matrices and AdamW on the rest.

    Args:
        model: The network.
        options: "lr", "weight_decay" (of both), "momentum", "adjust_lr" ("original" or "match_rms_adamw"),
            "vector_lr" (of AdamW).

    Returns:
        The optimizer.
    """
    groups = penalised.groups(model)
    matrices = [p for group in groups for p in group["params"] if p.ndim == 2]
    others = [{**group, "params": [p for p in group["params"] if p.ndim != 2]} for group in groups]
    others = [group for group in others if group["params"]]
    decay, parts = options["weight_decay"], []
    if matrices:
        lr, momentum, adjust = options["lr"], options["momentum"], options["adjust_lr"]
        parts.append(Muon(matrices, lr, weight_decay=decay, momentum=momentum, adjust_lr_fn=adjust))
    if others:
        parts.append(torch.optim.AdamW(others, lr=options["vector_lr"], weight_decay=decay))
    return Composite(parts)


def grokfast(model: nn.Module, options: Options) -> Optimizer:
    """Build pytorch-optimizer's GrokFastAdamW.

    Args:
        model: The network.
        options: "lr", "weight_decay", "beta1", "beta2", "alpha" and "lamb" of the gradient filter, "normalize_lr".

    Returns:
        The optimizer.
    """
    return require("pytorch_optimizer", extra="lab").GrokFastAdamW(
        penalised.groups(model),
        lr=options["lr"],
        betas=_betas(options),
        weight_decay=options["weight_decay"],
        grokfast_alpha=options["alpha"],
        grokfast_lamb=options["lamb"],
        normalize_lr=options["normalize_lr"],
    )


def orthograd(model: nn.Module, options: Options) -> Optimizer:
    """Build pytorch-optimizer's OrthoGrad around torch's AdamW.

    Args:
        model: The network.
        options: AdamW's.

    Returns:
        The optimizer.
    """
    return require("pytorch_optimizer", extra="lab").OrthoGrad(adamw(model, options))


def lion(model: nn.Module, options: Options) -> Optimizer:
    """Build pytorch-optimizer's Lion (arXiv 2302.06675).

    Args:
        model: The network.
        options: "lr", "weight_decay" (decoupled), "beta1", "beta2".

    Returns:
        The optimizer.
    """
    make = require("pytorch_optimizer", extra="lab").Lion
    return make(penalised.groups(model), lr=options["lr"], betas=_betas(options), weight_decay=options["weight_decay"])


def schedulefree(model: nn.Module, options: Options) -> Optimizer:
    """Build pytorch-optimizer's ScheduleFreeAdamW (arXiv 2405.15682), which is evaluated at its averaged weights.

    Args:
        model: The network.
        options: "lr", "weight_decay", "beta1" (interpolation), "beta2", "warmup" (steps).

    Returns:
        The optimizer.

    Raises:
        UserError: If beta1 is 0 or the warm-up is negative.
    """
    whole("warmup", options["warmup"], 0)
    if not options["beta1"]:
        raise UserError("beta1=0.0: expected a number inside (0, 1)")
    return require("pytorch_optimizer", extra="lab").ScheduleFreeAdamW(
        penalised.groups(model),
        lr=options["lr"],
        betas=_betas(options),
        weight_decay=options["weight_decay"],
        warmup_steps=options["warmup"],
    )


def sam(model: nn.Module, options: Options) -> Optimizer:
    """Build pytorch-optimizer's SAM (arXiv 2010.01412) around torch's AdamW: two passes a step.

    Args:
        model: The network.
        options: AdamW's, and "rho", the radius of the perturbation.

    Returns:
        The optimizer.
    """
    inner = require("pytorch_optimizer", extra="lab").SAM(
        penalised.groups(model),
        torch.optim.AdamW,
        rho=options["rho"],
        lr=options["lr"],
        betas=_betas(options),
        weight_decay=options["weight_decay"],
    )
    return Around(inner, at_the_worst)


def two_phase(model: nn.Module, options: Options) -> Optimizer:
    """Build AdamW whose decay begins when the training loss interpolates.

    Args:
        model: The network.
        options: AdamW's, and "interpolation", GROKtimizer's.

    Returns:
        The optimizer.
    """
    detector = detector_for(options["interpolation"], maximize=False)
    return TwoPhaseAdamW(penalised.groups(model), options["lr"], options["weight_decay"], _betas(options), detector)


def lbfgs(model: nn.Module, options: Options) -> Optimizer:
    """Build torch's L-BFGS with the strong Wolfe line search on loss + β‖W‖²; each evaluation of the loss is a pass.

    Args:
        model: The network.
        options: "lr" (first length tried), "weight_decay" (β, without ½), "iterations" (of a step), "history" (pairs).

    Returns:
        The optimizer.
    """
    at_least_one(iterations=options["iterations"], history=options["history"])
    inner = torch.optim.LBFGS(
        [param for group in penalised.groups(model) for param in group["params"]],
        lr=options["lr"],
        max_iter=options["iterations"],
        max_eval=max(LINE_SEARCH, options["iterations"] * 5 // 4),
        history_size=options["history"],
        line_search_fn="strong_wolfe",
    )
    return Around(inner, partial(raised, penalised.penalised(model), options["weight_decay"]))


def clip(model: nn.Module, options: Options) -> Optimizer:
    """Build norm clipping (github.com/NiftyliuS/cliptogrok): after each step long rows of the hidden weights are cut.

    Hidden is all but the read-out: what has no word of "skip" among the words of its dotted name, or, where nothing has
    one, all but the last weight. The authors leave the table of symbols alone too ("embedding,head").

    Args:
        model: The network.
        options: "inner" ("lion" or "adamw"; no decay), "lr", "beta1", "beta2", "radius", "start" (whether all rows get
            that norm before the first step), "vectors" (whether biases and normalisation scales count, each as one row,
            as in the authors' code), "skip" (words, with commas).

    Returns:
        The optimizer.
    """
    inner = lookup("inner", options["inner"], {"lion": lion, "adamw": adamw})
    every, hidden = _rows(model, {word.strip() for word in options["skip"].split(",")}, vectors=options["vectors"])
    begin = every if options["start"] else []
    made = inner(model, {**options, "weight_decay": 0.0})
    return Around(made, partial(clipped, hidden, begin, options["radius"]))


def _rows(model: nn.Module, skip: set[str], *, vectors: bool) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """What has rows, and the part of it that is hidden."""
    weights = penalised.penalised(model)
    ids = {id(param) for param in weights}
    named = [(name, param) for name, param in model.named_parameters() if param.requires_grad]
    every = [(name, param) for name, param in named if vectors or id(param) in ids]
    hidden = [param for name, param in every if not skip.intersection(name.split("."))]
    if len(hidden) == len(every):
        hidden = [param for param in hidden if param is not weights[-1]]
    return [param for _, param in every], hidden
