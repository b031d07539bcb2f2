"""What was computed as it is kept: what was asked, arrays, the summary, and where it comes from."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from groktimizer.results.arrays import pack, unpack
from groktimizer.results.files import StoreError
from groktimizer.results.identity import identity, plain

SCHEMA = 2
RUN, PREDICTION, COMPARISON, FIGURE, FIT, FAILURE = KINDS = (
    "run", "prediction", "comparison", "figure", "fit", "failure",
)  # fmt: skip
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
    """Something that was computed: a run, a prediction, a comparison, a figure of a paper, a fit of a benchmark.

    Attributes:
        spec: the canonical specification; the identity is its hash.
        history: arrays by name. A run has columns of one length, one entry per evaluation, `step` among them.
        summary: the result as plain JSON content: of a run times, status, steps, seconds, passes, memory; of anything
            else also what is drawn, with the names of its arrays in their places.
        provenance: versions, threads, commit, machine, time of creation.
        kind: one of `KINDS`.
    """

    spec: Mapping[str, Any]
    history: Mapping[str, np.ndarray]
    summary: Mapping[str, Any]
    provenance: Mapping[str, Any]
    kind: str = RUN

    @classmethod
    def of(
        cls, kind: str, spec: Mapping[str, Any], content: Mapping[str, object], provenance: Mapping[str, Any]
    ) -> "Record":
        """Make a record of nested content with arrays in it.

        Args:
            kind: one of `KINDS`.
            spec: what was asked; it says what sort of thing this is, so that no two sorts have one identity.
            content: the result, arrays where they belong.
            provenance: where it comes from.

        Returns:
            The record; what is read back from its file is equal to it.
        """
        summary, arrays = pack(content)
        return cls(spec, arrays, summary, provenance, kind)

    @property
    def content(self) -> dict[str, Any]:
        """The summary, with the arrays in their places."""
        return unpack(self.summary, self.history)

    @property
    def identity(self) -> str:
        """Hash of the specification."""
        return identity(self.spec)

    def to_parquet(self) -> bytes:
        """Write the record as one Parquet file: arrays as columns, the rest as JSON metadata.

        Returns:
            The file: of a run a table, one row per evaluation; of anything else one row with an array in each cell.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        head = {"schema": SCHEMA, "kind": self.kind, **{part: getattr(self, part) for part in PARTS}}
        head = {**head, "digest": digest(head, self.history)}
        text = json.dumps(plain(head, nan=True), allow_nan=False)
        cells = self.history if self.kind == RUN else {name: [array] for name, array in self.history.items()}
        table = pa.table({name: pa.array(column) for name, column in cells.items()})
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
            head = read_head(table.schema)
            history = {name: values_of(table.column(name)) for name in table.column_names}
        except (pa.ArrowException, *UNREADABLE) as error:
            raise DamagedRecord(source, error) from error
        kind = check_schema(head, source)
        check_history(history, source, kind)
        if digest(head, history) != head.get("digest"):
            raise DamagedRecord(source, "its content does not agree with its digest")
        try:
            unpack(head["summary"], history)
        except (KeyError, TypeError) as error:
            raise DamagedRecord(source, "it lacks an array") from error
        return cls(head["spec"], history, head["summary"], head["provenance"], kind)


def read_head(schema: Any) -> Any:
    """The JSON metadata in the schema of a record's file; raises what `UNREADABLE` lists where it has none."""
    return json.loads((schema.metadata or {})[KEY])


def values_of(column: Any) -> np.ndarray:
    """The array of a column: its rows, or what its only cell holds."""
    import pyarrow as pa

    return np.asarray(column.combine_chunks().flatten() if pa.types.is_list(column.type) else column)


def digest(head: Mapping[str, object], history: Mapping[str, np.ndarray]) -> str:
    """Hash the whole content of a record (SHA-256, hex); Parquet's own checksums leave its header out."""
    content = {key: value for key, value in head.items() if key != "digest"}
    total = hashlib.sha256(json.dumps(plain(content, nan=True), sort_keys=True).encode())
    for name, column in history.items():
        total.update(f"{name}/{column.dtype.str}/{column.shape}".encode())
        total.update(np.ascontiguousarray(column).tobytes())
    return total.hexdigest()


def check_schema(head: object, source: str) -> str:
    """Refuse a record written in another version of the format, or without its parts.

    Args:
        head: the JSON metadata of the file.
        source: the file's name, for the error's text.

    Returns:
        The kind of the record; in version 1 there were runs alone.

    Raises:
        DamagedRecord: if the metadata are not what a record has.
        StoreError: if the version is neither this one nor 1.
    """
    if not isinstance(head, dict):
        raise DamagedRecord(source, "its head is no mapping")
    found = head.get("schema")
    if found not in (1, SCHEMA) or isinstance(found, bool):
        raise StoreError(
            f"record {source} has format version {found!r}, this groktimizer reads up to version {SCHEMA}:"
            " use the version that wrote it, or run again with --fresh to replace it"
        )
    for part in PARTS:
        if not isinstance(head.get(part), dict):
            raise DamagedRecord(source, f"its {part} is no mapping")
    kind = RUN if found == 1 else head.get("kind")
    if kind not in KINDS:
        raise DamagedRecord(source, "its kind is unknown")
    return kind


def check_history(history: Mapping[str, np.ndarray], source: str, kind: str) -> None:
    """Refuse arrays that are no numbers, and of a run those that are no table over growing steps.

    Args:
        history: arrays by name.
        source: the file's name, for the error's text.
        kind: of the record.

    Raises:
        DamagedRecord: if it is not.
    """
    wrong = [name for name, column in history.items() if column.dtype.kind not in "biuf"]
    if wrong:
        raise DamagedRecord(source, f"its column {wrong[0]} holds no numbers")
    if kind != RUN:
        return
    step = history.get("step", np.empty(0))
    if step.dtype.kind not in "iu" or len(step) == 0 or step[0] < 0 or (np.diff(step) <= 0).any():
        raise DamagedRecord(source, "its steps are not whole numbers that grow")
