"""Shards: many records in one file, whole or put aside, and the table of all that a store holds."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from groktimizer.cli import main
from groktimizer.ground.errors import UserError
from groktimizer.results import FIT, Record, Store, StoreError, query, shards
from groktimizer.results.shards import StoreWarning


def record(seed: int, status: str = "grokked", created: str = "2026-01-01", **summary: object) -> Record:
    spec = {"task": {"name": "ridge", "options": {"n": 5}}, "seed": seed}
    content = {"times": {"settled": 10 * seed}, "status": status, "curve": np.arange(seed + 1) / 3, **summary}
    return Record.of(FIT, spec, content, {"created": created})


def filled(folder: Path, count: int = 6, of: int = 2) -> Store:
    store = Store(folder)
    for start in range(0, count, of):
        store.save_all([record(seed) for seed in range(start, start + of)])
    return store


def same(a: Record, b: Record) -> None:
    assert (a.spec, a.kind, a.provenance, a.summary) == (b.spec, b.kind, b.provenance, b.summary)
    assert list(a.history) == list(b.history)
    for name, column in a.history.items():
        assert column.dtype == b.history[name].dtype
        np.testing.assert_array_equal(column, b.history[name])


def test_records_in_shards_are_records(tmp_path: Path):
    filled(tmp_path).save(record(9))
    store = Store(tmp_path, write=False)
    for seed in (0, 1, 5, 9):
        assert store.has(record(seed).identity)
        same(store.load(record(seed).identity), record(seed))
    assert not store.has(record(7).identity)
    assert store.lacking([record(seed).identity for seed in (1, 7, 9)]) == {record(7).identity}
    assert [found.spec["seed"] for found in store.query(None, seed=5)] == [5]
    assert len(store.query(None)) == len(store.identities()) == 7
    same(store.find(record(3).identity[:12]), record(3))


def test_a_run_in_a_shard_is_read_as_it_was(tmp_path: Path):
    history = {"step": np.arange(3), "train_loss": np.array([1.0, np.nan, 0.1])}
    run = Record({"seed": 1}, history, {"status": "grokked"}, {})
    Store(tmp_path).save_all([run])
    same(Store(tmp_path).load(run.identity), run)


def test_equal_records_give_one_file_and_another_process_sees_it(tmp_path: Path):
    reader, writer = Store(tmp_path), Store(tmp_path)
    assert not reader.has(record(1).identity)
    writer.save_all([record(1), record(2)])
    Store(tmp_path).save_all([record(2), record(1)])
    assert len(list(writer.shards.glob("*"))) == 1
    assert reader.has(record(1).identity)


def test_of_two_records_of_one_identity_the_later_counts_before_and_after_joining(tmp_path: Path):
    store = Store(tmp_path)
    store.save_all([record(1, "later", "2026-02-02"), record(2)])
    store.save_all([record(1, "earlier", "2026-01-01"), record(3)])
    for _ in range(2):
        assert Store(tmp_path).load(record(1).identity).summary["status"] == "later"
        table = query.table_of(Store(tmp_path))
        assert len(table) == 3 and query.select(table, ["seed=1"])["created"].to_list() == ["2026-02-02"]
        Store(tmp_path).tidy()
    assert len(list(store.shards.glob("*"))) == 1


def test_joining_keeps_every_record_and_a_reader_that_looked_before(tmp_path: Path):
    store = filled(tmp_path, 12)
    other = Store(tmp_path)
    before = query.fingerprint(store.query(None))
    same(other.load(record(4).identity), record(4))
    assert store.tidy() == 5
    assert query.fingerprint(Store(tmp_path).query(None)) == before
    same(other.load(record(7).identity), record(7))
    assert store.tidy() == 0


@pytest.mark.parametrize("how", ["cut", "bit", "empty", "nonsense"])
def test_damaged_shards_are_put_aside_with_a_message(tmp_path: Path, how: str):
    store = filled(tmp_path)
    path = next(path for path in store.shards.glob("*") if record(2).identity in shards.names_in(path))
    data = path.read_bytes()
    middle = len(data) // 3
    changed = {
        "cut": data[: len(data) // 2],
        "bit": data[:middle] + bytes([data[middle] ^ 16]) + data[middle + 1 :],
        "empty": b"",
        "nonsense": b"x" * 100,
    }[how]
    path.write_bytes(changed)
    fresh = Store(tmp_path)
    with pytest.warns(StoreWarning, match=f"{path.name}.*moved to"):
        fresh.check()
    assert (tmp_path / "quarantine" / path.name).read_bytes() == changed
    assert fresh.lacking([record(seed).identity for seed in range(6)]) == {record(2).identity, record(3).identity}
    same(fresh.load(record(0).identity), record(0))


def test_damage_that_cannot_be_moved_is_told_and_left_out(tmp_path: Path):
    store = filled(tmp_path, 2)
    next(store.shards.glob("*")).write_bytes(b"x")
    (tmp_path / "quarantine").write_text("a file where the folder would be")
    with pytest.warns(StoreWarning, match="left out"):
        assert not Store(tmp_path, write=False).has(record(1).identity)


def test_a_shard_of_another_version_is_named_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shards, "SCHEMA", 99)
    path = shards.write_shard(Store(tmp_path).directory, [record(1)])
    monkeypatch.undo()
    store = Store(tmp_path)
    store.shards.mkdir()
    path.rename(store.shards / path.name)
    with pytest.raises(StoreError, match="has format version 99"):
        store.has(record(1).identity)
    assert (store.shards / path.name).exists()


def test_a_shard_that_was_changed_by_hand_is_no_record(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    store = filled(tmp_path, 2)
    path = next(store.shards.glob("*"))
    table = pq.read_table(path)
    texts = [text.replace("grokked", "invented") for text in table.column("summary").to_pylist()]
    place = table.column_names.index("summary")
    pq.write_table(table.set_column(place, "summary", pa.array(texts)), path)
    with pytest.raises(StoreError, match="does not agree with its digest"):
        Store(tmp_path).load(record(1).identity)


def test_filters_compare_numbers_as_numbers_and_words_as_words(tmp_path: Path):
    store = filled(tmp_path)
    store.save_all([record(7, "diverged", lr=1e-3)])
    table = query.table_of(store)

    def seeds(*filters: str) -> list[int]:
        return sorted(json.loads(text)["seed"] for text in query.select(table, filters)["spec"].to_list())

    assert seeds("seed=3.0") == [3] and seeds("settled>=40") == [4, 5, 7]
    assert seeds("status=diverged") == [7] and seeds("status!=diverged", "seed<2") == [0, 1]
    assert seeds("task=ridge", "lr=0.001") == [7] and seeds("spec.task.options.n=5", "summary.times.settled<=10") == [
        0,
        1,
    ]
    assert seeds("kind=run") == [] and seeds("nothing=3") == []
    for wrong in ("seed", "=3", "status<a", "seed="):
        with pytest.raises(UserError, match="expected"):
            seeds(wrong)


@pytest.mark.parametrize("ending", ["csv", "parquet", "json"])
def test_an_export_holds_every_setting_and_time(tmp_path: Path, ending: str):
    import polars

    store, file = filled(tmp_path / "store"), tmp_path / f"x.{ending}"
    assert main(["runs", "export", "--out", str(tmp_path / "store"), "--to", str(file), "seed<3"]) == 0
    read = {"csv": polars.read_csv, "parquet": polars.read_parquet, "json": polars.read_json}[ending]
    frame = read(file).sort("spec.seed")
    assert frame["spec.seed"].to_list() == [0, 1, 2] and frame["summary.times.settled"].to_list() == [0, 10, 20]
    assert set(frame["spec.task.name"]) == {"ridge"} and len(store.identities()) == 6


def test_the_fingerprint_knows_results_from_wall_clocks():
    def of(*records: Record) -> str:
        return query.fingerprint(records)

    one = of(record(1, seconds=3.0), record(2))
    assert one == of(record(2), record(1, seconds=4.0)) == of(record(2, created="2027"), record(1, seconds=4.0))
    assert one != of(record(1, seconds=3.0)) and one != of(record(1, "lost", seconds=3.0), record(2))
    changed = record(2)
    other = Record(
        changed.spec, {name: column + 1e-12 for name, column in changed.history.items()}, changed.summary, {}, FIT
    )
    assert one != of(record(1, seconds=3.0), other)


def test_the_commands_list_show_and_tidy(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    filled(tmp_path, 6)
    (tmp_path / "checkpoints").mkdir()
    for name in (record(1).identity, "0" * 16):
        (tmp_path / "checkpoints" / f"{name}.pt").write_bytes(b"")
    out = ["--out", str(tmp_path)]
    assert main(["runs", "list", *out, "--limit", "2", "--digest"]) == 0
    told = capsys.readouterr().out
    assert "6 records; the first 2 are shown" in told and query.fingerprint(map(record, range(6))) in told
    assert main(["runs", "show", record(4).identity[:9], *out]) == 0
    assert json.loads(capsys.readouterr().out)["spec"]["seed"] == 4
    assert main(["runs", "gc", *out]) == 0
    assert "2 files fewer, 1 saved states" in capsys.readouterr().out
    assert [path.stem for path in (tmp_path / "checkpoints").glob("*")] == ["0" * 16]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list", "--out", "{}/none"], "no store"),
        (["show", "abc", "--out", "{}"], "no record begins so"),
        (["export", "--to", "x.xls", "--out", "{}"], "--to x.xls: expected a file that ends with"),
        (["list", "seed", "--out", "{}"], "'seed': expected key=value"),
    ],
)
def test_what_cannot_be_done_with_a_store_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
):
    filled(tmp_path, 2)
    assert main(["runs", *[word.format(tmp_path) for word in words]]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_an_empty_store_lists_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    Store(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["runs", "list", "--out", str(tmp_path), "--digest"]) == 0
    assert "0 records" in capsys.readouterr().out
