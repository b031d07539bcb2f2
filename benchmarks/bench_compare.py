"""Eight runs as `compare` makes them against the same eight one after the other, the way a plain script would.

`compare`: two processes of one thread each, in bf16 and, for the record, in fp32. The plain way: one process, PyTorch's
default threads, eager, fp32. All runs have the same steps and evaluations; a speed-up that changed what the runs show
would be none, so memorised and generalised stand beside it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measuring import Ratio, Table
from pytest_benchmark.fixture import BenchmarkFixture

from groktimizer.results import Store
from groktimizer.sweeps import RunSpec, execute, make_spec, plan, run_spec

STEPS = int(os.environ.get("GROKTIMIZER_BENCH_STEPS", "600"))
SEEDS = (0, 1, 2, 3)
WORKERS = 2
CLOCKS = ("memorised", "generalised")

Times = list[Mapping[str, Any]]


def specs(precision: str, threads: int | None) -> list[RunSpec]:
    """The eight runs: GROKtimizer untuned and AdamW at its reference cell, four seeds each."""
    runs = [
        make_spec("modular-addition", name, steps=STEPS, every=10, precision=precision, stop_on_settled=False)
        for name in ("groktimizer", "adamw-tuned")
    ]
    return [replace(spec, threads=threads) for spec in plan(runs, SEEDS)]


def side_by_side(precision: str) -> tuple[float, Times]:
    """Seconds and times of the runs on two single-thread workers, starting them included."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        outcomes = execute(specs(precision, 1), Store(Path(folder)), workers=WORKERS)
        seconds = time.perf_counter() - start
    records = [outcome.record for outcome in outcomes if outcome.record is not None]
    assert len(records) == len(outcomes), [outcome.error for outcome in outcomes]
    return seconds, [record.summary["times"] for record in records]


def one_after_the_other() -> tuple[float, Times]:
    """Seconds and times of the same runs in one fresh process with PyTorch's default threads."""
    out = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True).stdout
    seconds, times = json.loads(out)
    return seconds, times


def reached(times: Times, clock: str) -> tuple[int, float]:
    """How many runs got there, and the median step with the others counted as infinite."""
    steps = [np.inf if run[clock] is None else run[clock] for run in times]
    return int(np.isfinite(steps).sum()), float(np.median(steps))


@pytest.fixture(scope="module")
def plain_way() -> tuple[float, Times]:
    """The denominator, measured once."""
    return one_after_the_other()


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_compare(benchmark: BenchmarkFixture, table: Table, plain_way: tuple[float, Times], precision: str):
    seconds, times = benchmark.pedantic(side_by_side, args=(precision,), rounds=1)
    plain_seconds, plain_times = plain_way
    benchmark.extra_info.update(seconds=seconds, plain_seconds=plain_seconds)
    label = f"compare, 8 runs of {STEPS} steps, {WORKERS} workers, {precision}"
    table.add(Ratio(f"{label} ({seconds:.0f} s, not {plain_seconds:.0f})", plain_seconds / seconds, 3.0, at_least=True))
    for clock in CLOCKS:
        (count, median), (plain_count, plain_median) = reached(times, clock), reached(plain_times, clock)
        what = f"{precision}: {clock}, median step {median:g} (plainly {plain_median:g})"
        table.add(Ratio(what, count, plain_count, "runs", at_least=True))


if __name__ == "__main__":
    begin = time.perf_counter()
    found = [asdict(run_spec(spec).times) for spec in specs("fp32", None)]
    sys.stdout.write(json.dumps((time.perf_counter() - begin, found)))
