"""Pickled frames are read without pandas, and whatever else a pickle asks for is refused before it runs."""

import lzma
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from groktimizer.data.frames import read_frame
from groktimizer.data.tables import TABLES

NAMES = (
    ("pandas.core.frame", "DataFrame"),
    ("pandas.core.internals.managers", "BlockManager"),
    ("pandas._libs.internals", "_unpickle_block"),
    ("pandas.core.indexes.base", "_new_Index"),
    ("pandas.core.indexes.base", "Index"),
)
Freeze = Callable[..., bytes]


class Call:
    """Pickled as the call of a function, with a state set afterwards if there is one."""

    def __init__(self, function: Callable[..., object], arguments: tuple[object, ...], *state: object) -> None:
        self.parts = (function, arguments, *state)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.parts


@pytest.fixture
def freeze(monkeypatch: pytest.MonkeyPatch) -> Freeze:
    """Write what pandas 2 writes for blocks of columns, with empty classes under its names."""
    made = {name: type(name, (), {"__module__": module}) for module, name in NAMES}
    places = {module.rsplit(".", count)[0] for module, _ in NAMES for count in range(4)}
    for place in places:  # a module is imported after those it lies in
        monkeypatch.setitem(sys.modules, place, ModuleType(place))
    for module, name in NAMES:
        setattr(sys.modules[module], name, made[name])

    def write(names: list[str], blocks: list[tuple[np.ndarray, object]]) -> bytes:
        parts = tuple(Call(made["_unpickle_block"], (values, places, 2)) for values, places in blocks)
        axes = [Call(made["_new_Index"], (made["Index"], {"data": np.array(names, dtype=object), "name": None}))]
        manager = Call(made["BlockManager"], (parts, [*axes, *axes]))
        return lzma.compress(pickle.dumps(Call(made["DataFrame"], (), {"_mgr": manager}), protocol=5))

    return write


def test_columns_of_every_type_come_back_in_their_order(freeze: Freeze):
    reals, whole = np.array([[0.5, -1.0, 1e-20], [2.0, 3.0, 4.0]]), np.array([[1, 2, 3]])
    words = np.array([["PD", "control", "PD"]], dtype=object)
    blocks = [(np.asfortranarray(reals), slice(1, 5, 3)), (whole, slice(0, 1, 1)), (words, np.array([2]))]
    frame = read_frame(freeze(["rownames", "x", "class", "z", "y"], [*blocks, (whole * 7, np.array([3]))]))
    assert list(frame) == ["rownames", "x", "class", "z", "y"]
    assert frame["rownames"].tolist() == [1, 2, 3] and frame["z"].tolist() == [7, 14, 21]
    assert frame["x"].tolist() == reals[0].tolist() and frame["y"].tolist() == reals[1].tolist()
    assert frame["class"].tolist() == ["PD", "control", "PD"]


def test_what_is_no_table_is_refused_and_nothing_of_it_runs(tmp_path: Path):
    proof = tmp_path / "ran"
    for function, arguments in ((Path.touch, (proof,)), (eval, (f"open({str(proof)!r}, 'w')",))):
        with pytest.raises(ValueError, match=r"it asks for .* which no table needs"):
            read_frame(lzma.compress(pickle.dumps(Call(function, arguments))))
    assert not proof.exists()
    changed = b"\x80\x02cpandas.core.frame\nDataFrame\nN}X\x05\x00\x00\x00stateK*s\x86b."
    huge = b"\x80\x05\x96" + (1 << 62).to_bytes(8, "little") + b"."
    for crafted in (changed, huge):
        with pytest.raises(ValueError, match=r"it sets state of a class|not a pickled table"):
            read_frame(lzma.compress(crafted))
    whole = lzma.compress(pickle.dumps([1, 2]))
    for damaged in (b"", b"words", whole[:-9], whole, lzma.compress(b"."), lzma.compress(pickle.dumps(None)[:-1])):
        with pytest.raises(ValueError, match="not a pickled table"):
            read_frame(damaged)


def small(name: str, freeze: Freeze) -> tuple[bytes, np.ndarray, np.ndarray]:
    """Three samples of one of the tables: the file, and the inputs and targets that it should give."""
    x = np.arange(300.0).reshape(100, 3) ** 0.5
    rows, word = np.array([[1, 2, 3]]), np.array([["b", "b", "b"]], dtype=object)
    one, places = np.array([[4.0, 5.0, 6.0]]), slice(1, 101, 1)
    if name == "pd-speech":
        word[0, 1] = "PD"
        names = ["rownames", *map(str, range(100)), "class"]
        return freeze(names, [(rows, slice(0, 1)), (x, places), (word, slice(101, 102))]), x.T, np.array([0, 1, 0])
    if name == "ad-data":
        kinds = np.array([["E4E4", "E2E3", "E4E4"], ["Impaired", "Control", "Control"]], dtype=object)
        names = ["rownames", *map(str, range(100)), "Genotype", "Class"]
        inputs = np.column_stack([x.T, [[0, 1], [1, 0], [0, 1]]])
        return freeze(names, [(rows, slice(0, 1)), (x, places), (kinds, slice(101, 103))]), inputs, np.array([1, 0, 0])
    if name == "meats":
        names = ["rownames", *(f"x_{k:03d}" for k in range(1, 101)), "water", "fat", "protein"]
        rest = np.concatenate([one + 9, one, one - 1])
        return freeze(names, [(rows, slice(0, 1)), (x, places), (rest, slice(101, 104))]), x.T, one[0]
    names = ["rownames", *map(str, range(100)), "permeability"]
    return freeze(names, [(rows, slice(0, 1)), (x, places), (one, slice(101, 102))]), x.T, one[0]


@pytest.mark.parametrize("name", ["pd-speech", "ad-data", "meats", "permeability"])
def test_tables_of_frames_have_their_features_and_target(name: str, freeze: Freeze):
    file, inputs, targets = small(name, freeze)
    found = TABLES[name].read({"x": file})
    assert np.array_equal(found[0], inputs) and np.array_equal(found[1], targets)
