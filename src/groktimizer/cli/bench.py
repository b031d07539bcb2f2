"""``groktimizer bench small-data``: estimators on tables with few rows; a page, a figure, JSON."""

import argparse
import time
from pathlib import Path
from typing import Any

from groktimizer.cli.files import check_json
from groktimizer.cli.lines import Told, line
from groktimizer.cli.progress import Bars, duration
from groktimizer.cli.publish import placed, publish
from groktimizer.ground.errors import UserError
from groktimizer.ground.extras import require
from groktimizer.ground.names import lookup
from groktimizer.results import COMPARISON, Record, Store, make_directory, provenance
from groktimizer.sweeps import default_workers

QUICK_SETS = ("breast-cancer", "diabetes", "digits")  # that are there without a network
QUICK_METHODS = ("linear-l2", "forest", "adam", "adamw-cv", "grok-l2", "grok-auto")
QUICK_SPLITS = 3


def bench(arguments: argparse.Namespace) -> int:
    """Do ``groktimizer bench``; with ``--dry-run`` say what it costs instead.

    Args:
        arguments: From the parser.

    Returns:
        0.
    """
    from groktimizer import benches

    for module, extra in (("sklearn", "sklearn"), ("scikit_posthocs", "bench")):
        require(module, extra=extra)
    began = time.monotonic()
    sets, methods = _sets(arguments), _methods(arguments)
    units = benches.units_of(sets, methods, arguments.splits or (QUICK_SPLITS if arguments.quick else None))
    check_json(arguments.json)
    store, workers = Store(arguments.out), arguments.workers or default_workers()
    folder, name = placed(arguments.page or arguments.out, _usual(arguments))
    make_directory(folder)
    for each in sets:
        each.rows()  # fetched once, before many processes ask for it
    with Bars() as bars:
        if arguments.dry_run:
            missing, seconds = benches.forecast(units, store, workers, bars.say)
            line(f"{missing:,} of {len(units):,} fits are missing: about {duration(seconds)} on {workers} process(es)")
            return 0
        content = benches.bench(units, store, workers=workers, fresh=arguments.fresh, say=bars.say)
    return _publish(
        arguments, {"seconds_in_all": time.monotonic() - began, **content}, units, store, folder / f"{name}.png"
    )


def _publish(arguments: argparse.Namespace, content: dict[str, Any], units: Any, store: Store, picture: Path) -> int:
    from groktimizer.report import public, small_data

    frame = small_data.frame(content, "Few rows: one untuned GROKtimizer among tuned methods")
    command = public.command(["groktimizer", *arguments.words])
    spec = {"bench": "small-data, all of it", "units": [unit.identity for unit in units]}
    kept = {"command": command, **content, "file": picture.stem, "frame": frame}

    def tell(content: dict[str, Any], files: dict[str, Path | None]) -> None:
        told = Told(None)
        heads, rows = small_data.scores_table(content)
        told.table([list(heads), *([cell.strip("*") for cell in row] for row in rows)])
        for sentence in small_data.sentences(content):
            line(sentence)
        for what, where in files.items():
            line(f"{what:<8} {where}")

    return publish(arguments, content, Record.of(COMPARISON, spec, kept, provenance(1)), store, picture, tell)


def _sets(arguments: argparse.Namespace) -> list[Any]:
    from groktimizer.benches import SETS, own_set

    if arguments.data is not None:
        if arguments.target is None or arguments.sets:
            raise UserError("--data: expected --target COLUMN beside it, and no --sets")
        return [own_set(arguments.data, arguments.target, arguments.n_train)]
    if arguments.target is not None or arguments.n_train is not None:
        raise UserError("--target and --n-train: expected --data FILE beside them")
    chosen = arguments.sets or (QUICK_SETS if arguments.quick else SETS)
    return [lookup("set", name, SETS) for name in dict.fromkeys(chosen)]


def _methods(arguments: argparse.Namespace) -> list[str]:
    from groktimizer.benches import METHODS

    chosen = arguments.methods or (QUICK_METHODS if arguments.quick else METHODS)
    for name in chosen:
        lookup("method", name, METHODS)
    return list(dict.fromkeys(chosen))


def _usual(arguments: argparse.Namespace) -> str:
    own = "" if arguments.data is None else f"-{arguments.data.stem}"
    return f"bench-small-data{own}" + "-quick" * arguments.quick
