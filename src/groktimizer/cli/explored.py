"""What the kinds of ``explore`` have in common: the command of a result, read back and told again."""

import argparse
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from groktimizer.cli.clocks_parser import PREDICTIONS
from groktimizer.cli.parser import build_parser
from groktimizer.cli.predict_task import as_kind
from groktimizer.ground.errors import UserError

_LONGEST = 64 * 2**20  # bytes of a result that is read for its command
Page = tuple[Mapping[str, str], dict[str, Any], Sequence[str]]  # words, content, methods


def predicted(path: Path, kind: str) -> argparse.Namespace:
    """The arguments of the command whose result is in a file.

    Args:
        path: What ``predict --json`` wrote.
        kind: Of the page.

    Returns:
        The arguments, with "words".

    Raises:
        UserError: If it is no such file, or its command predicted something else.
    """
    accepted = f"accepted is what `groktimizer predict {kind} --json FILE` wrote"
    content = _json(path, accepted)
    command = content.get("command") if isinstance(content, dict) else None
    words = _split(command) if isinstance(command, str) else []
    if words[:2] != ["groktimizer", "predict"] or len(words) < 3:
        raise UserError(f"--from {path}: holds no command of predict; {accepted}")
    words = words[1:] if words[2] in PREDICTIONS else as_kind(words[1:])
    if words[1] != kind:
        raise UserError(f"--from {path}: its command is `predict {words[1]}`; {accepted}")
    arguments = build_parser().parse_args(words)
    arguments.words = words
    return arguments


def _json(path: Path, accepted: str) -> Any:
    try:
        size = path.stat().st_size
        if size > _LONGEST:
            raise UserError(f"--from {path}: {size:,} bytes, accepted are up to {_LONGEST:,}; {accepted}")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"--from {path}: {error.strerror}; {accepted}") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"--from {path}: no JSON; {accepted}") from error


def _split(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return []


def without(words: Sequence[str], options: Iterable[str]) -> list[str]:
    """A command line without some options, whether they stand alone, with ``=``, or behind ``--set``.

    >>> without(["predict", "ridge", "--lr=2", "--nu", "1", "--set", "n=5", "weight_decay=3"], ["lr", "weight-decay"])
    ['predict', 'ridge', '--nu', '1', '--set', 'n=5']

    Args:
        words: Its words.
        options: Names without dashes before them.

    Returns:
        The other words.
    """
    left_out = set(options)
    keys = {option.replace("-", "_") for option in left_out}
    kept: list[str] = []
    for option, values in _groups(words):
        name, equals, _ = option.removeprefix("--").partition("=")
        if option.startswith("--") and name in left_out:
            kept += values if equals else values[1:]
        elif option == "--set":
            pairs = [pair for pair in values if pair.partition("=")[0].strip().removeprefix("optimizer.") not in keys]
            kept += [option, *pairs] if pairs else []
        else:
            kept += [option, *values]
    return kept


def _groups(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Options, each with the words up to the next one; words before the first option stand alone."""
    group: list[str] = []
    for word in words:
        if group and (word.startswith("--") or not group[0].startswith("--")):
            yield group[0], group[1:]
            group = []
        group.append(word)
    if group:
        yield group[0], group[1:]


def command(words: Sequence[str], options: Iterable[str]) -> str:
    """The line of a command without the options that the page says itself."""
    return shlex.join(["groktimizer", *without(words, [*options, "out", "json"])])
