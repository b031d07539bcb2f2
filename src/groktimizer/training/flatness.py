"""How flat a run ended: sharpness of the trained network as it is, rescaled, and at a common training loss."""

import copy
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from groktimizer.ground.errors import UserError
from groktimizer.measures import (
    curvature,
    distances,
    fisher_rao,
    fourier_concentration,
    margins,
    relative_flatness,
    rescale,
    robustness,
    sam_sharpness,
    spectral_entropy,
)
from groktimizer.tasks import Problem, generator

PROBES = 30  # Hessian-vector products for a trace
SPREAD = 8.0  # the factor between two layers is log-uniform from one over it to it
SCALES = (0.5, 1.0, 2.0)  # of the noise, in root mean squares of what it is added to; the mean over them is kept
TABLE = "embedding"  # the parameter that holds the symbols, in every network here that has one
HALVINGS, FARTHEST = 60, 1e6
Weights = Callable[[nn.Module], Sequence[Tensor]]


class Ends(NamedTuple):
    """The linear layers in which a network ends.

    Attributes:
        hidden: The one called before the last, None if there is none.
        head: The last, whose outputs are the network's.
        features: What the last is given, shape (n, d).
        outputs: Of the network, shape (n, k).
    """

    hidden: nn.Linear | None
    head: nn.Linear
    features: Tensor
    outputs: Tensor


def check_flatness(problem: Problem) -> None:
    """Refuse to measure what is not a classification, or a network that does not end in a linear layer.

    Args:
        problem: The task at the seed of the run, its network untrained; it stays as it is.

    Raises:
        UserError: If it does not suit.
    """
    if problem.train.targets.dtype != torch.int64 or problem.train.targets.ndim != 1:
        raise UserError("flatness: the task has no classes, expected a classification")
    _ends(problem.model, problem.train.inputs)
    try:
        fisher_rao(problem.model, problem.objective, *problem.train)
    except RuntimeError as error:  # PyTorch's, of a function without a second derivative
        reason = "the loss has no second derivative (hinge?), expected cross-entropy, mse or stablemax"
        raise UserError(f"flatness: {reason}") from error


def flatness_of_run(trained: Problem, level: float, weights: Weights, seed: int) -> dict[str, object]:
    """Measure how flat, robust and concentrated a trained network is, in float64, on its training samples.

    Args:
        trained: The problem with the network at the end of its run; it stays as it is.
        level: The training loss at which networks are compared (`gap_reference`).
        weights: Which tensors of a network are penalised.
        seed: Of the random vectors, the noise and the factor.

    Returns:
        "as_is", "rescaled" (the last two layers exchange a random factor; None where that changes the function) and
        "levelled" (the last layer times the factor that brings the training loss to the level; None where none does):
        each "largest", "trace" (only as it is), "sam", "fisher_rao", "relative" and "norm". Then "margin" (median
        over the samples of the distance to the boundary over the root mean square of ‖x‖, or of symbols of the right
        class's lead over the spread ‖z − z̄‖ of the logits), "kept" (share of answers that noise leaves), "entropy"
        and "concentration" of the table of symbols (None without one), "level", "train_loss" and "test_accuracy".
        Where the network is not finite, "reason" alone.
    """
    model = copy.deepcopy(trained.model).double().eval()
    inputs, targets = trained.train
    inputs = inputs.double() if inputs.dtype.is_floating_point else inputs
    double = Problem(model, trained.train._replace(inputs=inputs), None, trained.objective, trained.measure)
    ends = _ends(model, inputs)
    found = trained.evaluate(trained.model)
    if not math.isfinite(found["train_loss"]):
        return {"reason": "the network is not finite"}
    symbols = dict(model.named_parameters()).get(TABLE) if not inputs.dtype.is_floating_point else None
    kept = robustness(model, inputs, SCALES, table=TABLE if symbols is not None else None, seed=seed)
    return {
        "as_is": _sharpness(double, weights, seed, trace=True),
        "rescaled": _rescaled(double, ends, weights, seed),
        "levelled": _levelled(double, ends, weights, level, seed),
        "margin": _margin(model, inputs, targets, ends.outputs),
        "kept": float(kept.mean()),
        "entropy": None if symbols is None else spectral_entropy(symbols),
        "concentration": None if symbols is None else fourier_concentration(symbols),
        "level": level,
        "train_loss": found["train_loss"],
        "test_accuracy": found["test_accuracy"],
    }


