"""Regression on (w·x)² by a network that starts lazy: its outputs are scaled up, its loss down (arXiv 2310.06110)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from groktimizer.ground.checks import at_least_one, positive
from groktimizer.ground.errors import UserError
from groktimizer.tasks.problem import Batch, Problem, full
from groktimizer.tasks.products import relative
from groktimizer.tasks.streams import normal
from groktimizer.tasks.task import ErrorTask

TEST_SAMPLES = 1000


class LazyPolynomial(nn.Module):
    """Outputs (α/√m) Σ_j s_j φ(⟨v_j, x⟩), φ(h) = h + (ε/2) h², with fixed signs s: half of them +1, the others −1.

    Args:
        hidden: Initial v of the positive units, shape (m/2, d); the negative ones start from the same, so that all
            outputs are 0 at first.
        alpha: Laziness α.
        epsilon: Curvature ε of φ.
    """

    def __init__(self, hidden: Tensor, alpha: float, epsilon: float) -> None:
        super().__init__()
        self.hidden = nn.Parameter(torch.cat((hidden, hidden)))
        self.scale, self.epsilon = alpha / len(self.hidden) ** 0.5, epsilon

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the outputs.

        Args:
            inputs: Shape (n, d).

        Returns:
            Shape (n,).
        """
        reached = inputs @ self.hidden.T
        positive_units, negative_units = (reached + self.epsilon / 2 * reached.square()).chunk(2, dim=1)
        return self.scale * (positive_units.sum(1) - negative_units.sum(1))


class Lazy:
    """The loss (1/n) ‖outputs − targets‖²/α²: the gradients of all α are of one size.

    Args:
        alpha: Laziness α.

    Example:
        >>> float(Lazy(2.0)(torch.tensor([3.0, 1.0]), torch.tensor([1.0, 1.0])))
        0.5
    """

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            outputs: Shape (n,).
            targets: Shape (n,).

        Returns:
            A scalar.
        """
        return (outputs - targets).square().mean() / self.alpha**2


@dataclass(frozen=True)
class PolynomialTask(ErrorTask):
    """Learn y = ½ ⟨w, x⟩², x ~ N(0, I_d), ‖w‖ = 1, from n samples with a network of m units that starts at 0.

    After arXiv 2310.06110: a large α lets the network fit as its linearisation does, which does not generalise from
    fewer than d(d + 1)/2 samples; a network of small norm does. There readouts are fixed and equal and the initial
    outputs are subtracted; here they have signs and the initial outputs cancel, so that a small norm means a small
    function. Loss (1/n) Σ (f − y)²/α², test loss the same on 1,000 other inputs; the conditions are on the relative
    errors "train_error" and "test_error", ‖f − y‖/‖y‖; a loss of 2 % of the first, that of f = 0, is a train_error of
    0.14, which meets the default.

    Attributes:
        n: Samples.
        d: Inputs.
        width: Hidden units m, an even number.
        alpha: Laziness α.
        epsilon: Curvature ε of the activation h + (ε/2) h².
        train_tolerance: Level of "train_error".
        test_tolerance: Level of "test_error".
        batch_size: Samples per step, None for all.
        name: Name in the registry.

    Raises:
        UserError: If an option is out of its range.
    """

    n: int = 300
    d: int = 50
    width: int = 200
    alpha: float = 1.0
    epsilon: float = 1.0
    train_tolerance: float = 0.15
    test_tolerance: float = 0.25
    batch_size: int | None = None
    name: str = "polynomial-regression"

    default_steps: ClassVar[int] = 10_000
    default_every: ClassVar[int] = 10

    def __post_init__(self) -> None:
        """Check every option."""
        at_least_one(n=self.n, d=self.d, width=self.width, batch_size=self.batch_size)
        positive(alpha=self.alpha, epsilon=self.epsilon)
        positive(train_tolerance=self.train_tolerance, test_tolerance=self.test_tolerance)
        if self.width % 2:
            raise UserError(f"width={self.width}: expected an even number, half of the units have the sign +1")

    @override
    def least_bytes(self) -> int:
        """Estimate the memory that a run takes at least: weights while they are drawn, inputs, a test pass."""
        return 16 * self.width * self.d + 8 * (self.n + TEST_SAMPLES) * self.d + 4 * TEST_SAMPLES * self.width

    @override
    def build(self, seed: int, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Problem:
        direction = normal(seed, "teacher", self.d)
        direction = direction / direction.norm()

        def part(component: str, samples: int) -> Batch:
            inputs = normal(seed, component, samples, self.d)
            return Batch(inputs.to(device, dtype), ((inputs @ direction).square() / 2).to(device, dtype))

        hidden = normal(seed, "init", self.width // 2, self.d) / self.d**0.5
        model = LazyPolynomial(hidden.to(dtype), self.alpha, self.epsilon).to(device)
        train, test = part("train", self.n), part("test", TEST_SAMPLES)
        objective = Lazy(self.alpha)

        def measure(network: nn.Module) -> dict[str, float]:
            columns: dict[str, float] = {}
            for name, (inputs, targets) in (("train", train), ("test", test)):
                outputs = full(network(inputs))
                columns[f"{name}_loss"] = float(objective(outputs, targets))
                columns[f"{name}_error"] = relative((outputs - targets).norm(), targets.norm())
            return columns

        return Problem(model, train, test, objective, measure, self.batch_size)
