"""Parameter groups: which tensors the penalty touches, and what an option may be."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from groktimizer.ground.checks import fraction, not_negative, positive
from groktimizer.ground.errors import UserError
from groktimizer.optim.agreement import sharded
from groktimizer.penalties import L2, Elastic, GroupL1

_L2 = L2()
MATRIX = 2
NORMALISATIONS = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.LocalResponseNorm,
    nn.RMSNorm,
)


def param_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Two groups: weights, which get the penalty, and biases and normalisation scales, which do not.

    A tensor counts as a weight when it has two axes or more and does not belong to a normalisation layer. Frozen
    parameters are left out; a tensor shared by two layers is listed once.

    Args:
        model: Any module.

    Returns:
        One or two groups for a `torch.optim` optimizer; the second has ``weight_decay=0``.

    Raises:
        UserError: If `model` has no trainable parameter.

    Example:
        >>> from torch import nn
        >>> groups = param_groups(nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)))
        >>> [len(group["params"]) for group in groups], groups[1]["weight_decay"]
        ([1, 3], 0.0)
    """
    weights: list[Tensor] = []
    others: list[Tensor] = []
    seen: set[int] = set()
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                plain = parameter.ndim > 1 and not isinstance(module, NORMALISATIONS)
                (weights if plain else others).append(parameter)
    if not seen:
        raise UserError(f"model={type(model).__name__} has no trainable parameter: at least one must require grad")
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _plain(value: object) -> Any:
    """A one-element tensor as its number, any other as a few words."""
    if not isinstance(value, Tensor):
        return value
    return float(value) if value.numel() == 1 else f"a tensor of shape {tuple(value.shape)}"


def check_options(options: Mapping[str, object]) -> None:
    """Refuse what a group cannot have.

    Args:
        options: A group's options: lr and weight_decay (None: found for you), damping, beta2, eps, of which some may be
            missing; others pass.

    Raises:
        UserError: One line with the argument, its value and what is expected.
    """
    given = {name: _plain(value) for name, value in options.items()}
    tuned = {name: given[name] for name in ("lr", "weight_decay") if given.get(name) is not None}
    not_negative(**tuned)
    positive(**{name: given[name] for name in ("damping", "eps") if name in given})
    fraction(**{name: given[name] for name in ("beta2",) if name in given})
    l2 = isinstance(options.get("penalty", _L2), L2)
    if l2 and len(tuned) > 1 and tuned["lr"] * tuned["weight_decay"] >= 1.0:
        raise UserError(
            f"lr={tuned['lr']!r} with weight_decay={tuned['weight_decay']!r}: lr * weight_decay must be < 1 (one step "
            f"would decay everything); accepted at this lr is weight_decay < {1.0 / tuned['lr']:g}"
        )


def check_parameters(params: list[Tensor], known: set[int]) -> None:
    """Refuse tensors that the updates cannot move, and tensors listed twice.

    Args:
        params: The parameters of a new group.
        known: Ids of the parameters of earlier groups.

    Raises:
        UserError: One line with the position and what is accepted.
    """
    seen = set(known)
    for position, param in enumerate(params):
        if not isinstance(param, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]  # whatever the user gave
            raise UserError(
                f"params[{position}] is a {type(param).__name__}: expected tensors, as in param_groups(model)"
            )
        if id(param) in seen:
            raise UserError(f"params[{position}] of shape {tuple(param.shape)} is listed twice: give each tensor once")
        seen.add(id(param))
        if param.is_complex():
            raise UserError(f"params[{position}] is complex ({param.dtype}): expected real dense tensors")
        if param.layout != torch.strided:
            raise UserError(f"params[{position}] is sparse ({param.layout}): expected real dense tensors")
        if param.dtype == torch.float16:
            raise UserError(
                f"params[{position}] has dtype torch.float16, whose range does not hold squared gradients: accepted "
                "are float32 (with autocast and GradScaler), float64 and bfloat16"
            )
        if not param.is_floating_point():
            raise UserError(f"params[{position}] has dtype {param.dtype}: expected floating-point tensors")


def check_placement(penalty: Any, params: list[Tensor], weight_decay: float) -> None:
    """Refuse a penalty that needs whole matrices or groups where they are cut.

    Args:
        penalty: The penalty of a group.
        params: Its tensors.
        weight_decay: Its weight.

    Raises:
        UserError: If a sharded tensor has its groups, or its singular values, on several ranks.
    """
    inner = penalty.penalty if isinstance(penalty, Elastic) else penalty
    if weight_decay == 0 or isinstance(inner, L2) or inner.separable:
        return
    whole = {"rows": 0, "columns": 1}.get(inner.groups, -1) if isinstance(inner, GroupL1) else -1
    for param in params:
        if not sharded(param):
            continue
        axes = {placement.dim for placement in getattr(param, "placements", ()) if not placement.is_replicate()}
        if axes != {whole} or (whole == 1 and param.ndim != MATRIX):
            where = f"sharded along {sorted(axes)}" if axes else "flattened and cut by FullyShardedDataParallel"
            raise UserError(
                f"penalty={penalty!r} on a tensor of shape {tuple(param.shape)} {where}: its parts lie on several "
                "ranks; accepted there are L2(), L1(), and GroupL1 over rows sharded along 0 or columns along 1"
            )
