"""``groktimizer list``: everything that has a name, with one line and its options."""

import argparse
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from groktimizer.cli.files import check_json, write_result
from groktimizer.cli.lines import line
from groktimizer.cli.words import KINDS, Parser


@dataclass(frozen=True)
class Entry:
    """One name.

    Attributes:
        name: It.
        summary: What it stands for, in one line.
        options: Its options with their defaults.
    """

    name: str
    summary: str
    options: Mapping[str, Any]


def listing(arguments: argparse.Namespace) -> int:
    """Do ``groktimizer list``.

    Args:
        arguments: From the parser.

    Returns:
        0.
    """
    check_json(arguments.json)
    found = {kind: _TABLES[kind]() for kind in ([arguments.kind] if arguments.kind else KINDS)}
    write_result(arguments.json, {"command": "list", **{kind: list(map(vars, found[kind])) for kind in found}})
    for kind, entries in found.items():
        line(kind)
        width = max((len(entry.name) for entry in entries), default=0)
        for entry in entries:
            line(f"  {entry.name:<{width}}  {entry.summary}")
            if entry.options:
                told = " ".join(f"{key}={value}" if value != "" else key for key, value in entry.options.items())
                line(f"  {'':<{width}}  {told}")
    return 0


def _tasks() -> list[Entry]:
    from groktimizer.ground.own import own_names
    from groktimizer.tasks import TASKS
    from groktimizer.tasks.registry import GROUP

    ours = [Entry(task.name, task.summary, task.defaults()) for task in TASKS.values()]
    return [*ours, *(Entry(name, "of an installed package", {}) for name in own_names(GROUP)), _own("a task")]


def _optimizers() -> list[Entry]:
    from groktimizer.ground.own import own_names
    from groktimizer.peers import PEERS, TUNED_SUFFIX
    from groktimizer.peers.registry import GROUP

    ours = [Entry(peer.name, peer.summary, peer.defaults) for peer in PEERS.values()]
    tuned = [
        Entry(peer.name + TUNED_SUFFIX, f"{peer.name} at the best cell of its grid on {peer.tuned_source}", peer.tuned)
        for peer in PEERS.values()
        if peer.tuned is not None
    ]
    theirs = [Entry(name, "of an installed package", {}) for name in own_names(GROUP)]
    return [*ours, *tuned, *theirs, _own("an optimizer")]


def _own(what: str) -> Entry:
    return Entry("module:Name", f"{what} of your own, in a file of the working directory (docs/add-your-own.md)", {})


def _penalties() -> list[Entry]:
    from groktimizer.penalties import PENALTIES

    found: list[Entry] = []
    for name, penalty in PENALTIES.items():
        options = {field.name: getattr(penalty, field.name) for field in fields(penalty)}  # pyright: ignore[reportArgumentType] (penalties are dataclasses)
        found.append(Entry(name, (inspect.getdoc(type(penalty)) or "").partition("\n")[0].replace("``", ""), options))
    return found


def _predictions() -> list[Entry]:
    from groktimizer.cli.clocks_parser import PREDICTIONS

    found: list[Entry] = []
    for name, (summary, add) in PREDICTIONS.items():
        parser = Parser(add_help=False)
        add(parser)
        found.append(
            Entry(name, summary, {action.option_strings[0]: str(action.default or "") for action in parser._actions})
        )  # pyright: ignore[reportPrivateUsage] (argparse has no other way)
    return found


def _studies() -> list[Entry]:
    from groktimizer.papers import PAPERS

    return [Entry(name, paper.reference, {"--figures": ",".join(paper.figures)}) for name, paper in PAPERS.items()]


def _data() -> list[Entry]:
    from groktimizer.data import TABLES

    return [Entry(t.name, f"{t.title}; {t.kind}, {t.rows} × {t.columns}", {}) for t in TABLES.values()]


_TABLES: Mapping[str, Callable[[], list[Entry]]] = dict(
    zip(KINDS, (_tasks, _optimizers, _penalties, _predictions, _studies, _data), strict=True)
)
