"""arXiv 2506.05718, Figure 9: a product of L factors, and nothing or only ℓ2 regularises it.

All runs of one depth are iterated side by side as one batch. Vectors are multiplied entry by entry, matrices as such.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from groktimizer.papers.reproduction import STEP, Array, Check, Effort, Line, Panel, Reproduced
from groktimizer.tasks import MatrixTask, SparseTask
from groktimizer.tasks.matrix import MatrixData
from groktimizer.tasks.sparse import SparseData

Measured = tuple[Tensor, Tensor, Tensor]  # relative train errors, relative recovery errors, norms, each (runs,)
S = TypeVar("S")

LR = 0.1
TRAIN, TEST = 1e-2, 5e-2  # relative errors: without a penalty the fit itself is slow
SIZES = (20, 40, 60, 80)
LARGE = (60, 80)  # where half of the draws are recovered at every depth above 1
SCALES = {1: 1e-6, 2: 1e-2, 3: 0.1}  # by depth; the paper's 1e-2 leaves L = 3 near its saddle for 2e5 steps
DEPTHS = tuple(SCALES)
OBSERVED = (50, 60, 70, 80)
MATRIX_SCALES = {1: 1e-6, 2: 1e-2, 3: 1e-2, 4: 0.3}  # the paper's 1e-2 leaves L = 4 at its saddle


@dataclass(frozen=True)
class Deep:
    """Runs of one depth, side by side.

    Attributes:
        steps: At which the errors were taken, shape (k,).
        train: Relative train errors, shape (runs, k).
        recovery: Relative recovery errors, shape (runs, k).
        norm: ‖a‖, shape (runs, k).
    """

    steps: Array
    train: Array
    recovery: Array
    norm: Array

    def first(self, errors: Array, level: float) -> Array:
        """First evaluated step at or below a level, not-a-number where there is none."""
        met = errors <= level
        return np.where(met.any(1), self.steps[met.argmax(1)], np.nan)


def descend(drawn: Sequence[SparseData], steps: int, *, decay: float = 0.0, points: int = 120) -> Deep:
    """Gradient descent on ½‖Xa − y‖² + decay Σ‖factor‖², a the product of the factors."""
    rows = max(data.features.shape[0] for data in drawn)
    features = torch.stack([_padded(data.features, rows) for data in drawn])
    targets = torch.stack([_padded(data.targets, rows) for data in drawn])
    teacher = torch.stack([data.teacher for data in drawn])
    factors = torch.stack([torch.stack(data.factors) for data in drawn], 1)  # depth, runs, n
    curvature = LR * features.mT @ features
    pulled = LR * features.mT @ targets.unsqueeze(2)

    def step(factors: Tensor) -> Tensor:
        pull = torch.baddbmm(pulled, curvature, factors.prod(0).unsqueeze(2), beta=-1).squeeze(2)
        return (1 - 2 * LR * decay) * factors - pull * _others(factors)

    def measure(factors: Tensor) -> Measured:
        vector = factors.prod(0)
        error = (features @ vector.unsqueeze(2)).squeeze(2) - targets
        return _relative(error, targets), _relative(vector - teacher, teacher), vector.norm(dim=1)

    return _watched(factors, step, measure, np.geomspace(1, steps, points))


def complete(drawn: Sequence[MatrixData], steps: int, *, points: int = 60) -> Deep:
    """Gradient descent on ½ Σ (A_ij − A*_ij)² over the observed entries, A the product of the factors."""
    teacher = torch.stack([data.teacher for data in drawn])
    seen = torch.zeros_like(teacher)
    for run, data in enumerate(drawn):
        seen[run, data.inputs[:, 0], data.inputs[:, 1]] = 1.0
    factors = [torch.stack(parts) for parts in zip(*(data.factors for data in drawn), strict=True)]

    def measure(factors: Sequence[Tensor]) -> Measured:
        matrix = _product(factors)[-1]
        fit, error = seen * (matrix - teacher), matrix - teacher
        train = _relative(fit.flatten(1), (seen * teacher).flatten(1))
        return train, _relative(error.flatten(1), teacher.flatten(1)), matrix.flatten(1).norm(dim=1)

    return _watched(factors, lambda now: _matrix_step(now, seen, teacher), measure, np.geomspace(1, steps, points))


def _watched(state: S, step: Callable[[S], S], measure: Callable[[S], Measured], at: Array) -> Deep:
    """Iterate to the last of some steps, and measure at each of them."""
    steps = np.unique(at.round()).astype(int)
    curves: list[Measured] = []
    for count in np.diff(steps, prepend=0):
        for _ in range(count):
            state = step(state)
        curves.append(measure(state))
    train, recovery, norm = (torch.stack(column, 1).numpy() for column in zip(*curves, strict=True))
    return Deep(steps.astype(np.float64), train, recovery, norm)


def _product(factors: Sequence[Tensor]) -> list[Tensor]:
    """The products of the first 1, 2 … factors."""
    found = [factors[0]]
    for factor in factors[1:]:
        found.append(found[-1] @ factor)
    return found


def _matrix_step(factors: Sequence[Tensor], seen: Tensor, teacher: Tensor) -> list[Tensor]:
    ahead = _product(factors)
    behind = LR * seen * (ahead[-1] - teacher)
    moved: list[Tensor] = []
    for place in range(len(factors) - 1, 0, -1):
        moved.append(factors[place] - ahead[place - 1].mT @ behind)
        behind = behind @ factors[place].mT
    return [factors[0] - behind, *reversed(moved)]


def _relative(error: Tensor, size: Tensor) -> Tensor:
    return error.norm(dim=1) / size.norm(dim=1)


def _padded(values: Tensor, rows: int) -> Tensor:
    return torch.cat([values, values.new_zeros(rows - values.shape[0], *values.shape[1:])])


def _others(factors: Tensor) -> Tensor:
    """For each factor the product of the others, without a division."""
    others = torch.ones_like(factors)
    for turn in range(1, factors.shape[0]):
        others = others * factors.roll(turn, 0)
    return others


def figure_9(effort: Effort) -> Reproduced:
    """Depth alone recovers what a shallow model never does; then small ℓ2 from a large start."""
    seeds = effort.seeds(2, 5)
    steps = 1_000_000 if effort.full else 200_000
    found: dict[int, Deep] = {}
    for depth in DEPTHS:
        tasks = [SparseTask(N=size, depth=depth, init_scale=SCALES[depth]) for size in SIZES]
        drawn = [task.draw(seed) for task in tasks for seed in seeds]
        found[depth] = descend(drawn, steps if depth > 1 else 10_000)
        effort.say(f"Figure 9: L = {depth}")
    medians = {depth: np.median(run.recovery[:, -1].reshape(len(SIZES), -1), 1) for depth, run in found.items()}
    first = SIZES.index(LARGE[0]) * len(seeds)
    example = found[2]
    large, grokking = _large_start(effort, seeds)
    matrices, matrix_checks = _matrices(effort)
    panels = (
        _over_size("vectors, no regularisation, at the end", SIZES, medians),
        Panel(
            f"L = 2, N = {LARGE[0]}, no regularisation",
            STEP,
            "relative error",
            (
                Line("train", example.steps, example.train[first], "solid", 0),
                Line("recovery", example.steps, example.recovery[first], "solid", 1),
            ),
        ),
        large,
        matrices,
    )
    checks = (
        falls_with_depth("vectors", SIZES, medians[1], medians[2], "L = 1 to L = 2"),
        falls_with_depth("vectors", SIZES, medians[2], medians[3], "L = 2 to L = 3"),
        Check(
            "L = 1 recovers at no N < n",
            f"least error {found[1].recovery[:, -1].min():.2f}",
            bool((found[1].recovery[:, -1] > 0.1).all()),
        ),
        *(no_delay(depth, found[depth], len(seeds)) for depth in DEPTHS[1:]),
        grokking,
        *matrix_checks,
    )
    changed = [
        "vectors up to L = 3: at N = 60, 1e6 steps, L = 4 recovered 0, 2, 3 of 5 draws from ζ = 0.1, 0.3, 1",
        "ζ = 0.1 for vectors of L = 3 and 0.3 for matrices of L = 4: 0.01 stays near the saddle for so many steps",
    ]
    changed += effort.shorter("fewer seeds")
    changed += [] if effort.full else [f"{steps:,} steps, not 1e6"]
    return Reproduced("Figure 9", "depth recovers without a penalty", panels, checks, tuple(changed))


def _over_size(title: str, sizes: Sequence[int], medians: Mapping[int, Array]) -> Panel:
    lines = [Line(f"L = {depth}", np.array(sizes), errors, "solid", depth - 1) for depth, errors in medians.items()]
    return Panel(title, "N", "relative recovery error", tuple(lines), marks=True)


def falls_with_depth(what: str, sizes: Sequence[int], before: Array, after: Array, depths: str) -> Check:
    """The paper's claim that the recovery error falls with depth at a fixed N: one step of depth, every N."""
    told = ", ".join(f"N = {size}: {one:.2g} → {two:.2g}" for size, one, two in zip(sizes, before, after, strict=True))
    return Check(
        f"{what}: the median recovery error falls from {depths} at every N", told, bool((after < before).all())
    )


