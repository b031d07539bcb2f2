"""``groktimizer draw``: pictures, and the pages of comparisons, again from what is recorded."""

import argparse
from pathlib import Path

from groktimizer.cli.lines import line
from groktimizer.cli.words import OUT
from groktimizer.ground.errors import UserError
from groktimizer.results import Record, Store, make_directory, read


def draw(arguments: argparse.Namespace) -> int:
    """Do ``groktimizer draw``.

    Args:
        arguments: from the parser.

    Returns:
        0.
    """
    records, place = _records(arguments.record, arguments.out or OUT)
    folder = make_directory(arguments.out or place)
    from groktimizer.report import pictures

    for record, name in zip(records, pictures.names(records), strict=True):
        page = pictures.write_page(record, folder, name)
        picture = pictures.draw(record, folder, name)
        line(f"{record.kind} {record.identity}: {picture or 'has no picture'}{f', {page}' if page else ''}")
    return 0


def _records(name: str, out: Path) -> tuple[list[Record], Path]:
    """The records that are meant, and the directory that they lie in.

    Args:
        name: a directory with records, the file of one, or the first digits of an identity.
        out: where the last is looked for.

    Returns:
        The records and their directory.

    Raises:
        UserError: if the directory has none.
    """
    path = Path(name)
    if path.is_file():
        return [read(path)], path.parent.parent if path.parent.name == "records" else path.parent
    place = path if path.is_dir() else out
    if not any((place / folder).is_dir() for folder in ("records", "shards")):
        raise UserError(f"{place}: holds no records; name a directory that a command had as --out")
    store = Store(place, write=False)
    return (store.query(None) if path.is_dir() else [store.find(name)]), place
