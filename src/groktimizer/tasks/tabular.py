"""Tables of real data, few rows of them to train on: those of `groktimizer data`, scikit-learn's, or the user's own."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from groktimizer.data import Rows, digest_of, is_file, rows_of, standardise
from groktimizer.ground.checks import at_least_one, fraction, part, positive, word
from groktimizer.ground.errors import UserError
from groktimizer.models import MLP
from groktimizer.tasks.criterion import Criterion, accuracy
from groktimizer.tasks.labels import spoil
from groktimizer.tasks.problem import LOSSES, Batch, Problem, classification, full
from groktimizer.tasks.products import relative
from groktimizer.tasks.streams import generator
from groktimizer.tasks.task import Task

FITTED = 0.15  # of numbers: ‖f − y‖ / ‖y‖ at 2 % of the first loss is 0.14


def half_squares(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the mean squared error of numbers, outputs of shape (n, 1) and targets of shape (n,)."""
    return (outputs.squeeze(-1) - targets).square().mean() / 2


@dataclass(frozen=True)
class TabularTask(Task):
    """A two-layer ReLU network on `n_train` different rows of a table, tested on the others.

    Columns, and targets that are numbers, are standardised on the training part; rows with equal inputs stay in one
    part; classes are stratified. Of classes the conditions are on accuracies, of numbers on "train_error" and
    "test_error", ‖f − y‖/‖y‖ of standardised targets, whose square is 1 − R².

    Attributes:
        data: A table of `groktimizer data list`, "digits", "breast-cancer", "diabetes", or a file: ``.csv``,
            ``.parquet`` or ``.npz``.
        target: Of a file the column to predict.
        n_train: Different rows to train on.
        init_scale: Factor on the initial weights.
        width: Hidden units.
        loss: Of classes one of `LOSSES`; numbers have squared errors.
        wrong_labels: Of classes the part of the training rows with another class than theirs, in [0, 1).
        level: What counts as generalised: test accuracy of classes, R² of numbers, in [0, 1].
        batch_size: Rows per step, None for all.
        digest: Of a file's content, filled in by itself: a run of another content is another run.
        name: Name in the registry.

    Raises:
        UserError: If an option is out of its range, or the file is not the one that the digest was made of.
    """

    data: str = "breast-cancer"
    target: str = ""
    n_train: int = 40
    init_scale: float = 1.0
    width: int = 128
    loss: str = "cross-entropy"
    wrong_labels: float = 0.0
    level: float = 0.9
    batch_size: int | None = None
    digest: str = ""
    name: str = "tabular"

    default_steps: ClassVar[int] = 3_000
    default_every: ClassVar[int] = 5

    def __post_init__(self) -> None:
        """Check every option, and that the table has such rows."""
        at_least_one(n_train=self.n_train, width=self.width, batch_size=self.batch_size)
        positive(init_scale=self.init_scale)
        fraction(wrong_labels=self.wrong_labels)
        part(level=self.level)
        word("loss", self.loss, LOSSES)
        self._rows().divide(self.n_train, 0)
        if not is_file(self.data):
            return
        found = digest_of(self.data)
        if self.digest not in {"", found}:
            raise UserError(f"data={self.data}: its content is not the one that was asked for; expected {self.digest}")
        object.__setattr__(self, "digest", found)

    def _rows(self) -> Rows:
        return rows_of(self.data, self.target)

    @property
    @override
    def memorised(self) -> Criterion:
        if self._rows().classes:
            return accuracy("train", 0.99, self.wrong_labels)
        return Criterion("train_error", FITTED, above=False)

    @property
    @override
    def generalised(self) -> Criterion:
        if self._rows().classes:
            return accuracy("test", self.level, self.wrong_labels)
        return Criterion("test_error", round(math.sqrt(1.0 - self.level), 4), above=False)

    @override
    def least_bytes(self) -> int:
        """Estimate the memory that a run takes at least: rows, the network twice."""
        rows = self._rows()
        return 4 * (rows.inputs.size + 2 * self.width * (rows.inputs.shape[1] + max(1, rows.classes)))

    @override
    def build(self, seed: int, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Problem:
        rows = self._rows()
        first, second = rows.divide(self.n_train, seed)
        inputs, others = standardise(*(torch.from_numpy(rows.inputs[chosen]) for chosen in (first, second)))
        targets, truth = (torch.from_numpy(rows.targets[chosen]) for chosen in (first, second))
        sizes = (inputs.shape[1], self.width, max(1, rows.classes))
        model = MLP(sizes, self.init_scale, generator=generator(seed, "init"), dtype=dtype).to(device)
        if rows.classes:
            targets = spoil(targets, self.wrong_labels, rows.classes, seed)
        else:
            targets, truth = (each.squeeze(1) for each in standardise(targets[:, None], truth[:, None]))
        train, test = (
            Batch(each.to(device, dtype), wanted.to(device) if rows.classes else wanted.to(device, dtype))
            for each, wanted in ((inputs, targets), (others, truth))
        )
        if rows.classes:
            objective = LOSSES[self.loss]
            return Problem(model, train, test, objective, classification(train, test, objective), self.batch_size)

        def measure(network: nn.Module) -> dict[str, float]:
            columns: dict[str, float] = {}
            for name, batch in (("train", train), ("test", test)):
                outputs = full(network(batch.inputs)).squeeze(-1)
                columns[f"{name}_loss"] = float(half_squares(outputs, batch.targets))
                away = batch.targets - batch.targets.mean()  # so that the error's square is 1 − R²
                columns[f"{name}_error"] = relative((outputs - batch.targets).norm(), away.norm())
            return columns

        return Problem(model, train, test, half_squares, measure, self.batch_size)