def _margin(model: nn.Module, inputs: Tensor, targets: Tensor, outputs: Tensor) -> float:
    """A margin that neither the confidence of a network nor a rescaling moves."""
    if inputs.dtype.is_floating_point:
        size = inputs.flatten(1).square().sum(1).mean().sqrt()
        return float(distances(model, inputs, targets).median() / size)
    spread = (outputs - outputs.mean(1, keepdim=True)).norm(dim=1)
    return float((margins(outputs, targets) / spread).median())


def _sharpness(problem: Problem, weights: Weights, seed: int, *, trace: bool = False) -> dict[str, float]:
    """The measures of sharpness and the norm of a network in float64."""
    model, (inputs, targets), objective = problem.model, problem.train, problem.objective
    ends = _ends(model, inputs)
    # the three products that the trace needs at least cost nothing where it is not asked for
    hessian = curvature(model, objective, inputs, targets, probes=PROBES if trace else 3, seed=seed)
    return {
        "largest": hessian.largest,
        **({"trace": hessian.trace} if trace else {}),
        "sam": sam_sharpness(model, objective, inputs, targets),
        "fisher_rao": fisher_rao(model, objective, inputs, targets),
        "relative": relative_flatness(ends.features, ends.head.weight, ends.outputs, objective, targets),
        "norm": math.sqrt(sum(float(weight.detach().square().sum()) for weight in weights(model))),
    }


def _rescaled(problem: Problem, ends: Ends, weights: Weights, seed: int) -> dict[str, float] | None:
    """The same function with a random factor between its last two layers."""
    if ends.hidden is None:
        return None
    drawn = 2 * torch.rand((), dtype=torch.float64, generator=generator(seed, "rescale")) - 1
    factor = SPREAD ** float(drawn)
    inner = list(ends.hidden.parameters())
    rescale(inner, ends.head.weight, factor)
    try:
        after = _ends(problem.model, problem.train.inputs).outputs
        same = torch.allclose(after, ends.outputs, rtol=1e-8, atol=1e-8 * float(ends.outputs.abs().max()))
        return _sharpness(problem, weights, seed) if same else None
    finally:
        rescale(inner, ends.head.weight, 1 / factor)


def _levelled(problem: Problem, ends: Ends, weights: Weights, level: float, seed: int) -> dict[str, float] | None:
    """The same answers with the confidence at which the training loss is the level."""
    factor = confidence(problem, ends.outputs, level)
    if factor is None:
        return None
    kept = [param.detach().clone() for param in ends.head.parameters()]
    with torch.no_grad():
        for param in ends.head.parameters():
            param.mul_(factor)
        try:
            with torch.enable_grad():
                return _sharpness(problem, weights, seed)
        finally:
            for param, value in zip(ends.head.parameters(), kept, strict=True):
                param.copy_(value)


def confidence(problem: Problem, outputs: Tensor, level: float) -> float | None:
    """Find the factor on the outputs at which the training loss falls through a level.

    Args:
        problem: Its objective and training targets count.
        outputs: Logits of the training samples.
        level: Of the loss.

    Returns:
        The factor, by bisection of its logarithm; None if the loss is not above the level at 1e-6 and below at 1e6.

    Example:
        >>> from groktimizer.tasks import Batch, cross_entropy
        >>> one = Problem(nn.Identity(), Batch(torch.eye(2), torch.arange(2)), None, cross_entropy, lambda model: {})
        >>> round(confidence(one, torch.eye(2).double(), math.log(1 + math.exp(-3.0))), 9)
        3.0
    """

    def above(factor: float) -> bool:
        return not float(problem.objective(factor * outputs, problem.train.targets)) <= level

    low, high = 1 / FARTHEST, FARTHEST
    if not above(low) or above(high):
        return None
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if above(middle) else (low, middle)
    return high


@torch.no_grad()
def _ends(model: nn.Module, inputs: Tensor) -> Ends:
    called: list[tuple[nn.Linear, Tensor, Tensor]] = []

    def note(layer: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        called.append((layer, given[0], made))

    hooks = [layer.register_forward_hook(note) for layer in model.modules() if isinstance(layer, nn.Linear)]
    try:
        outputs = model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if not called or called[-1][2] is not outputs:
        raise UserError("flatness: the network's outputs are not those of an nn.Linear, expected one at its end")
    head, features, _ = called[-1]
    return Ends(called[-2][0] if len(called) > 1 else None, head, features, outputs)
