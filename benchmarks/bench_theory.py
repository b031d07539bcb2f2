"""The exact clocks against their targets: one problem, the plain loop, and a million features.

`pytest benchmarks/bench_theory.py -s` for the ordinary ones; the million features are marked slow (1.6 GB, a minute).
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
from measuring import Ratio, Table
from pytest_benchmark.fixture import BenchmarkFixture

from groktimizer.theory.ridge import Ridge

METHODS = (0.0, 0.9, "critical")
WIDE = """
import resource, time
import numpy as np
from groktimizer.theory.ridge import Ridge
rng = np.random.default_rng(0)
n, m = 200, 1_000_000
features = np.empty((n, m))
for row in features:
    rng.standard_normal(m, out=row)
    row /= m ** 0.5
theta0 = rng.standard_normal(m)
start = time.perf_counter()
problem = Ridge(features, np.zeros(m), 1 / m)
times = [problem.grokking_time(theta0, 1.0, 1e-4, 0.01, 0.01, method) for method in (0.0, 0.9, "critical")]
theta = problem.trajectory(theta0, 1.0, 1e-4).theta(times[0].generalised)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, times[0].generalised)
"""


def draw() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Figure 2 of arXiv 2601.19791: features, teacher, initial parameters."""
    rng = np.random.default_rng(0)
    features, teacher = rng.normal(size=(100, 1000)) / 1000**0.5, rng.normal(size=1000)
    return features, teacher / np.linalg.norm(teacher), rng.normal(size=1000)


def median_seconds(call: Callable[[], object], rounds: int = 7) -> float:
    """Median wall time of a call after one warm-up."""
    call()
    seconds: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def all_times(weight_decay: float) -> list[int | None]:
    """One factorisation and the four times of gradient descent, heavy ball and critical damping."""
    features, teacher, theta0 = draw()
    problem = Ridge(features, teacher, 1 / 1000)
    return [problem.grokking_time(theta0, 1.0, weight_decay, 0.01, 0.01, method).settled for method in METHODS]


def loop(steps: int) -> float:
    """The plain NumPy loop of gradient descent; population loss at the end."""
    features, teacher, theta0 = draw()
    targets, theta = features @ teacher, theta0.copy()
    for _ in range(steps):
        theta -= features.T @ (features @ theta - targets) / 100 + 1e-4 * theta
    return float(((theta - teacher) ** 2).sum() / 1000)


def test_one_problem(benchmark: BenchmarkFixture, table: Table):
    drawing = median_seconds(draw)
    seconds = median_seconds(lambda: all_times(1e-4)) - drawing
    table.add(Ratio("ridge 100 x 1000: SVD and all times of three methods", seconds, 0.1, "s"))
    benchmark.pedantic(all_times, args=(1e-4,), rounds=3)


def test_cost_does_not_grow_with_the_time(benchmark: BenchmarkFixture, table: Table):
    features, teacher, theta0 = draw()
    problem = Ridge(features, teacher, 1 / 1000)

    def seconds(method: float | str, decay: float) -> float:
        momentum = "critical" if isinstance(method, str) else method
        return median_seconds(lambda: problem.grokking_time(theta0, 1.0, decay, 0.01, 0.01, momentum))

    for method in METHODS:
        table.add(
            Ratio(f"lambda 1e-9 against 1e-3, momentum {method}", seconds(method, 1e-9) / seconds(method, 1e-3), 2)
        )
    benchmark.pedantic(problem.grokking_time, args=(theta0, 1.0, 1e-9, 0.01, 0.01), rounds=3)


def test_against_the_loop(benchmark: BenchmarkFixture, table: Table):
    features, teacher, theta0 = draw()
    start = time.perf_counter()
    final = loop(23_305)
    slow = time.perf_counter() - start
    assert final <= 0.01

    problem = Ridge(features, teacher, 1 / 1000)

    def exact() -> int | None:
        return problem.grokking_time(theta0, 1.0, 1e-4, 0.01, 0.01).generalised

    assert exact() == 23_305
    table.add(
        Ratio("loop to t2 = 23,305 against exact times of the cell", slow / median_seconds(exact), 100, at_least=True)
    )
    benchmark.pedantic(exact, rounds=3)


@pytest.mark.slow
def test_a_million_features(table: Table):
    """In a process of its own: 200 x 10^6 features, the Gram route, times of three methods and one theta."""
    out = subprocess.run([sys.executable, "-c", WIDE], capture_output=True, text=True, check=True).stdout.split()
    table.add(Ratio("ridge 200 x 1,000,000: seconds", float(out[0]), 60.0, "s"))
    table.add(Ratio("ridge 200 x 1,000,000: peak memory", float(out[1]), 4.0, "GB"))
