"""What the tasks of linear recovery share: networks that multiply their parameters, and their distance from a truth."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from groktimizer.ground.checks import positive, whole
from groktimizer.tasks.problem import Batch, Problem

DEEPEST = 4


class Product(nn.Module, ABC):
    """A network that is linear in the product of its factors.

    Args:
        factors: Their initial values.
    """

    def __init__(self, factors: list[Tensor]) -> None:
        super().__init__()
        self.factors = nn.ParameterList(nn.Parameter(factor) for factor in factors)

    @abstractmethod
    def product(self) -> Tensor:
        """The product of the factors."""


def half_square(outputs: Tensor, targets: Tensor) -> Tensor:
    """Compute ½ ‖outputs − targets‖², a sum over the samples.

    Args:
        outputs: Shape (N,).
        targets: Shape (N,).

    Returns:
        A scalar.
    """
    return (outputs - targets).square().sum() / 2


def relative(distance: Tensor, size: Tensor) -> float:
    """Divide a distance by a size; by 1 if that is 0.

    Args:
        distance: A scalar.
        size: A scalar.

    Returns:
        The quotient.
    """
    return float(distance) / (float(size) or 1.0)


def check_scale(depth: int, init_scale: float | None) -> None:
    """Check depth and initial scale: one factor may start at 0, a product of several would stay there.

    Args:
        depth: Factors.
        init_scale: Scale of their entries, None for the default.

    Raises:
        UserError: If one is out of its range.
    """
    whole("depth", depth, 1, DEEPEST)
    if init_scale is not None and (depth > 1 or init_scale != 0):
        positive(init_scale=init_scale)


def default_scale(depth: int) -> float:
    """The paper's initial scale ζ: 1e-6 for one factor, 1e-2 for each of several."""
    return 1e-6 if depth == 1 else 1e-2


def recover(
    model: Product,
    train: Batch,
    teacher: Tensor,
    unseen: Callable[[Tensor], Tensor],
    attainable: Mapping[str, Callable[[], float]],
) -> Problem:
    """Make the problem of finding a truth by a product.

    Args:
        model: The network at its initial factors.
        train: What is seen of the truth.
        teacher: The truth, of the product's shape.
        unseen: Gives the part of a product that no sample sees.
        attainable: As in `Problem`.

    Returns:
        The problem: losses ½‖·‖² of outputs and product, relative errors of both.
    """

    def measure(network: nn.Module) -> dict[str, float]:
        assert isinstance(network, Product)
        residual = network(train.inputs).to(teacher.dtype) - train.targets
        error = network.product() - teacher
        return {
            "train_loss": float(residual.square().sum() / 2),
            "test_loss": float(error.square().sum() / 2),
            "train_error": relative(residual.norm(), train.targets.norm()),
            "test_error": relative(error.norm(), teacher.norm()),
        }

    start = model.product().detach().double().cpu().clone()  # now: the parameters will move

    def start_share() -> float:
        return relative(unseen(start).norm(), teacher.norm().cpu())

    return Problem(model, train, None, half_square, measure, start_share=start_share, attainable=attainable)
