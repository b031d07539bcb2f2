"""Runs side by side: the numbers of single runs, whoever runs beside them, stopped and resumed to the bit."""

import itertools
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from groktimizer.peers import find_peer
from groktimizer.tasks import Problem, Task, make_task
from groktimizer.training import Asked, Event, Run, train, train_stack

SMALL = {"p": 11, "width": 16, "batch_size": 32}


def asked(optimizer: str, seeds: Sequence[int], **options: Any) -> list[Asked]:
    """One run a seed; the learning rates of every other one are different."""
    peer = find_peer(optimizer)

    def build(seed: int, model: nn.Module) -> Optimizer:
        made = peer.build(model, peer.options(options))
        for group in made.param_groups:
            group["lr"] = float(group["lr"]) * (1.0 + seed % 2)
        return made

    return [Asked(lambda model, seed=seed: build(seed, model), seed, f"{seed:016}") for seed in seeds]


def together(task: Any, runs: Sequence[Asked], **options: Any) -> list[Run]:
    found = dict(train_stack(task, runs, **options))
    assert sorted(found) == list(range(len(runs)))
    return [run if isinstance(run, Run) else pytest.fail(repr(run)) for run in map(found.__getitem__, range(len(runs)))]


def difference(one: Run, other: Run) -> float:
    """Largest of all columns but the seconds, relative where they are large."""
    assert one.history.keys() == other.history.keys()
    assert (one.passes, one.steps, one.switch_step, one.status) == (
        other.passes, other.steps, other.switch_step, other.status,
    )  # fmt: skip
    pairs = ((column, other.history[name]) for name, column in one.history.items() if name != "seconds")
    return max(float(np.nanmax(np.abs(a - b) / np.maximum(1, np.abs(a)))) for a, b in pairs)


@pytest.mark.parametrize(
    ("task", "options", "optimizer", "steps"),
    [
        ("modular-addition", SMALL, "groktimizer", 120),
        ("modular-addition", SMALL, "adamw", 40),
        ("modular-addition", {"p": 7, "model": "transformer"}, "adamw", 6),
        ("modular-addition", SMALL, "sgd", 40),
        ("modular-addition", SMALL, "sam", 12),
        ("modular-addition", SMALL, "schedulefree", 12),
        ("modular-addition", SMALL, "pinned", 12),
        ("modular-addition", SMALL, "muon", 12),
        ("ridge", {"n": 8, "m": 30}, "groktimizer", 60),
        ("sparse-recovery", {}, "proximal", 20),
    ],
)  # fmt: skip
def test_each_run_is_the_single_run(task: str, options: dict[str, Any], optimizer: str, steps: int):
    made, runs = make_task(task, options), asked(optimizer, range(4))
    found = together(made, runs, steps=steps, every=3, precision="fp64", stop_on_settled=False)
    for run, one in zip(found, runs, strict=True):
        alone = train(
            made, one.build_optimizer, seed=one.seed, steps=steps, every=3, precision="fp64", stop_on_settled=False
        )
        assert difference(run, alone) <= 1e-12
    if optimizer == "groktimizer" and task == "modular-addition":
        assert {run.switch_step for run in found} != {None}  # across the phases, each at its own step
    assert len({float(run.history["train_loss"][-1]) for run in found}) == len(found)  # they are not all the same


@pytest.mark.parametrize("optimizer", ["groktimizer", "adamw", "sgd"])
@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("modular-addition", SMALL),
        ("modular-addition", {**SMALL, "batch_size": None}),
        ("modular-addition", {"p": 7, "model": "transformer"}),
        ("ridge", {"n": 8, "m": 30}),
    ],
)
def test_company_does_not_change_a_bit(optimizer: str, name: str, given: dict[str, Any]):
    task, options = make_task(name, given), {"steps": 21, "every": 7}
    whole = together(task, asked(optimizer, range(6)), **options)
    for some in ([0], [1, 4], [2, 3, 5]):
        for seed, run in zip(some, together(task, asked(optimizer, some), **options), strict=True):
            assert difference(run, whole[seed]) == 0.0


def _descent(decay: float, model: nn.Module) -> Optimizer:
    return torch.optim.SGD(model.parameters(), lr=1.0, weight_decay=decay)


