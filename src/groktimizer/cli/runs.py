"""``groktimizer runs``: what a store holds."""

import argparse
import json
from collections.abc import Callable, Mapping

from groktimizer.cli.lines import Told, line
from groktimizer.results import Store, query
from groktimizer.results.identity import plain

SHOWN = ("identity", "kind", "task", "optimizer", "lr", "weight_decay", "seed", "status", "memorised", "settled")


def runs(arguments: argparse.Namespace) -> int:
    """Do ``groktimizer runs``.

    Args:
        arguments: From the parser.

    Returns:
        0.
    """
    return _ACTIONS[arguments.action](arguments)


def _listed(arguments: argparse.Namespace) -> int:
    store = query.check_readable(arguments.out)
    found = query.select(query.table_of(store), arguments.filters)
    shown = found if arguments.limit == 0 else found.head(arguments.limit)
    columns = shown.select([query.value_of(shown, key).alias(key) for key in SHOWN])
    told = Told(None)
    if len(shown):
        told.table([SHOWN, *(["-" if cell is None else _short(cell) for cell in row] for row in columns.iter_rows())])
    more = f"; the first {len(shown):,} are shown, --limit 0 shows all" if len(shown) < len(found) else ""
    told.say(f"{len(found):,} records{more}")
    if arguments.digest:
        digest = query.fingerprint(map(store.load, found["identity"].to_list()))
        told.say(f"digest {digest} of their results, wall-clock fields aside")
    if aside := query.quarantined(store):
        told.say(f"{len(aside):,} damaged file(s) in {aside[0].parent}: delete them when you have looked at them")
    return 0


def _short(cell: str) -> str:
    try:
        return cell if cell.isdecimal() else f"{float(cell):.6g}"
    except ValueError:
        return cell[:24]


def _shown(arguments: argparse.Namespace) -> int:
    record = query.check_readable(arguments.out).find(arguments.identity)
    parts = {key: getattr(record, key) for key in ("kind", "identity", "spec", "summary", "provenance")}
    arrays = {name: len(column) for name, column in record.history.items()}
    line(json.dumps(plain({**parts, "arrays": arrays}, nan=True), indent=2))
    return 0


def _exported(arguments: argparse.Namespace) -> int:
    store = query.check_readable(arguments.out)
    found = query.select(query.table_of(store), arguments.filters)
    query.export(found, arguments.to)
    line(f"{len(found):,} records in {arguments.to}")
    return 0


def _tidied(arguments: argparse.Namespace) -> int:
    query.check_readable(arguments.out)
    store = Store(arguments.out)
    fewer = store.tidy()
    states = [path for path in (store.directory / "checkpoints").glob("*.pt") if store.has(path.stem)]
    for path in states:
        path.unlink(missing_ok=True)
    line(f"{fewer:,} files fewer, {len(states):,} saved states of finished runs removed")
    return 0


_ACTIONS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "list": _listed,
    "show": _shown,
    "export": _exported,
    "gc": _tidied,
}
