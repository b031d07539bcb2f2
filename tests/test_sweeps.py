"""Sweeps: equal specifications are one run, runs side by side equal runs alone, and nothing finished is lost."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from groktimizer.ground.errors import UnknownName
from groktimizer.peers import PEERS
from groktimizer.results import Record, Store, StoreError
from groktimizer.sweeps import (
    RunSpec,
    SweepEvent,
    default_workers,
    execute,
    make_spec,
    plan,
    record_of,
    run_or_reuse,
    run_spec,
    split_options,
    warm_up,
)

RIDGE = {"n": 10, "m": 40}


def ridge(seed: int = 0, steps: int = 60, **options: object) -> RunSpec:
    return make_spec(
        "ridge", "sgd", task_options=RIDGE, optimizer_options={"lr": 0.1, **options}, seed=seed, steps=steps, every=10
    )


def same_history(a: Record, b: Record) -> None:
    assert list(a.history) == list(b.history)
    for name in a.history:
        if name != "seconds":
            np.testing.assert_array_equal(a.history[name], b.history[name], err_msg=name)


def test_spelled_and_implied_defaults_are_the_same_run():
    implied = make_spec("modular-addition", "adamw-tuned")
    options = {key: str(value) for key, value in (PEERS["adamw"].tuned or {}).items()}
    spelled = make_spec(
        "modular-addition", "adamw", task_options={"p": "97"}, optimizer_options=options, steps=implied.steps,
        every=implied.every,
    )  # fmt: skip
    assert spelled.identity == implied.identity
    assert implied.optimizer == "adamw"


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1}, {"steps": 61}, {"every": 20}, {"precision": "fp32"}, {"threads": 2}, {"compile": True},
        {"stop_on_settled": False}, {"device": "cuda"}, {"optimizer_options": {"lr": 0.2}}, {"optimizer": "adam"},
        {"task_options": {"n": 11}}, {"task": "digits"}, {"own": {"task": "0" * 16}}, {"measure": "norm-gap"},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_every_field_is_part_of_the_identity(change):
    assert replace(ridge(), **change).identity != ridge().identity


def test_plan_is_every_pair_once():
    specs = plan([ridge(), ridge(seed=5), ridge(lr=0.2)], [1, 2])
    assert [(spec.optimizer_options["lr"], spec.seed) for spec in specs] == [(0.1, 1), (0.1, 2), (0.2, 1), (0.2, 2)]


def test_split_options_asks_for_a_prefix_only_where_both_have_the_key(monkeypatch):
    assert split_options("ridge", ["sgd", "adamw"], ["n=5", "lr=1", "optimizer.beta1=0"]) == (
        {"n": "5"},
        {"lr": "1", "beta1": "0"},
    )
    monkeypatch.setattr(
        "groktimizer.sweeps.spec.find_task", lambda _: type("T", (), {"defaults": lambda _: {"lr": 1}})()
    )
    assert split_options("ridge", ["sgd"], ["task.lr=2", "optimizer.lr=3"]) == ({"lr": "2"}, {"lr": "3"})
    with pytest.raises(ValueError, match=r"both have lr; write task.lr=… or optimizer.lr=…"):
        split_options("ridge", ["sgd"], ["lr=1"])
    with pytest.raises(UnknownName, match="did you mean 'momentum'"):
        split_options("ridge", ["sgd"], ["momentun=1"])


def test_side_by_side_equals_one_after_the_other(tmp_path):
    """Processes side by side give, to the last bit, what runs in this process give."""
    specs, events = plan([ridge(), ridge(momentum=0.5)], [1, 2]), list[SweepEvent]()
    outcomes = execute([*specs, specs[0]], Store(tmp_path), workers=2, on_event=events.append)
    assert [outcome.spec.identity for outcome in outcomes] == [spec.identity for spec in [*specs, specs[0]]]
    for outcome in outcomes:
        assert outcome.record is not None and outcome.error is None
        same_history(outcome.record, record_of(outcome.spec, run_spec(outcome.spec)))
    assert sum(event.outcome is not None for event in events) == len(specs)
    assert not list((tmp_path / "checkpoints").iterdir())
    again = execute(specs, Store(tmp_path), workers=2)
    assert all(outcome.reused for outcome in again)
    assert [o.record.provenance["created"] for o in again if o.record] == [
        o.record.provenance["created"] for o in outcomes[:4] if o.record
    ]


def test_one_failing_run_leaves_the_others_alone(tmp_path):
    """A run whose checkpoint is damaged, and one killed from outside, become outcomes with an error."""
    good, damaged, killed = ridge(1), ridge(2), ridge(3, steps=200_000)
    store = Store(tmp_path)
    store.checkpoint(damaged.identity).write_bytes(b"not a checkpoint")

    def kill(event: SweepEvent) -> None:
        if event.spec == killed and event.event is not None:
            for process in children():
                os.kill(process, signal.SIGKILL)

    first = execute([good, damaged], store, workers=2)
    assert first[0].record is not None
    assert first[1].record is None and "is damaged" in str(first[1].error)
    last = execute([killed], store, workers=1, on_event=kill)[0]
    assert last.record is None and "killed by signal 9" in str(last.error)
    assert execute([damaged], store, fresh=True)[0].record is not None


def children() -> list[int]:
    from multiprocessing import active_children

    return [process.pid for process in active_children() if process.pid is not None]


def test_interrupt_keeps_what_is_finished_and_resumes_bit_equal(tmp_path):
    """Ctrl-C: the finished run is recorded, the one under way saved; running again gives the uninterrupted numbers."""
    short, long = ridge(1), ridge(2, steps=4_000)
    store = Store(tmp_path / "a")

    def interrupt(event: SweepEvent) -> None:
        if event.spec == long and event.event is not None and event.event.step > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute([short, long], store, workers=1, on_event=interrupt)
    assert store.has(short.identity)
    deadline = time.monotonic() + 60
    while children() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert store.checkpoint(long.identity).exists() or store.has(long.identity)
    resumed = execute([short, long], store, workers=1)
    assert resumed[0].reused and resumed[1].record is not None
    same_history(resumed[1].record, record_of(long, run_spec(long)))


ASK = """
import sys
from multiprocessing import active_children
from groktimizer.results import Store
from groktimizer.sweeps import execute, make_spec

