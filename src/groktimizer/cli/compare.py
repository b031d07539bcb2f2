"""``groktimizer compare``: methods side by side, a table, a figure, a page."""

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from groktimizer import studies
from groktimizer.cli.compare_table import compare_table, publish
from groktimizer.cli.files import check_json
from groktimizer.cli.lines import line
from groktimizer.cli.progress import Bars, duration, plain_console
from groktimizer.cli.words import fresh_seeds
from groktimizer.ground.errors import UserError
from groktimizer.ground.own import file_name
from groktimizer.measures import FEWEST_SEEDS
from groktimizer.peers import Peer, takes_penalty, tunable
from groktimizer.results import COMPARISON, Record, Store, identity, make_directory, provenance
from groktimizer.sweeps import check_limits, split_options, warm_up
from groktimizer.tasks import find_task, make_task
from groktimizer.training.environment import resolve_device

QUICK_SEEDS, SEEDS = 2, FEWEST_SEEDS
QUICK_STEPS = 1_500
TUNED = ["adamw"]
SHORT = 8  # digits of a comparison's hash in the names of its files


@dataclass(frozen=True)
class Request:
    """A comparison as it was asked for, checked.

    Attributes:
        settings: tasks.
        methods: what is compared.
        protocol: seeds, budget, precision.
        tuned: optimizers that are tuned first.
        held: options that tuning leaves as they are.
        reference: label that verdicts refer to, None for the default.
    """

    settings: list[studies.Setting]
    methods: list[studies.Method]
    protocol: studies.Protocol
    tuned: list[str]
    held: dict[str, object]
    reference: str | None

    @property
    def spec(self) -> dict[str, Any]:
        """Everything that determines the comparison; equal requests have equal ones, however they are spelt."""
        rules, seed = self.protocol, self.protocol.seeds[0]
        tasks = [make_task(setting.task, setting.options).options() for setting in self.settings]
        runs = [
            [method.kind, rules.spec(setting, method.optimizer, method.options, seed, rules.steps).identity]
            for setting in self.settings
            for method in self.methods
        ]
        return {
            "rules": asdict(rules),
            "runs": runs,
            "tuned": [_grid(tunable(name)) for name in self.tuned],
            "held": self.held,
            "tasks": tasks,
            "reference": self.reference,
        }

    @property
    def identity(self) -> str:
        """Hash of the specification."""
        return identity(self.spec)


def compare(arguments: argparse.Namespace) -> int:
    """Do ``groktimizer compare``.

    What was measured is written before anything is drawn or printed, so that neither can lose it.

    Args:
        arguments: from the parser.

    Returns:
        0; 1 if a run failed.

    Raises:
        UserError: if something of the request is wrong; one line.
    """
    if arguments.task in studies.TABLES:
        return compare_table(arguments)
    if arguments.dry_run:
        raise UserError(f"--dry-run: expected with a table ({', '.join(studies.TABLES)}), not with one comparison")
    started = time.monotonic()
    request = requested(arguments)
    check_json(arguments.json)
    folder, name = _place(arguments, request)
    store = Store(arguments.out)
    make_directory(folder)
    with Bars() as bars:
        done = studies.compare(
            request.settings,
            request.methods,
            request.protocol,
            store,
            tuned=request.tuned,
            held=request.held,
            workers=arguments.workers,
            fresh=arguments.fresh,
            reference=request.reference,
            on_event=bars.sweep,
            on_stage=bars.say,
        )
    content: dict[str, Any] = {"identity": request.identity, "seconds": time.monotonic() - started, **done.content()}
    record, picture = _record(request, content, store, name, arguments.words), folder / f"{name}.png"
    return publish(arguments, content, record, store, picture, _tell)


def requested(arguments: argparse.Namespace) -> Request:
    """Turn the arguments of ``compare`` into a request; everything is checked, the limits of each run too.

    Args:
        arguments: from the parser.

    Returns:
        The request.
    """
    task, quick = arguments.task, arguments.quick
    names = _names(arguments)
    task_options, optimizer_options = split_options(task, names, arguments.set)
    text = arguments.settings
    if text is None:
        text = find_task(task).factory.settings if arguments.tune else ""
    longest = QUICK_STEPS if quick else studies.LONGEST
    protocol = studies.Protocol(
        seeds=arguments.seeds or fresh_seeds(QUICK_SEEDS if quick else SEEDS),
        steps=arguments.steps or min(longest, make_task(task).default_steps),
        every=arguments.every or ("log" if quick else None),
        precision=arguments.precision or studies.comparison_precision(task),
        threads=arguments.threads,
        device=arguments.device,
        compile=arguments.compile,
        cap=_cap(arguments),
    )
    tuned = _tuned(arguments)
    if tuned:
        protocol.check_fresh()
    resolve_device(protocol.device)
    settings = studies.parse_settings(task, text, task_options)
    penal = studies.penalty_options(names, arguments.penalty, arguments.weight)
    methods = [
        studies.parse_method(name, {**optimizer_options, **(penal if takes_penalty(name) else {})}) for name in names
    ]
    warm_up()
    check_limits(
        protocol.spec(setting, method.optimizer, method.options, seed, protocol.steps)
        for setting in settings
        for method in methods
        for seed in protocol.seeds
    )
    return Request(settings, methods, protocol, tuned, penal, arguments.reference)


