"""arXiv 2601.19791, "To Grok Grokking: Provable Grokking in Ridge Regression": Figures 1 to 7, a verdict each.

Here the linear problems: Figure 1 (left) and Figure 2. Nothing is iterated; every curve and time is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from groktimizer.papers.reproduction import (
    STEP,
    Array,
    Check,
    Effort,
    Line,
    Panel,
    Paper,
    Reproduced,
    count,
    late,
    level,
    near,
    number,
    slope,
    sweep,
)
from groktimizer.papers.ridge_features import LEVEL, figure_3, figure_5, figure_6, figure_7
from groktimizer.papers.ridge_networks import figure_1_right, figure_4
from groktimizer.tasks import RidgeTask
from groktimizer.theory.ridge import Ridge, predicted_generalisation, theorem_4_1
from groktimizer.theory.ridge.bounds import eq_8_generalised, eq_8_memorised


@dataclass(frozen=True)
class Cell:
    """Times and bounds of one drawn problem.

    Attributes:
        t1: Last step with train loss ≥ ε.
        t2: First step with population loss ≤ c.
        t1_bound: Eq (8), upper.
        t2_bound: Eq (8), lower.
        predicted: ln((m − n)ν²/(mc))/(2ηλ).
        settled: First step from which the population loss stays.
    """

    t1: float
    t2: float
    t1_bound: float
    t2_bound: float
    predicted: float
    settled: float


def drawn(task: RidgeTask, seed: int) -> tuple[Ridge, Array]:
    """The task's problem for the theory, and θ(0): what `groktimizer run ridge` trains."""
    features, teacher, theta = (part.numpy() for part in task.draw(seed))
    return Ridge(features, teacher, covariance=1 / task.m), theta


def cell(task: RidgeTask, seed: int, decay: float, *, critical: bool = False) -> Cell:
    """Solve one cell of Figure 2."""
    problem, theta = drawn(task, seed)
    times = problem.grokking_time(theta, 1.0, decay, LEVEL, LEVEL, "critical" if critical else 0.0)
    facts = replace(problem.facts(theta, 1.0, decay, LEVEL, LEVEL), init_variance=task.nu**2)
    return Cell(
        number(times.memorised_settled) - 1,
        number(times.generalised),
        eq_8_memorised(facts).value,
        eq_8_generalised(facts).value,
        predicted_generalisation(facts),
        number(times.settled),
    )


def figure_1_left(effort: Effort) -> tuple[Panel, tuple[Check, ...], tuple[str, ...]]:
    """Zero teacher, n = 100, m = 10,000, λ = 1e-5, ν² = 1, η = 1, 50 runs."""
    seeds, decay = effort.seeds(10, 50), 1e-5
    task = RidgeTask(m=10_000)
    steps = np.unique(np.geomspace(1, 1e6, 160).round())
    lines: list[Line] = []
    ratios: list[float] = []
    held: list[bool] = []
    for done, seed in enumerate(seeds, 1):
        features, _, start = (part.numpy() for part in task.draw(seed))
        problem = Ridge(features, np.zeros(task.m), covariance=1 / task.m)
        curve = problem.trajectory(start, 1.0, decay)
        train, population = curve.train_loss(steps), curve.population_loss(steps)
        lines += [Line("train", steps, train, "faint", 0), Line("population", steps, population, "faint", 1)]
        times = problem.grokking_time(start, 1.0, decay, LEVEL, LEVEL)
        ratios.append(number(times.generalised) / number(times.memorised_settled))
        facts = replace(problem.facts(start, 1.0, decay, LEVEL, LEVEL), init_variance=1.0)
        curves, _ = theorem_4_1(facts, steps)
        upper, lower, norm = curves.values()
        slack = 1 + 1e-9
        floor = 1e-25  # far below, the loss is what rounding leaves
        held.append(bool((train <= upper * slack + floor).all() and (population * slack >= lower).all()))
        held[-1] &= bool((curve.norm(steps) ** 2 <= norm * slack).all())
        if done == 1:
            lines += [
                Line("Theorem 4.1 (i), first run", steps, upper, "dashed", 0),
                Line("Theorem 4.1 (ii), first run", steps, lower, "dashed", 1),
            ]
        if done % 10 == 0:
            effort.say(f"Figure 1, left: {done} of {len(seeds)} runs")
    checks = (
        late(ratios, 100, prefix="ridge: "),
        count("ridge: Theorem 4.1 (i) to (iii) at every step of every run", held),
    )
    panel = Panel("ridge, zero teacher", STEP, "loss", tuple(lines))
    return panel, checks, effort.shorter(f"{len(seeds)} runs, not 50")


