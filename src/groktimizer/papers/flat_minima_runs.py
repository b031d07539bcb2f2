"""The runs behind `reproduce flat-minima`: four solutions of each row on every seed, and what was measured of them.

Equal data and initial weights: GROKtimizer untuned at the step at which phase 2 begins and at its end, AdamW at one
cell of its grid, and L-BFGS on loss + β‖W‖² with the largest β of a list at which the training loss is at most the
level. No choice looks at a test sample.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from groktimizer.ground.errors import UserError
from groktimizer.papers.reproduction import Array, Effort, train
from groktimizer.results import Record
from groktimizer.sweeps import RunSpec, make_spec

SWITCH, END, ADAMW, LBFGS = SOLUTIONS = ("switch", "end", "adamw", "lbfgs")
TITLES = {SWITCH: "GROKtimizer at the switch", END: "GROKtimizer at its end", ADAMW: "AdamW", LBFGS: "L-BFGS"}
STEPS = 500
CELL: Mapping[str, Any] = {"lr": 1e-2, "weight_decay": 1.0, "beta2": 0.98}  # of AdamW's grid, the same on every row
ROUNDS, ITERATIONS, PAIRS = 15, 20, 10  # of L-BFGS: steps, iterations of a step, pairs that it remembers
NEAR = 1.01  # times the level: fits as well


@dataclass(frozen=True)
class Row:
    """A task.

    Attributes:
        title: What it is called.
        task: Its name.
        options: What is set of it.
        decays: β of L-BFGS, from the largest.
    """

    title: str
    task: str
    options: Mapping[str, object]
    decays: tuple[float, ...]

    def spec(self, optimizer: str, seed: int, steps: int, measure: str | None = "flatness", **own: object) -> RunSpec:
        """A run of it; `own` are the optimizer's options."""
        rest: dict[str, Any] = {"task_options": self.options, "optimizer_options": own, "stop_on_settled": False}
        return make_spec(self.task, optimizer, seed=seed, steps=steps, every=steps, measure=measure, **rest)

    def fit(self, seed: int, decay: float, measure: str | None) -> RunSpec:
        """L-BFGS at one weight."""
        own = {"weight_decay": decay, "iterations": ITERATIONS, "history": PAIRS}
        return self.spec("lbfgs", seed, ROUNDS, measure, **own)


_TABLES = (1e-1, 3e-2, 1e-2, 3e-3)
_MODULAR = (3e-3, 1e-3, 3e-4)
ROWS = (
    Row("x + y mod 59", "modular-addition", {"p": 59, "train_fraction": 0.4, "width": 64}, _MODULAR),
    Row("x − y mod 31", "modular-subtraction", {"p": 31, "train_fraction": 0.6, "width": 64, "tables": 2}, _MODULAR),
    Row("digits", "digits", {"n_train": 64, "width": 128, "init_scale": 1.0}, (*_TABLES[1:], 1e-3)),
    Row("breast cancer", "tabular", {"data": "breast-cancer", "n_train": 40}, _TABLES),
    Row("leukemia", "tabular", {"data": "leukemia", "n_train": 19}, (2e-1, 1e-1)),
)
QUICK = (
    Row("x + y mod 23", "modular-addition", {"p": 23, "train_fraction": 0.6, "width": 32}, (1e-3,)),
    replace(ROWS[3], decays=(3e-3,)),
)


@dataclass(frozen=True)
class Measured:
    """What was measured of the four solutions of a row.

    Attributes:
        row: The row.
        seeds: Its seeds.
        found: By solution, the content of `training.flatness` of each seed.
        chosen: β of L-BFGS, of each seed.
    """

    row: Row
    seeds: Sequence[int]
    found: Mapping[str, Sequence[Mapping[str, Any]]]
    chosen: Sequence[float]

    def of(self, solution: str, name: str, state: str = "as_is") -> Array:
        """A measure of a solution on every seed, shape (seeds,).

        Args:
            solution: One of `SOLUTIONS`.
            name: Of the measure; "gap" is the norm over `least`.
            state: "as_is", "rescaled" or "levelled"; of no matter for what belongs to the function.

        Returns:
            The values, not-a-number where there is none.
        """
        if name == "gap":
            return self.of(solution, "norm", state) / self.least()
        values = [one[name] if name in one else (one[state] or {}).get(name) for one in self.found[solution]]
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    def table(self, name: str, state: str = "as_is") -> Array:
        """A measure of all solutions, shape (seeds, solutions)."""
        return np.stack([self.of(solution, name, state) for solution in SOLUTIONS], axis=1)

    def least(self) -> Array:
        """The least norm of a seed's solutions that fit as well as the level asks, shape (seeds,)."""
        fits = self.table("train_loss") <= NEAR * self.table("level")
        return np.where(fits, self.table("norm"), np.inf).min(1)


