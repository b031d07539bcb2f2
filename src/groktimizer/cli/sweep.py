"""``groktimizer sweep``: many cells, planned, computed side by side, recorded."""

import argparse
import shlex
from typing import Any

from groktimizer.cli.files import check_json, write_result
from groktimizer.cli.lines import line
from groktimizer.cli.progress import Count, duration
from groktimizer.ground.errors import UserError
from groktimizer.ground.extras import require
from groktimizer.results import Store
from groktimizer.sweeps import Result, default_workers, planned, run_sweep, warm_up

SHOWN = 10  # failures that are told one by one


def sweep(arguments: argparse.Namespace) -> int:
    """Do ``groktimizer sweep``; with ``--dry-run`` say what it costs instead.

    Args:
        arguments: From the parser.

    Returns:
        0; 1 if a cell failed.

    Raises:
        UserError: If options contradict each other.
    """
    require("pydantic", extra="lab")
    from groktimizer.sweeps.reader import read_sweep

    check_json(arguments.json)
    if arguments.executor == "local" and (arguments.ray_address or arguments.gpus):
        raise UserError("--ray-address, --gpus: expected --executor ray beside them")
    warm_up()
    wanted = read_sweep(arguments.spec, arguments.overrides)
    wanted.check_size(yes=arguments.yes)
    store, workers = Store(arguments.out), arguments.workers or default_workers()
    _, plan = planned(wanted, store, workers, yes=arguments.yes)
    missing = store.lacking(plan.identities)
    left = plan.left(missing) / workers
    line(f"{len(plan.identities):,} cells in {len(plan.units):,} units, {len(missing):,} to compute: "
         f"at most about {duration(left)} on {workers} process(es)")  # fmt: skip
    if arguments.dry_run:
        write_result(arguments.json, {"cells": len(plan.identities), "missing": len(missing), "seconds": left})
        return 0
    with Count() as count:
        result = run_sweep(
            wanted, store, plan, workers=workers, executor=_executor(arguments, workers), fresh=arguments.fresh,
            retry=arguments.retry_failed, checkpoint_every=arguments.checkpoint_every, on_event=count.show,
        )  # fmt: skip
    write_result(arguments.json, _content(arguments, result))
    _tell(result, store)
    return 1 if result.failures or result.lost else 0


def _executor(arguments: argparse.Namespace, workers: int) -> Any:
    if arguments.executor == "local":
        return None
    from groktimizer.sweeps.executors.cluster import Ray

    return Ray(arguments.ray_address or "local", workers, arguments.gpus)


def _content(arguments: argparse.Namespace, result: Result) -> dict[str, Any]:
    command = shlex.join(["groktimizer", *arguments.words])
    return {"command": command, "out": str(arguments.out), "cells": len(result.identities), **vars(result)}


def _tell(result: Result, store: Store) -> None:
    for what, failures in (("failed", result.failures), ("lost", result.lost)):
        for name, error in list(failures.items())[:SHOWN]:
            line(f"{what:<9} {name}: {error}")
        if len(failures) > SHOWN:
            line(f"{what:<9} {len(failures) - SHOWN:,} more")
    whole = len(result.identities) - len(result.failures) - len(result.lost)
    line(f"recorded  {whole:,} of {len(result.identities):,} cells, {result.recorded:,} of them before")
    if result.failures:
        line(f"failed    {len(result.failures):,} cells, kept as such: --retry-failed computes them again")
    if result.lost:
        line(f"lost      {len(result.lost):,} cells, whose processes died: the same command tries again")
    line(f"store     {store.directory}")
    line(f"time      {duration(result.seconds)}")
