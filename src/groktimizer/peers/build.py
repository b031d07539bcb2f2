"""Factories: from a network and plain options to an optimizer of an installed package.

Each gets the same parameter groups: weights under the decay or penalty, biases and normalisation scales without, as
`groktimizer.param_groups` makes them; a model that has nothing but vectors is all weights.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from groktimizer.ground.errors import UserError
from groktimizer.ground.extras import require
from groktimizer.ground.names import lookup
from groktimizer.optim import penalised
from groktimizer.peers.composite import Composite
from groktimizer.penalties import named_penalty

Options = Mapping[str, Any]
SMALLEST, LARGEST = 1e-18, 1e18  # of what optimizers multiply: products of two stay inside float32
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
    return torch.optim.Adam(model.parameters(), lr=options["lr"], betas=_betas(options))


def adamw(model: nn.Module, options: Options) -> Optimizer:
    """Build torch's AdamW (decoupled decay).

    Args:
        model: The network.
        options: "lr", "weight_decay", "beta1", "beta2".

    Returns:
        The optimizer.
    """
    decay = options["weight_decay"]
    return torch.optim.AdamW(penalised.groups(model), lr=options["lr"], weight_decay=decay, betas=_betas(options))


def adam_l2(model: nn.Module, options: Options) -> Optimizer:
    """Build Adam on loss + β‖θ‖² of the weights θ, whose gradient adds 2βθ: torch's coupled decay of 2β.

    Args:
        model: The network.
        options: "lr", "weight_decay" (β, without ½), "beta1", "beta2".

    Returns:
        The optimizer.
    """
    coupled = 2 * options["weight_decay"]
    return torch.optim.Adam(penalised.groups(model), lr=options["lr"], weight_decay=coupled, betas=_betas(options))


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
    """Build torch's Muon on the matrices and AdamW on the rest.

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
        parts.append(torch.optim.Muon(matrices, lr, weight_decay=decay, momentum=momentum, adjust_lr_fn=adjust))
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
