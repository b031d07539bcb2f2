"""What a weight of 1 means under a penalty other than L2: found from the state at the switch."""

import math
from typing import Any

import torch
from torch import Tensor

from groktimizer.optim import store
from groktimizer.optim.agreement import ALONE, Scope, device_of, flattened, largest, local, stacked, sums
from groktimizer.optim.lengths import square
from groktimizer.optim.settings import Settings
from groktimizer.optim.upkeep import penalised
from groktimizer.penalties import L2, Penalty


def weighs_itself(group: dict[str, Any]) -> bool:
    """Whether a weight of 1 means 1 in a group: that of L2, and one that was given.

    Args:
        group: A parameter group.

    Returns:
        False where `weigh` has to find what it means.
    """
    return isinstance(group["penalty"], L2) or group["decay_given"] or group["weight_decay"] == 0.0


def weigh(groups: list[dict[str, Any]], state: store.State, settings: Settings, scope: Scope) -> None:
    """Set ``state[param]["unit"]``: what a weight of 1 means for each tensor, from its state at the switch.

    A weight that was given means itself. One that was not is chosen so that the penalty pulls along theta as an L2 of
    the same nominal weight would: ``unit = |theta|^2 / <theta, D dh>``, D the metric. Parameters at 0 have no such
    pull; there a weight of 1 is the one from which on they would stay there. One unit for the group (``group["unit"]``)
    where its fixed points have a common objective, one for each tensor where they have none. A tensor without a usable
    gradient is left for a later step (0), without penalty till then. Of sharded tensors the whole is weighed.

    Args:
        groups: The parameter groups.
        state: The optimizer's state.
        settings: The optimizer's settings.
        scope: Who takes part.
    """
    scope = ALONE if scope.divided else scope  # ranks hold different numbers of tensors: each weighs its own
    for group in groups:
        if weighs_itself(group):
            continue
        joint = not settings.adaptive or group["penalty"].separable
        waiting = [p for p in group["params"] if p.grad is not None and state[p]["unit"] == 0.0]
        if not waiting and not any(flattened(param) for param in group["params"]):
            continue  # of a flattened tensor a rank may hold nothing, and no gradient, while others weigh it
        if joint and group["unit"] == 0.0:
            group["unit"] = _unit(_pulls(group, group["params"], state, settings, scope))
        elif not joint and waiting:
            pulls = _pulls(group, waiting, state, settings, scope)
            for param, pull in zip(waiting, pulls, strict=True):
                state[param]["unit"] = _unit([pull])
        if joint:
            for param in waiting:
                state[param]["unit"] = group["unit"]


def unweigh(group: dict[str, Any], state: store.State) -> None:
    """Let `weigh` find anew what a weight of 1 means in a group.

    Args:
        group: A parameter group.
        state: The optimizer's state.
    """
    if not weighs_itself(group):
        group["unit"] = 0.0
        for param in group["params"]:
            if "unit" in state.get(param, ()):
                state[param]["unit"] = 0.0


def along(groups: list[dict[str, Any]], scope: Scope) -> tuple[float, float]:
    """How the loss changes as the penalised parameters shrink: ``-<theta, g>``, and ``|theta|^2``.

    Their ratio is the L2 weight that holds the parameters where they are, a Lagrange multiplier.

    Args:
        groups: The parameter groups, gradients set.
        scope: Who takes part.

    Returns:
        Both, of the whole model.
    """
    pulls: list[Tensor | float] = []
    sizes: list[Tensor | float] = []
    for group in groups:
        sign = 1.0 if group["maximize"] else -1.0
        for param in penalised([group]):
            if param.grad is not None:
                share = scope.share(param)
                wide = torch.float64 if param.device.type == "cpu" else torch.float32
                pulls.append((local(param).to(wide) * local(param.grad).to(wide)).sum() * (sign * share))
                sizes.append(square(param) * share)
    device = device_of([param for group in groups for param in group["params"]])
    row = scope.total(stacked([sum(pulls), sum(sizes)], device)) / (1 if scope.cut else scope.size)
    pull, squared = row.tolist()
    return pull, squared


def _unit(pulls: list[tuple[float, float, float]]) -> float:
    squares, along, limits = zip(*pulls, strict=True)
    square, pull = math.fsum(squares), math.fsum(along)
    unit = square / pull if pull > 0.0 else max(limits)
    return unit if math.isfinite(unit) and unit > 0.0 else 0.0


def _pulls(
    group: dict[str, Any], params: list[Tensor], state: store.State, settings: Settings, scope: Scope
) -> list[tuple[float, float, float]]:
    """Of each tensor: squared norm, the penalty's pull along it (a mean in the metric), the weight that holds it."""
    parts = [_pull(param, state, group, settings, scope.share(param)) for param in params]
    device = device_of(params)
    totals = iter(sums([number for row in parts for number in row[:4]], scope, device))
    limits = largest([row[4] for row in parts], scope, device)
    pulls: list[tuple[float, float, float]] = []
    for limit in limits:
        square, pull, sizes, count = (next(totals) for _ in range(4))
        pulls.append((square, pull / (sizes / count) ** 0.5 if sizes > 0.0 else pull, limit))
    return pulls


def _pull(
    param: Tensor, state: store.State, group: dict[str, Any], settings: Settings, share: float
) -> tuple[float, float, float, float, float]:
    """This rank's part: |theta|^2, <theta, dh>, the squared metric and its entries, the weight that holds theta."""
    if param.grad is None or not param.numel():
        return 0.0, 0.0, 0.0, 0.0, 0.0
    penalty: Penalty = group["penalty"]
    exact = torch.float64 if param.device.type == "cpu" else torch.float32
    theta, force = local(param).detach().to(exact), local(param.grad).to(exact)
    pull = float((theta * penalty.subgradient(theta)).sum())
    sizes, count = 0.0, 0.0
    if settings.adaptive:
        past = local(store.use(state[param], param, store.MOMENT)).to(exact)
        moment = group["beta2"] * past + (1.0 - group["beta2"]) * force.square()
        size = (moment / (1.0 - group["beta2"] ** (group["moment_steps"] + 1))).sqrt() + group["eps"]
        if penalty.separable:
            sizes, count = float(size.square().sum()) * share, size.numel() * share
        else:
            force = (force / size).clamp(-1.0, 1.0)
    return float(theta.square().sum()) * share, pull * share, sizes, count, float(penalty.dual_norm(force))
