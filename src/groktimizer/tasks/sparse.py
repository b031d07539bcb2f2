"""Sparse recovery: fewer samples than unknowns, most of them 0 (arXiv 2506.05718, Figures 3, 7, 9 and 19)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from groktimizer.ground.checks import at_least_one, part, positive, word
from groktimizer.ground.errors import UserError
from groktimizer.tasks.problem import Batch, Problem
from groktimizer.tasks.products import Product, check_scale, default_scale, recover
from groktimizer.tasks.streams import generator, normal
from groktimizer.tasks.task import VECTOR, ErrorTask, Known, Limits, Precision

if TYPE_CHECKING:
    from groktimizer.theory.lasso import Lasso

FEATURES = ("gaussian", "coherent")
INITS = ("random", "ones")


class ProductVector(Product):
    """Outputs X a, a the entrywise product of the factors.

    Args:
        factors: Initial factors, each of shape (n,).
    """

    @override
    def product(self) -> Tensor:
        """The vector a, shape (n,)."""
        return reduce(torch.mul, self.factors)

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the outputs.

        Args:
            inputs: X, shape (N, n).

        Returns:
            Shape (N,).
        """
        return inputs @ self.product()


class SparseData(NamedTuple):
    """What a seed draws, float64.

    Attributes:
        features: X, shape (N, n).
        targets: y = X a* + noise, shape (N,).
        teacher: a*, shape (n,).
        factors: Initial factors, each of shape (n,).
    """

    features: Tensor
    targets: Tensor
    teacher: Tensor
    factors: list[Tensor]

    def problem(self) -> "Lasso":
        """The same as a problem of the theory, which has one factor."""
        from groktimizer.theory.lasso import Lasso

        return Lasso(self.features.numpy(), self.targets.numpy())

    def interpolant(self) -> Tensor:
        """The fit next to the initial product, where gradient descent at depth 1 ends: a + X⁺(y − X a), shape (n,)."""
        return self.unseen(reduce(torch.mul, self.factors)) + torch.linalg.pinv(self.features) @ self.targets

    def unseen(self, vector: Tensor) -> Tensor:
        """The part of a vector that no sample sees: (I − X⁺X) a, shape (n,)."""
        return vector - torch.linalg.pinv(self.features) @ (self.features @ vector)

    def attainable(self) -> float:
        """Relative distance from the teacher where small weights of the l1 norm end; inf where that is open."""
        from groktimizer.theory.lasso.recovery import attainable, recovery

        features, teacher = self.features.numpy(), self.teacher.numpy()
        return attainable(features, self.targets.numpy(), teacher, recovery(features, teacher))


