"""The data sets of a benchmark: how many rows of each are trained on, and how they are divided."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groktimizer.data import Rows, digest_of, is_file, rows_of
from groktimizer.data.own import READERS
from groktimizer.ground.checks import whole, word
from groktimizer.ground.errors import UserError
from groktimizer.ground.extras import require

Array = NDArray[Any]
SPLITS, IMAGES = 20, 10  # of a set; of one of images
FEWEST = 6  # rows to train on: three folds of two


@dataclass(frozen=True)
class DataSet:
    """A set of the benchmark.

    Attributes:
        name: As `data.rows_of` takes it.
        n_train: Different rows to train on; the others are the test part.
        splits: How many divisions.
        target: Of a file the column to predict.
        digest: Of a file's content.
    """

    name: str
    n_train: int
    splits: int = SPLITS
    target: str = ""
    digest: str = ""

    @property
    def label(self) -> str:
        """Its name in tables."""
        return Path(self.name).stem if is_file(self.name) else self.name

    def rows(self) -> Rows:
        """Read the set, all of its rows."""
        return rows_of(self.name, self.target)

    def split(self, number: int) -> tuple[Array, Array]:
        """Divide the rows.

        Args:
            number: Which of the divisions; it is the seed.

        Returns:
            Rows to train on and rows to test on.
        """
        return self.rows().divide(self.n_train, number)


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
        n_train: Different rows to train on; None is half of them, at most 100.

    Returns:
        The set, under the name of its file.

    Raises:
        UserError: If it cannot be read, or has too few rows, or too few of a class.
    """
    word("path's ending", file.suffix.lower(), READERS)
    rows = rows_of(str(file), target)
    if n_train is None and rows.different < 2 * FEWEST:
        raise UserError(f"{file}: {rows.different} different rows, expected at least {2 * FEWEST}")
    size = min(100, rows.different // 2) if n_train is None else n_train
    found = DataSet(str(file), whole("n_train", size, FEWEST), SPLITS, target, digest_of(file))
    found.split(0)  # refuses what cannot be divided
    return found


def folds(targets: Array, seed: int, count: int = 3) -> list[tuple[Array, Array]]:
    """Divide training rows into inner folds, the same for every method but the estimators, which make their own.

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
