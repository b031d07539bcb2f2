"""A two-layer ReLU network that has to output zero: the nonlinear problem of arXiv 2601.19791, Figures 1 and 4."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from groktimizer.ground.checks import at_least_one, positive
from groktimizer.tasks.problem import Batch, Problem, half_mean_square
from groktimizer.tasks.streams import normal
from groktimizer.tasks.task import LossTask

TEST_SAMPLES = 1000


class TwoLayerRelu(nn.Module):
    """Outputs Σ_j a_j relu(⟨w_j, x⟩), no biases; with `slopes` also the Jacobian Σ_j a_j 1[⟨w_j, x⟩ > 0] w_jᵀ.

    Args:
        hidden: Initial w, shape (m, d).
        readout: Initial a, shape (m,), or (m, c) for c outputs.
        slopes: Whether the outputs are followed by the Jacobian, output by output: c + c·d numbers per sample. Needs a
            readout of two dimensions.
    """

    def __init__(self, hidden: Tensor, readout: Tensor, *, slopes: bool = False) -> None:
        super().__init__()
        self.hidden = nn.Parameter(hidden)
        self.readout = nn.Parameter(readout)
        self.slopes = slopes

    def jacobian(self, inputs: Tensor) -> Tensor:
        """Compute the derivative of each output by each input, in closed form; at a kink the left one.

        Args:
            inputs: Shape (n, d).

        Returns:
            Shape (n, c, d).
        """
        active = (inputs @ self.hidden.T > 0).to(self.hidden.dtype)
        return torch.stack([(active * column) @ self.hidden for column in self.readout.unbind(1)], dim=1)

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the outputs.

        Args:
            inputs: Shape (n, d).

        Returns:
            Shape (n,) or (n, c); with `slopes` (n, c + c·d).
        """
        outputs = torch.relu(inputs @ self.hidden.T) @ self.readout
        return torch.cat((outputs, self.jacobian(inputs).flatten(1)), dim=1) if self.slopes else outputs


@dataclass(frozen=True)
class ReluTask(LossTask):
    """Setting of arXiv 2601.19791, Figure 4: teacher 0, a_j ~ N(0, 1/m), w_j ~ N(0, (ν²/d) I_d), both layers trained.

    Inputs are N(0, I_d). Training loss (1/2n) Σ N(x_i)², test loss the mean of N(x)² over 1,000 other inputs, no ½,
    which estimates the population loss to about 5 %. The decay (λ/2)‖θ‖² is the optimizer's `weight_decay`.

    Attributes:
        n: Samples.
        m: Hidden units.
        d: Inputs.
        nu: Standard deviation ν of the initial hidden weights, times √d.
        tolerance: Level ε = c of both conditions: train_loss ≤ ε and test_loss ≤ ε.
        batch_size: Samples per step, None for all.
        name: Name in the registry.

    Raises:
        UserError: If an option is out of its range.
    """

    n: int = 50
    m: int = 1000
    d: int = 50
    nu: float = 1.0
    tolerance: float = 0.01
    batch_size: int | None = None
    name: str = "relu-regression"

    default_steps: ClassVar[int] = 20_000
    default_every: ClassVar[int] = 20

    def __post_init__(self) -> None:
        """Check every option."""
        at_least_one(n=self.n, m=self.m, d=self.d, batch_size=self.batch_size)
        positive(nu=self.nu, tolerance=self.tolerance)

    @override
    def least_bytes(self) -> int:
        """Estimate the memory that a run takes at least: weights while they are drawn, inputs, a test pass."""
        return 16 * self.m * self.d + 8 * (self.n + TEST_SAMPLES) * self.d + 4 * TEST_SAMPLES * self.m

    @override
    def build(self, seed: int, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Problem:
        def part(component: str, samples: int) -> Batch:
            inputs = normal(seed, component, samples, self.d).to(device, dtype)
            return Batch(inputs, torch.zeros(samples, dtype=dtype, device=device))

        hidden = normal(seed, "init", self.m, self.d) * (self.nu / self.d**0.5)
        readout = normal(seed, "readout", self.m) / self.m**0.5
        model = TwoLayerRelu(hidden.to(dtype), readout.to(dtype)).to(device)
        train, test = part("features", self.n), part("test", TEST_SAMPLES)

        def measure(network: nn.Module) -> dict[str, float]:
            return {
                "train_loss": float(half_mean_square(network(train.inputs).to(dtype), train.targets)),
                "test_loss": float(network(test.inputs).to(dtype).square().mean()),
            }

        return Problem(model, train, test, half_mean_square, measure, self.batch_size)
