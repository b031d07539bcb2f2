"""A directory of records: one Parquet file per run, named by the run's identity."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from groktimizer.results.files import StoreError, make_directory, write_bytes
from groktimizer.results.identity import plain
from groktimizer.results.record import KEY, UNREADABLE, DamagedRecord, Record, check_schema


class Store:
    """Records on disk, append-only: a run is written once, whole or not at all, and read for ever.

    Args:
        directory: where the records go (`records/`) and the checkpoints of unfinished runs (`checkpoints/`).

    Example:
        >>> import tempfile, numpy as np
        >>> store = Store(Path(tempfile.mkdtemp()))
        >>> path = store.save(Record({"seed": 1}, {"step": np.arange(3)}, {"status": "grokked"}, {}))
        >>> [record.summary["status"] for record in store.query(seed=1)]
        ['grokked']
    """

    def __init__(self, directory: Path | str):
        """Make the directory if needed and prove that it can be written."""
        self.directory = Path(directory)
        make_directory(self.directory / "records")

    def path(self, identity: str) -> Path:
        """Where the record with this identity is or would be."""
        return self.directory / "records" / f"{identity}.parquet"

    def checkpoint(self, identity: str) -> Path:
        """Where the checkpoint of this run is or would be while the run is unfinished."""
        return make_directory(self.directory / "checkpoints") / f"{identity}.pt"

    def has(self, identity: str) -> bool:
        """Whether the run is recorded."""
        return self.path(identity).exists()

    def load(self, identity: str) -> Record:
        """Read one record.

        Args:
            identity: the hash of its specification.

        Returns:
            The record.

        Raises:
            DamagedRecord: if it is not the run that its name says.
        """
        path = self.path(identity)
        record = Record.from_parquet(_read(path), str(path))
        if record.identity != identity:
            raise DamagedRecord(str(path), f"it holds run {record.identity}")
        return record

    def save(self, record: Record) -> Path:
        """Write one record, whole or not at all, and return its path."""
        path = self.path(record.identity)
        write_bytes(path, record.to_parquet())
        return path

    def query(self, **filters: object) -> list[Record]:
        """Read the records whose specification agrees with every filter, oldest name first.

        Args:
            **filters: keys of the specification; a mapping compares only the keys it has
                (``optimizer={"name": "adamw"}``).

        Returns:
            The matching records, sorted by identity.
        """
        wanted = plain(filters)
        return [self.load(path.stem) for path, spec in self._specs() if _agrees(spec, wanted)]

    def _specs(self) -> Iterator[tuple[Path, object]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        for path in sorted((self.directory / "records").glob("*.parquet")):
            try:
                head = json.loads((pq.read_schema(path).metadata or {})[KEY])
            except (pa.ArrowException, *UNREADABLE) as error:
                raise DamagedRecord(str(path), error) from error
            check_schema(head, str(path))
            yield path, head["spec"]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read the record {path}: {error.strerror or error}; run it first") from error


def _agrees(spec: object, wanted: object) -> bool:
    """Whether `spec` has everything that `wanted` asks for."""
    if isinstance(wanted, Mapping):
        return isinstance(spec, Mapping) and all(
            key in spec and _agrees(spec[key], value) for key, value in wanted.items()
        )
    return spec == wanted
