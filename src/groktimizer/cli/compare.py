"""``groktimizer compare``: methods side by side, a table, a figure, a page."""

import argparse
import shlex
import time
from pathlib import Path
from typing import Any

from rich.table import Table

from groktimizer import studies
from groktimizer.cli.files import check_json, write_result
from groktimizer.cli.progress import Bars, duration, plain_console
from groktimizer.peers import takes_penalty
from groktimizer.results import Record, Store, make_directory, write_bytes, write_json
from groktimizer.sweeps import split_options, warm_up
from groktimizer.tasks import make_task

QUICK_SEEDS, SEEDS = [101, 102], [101, 102, 103]
QUICK_STEPS = 1_500


def compare(arguments: argparse.Namespace) -> int:
    """Do ``groktimizer compare``.

    Args:
        arguments: from the parser.

    Returns:
        0; 1 if a run failed.
    """
    started = time.monotonic()
    settings, methods, protocol = specify(arguments)
    tuned = arguments.tune_methods if arguments.tune else ()
    given = {"penalty": arguments.penalty, "weight_decay": arguments.weight}
    check_json(arguments.json)
    store = Store(arguments.out)
    page = make_directory(arguments.page or arguments.out)
    with Bars() as bars:
        done = studies.compare(
            settings,
            methods,
            protocol,
            store,
            tuned=tuned,
            held={name: text for name, text in given.items() if text is not None},
            workers=arguments.workers,
            fresh=arguments.fresh,
            reference=arguments.reference,
            on_event=bars.sweep,
            on_stage=bars.say,
        )
    content: dict[str, Any] = done.content()
    name = f"compare-{arguments.task}" + "-tuned" * arguments.tune + "-quick" * arguments.quick
    picture = _draw(content, store, page / f"{name}.png")
    content = {"command": _command(arguments), "seconds": time.monotonic() - started} | content
    _write_page(content, page, name, picture)
    write_result(arguments.json, {**content, "picture": str(picture)})
    _tell(content, picture, page / f"{name}.md")
    return 0 if not any(row["errors"] for panel in content["panels"] for row in panel["rows"]) else 1


def specify(
    arguments: argparse.Namespace,
) -> tuple[list[studies.Setting], list[studies.Method], studies.Protocol]:
    """Turn the arguments of ``compare`` into settings, methods and rules; everything is checked.

    Args:
        arguments: from the parser.

    Returns:
        Settings, methods and protocol.
    """
    task, quick = arguments.task, arguments.quick
    names = _names(arguments)
    task_options, optimizer_options = split_options(task, names, arguments.set)
    text = arguments.settings
    if text is None:
        text = studies.MODULAR_SETTINGS if arguments.tune and task.startswith("modular") else ""
    longest = QUICK_STEPS if quick else studies.LONGEST
    protocol = studies.Protocol(
        seeds=arguments.seeds or (QUICK_SEEDS if quick else SEEDS),
        steps=arguments.steps or min(longest, make_task(task).default_steps),
        every=arguments.every or ("log" if quick else None),
        precision=arguments.precision or studies.comparison_precision(task),
        threads=arguments.threads,
        device=arguments.device,
        compile=arguments.compile,
        cap=_cap(arguments),
    )
    settings = studies.parse_settings(task, text, task_options)
    penal = studies.penalty_options(names, arguments.penalty, arguments.weight)
    methods = [
        studies.parse_method(name, {**optimizer_options, **(penal if takes_penalty(name) else {})}) for name in names
    ]
    warm_up()
    for setting in settings:
        for method in methods:
            for seed in protocol.seeds:
                spec = protocol.spec(setting, method.optimizer, method.options, seed, protocol.steps)
                studies.check_limits(spec)
    return settings, methods, protocol


def _cap(arguments: argparse.Namespace) -> float | None:
    if arguments.cap != 0:
        return arguments.cap
    return studies.CAP if arguments.tune else None


def _names(arguments: argparse.Namespace) -> list[str]:
    if arguments.optimizers is not None:
        return arguments.optimizers
    return list(studies.default_methods(arguments.task, arguments.penalty, quick=arguments.quick))


def _command(arguments: argparse.Namespace) -> str:
    return shlex.join(["groktimizer", *arguments.words])


def _draw(content: dict[str, Any], store: Store, path: Path) -> Path:
    from groktimizer.report import comparison, style

    groups: dict[str, dict[str, list[Record]]] = {
        panel["setting"]["name"]: {
            row["method"]["label"]: [store.load(run) for run in row["runs"] if run is not None] for row in panel["rows"]
        }
        for panel in content["panels"]
    }
    protocol, task = content["protocol"], content["panels"][0]["setting"]["task"]
    only = f", {next(iter(groups))}" if len(groups) == 1 else ""
    title = f"{task}{only}: {len(protocol['seeds'])} seeds each"
    return style.save(comparison.plot(comparison.frame(groups, title)), path)


def _write_page(content: dict[str, Any], page: Path, name: str, picture: Path) -> None:
    from groktimizer.report import tables

    write_json(page / f"{name}.json", content)
    text = tables.comparison_page(content, picture.name, content["command"])
    write_bytes(page / f"{name}.md", text.encode())


def _tell(content: dict[str, Any], picture: Path, page: Path) -> None:
    from groktimizer.report import tables

    console = plain_console()
    split = tables.HEADERS.index("against the reference")
    for panel in content["panels"]:
        cells = [tables.row_cells(row) for row in panel["rows"]]
        title = f"{panel['setting']['task']}, {panel['setting']['name']} (reference: {panel['reference']})"
        console.print(_table(title, tables.HEADERS[:split], [row[:split] for row in cells]))
        labels = [[row["method"]["label"], *line[split:]] for row, line in zip(panel["rows"], cells, strict=True)]
        console.print(_table("", ("method", *tables.HEADERS[split:]), labels))
    for line in tables.notes(content):
        console.print(line, highlight=False, markup=False)
    for line in tables.failures(content):
        console.print(f"failed: {line}", highlight=False, markup=False, soft_wrap=True)
    for name, where in (("picture", picture), ("table", page), ("time", duration(content["seconds"]))):
        console.print(f"{name:<8} {where}", highlight=False, markup=False, soft_wrap=True)


def _table(title: str, headers: tuple[str, ...], rows: list[list[str]]) -> Table:
    table = Table(title=title or None, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for header in headers:
        table.add_column(header, header_style="bold", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
