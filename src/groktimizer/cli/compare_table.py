"""``groktimizer compare TABLE --tune``: one comparison after the other, a page with their summary, a figure."""

import argparse
import shlex
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from groktimizer import studies
from groktimizer.cli.files import check_json
from groktimizer.cli.lines import Told, line
from groktimizer.cli.progress import Bars, duration
from groktimizer.cli.publish import placed, publish
from groktimizer.ground.errors import UserError
from groktimizer.results import COMPARISON, Record, Store, make_directory, provenance
from groktimizer.sweeps import Outcome, RunSpec, default_workers, execute, warm_up

# What a table says itself; given on the command line it is refused.
FIXED = ("optimizers", "seeds", "tune_methods", "settings", "reference", "precision", "penalty", "weight", "steps",
         "every", "set", "cap", "compile")  # fmt: skip


def compare_table(arguments: argparse.Namespace) -> int:
    """Do ``groktimizer compare`` for a table of `studies.TABLES`; with ``--dry-run`` say what it costs instead.

    Args:
        arguments: from the parser.

    Returns:
        0; 1 if a run failed.
    """
    started = time.monotonic()
    entries = entries_of(arguments)
    rules = partial(studies.Entry.protocol, threads=arguments.threads, device=arguments.device)
    warm_up()
    spec = studies.check_entries(entries, rules)
    check_json(arguments.json)
    if arguments.dry_run:
        return _foretell(arguments, entries, rules)
    usual = f"compare-{arguments.task}" + "-quick" * arguments.quick
    folder, name = placed(arguments.page or arguments.out, usual)
    store = Store(arguments.out)
    make_directory(folder)
    with Bars() as bars:

        def run(specs: Sequence[RunSpec]) -> list[Outcome]:
            return execute(specs, store, workers=arguments.workers, fresh=arguments.fresh, on_event=bars.sweep)

        done = studies.compare_all(entries, rules, store, run, bars.say)
    content: dict[str, Any] = {"seconds": time.monotonic() - started, **done.content()}
    record = _record(arguments, spec, content, name)
    return publish(arguments, content, record, store, folder / f"{name}.png", _tell)


def entries_of(arguments: argparse.Namespace) -> tuple[studies.Entry, ...]:
    """The rows that are asked for.

    Args:
        arguments: from the parser.

    Returns:
        Rows of the table; with ``--quick`` few and short ones.

    Raises:
        UserError: without ``--tune``, or with an option that the table has fixed.
    """
    name = arguments.task
    given = [key for key in FIXED if getattr(arguments, key)]
    if given:
        raise UserError(f"--{given[0].replace('_', '-')}: the table {name!r} fixes it; expected without")
    if not arguments.tune:
        raise UserError(f"compare {name}: every row of this table is tuned; expected --tune, or --tune --dry-run first")
    entries = studies.TABLES[name]
    return studies.quick(entries) if arguments.quick else entries


def _record(arguments: argparse.Namespace, spec: dict[str, Any], content: dict[str, Any], name: str) -> Record:
    from groktimizer.report import public, standings

    frame = standings.frame(content, f"{arguments.task}: one untuned GROKtimizer, tuned peers")
    kept = {"command": public.command(["groktimizer", *arguments.words]), **content, "file": name, "frame": frame}
    return Record.of(COMPARISON, spec, kept, provenance(arguments.threads))


def _foretell(
    arguments: argparse.Namespace,
    entries: Sequence[studies.Entry],
    rules: Callable[[studies.Entry], studies.Protocol],
) -> int:
    """Say what the table costs."""
    workers = arguments.workers or default_workers()
    with Bars() as bars:
        found = studies.forecast(entries, rules, workers, bars.say)
    told = Told(arguments.json)
    rows = [
        [
            row.label,
            f"{row.runs:,}",
            str(row.cells),
            f"{row.ms:.1f}",
            _minutes(row.seconds, workers),
            _minutes(row.most, workers),
        ]
        for row in found
    ]
    expected, most = sum(row.seconds for row in found) / workers, sum(row.most for row in found) / workers
    told.table([["row", "runs", "cells", "ms a step", "minutes", "at most"], *rows])
    told.say(
        f"{sum(row.runs for row in found):,} runs on {workers} process(es): about {duration(expected)} if the best "
        f"methods settle when the table says so, at most {duration(most)} if nothing ever settles"
    )
    told.finish({"command": shlex.join(["groktimizer", *arguments.words]), "seconds": expected, "most": most,
                 "workers": workers, "rows": [vars(row) for row in found]})  # fmt: skip
    return 0


def _minutes(seconds: float, workers: int) -> str:
    return f"{seconds / workers / 60:.1f}"


def _tell(content: dict[str, Any], files: dict[str, Path | None]) -> None:
    from groktimizer.report import standings, tables

    told = Told(None)
    chosen = [0, 1, 2, 3, 4, 5, 6, 7]
    shown = [standings.HEADERS, *(standings.cells(row) for row in content["standings"])]
    told.table([[cells[place] for place in chosen] for cells in shown])
    for sentence in standings.tally(content):
        line(sentence)
    for failure in tables.failures(content):
        line(f"failed: {failure}")
    for name, where in (*files.items(), ("time", duration(content["seconds"]))):
        line(f"{name:<8} {where}")
