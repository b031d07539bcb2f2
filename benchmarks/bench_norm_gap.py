"""The norm gap of the untuned default on small real sets, and what each part of the rule does to it.

`python benchmarks/bench_norm_gap.py gap` prints medians over splits of the gap after 300, 1,000 and 3,000 steps,
`python benchmarks/bench_norm_gap.py parts` the same after 1,000 steps with one part of the rule taken out at a time.
The gap is the norm of the weights over the least one at a training loss of 2 % of min(first loss, loss of zero
weights), found by `groktimizer.measures.norm_gap` from the untrained and from the trained network; for three convex
problems in closed form (ridge, also of features with a mean) and by scikit-learn (a diagonal network, whose least norm
is a lasso's). A gap below 1 belongs to a loss above the level, which is printed too. GROKTIMIZER_BENCH_SEEDS: the
number of splits (default 6).
"""

import copy
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from measuring import Ratio, Table
from scipy.optimize import brentq
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import Lasso
from sklearn.model_selection import StratifiedShuffleSplit
from torch import Tensor, nn
from typing_extensions import override

from groktimizer import GROKtimizer, param_groups
from groktimizer.data import load
from groktimizer.measures import norm_gap
from groktimizer.optim import constraint, settings

SPLITS = range(int(os.environ.get("GROKTIMIZER_BENCH_SEEDS", "6")))
SIZES = {"digits": 64, "breast cancer": 40, "leukemia": 19, "srbct": 16, "pd-speech": 50}
CONVEX = {"ridge": 100, "ridge, mean 3": 100, "diagonal": 40}
WIDTH, STEPS = 128, (300, 1000, 3000)
SHARE = 0.02