def _tuned(arguments: argparse.Namespace) -> list[str]:
    """What is tuned: nothing without ``--tune``.

    Args:
        arguments: from the parser.

    Returns:
        Names of optimizers.

    Raises:
        UserError: if methods are named and ``--tune`` is not given, or none is named.
    """
    chosen = arguments.tune_methods
    if chosen is None:
        return TUNED * arguments.tune
    if not arguments.tune:
        raise UserError(f"--tune-methods {','.join(chosen)}: nothing is tuned without --tune; give both or neither")
    if not chosen:
        raise UserError("--tune-methods is empty: name at least one optimizer")
    return chosen


def _grid(peer: Peer) -> list[object]:
    """What decides how an optimizer is tuned."""
    return [peer.name, peer.digest, [dict(cell) for cell in (*peer.grid, *peer.penalised_grid)]]


def _place(arguments: argparse.Namespace, request: Request) -> tuple[Path, str]:
    """Folder of the page, and its name: given, or of this comparison alone, so that no other is written over it."""
    page = arguments.page or arguments.out
    if page.suffix == ".md" and not page.is_dir():
        return page.parent, page.stem
    marks = "-tuned" * arguments.tune + "-quick" * arguments.quick
    return page, f"compare-{file_name(arguments.task)}{marks}-{request.identity[:SHORT]}"


def _cap(arguments: argparse.Namespace) -> float | None:
    if arguments.cap != 0:
        return arguments.cap
    return studies.CAP if arguments.tune else None


def _names(arguments: argparse.Namespace) -> list[str]:
    if arguments.optimizers is not None:
        return arguments.optimizers
    return list(studies.default_methods(arguments.task, arguments.penalty, quick=arguments.quick))


def _record(request: Request, content: dict[str, Any], store: Store, name: str, words: list[str]) -> Record:
    """What is kept of a comparison: its tables, and the curves that are drawn."""
    from groktimizer.report import comparison, public

    groups = {
        panel["setting"]["name"]: {
            row["method"]["label"]: [None if run is None else store.load(run) for run in row["runs"]]
            for row in panel["rows"]
        }
        for panel in content["panels"]
    }
    protocol, task = content["protocol"], content["panels"][0]["setting"]["task"]
    only = f", {next(iter(groups))}" if len(groups) == 1 else ""
    frame = comparison.frame(groups, f"{task}{only}: {len(protocol['seeds'])} seeds each")
    command = public.command(["groktimizer", *words])
    kept = {"command": command, **content, "file": name, "frame": {"painter": "comparison", **frame.content()}}
    return Record.of(COMPARISON, request.spec, kept, provenance(request.protocol.threads))


def _tell(content: dict[str, Any], files: dict[str, Path | None]) -> None:
    from groktimizer.report import tables

    console = plain_console()
    split = tables.HEADERS.index("against the reference")
    for panel in content["panels"]:
        cells = tables.panel_cells(panel)
        title = f"{panel['setting']['task']}, {panel['setting']['name']} (reference: {panel['reference']})"
        console.print(_table(title, tables.HEADERS[:split], [row[:split] for row in cells]))
        labels = [[row["method"]["label"], *told[split:]] for row, told in zip(panel["rows"], cells, strict=True)]
        console.print(_table("", ("method", *tables.HEADERS[split:]), labels))
    for note in tables.notes(content):
        console.print(note, highlight=False, markup=False)
    for failure in tables.failures(content):
        line(f"failed: {failure}")
    for name, where in (*files.items(), ("time", duration(content["seconds"]))):
        line(f"{name:<8} {where}")


def _table(title: str, headers: tuple[str, ...], rows: list[list[str]]) -> Table:
    table = Table(title=title or None, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for header in headers:
        table.add_column(header, header_style="bold", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
