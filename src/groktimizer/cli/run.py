"""``groktimizer run``: one task, one optimizer, one record, one picture."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from groktimizer.cli.files import check_json, write_result
from groktimizer.cli.lines import line
from groktimizer.cli.progress import Bars, duration
from groktimizer.results import Record, Store
from groktimizer.studies import penalty_options
from groktimizer.sweeps import RunSpec, check_limits, check_measure, make_spec, run_or_reuse, split_options

QUICK_STEPS = 1_000


def specify(arguments: argparse.Namespace) -> RunSpec:
    """Turn the arguments of ``run`` into a complete, checked specification."""
    task_options, optimizer_options = split_options(arguments.task, [arguments.optimizer], arguments.set)
    penal = penalty_options([arguments.optimizer], arguments.penalty, arguments.weight)
    return make_spec(
        arguments.task,
        arguments.optimizer,
        task_options=task_options,
        optimizer_options=optimizer_options | penal,
        seed=arguments.seed,
        steps=QUICK_STEPS if arguments.quick and arguments.steps is None else arguments.steps,
        every=arguments.every,
        precision=arguments.precision,
        threads=arguments.threads,
        device=arguments.device,
        compile=arguments.compile,
        measure=arguments.measure,
    )


def run(arguments: argparse.Namespace) -> int:
    """Do ``groktimizer run``.

    Args:
        arguments: from the parser.

    Returns:
        0.
    """
    spec = specify(arguments)
    check_limits([spec])
    check_measure(spec)
    check_json(arguments.json)
    store = Store(arguments.out)
    name = f"{spec.task}, {arguments.optimizer}, seed {spec.seed}"
    with Bars() as bars:
        record, reused = run_or_reuse(
            spec,
            store,
            fresh=arguments.fresh,
            checkpoint_every=arguments.checkpoint_every,
            on_event=lambda event: bars.run(name, event),
        )
    from groktimizer.report import pictures

    picture = pictures.draw(record, store.directory)
    write_result(arguments.json, _content(record, store, picture))
    _tell(record, store, picture, reused)
    return 0


def _content(record: Record, store: Store, picture: Path | None) -> dict[str, Any]:
    return {
        "command": "run",
        "identity": record.identity,
        "spec": record.spec,
        "summary": record.summary,
        "provenance": record.provenance,
        "history": dict(record.history),
        "record": str(store.path(record.identity)),
        "picture": str(picture),
    }


def _tell(record: Record, store: Store, picture: Path | None, reused: bool) -> None:
    summary, times = record.summary, record.summary["times"]

    def tell(name: str, text: object) -> None:
        line(f"{name:<12} {text}")

    tell("status", f"{summary['status']}: {summary['advice']}")
    for name in ("memorised", "generalised", "settled"):
        tell(name, "not" if times[name] is None else f"step {times[name]:,}" + _passes(record, times[name]))
    tell("in the end", _ends(record))
    tell("resolution", f"evaluated every {times['evaluated_every']:,} steps at most, over {summary['steps']:,} steps")
    if summary["optimizer_status"]:
        tell("optimizer", summary["optimizer_status"])
    for name, found in summary.get("measured", {}).items():
        tell(name, _flatness(found) if name == "flatness" else _measured(found))
    speed = f"{summary['passes']:,} passes, optimizer state {summary['state_bytes'] / 1e3:,.0f} kB"
    tell("cost", f"{duration(summary['seconds'])}, {speed}")
    if reused:
        tell("reused", f"recorded {record.provenance['created']}; --fresh runs it again")
    tell("record", store.path(record.identity))
    tell("picture", picture)


def _ends(record: Record) -> str:
    """Where training and test stand at the last step."""
    told: list[str] = []
    for part in ("train", "test"):
        named = [(name, record.history.get(f"{part}_{name}")) for name in ("accuracy", "error", "loss")]
        values = [(name, float(column[-1])) for name, column in named if column is not None]
        told += [
            f"{part} {name} {value:.1%}" if name == "accuracy" else f"{part} {name} {value:.3g}"
            for name, value in values
        ]
    return ", ".join(told)


def _passes(record: Record, step: int) -> str:
    """The passes up to a step, where they are not as many; records of before have no such column."""
    history = record.history
    known = [] if "passes" not in history else [int(n) for n in history["passes"][history["step"] == step]]
    return f", {known[0]:,} passes" if known and known[0] != step else ""


def _flatness(found: Mapping[str, Any]) -> str:
    """How sharp the trained network is, in words, or why that is not known."""
    if "reason" in found:
        return f"none: {found['reason']}"
    sharp = found["as_is"]
    told = f"largest curvature {sharp['largest']:.3g}, trace {sharp['trace']:.3g}, Fisher-Rao {sharp['fisher_rao']:.3g}"
    return f"{told}, relative {sharp['relative']:.3g}; noise leaves {found['kept']:.0%} of the answers"


def _measured(found: Mapping[str, Any]) -> str:
    """The norm gap in words, or why there is none."""
    if "reason" in found:
        return f"none: {found['reason']}"
    name, fits = found["penalty"], f"the loss is {found['loss']:.3g}, the level {found['level']:.3g}"
    return f"{found['gap']:.3f}: {name} norm {found['norm']:.4g}, least {found['least']:.4g} at the level; {fits}"
