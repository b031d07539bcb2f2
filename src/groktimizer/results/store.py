"""A directory of records: one Parquet file for each, named by its identity."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from groktimizer.results.files import StoreError, make_directory, write_bytes
from groktimizer.results.identity import plain
from groktimizer.results.record import RUN, UNREADABLE, DamagedRecord, Record, check_schema, read_head


class Store:
    """Records on disk, append-only: each is written once, whole or not at all, and read for ever.

    Args:
        directory: where the records go (`records/`) and the checkpoints of unfinished runs (`checkpoints/`).
        write: whether it is made if needed, and proved to be writable; records can be read without.

    Example:
        >>> import tempfile, numpy as np
        >>> store = Store(Path(tempfile.mkdtemp()))
        >>> path = store.save(Record({"seed": 1}, {"step": np.arange(3)}, {"status": "grokked"}, {}))
        >>> [record.summary["status"] for record in store.query(seed=1)]
        ['grokked']
    """

    def __init__(self, directory: Path | str, *, write: bool = True):
        """Make the directory if needed and prove that it can be written, unless it is only read."""
        self.directory = Path(directory)
        if write:
            make_directory(self.directory / "records")

    def path(self, identity: str) -> Path:
        """Where the record with this identity is or would be."""
        return self.directory / "records" / f"{identity}.parquet"

    def checkpoint(self, identity: str) -> Path:
        """Where the checkpoint of this run is or would be while the run is unfinished."""
        return make_directory(self.directory / "checkpoints") / f"{identity}.pt"

    def has(self, identity: str) -> bool:
        """Whether it is recorded."""
        return self.path(identity).exists()

    def load(self, identity: str) -> Record:
        """Read one record.

        Args:
            identity: the hash of its specification.

        Returns:
            The record.

        Raises:
            DamagedRecord: if it is not the one that its name says.
        """
        path = self.path(identity)
        record = read(path)
        if record.identity != identity:
            raise DamagedRecord(str(path), f"it holds {record.kind} {record.identity}")
        return record

    def find(self, start: str) -> Record:
        """Read the one record whose identity begins with a text.

        Args:
            start: an identity, or its first digits.

        Returns:
            The record.

        Raises:
            StoreError: if there is none, or more than one.
        """
        found = [path.stem for path in self._paths() if path.stem.startswith(start)]
        if len(found) != 1:
            told = f"{len(found)} records begin so: give more digits" if found else "no record begins so"
            raise StoreError(f"{start} in {self.directory / 'records'}: {told}")
        return self.load(found[0])

    def save(self, record: Record) -> Path:
        """Write one record, whole or not at all, and return its path."""
        path = self.path(record.identity)
        write_bytes(path, record.to_parquet())
        return path

    def query(self, kind: str | None = RUN, /, **filters: object) -> list[Record]:
        """Read the records whose specification agrees with every filter, sorted by identity.

        Args:
            kind: of the records, None for all.
            **filters: keys of the specification; a mapping compares only the keys it has
                (``optimizer={"name": "adamw"}``).

        Returns:
            The matching records.
        """
        wanted = plain(filters)
        return [
            self.load(path.stem)
            for path, found, spec in self._specs()
            if kind in {None, found} and _agrees(spec, wanted)
        ]

    def _paths(self) -> list[Path]:
        return sorted((self.directory / "records").glob("*.parquet"))

    def _specs(self) -> Iterator[tuple[Path, str, object]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        for path in self._paths():
            try:
                head = read_head(pq.read_schema(path))
            except (pa.ArrowException, *UNREADABLE) as error:
                raise DamagedRecord(str(path), error) from error
            yield path, check_schema(head, str(path)), head["spec"]


def read(path: Path) -> Record:
    """Read the record in a file.

    Args:
        path: the file, wherever it lies.

    Returns:
        The record.

    Raises:
        StoreError: if it cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read the record {path}: {error.strerror or error}; run it first") from error
    return Record.from_parquet(data, str(path))


def _agrees(spec: object, wanted: object) -> bool:
    """Whether `spec` has everything that `wanted` asks for."""
    if isinstance(wanted, Mapping):
        return isinstance(spec, Mapping) and all(
            key in spec and _agrees(spec[key], value) for key, value in wanted.items()
        )
    return spec == wanted
