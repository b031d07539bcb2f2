"""A directory of records: one Parquet file for each, named by its identity; of sweeps shards of many."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from groktimizer.results import shards
from groktimizer.results.files import StoreError, make_directory, write_bytes
from groktimizer.results.identity import plain
from groktimizer.results.record import RUN, UNREADABLE, DamagedRecord, Record, check_schema, read_head

SMALL, MOST = 256, 4096  # records: shards of fewer are joined, to at most so many


class Store:
    """Records on disk, append-only: each is written once, whole or not at all, and read for ever.

    Any number of processes may write, on a shared folder too: files get their names from what is in them, and are
    renamed into place.

    Args:
        directory: where the records go (`records/`, `shards/`) and the checkpoints of unfinished runs
            (`checkpoints/`).
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
        self._index: dict[str, Path] = {}
        self._made: dict[str, str] = {}
        self._known: set[Path] = set()
        self._open: shards.Shard | None = None
        if write:
            make_directory(self.directory / "records")

    @property
    def shards(self) -> Path:
        """Where shards are."""
        return self.directory / shards.FOLDER

    def path(self, identity: str) -> Path:
        """Where the record with this identity is or would be in a file of its own."""
        return self.directory / "records" / f"{identity}.parquet"

    def checkpoint(self, identity: str) -> Path:
        """Where the checkpoint of this run is or would be while the run is unfinished."""
        return make_directory(self.directory / "checkpoints") / f"{identity}.pt"

    def has(self, identity: str) -> bool:
        """Whether it is recorded."""
        return self.path(identity).exists() or identity in self._indexed(identity)

    def lacking(self, identities: Sequence[str]) -> set[str]:
        """Those of many that are not recorded; quicker than asking one by one."""
        self._index_shards()
        alone = {path.stem for path in self._paths()}
        return {name for name in identities if name not in alone and name not in self._index}

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
        if not path.exists() and identity in self._indexed(identity):
            return self._from_shard(identity)
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
        found = [name for name in self.identities() if name.startswith(start)]
        if len(found) != 1:
            told = f"{len(found)} records begin so: give more digits" if found else "no record begins so"
            raise StoreError(f"{start} in {self.directory / 'records'}: {told}")
        return self.load(found[0])

    def save(self, record: Record) -> Path:
        """Write one record, whole or not at all, and return its path."""
        path = self.path(record.identity)
        write_bytes(path, record.to_parquet())
        return path

    def save_all(self, records: Sequence[Record]) -> None:
        """Write many records as one shard, whole or not at all."""
        path = shards.write_shard(make_directory(self.shards), records)
        self._note(path, {record.identity: str(record.provenance.get("created", "")) for record in records})

    def identities(self) -> list[str]:
        """Everything that is recorded, sorted."""
        self._index_shards()
        return sorted({path.stem for path in self._paths()} | self._index.keys())

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
        alone = [path.stem for path, found, spec in self._specs() if kind in {None, found} and agrees(spec, wanted)]
        records = [self.load(name) for name in alone]
        for record in self._sharded():
            if kind in {None, record.kind} and record.identity not in alone and agrees(record.spec, wanted):
                records.append(record)
        return sorted(records, key=lambda record: record.identity)

    def tables(self, columns: Sequence[str]) -> Iterator[Any]:
        """Columns of all records, file by file, as Arrow tables of texts.

        Args:
            columns: Of `shards.COLUMNS`, without the arrays.

        Yields:
            A table of each shard, and one of the records in files of their own.
        """
        import pyarrow as pa

        rows = [shards.texts_of(self.load(path.stem)) for path in self._paths()]
        if rows:
            yield pa.table({name: [row[name] for row in rows] for name in columns})
        for path in self._shard_paths():
            try:
                yield shards.columns_of(path, columns)
            except FileNotFoundError:  # joined by another process
                continue
            except DamagedRecord as error:
                shards.put_aside(path, error.__cause__ or error)

    def check(self) -> None:
        """Read every shard whole; what is damaged is moved to `quarantine/` with a `shards.StoreWarning`."""
        for path in self._shard_paths():
            try:
                whole = shards.is_whole(path)
            except FileNotFoundError:  # joined by another process
                continue
            except OSError as error:
                shards.put_aside(path, error.strerror or error)
                continue
            if not whole:
                shards.put_aside(path, "its bytes are not those that were written")
        self._forget_shards()

    def tidy(self) -> int:
        """Join small shards, so that a store of many is read quickly.

        Returns:
            How many files fewer there are.
        """
        counts = {path: len(self._names(path)) for path in self._shard_paths()}
        small = [path for path, count in counts.items() if 0 < count < SMALL]
        before, batch, held = len(counts), list[Path](), 0
        if len(small) < 2:
            return 0
        for path in small:
            batch.append(path)
            held += counts[path]
            if held >= MOST:
                shards.joined(self.shards, batch)
                batch, held = [], 0
        if len(batch) > 1:
            shards.joined(self.shards, batch)
        self._forget_shards()
        return before - len(self._shard_paths())

    def _paths(self) -> list[Path]:
        return sorted((self.directory / "records").glob("*.parquet"))

    def _shard_paths(self) -> list[Path]:
        return sorted(self.shards.glob("[!.]*.parquet"))

    def _indexed(self, identity: str) -> Mapping[str, Path]:
        """Which record is in which shard; looked for on disk if it is not known."""
        if identity not in self._index:
            self._index_shards()
        return self._index

    def _index_shards(self) -> None:
        for path in self._shard_paths():
            if path not in self._known:
                self._note(path, self._names(path))

    def _note(self, path: Path, names: Mapping[str, str]) -> None:
        """Remember what is in a shard; of two records of one identity the later one counts."""
        self._known.add(path)
        for name, made in names.items():
            if name not in self._index or made >= self._made[name]:
                self._index[name], self._made[name] = path, made

    def _names(self, path: Path) -> Mapping[str, str]:
        try:
            return shards.names_in(path)
        except FileNotFoundError:  # joined by another process
            return {}
        except DamagedRecord as error:
            shards.put_aside(path, error.__cause__ or error)
            return {}

    def _forget_shards(self) -> None:
        self._index, self._made, self._known, self._open = {}, {}, set(), None

    def _from_shard(self, identity: str) -> Record:
        path = self._index[identity]
        if self._open is None or self._open.path != path:
            try:
                self._open = shards.Shard(path)
            except FileNotFoundError:  # joined by another process since
                self._forget_shards()
                self._index_shards()
                self._open = shards.Shard(self._index[identity])
        return self._open.load(identity)

    def _sharded(self) -> Iterator[Record]:
        self._index_shards()
        for name in sorted(self._index, key=lambda name: (self._index[name], name)):
            yield self._from_shard(name)

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


def agrees(spec: object, wanted: object) -> bool:
    """Whether a specification has everything that is asked for."""
    if isinstance(wanted, Mapping):
        return isinstance(spec, Mapping) and all(
            key in spec and agrees(spec[key], value) for key, value in wanted.items()
        )
    return spec == wanted