@lru_cache(maxsize=1)  # every figure asks for the same
def measured(effort: Effort) -> list[Measured]:
    """Train and measure every row, or take what is recorded.

    Args:
        effort: How much to do.

    Returns:
        One entry a row.
    """
    rows, seeds = (QUICK if effort.quick else ROWS), effort.seeds(6, 10)
    cells = [(row, seed) for row in rows for seed in seeds]
    first = train(
        {
            (row.title, seed): [
                row.spec("groktimizer", seed, STEPS),
                row.spec("adamw", seed, STEPS, **CELL),
                *(row.fit(seed, decay, None) for decay in row.decays),
            ]
            for row, seed in cells
        },
        effort,
        "trained",
    )
    chosen = {(row.title, seed): _largest(row, first[row.title, seed]) for row, seed in cells}
    second = train(
        {
            (row.title, seed): [
                row.spec("groktimizer", seed, _switch(row, first[row.title, seed][0])),
                row.fit(seed, chosen[row.title, seed], "flatness"),
            ]
            for row, seed in cells
        },
        effort,
        "at the switch, and L-BFGS at its weight",
    )
    return [_gathered(row, seeds, first, second, chosen) for row in rows]


Found = Mapping[tuple[str, int], Sequence[Record]]


def _gathered(
    row: Row, seeds: Sequence[int], first: Found, second: Found, chosen: Mapping[tuple[str, int], float]
) -> Measured:
    found: dict[str, list[Mapping[str, Any]]] = {solution: [] for solution in SOLUTIONS}
    for seed in seeds:
        end, adamw = first[row.title, seed][:2]
        switch, lbfgs = second[row.title, seed]
        for solution, record in zip(SOLUTIONS, (switch, end, adamw, lbfgs), strict=True):
            content = record.summary["measured"]["flatness"]
            if "reason" in content:
                raise UserError(f"{row.title}, {TITLES[solution]}, seed {seed}: {content['reason']}")
            found[solution].append({**content, "train_accuracy": float(record.history["train_accuracy"][-1])})
    return Measured(row, seeds, found, [chosen[row.title, seed] for seed in seeds])


def _switch(row: Row, record: Record) -> int:
    step = record.summary["switch_step"]
    if step is None:
        raise UserError(f"{row.title}, seed {record.spec['seed']}: phase 2 never began within {STEPS} steps")
    return int(step)


def _largest(row: Row, records: Sequence[Record]) -> float:
    """The largest weight at which L-BFGS fits as the level asks; the smallest if it does at none."""
    level = records[0].summary["measured"]["flatness"]["level"]
    losses = [float(record.history["train_loss"][-1]) for record in records[2:]]
    fits = [decay for decay, loss in zip(row.decays, losses, strict=True) if loss <= NEAR * level]
    return max(fits) if fits else row.decays[-1]


def over_time(effort: Effort) -> dict[str, list[Record]]:
    """GROKtimizer and AdamW on the first row's first seed, stopped and measured at several steps."""
    row = (QUICK if effort.quick else ROWS)[0]
    steps = np.unique(np.geomspace(5, STEPS, 4 if effort.quick else 9).round()).astype(int).tolist()
    own = {"groktimizer": {}, "adamw": CELL}
    return train(
        {name: [row.spec(name, effort.seed, step, **given) for step in steps] for name, given in own.items()},
        effort,
        "over time",
    )