@dataclass(frozen=True)
class SparseTask(ErrorTask):
    """Find the s-sparse vector a* from y = X a* with N < n samples; a is a product of `depth` vectors, entry by entry.

    Training loss ½‖Xa − y‖², "test_loss" ½‖a − a*‖²; the conditions are on the relative errors "train_error"
    ‖Xa − y‖/‖y‖ and "test_error" ‖a − a*‖/‖a*‖. The complexity is the optimizer's: with the ℓ1 norm a* is found where
    N suffices, with weight decay never. At N = 30 (n = 100, s = 5) some draws are not recoverable by any ℓ1 method;
    `theory.lasso.recovery` says which.

    Attributes:
        n: Unknowns.
        s: Non-zero entries of a*, N(0, 1) each.
        N: Samples.
        features: "gaussian" (entries N(0, 1/N)) or "coherent" (X = M Φ with Φ a random orthonormal basis: the first
            `tau` N rows of M are columns of Φ, so that each of these samples sees one entry of a; the others are
            N(0, 1/n)).
        tau: Part of the samples that is coherent.
        depth: Factors, 1 … 4.
        init: "random" (signed: ζ N(0, 1/n) per factor) or "ones" (ζ times ones, as in the authors' code; then the
            factors stay equal, and at an even depth no negative entry can ever be fitted).
        init_scale: ζ; None for 1e-6 at depth 1 and 1e-2 at others. The paper's large initialisation is 10.
        snr: E‖a*‖²/(N σ²) with σ² the variance of the label noise; None for no noise.
        train_tolerance: Level of "train_error".
        test_tolerance: Level of "test_error".
        name: Name in the registry.

    Raises:
        UserError: If an option is out of its range.
    """

    n: int = 100
    s: int = 5
    N: int = 40
    features: str = "gaussian"
    tau: float = 0.0
    depth: int = 1
    init: str = "random"
    init_scale: float | None = None
    snr: float | None = None
    train_tolerance: float = 1e-3
    test_tolerance: float = 1e-2
    name: str = "sparse-recovery"

    default_steps: ClassVar[int] = 100_000
    default_every: ClassVar[int] = 10
    precision: ClassVar[Precision] = "fp64"
    convex: ClassVar[bool] = True
    prediction: ClassVar[str] = "sparse"
    excludes: ClassVar[Mapping[str, str]] = {"nuclear": VECTOR}

    def __post_init__(self) -> None:
        """Check every option."""
        at_least_one(n=self.n, s=self.s, N=self.N)
        positive(train_tolerance=self.train_tolerance, test_tolerance=self.test_tolerance)
        word("features", self.features, FEATURES)
        word("init", self.init, INITS)
        check_scale(self.depth, self.init_scale)
        if self.snr is not None:
            positive(snr=self.snr)
        if self.s > self.n:
            raise UserError(f"s={self.s}: expected at most n={self.n} non-zero entries")
        part(tau=self.tau)
        if self.tau and self.features != "coherent":
            raise UserError(f"tau={self.tau}: features={self.features!r} have none, expected features='coherent'")
        if self.coherent > self.n:
            raise UserError(f"tau={self.tau}: asks for {self.coherent} coherent samples, there are n={self.n} at most")

    @override
    def least_bytes(self) -> int:
        """Estimate the memory that a run takes at least: the features while they are drawn, the basis, the factors."""
        basis = self.n * self.n if self.features == "coherent" else 0
        return 16 * self.N * self.n + 16 * basis + 8 * self.n * (self.depth + 1)

    @property
    def coherent(self) -> int:
        """Number of samples that see one entry each."""
        return int(self.tau * self.N + 1e-9)

    def draw(self, seed: int) -> SparseData:
        """Draw samples, teacher, noise and initial factors, each from its own stream.

        Args:
            seed: Seed of all of them.

        Returns:
            The data.
        """
        features = normal(seed, "features", self.N, self.n) / self.N**0.5
        if self.features == "coherent":
            basis = torch.linalg.qr(normal(seed, "basis", self.n, self.n))[0]
            features = features * (self.N / self.n) ** 0.5 @ basis
            features[: self.coherent] = torch.eye(self.n, dtype=torch.float64)[: self.coherent]
        teacher = torch.zeros(self.n, dtype=torch.float64)
        support = torch.randperm(self.n, generator=generator(seed, "support"))[: self.s]
        teacher[support] = normal(seed, "teacher", self.s)
        noise = 0.0 if self.snr is None else normal(seed, "noise", self.N) * math.sqrt(self.s / (self.N * self.snr))
        scale = default_scale(self.depth) if self.init_scale is None else self.init_scale
        ones = torch.ones(self.n, dtype=torch.float64)
        factors = [
            scale * (ones if self.init == "ones" else normal(seed, f"init/{i}", self.n) / self.n**0.5)
            for i in range(self.depth)
        ]
        return SparseData(features, features @ teacher + noise, teacher, factors)

    @override
    def theory(self, seed: int) -> Known | None:
        """The problem of one factor, which the l1 norm makes a Lasso."""
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
        return Limits(problem.sharpness, {"l1": problem.max_weight})

    @override
    def build(self, seed: int, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Problem:
        data = self.draw(seed)
        model = ProductVector([factor.to(dtype) for factor in data.factors]).to(device)
        train = Batch(data.features.to(device, dtype), data.targets.to(device, dtype))
        attainable = {"l1": data.attainable} if self.depth == 1 else {}
        return recover(model, train, data.teacher.to(device, dtype), data.unseen, attainable)
