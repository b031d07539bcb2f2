"""What a comparison leaves behind: page, JSON, record and picture, and where they go."""

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from groktimizer.cli.files import write_result
from groktimizer.results import Record, Store


def placed(page: Path, usual: str, ending: str = ".md") -> tuple[Path, str]:
    """Read where a page goes.

    Args:
        page: A folder, or the page itself.
        usual: Name of the files where it is a folder.
        ending: Of a page.

    Returns:
        The folder, and the name of its files without their ending.
    """
    if page.suffix == ending and not page.is_dir():
        return page.parent, page.stem
    return page, usual


def publish(
    arguments: argparse.Namespace,
    content: dict[str, Any],
    record: Record,
    store: Store,
    picture: Path,
    tell: Callable[[dict[str, Any], dict[str, Path | None]], None],
) -> int:
    """Write what came out of comparisons: the page, the JSON, the record and the picture.

    Args:
        arguments: from the parser.
        content: of the record, without what belongs to its picture.
        record: kept before it is drawn.
        store: where it is kept.
        picture: the page stands beside it.
        tell: called with the content and the files, drawn or not.

    Returns:
        0; 1 if a run failed.
    """
    from groktimizer.report import pictures

    page = pictures.write_page(record, picture.parent)
    command = shlex.join(["groktimizer", *arguments.words])
    write_result(arguments.json, {"command": command, **content, "picture": str(picture)})
    store.save(record)
    try:
        pictures.draw(record, picture.parent)
    finally:
        tell(content, {"picture": picture, "table": page, "record": store.path(record.identity)})
    return 0 if not any(row["errors"] for panel in content.get("panels", ()) for row in panel["rows"]) else 1
