"""The words of a command line: the parser that complains in one line, and the readers of single values."""

import argparse
import sys
from pathlib import Path
from typing import Any, Literal, NoReturn

from typing_extensions import override

OUT = Path("groktimizer-results")
KINDS = ("tasks", "optimizers", "penalties", "predictions", "studies", "data")  # what `groktimizer list` lists
MOST_SEEDS, MOST_DIGITS = 1_000, 18
LONGEST_TEXT = 60  # characters of a wrong value that a complaint repeats


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line, without the usage."""

    @override
    def error(self, message: str) -> NoReturn:
        """Print one line and exit with 2."""
        print(f"{self.prog}: error: {message}", file=sys.stderr)
        raise SystemExit(2)

    @override
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
    return chosen if len(chosen) > 1 else fresh_seeds(many)


def fresh_seeds(many: int) -> list[int]:
    """Seeds to report on, none of which tuning uses."""
    return [101 + k for k in range(many)]


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