def figure_1(effort: Effort) -> Reproduced:
    """Both panels: ridge, exact; the two-layer network, trained."""
    left, checks, changed = figure_1_left(effort)
    right, more, also = figure_1_right(effort)
    return Reproduced("Figure 1", "memorising early, generalising late", (left, right), checks + more, changed + also)


SWEEPS: dict[str, tuple[str, Sequence[float]]] = {
    "weight_decay": ("λ", (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)),
    "n": ("n", (20, 50, 100, 200, 400, 800)),
    "m": ("m", (200, 500, 1000, 2000, 5000)),
    "nu2": ("ν²", (0.1, 0.5, 1.0, 4.0, 10.0, 100.0)),
}


def figure_2(effort: Effort) -> Reproduced:
    """Four sweeps around n = 100, m = 1,000, ν² = 1, λ = 1e-4, η = 1, ‖θ*‖ = 1."""
    seeds = effort.seeds(1, 5)
    found = {knob: [_swept(knob, value, seeds) for value in values] for knob, (_, values) in SWEEPS.items()}
    decays = np.array(SWEEPS["weight_decay"][1])
    critical = _median([_swept("weight_decay", value, seeds, critical=True) for value in decays], "settled")
    panels = [_panel(knob, found[knob]) for knob in SWEEPS]
    damped = Line("CDM: settled", decays, critical, "solid", 2)
    panels[0] = replace(panels[0], lines=(*panels[0].lines, damped))
    every = [one for cells in found.values() for group in cells for one in group]
    plain, default = _median(found["weight_decay"], "t2"), found["weight_decay"][4]
    checks = (
        near("slope of ln t2 over ln λ, gradient descent", slope(decays[:-1], plain[:-1]), -1, 0.005),
        near("slope of ln settled over ln λ, CDM", slope(decays, critical), -0.5, 0.02),
        count(
            "Eq (8), t1 and t2, in every cell",
            [one.t1 <= one.t1_bound and (one.t2 >= one.t2_bound or np.isnan(one.t2_bound)) for one in every],
        ),
        level("t1 does not move with λ ≤ 1e-4", _median(found["weight_decay"][:5], "t1"), 1.05),
        near("slope of ln t1 over ln n, n ≤ 400", slope(SWEEPS["n"][1][:5], _median(found["n"], "t1")[:5]), 1.0, 0.2),
        level("t2 hardly moves with n ≤ 400", _median(found["n"], "t2")[:5], 1.2),
        level("t2 hardly moves with m", _median(found["m"], "t2"), 1.2),
        _wider(found["nu2"]),
        Check(
            "the practical predictor is within 5 % of t2 at the defaults",
            f"{np.median([one.predicted / one.t2 for one in default]):.4f}",
            bool(abs(np.median([one.predicted / one.t2 for one in default]) - 1) <= 0.05),
        ),
    )
    effort.say("Figure 2: done")
    changed = effort.shorter("1 seed, not 5")
    return Reproduced("Figure 2", "ridge with a linear teacher: what moves t1 and t2", tuple(panels), checks, changed)


def _swept(knob: str, value: float, seeds: Sequence[int] | range, *, critical: bool = False) -> list[Cell]:
    """One value of one knob, every seed."""
    decay = value if knob == "weight_decay" else 1e-4
    task = RidgeTask(
        n=int(value) if knob == "n" else 100,
        m=int(value) if knob == "m" else 1000,
        nu=value**0.5 if knob == "nu2" else 1.0,
    )
    return [cell(task, seed, decay, critical=critical) for seed in seeds]


def _median(cells: Sequence[Sequence[Cell]], name: str) -> Array:
    return np.array([np.median([getattr(one, name) for one in group]) for group in cells])


def _wider(cells: Sequence[Sequence[Cell]]) -> Check:
    variance = np.log(SWEEPS["nu2"][1])
    rates = [float(np.polyfit(variance, _median(cells, name), 1)[0]) for name in ("t1", "t2")]
    told = f"{rates[0]:,.0f} and {rates[1]:,.0f} steps per unit of ln ν²"
    return Check("t1 and t2 grow like ln ν², t2 faster", told, bool(0 < rates[0] < rates[1]))


def _panel(knob: str, cells: Sequence[Sequence[Cell]]) -> Panel:
    symbol, values = SWEEPS[knob]
    return sweep(
        symbol,
        values,
        _median(cells, "t1"),
        _median(cells, "t2"),
        ("Eq (8): t1 ≤", _median(cells, "t1_bound"), 0),
        ("Eq (8): t2 ≥", _median(cells, "t2_bound"), 1),
    )


PAPER = Paper(
    "arXiv 2601.19791, To Grok Grokking: Provable Grokking in Ridge Regression",
    {"1": figure_1, "2": figure_2, "3": figure_3, "4": figure_4, "5": figure_5, "6": figure_6, "7": figure_7},
    alone=("1", "3", "6", "7", "2", "5"),
)
