"""``groktimizer report``: a store as one HTML file."""

import argparse
from pathlib import Path

from groktimizer.cli.lines import line
from groktimizer.ground.errors import UserError
from groktimizer.results import make_directory, query, write_bytes

ENDING = ".html"


def report(arguments: argparse.Namespace) -> int:
    """Do ``groktimizer report``.

    Args:
        arguments: From the parser.

    Returns:
        0.

    Raises:
        UserError: If the store has nothing that agrees with the filters.
    """
    store = query.check_readable(arguments.store)
    page: Path = arguments.page or arguments.store / f"report{ENDING}"
    if page.suffix != ENDING:
        raise UserError(f"--page {page}: expected a file that ends with {ENDING}")
    make_directory(page.parent)
    found = query.select(query.table_of(store), arguments.filters)
    if not len(found):
        raise UserError(f"{arguments.store}: no records{' that agree with the filters' if arguments.filters else ''}")
    from groktimizer.report.document import document

    records = [store.load(name) for name in found["identity"].to_list()]
    title = arguments.title or f"Report of {arguments.store.name or arguments.store}"
    write_bytes(page, document(records, title, len(query.quarantined(store))))
    line(f"{len(records):,} records, {page.stat().st_size / 1e6:.1f} MB: {page}")
    return 0
