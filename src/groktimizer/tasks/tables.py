"""Small real tables: few samples to train a two-layer network on, the rest to test it."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from typing_extensions import override

from groktimizer.data import TABLES, load, standardise
from groktimizer.data import Samples as Whole
from groktimizer.ground.checks import at_least_one, part, positive, word
from groktimizer.ground.errors import UserError
from groktimizer.ground.extras import require
from groktimizer.models import MLP
from groktimizer.tasks.criterion import Criterion, accuracy
from groktimizer.tasks.problem import LOSSES, Batch, Problem, classification
from groktimizer.tasks.streams import generator
from groktimizer.tasks.task import Task

SHIPPED = "breast-cancer"  # by scikit-learn: 569 samples, 30 features, 2 classes
SHAPE = (569, 30, 2)
NAMES = (SHIPPED, *(name for name, table in TABLES.items() if table.classes is not None))


def _load(name: str) -> Whole:
    if name != SHIPPED:
        return load(name)
    inputs, classes = require("sklearn.datasets", extra="lab").load_breast_cancer(return_X_y=True)
    return Whole(torch.from_numpy(inputs), torch.from_numpy(classes).long())


@dataclass(frozen=True)
class TableTask(Task):
    """A two-layer ReLU network on `n_train` samples of a table, columns standardised on them, tested on the rest.

    Attributes:
        data: "breast-cancer", which scikit-learn ships, or a table with classes of `groktimizer data list`, which the
            first run fetches.
        n_train: Training samples, fewer than the table has.
        width: Hidden units.
        init_scale: Factor on the initial weights.
        loss: One of `LOSSES`.
        batch_size: Samples per step, None for all.
        level: Test accuracy that counts as generalised, in [0, 1].
        name: Name in the registry.

    Raises:
        UserError: If an option is out of its range.
    """

    data: str = SHIPPED
    n_train: int = 40
    width: int = 128
    init_scale: float = 1.0
    loss: str = "cross-entropy"
    batch_size: int | None = None
    level: float = 0.9
    name: str = "table"

    default_steps: ClassVar[int] = 2_000

    def __post_init__(self) -> None:
        """Check every option."""
        word("data", self.data, NAMES)
        at_least_one(n_train=self.n_train, width=self.width, batch_size=self.batch_size)
        positive(init_scale=self.init_scale)
        word("loss", self.loss, LOSSES)
        part(level=self.level)
        if self.n_train >= self.shape[0]:
            raise UserError(
                f"n_train={self.n_train}: expected at most {self.shape[0] - 1} of the {self.shape[0]} samples"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Samples, features and classes of the table."""
        table = TABLES.get(self.data)
        return SHAPE if table is None else (table.rows, table.columns, table.classes or 0)

    @override
    def least_bytes(self) -> int:
        """Estimate the memory that a run takes at least: the table, the network twice, a test pass."""
        rows, columns, classes = self.shape
        return 4 * (rows * columns + 2 * self.width * (columns + classes + 1) + 2 * classes + rows * self.width)

    @property
    @override
    def memorised(self) -> Criterion:
        return accuracy("train", 0.99)

    @property
    @override
    def generalised(self) -> Criterion:
        return accuracy("test", self.level)

    @override
    def build(self, seed: int, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Problem:
        inputs, classes = _load(self.data)
        order = torch.randperm(len(classes), generator=generator(seed, "split"))
        rows, others = order[: self.n_train], order[self.n_train :]
        parts = zip(standardise(inputs[rows], inputs[others]), (classes[rows], classes[others]), strict=True)
        train, test = (Batch(values.to(device, dtype), answers.to(device)) for values, answers in parts)
        _, columns, count = self.shape
        sizes, source = (columns, self.width, count), generator(seed, "init")
        network: nn.Module = MLP(sizes, self.init_scale, generator=source, dtype=dtype).to(device)
        objective = LOSSES[self.loss]
        return Problem(network, train, test, objective, classification(train, test, objective), self.batch_size)