def no_delay(depth: int, run: Deep, seeds: int) -> Check:
    """With depth, recovery does not wait for the fit: t2 ≤ 2 t1 in most runs at the larger N, recovered or not."""
    large = np.repeat([size in LARGE for size in SIZES], seeds)
    t1, t2 = run.first(run.train, TRAIN)[large], run.first(run.recovery, TEST)[large]
    ratio = t2 / t1
    held, both = int((t2 <= 2 * np.where(np.isnan(t1), np.inf, t1)).sum()), ratio[np.isfinite(ratio)]
    told = f"{held} of {ratio.size} at N = {' and '.join(map(str, LARGE))}, {both.size} fit and recovered"
    told += f", largest t2/t1 {both.max():.2f}" if both.size else ""
    return Check(f"L = {depth} without a penalty: no delay, t2 ≤ 2 t1 in most runs", told, 2 * held > ratio.size)


def _matrices(effort: Effort) -> tuple[Panel, tuple[Check, ...]]:
    """Completion by a product of L matrices."""
    seeds = effort.seeds(3, 10)
    steps = 10_000 if effort.quick else 30_000
    medians: dict[int, Array] = {}
    for depth, scale in MATRIX_SCALES.items():
        tasks = [MatrixTask(N=size, depth=depth, init_scale=scale) for size in OBSERVED]
        run = complete([task.draw(seed) for task in tasks for seed in seeds], steps if depth > 1 else 1_000)
        medians[depth] = np.median(run.recovery[:, -1].reshape(len(OBSERVED), -1), 1)
        effort.say(f"Figure 9: matrices, L = {depth}")
    steps_of_depth = ((1, 2), (2, 3))
    checks = tuple(
        falls_with_depth("matrices", OBSERVED, medians[a], medians[b], f"L = {a} to L = {b}") for a, b in steps_of_depth
    )
    return _over_size("10 × 10 matrices, r = 2, N entries", OBSERVED, medians), checks


