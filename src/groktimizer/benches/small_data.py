"""The small-data benchmark: every method on every division of every set, one record each, and what they say."""

import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from groktimizer.benches.methods import METHODS, Task, score
from groktimizer.benches.sets import DataSet
from groktimizer.benches.standings import Scores, verdicts
from groktimizer.ground.extras import require
from groktimizer.results import FIT, Record, Store, identity, provenance

VERSION = 1  # of what `work` does


@dataclass(frozen=True)
class Unit:
    """One method on one division of one set.

    Attributes:
        set: The set.
        number: Of the division.
        method: A name of `METHODS`.
    """

    set: DataSet
    number: int
    method: str

    @property
    def spec(self) -> dict[str, Any]:
        """What determines its result."""
        data = {
            "set": self.set.label,
            "target": self.set.target,
            "n_train": self.set.n_train,
            "digest": self.set.digest,
            "split": self.number,
        }
        settings = dict(METHODS[self.method].settings)
        return {"bench": "small-data", "version": VERSION, **data, "method": self.method, "settings": settings}

    @property
    def identity(self) -> str:
        """Of its record."""
        return identity(self.spec)


def units_of(sets: Sequence[DataSet], methods: Sequence[str], splits: int | None = None) -> list[Unit]:
    """Everything that a benchmark consists of, division by division, so that what is there is always comparable.

    Args:
        sets: The sets.
        methods: Names of `METHODS`.
        splits: Divisions of each set at most; None is all of them.

    Returns:
        The units.
    """
    most = max(each.splits for each in sets) if splits is None else splits
    return [Unit(each, k, name) for k in range(most) for each in sets if k < each.splits for name in methods]


def work(unit: Unit) -> dict[str, Any]:
    """Fit and score.

    Args:
        unit: What.

    Returns:
        ``score`` on the test part, ``inner``, ``fits``, ``seconds``, sizes ``n``, ``m`` and ``p``, and what was chosen.
    """
    import torch

    torch.set_num_threads(1)
    rows, (train, test) = unit.set.rows(), unit.set.split(unit.number)
    task = Task(rows.inputs[train], rows.targets[train], rows.inputs[test], unit.number)
    with warnings.catch_warnings():
        exceptions = require("sklearn.exceptions", extra="sklearn")
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        warnings.simplefilter("ignore", exceptions.FitFailedWarning)  # a cell that cannot be fitted is not chosen
        warnings.filterwarnings("ignore", message="A single label was found")  # in a fold
        warnings.filterwarnings("ignore", message="One or more of the test scores are non-finite")
        warnings.filterwarnings("ignore", message="y residual is constant")  # of partial least squares
        warnings.filterwarnings("ignore", message="The least populated class in y")  # fewer of it than folds
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        METHODS[unit.method].prepare()
        began = time.perf_counter()
        answer = METHODS[unit.method].fit(task)
        seconds = time.perf_counter() - began
    sizes = {
        "n": len(train),
        "m": len(test),
        "p": rows.inputs.shape[1],
        "classes": rows.classes,
    }
    found = score(rows.targets[test], np.asarray(answer.predicted))
    return {
        "score": found,
        "inner": answer.inner,
        "fits": answer.fits,
        "seconds": seconds,
        **sizes,
        "told": dict(answer.told),
    }


def bench(
    units: Sequence[Unit],
    store: Store,
    *,
    workers: int,
    fresh: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Do what is not recorded yet, one single-thread process a unit, and judge.

    After Ctrl-C or a kill what is finished is in the store, and the same call goes on.

    Args:
        units: From `units_of`.
        store: Where records are kept.
        workers: Processes at a time.
        fresh: Whether to do again what is recorded.
        say: Called with a sentence of progress.

    Returns:
        ``sets`` and ``methods``, ``scores`` and ``seconds`` by method and set, one number a division, and what
        `verdicts` says of them.
    """
    found = {} if fresh else {unit: store.load(unit.identity).content for unit in units if store.has(unit.identity)}
    missing = [unit for unit in units if unit not in found]
    began = time.monotonic()
    for done, (unit, result) in enumerate(_side_by_side(missing, workers), 1):
        store.save(Record.of(FIT, unit.spec, {**result, "file": f"fit-{unit.identity}"}, provenance(1)))
        found[unit] = result
        left = (time.monotonic() - began) / done * (len(missing) - done) / 60
        where = f"{unit.set.label}, split {unit.number}, {unit.method}"
        say(f"{done} of {len(missing)}: {where} {result['score']:.3f}; {left:.0f} min left")
    return summary(units, found)


def _side_by_side(units: Sequence[Unit], workers: int) -> Any:
    joblib = require("joblib", extra="sklearn")
    if not units:
        return iter(())
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)
        return parallel(joblib.delayed(_both)(unit) for unit in units)


def _both(unit: Unit) -> tuple[Unit, dict[str, Any]]:
    return unit, work(unit)


def summary(units: Sequence[Unit], found: Mapping[Unit, Mapping[str, Any]]) -> dict[str, Any]:
    """What results say together.

    Args:
        units: All of them.
        found: The result of each.

    Returns:
        As `bench`.
    """
    table: Scores = defaultdict(dict)
    inner: Scores = defaultdict(dict)
    told: dict[str, dict[str, list[Any]]] = defaultdict(dict)
    seconds: Scores = defaultdict(dict)
    sets: dict[str, dict[str, Any]] = {}
    for unit in units:
        result = found[unit]
        sets[unit.set.label] = {key: result[key] for key in ("n", "m", "p", "classes")}
        for into, key in ((table, "score"), (inner, "inner"), (seconds, "seconds"), (told, "told")):
            into[unit.method].setdefault(unit.set.label, []).append(result[key])
    methods = [{"name": name, "family": METHODS[name].family, "about": METHODS[name].about} for name in table]
    fits = {name: max(found[unit]["fits"] for unit in units if unit.method == name) for name in table}
    judged = verdicts(table, inner, sets, {each["name"]: each["family"] for each in methods})
    return {"sets": sets, "methods": methods, "fits": fits, "scores": table, "seconds": seconds, "told": told, **judged}


def forecast(units: Sequence[Unit], store: Store, workers: int, say: Callable[[str], None]) -> tuple[int, float]:
    """Say what a benchmark costs, from one division of each set; its results are kept and count.

    Args:
        units: From `units_of`.
        store: Where records are kept.
        workers: Processes at a time.
        say: Called with a sentence of progress.

    Returns:
        How many units are not recorded yet, and how many seconds they take on so many workers.
    """
    first = min(unit.number for unit in units)
    probes = [unit for unit in units if unit.number == first]
    bench(probes, store, workers=workers, say=say)
    costs = {(unit.set.label, unit.method): store.load(unit.identity).content["seconds"] for unit in probes}
    missing = [unit for unit in units if not store.has(unit.identity)]
    return len(missing), sum(costs[unit.set.label, unit.method] for unit in missing) / workers