def test_runs_end_when_they_settle_and_the_others_go_on():
    task = make_task("ridge", {"n": 20, "m": 200})
    runs = [Asked(partial(_descent, 0.01 * (1 + seed)), seed) for seed in range(3)]
    options: dict[str, Any] = {"steps": 1_500, "every": 5, "precision": "fp64"}
    found = together(task, runs, **options)
    lengths = [run.steps for run in found]
    assert len(set(lengths)) == 3 and max(lengths) < 1_500
    alone = [train(task, one.build_optimizer, seed=one.seed, **options) for one in runs]
    assert [run.steps for run in alone] == lengths


def test_stopped_it_goes_on_to_the_bit_also_from_different_steps(tmp_path: Path):
    task = make_task("modular-addition", SMALL)
    options: dict[str, Any] = {"steps": 40, "every": 5, "checkpoint_every": 8}
    for kind in ("groktimizer", "adamw"):
        runs = asked(kind, range(3))
        whole = together(task, runs, **options)
        kept = [Asked(one.build_optimizer, one.seed, one.identity, tmp_path / f"{kind}{one.seed}") for one in runs]

        def stop(event: Event) -> None:
            if event.step == 20:
                signal.raise_signal(signal.SIGINT)

        stopped = together(task, kept, on_event=stop, **options)
        assert all(run.interrupted and run.steps == 20 for run in stopped)
        train(
            task, kept[1].build_optimizer, seed=1, identity=kept[1].identity, checkpoint=kept[1].checkpoint, **options
        )
        resumed = together(task, kept, **options)
        assert [difference(run, one) for run, one in zip(resumed[::2], whole[::2], strict=True)] == [0.0, 0.0]
        assert difference(resumed[1], whole[1]) <= 1e-5  # its second half was trained alone, in float32


def test_one_that_fails_leaves_the_others_alone():
    class Fails(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            raise ValueError("no step of mine")

    task, runs = make_task("modular-addition", SMALL), asked("adamw", range(3))
    runs[1] = Asked(lambda model: Fails(model.parameters(), lr=0.1), 1)
    found = dict(train_stack(task, runs, steps=6, every=3))
    assert isinstance(found[1], ValueError)
    alone = together(task, [runs[0], runs[2]], steps=6, every=3)
    assert [difference(a, b) for a, b in zip(alone, (found[0], found[2]), strict=True) if isinstance(b, Run)] == [0, 0]


def followed_by(monkeypatch: pytest.MonkeyPatch, layer: Callable[[], nn.Module]) -> Task:
    """A task whose network has one more layer."""
    task = make_task("modular-addition", SMALL)
    build = type(task).build

    def more(self: Any, seed: int, **options: Any) -> Problem:
        problem = build(self, seed, **options)
        return replace(problem, model=nn.Sequential(problem.model, layer()))

    monkeypatch.setattr(type(task), "build", more)
    return task


def test_running_statistics_are_each_runs_own(monkeypatch: pytest.MonkeyPatch):
    task = followed_by(monkeypatch, lambda: nn.BatchNorm1d(SMALL["p"], dtype=torch.float64))
    runs = asked("sgd", range(3))
    options: dict[str, Any] = {"steps": 20, "every": 3, "precision": "fp64"}
    for run, one in zip(together(task, runs, **options), runs, strict=True):
        assert difference(run, train(task, one.build_optimizer, seed=one.seed, **options)) <= 1e-12


def test_what_a_network_draws_in_training_cannot_be_stacked(monkeypatch: pytest.MonkeyPatch):
    task = followed_by(monkeypatch, lambda: nn.Dropout(0.1))
    with pytest.raises(RuntimeError, match="random"):
        dict(train_stack(task, asked("sgd", range(2)), steps=2))


def test_seconds_are_shares():
    task = make_task("modular-addition", SMALL)
    runs = together(task, asked("adamw", range(8)), steps=40, every=10)
    seconds = [run.history["seconds"] for run in runs]
    assert all((np.diff(one) > 0).all() for one in seconds)
    ends = [float(one[-1] - one[1]) for one in seconds]
    assert max(ends) == pytest.approx(min(ends), rel=1e-6)


def test_equal_settings_share_one_optimizer(monkeypatch: pytest.MonkeyPatch):
    """Of four runs with two learning rates, two optimizers of PyTorch step, and GROKtimizer's four."""
    count = itertools.count()
    step = torch.optim.AdamW.step

    def counted(self: Any, closure: Any = None) -> Any:
        next(count)
        return step(self, closure)

    monkeypatch.setattr(torch.optim.AdamW, "step", counted)
    together(make_task("modular-addition", SMALL), asked("adamw", range(4)), steps=5, every=5)
    assert next(count) == 2 * 5
