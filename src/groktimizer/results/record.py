"""One run as it is kept: what was asked, what happened step by step, the summary, and where it comes from."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from groktimizer.results.files import StoreError
from groktimizer.results.identity import identity, plain

SCHEMA = 1
KEY = b"groktimizer"
PARTS = ("spec", "summary", "provenance")
# What reading a Parquet file with changed bytes can raise, besides Arrow's own errors.
UNREADABLE = (OSError, KeyError, ValueError, OverflowError, RecursionError)


class DamagedRecord(StoreError):
    """A record's file cannot be read; the text says which and what to do about it."""

    def __init__(self, source: str, cause: Exception | str):
        """Name the file and shorten the cause to one line."""
        reason = " ".join(str(cause).split())[:120]
        super().__init__(f"damaged record {source} ({reason}): delete it, or run again with --fresh to replace it")


@dataclass(frozen=True, eq=False)
class Record:
    """A finished run.

    Attributes:
        spec: the canonical specification; the identity is its hash.
        history: one array per column, all of the same length, one entry per evaluation; `step` is among them.
        summary: times, status, steps, seconds, passes, memory (plain JSON content).
        provenance: versions, threads, commit, machine, time of creation.
    """

    spec: Mapping[str, Any]
    history: Mapping[str, np.ndarray]
    summary: Mapping[str, Any]
    provenance: Mapping[str, Any]

    @property
    def identity(self) -> str:
        """Hash of the specification."""
        return identity(self.spec)

    def to_parquet(self) -> bytes:
        """Write the record as one Parquet file: history as columns, the rest as JSON metadata."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        head = {"schema": SCHEMA, "spec": self.spec, "summary": self.summary, "provenance": self.provenance}
        head = {**head, "digest": digest(head, self.history)}
        text = json.dumps(plain(head, nan=True), allow_nan=False)
        table = pa.table({name: pa.array(column) for name, column in self.history.items()})
        sink = pa.BufferOutputStream()
        pq.write_table(table.replace_schema_metadata({KEY: text.encode()}), sink, write_page_checksum=True)
        return sink.getvalue().to_pybytes()

    @classmethod
    def from_parquet(cls, data: bytes, source: str) -> "Record":
        """Read a record back.

        Args:
            data: content of the file.
            source: its name, for the error's text.

        Returns:
            The record.

        Raises:
            DamagedRecord: if the content is damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True, pre_buffer=False)
            table = file.read(use_threads=False)  # a record is small: threads would cost more than they save
            head = json.loads((table.schema.metadata or {})[KEY])
        except (pa.ArrowException, *UNREADABLE) as error:
            raise DamagedRecord(source, error) from error
        check_schema(head, source)
        history = {name: table.column(name).to_numpy() for name in table.column_names}
        check_history(history, source)
        if digest(head, history) != head.get("digest"):
            raise DamagedRecord(source, "its content does not agree with its digest")
        return cls(head["spec"], history, head["summary"], head["provenance"])


def digest(head: Mapping[str, object], history: Mapping[str, np.ndarray]) -> str:
    """Hash the whole content of a record (SHA-256, hex); Parquet's own checksums leave its header out."""
    content = {key: value for key, value in head.items() if key != "digest"}
    total = hashlib.sha256(json.dumps(plain(content, nan=True), sort_keys=True).encode())
    for name, column in history.items():
        total.update(f"{name}/{column.dtype.str}/{column.shape}".encode())
        total.update(np.ascontiguousarray(column).tobytes())
    return total.hexdigest()


def check_schema(head: object, source: str) -> None:
    """Refuse a record written in another version of the format, or without its parts.

    Args:
        head: the JSON metadata of the file.
        source: the file's name, for the error's text.

    Raises:
        DamagedRecord: if the metadata are not what a record has.
        StoreError: if the version differs.
    """
    if not isinstance(head, dict):
        raise DamagedRecord(source, "its head is no mapping")
    found = head.get("schema")
    if found != SCHEMA:
        raise StoreError(
            f"record {source} has format version {found!r}, this groktimizer reads version {SCHEMA}:"
            " use the version that wrote it, or run again with --fresh to replace it"
        )
    for part in PARTS:
        if not isinstance(head.get(part), dict):
            raise DamagedRecord(source, f"its {part} is no mapping")


def check_history(history: Mapping[str, np.ndarray], source: str) -> None:
    """Refuse a history that is not a table of numbers over growing steps.

    Args:
        history: columns by name.
        source: the file's name, for the error's text.

    Raises:
        DamagedRecord: if it is not.
    """
    wrong = [name for name, column in history.items() if column.dtype.kind not in "biuf"]
    if wrong:
        raise DamagedRecord(source, f"its column {wrong[0]} holds no numbers")
    step = history.get("step", np.empty(0))
    if step.dtype.kind not in "iu" or len(step) == 0 or step[0] < 0 or (np.diff(step) <= 0).any():
        raise DamagedRecord(source, "its steps are not whole numbers that grow")
