"""The data sets of a benchmark: how many rows of each are trained on, and how they are divided."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from groktimizer.data import load, read_table
from groktimizer.ground.checks import whole
from groktimizer.ground.errors import UserError
from groktimizer.ground.extras import require

Array = NDArray[Any]
SHIPPED: Mapping[str, str] = {
    "digits": "load_digits",
    "breast-cancer": "load_breast_cancer",
    "diabetes": "load_diabetes",
}
SPLITS, IMAGES = 20, 10  # of a set; of one of images
FEWEST = 6  # rows to train on: three folds of two


class Rows(NamedTuple):
    """A set as it was read.

    Attributes:
        inputs: Shape (n, p), float64.
        targets: Class numbers, int64, or numbers, float64, shape (n,).
        groups: Shape (n,): rows with equal inputs have one number.
    """

    inputs: Array
    targets: Array
    groups: Array

    @property
    def classes(self) -> bool:
        """Whether targets are classes."""
        return self.targets.dtype.kind == "i"


@dataclass(frozen=True)
class DataSet:
    """A set of the benchmark.

    Attributes:
        name: In tables; of `groktimizer data`, of `SHIPPED`, or of the user's own file.
        n_train: Groups of equal rows to train on; the others are the test part.
        splits: How many divisions.
        file: The user's own file, or None.
        target: Its column to predict.
        digest: Of the file's content.
    """

    name: str
    n_train: int
    splits: int = SPLITS
    file: str | None = None
    target: str = ""
    digest: str = ""

    def rows(self) -> Rows:
        """Read the set.

        Returns:
            All of its rows.

        Raises:
            DataError: If it cannot be fetched or read.
        """
        return _rows(self.name, self.file, self.target)

    def split(self, number: int) -> tuple[Array, Array]:
        """Divide the rows: stratified by class; rows with equal inputs stay together.

        Args:
            number: Which of the divisions; it is the seed.

        Returns:
            Rows to train on and rows to test on.
        """
        rows = self.rows()
        firsts = np.unique(rows.groups, return_index=True)[1]
        selection = require("sklearn.model_selection", extra="sklearn")
        kind = selection.StratifiedShuffleSplit if rows.classes else selection.ShuffleSplit
        divided = kind(1, train_size=self.n_train, random_state=number)
        train, test = next(divided.split(firsts, rows.targets[firsts] if rows.classes else None))
        first, second = (np.flatnonzero(np.isin(rows.groups, rows.groups[firsts[part]])) for part in (train, test))
        return first, second


@lru_cache(maxsize=2)
def _rows(name: str, file: str | None, target: str) -> Rows:
    if file is not None:
        inputs, targets = (part.numpy() for part in read_table(file, target))
    elif name in SHIPPED:
        inputs, targets = getattr(require("sklearn.datasets", extra="sklearn"), SHIPPED[name])(return_X_y=True)
    else:
        inputs, targets = (part.numpy() for part in load(name))
    kind = np.int64 if targets.dtype.kind in "iu" else np.float64
    groups = np.unique(inputs, axis=0, return_inverse=True)[1].ravel()
    return Rows(inputs.astype(np.float64), targets.astype(kind), groups)


SETS: Mapping[str, DataSet] = {
    each.name: each
    for each in (
        DataSet("leukemia", 19),
        DataSet("srbct", 16),
        DataSet("pd-speech", 50),
        DataSet("ad-data", 100),
        DataSet("meats", 25),
        DataSet("dtu-pectin", 19),
        DataSet("permeability", 40),
        DataSet("digits", 64, IMAGES),
        DataSet("mnist-5k", 100, IMAGES),
        DataSet("breast-cancer", 40),
        DataSet("diabetes", 60),
    )
}


def own_set(file: Path, target: str, n_train: int | None = None) -> DataSet:
    """A set from a file of the user's own.

    Args:
        file: CSV, Parquet or NPZ.
        target: The column to predict.
        n_train: Rows to train on; None is half of them, at most 100.

    Returns:
        The set, under the name of its file.

    Raises:
        UserError: If it cannot be read, or has too few rows, or too few of a class.
    """
    rows = _rows(file.stem, str(file), target)
    found = len(np.unique(rows.groups))
    size = min(100, found // 2) if n_train is None else whole("n_train", n_train)
    if not FEWEST <= size < found:
        raise UserError(f"n_train={size}: expected {FEWEST} … {found - 1} of the {found} different rows of {file}")
    if rows.classes:
        kinds, counts = np.unique(rows.targets, return_counts=True)
        if len(kinds) < 2 or counts.min() < 2 or len(kinds) > min(size, found - size):
            raise UserError(
                f"{target} of {file}: expected two classes or more, at least two rows of each and rows of each in both "
                f"parts, got {len(kinds)} with {counts.min()} row(s) of the rarest, n_train={size}"
            )
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    return DataSet(file.stem, size, SPLITS, str(file.resolve()), target, digest)


def folds(targets: Array, seed: int, count: int = 3) -> list[tuple[Array, Array]]:
    """Divide training rows into inner folds, the same for every method.

    Args:
        targets: Of the training rows, shape (n,); whole numbers are classes.
        seed: Of the shuffle.
        count: How many folds.

    Returns:
        Rows to fit and rows to choose by, of each.
    """
    selection = require("sklearn.model_selection", extra="sklearn")
    kind = selection.StratifiedKFold if targets.dtype.kind == "i" else selection.KFold
    return list(kind(count, shuffle=True, random_state=seed).split(np.zeros(len(targets)), targets))