@cache
def samples(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels."""
    data: Any = {"digits": load_digits, "breast cancer": load_breast_cancer}.get(name)
    features, labels = data(return_X_y=True) if data else load(name)[:2]
    return np.asarray(features, dtype=np.float64), np.asarray(labels)


@dataclass
class Split:
    """A network at its start, its training loss, the level, and the least norm there if it is known beforehand."""

    model: nn.Module
    loss: Callable[[nn.Module], Tensor]
    accuracy: Callable[[nn.Module], float]
    level: float
    least: float = math.nan


class Linear(nn.Module):
    """y = X w, w = u, or u * v: a diagonal network."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.factors = nn.Parameter(start)

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ self.factors.prod(0)


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function of a logarithm changes its sign."""
    found: Any = brentq(function, low, high, xtol=1e-9)
    return float(found)


def least_ridge(features: np.ndarray, targets: np.ndarray, level: float) -> float:
    """Least norm of w with a loss of half the mean square at the level: of the ridge estimator that has it."""
    u, s, _ = np.linalg.svd(features, full_matrices=False)
    part = u.T @ targets

    def excess(log_weight: float) -> float:
        return 0.5 * float(np.mean((targets - u @ (s**2 / (s**2 + np.exp(log_weight)) * part)) ** 2)) - level

    weight = math.exp(root(excess, -30.0, 30.0))
    return float(np.linalg.norm(s / (s**2 + weight) * part))


def least_lasso(features: np.ndarray, targets: np.ndarray, level: float) -> float:
    """Least norm of (u, v) with w = u v and a loss at the level: at least sqrt(2 |w|_1), which the lasso minimises."""

    def solution(log_weight: float) -> np.ndarray:
        lasso = Lasso(alpha=np.exp(log_weight), fit_intercept=False, tol=1e-10, max_iter=100_000)
        return lasso.fit(features, targets).coef_

    def excess(log_weight: float) -> float:
        return 0.5 * float(np.mean((features @ solution(log_weight) - targets) ** 2)) - level

    return math.sqrt(2.0 * np.abs(solution(root(excess, -8.0, 1.0))).sum())


def convex(name: str, seed: int) -> Split:
    """Gaussian features: 1,000, of mean 0 or 3, a Gaussian teacher; or 100, of which a teacher of signs takes five."""
    random, rows = np.random.default_rng(seed), CONVEX[name]
    columns = 100 if name == "diagonal" else 1000
    features = random.standard_normal((rows, columns)) + (3.0 if name == "ridge, mean 3" else 0.0)
    teacher = random.standard_normal(columns) / math.sqrt(columns)
    if name == "diagonal":
        teacher = np.where(random.permutation(columns) < 5, np.sign(teacher), 0.0)
    targets = features @ teacher
    inputs, wanted = (torch.tensor(part, dtype=torch.float32) for part in (features, targets))
    start = random.standard_normal((2 if name == "diagonal" else 1, columns)) * 0.1
    model = Linear(torch.tensor(start, dtype=torch.float32))

    def loss(net: nn.Module) -> Tensor:
        return 0.5 * (net(inputs) - wanted).square().mean()

    level = SHARE * min(float(loss(model).detach()), 0.5 * float(np.mean(targets**2)))
    least = (least_lasso if name == "diagonal" else least_ridge)(features, targets, level)
    return Split(model, loss, lambda _: math.nan, level, least)


@cache
def split(name: str, seed: int) -> Split:
    """Standardised on the training part; a column that is constant there is 0."""
    if name in CONVEX:
        return convex(name, seed)
    features, labels = samples(name)
    cut = StratifiedShuffleSplit(1, train_size=SIZES[name], random_state=seed)
    train, test = next(cut.split(features, labels))
    middle, width = features[train].mean(0), features[train].std(0)
    scaled = np.where(width > 0.0, (features - middle) / np.where(width > 0.0, width, 1.0), 0.0)
    inputs, targets = torch.tensor(scaled, dtype=torch.float32), torch.tensor(labels).long()
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(inputs.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, int(labels.max()) + 1))

    def loss(net: nn.Module) -> Tensor:
        return nn.functional.cross_entropy(net(inputs[train]), targets[train])

    def accuracy(net: nn.Module) -> float:
        with torch.no_grad():
            return float((net(inputs[test]).argmax(1) == targets[test]).float().mean())

    empty = copy.deepcopy(model)
    with torch.no_grad():
        for weight in weights(empty):
            weight.zero_()
        level = SHARE * min(float(loss(model)), float(loss(empty)))
    return Split(model, loss, accuracy, level)


def least_norm(problem: Split, trained: nn.Module) -> float:
    """Least norm at the level: known, or the least that is found from the trained and from the untrained network."""
    if not math.isnan(problem.least):
        return problem.least
    found = norm_gap(trained, problem.loss, problem.level, penalised=weights(trained), starts=[problem.model])
    return found.least


def weights(model: nn.Module) -> list[Tensor]:
    """What is penalised."""
    return param_groups(model)[0]["params"]


def norm(model: nn.Module) -> float:
    """l2 norm of the weights."""
    return math.sqrt(sum(float(weight.detach().double().square().sum()) for weight in weights(model)))


@dataclass
class Outcome:
    """What a split came to.

    Attributes:
        gaps: At the steps asked for.
        loss: At the end, in units of the level.
        largest: Norm on the way, in units of the first.
        kept: Norm at the end, in units of that at the switch.
        rollbacks: How many.
        accuracy: On the test part.
    """

    gaps: list[float]
    loss: float
    largest: float
    kept: float
    rollbacks: int
    accuracy: float


def run(name: str, seed: int, steps: tuple[int, ...] = STEPS) -> Outcome:
    """The untuned default, full batches."""
    problem = split(name, seed)
    model = copy.deepcopy(problem.model)
    opt = GROKtimizer(param_groups(model))
    first, largest, switched, norms = norm(model), 0.0, math.nan, []
    for step in range(1, max(steps) + 1):
        opt.zero_grad()
        loss = problem.loss(model)
        loss.backward()
        opt.observe(loss)
        opt.step()
        if step % 5 == 0:
            largest = max(largest, norm(model) / first)
        if math.isnan(switched) and opt.phase == 2:
            switched = norm(model)
        if step in steps:
            norms.append(norm(model))
    rollbacks = opt.state_dict()["param_groups"][0]["control"]["rollbacks"]
    smallest = least_norm(problem, model)
    loss = float(problem.loss(model).detach()) / problem.level
    kept = norms[-1] / switched
    return Outcome([each / smallest for each in norms], loss, largest, kept, rollbacks, problem.accuracy(model))


def without(part: str) -> None:
    """Take one part out of the rule, for this process."""
    euclidean = constraint.RULES["euclidean"]
    if part == "finish":
        settings.Settings.finishes = lambda *_: False  # pyright: ignore[reportAttributeAccessIssue]
    elif part == "multiplier":
        finish = constraint.finish
        constraint.finish = lambda state, rule, _: finish(state, rule, 0.0)
    elif part == "pace":
        constraint.RULES["euclidean"] = replace(euclidean, pace=0.0)
    elif part == "short steps":
        settings.SMALL = 0.0
    elif part != "nothing":
        raise ValueError(f"part={part!r}: expected one of {', '.join(PARTS)}")


PARTS = ("nothing", "finish", "multiplier", "pace", "short steps")


def row(name: str, steps: tuple[int, ...]) -> tuple[list[float], float, str]:
    """Median gaps over the splits, the largest norm at the end over that at the switch, and a line to print."""
    outcomes = [run(name, seed, steps) for seed in SPLITS]
    gaps = [median(outcome.gaps[i] for outcome in outcomes) for i in range(len(steps))]
    ends, losses = [outcome.gaps[-1] for outcome in outcomes], [outcome.loss for outcome in outcomes]
    kept = max(outcome.kept for outcome in outcomes)
    return (
        gaps,
        kept,
        f"{' / '.join(f'{gap:.3f}' for gap in gaps)} ({min(ends):.3f} to {max(ends):.3f}) | "
        f"{min(losses):.2f} to {max(losses):.2f} | {max(o.largest for o in outcomes):.2f} | {kept:.2f} | "
        f"{sum(o.rollbacks for o in outcomes)} | {100 * median(o.accuracy for o in outcomes):.1f}",
    )


def ends_below_the_switch(table: Table, name: str, kept: float) -> None:
    """Of all splits."""
    table.add(Ratio(f"{name}: largest norm at the end, in units of that at the switch", kept, 1.0))


@pytest.mark.filterwarnings("ignore:GROKtimizer. by step")  # rollbacks: a column of the printed table
@pytest.mark.parametrize("name", CONVEX)
def test_the_default_ends_at_the_least_norm_of_a_convex_problem(table: Table, name: str) -> None:
    """Medians over the splits."""
    gaps, kept, _ = row(name, (3000,))
    ends_below_the_switch(table, name, kept)
    table.add(Ratio(f"{name} {CONVEX[name]}: norm gap after 3,000 steps", gaps[0], 1.01))


@pytest.mark.parametrize("name", SIZES)
def test_the_default_ends_at_the_least_norm(table: Table, name: str) -> None:
    """Medians over the splits."""
    gaps, kept, _ = row(name, (1000, 3000))
    ends_below_the_switch(table, name, kept)
    for steps, gap, target in zip((1000, 3000), gaps, (1.10, 1.05), strict=True):
        table.add(Ratio(f"{name} {SIZES[name]}: norm gap after {steps:,} steps", gap, target))


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, *names = sys.argv[1:]
    for each in names or (*SIZES, *CONVEX):
        for part in PARTS if what == "parts" else PARTS[:1]:
            if os.fork() == 0:  # a part that is taken out stays out
                without(part)
                text = row(each, (1000,) if what == "parts" else STEPS)[2]
                print(f"| {each} {(SIZES | CONVEX)[each]} | {part} | {text} |", flush=True)
                os._exit(0)
            os.wait()
