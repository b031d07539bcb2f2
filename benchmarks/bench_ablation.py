"""What each part of the default does: taken out one at a time, on eight tasks and three small real sets.

`python benchmarks/bench_ablation.py STORE` keeps every run as a line of the file STORE, goes on where it was stopped,
prints how long it will still take, and at the end the page docs/results/ablation.md. GROKTIMIZER_BENCH_SEEDS sets the
number of seeds (default 6). A task counts steps until it has settled, two more the test accuracy after 1,000 steps (for
what settling does not show), a real set the norm gap after 1,000 steps (`bench_norm_gap`); every line compares with
the whole default on the same seeds.
"""

import json
import math
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import bench_norm_gap
import torch
from torch import nn

from groktimizer import GROKtimizer, param_groups
from groktimizer.measures import paired_bootstrap
from groktimizer.optim import constraint, detector, phase_two, settings, switch, updates
from groktimizer.tasks import make_task
from groktimizer.training import train

SEEDS = int(os.environ.get("GROKTIMIZER_BENCH_SEEDS", "6"))
FIRST_SEED = 201
Place: TypeAlias = tuple[str, dict[str, object], int]  # task, its options, steps
TASKS: Mapping[str, Place] = {
    "MLP, x + y, 50 %": ("modular-addition", {"p": 37, "train_fraction": 0.5}, 1_000),
    "MLP, x + y, 5 % wrong": ("modular-addition", {"p": 37, "train_fraction": 0.6, "wrong_labels": 0.05}, 1_000),
    "parity, cross-entropy": ("bit-parity", {}, 1_000),
    "parity, hinge": ("bit-parity", {"loss": "hinge"}, 1_000),
    "Gromov, squared error": (
        "modular-addition",
        {"p": 31, "train_fraction": 0.6, "model": "gromov", "width": 256, "loss": "mse"},
        1_000,
    ),
    "MNIST, init × 8, squared error": ("mnist", {"init_scale": 8.0, "loss": "mse", "n_train": 400, "width": 64}, 1_000),
}
ACCURACY: Mapping[str, Place] = {
    "MLP of 24 units, x + y, 20 % wrong": (
        "modular-addition",
        {"p": 37, "train_fraction": 0.6, "wrong_labels": 0.2, "width": 24},
        1_000,
    ),
    "CNN, BatchNorm, batches of 64, digits": (
        "digits",
        {"model": "cnn", "width": 8, "n_train": 300, "init_scale": 1.0, "batch_size": 64},
        1_000,
    ),
}
SETS = ("digits", "breast cancer", "srbct")


def momentum(value: float) -> None:
    """Heavy ball at one momentum throughout phase 2."""
    phase_two.critical_momentum = updates.critical_momentum = lambda *_: value


def rule(**changes: Any) -> None:
    """Change constants of the constraint and the guard in the adaptive metric."""
    constraint.RULES["adaptive"] = replace(constraint.RULES["adaptive"], **changes)


def never(owner: object, name: str) -> None:
    """Let a question be answered by no."""
    setattr(owner, name, lambda *_: False)


# What is changed, and options of the constructor.
PARTS: Mapping[str, tuple[Callable[[], None], dict[str, Any]]] = {
    "nothing": (lambda: None, {}),
    "the switch: phase 2 from the first step on": (lambda: None, {"interpolation": math.inf}),
    "the adaptive metric: Euclidean from the switch on": (lambda: None, {"metric": "euclidean"}),
    "the Euclidean finish": (lambda: never(settings.Settings, "finishes"), {}),
    "half the damping along the level": (lambda: setattr(phase_two, "ALONG", 1.0), {}),
    "the loss of zero weights (level, halving)": (lambda: never(switch, "inflated"), {}),
    "the halving of an inflated start": (lambda: setattr(switch, "LARGE", math.inf), {}),
    "the plateau": (lambda: setattr(detector, "HALF", 0.0), {}),
    "the cool-down": (lambda: rule(cooling=math.inf, noisy_cooling=math.inf), {}),
    "the guard": (lambda: None, {"guard": False}),
    "steps relative to a tensor's spread": (lambda: setattr(settings, "_scale", lambda _: 1.0), {}),
    "critical damping: damping ratio 0.5": (lambda: None, {"damping": 0.5}),
    "critical damping: damping ratio 2": (lambda: None, {"damping": 2.0}),
    "critical damping: momentum 0.9": (lambda: momentum(0.9), {}),
    "critical damping: momentum 0.99": (lambda: momentum(0.99), {}),
    "critical damping: momentum 0": (lambda: momentum(0.0), {}),
}


