"""A two-layer ReLU network learns another one from few samples, and if asked its slopes (arXiv 2506.05718)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from groktimizer.ground.checks import at_least_one, not_negative, positive
from groktimizer.tasks.problem import Batch, Problem, full
from groktimizer.tasks.relu import TwoLayerRelu
from groktimizer.tasks.streams import generator, normal
from groktimizer.tasks.task import ErrorTask

TEST_SAMPLES = 1000


class Sobolev:
    """The loss (1/N) Σ ‖y − y*‖² + (weight/N) Σ ‖J − J*‖_F², from rows that hold c outputs and then their Jacobian.

    Args:
        outputs: Number of outputs c.
        weight: Weight of the second term; 0 leaves it out, rows may then end after the outputs.

    Example:
        >>> loss = Sobolev(1, weight=0.5)
        >>> float(loss(torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[0.0, 0.0, 0.0]])))
        3.0
    """

    def __init__(self, outputs: int, weight: float) -> None:
        self.outputs, self.weight = outputs, weight

    def __call__(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            found: What the network says, shape (N, c) or (N, c + c·d).
            wanted: What the teacher says, of the same shape.

        Returns:
            A scalar.
        """
        squares = (found - wanted).square()
        fit = squares[:, : self.outputs].sum(1).mean()
        return fit + self.weight * squares[:, self.outputs :].sum(1).mean() if self.weight else fit


@dataclass(frozen=True)
class TeacherTask(ErrorTask):
    """Learn y = B* relu(A* x), x and A* ~ N(0, 1), B* ~ N(0, 1)/r, from N samples with a network of the same form.

    Setting of arXiv 2506.05718, Figures 10 and 11.

    Training loss (1/N) Σ ‖y − y*‖², with `sobolev` plus (sobolev/N) Σ ‖J − J*‖_F² with the Jacobians J = B diag(1[Ax >
    0]) A; test loss the first term on 1,000 other inputs. The conditions are on the relative errors "train_error" and
    "test_error", ‖Y − Y*‖_F/‖Y*‖_F of the outputs on the two sets. From 100 outputs alone the paper's network memorises
    and stays above a test error of 0.65, with ℓ1 norm (Adam, lr 1e-3, weights 1e-5 and 1e-4) or without; with
    ``sobolev=1`` and the ℓ1 norm it passes 0.35 and ends near 0.32.

    Attributes:
        N: Samples.
        d: Inputs.
        r: Hidden units of the teacher.
        c: Outputs.
        width: Hidden units of the student, None for as many as the teacher has.
        sobolev: Weight of the matching of Jacobians, 0 for none.
        init_scale: Factor on the student's initial weights, which are uniform on ±1/√fan-in.
        train_tolerance: Level of "train_error".
        test_tolerance: Level of "test_error".
        batch_size: Samples per step, None for all.
        name: Name in the registry.

    Raises:
        UserError: If an option is out of its range.
    """

    N: int = 100
    d: int = 100
    r: int = 500
    c: int = 2
    width: int | None = None
    sobolev: float = 0.0
    init_scale: float = 1.0
    train_tolerance: float = 0.01
    test_tolerance: float = 0.35
    batch_size: int | None = None
    name: str = "relu-teacher"

    default_steps: ClassVar[int] = 20_000
    default_every: ClassVar[int] = 20

    def __post_init__(self) -> None:
        """Check every option."""
        at_least_one(N=self.N, d=self.d, r=self.r, c=self.c, width=self.width, batch_size=self.batch_size)
        positive(init_scale=self.init_scale, train_tolerance=self.train_tolerance, test_tolerance=self.test_tolerance)
        not_negative(sobolev=self.sobolev)

    @override
    def least_bytes(self) -> int:
        """Estimate the memory that a run takes at least: the teacher and its pass, the student, inputs and outputs."""
        student = self.r if self.width is None else self.width
        slopes = self.N * self.c * self.d if self.sobolev else 0
        samples = self.N + TEST_SAMPLES
        return 8 * (self.r + student) * (self.d + self.c) + 8 * samples * (self.d + self.c + self.r) + 8 * slopes

    @override
    def build(self, seed: int, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Problem:
        def uniform(component: str, fan_in: int, *shape: int) -> Tensor:
            draw = torch.rand(shape, dtype=torch.float64, generator=generator(seed, component))
            return ((2 * draw - 1) * (self.init_scale / fan_in**0.5)).to(dtype)

        width = self.r if self.width is None else self.width
        slopes = self.sobolev > 0
        inner, outer = normal(seed, "A", self.r, self.d), normal(seed, "B", self.r, self.c) / self.r
        teacher = TwoLayerRelu(inner, outer, slopes=slopes)

        @torch.no_grad()
        def part(component: str, samples: int) -> Batch:
            inputs = normal(seed, component, samples, self.d)
            return Batch(inputs.to(device, dtype), teacher(inputs).to(device, dtype))

        hidden, readout = uniform("init", self.d, width, self.d), uniform("readout", width, width, self.c)
        student = TwoLayerRelu(hidden, readout, slopes=slopes).to(device)
        train, test = part("train", self.N), part("test", TEST_SAMPLES)
        objective, fit = Sobolev(self.c, self.sobolev), Sobolev(self.c, 0.0)

        def measure(network: nn.Module) -> dict[str, float]:
            seen, unseen = full(network(train.inputs)), full(network(test.inputs))
            return {
                "train_loss": float(objective(seen, train.targets)),
                "test_loss": float(fit(unseen, test.targets)),
                "train_error": _relative(seen, train.targets, self.c),
                "test_error": _relative(unseen, test.targets, self.c),
            }

        return Problem(student, train, test, objective, measure, self.batch_size)


def _relative(found: Tensor, wanted: Tensor, outputs: int) -> float:
    """Compute ‖found − wanted‖_F/‖wanted‖_F of the outputs alone.

    Args:
        found: Shape (n, c …).
        wanted: Of the same shape.
        outputs: Number of outputs c.

    Returns:
        The relative error.
    """
    gap = torch.linalg.matrix_norm(found[:, :outputs] - wanted[:, :outputs])
    return float(gap / torch.linalg.matrix_norm(wanted[:, :outputs]))
