"""Figures 1 (right) and 4 of arXiv 2601.19791: two-layer ReLU networks with a zero teacher, both layers trained.

Every run is a record of the store, so that a second call draws without training. The step size is 4e-3, not the paper's
1e-4: gradient descent follows the same flow, in 40 times fewer steps; a check compares two step sizes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from groktimizer.papers.reproduction import (
    STEP,
    Check,
    Effort,
    Panel,
    Reproduced,
    curve,
    late,
    level,
    near,
    number,
    rising,
    slope,
    sweep,
    train,
)
from groktimizer.results import Record
from groktimizer.sweeps import RunSpec, make_spec

LR, PAPER_LR = 4e-3, 1e-4
LEVEL = 0.01
FASTER = f"η = {LR:g}, not {PAPER_LR:g}: {LR / PAPER_LR:g} times fewer steps of the same flow"


@dataclass(frozen=True)
class Cell:
    """A setting of the network.

    Attributes:
        n: Samples.
        m: Hidden units.
        decay: λ.
        nu2: ν².
        lr: η.
    """

    n: int = 50
    m: int = 1000
    decay: float = 0.05
    nu2: float = 1.0
    lr: float = LR

    def spec(self, seed: int) -> RunSpec:
        """What is trained."""
        return make_spec(
            "relu-regression",
            "sgd",
            task_options={"n": self.n, "m": self.m, "nu": self.nu2**0.5},
            optimizer_options={"lr": self.lr, "weight_decay": self.decay},
            seed=seed,
            steps=int(4 / (self.lr * self.decay)),
            every="log",
        )


def trained(cells: Sequence[Cell], seeds: Sequence[int], effort: Effort, what: str) -> list[list[Record]]:
    """Train every cell on every seed, or take what is recorded: one list of records a cell."""
    return list(train({cell: [cell.spec(seed) for seed in seeds] for cell in cells}, effort, what).values())


def times(group: Sequence[Record], name: str) -> float:
    """Median over seeds of one of a run's times; not-a-number if it is missing in any."""
    return float(np.median([number(record.summary["times"][name]) for record in group]))


def figure_1_right(effort: Effort) -> tuple[Panel, tuple[Check, ...], tuple[str, ...]]:
    """Both layers trained: d = 50, n = 50, m = 1,000, λ = 0.1, ν² = 1."""
    seeds = effort.seeds(3, 10)
    (group,) = trained([Cell(decay=0.1)], seeds, effort, "Figure 1, right")
    parts = (("train", "train_loss"), ("population", "test_loss"))
    lines = tuple(curve(run, name, column, colour) for run in group for colour, (name, column) in enumerate(parts))
    found = [record.summary["times"] for record in group]
    ratios = [number(one["generalised"]) / number(one["memorised_settled"]) for one in found]
    checks = (late(ratios, 10, prefix="network: ", digits=1),)
    panel = Panel("two-layer ReLU network, zero teacher", STEP, "loss", lines)
    return panel, checks, (FASTER, f"{len(seeds)} networks, not 50")


def grid(quick: bool) -> Mapping[str, tuple[str, tuple[float, ...]]]:
    """Values of each knob; the defaults are among them."""
    if quick:
        return {
            "decay": ("λ", (0.05, 0.1, 0.2)),
            "n": ("n", (20, 50)),
            "m": ("m", (500, 1000)),
            "nu2": ("ν²", (0.5, 1.0)),
        }
    return {
        "decay": ("λ", (0.025, 0.05, 0.1, 0.2)),
        "n": ("n", (10, 20, 50, 100)),
        "m": ("m", (250, 500, 1000, 2000)),
        "nu2": ("ν²", (0.25, 0.5, 1.0, 2.0)),
    }


def figure_4(effort: Effort) -> Reproduced:
    """Four sweeps around n = 50, m = 1,000, d = 50, ν² = 1, λ = 0.05."""
    seeds, knobs = effort.seeds(1, 3), grid(effort.quick)
    t1: dict[str, list[float]] = {}
    t2: dict[str, list[float]] = {}
    panels: list[Panel] = []
    for knob, (symbol, values) in knobs.items():
        cells = [replace(Cell(), **{knob: value}) for value in values]
        groups = trained(cells, seeds, effort, f"Figure 4, {symbol}")
        t1[knob] = [times(group, "memorised_settled") for group in groups]
        t2[knob] = [times(group, "generalised") for group in groups]
        forgotten = [np.log(cell.nu2 / 2 / LEVEL) / (4 * cell.lr * cell.decay) for cell in cells]
        ours = ("ln(ν²/2c)/(4ηλ), ours", forgotten, 1)
        panels.append(sweep(symbol, values, t1[knob], t2[knob], ours))
    checks = [
        near("slope of ln t2 over ln λ", slope(knobs["decay"][1], t2["decay"]), -1, 0.1),
        level("t1 hardly moves with λ", t1["decay"], 1.2),
        rising("t1 rises with n", t1["n"]),
        level("t2 hardly moves with n", t2["n"], 1.5),
        level("t2 hardly moves with m", t2["m"], 1.3),
        rising("ν² widens the gap", np.array(t2["nu2"]) - np.array(t1["nu2"])),
    ]
    if not effort.quick:
        slower = trained([Cell(lr=LR / 4)], seeds, effort, "Figure 4, smaller step")[0]
        ratio = times(slower, "generalised") / t2["decay"][knobs["decay"][1].index(0.05)]
        checks.append(near("a quarter of the step takes this many times the steps", ratio, 4, 0.4))
    changed = (FASTER, *effort.shorter("1 seed and 2 to 3 values a panel", "two step sizes not compared"))
    return Reproduced("Figure 4", "two-layer ReLU networks, zero teacher", tuple(panels), tuple(checks), changed)
