"""Linear regression in more dimensions than samples: the convex task whose every step is known in closed form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import override

from groktimizer.ground.checks import at_least_one, positive
from groktimizer.tasks.problem import Batch, Problem, half_mean_square
from groktimizer.tasks.streams import normal
from groktimizer.tasks.task import VECTOR, Known, Limits, LossTask, Precision

if TYPE_CHECKING:
    from groktimizer.theory.ridge import Ridge


class LinearModel(nn.Module):
    """Outputs ⟨θ, φ⟩.

    Args:
        theta: Initial parameters, shape (m,).
    """

    def __init__(self, theta: Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(theta)

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the outputs.

        Args:
            inputs: Features, shape (n, m).

        Returns:
            Shape (n,).
        """
        return inputs @ self.theta


class RidgeData(NamedTuple):
    """What a seed draws, float64.

    Attributes:
        features: Φ, shape (n, m).
        teacher: θ*, shape (m,).
        theta: θ(0), shape (m,).
    """

    features: Tensor
    teacher: Tensor
    theta: Tensor

    def problem(self) -> "Ridge":
        """The same as a problem of the theory."""
        from groktimizer.theory.ridge import Ridge

        return Ridge(self.features.numpy(), self.teacher.numpy(), covariance=1 / self.features.shape[1])


@dataclass(frozen=True)
class RidgeTask(LossTask):
    """Setting of arXiv 2601.19791, Figure 2: φ_i ~ N(0, I_m/m), ‖θ*‖ = `teacher_norm`, θ(0) ~ N(0, ν² I_m).

    Training loss (1/2n)‖Φθ − y‖² with y = Φθ*, population loss E⟨θ − θ*, φ⟩² = ‖θ − θ*‖²/m, which is the history's
    "test_loss": exact, there is no test set. The decay (λ/2)‖θ‖² is the optimizer's `weight_decay`.
    With the default teacher the zero predictor counts as generalising (its population loss is 1/m): the task times
    how long the initial weights take to be forgotten. Set `teacher_norm` to √m or so to demand learning.

    Attributes:
        n: Samples.
        m: Features.
        nu: Standard deviation ν of the initial parameters.
        teacher_norm: Norm of θ*.
        tolerance: Level ε = c of both conditions: train_loss ≤ ε and test_loss ≤ ε.
        batch_size: Samples per step, None for all.
        name: Name in the registry.

    Raises:
        UserError: If an option is out of its range.
    """

    n: int = 100
    m: int = 1000
    nu: float = 1.0
    teacher_norm: float = 1.0
    tolerance: float = 0.01
    batch_size: int | None = None
    name: str = "ridge"

    default_steps: ClassVar[int] = 30_000
    default_every: ClassVar[int] = 1
    precision: ClassVar[Precision] = "fp64"
    convex: ClassVar[bool] = True
    prediction: ClassVar[str] = "ridge"
    excludes: ClassVar[Mapping[str, str]] = {"nuclear": VECTOR}

    def __post_init__(self) -> None:
        """Check every option."""
        at_least_one(n=self.n, m=self.m, batch_size=self.batch_size)
        positive(nu=self.nu, teacher_norm=self.teacher_norm, tolerance=self.tolerance)

    @override
    def least_bytes(self) -> int:
        """Estimate the memory that a run takes at least: the features twice while they are drawn in float64."""
        return 16 * self.m * (self.n + 1)

    def draw(self, seed: int) -> RidgeData:
        """Draw features, teacher and initial parameters, each from its own stream.

        Args:
            seed: Seed of all three.

        Returns:
            The data.
        """
        direction = normal(seed, "teacher", self.m)
        teacher = direction * (self.teacher_norm / direction.norm())
        features = normal(seed, "features", self.n, self.m) / self.m**0.5
        return RidgeData(features, teacher, normal(seed, "init", self.m) * self.nu)

    @override
    def theory(self, seed: int) -> Known | None:
        """The problem that full batches solve."""
        if self.batch_size is not None:
            return None
        data = self.draw(seed)
        return Known(data.problem(), data.theta, data.teacher)

    @override
    def limits(self, seed: int) -> Limits | None:
        """Curvature of full batches."""
        if self.batch_size is not None:
            return None
        return Limits(float(torch.linalg.matrix_norm(self.draw(seed).features, 2)) ** 2 / self.n)

    @override
    def build(self, seed: int, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Problem:
        features, teacher, theta = self.draw(seed)
        model = LinearModel(theta.to(dtype)).to(device)
        train = Batch(features.to(device, dtype), (features @ teacher).to(device, dtype))
        target = teacher.to(device, dtype)

        def measure(network: nn.Module) -> dict[str, float]:
            theta = next(network.parameters())
            return {
                "train_loss": float(half_mean_square(network(train.inputs).to(dtype), train.targets)),
                "test_loss": float((theta - target).square().mean()),
            }

        return Problem(model, train, None, half_mean_square, measure, self.batch_size)
