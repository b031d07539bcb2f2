"""Commands of sweeps: their options."""

import argparse
from pathlib import Path
from typing import Any

from groktimizer.cli.words import OUT, whole

LIMIT = 20


def add_sweeps(commands: Any) -> None:
    """Add ``sweep``, ``runs`` and ``report``.

    Args:
        commands: The parser's commands.
    """
    _sweep(commands.add_parser("sweep", help="many runs, or exact clocks, over axes of settings; resumes"))
    _runs(commands.add_parser("runs", help="list, show, export and tidy what is recorded"))
    _report(commands.add_parser("report", help="what is recorded as one HTML file: tables, pictures, every run"))


def _sweep(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Compute every cell of a sweep that is not recorded yet. SPEC is a YAML file (docs/sweeps.md); KEY=VALUE "
        "overrides it: steps=500, seeds=1-10, lr=1e-3,1e-2. Killed or stopped, the same command goes on."
    )
    parser.allow_abbrev = False
    add = parser.add_argument
    add("spec", type=Path, metavar="SPEC", help="a YAML file")
    add("overrides", nargs="*", metavar="KEY=VALUE", help="a key of the file or of its `set`; commas make a list")
    add("--dry-run", action="store_true", help="say how many cells are missing and what they cost, from a few probes")
    add("--workers", type=whole(1), metavar="N", help="processes at a time (default: one per core)")
    add("--executor", choices=("local", "ray"), default="local", help="where cells are computed (default: local)")
    add("--ray-address", metavar="A", help="auto, local or HOST:PORT of a Ray cluster (default: local)")
    add("--gpus", type=float, default=0.0, metavar="X", help="of a Ray cluster: GPUs of a unit, such as 0.25")
    add("--checkpoint-every", type=whole(1), metavar="N", help="steps between saved states of a run (default: 500)")
    add("--out", type=Path, default=OUT, metavar="DIR", help="the store")
    add("--json", type=Path, metavar="FILE", help="write the outcome as JSON")
    add("--fresh", action="store_true", help="compute again what is recorded")
    add("--retry-failed", action="store_true", help="compute again what failed")
    add("--yes", action="store_true", help="more than ten million cells are meant")


def _runs(parser: argparse.ArgumentParser) -> None:
    parser.description = "What a store holds: runs, clocks, comparisons, figures, failures."
    parser.allow_abbrev = False
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    chosen = actions.add_parser("list", help="one line each")
    chosen.description = "One line each. FILTER: task=ridge, lr=1e-3, 'settled<500', kind=failure, spec.seed=3."
    _filters(chosen)
    chosen.add_argument("--limit", type=whole(0), default=LIMIT, metavar="N", help=f"lines (default: {LIMIT}; 0: all)")
    chosen.add_argument("--digest", action="store_true", help="a hash of the results, wall-clock fields aside")
    chosen = actions.add_parser("show", help="all about one")
    chosen.description = "All about one record, as JSON, without its arrays."
    chosen.add_argument("identity", metavar="ID", help="first digits of its identity")
    _out(chosen)
    chosen = actions.add_parser("export", help="a flat table for other programs")
    chosen.description = "One row a record, one column for every setting, time and cost."
    _filters(chosen)
    chosen.add_argument("--to", type=Path, required=True, metavar="FILE", help="CSV, Parquet or JSON, by its ending")
    chosen = actions.add_parser("gc", help="tidy a store")
    chosen.description = "Join small shards, drop what a later record replaces, remove saved states of finished runs."
    _out(chosen)


def _report(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write the runs and clocks of a store as one HTML file that needs no network: summary with intervals, maps "
        "over learning rate and weight decay, scaling laws, two-clock pictures, a table of all runs to sort and filter."
    )
    parser.allow_abbrev = False
    parser.add_argument("store", type=Path, metavar="DIR", help="the store: --out of a run, comparison or sweep")
    parser.add_argument("filters", nargs="*", metavar="FILTER", help="as in `groktimizer runs list`")
    parser.add_argument("--page", type=Path, metavar="FILE.html", help="where to (default: DIR/report.html)")
    parser.add_argument("--title", metavar="TEXT", help="of the page")


def _filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("filters", nargs="*", metavar="FILTER", help="key=value, !=, <, <=, >, >=; all have to agree")
    _out(parser)


def _out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="the store")
