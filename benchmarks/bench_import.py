"""What `from groktimizer import GROKtimizer` adds to `import torch`, in fresh interpreters."""

import statistics
import subprocess
import sys

from measuring import Ratio, Table
from pytest_benchmark.fixture import BenchmarkFixture

CODE = """
import sys, time
import torch
start = time.perf_counter()
from groktimizer import GROKtimizer
sys.stdout.write(str(time.perf_counter() - start))
"""


def added_seconds() -> float:
    """Seconds that the import takes once torch is there."""
    return float(subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout)


def test_import(benchmark: BenchmarkFixture, table: Table):
    added_seconds()  # compiles the bytecode
    seconds = [added_seconds() for _ in range(7)]
    benchmark.extra_info["added_seconds"] = seconds
    benchmark.pedantic(added_seconds, rounds=1)
    table.add(Ratio("import groktimizer after import torch", statistics.median(seconds), 0.15, "s"))
