"""One network along a path of levels: to interpolation, then to the least norm at a training loss that is let rise."""

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from groktimizer.estimators.table import Array, Table
from groktimizer.models import MLP
from groktimizer.optim import GROKtimizer, LossBelow, param_groups
from groktimizer.penalties import L1, L2, GroupL1, Penalty

LOOKS, RESTS = 20, 0.002  # steps between two looks at the penalised norm, and what counts as resting
NEAR = (0.8, 1.1)  # of the level: the loss has come to it
LEFT = 1.5  # times the level: the loss has not come to it, or has left it


@dataclass(frozen=True)
class Shape:
    """What is trained, and how long.

    Attributes:
        hidden: Widths of the hidden layers.
        penalty: A name of `FIRST_LAYER`; it is on the first layer, the others have the l2 norm.
        classes: Whether targets are classes (cross-entropy) or numbers (squared error).
        steps: Steps at each level, at most.
        batch: Rows of a step; None is all.
        device: Where it is trained.
    """

    hidden: tuple[int, ...]
    penalty: str
    classes: bool
    steps: int
    batch: int | None
    device: str


FIRST_LAYER: dict[str, Penalty] = {"l2": L2(), "l1": L1(), "group": GroupL1("columns")}


@dataclass(frozen=True)
class Stop:
    """A network on the path.

    Attributes:
        level: Training loss that was aimed at, in units of what outputs of zero lose.
        loss: Training loss that was reached, same units.
        reached: Whether the norm was made small and the training loss is at the level at the end; False where the
            network was lost on the way from the stop before, which it then is.
        small: Whether the norm has been made small: phase 2 began.
        steps: Steps since the stop before.
        layers: Weight and bias of each layer.
        size: What is made small: the penalty of the first layer plus half the squares of the other weights.
        losses: Training loss of each step, of its batch, same units.
        least: Least training loss of all rows that was seen, same units.
        status: What the optimizer says.
    """

    level: float
    loss: float
    reached: bool
    small: bool
    steps: int
    layers: list[tuple[Array, Array]]
    size: float
    losses: list[float]
    least: float
    status: str


def outputs(layers: Sequence[tuple[Array, Array]], inputs: Array) -> Array:
    """What a network says, in NumPy.

    Args:
        layers: Weight and bias of each.
        inputs: Shape (n, p).

    Returns:
        Shape (n, k).
    """
    hidden = inputs
    for weight, bias in layers[:-1]:
        hidden = np.maximum(hidden @ weight.T + bias, 0.0)
    weight, bias = layers[-1]
    return hidden @ weight.T + bias


def follow(table: Table, shape: Shape, levels: Sequence[float], *, seed: int, columns: int) -> Iterator[Stop]:
    """Fit, and stop at each level.

    Args:
        table: Mapped rows; numbers to be met have mean 0 and variance 1.
        shape: The network.
        levels: Rising, in units of what outputs of zero lose (ln k, or a half).
        seed: Of the initial weights and of batches.
        columns: How many columns the rows had before they were mapped: initial weights are as small as theirs.

    Yields:
        The network at each level; the first one has the smallest loss.
    """
    model, generator = fresh(table, shape.hidden, seed, columns)
    model.to(shape.device)
    data = tensors(table, shape.device, torch.float32)

    def loss(rows: Tensor | None) -> Tensor:
        inputs, targets, weights = data if rows is None else (part[rows] for part in data)
        return loss_of(model(inputs), targets, weights, classes=shape.classes)

    def epoch() -> Iterator[Tensor | None]:
        return _batches(len(data[0]), shape.batch, generator)

    last = math.inf
    for position, level in enumerate(levels):
        before = [param.detach().clone() for param in model.parameters()]
        # Later on the loss is below the level from the start, so that phase 2 begins with the first step.
        opt = GROKtimizer(
            _groups(model, shape.penalty),
            interpolation=LossBelow(absolute=level, smoothing=0.0, patience=1) if position else level,
            metric="euclidean" if position else "adaptive",
        )

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="GROKtimizer: ")  # the estimator says what was not reached
            losses, whole = _descend(model, opt, loss, level, shape.steps, epoch)
        lost = position > 0 and not whole[-1] <= 1.0  # worse than outputs of zero: max_steps cut the stop before short
        if lost:
            with torch.no_grad():
                for param, value in zip(model.parameters(), before, strict=True):
                    param.copy_(value)
        last = last if lost else whole[-1]
        layers = [(_plain(layer.weight), _plain(layer.bias)) for layer in model.layers]
        reached = opt.phase == 2 and last <= LEFT * level and not lost
        size = _size(model, FIRST_LAYER[shape.penalty])
        yield Stop(level, last, reached, opt.phase == 2, len(losses), layers, size, losses, min(whole), opt.status)


