"""Low-rank matrices from some of their entries or from inner products (arXiv 2506.05718, Figures 5, 8, appendix D)."""

from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from groktimizer.ground.checks import at_least_one, part, positive, word
from groktimizer.ground.errors import UserError
from groktimizer.tasks.problem import Batch, Problem
from groktimizer.tasks.products import Product, check_scale, default_scale, recover
from groktimizer.tasks.streams import generator, normal
from groktimizer.tasks.task import ErrorTask, Known, Limits, Precision

if TYPE_CHECKING:
    from groktimizer.theory.low_rank import LowRank

MEASUREMENTS = ("matrix-completion", "matrix-sensing")
TRUTHS = ("orthogonal", "gaussian")
INITS = ("random", "identity")


class ProductMatrix(Product):
    """Outputs entries of A, or inner products with it; A the product of the factors.

    Args:
        factors: Initial factors, shapes (n1, k), (k, k), …, (k, n2).
    """

    @override
    def product(self) -> Tensor:
        """The matrix A, shape (n1, n2)."""
        return reduce(torch.matmul, self.factors)

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the outputs.

        Args:
            inputs: Rows and columns, shape (N, 2), int64; or matrices, shape (N, n1, n2).

        Returns:
            Shape (N,).
        """
        matrix = self.product()
        if inputs.dtype == torch.int64:
            return matrix[inputs[:, 0], inputs[:, 1]]
        return inputs.flatten(1) @ matrix.flatten()


class MatrixData(NamedTuple):
    """What a seed draws, float64.

    Attributes:
        inputs: Rows and columns of the observed entries, shape (N, 2), int64; or matrices, shape (N, n1, n2).
        targets: y, shape (N,).
        teacher: A*, shape (n1, n2).
        factors: Initial factors.
    """

    inputs: Tensor
    targets: Tensor
    teacher: Tensor
    factors: list[Tensor]

    def problem(self) -> "LowRank":
        """The same as a problem of the theory, with its interpolant, verdict, time law and solvers."""
        from groktimizer.theory.low_rank import LowRank

        if self.inputs.dtype == torch.int64:
            rows, columns = self.teacher.shape
            return LowRank.completion(self.inputs, self.targets, (rows, columns), self.teacher)
        return LowRank.sensing(self.inputs, self.targets, self.teacher)

    def interpolant(self) -> Tensor:
        """The fit next to the initial product, where gradient descent at depth 1 ends; shape (n1, n2)."""
        return self.problem().interpolant(reduce(torch.matmul, self.factors))

    def unseen(self, matrix: Tensor) -> Tensor:
        """The part of a matrix that no sample sees, shape (n1, n2)."""
        return self.problem().unseen(matrix)

    def attainable(self) -> float:
        """Relative distance from the teacher where small weights of the nuclear norm end; inf where that is open."""
        return self.problem().verdict().attainable


def leverage(teacher: Tensor, rank: int) -> Tensor:
    """Leverage scores μ_i + ν_j, μ_i = (n1/r) ‖U'e_i‖², ν_j = (n2/r) ‖V'e_j‖².

    Args:
        teacher: Shape (n1, n2), of this rank.
        rank: r.

    Returns:
        One score per entry, shape (n1, n2); their mean is 2.
    """
    left, _, right = torch.linalg.svd(teacher, full_matrices=False)
    rows = left[:, :rank].square().sum(1) * (teacher.shape[0] / rank)
    return rows[:, None] + right[:rank].square().sum(0) * (teacher.shape[1] / rank)


@dataclass(frozen=True)
class MatrixTask(ErrorTask):
    """Find the matrix A* of rank r from N of its entries, or N inner products; A is a product of `depth` matrices.

    Training loss ½ Σ (⟨X_i, A⟩ − y_i)², "test_loss" ½‖A − A*‖_F²; the conditions are on the relative errors
    "train_error" ‖XA − y‖/‖y‖ and "test_error" ‖A − A*‖_F/‖A*‖_F. The complexity is the optimizer's, for example the
    nuclear norm. At N = 70 (10 × 10, r = 2) it recovers a quarter of the draws, at N = 80 half; with `tau` = 0.5 nearly
    all; `theory.low_rank.recoverable` says which.

    Attributes:
        name: "matrix-completion" (X_i one entry) or "matrix-sensing" (X_i with entries N(0, 1/N)).
        n1: Rows.
        n2: Columns.
        r: Rank of A*.
        N: Entries or inner products.
        truth: "orthogonal" (random orthonormal factors, singular values 1/√r) or "gaussian" (U V'/√r with N(0, 1)
            entries, rescaled to ‖A*‖_F = √(n1 n2)).
        tau: Part of the entries that are those of the highest leverage scores; the others are uniform.
        depth: Factors, 1 … 4, the inner ones min(n1, n2) wide.
        init: "random" (signed: ζ N(0, 1/k), k the columns of the factor) or "identity" (ζ times ones on the diagonal).
        init_scale: ζ; None for 1e-6 at depth 1 and 1e-2 at others.
        train_tolerance: Level of "train_error".
        test_tolerance: Level of "test_error".

    Raises:
        UserError: If an option is out of its range, or leaves a row or column unobserved whatever is drawn.
    """

    name: str = "matrix-completion"
    n1: int = 10
    n2: int = 10
    r: int = 2
    N: int = 80
    truth: str = "orthogonal"
    tau: float = 0.0
    depth: int = 1
    init: str = "random"
    init_scale: float | None = None
    train_tolerance: float = 1e-3
    test_tolerance: float = 1e-2

    default_steps: ClassVar[int] = 100_000
    default_every: ClassVar[int] = 10
    precision: ClassVar[Precision] = "fp64"
    convex: ClassVar[bool] = True
    prediction: ClassVar[str] = "low-rank"

    def __post_init__(self) -> None:
        """Check every option."""
        word("name", self.name, MEASUREMENTS)
        at_least_one(n1=self.n1, n2=self.n2, r=self.r, N=self.N)
        positive(train_tolerance=self.train_tolerance, test_tolerance=self.test_tolerance)
        word("truth", self.truth, TRUTHS)
        word("init", self.init, INITS)
        check_scale(self.depth, self.init_scale)
        narrow, entries = min(self.n1, self.n2), self.n1 * self.n2
        if self.r > narrow:
            raise UserError(f"r={self.r}: expected a rank of at most min(n1, n2)={narrow}")
        part(tau=self.tau)
        if not self.completes:
            if self.tau:
                raise UserError(f"tau={self.tau}: only matrix-completion selects entries, expected 0")
        elif self.N > entries:
            raise UserError(f"N={self.N}: expected at most the {entries} entries of the matrix")
        elif max(self.n1, self.n2) > self.N:
            raise UserError(
                f"N={self.N}: leaves a row or column without an observed entry, so recovery is impossible; expected "
                f"at least {max(self.n1, self.n2)}"
            )

    @override
    def least_bytes(self) -> int:
        """Estimate the memory that a run takes at least: the matrix, its factors, what is seen of it."""
        entries = self.n1 * self.n2
        return 24 * entries + (0 if self.completes else 16 * self.N * entries)

    @property
    def completes(self) -> bool:
        """Whether entries are observed."""
        return self.name == "matrix-completion"

    def draw(self, seed: int) -> MatrixData:
        """Draw A*, what is seen of it, and initial factors, each from its own stream.

        Args:
            seed: Seed of all of them.

        Returns:
            The data.
        """
        left, right = normal(seed, "left", self.n1, self.r), normal(seed, "right", self.n2, self.r)
        if self.truth == "orthogonal":
            left, right = torch.linalg.qr(left)[0], torch.linalg.qr(right)[0]
        teacher = left @ right.T / self.r**0.5
        if self.truth == "gaussian":
            teacher *= (self.n1 * self.n2) ** 0.5 / teacher.norm()
        if self.completes:
            inputs = self._pairs(teacher, seed)
            targets = teacher[inputs[:, 0], inputs[:, 1]]
        else:
            inputs = normal(seed, "features", self.N, self.n1, self.n2) / self.N**0.5
            targets = inputs.flatten(1) @ teacher.flatten()
        scale = default_scale(self.depth) if self.init_scale is None else self.init_scale
        narrow = min(self.n1, self.n2)
        sizes = [self.n1, *[narrow] * (self.depth - 1), self.n2]

        def factor(i: int, rows: int, columns: int) -> Tensor:
            if self.init == "identity":
                return scale * torch.eye(rows, columns, dtype=torch.float64)
            return scale * normal(seed, f"init/{i}", rows, columns) / columns**0.5

        factors = [factor(i, *pair) for i, pair in enumerate(pairwise(sizes))]
        return MatrixData(inputs, targets, teacher, factors)

    def _pairs(self, teacher: Tensor, seed: int) -> Tensor:
        """Rows and columns of the observed entries, shape (N, 2): the τN of highest leverage, the others uniform."""
        order = torch.randperm(teacher.numel(), generator=generator(seed, "entries"))
        leading = int(self.tau * self.N + 1e-9)
        best = leverage(teacher, self.r).flatten()[order].argsort(descending=True, stable=True)[:leading]
        others = torch.ones(len(order), dtype=torch.bool)
        others[best] = False
        places = torch.cat((order[best], order[others]))[: self.N]
        return torch.stack((places // self.n2, places % self.n2), 1)

    @override
    def theory(self, seed: int) -> Known | None:
        """The problem of one factor."""
        if self.depth > 1:
            return None
        data = self.draw(seed)
        return Known(data.problem(), data.factors[0], data.teacher)

    @override
    def limits(self, seed: int) -> Limits | None:
        """Curvature and largest weight of one factor."""
        if self.depth > 1:
            return None
        problem = self.draw(seed).problem()
        return Limits(problem.sharpness, {"nuclear": problem.weight_limit})

    @override
    def build(self, seed: int, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Problem:
        from groktimizer.theory.low_rank.recoverable import shortage

        data = self.draw(seed)
        problem = data.problem()
        lacking = shortage(problem.measurements, data.teacher)
        if lacking is not None:
            raise UserError(f"N={self.N} and seed={seed}: {lacking}; give a larger N or another seed")
        model = ProductMatrix([factor.to(dtype) for factor in data.factors]).to(device)
        inputs = data.inputs.to(device) if self.completes else data.inputs.to(device, dtype)
        train = Batch(inputs, data.targets.to(device, dtype))
        attainable = {"nuclear": data.attainable} if self.depth == 1 else {}
        return recover(model, train, data.teacher.to(device, dtype), data.unseen, attainable)
