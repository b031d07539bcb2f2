"""Tables of the user's own: three formats read alike, and one line for each file that is none."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from groktimizer.data import DataError, read_table
from groktimizer.ground.errors import UserError

COLUMNS = {"a": np.array([1, 2, 3]), "kind": np.array(["x", "z", "y"]), "b": np.array([0.5, -1.0, 2.0])}


def written(folder: Path, ending: str, columns: dict[str, np.ndarray]) -> Path:
    path = folder / f"table{ending}"
    match ending:
        case ".csv":
            rows = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
            path.write_text("\n".join(rows) + "\n")
        case ".parquet":
            pq.write_table(pa.table(columns), path)
        case _:
            np.savez(path, **columns)  # pyright: ignore[reportArgumentType]
    return path


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".npz"])
def test_the_same_table_in_every_format(ending: str, tmp_path: Path):
    path = written(tmp_path, ending, COLUMNS)
    inputs, classes = read_table(path, "kind") if ending != ".parquet" else read_table(str(path), "kind")
    assert inputs.tolist() == [[1.0, 0.5], [2.0, -1.0], [3.0, 2.0]] and inputs.dtype == torch.float64
    assert classes.tolist() == [0, 2, 1] and classes.dtype == torch.int64
    numbers = written(tmp_path, ending, {name: COLUMNS[name] for name in "ab"})
    assert read_table(numbers, "b").targets.tolist() == [0.5, -1.0, 2.0]
    assert read_table(numbers, "a").targets.tolist() == [0, 1, 2]


def test_an_array_of_two_axes_is_several_columns(tmp_path: Path):
    path = written(tmp_path, ".npz", {"x": np.eye(3), "y": np.array([5, 9, 5])})
    inputs, targets = read_table(path, "y")
    assert torch.equal(inputs, torch.eye(3, dtype=torch.float64)) and targets.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a,y\n1,0\n2\n", "row 2 has 1 cells, expected 2"),
        ("a,y\n1,0\nnan,1\n", "1 cells in 1 columns are empty or not-a-number, the first a in row 2"),
        (
            "a,b,y\n1,,0\n,2,1\n3,3,1\n",
            "2 cells in 2 columns are empty or not-a-number, the first a in row 2 below the head; .* fill",
        ),
        ("a,y\n1,0\ninf,1\n", "a is not a column of finite numbers"),
        (
            "a,y\n1,0\nhigh,1\n",
            r"a is not a column of finite numbers \(row 2 below the head: 'high'\): encode it, or drop it",
        ),
        ("a,y\n1,0.5\n2,inf\n", r"y is not a column of finite numbers \(row 2 below the head: inf\)$"),
        ("a,y\n1,yes\n2,\n3,no\n", "y is empty in row 2, expected a class or a number in each"),
        ("a,y\n1,0.5\n2,1.5\n3,NA\n", "y has 'NA' in row 3 among numbers, expected one kind"),
        ("a,b\n1,0\n", "unknown column of .* 'y'"),
        ("y\n1\n", "at least one beside 'y'"),
        ("a,y\n", "expected columns of one length"),
        ("a,a,y\n1,2,0\n", "has two columns 'a'"),
        ("", "unknown column"),
    ],
)
def test_a_wrong_table_is_one_line(content: str, told: str, tmp_path: Path):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(UserError, match=told) as caught:
        read_table(tmp_path / "t.csv", "y")
    assert "\n" not in str(caught.value)


def test_what_is_no_table_is_one_line(tmp_path: Path):
    with pytest.raises(UserError, match=r"path's ending='.xls': expected .csv or .parquet or .npz"):
        read_table(tmp_path / "t.xls", "y")
    for ending in (".csv", ".parquet", ".npz"):
        with pytest.raises(DataError, match="cannot be read"):
            read_table(tmp_path / f"gone{ending}", "y")
        (tmp_path / f"t{ending}").write_bytes(b"\xff\x00garbage")
        with pytest.raises(DataError, match="cannot be read"):
            read_table(tmp_path / f"t{ending}", "y")
    column = written(tmp_path, ".npz", {"x": np.eye(3), "y": np.array([[0.5], [1.5], [2.5]])})
    assert read_table(column, "y").targets.tolist() == [0.5, 1.5, 2.5]
    uneven = written(tmp_path, ".npz", {"x": np.eye(3), "y": np.zeros(2)})
    with pytest.raises(DataError, match="columns of one length"):
        read_table(uneven, "y")


def test_classes_some_of_which_are_whole_numbers_are_classes(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_text("a,y\n" + "".join(f"{k},{k % 3 if k % 3 else '0+'}\n" for k in range(9)))
    assert read_table(path, "y").targets.tolist() == [0, 1, 2] * 3


def test_words_of_parquet_that_are_missing_are_one_line(tmp_path: Path):
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"a": [1, 2, 3], "y": ["x", None, "z"]}), path)
    with pytest.raises(DataError, match="y is empty in row 2"):
        read_table(path, "y")
