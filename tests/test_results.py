"""Records: identity, exact round trip, and nothing half-written when something goes wrong."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groktimizer.results import (
    DamagedRecord,
    Record,
    Store,
    StoreError,
    identity,
    plain,
    provenance,
    write_bytes,
    write_json,
)
from groktimizer.results.record import KEY, PARTS, SCHEMA

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def record(seed: int = 0, **spec: object) -> Record:
    """Make a small record with every kind of content that a run has."""
    history = {
        "step": np.array([0, 5, 10]),
        "train_loss": np.array([4.5, np.nan, 1e-300]),
        "phase": np.array([1, 1, 2], dtype=np.int64),
    }
    summary = {"status": "grokked", "times": {"memorised": 5, "settled": None}, "seconds": 0.25, "peak": float("inf")}
    return Record({"task": {"name": "t", "options": {"p": 5}}, "seed": seed, **spec}, history, summary, provenance(1))


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_identity_survives_json_and_reordering(spec):
    """Equal content hashes equally, whatever the order of keys, and after a round trip through JSON."""
    again = json.loads(json.dumps(plain(spec)))
    assert identity(dict(reversed(spec.items()))) == identity(spec) == identity(again)


def test_numbers_have_one_spelling():
    """0.001 and 1e-3, 1 and 1.0 and numpy's are the same setting; different values are not; nor are 1 and true."""
    assert identity({"lr": 1e-3, "n": 1}) == identity({"n": np.float64(1.0), "lr": np.float64("0.001")})
    different = (1, 2, 1.5, True, "1", None, [1], {"a": 1}, float("inf"))
    assert len({identity({"x": x}) for x in different}) == len(different)


@pytest.mark.parametrize("bad", [{"a": float("nan")}, {"a": object()}, {1: 2}, {"a": {2: 1}}])
def test_identity_refuses_what_has_no_plain_form(bad):
    """A specification that could not be written down is refused."""
    with pytest.raises(ValueError, match="specification"):
        identity(bad)


def test_round_trip_is_exact(tmp_path):
    """Every number comes back bit for bit, with its type, and the metadata as plain JSON content."""
    store, kept = Store(tmp_path), record(lr=1e-3)
    store.save(kept)
    again = store.load(kept.identity)
    assert list(again.history) == list(kept.history)
    for name, column in kept.history.items():
        np.testing.assert_array_equal(again.history[name], column, strict=True)
    assert again.spec == plain(kept.spec)
    assert again.summary == plain(kept.summary)
    assert again.provenance == plain(kept.provenance)
    assert again.identity == kept.identity


def test_query_filters_on_nested_keys(tmp_path):
    """A filter compares the keys it names and ignores the others."""
    store = Store(tmp_path)
    for seed in range(3):
        store.save(record(seed))
    assert {r.spec["seed"] for r in store.query()} == {0, 1, 2}
    assert [r.spec["seed"] for r in store.query(seed=2.0, task={"options": {"p": 5}})] == [2]
    assert store.query(task={"name": "other"}) == store.query(missing=None) == []


def test_every_flipped_byte_is_noticed_or_harmless(tmp_path):
    """Damage never goes unnoticed: a changed byte gives the same record, or one clear line."""
    store, kept = Store(tmp_path), record()
    path = store.save(kept)
    data = path.read_bytes()
    noticed = 0
    for position in range(0, len(data), 7):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :])
        try:
            again = store.load(kept.identity)
        except StoreError as error:
            noticed += 1
            assert str(path) in str(error) and "\n" not in str(error)
            continue
        for name, column in again.history.items():
            np.testing.assert_array_equal(column, kept.history[name])
    assert noticed > len(data) // 14


@pytest.mark.parametrize("keep", [0, 4, 100, -10])
def test_truncated_record_is_one_line(tmp_path, keep):
    """A file cut off anywhere is reported by load and by query, with what to do."""
    store, kept = Store(tmp_path), record()
    path = store.save(kept)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DamagedRecord, match=r"damaged record .*--fresh"):
        store.load(kept.identity)
    with pytest.raises(DamagedRecord, match=r"damaged record .*--fresh"):
        store.query(seed=0)


def test_record_under_a_wrong_name_is_refused(tmp_path):
    """The name is the hash of the content: a copied or renamed file is not taken for another run."""
    store, kept = Store(tmp_path), record()
    store.save(kept).rename(store.path("0" * 16))
    with pytest.raises(DamagedRecord, match=kept.identity):
        store.load("0" * 16)


def test_other_version_is_refused(tmp_path, monkeypatch):
    """A record of another format version is refused by name, not misread."""
    store, kept = Store(tmp_path), record()
    monkeypatch.setattr("groktimizer.results.record.SCHEMA", SCHEMA + 1)
    store.save(kept)
    monkeypatch.undo()
    with pytest.raises(StoreError, match=f"version {SCHEMA + 1}.*version {SCHEMA}"):
        store.load(kept.identity)


HEADS = [
    *[b'"text"', b"[{}]", b"true", b"7", b"{}", b"nonsense", b'{"spec":' + b"[" * 90_000 + b"]" * 90_000 + b"}"],
    *[json.dumps({"schema": SCHEMA, **{key: {} for key in PARTS}, part: 3}).encode() for part in PARTS],
    *[json.dumps({"schema": version, "spec": {}}).encode() for version in ("x", None, 1.5, [1], SCHEMA + 9)],
]