def _large_start(effort: Effort, seeds: range) -> tuple[Panel, Check]:
    """L = 2 from large factors with a small ℓ2: real grokking, the error falls long after the fit."""
    task = SparseTask(N=60, depth=2, init_scale=10.0)
    run = descend([task.draw(seed) for seed in seeds], 60_000, decay=1e-3)
    effort.say("Figure 9: large start with ℓ2")
    panel = Panel(
        "L = 2, N = 60, ζ = 10, β₂ = 1e-3",
        STEP,
        "relative error",
        tuple(
            Line(name, run.steps, curve, "faint", colour)
            for name, curves, colour in (("train", run.train, 0), ("recovery", run.recovery, 1))
            for curve in curves
        ),
    )
    return panel, late_in_every_run(run)


def late_in_every_run(run: Deep) -> Check:
    """Every run recovers, and ten times later than it fits at least."""
    ratio = run.first(run.recovery, TEST) / run.first(run.train, TRAIN)
    late = ratio[np.isfinite(ratio)]
    told = f"{late.size} of {ratio.size} recovered" + (f", least t2/t1 {late.min():.0f}" if late.size else "")
    passed = bool(late.size == ratio.size and late.min() >= 10)
    return Check("L = 2, large start, small ℓ2: every run recovers, ≥ 10 times later than it fits", told, passed)
