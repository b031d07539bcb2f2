"""How far a fitted network is from the least norm at its level."""

import copy
import math

import torch
from torch import Tensor, nn

from groktimizer.estimators.path import Shape, Stop, fresh, loss_of, tensors
from groktimizer.estimators.table import Table
from groktimizer.ground.errors import UserError
from groktimizer.measures import norm_gap
from groktimizer.optim import param_groups


def gap_of(table: Table, shape: Shape, stop: Stop, *, seed: int, columns: int) -> float:
    """Compare the norm of a stop's weights with the least one at its level, by `measures.norm_gap` in float64.

    Args:
        table: The mapped rows that it was fitted to.
        shape: The network, under the l2 norm.
        stop: Where it stopped.
        seed: Of the initial weights, the oracle's other start.
        columns: How many columns the rows had before they were mapped.

    Returns:
        The ratio; nan where there is none: another penalty, or a level that a network without weights reaches or that
        none does.
    """
    if shape.penalty != "l2":
        return math.nan
    start, _ = fresh(table, shape.hidden, seed, columns)
    start.double()
    model = copy.deepcopy(start)
    with torch.no_grad():
        found = (torch.from_numpy(part) for layer in stop.layers for part in layer)
        for param, value in zip(model.parameters(), found, strict=True):  # weight and bias of each layer, in turn
            param.copy_(value)
    inputs, targets, weights = tensors(table, "cpu", torch.float64)

    def loss(network: nn.Module) -> Tensor:
        return loss_of(network(inputs), targets, weights, classes=shape.classes)

    try:
        return norm_gap(model, loss, stop.level, penalised=param_groups(model)[0]["params"], starts=[start]).gap
    except UserError:
        return math.nan
