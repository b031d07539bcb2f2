"""Checkpoints: a run that was stopped, killed or interrupted ends with the same bits; damaged files lose nothing."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from groktimizer.measures import Verdict
from groktimizer.peers import resolve
from groktimizer.tasks import make_task
from groktimizer.training import CheckpointError, Event, Run, train
from groktimizer.training.checkpoint import VERSION, load_checkpoint, save_checkpoint
from optim_cases import same_bits

TASKS = {
    "full": make_task("modular-addition", {"p": 11, "width": 12}),
    "mini-batch": make_task("modular-addition", {"p": 11, "width": 12, "batch_size": 20}),
    "ridge": make_task("ridge", {"n": 20, "m": 60}),
}
METHODS = {
    "adam": {},
    "adamw": {"lr": 1e-2, "weight_decay": 1.0},
    "muon": {"lr": 1e-2},
    "orthograd": {},
    "grokfast": {"lr": 1e-2},
    "sam": {},
    "schedulefree": {"lr": 0.1},
    "clip": {},
    "pinned": {"norm": 5.0},
    "two-phase": {"interpolation": 1.0},
    "lbfgs": {"iterations": 2},
    "groktimizer": {"interpolation": 1.0},
}


class Crash(Exception):
    """The power fails."""


def go(task: str, method: str, checkpoint: Path | None, crash_at: int | None = None, **given: Any) -> Run:
    peer, options = resolve(method, METHODS.get(method))

    def listen(event: Event) -> None:
        if crash_at is not None and event.kind == "progress" and event.step >= crash_at:
            raise Crash

    arguments: dict[str, Any] = {
        "steps": 90,
        "every": 3,
        "checkpoint_every": 7,
        "identity": "x",
        "on_event": listen,
        **given,
    }
    return train(TASKS[task], lambda model: peer.build(model, options), checkpoint=checkpoint, **arguments)


def same(one: Run, two: Run) -> None:
    assert one.history.keys() == two.history.keys()
    for name in one.history.keys() - {"seconds"}:
        np.testing.assert_array_equal(one.history[name], two.history[name], err_msg=name)
    for name in ("status", "times", "steps", "passes", "state_bytes", "switch_step", "optimizer_status"):
        assert getattr(one, name) == getattr(two, name), name


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", ["full", "mini-batch", pytest.param("ridge", marks=pytest.mark.slow)])
def test_a_run_that_crashed_ends_with_the_same_bits(task: str, method: str, tmp_path: Path):
    whole = go(task, method, tmp_path / "whole")
    for crash_at in (2, 31, 60):
        with pytest.raises(Crash):
            go(task, method, tmp_path / "broken", crash_at)
    resumed = go(task, method, tmp_path / "broken")
    same(resumed, whole)
    assert (whole.resumed, resumed.resumed) == (0, 2)  # at step 3 there was nothing saved yet
    ends = [load_checkpoint(tmp_path / name, "x") for name in ("whole", "broken")]
    for part in ("model", "optimizer", "random"):
        assert same_bits(ends[0][part], ends[1][part]), part


def test_groktimizer_crosses_its_switch_in_these_runs(tmp_path: Path):
    run = go("full", "groktimizer", None)
    assert run.switch_step is not None
    assert set(run.history["phase"]) == {1, 2}
    assert 0 < run.switch_step < 90
    assert run.passes >= run.steps
    assert run.optimizer_status


def test_a_finished_run_is_read_back_and_can_be_given_more_steps(tmp_path: Path):
    first = go("full", "adamw", tmp_path / "c", steps=45)
    again = go("full", "adamw", tmp_path / "c", steps=45)
    same(again, first)
    longer = go("full", "adamw", tmp_path / "c")
    straight = go("full", "adamw", None)
    np.testing.assert_array_equal(longer.history["train_loss"], straight.history["train_loss"])
    assert longer.resumed == 2


def test_ctrl_c_saves_and_the_next_run_goes_on(tmp_path: Path):
    def press(event: Event) -> None:
        if event.step == 30:  # at the evaluation and once more at the end: delivered twice
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    stopped = go("full", "adam", tmp_path / "c", on_event=press)
    assert signal.getsignal(signal.SIGINT) is before
    assert (stopped.status, stopped.steps) == (Verdict.INTERRUPTED, 30)
    same(go("full", "adam", tmp_path / "c"), go("full", "adam", None))


def test_a_second_ctrl_c_acts_at_once():
    def press(event: Event) -> None:
        if event.kind == "progress":
            signal.raise_signal(signal.SIGINT)
            time.sleep(1.05)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        go("full", "adam", None, on_event=press)


WORKER = textwrap.dedent(
    """
    import sys, torch
    from pathlib import Path
    from groktimizer.peers import resolve
    from groktimizer.tasks import make_task
    from groktimizer.training import train
    peer, options = resolve("muon", {"lr": 1e-2})
    task = make_task("modular-addition", {"p": 11, "width": 12})
    train(task, lambda model: peer.build(model, options), steps=int(sys.argv[2]), every=50, checkpoint_every=20,
          checkpoint=Path(sys.argv[1]), identity="killed")
    """
)


@pytest.mark.slow
@pytest.mark.slow
def test_kill_9_loses_nothing_that_was_saved(tmp_path: Path):
    """The process is killed while it saves every few milliseconds; the file there is whole and is gone on from."""
    path, steps = tmp_path / "c", 400
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(path), "1000000"])
    while not path.exists():
        assert worker.poll() is None
        time.sleep(0.01)
    time.sleep(0.1)
    worker.kill()
    assert worker.wait() == -signal.SIGKILL
    reached = load_checkpoint(path, "killed")["step"]
    assert reached % 20 == 0
    assert reached > 0
    peer, options = resolve("muon", {"lr": 1e-2})
    given: dict[str, Any] = {"steps": max(steps, reached), "every": 50, "identity": "killed", "stop_on_settled": True}
    runs = [train(TASKS["full"], lambda m: peer.build(m, options), checkpoint=c, **given) for c in (path, None)]
    same(*runs)
    assert [run.resumed for run in runs] == [1, 0]


def damage(path: Path, kind: str) -> None:
    content = path.read_bytes()
    if kind == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "noise":
        path.write_bytes(b"not a checkpoint at all")
    else:
        weights = load_checkpoint(path, "x")["model"]["embedding"].numpy().tobytes()
        at = content.index(weights) + len(weights) // 2
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


@pytest.mark.parametrize("kind", ["cut", "empty", "noise", "one bit"])
def test_a_damaged_checkpoint_is_named_and_left_alone(kind: str, tmp_path: Path):
    path = tmp_path / "c.pt"
    go("full", "adam", path, steps=9)
    damage(path, kind)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"c\.pt is damaged: move it away") as caught:
        go("full", "adam", path, steps=9)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_checkpoints_of_others_are_refused(tmp_path: Path):
    path = tmp_path / "c.pt"
    go("full", "adam", path, steps=9)
    with pytest.raises(CheckpointError, match="belongs to another run"):
        go("full", "adam", path, steps=9, identity="y")
    save_checkpoint(path, {**load_checkpoint(path, "x"), "version": VERSION})
    content = torch.load(path, weights_only=True)
    torch.save({**content, "version": VERSION + 1}, path)
    with pytest.raises(CheckpointError, match=f"version {VERSION + 1}"):
        go("full", "adam", path, steps=9)
    torch.save({"weights": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        go("full", "adam", path, steps=9)
    with pytest.raises(CheckpointError, match="cannot read"):
        go("full", "adam", tmp_path, steps=9)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "c.pt"
    go("full", "adam", path, steps=9)
    before = path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        go("full", "adam", path, steps=20)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def long(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


WRONG: list[tuple[str, Any]] = [
    *[("step", value) for value in ("x", 3.5, True, -1)],
    *[("passes", None), ("seconds", float("nan")), ("resumed", "1"), ("identity", 7), ("optimizer_kind", 3)],
    *[("model", []), ("model", {"theta": 1.0}), ("optimizer", [1])],
    *[("random", None), ("random", torch.zeros(3, dtype=torch.uint8))],
    *[("history", table) for table in ({}, {"step": torch.arange(4)}, {"step": long(0, 2, 1)}, {"step": long(1, 2)})],
    *[("history", {"step": long(0, 1), "loss": long(1)}), ("history", {"loss": long(1)})],
]


@pytest.mark.parametrize("kind", ["wrong", "missing"])
def test_a_checkpoint_with_a_wrong_part_is_named_and_left_alone(kind: str, tmp_path: Path):
    """Its checksum is good, its content is not: every part in turn wrong, or missing."""
    path = tmp_path / "c.pt"
    go("full", "adam", path, steps=9)
    good = load_checkpoint(path, "x")
    parts = WRONG if kind == "wrong" else [(name, None) for name in good if name != "kind"]
    for name, value in parts:
        torch.save({**good, name: value} if kind == "wrong" else {k: v for k, v in good.items() if k != name}, path)
        before = path.read_bytes()
        with pytest.raises(CheckpointError, match=r"c\.pt.*(is not what a run saves|of version None)") as caught:
            go("full", "adam", path, steps=9)
        assert "\n" not in str(caught.value) and path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"step": 10**8}, "is at step 100,000,000"),
        ({"step": 5}, "is at step 5, evaluated up to 9"),
        ({"optimizer_kind": "SGD"}, "holds the state of SGD, this run's optimizer is Adam"),
        ({"optimizer": {"state": {}, "param_groups": []}}, "does not fit this run"),
        ({"optimizer": {}}, "does not fit this run"),
        ({"model": {"theta": torch.ones(2)}}, "does not fit this run"),
    ],
)
def test_a_checkpoint_that_fits_another_run_is_refused(change: dict[str, Any], told: str, tmp_path: Path):
    path = tmp_path / "c.pt"
    go("full", "adam", path, steps=9)
    save_checkpoint(path, {**load_checkpoint(path, "x"), **change})
    with pytest.raises(CheckpointError, match=told) as caught:
        go("full", "adam", path, steps=9)
    assert str(path) in str(caught.value) and "move the file away" in str(caught.value)


def test_every_changed_byte_of_a_checkpoint_is_noticed_or_harmless(tmp_path: Path):
    path = tmp_path / "c.pt"
    go("ridge", "adam", path, steps=3)
    data, noticed = path.read_bytes(), 0
    for at in np.random.default_rng(1).integers(len(data), size=300):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x2A]) + data[at + 1 :])
        try:
            load_checkpoint(path, "x")
        except CheckpointError as error:
            noticed += str(path) in str(error)
    assert noticed > 200
