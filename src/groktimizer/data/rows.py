"""Rows of a table by one name, wherever they come from, and their division into training and test part."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from groktimizer.data.own import READERS, read_table
from groktimizer.data.tables import TABLES, load
from groktimizer.ground.errors import UserError
from groktimizer.ground.extras import require
from groktimizer.ground.names import lookup

Array = NDArray[Any]
SHIPPED: Mapping[str, str] = {
    "digits": "load_digits",
    "breast-cancer": "load_breast_cancer",
    "diabetes": "load_diabetes",
}


class Rows(NamedTuple):
    """Rows of a table.

    Attributes:
        inputs: Shape (n, p), float64.
        targets: Class numbers, int64, or numbers, float64, shape (n,).
        groups: Shape (n,): rows with equal inputs have one number.
    """

    inputs: Array
    targets: Array
    groups: Array

    @property
    def classes(self) -> int:
        """How many classes there are; 0 of numbers."""
        return int(self.targets.max()) + 1 if self.targets.dtype.kind == "i" else 0

    @property
    def different(self) -> int:
        """How many rows differ in their inputs."""
        return int(self.groups.max()) + 1

    def divide(self, n_train: int, seed: int) -> tuple[Array, Array]:
        """Divide the rows: stratified by class; rows with equal inputs stay together.

        Args:
            n_train: Different rows to train on.
            seed: Of the division.

        Returns:
            Numbers of the rows to train on, and of all others.

        Raises:
            UserError: If one part would lack a class, or have no rows, or there is nothing to predict.
        """
        firsts = np.unique(self.groups, return_index=True)[1]
        kinds = self.targets[firsts] if self.classes else None
        self._check(n_train, kinds)
        selection = require("sklearn.model_selection", extra="lab")
        kind = selection.ShuffleSplit if kinds is None else selection.StratifiedShuffleSplit
        train, test = next(kind(1, train_size=n_train, random_state=seed).split(firsts, kinds))
        first, second = (np.flatnonzero(np.isin(self.groups, self.groups[firsts[part]])) for part in (train, test))
        return first, second

    def _check(self, n_train: int, kinds: Array | None) -> None:
        counts = np.ones(1) if kinds is None else np.unique(kinds, return_counts=True)[1]
        least = max(2, len(counts))
        if kinds is not None and (len(counts) < 2 or counts.min() < 2):
            raise UserError(
                f"the target has {len(counts)} class(es), {counts.min()} different row(s) of the rarest: expected two "
                "classes or more, at least two rows of each; words and whole numbers are classes, numbers to be "
                "predicted have a fraction, such as 3.0"
            )
        if kinds is None and (self.targets == self.targets[0]).all():
            raise UserError(f"the target is {self.targets[0]:g} in every row: expected numbers that differ")
        if not least <= n_train <= self.different - least + (kinds is None):
            raise UserError(
                f"n_train={n_train}: expected {least} … {self.different - least + (kinds is None)} of the "
                f"{self.different} different rows"
            )


def digest_of(file: str | Path) -> str:
    """Hash the content of a file (SHA-256, the first 16 hexadecimal digits)."""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]


def is_file(name: str) -> bool:
    """Whether a name is that of a file of the user's own, by its ending."""
    return Path(name).suffix.lower() in READERS


@lru_cache(maxsize=2)
def rows_of(name: str, target: str = "") -> Rows:
    """Read rows.

    Args:
        name: One of `TABLES` or `SHIPPED` (scikit-learn's), or a file: ``.csv``, ``.parquet`` or ``.npz``.
        target: The column to predict, of a file.

    Returns:
        All of its rows.

    Raises:
        UnknownName: If there is no such table or column.
        DataError: If it cannot be fetched or read.
    """
    if is_file(name):
        inputs, targets = (part.numpy() for part in read_table(name, target))
    elif lookup("table", name, {**TABLES, **SHIPPED}) in SHIPPED.values():
        inputs, targets = getattr(require("sklearn.datasets", extra="lab"), SHIPPED[name])(return_X_y=True)
    else:
        inputs, targets = (part.numpy() for part in load(name))
    kind = np.int64 if targets.dtype.kind in "iu" else np.float64
    groups = np.unique(inputs, axis=0, return_inverse=True)[1].ravel()
    return Rows(inputs.astype(np.float64), targets.astype(kind), groups)
