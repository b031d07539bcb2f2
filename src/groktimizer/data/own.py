"""The user's own tables: CSV, Parquet or NPZ, one column or array of which is the target."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from groktimizer.data.tables import Samples
from groktimizer.data.wheels import DAMAGE, DataError
from groktimizer.ground.checks import word
from groktimizer.ground.extras import require
from groktimizer.ground.names import lookup

Columns = dict[str, NDArray[np.generic]]


def read_table(path: str | Path, target: str) -> Samples:
    r"""Read a table of one's own.

    Args:
        path: ``.csv`` with a line of names, ``.parquet``, or ``.npz`` with arrays of n rows; an array with two axes is
            several columns.
        target: Name of the column to predict. Words and whole numbers are classes, numbered in sorted order; numbers
            with a fraction are a regression.

    Returns:
        Inputs, all other columns in the order of the file, and targets.

    Raises:
        DataError: If the file cannot be read, or a column is of another length, not of numbers, not finite or
            has gaps.
        UnknownName: If it has no such column.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "flowers.csv")
        ...     _ = path.write_text("petal,stem,kind\n1.5,2,rose\n0.5,3,iris\n")
        ...     inputs, targets = read_table(path, "kind")
        >>> inputs.tolist(), targets.tolist()
        ([[1.5, 2.0], [0.5, 3.0]], [1, 0])
    """
    path = Path(path)
    word("path's ending", path.suffix.lower(), READERS)
    try:
        columns = READERS[path.suffix.lower()](path)
    except DataError:
        raise
    except (OSError, ValueError, *DAMAGE) as error:
        raise DataError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
    wanted = lookup(f"column of {path}", target, columns)
    wanted = wanted[:, 0] if wanted.ndim == 2 and wanted.shape[1] == 1 else wanted
    gaps = [(name, row) for name, values in columns.items() if name != target for row in _empty(values)]
    if gaps:
        where = f"{len(gaps)} cells in {len({name for name, _ in gaps})} columns are empty or not-a-number"
        raise DataError(
            f"{path}: {where}, the first {gaps[0][0]} in row {gaps[0][1] + 1} below the head; expected a number in "
            "each: fill or drop them, or take the estimators in a Pipeline with SimpleImputer"
        )
    inputs = [_numbers(path, name, values) for name, values in columns.items() if name != target]
    lengths = {len(wanted), *map(len, inputs)}
    if len(lengths) > 1 or not inputs or not len(wanted) or wanted.ndim != 1:
        raise DataError(
            f"{path}: expected columns of one length, at least one beside {target!r}, got {sorted(lengths)}"
        )
    return Samples(torch.from_numpy(np.concatenate(inputs, axis=1)), _targets(path, target, wanted))


def _csv(path: Path) -> Columns:
    with open(path, newline="", encoding="utf-8-sig") as file:
        names, *rows = list(csv.reader(file)) or [[]]
    rows = [row for row in rows if row]
    if odd := [k for k, row in enumerate(rows) if len(row) != len(names)]:
        raise DataError(f"{path}: row {odd[0] + 1} has {len(rows[odd[0]])} cells, expected {len(names)} as in its head")
    if twice := [name for k, name in enumerate(names) if name in names[:k]]:
        raise DataError(f"{path}: has two columns {twice[0]!r}, expected names that differ")
    return {name: _typed([row[k] for row in rows]) for k, name in enumerate(names)}


def _typed(cells: Sequence[str]) -> NDArray[np.generic]:
    """The cells of a column as whole numbers, else as numbers, else as the words that they are."""
    for kind in (np.int64, np.float64):
        try:
            return np.array(cells).astype(kind)
        except ValueError:
            continue
    return np.array(cells)


def _parquet(path: Path) -> Columns:
    table = require("pyarrow.parquet", extra="lab").read_table(path)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def _npz(path: Path) -> Columns:
    with np.load(path, allow_pickle=False) as content:
        return {name: content[name] for name in content.files}


READERS = {".csv": _csv, ".parquet": _parquet, ".npz": _npz}


def _empty(values: NDArray[np.generic]) -> list[int]:
    """Rows without a value."""
    if values.dtype.kind == "f":
        return np.flatnonzero(np.isnan(values.astype(np.float64)).reshape(len(values), -1).any(1)).tolist()
    if values.dtype.kind not in "UO" or values.ndim != 1:
        return []
    return [k for k, cell in enumerate(values.tolist()) if cell is None or str(cell).strip().lower() in ("", "nan")]


def _numbers(path: Path, name: str, values: NDArray[np.generic]) -> NDArray[np.float64]:
    """A column, or several, as n × k finite numbers."""
    if values.dtype.kind not in "biuf" or values.ndim not in {1, 2} or not np.isfinite(values).all():
        odd = [(k, cell) for k, cell in enumerate(values.tolist()) if values.ndim == 1 and not _is_number(cell)]
        where = f" (row {odd[0][0] + 1} below the head: {odd[0][1]!r})" if odd else ""
        hint = ": encode it, or drop it if it only names the rows" * (values.dtype.kind in "UO")
        raise DataError(f"{path}: {name} is not a column of finite numbers{where}{hint}")
    return values.astype(np.float64).reshape(len(values), values[:1].size or 1)


def _check_words(path: Path, name: str, values: NDArray[np.generic]) -> None:
    """Refuse a column of words with empty cells, and one of numbers with a fraction and of some words."""
    words = ["" if value is None else str(value).strip() for value in values.tolist()]
    if "" in words:
        raise DataError(f"{path}: {name} is empty in row {words.index('') + 1}, expected a class or a number in each")
    numbers = [each for each in words if _is_number(each)]
    odd = [k for k, each in enumerate(words) if not _is_number(each)]
    if 0 < len(odd) < len(numbers) and not all(float(each).is_integer() for each in numbers):
        raise DataError(f"{path}: {name} has {words[odd[0]]!r} in row {odd[0] + 1} among numbers, expected one kind")


def _is_number(cell: str | float) -> bool:
    try:
        return bool(np.isfinite(float(cell)))
    except (TypeError, ValueError):
        return False


def _targets(path: Path, name: str, values: NDArray[np.generic]) -> torch.Tensor:
    if values.dtype.kind == "f":
        return torch.from_numpy(_numbers(path, name, values)[:, 0])
    if values.dtype.kind in "UO":
        _check_words(path, name, values)
    try:
        return torch.from_numpy(np.unique(values, return_inverse=True)[1].astype(np.int64))
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: {name} has cells that are empty or no classes ({error})") from error
