"""Sparse recovery against its targets: compiled loops, runs side by side, the fast-forward, and the two time laws.

`pytest benchmarks/bench_sparse.py -s`. Instances: n = 100, five N(0, 1) entries, features N(0, 1) / sqrt(N), the first
seeds that basis pursuit recovers, step 0.1, relative error 1e-2.
"""

import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from measuring import Ratio, Table, interleaved
from pytest_benchmark.fixture import BenchmarkFixture

from groktimizer.theory.lasso import Lasso, objective, recovery, solve
from second_lasso import lasso_by_coordinates

N, LR, FAR = 100, 0.1, 10**8
START = np.full(N, 1e-6)
# Figure 4 of arXiv 2506.05718.
RATES = np.array([0.005, 0.01, 0.0275, 0.055, 0.0825, 0.1])[:, None]
WEIGHTS = np.array([1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1])
DECADES = 10.0 ** -np.arange(3, 7.5, 0.5)  # 1e-3 to 1e-7


def instances(samples: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Features, targets and teacher of the seeds that can be recovered."""
    seed = 0
    while True:
        rng = np.random.default_rng(seed)
        features, teacher = rng.normal(size=(samples, N)) / samples**0.5, np.zeros(N)
        teacher[rng.choice(N, 5, replace=False)] = rng.normal(size=5)
        if recovery(features, teacher).recovers:
            yield features, features @ teacher, teacher
        seed += 1


def loop(features: np.ndarray, targets: np.ndarray, weight: float, steps: int) -> np.ndarray:
    """The plain NumPy loop of ISTA."""
    a, threshold = START.copy(), LR * weight
    for _ in range(steps):
        moved = a - LR * (features.T @ (features @ a - targets))
        a = np.sign(moved) * np.maximum(np.abs(moved) - threshold, 0)
    return a


def test_one_compiled_run_and_a_grid_of_them(benchmark: BenchmarkFixture, table: Table):
    features, targets, teacher = next(instances(30))
    steps = 2000

    def one() -> np.ndarray:
        return solve(features, targets, START, LR, 1e-5, [steps], teacher).a

    def grid() -> np.ndarray:
        return solve(features, targets, START, RATES, WEIGHTS, [steps], teacher).a

    np.testing.assert_allclose(one(), loop(features, targets, 1e-5, steps), atol=1e-12)
    np.testing.assert_allclose(grid()[5, 1], one(), atol=1e-12)
    gain, _, numpy_seconds = interleaved(one, lambda: loop(features, targets, 1e-5, steps), rounds=15)
    table.add(
        Ratio(
            f"ISTA n=100, N=30: NumPy loop ({numpy_seconds / steps * 1e6:.1f} us a step) against compiled",
            1 / gain,
            5,
            at_least=True,
        )
    )
    share, _, seconds = interleaved(grid, one, rounds=15)
    table.add(
        Ratio(
            f"6 x 6 grid at once, per run, against one compiled run ({seconds / steps * 1e6:.2f} us a step)",
            36 / share,
            3,
            at_least=True,
        )
    )
    benchmark.pedantic(grid, rounds=3)


def test_fast_forward(benchmark: BenchmarkFixture, table: Table):
    """The compiled loop is timed over 5,000 steps from each of ten states of the run, 1e7 steps apart, and scaled."""
    features, targets, teacher = next(instances(50))
    problem = Lasso(features, targets)

    def forward() -> np.ndarray:
        return problem.trajectory(START, LR, 1e-7).at(FAR)

    def seconds(call: Callable[[], object]) -> float:
        begin = time.perf_counter()
        call()
        return time.perf_counter() - begin

    states = problem.trajectory(START, LR, 1e-7).at(FAR // 10 * np.arange(10) + 5)
    part = 5000
    solve(features, targets, START, LR, 1e-7, [1], teacher)
    rounds: list[tuple[float, float]] = []
    for _ in range(7):
        fast = seconds(forward)
        slow = sum(seconds(lambda s=s: solve(features, targets, s, LR, 1e-7, [part], teacher)) for s in states)
        rounds.append((fast, slow * FAR / (part * len(states))))
    fast, slow = (statistics.median(column) for column in zip(*rounds, strict=True))
    table.add(Ratio("fast-forward to step 1e8, n=100, N=50, weight 1e-7", fast, 2, "s"))
    table.add(
        Ratio(
            f"compiled loop ({slow:.0f} s for 1e8 steps, scaled) against the fast-forward",
            statistics.median(b / a for a, b in rounds),
            1000,
            at_least=True,
        )
    )
    benchmark.pedantic(forward, rounds=3)


def slope(times: list[float]) -> float:
    """Of log t2 against log(lr weight)."""
    return float(np.polyfit(np.log(LR * DECADES), np.log(times), 1)[0])


def test_the_two_laws(table: Table):
    """Four decades of the weight, ISTA fast-forwarded, five instances; the worst slope counts."""
    slopes: list[tuple[float, float]] = []
    for (features, targets, teacher), _ in zip(instances(40), range(5), strict=False):
        problem = Lasso(features, targets)
        ista = [problem.trajectory(START, LR, w).time_to(teacher, 1e-2).first for w in DECADES]
        fast = solve(features, targets, START, LR, DECADES, [60_000], teacher, method="accelerated").generalised
        assert None not in ista and (fast > 0).all()
        slopes.append((slope([float(t or 0) for t in ista]), slope([float(t) for t in fast])))
    for name, wanted, found in (("ISTA", -1.0, [s[0] for s in slopes]), ("accelerated", -0.5, [s[1] for s in slopes])):
        worst = max(found, key=lambda s: abs(s - wanted))
        table.add(
            Ratio(
                f"{name}: slope of log t2, {min(found):.4f} to {max(found):.4f}, off {wanted:+.2f} by",
                abs(worst - wanted),
                0.05,
                "",
            )
        )


@pytest.mark.parametrize("weight", [1e-3, 1e-5])
def test_final_accuracy(weight: float, table: Table):
    """Objective of the accelerated method after 2e5 steps against skglm's, relative."""
    features, targets, teacher = next(instances(40))
    ours = solve(features, targets, START, LR, weight, [200_000], teacher, method="accelerated").a
    best = objective(features, targets, weight, lasso_by_coordinates(features, targets, weight))
    gap = abs(objective(features, targets, weight, ours) / best - 1)
    table.add(Ratio(f"accelerated, weight {weight:g}: objective off skglm's, relative", gap, 1e-8, ""))