def measured(job: tuple[str, str, int]) -> tuple[str, str, int, float | None, str]:
    """One run, in a process of its own: what is changed there stays changed.

    Args:
        job: Part, task or set, seed.

    Returns:
        The job, and steps until it settled, the accuracy or the norm gap; None if it never settled or is not finite.
    """
    part, where, seed = job
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # a part that is taken out may be missed
    change, options = PARTS[part]
    if where in SETS:
        change()
        bench_norm_gap.GROKtimizer = lambda groups: GROKtimizer(groups, **options)
        gap = bench_norm_gap.run(where, seed, (1000,)).gaps[0]
        return *job, gap if math.isfinite(gap) else None, ""
    change()
    task, own, steps = {**TASKS, **ACCURACY}[where]

    def build(model: nn.Module) -> GROKtimizer:
        return GROKtimizer(param_groups(model), **options)

    if where in ACCURACY:
        run = train(make_task(task, own), build, seed=seed, steps=steps, every=steps)
        return *job, float(run.history["test_accuracy"][-1]), run.optimizer_status
    run = train(make_task(task, own), build, seed=seed, steps=steps)
    return *job, run.times.settled, run.optimizer_status


def jobs() -> Iterator[tuple[str, str, int]]:
    """All runs, seed by seed, so that a table that was stopped early has all rows."""
    for k in range(SEEDS):
        for where in (*TASKS, *ACCURACY, *SETS):
            for part in PARTS:
                yield part, where, k if where in SETS else FIRST_SEED + k


def told(part: str, where: str, known: Mapping[tuple[str, str, int], float | None]) -> str:
    """Median, successes, and the median difference to the whole default with its 95 % interval."""
    seeds = [seed for each, place, seed in known if (each, place) == (part, where)]
    seeds = [seed for seed in seeds if ("nothing", where, seed) in known]
    ours = [known[part, where, seed] for seed in seeds]
    finished = [value for value in ours if value is not None]
    digits = 0 if where in TASKS else 2
    middle = median(math.inf if value is None else value for value in ours)
    text = "–" if math.isinf(middle) else f"{middle:.{digits}f}"
    text += "" if len(finished) == len(ours) else f" [{len(finished)}/{len(ours)}]"
    if part == "nothing":
        return text
    apart = paired_bootstrap(ours, [known["nothing", where, seed] for seed in seeds])
    low, high = (f"{end:+.{digits}f}" if math.isfinite(end) else "∞" for end in (apart.low, apart.high))
    return f"{text} ({low} … {high})"


def page(known: Mapping[tuple[str, str, int], float | None], command: str) -> str:
    """The result page."""
    lines = ["# What each part of the default does", ""]
    lines += [
        f"{SEEDS} seeds a cell: the median of settled steps of 1,000, with the number of seeds that settled if not",
        "all did, or of the test accuracy or norm gap after 1,000; in parentheses the 95 % interval of the median",
        "difference to the whole default. A gap far below 1 is a network that has collapsed.",
        "",
    ]
    lines += [f"    {command}", ""]
    tables = (("Steps until settled", tuple(TASKS)), ("Test accuracy", tuple(ACCURACY)), ("Norm gap", SETS))
    for title, places in tables:
        lines += [f"## {title}", "", f"| taken out | {' | '.join(places)} |", "|---" * (len(places) + 1) + "|"]
        lines += [f"| {part} | {' | '.join(told(part, where, known) for where in places)} |" for part in PARTS]
        lines += [""]
    return "\n".join(lines)


def main(store: Path) -> None:
    """Run what is not in the store, and print the page."""
    known: dict[tuple[str, str, int], float | None] = {}
    for line in store.read_text().splitlines() if store.exists() else ():
        if not line.endswith("]"):
            continue  # half-written: it runs again
        part, where, seed, value, _ = json.loads(line)
        known[part, where, seed] = value
    waiting, began = [job for job in jobs() if job not in known], time.monotonic()
    processes = len(os.sched_getaffinity(0))
    for where, seed in {(where, seed) for _, where, seed in waiting if where in SETS}:
        bench_norm_gap.split(where, seed)  # of the whole rule, once for all processes to come
    with multiprocessing.get_context("fork").Pool(processes, maxtasksperchild=1) as pool, store.open("a") as file:
        file.write("\n" if store.stat().st_size else "")  # after a line that was cut off
        for count, found in enumerate(pool.imap_unordered(measured, waiting), 1):
            file.write(json.dumps(found) + "\n")
            file.flush()
            known[found[:3]] = found[3]
            left = (time.monotonic() - began) / count * (len(waiting) - count)
            sys.stderr.write(f"\r{count:,} of {len(waiting):,}, about {left / 60:.0f} min left ")
    sys.stdout.write(page(known, "python benchmarks/bench_ablation.py STORE"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