def fresh(table: Table, hidden: Sequence[int], seed: int, columns: int) -> tuple[MLP, torch.Generator]:
    """Draw a network.

    Args:
        table: Mapped rows.
        hidden: Widths of the hidden layers.
        seed: Of the weights.
        columns: How many columns the rows had before they were mapped.

    Returns:
        The network, in float32 on the CPU, and the source of its numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    inputs = table.inputs.shape[1]
    model = MLP((inputs, *hidden, table.targets.shape[1]), generator=generator)
    with torch.no_grad():
        for param in model.layers[0].parameters():
            param.mul_(math.sqrt(inputs / columns))
    return model, generator


def tensors(table: Table, device: str, kind: torch.dtype) -> tuple[Tensor, ...]:
    """Inputs, targets and weights as torch has them."""
    return tuple(torch.tensor(part, dtype=kind, device=device) for part in table)


def loss_of(found: Tensor, targets: Tensor, weights: Tensor, *, classes: bool) -> Tensor:
    """Weighted training loss in units of what outputs of zero lose: ln k under cross-entropy, or a half."""
    if classes:
        each, unit = -(targets * torch.log_softmax(found, 1)).sum(1), math.log(targets.shape[1])
    else:
        each, unit = 0.5 * (found - targets).square().mean(1), 0.5
    return (weights * each).mean() / unit


def _descend(
    model: nn.Module,
    opt: GROKtimizer,
    loss: Callable[[Tensor | None], Tensor],
    level: float,
    steps: int,
    epoch: Callable[[], Iterator[Tensor | None]],
) -> tuple[list[float], list[float]]:
    """Train until the norm rests while the loss is at the level.

    Returns:
        The loss of each step, and the losses of all rows that were seen, the last one at the end.
    """
    losses, whole, norm, looked = list[float](), list[float](), math.inf, 0
    while len(losses) < steps:
        for rows in itertools.islice(epoch(), steps - len(losses)):
            opt.zero_grad()
            value = loss(rows)
            value.backward()
            opt.observe(value)
            opt.step()
            losses.append(float(value.detach()))
            whole += losses[-1:] if rows is None else []
        if len(losses) >= min(looked + LOOKS, steps):
            whole += [] if len(whole) == len(losses) else [float(loss(None).detach())]
            looked, before, norm = len(losses), norm, _norm(model) if opt.phase == 2 else math.inf
            near = NEAR[0] * level < whole[-1] < NEAR[1] * level
            if near and abs(norm - before) < RESTS * norm:
                break
    return losses, whole


def _plain(param: Any) -> Array:
    return param.detach().cpu().double().numpy().copy()


def _groups(model: MLP, penalty: str) -> list[dict[str, Any]]:
    groups = param_groups(model)
    if penalty == "l2":
        return groups
    weight = next(model.layers[0].parameters())
    others = [param for param in groups[0]["params"] if param is not weight]
    return [{"params": [weight], "penalty": FIRST_LAYER[penalty]}, {**groups[0], "params": others}, *groups[1:]]


def _batches(rows: int, size: int | None, generator: torch.Generator) -> Iterator[Tensor | None]:
    if size is None or size >= rows:
        yield None
        return
    yield from torch.randperm(rows, generator=generator).split(size)


@torch.no_grad()
def _size(model: MLP, first: Penalty) -> float:
    weights = [param for param in model.parameters() if param.ndim > 1]
    return sum(float((L2() if k else first).value(weight)) for k, weight in enumerate(weights))


@torch.no_grad()
def _norm(model: nn.Module) -> float:
    return math.sqrt(sum(float(p.double().square().sum()) for p in model.parameters() if p.ndim > 1))
