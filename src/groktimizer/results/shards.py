"""Shards: many records in one Parquet file, named by the hash of its bytes, so that any number of writers agree."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from groktimizer.ground.errors import warn
from groktimizer.results.files import StoreError, make_directory, write_bytes
from groktimizer.results.identity import identity, plain
from groktimizer.results.record import (
    PARTS,
    SCHEMA,
    UNREADABLE,
    DamagedRecord,
    Record,
    check_history,
    check_schema,
    digest,
    values_of,
)

FOLDER, ASIDE = "shards", "quarantine"
DIGITS = 32  # of a shard's name
KEY = b"groktimizer-shard"  # in its metadata: the version of the format of its records
COLUMNS = ("identity", "created", "kind", *PARTS, "digest", "arrays")


class StoreWarning(UserWarning):
    """Something in a store is not as it was written; the text says what was done about it."""


def write_shard(folder: Path, records: Sequence[Record]) -> Path:
    """Write records as one shard, whole or not at all.

    Args:
        folder: Where to.
        records: At least one.

    Returns:
        Its path. The same records give the same one.
    """
    import pyarrow as pa

    ordered = sorted(records, key=lambda record: record.identity)
    rows = [texts_of(record) | {"arrays": _packed(record.history)} for record in ordered]
    return _write(folder, pa.table({name: [row[name] for row in rows] for name in COLUMNS}))


def _write(folder: Path, table: Any) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    schema = table.replace_schema_metadata({KEY: str(SCHEMA).encode()})
    pq.write_table(schema, sink, compression="zstd", write_page_checksum=True)
    data = sink.getvalue().to_pybytes()
    path = folder / f"{_name(data)}.parquet"
    write_bytes(path, data)
    return path


def _name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:DIGITS]


def texts_of(record: Record) -> dict[str, Any]:
    """The columns of a record's row but for its arrays."""
    head = {"schema": SCHEMA, "kind": record.kind, **{part: getattr(record, part) for part in PARTS}}
    texts = {part: json.dumps(plain(head[part], nan=True), allow_nan=False) for part in PARTS}
    kept = {"digest": digest(head, record.history)}
    when = str(record.provenance.get("created", ""))
    return {"identity": record.identity, "created": when, "kind": record.kind, **texts, **kept}


def _packed(history: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as an Arrow stream of one row, each in a cell."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    cells = {name: pa.array([array], pa.list_(pa.from_numpy_dtype(array.dtype))) for name, array in history.items()}
    table = pa.table(cells)
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


def names_in(path: Path) -> dict[str, str]:
    """Identities of the records in a shard and when they were made, without reading the rest of it.

    Args:
        path: The shard.

    Returns:
        When each was made, by its identity.

    Raises:
        DamagedRecord: If it cannot be read.
        StoreError: If another version wrote it.
    """
    table = columns_of(path, ["identity", "created"])
    return dict(zip(*(table.column(place).to_pylist() for place in range(2)), strict=True))


def columns_of(path: Path, columns: Sequence[str]) -> Any:
    """Some columns of a shard, as an Arrow table.

    Args:
        path: The shard.
        columns: Of `COLUMNS`.

    Returns:
        The table.

    Raises:
        DamagedRecord: If it cannot be read.
        StoreError: If another version wrote it.
        FileNotFoundError: If it is not there any more.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False)
        version = (file.schema_arrow.metadata or {})[KEY].decode()
        table = file.read(list(columns), use_threads=False)
    except FileNotFoundError:
        raise FileNotFoundError(path) from None
    except (pa.ArrowException, *UNREADABLE) as error:
        raise DamagedRecord(str(path), error) from error
    if version != str(SCHEMA):
        raise StoreError(
            f"shard {path} has format version {version}, this groktimizer reads version {SCHEMA}: use the version that "
            "wrote it, or another directory"
        )
    if table.num_columns != len(columns):
        raise DamagedRecord(str(path), "it lacks a column")
    return table


class Shard:
    """A shard in memory, whose records are taken apart when they are asked for.

    Args:
        path: Where it is.

    Raises:
        DamagedRecord: If it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._table = columns_of(path, COLUMNS)
        self.places = {name: place for place, name in enumerate(self._table.column("identity").to_pylist())}

    def load(self, name: str) -> Record:
        """Take one record.

        Args:
            name: Its identity.

        Returns:
            The record.

        Raises:
            DamagedRecord: If it is not there as it was written.
        """
        if name not in self.places:
            raise DamagedRecord(str(self.path), f"it does not hold {name}")
        return _record(self._table.slice(self.places[name], 1).to_pylist()[0], f"{self.path} ({name})")


def _record(row: Mapping[str, Any], source: str) -> Record:
    import pyarrow as pa

    try:
        parts = {part: json.loads(row[part]) for part in PARTS}
        head: dict[str, Any] = {"schema": SCHEMA, "kind": row["kind"], **parts}
        table = pa.ipc.open_stream(row["arrays"]).read_all()
        history = {name: values_of(table.column(name)) for name in table.column_names}
    except (pa.ArrowException, TypeError, *UNREADABLE) as error:
        raise DamagedRecord(source, error) from error
    check_history(history, source, check_schema(head, source))
    if digest(head, history) != row["digest"] or identity(head["spec"]) != row["identity"]:
        raise DamagedRecord(source, "its content does not agree with its digest")
    return Record(head["spec"], history, head["summary"], head["provenance"], head["kind"])


def is_whole(path: Path) -> bool:
    """Whether the bytes of a shard are those that its name says."""
    return _name(path.read_bytes()) == path.stem


def put_aside(path: Path, reason: object) -> None:
    """Move a damaged shard out of the way, and say so.

    Args:
        path: The shard; what is not whole is kept, in a folder beside.
        reason: What is wrong with it.
    """
    folder = path.parent.parent / ASIDE
    try:
        path.replace(make_directory(folder) / path.name)
        done = f"moved to {folder}"
    except (OSError, StoreError):
        done = "it is left out"
    told = f"damaged shard {path} ({reason}): {done}; its runs are done again where they are asked for"
    warn(told, StoreWarning)


def joined(folder: Path, paths: Iterable[Path]) -> Path:
    """Join shards into one; the old ones go once the new one is on disk. Of two of one identity the later is kept.

    Args:
        folder: Where the shards are.
        paths: At least one.

    Returns:
        The new one.
    """
    import pyarrow as pa

    olds = list(paths)
    table = pa.concat_tables(columns_of(path, COLUMNS) for path in olds)
    names, made = (table.column(name).to_pylist() for name in ("identity", "created"))
    latest = {names[place]: place for place in sorted(range(len(names)), key=made.__getitem__)}
    new = _write(folder, table.take(pa.array([latest[name] for name in sorted(latest)], pa.int64())))
    for path in olds:
        if path != new:
            path.unlink(missing_ok=True)
    return new