@pytest.mark.parametrize("head", HEADS, ids=[head[:24].decode() for head in HEADS])
def test_a_head_that_is_none_is_one_line(head, tmp_path):
    """A whole Parquet file, with metadata that no record has."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    store, kept = Store(tmp_path), record()
    path = store.path(kept.identity)
    pq.write_table(pa.table({"step": [0, 1]}).replace_schema_metadata({KEY: head}), path)
    for read in (lambda: store.load(kept.identity), store.query):
        with pytest.raises(StoreError) as caught:
            read()
        assert str(path) in str(caught.value) and "--fresh" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("steps", [[0.0, 1.0], [3, 2], [5, 5], [-1, 0], [], ["0", "1"], None], ids=str)
def test_a_history_without_steps_is_one_line(steps, tmp_path):
    """The digest agrees, for it was written so; steps that are no growing whole numbers are refused all the same."""
    store = Store(tmp_path)
    history = {"loss": np.zeros(2)} if steps is None else {"step": np.array(steps)}
    kept = Record({"seed": 1}, history, {}, {})
    store.save(kept)
    with pytest.raises(DamagedRecord, match=r"steps are not whole numbers that grow|holds no numbers"):
        store.load(kept.identity)


FULL = """
import resource, signal, sys
from pathlib import Path
from groktimizer.results import StoreError, write_bytes
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
sys.dont_write_bytecode = True
try:
    write_bytes(Path(sys.argv[1]), b"x" * 5000)
except StoreError as error:
    print(error)
"""


def test_full_disk_loses_nothing(tmp_path):
    """When the file cannot grow (EFBIG, as ENOSPC) the old content stays and no fragment is left."""
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"cannot write {path}") and done.stdout.count("\n") == 1
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_json_is_plain(tmp_path):
    """JSON output has no extensions: not-a-number is null, infinity is text."""
    write_json(tmp_path / "x.json", {"a": np.array([1.0, np.nan]), "b": float("inf")})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": [1, None], "b": "inf"}


def test_unwritable_directories_are_one_line(tmp_path):
    """A directory that is a file, or lies under one, is refused with the argument to change."""
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match="--out"):
            Store(directory)
    with pytest.raises(StoreError, match="cannot write"):
        write_bytes(tmp_path / "missing" / "x", b"")


def test_provenance_names_versions_but_no_host():
    """Versions, threads and commit are recorded; the host and the user are not."""
    import getpass
    import platform

    facts: dict[str, Any] = provenance(1)
    text = json.dumps(plain(facts))
    assert facts["threads"] == 1 and "torch" in facts["versions"]
    assert facts["commit"] is None or set(facts["commit"]) <= set("0123456789abcdef")
    assert platform.node() not in text and f'"{getpass.getuser()}"' not in text


def made(content: dict[str, Any], **spec: object) -> Record:
    return Record.of("prediction", {"prediction": "x", **spec}, content, provenance(1))


def test_any_content_is_a_record_and_comes_back_with_its_arrays_in_their_places(tmp_path):
    """Arrays of any lengths and types, the same one twice, none at all; what is read is what was made."""
    x, y, held = np.arange(5), np.array([0.5, np.nan, np.inf]), np.array([True, False])
    runs = [{"x": x, "y": y}, {"x": x.copy(), "y": np.array([]), "z": held}]
    content = {"runs": runs, "m": {"a": (y, 1.0)}, "t": None}
    store, kept = Store(tmp_path), made(content)
    store.save(kept)
    again = store.load(kept.identity)
    assert (again.kind, again.spec, again.summary) == ("prediction", kept.spec, kept.summary)
    assert list(again.history) == ["runs/0/x", "runs/0/y", "runs/1/y", "runs/1/z"]
    for found in (kept.content, again.content):
        pairs = ((found["runs"][1]["x"], x), (found["m"]["a"][0], y), (found["runs"][0]["y"], y))
        for place, wanted in (*pairs, (found["runs"][1]["z"], held)):
            np.testing.assert_array_equal(place, wanted, strict=True)
        assert found["runs"][1]["y"].size == 0 and found["m"]["a"][1] == 1 and found["t"] is None
    bare = made({"words": ["a", "b"]}, other=1)
    store.save(bare)
    assert store.load(bare.identity).content == {"words": ["a", "b"]}


def test_what_is_asked_for_is_runs_unless_told_otherwise(tmp_path):
    store, run, other = Store(tmp_path), record(), made({"x": np.arange(2)}, seed=0)
    store.save(run)
    store.save(other)
    assert [r.identity for r in store.query(seed=0)] == [run.identity]
    assert [r.identity for r in store.query("prediction")] == [other.identity]
    assert {r.identity for r in store.query(None, seed=0)} == {run.identity, other.identity}


def test_a_record_is_found_by_the_first_digits_of_its_identity(tmp_path):
    store = Store(tmp_path)
    names = [store.save(record(seed)).stem for seed in range(20)]
    assert store.find(names[3]).spec["seed"] == store.find(names[3][:8]).spec["seed"] == 3
    for start, complaint in (("", "20 records begin so: give more digits"), ("x", "no record begins so")):
        with pytest.raises(StoreError, match=complaint):
            store.find(start)


@pytest.mark.parametrize(
    "change", [{"kind": "dream"}, {"kind": None}, {"kind": []}, {"summary": {"x": {"$array": "no"}}}]
)
def test_a_record_of_no_kind_or_without_an_array_is_damaged(tmp_path, change, monkeypatch):
    path = Store(tmp_path).path("0" * 16)
    kept = made({"x": np.arange(2)})
    path.write_bytes(Record(**{**vars(kept), **change}).to_parquet())
    with pytest.raises(DamagedRecord, match=r"kind is unknown|lacks an array"):
        Record.from_parquet(path.read_bytes(), "f")
