"""The norm gap of a run: the norm of its trained network over the least at which the same network fits as well."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from groktimizer.ground.errors import UserError
from groktimizer.measures import NormGap, least_l1, norm_gap
from groktimizer.tasks import Problem

SHARE = 0.02  # of the reference: what counts as interpolation
PENALTIES = ("l2", "l1")
Weights = Callable[[nn.Module], Sequence[Tensor]]


class Reference(NamedTuple):
    """The network of a run before its first step, and the loss that counts as interpolation.

    Attributes:
        model: The network.
        level: 2 % of the training loss that it begins with, or, if that is less, of its loss with the weights at 0: a
            large initialisation makes the first loss as large as one likes, and not the second.
        scale: Under l1, the loss over the mean squared error.
    """

    model: nn.Module
    level: float
    scale: float


def gap_reference(problem: Problem, weights: Weights, penalty: str) -> Reference:
    """Check that a problem has a norm gap, and find the level.

    Args:
        problem: The task at the seed of the run, its network untrained; it stays as it is.
        weights: Which tensors of a network are penalised.
        penalty: Whose norm is compared: "l2" or, for linear models, "l1".

    Returns:
        Network and level.

    Raises:
        UserError: If the penalty is another one, l1 is laid on something else than a linear model under squared error,
            the loss has no level, or it is not the same when asked twice.
    """
    if penalty not in PENALTIES:
        raise UserError(f"norm-gap with penalty={penalty}: expected {' or '.join(PENALTIES)}")
    first, again = full_loss(problem, problem.model), full_loss(problem, problem.model)
    if not math.isfinite(first):
        raise UserError(f"norm-gap: the first training loss is {first:g}, expected a finite number")
    if first != again:
        raise UserError("norm-gap: the training loss differs when asked twice (dropout?), expected one of all samples")
    level = SHARE * min(first, _without(problem, weights(problem.model)))
    if not level > 0:
        raise UserError(f"norm-gap: 2 % of the first training loss is {level:g}, expected a loss > 0")
    return Reference(problem.model, level, _scale(problem) if penalty == "l1" else math.nan)


def gap_of_run(trained: Problem, reference: Reference, weights: Weights, penalty: str) -> dict[str, object]:
    """Measure the norm gap of a trained network.

    Args:
        trained: The problem with the network at the end of its run.
        reference: Of the same problem, from `gap_reference`.
        weights: Which tensors of a network are penalised.
        penalty: "l2" or "l1".

    Returns:
        "penalty", "level", and "norm", "loss", "least" and "gap" as in `NormGap`; where none can be given (a network
        that is not finite, a level that no network reaches) "reason" instead.
    """
    found: dict[str, object] = {"penalty": penalty, "level": reference.level}
    try:
        gap = _gap_l1(trained, reference) if penalty == "l1" else _gap_l2(trained, reference, weights)
    except UserError as reason:
        return found | {"reason": str(reason)}
    return found | {"norm": gap.norm, "loss": gap.loss, "least": gap.least, "gap": gap.gap}


def full_loss(problem: Problem, model: nn.Module) -> float:
    """Training loss over all samples."""
    with torch.no_grad():
        return float(problem.loss(model, *problem.train))


def _without(problem: Problem, weights: Sequence[Tensor]) -> float:
    """The loss with the weights at 0; biases stay."""
    kept = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight in weights:
            weight.zero_()
        loss = full_loss(problem, problem.model)
        for weight, value in zip(weights, kept, strict=True):
            weight.copy_(value)
    return loss


def _gap_l2(trained: Problem, reference: Reference, weights: Weights) -> NormGap:
    model = trained.model
    return norm_gap(
        model,
        lambda network: trained.loss(network, *trained.train),
        reference.level,
        penalised=weights(model),
        starts=[reference.model],
    )


def _gap_l1(trained: Problem, reference: Reference) -> NormGap:
    features, targets = (part.double().cpu().numpy() for part in trained.train)
    loss, theta = full_loss(trained, trained.model), next(trained.model.parameters()).detach()
    if not math.isfinite(loss):
        raise UserError(f"loss: {loss:g} is not finite, expected a finite number")
    least = least_l1(features, targets, reference.level / reference.scale)
    return NormGap(float(theta.abs().sum()), loss, least, reference.level)


@torch.no_grad()
def _scale(problem: Problem) -> float:
    """Loss over mean squared error of a problem that is one vector of a linear model under squared error."""
    (inputs, targets), params = problem.train, list(problem.model.parameters())
    if len(params) == 1 and params[0].ndim == 1 and inputs.shape[1:] == params[0].shape:
        outputs = problem.model(inputs)
        near, far = (float(problem.objective(times * targets, targets)) for times in (0.0, 3.0))
        squared = outputs.shape == targets.shape and math.isclose(far, 4 * near, rel_tol=1e-4)
        if squared and torch.allclose(outputs, inputs @ params[0]):
            return near / float(targets.square().mean())
    raise UserError("norm-gap with penalty=l1: expected one vector of a linear model under squared error, as of ridge")