def tell(event):
    if event.event is not None:
        print(*[child.pid for child in active_children()], flush=True)

if __name__ == "__main__":
    spec = make_spec("ridge", "sgd", task_options={"n": 10, "m": 40}, steps=10**8, every=10**8)
    execute([spec], Store(sys.argv[1]), workers=1, checkpoint_every=10**8, on_event=tell)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A run with one evaluation in 10^8 steps whose asking process was killed: working directory and the run's pid.

    In that directory lie files with names that Python's own modules have, which leave a mark when they are run.
    """
    script, here = tmp_path_factory.mktemp("script") / "ask.py", tmp_path_factory.mktemp("here")
    script.write_text(ASK)
    for name in ("selectors", "tempfile", "socket", "shutil"):
        (here / f"{name}.py").write_text("open('ran', 'w')\n")
    with subprocess.Popen([sys.executable, script, "out"], cwd=here, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        run = int(program.stdout.readline().split()[0])
        program.kill()
    return here, run


def alive(pid: int) -> bool:
    """Whether a process is there and is not a zombie that nobody collects."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_run_ends_with_the_process_that_asked_for_it_and_saves_its_state(killed: tuple[Path, int]):
    here, run = killed
    deadline = time.monotonic() + 60
    while alive(run) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(run)
    assert len(list((here / "out" / "checkpoints").glob("*.pt"))) == 1


@pytest.mark.slow
def test_files_of_the_working_directory_are_not_taken_for_modules(killed: tuple[Path, int]):
    assert not (killed[0] / "ran").exists()


def test_the_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch):
    for before in (None, "", "1"):
        monkeypatch.setenv("PYTHONSAFEPATH", before or "")
        if before is None:
            monkeypatch.delenv("PYTHONSAFEPATH")
        warm_up()
        assert os.environ.get("PYTHONSAFEPATH") == before


def test_fresh_runs_again_and_replaces(tmp_path: Path):
    store = Store(tmp_path)
    first, _ = run_or_reuse(ridge(), store)
    second, reused = run_or_reuse(ridge(), store)
    assert reused and second.provenance == first.provenance
    third, reused = run_or_reuse(ridge(), store, fresh=True)
    assert not reused and len(store.query()) == 1
    same_history(third, first)


@pytest.mark.parametrize("missing", ["times", "status", "memorised", "train_loss"])
def test_a_record_without_what_runs_record_is_not_reused(missing, tmp_path):
    """Well formed, with a good digest, of the right identity: but no command could read it."""
    store = Store(tmp_path)
    whole, _ = run_or_reuse(ridge(), store)
    history = {name: column for name, column in whole.history.items() if name != missing}
    times = {name: time for name, time in whole.summary["times"].items() if name != missing}
    summary = {name: value for name, value in {**whole.summary, "times": times}.items() if name != missing}
    store.save(replace(whole, history=history, summary=summary))
    for reuse in (lambda: run_or_reuse(ridge(), store), lambda: execute([ridge()], store)):
        with pytest.raises(StoreError, match=rf"it has no .*{missing}.*--fresh"):
            reuse()
    assert not run_or_reuse(ridge(), store, fresh=True)[1]


def test_a_state_left_beside_its_record_is_not_run_again(tmp_path):
    """Killed between recording and forgetting; only a state saved after the record is of a fresh run to go on with."""
    store = Store(tmp_path)
    first, _ = run_or_reuse(ridge(), store)
    path = store.checkpoint(ridge().identity)
    run_spec(ridge(), checkpoint=path)
    os.utime(path, (0, 0))
    again, reused = run_or_reuse(ridge(), store)
    assert reused and again.provenance == first.provenance


def test_workers_are_counted():
    assert default_workers() >= 1
    with pytest.raises(ValueError, match="workers=0: expected a whole number ≥ 1"):
        execute([], Store("."), workers=0)


def test_the_server_that_runs_are_forked_from_asks_cuda_nothing(monkeypatch: pytest.MonkeyPatch):
    """Once CUDA has been asked in a process, what is forked from it cannot use a GPU, and cannot even look for one."""

    def asked(*_: object) -> bool:
        raise AssertionError("CUDA was asked")

    from groktimizer.sweeps import warm

    for name in ("is_available", "device_count", "is_current_stream_capturing"):
        monkeypatch.setattr(torch.cuda, name, asked)
    warm.load()
