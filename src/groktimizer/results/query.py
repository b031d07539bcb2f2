"""All records of a store as one table: listing, filtering and exporting a hundred thousand of them."""

import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from groktimizer.ground.errors import UserError
from groktimizer.ground.extras import require
from groktimizer.results import shards
from groktimizer.results.files import StoreError, write_bytes
from groktimizer.results.identity import canonical_json, plain
from groktimizer.results.record import Record
from groktimizer.results.store import Store

COLUMNS = ("identity", "created", "kind", "spec", "summary")
# Where a short key is looked for, in turn.
PLACES = (
    ("spec", "{}.name"), ("spec", "{}"), ("spec", "optimizer.options.{}"), ("spec", "task.options.{}"),
    ("summary", "{}"), ("summary", "times.{}"),
)  # fmt: skip
FILTER = re.compile(r"([\w.-]+?)(<=|>=|!=|=|<|>)(.*)")
WALL = frozenset({"seconds", "cpu_seconds", "peak_memory_bytes", "resumed"})  # that two equal runs do not share
ENDINGS = (".csv", ".parquet", ".json")


def table_of(store: Store) -> Any:
    """Every record of a store, without its arrays.

    Args:
        store: It.

    Returns:
        A polars frame with the columns `COLUMNS`, spec and summary as JSON texts; of two records of one identity the
        later one.
    """
    polars = require("polars", extra="lab")
    parts = [polars.from_arrow(table) for table in store.tables(COLUMNS)]
    if not parts:
        return polars.DataFrame(schema=dict.fromkeys(COLUMNS, polars.String))
    whole = polars.concat(parts)
    return whole.sort("created", maintain_order=True).unique("identity", keep="last").sort("identity")


def value_of(table: Any, key: str) -> Any:
    """What a short key means in a record, as a text column.

    Args:
        table: From `table_of`.
        key: Such as "task", "lr", "seed", "settled", or a path such as "spec.task.options.p".

    Returns:
        A polars expression, null where a record has no such thing.
    """
    polars = require("polars", extra="lab")
    if key in {"identity", "kind", "created"}:
        return polars.col(key)
    root, dot, rest = key.partition(".")
    places = [(root, rest)] if dot and root in {"spec", "summary"} else [(c, way.format(key)) for c, way in PLACES]
    found = [polars.col(column).str.json_path_match(f"$.{way}") for column, way in places if _named(table, column, way)]
    return polars.coalesce(*found) if found else polars.lit(None, polars.String)


def _named(table: Any, column: str, way: str) -> bool:
    """Whether any text of a column has all the names of a path: to look for a name is cheaper than to read JSON."""
    return all(table[column].str.contains(f'"{name}"', literal=True).any() for name in way.split("."))


def select(table: Any, filters: Sequence[str]) -> Any:
    """Keep the records that agree with every filter.

    Args:
        table: From `table_of`.
        filters: ``key=value``, also with ``!=``, ``<``, ``<=``, ``>``, ``>=``; numbers are compared as numbers.

    Returns:
        The rows.

    Raises:
        UserError: If a filter is none.
    """
    polars = require("polars", extra="lab")
    for text in filters:
        found = FILTER.fullmatch(text)
        if found is None or not found[3]:
            raise UserError(f"{text!r}: expected key=value, such as task=ridge, lr=1e-3 or settled<500")
        key, sign, wanted = found.groups()
        column, number = value_of(table, key), _number(wanted)
        values = column.cast(polars.Float64, strict=False) if number is not None else column
        right = wanted if number is None else number
        if number is None and sign not in {"=", "!="}:
            raise UserError(f"{text!r}: {wanted!r} is no number; expected one after {sign}")
        keep = {"=": values == right, "!=": values != right, "<": values < right, "<=": values <= right,
                ">": values > right, ">=": values >= right}[sign]  # fmt: skip
        table = table.filter(keep.fill_null(False))
    return table


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def export(table: Any, path: Path) -> None:
    """Write records as a flat table: one row each, one column for every setting, time and cost.

    Args:
        table: From `table_of` or `select`.
        path: CSV, Parquet or JSON, by its ending.

    Raises:
        UserError: If the ending is another.
    """
    polars = require("polars", extra="lab")
    if path.suffix not in ENDINGS:
        raise UserError(f"--to {path}: expected a file that ends with {', '.join(ENDINGS)}")
    rows = [_flat(row) for row in table.iter_rows(named=True)]
    if path.suffix == ".json":
        write_bytes(path, json.dumps(rows, indent=1).encode() + b"\n")
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: _column([row.get(name) for row in rows]) for name in names}
    sink, frame = io.BytesIO(), polars.DataFrame(columns, strict=False)
    if path.suffix == ".csv":
        frame.write_csv(sink)
    else:
        frame.write_parquet(sink)
    write_bytes(path, sink.getvalue())


def _column(values: list[Any]) -> list[Any]:
    """Values of one type, as text where they are not."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float}:
        return [None if value is None else float(value) for value in values] if float in kinds else values
    return values if len(kinds) < 2 else [None if value is None else str(value) for value in values]


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: row[key] for key in ("identity", "created", "kind")}
    for part in ("spec", "summary"):
        found |= dict(_leaves(json.loads(row[part]), part))
    return found


def _leaves(content: Any, way: str) -> Iterable[tuple[str, Any]]:
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from _leaves(value, f"{way}.{key}")
    elif isinstance(content, list):
        yield way, json.dumps(content)
    else:
        yield way, content


def fingerprint(records: Iterable[Record]) -> str:
    """Hash results, wall-clock fields aside: equal for two stores that hold the same ones.

    Args:
        records: In any order.

    Returns:
        SHA-256, 16 hexadecimal digits.
    """
    found: list[str] = []
    for record in records:
        one = hashlib.sha256(canonical_json(record.spec).encode())
        one.update(json.dumps(plain(_timeless(record.summary), nan=True), sort_keys=True).encode())
        for name in sorted(set(record.history) - WALL):
            one.update(name.encode() + np.ascontiguousarray(record.history[name]).tobytes())
        found.append(one.hexdigest())
    return hashlib.sha256("".join(sorted(found)).encode()).hexdigest()[:16]


def _timeless(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _timeless(value) for key, value in content.items() if key not in WALL}
    return [_timeless(value) for value in content] if isinstance(content, list) else content


def quarantined(store: Store) -> list[Path]:
    """Damaged shards that were put aside."""
    return sorted((store.directory / shards.ASIDE).glob("*"))


def check_readable(directory: Path) -> Store:
    """Open a store for reading.

    Args:
        directory: Where it is.

    Returns:
        The store.

    Raises:
        StoreError: If there is none.
    """
    if not any((directory / name).is_dir() for name in ("records", shards.FOLDER)):
        raise StoreError(
            f"{directory}: no store (it has neither records/ nor {shards.FOLDER}/); expected --out of a run or sweep"
        )
    return Store(directory, write=False)
