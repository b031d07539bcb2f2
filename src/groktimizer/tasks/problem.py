"""What a task builds for one seed: a network, its data and its loss."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

Objective = Callable[[Tensor, Tensor], Tensor]


class Batch(NamedTuple):
    """Samples.

    Attributes:
        inputs: Shape (n, …).
        targets: Shape (n,) or (n, …).
    """

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Problem:
    """A task made concrete by a seed.

    Attributes:
        model: The network at its initial weights.
        train: Training samples.
        test: Held-out samples, or None if the test loss is known in closed form.
        objective: Loss from outputs and targets, a scalar.
        measure: Columns of the history from a network: "train_loss", "test_loss" and, for classification,
            "train_accuracy" and "test_accuracy".
        batch_size: Samples per step, None for all.
        start_share: Of a task with a truth, gives the part of the start that the training samples do not see, over the
            size of the truth: with it a verdict tells forgetting from learning.
        attainable: Of a task with a truth, by the name of a penalty, gives the recovery error where small weights end:
            with it a verdict tells the bias of the weight.
    """

    model: nn.Module
    train: Batch
    test: Batch | None
    objective: Objective
    measure: Callable[[nn.Module], dict[str, float]]
    batch_size: int | None = None
    start_share: Callable[[], float] | None = None
    attainable: Mapping[str, Callable[[], float]] = field(default_factory=dict[str, Callable[[], float]])

    def loss(self, model: Callable[[Tensor], Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        """Compute the training loss; outputs of reduced precision are first taken to float32.

        Args:
            model: The network (or its compiled twin).
            inputs: Shape (n, …).
            targets: Shape (n,) or (n, …).

        Returns:
            A scalar.
        """
        return self.objective(full(model(inputs)), targets)

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Measure a network on the whole training and test sets.

        Args:
            model: The network.

        Returns:
            The columns of `measure`.
        """
        return self.measure(model)


def full(outputs: Tensor) -> Tensor:
    """Take outputs of 16 bits to float32 and leave the others.

    Args:
        outputs: Any shape.

    Returns:
        The same values in float32 or float64.
    """
    return outputs.float() if outputs.dtype in {torch.bfloat16, torch.float16} else outputs


@contextmanager
def evaluating(model: nn.Module) -> Generator[None]:
    """Put a network and its parts into the mode of evaluation, and each part back into its own afterwards.

    Args:
        model: The network.

    Yields:
        Nothing.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def classification(train: Batch, test: Batch, objective: Objective) -> Callable[[nn.Module], dict[str, float]]:
    """Make the measure of a classification problem.

    Args:
        train: Training samples with class targets.
        test: Held-out samples with class targets.
        objective: Loss from logits and classes.

    Returns:
        A function from a network to losses and accuracies (fractions of 1) on both sets, one forward pass each, in the
        mode of evaluation.
    """

    def measure(model: nn.Module) -> dict[str, float]:
        columns: dict[str, float] = {}
        for part, batch in (("train", train), ("test", test)):
            with evaluating(model):
                logits = full(model(batch.inputs))
            columns[f"{part}_loss"] = float(objective(logits, batch.targets))
            columns[f"{part}_accuracy"] = float((logits.argmax(-1) == batch.targets).double().mean())
        return columns

    return measure


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy.

    Args:
        logits: Shape (n, classes).
        targets: Classes, shape (n,).

    Returns:
        A scalar, in nats.
    """
    return nn.functional.cross_entropy(logits, targets)


def squared_error(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean squared difference to the one-hot targets, over samples and classes.

    Args:
        logits: Shape (n, classes).
        targets: Classes, shape (n,).

    Returns:
        A scalar.
    """
    wanted = nn.functional.one_hot(targets, logits.shape[-1]).to(logits.dtype)
    return nn.functional.mse_loss(logits, wanted)


def hinge(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the samples of Σ_c max(0, 1 − x_y + x_c)/classes, c all classes but the right one y.

    With two classes it is half the hinge loss max(0, 1 − s·f) of f = x_1 − x_0 and the sign s of the class.

    Args:
        logits: Shape (n, classes).
        targets: Classes, shape (n,).

    Returns:
        A scalar.
    """
    return nn.functional.multi_margin_loss(logits, targets)


def stablemax(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean of −log(s(x_y)/Σ_c s(x_c)) with s(x) = x + 1 for x ≥ 0 and 1/(1 − x) below (arXiv 2501.04697).

    It grows and falls slower than the exponential, so that no logit is lost in rounding beside another.

    Args:
        logits: Shape (n, classes).
        targets: Classes, shape (n,).

    Returns:
        A scalar, in nats.
    """
    upper = logits >= 0
    grown = torch.where(upper, logits, -logits).log1p()
    return nn.functional.cross_entropy(torch.where(upper, grown, -grown), targets)


def half_mean_square(outputs: Tensor, targets: Tensor) -> Tensor:
    """Compute (1/2n) ‖outputs − targets‖².

    Args:
        outputs: Shape (n,).
        targets: Shape (n,).

    Returns:
        A scalar.
    """
    return (outputs - targets).square().mean() / 2


LOSSES: Mapping[str, Objective] = {
    "cross-entropy": cross_entropy,
    "mse": squared_error,
    "hinge": hinge,
    "stablemax": stablemax,
}
