"""What a task is: a problem as an immutable value, which knows its conditions, precision, limits and theory."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from groktimizer.tasks.criterion import Criterion
from groktimizer.tasks.problem import Problem

if TYPE_CHECKING:  # a task is often made where no theory is asked for
    from groktimizer.theory.lasso import Lasso
    from groktimizer.theory.low_rank import LowRank
    from groktimizer.theory.ridge import Ridge

Precision = Literal["fp32", "bf16", "fp64"]
VECTOR = "it learns a vector: expected tensors with at least 2 dimensions, as those of matrix-completion"


@dataclass(frozen=True)
class Limits:
    """What cannot end well on the problem of one seed, known before the first step.

    Attributes:
        sharpness: Largest curvature of the training loss; descent diverges from lr = 2/sharpness on.
        weights: By the name of a penalty, the weight from which on 0 is the answer.
    """

    sharpness: float
    weights: Mapping[str, float] = field(default_factory=dict[str, float])


class Known(NamedTuple):
    """The problem of one seed as the theory solves it, with the same numbers.

    Attributes:
        problem: It.
        start: Initial parameters, float64.
        truth: What is to be found, of the same shape.
    """

    problem: "Ridge | Lasso | LowRank"
    start: Tensor
    truth: Tensor


class Task(ABC):
    """A problem as an immutable value; the seed is all that is missing.

    Subclasses are final frozen dataclasses whose fields are the options. They say `memorised`, `generalised` and
    `build`; everything else has a default.

    Attributes:
        name: What it is called in messages, the name of the class unless a field says it; on the command line it goes
            by the name that it was asked for.
        default_steps: Budget if none is given.
        default_every: Steps between evaluations if nothing else is asked for.
        precision: What a run takes if nothing else is asked for.
        bf16: Whether a comparison may take bf16 where the processor multiplies it in hardware.
        convex: Whether it is a problem of the theory and no network: settings measured on networks say nothing of it.
        excludes: Why a penalty cannot be laid on it, by the penalty's name.
        prediction: The kind of ``groktimizer predict`` that knows its problem; empty for none.
        settings: Settings in which a tuned comparison runs if none are given, as ``K=V,K=V;K=V``.
    """

    fixed: ClassVar[frozenset[str]] = frozenset({"name"})
    name: str = ""
    default_steps: ClassVar[int] = 10_000
    default_every: ClassVar[int] = 10
    precision: ClassVar[Precision] = "fp32"
    bf16: ClassVar[bool] = False
    convex: ClassVar[bool] = False
    excludes: ClassVar[Mapping[str, str]] = {}
    prediction: ClassVar[str] = ""
    settings: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        """Give a class that says no name its own."""
        if "name" not in vars(cls):
            cls.name = cls.__name__

    @property
    @abstractmethod
    def memorised(self) -> Criterion:
        """Condition of t1, the first step at which it holds (`measures.times`)."""

    @property
    @abstractmethod
    def generalised(self) -> Criterion:
        """Condition of t2 and of settled."""

    @property
    def secondary(self) -> Criterion | None:
        """Condition of the second column; None unless a task has one."""
        return None

    @abstractmethod
    def build(self, seed: int, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Problem:
        """Make the problem of one seed; a pure function of its arguments.

        Args:
            seed: Seed of split, initial weights and everything else that is random.
            dtype: Type of parameters and real-valued data.
            device: Where they are put.
        """

    def theory(self, seed: int) -> Known | None:
        """What the theory knows of the problem of a seed; None unless a task has one."""
        return None

    def limits(self, seed: int) -> Limits | None:
        """What cannot end well on the problem of a seed; None where that is not known beforehand."""
        return None

    def least_bytes(self) -> int:
        """Estimate the memory that a run takes at least, from the sizes alone.

        Returns:
            Bytes in fp32: parameters and their gradients, data, the largest layer's outputs. 0 if nothing is known.
        """
        return 0

    def options(self) -> dict[str, object]:
        """List all options with their values, whether given or default.

        Returns:
            Values by name, in a fixed order.
        """
        names = [field.name for field in fields(self) if field.name not in self.fixed]  # pyright: ignore[reportArgumentType] (subclasses are dataclasses)
        return {name: getattr(self, name) for name in names}


class LossTask(Task):
    """Base of tasks whose conditions are train_loss ≤ `tolerance` and test_loss ≤ `tolerance`, an option of theirs."""

    tolerance: float

    @property
    @override
    def memorised(self) -> Criterion:
        return Criterion("train_loss", self.tolerance, above=False)

    @property
    @override
    def generalised(self) -> Criterion:
        return Criterion("test_loss", self.tolerance, above=False)


class ErrorTask(Task):
    """Base of tasks with conditions on the relative errors, train_error ≤ `train_tolerance` and so for the test."""

    train_tolerance: float
    test_tolerance: float

    @property
    @override
    def memorised(self) -> Criterion:
        return Criterion("train_error", self.train_tolerance, above=False)

    @property
    @override
    def generalised(self) -> Criterion:
        return Criterion("test_error", self.test_tolerance, above=False)
