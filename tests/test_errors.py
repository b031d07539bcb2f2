"""One table of bad input: each row ends in one clear line that names argument, value and what is accepted.

Command lines exit with 2, calls raise ValueError; neither shows a traceback, and nothing that was there is lost.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from groktimizer import param_groups
from groktimizer.cli import main
from groktimizer.ground.errors import UnknownName, UserError
from groktimizer.ground.names import unknown
from groktimizer.measures import paired_bootstrap, wilson_interval
from groktimizer.peers import resolve
from groktimizer.results import Record, Store, identity, write_bytes
from groktimizer.sweeps import execute, make_spec
from groktimizer.tasks import Problem, RidgeTask
from groktimizer.training import train
from groktimizer.training.checkpoint import save_checkpoint

TINY = ["run", "modular-addition", "--set", "p=5", "width=4", "--steps", "3", "--every", "1"]
RUN, COMPARE = ["run", "modular-addition"], ["compare", "modular-addition"]
SPARSE = ["run", "sparse-recovery"]

# words of the command line -> words that its one line contains
COMMANDS = [
    (["rum", "ridge"], "unknown command 'rum': did you mean 'run'?"),
    ([], "the following arguments are required: COMMAND"),
    (["run"], "the following arguments are required: TASK"),
    (["run", "modlar-addition"], "unknown task 'modlar-addition': did you mean 'modular-addition'?"),
    (["compare", "rigde"], "unknown task 'rigde': did you mean 'ridge'?"),
    ([*RUN, "--optimizer", "adamv"], "unknown optimizer 'adamv': did you mean 'adam"),
    ([*RUN, "--optimizer", "sgd-tuned"], "unknown optimizer 'sgd-tuned'"),
    ([*COMPARE, "--optimizers", "adamw,mouon"], "unknown optimizer 'mouon': did you mean 'muon'?"),
    ([*COMPARE, "--optimizers", "adamw,adamw"], "names one method twice"),
    ([*COMPARE, "--optimizers", ","], "--optimizers is empty"),
    ([*COMPARE, "--tune", "--tune-methods", "adanw"], "unknown optimizer 'adanw': did you mean 'adamw'?"),
    ([*COMPARE, "--optimizers", "adamw", "--reference", "sgd"], "--reference 'sgd': expected one of adamw"),
    ([*COMPARE, "--settings", "train_fraktion=0.3"], "'train_fraktion': did you mean 'train_fraction'?"),
    ([*COMPARE, "--settings", "train_fraction"], "expected key=value"),
    ([*COMPARE, "--cap", "0.5"], "'0.5': expected a number ≥ 1"),
    ([*COMPARE, "--workers", "0"], "'0': expected a whole number ≥ 1"),
    ([*COMPARE, "--seeds", "1.5"], "'1.5': expected how many seeds"),
    ([*COMPARE, "--seeds", "1,x"], "'1,x': expected how many seeds"),
    ([*COMPARE, "--seeds", "7,7"], "a seed comes twice"),
    ([*COMPARE, "--seeds", "0"], "'0': expected from 1 to 1,000 seeds, got 0"),
    ([*COMPARE, "--seeds", "1001"], "'1001': expected from 1 to 1,000 seeds, got 1,001"),
    ([*COMPARE, "--seeds", "123456789012345678"], "expected from 1 to 1,000 seeds"),
    ([*COMPARE, "--seeds", "7,1000000000000000000"], "whole numbers of at most 18 digits"),
    ([*COMPARE, "--seeds", "9" * 9_000], "at most 18 digits"),
    ([*COMPARE, "--seeds", ",".join(map(str, range(1_001)))], "expected from 1 to 1,000 seeds, got 1,001"),
    ([*COMPARE, "--tune", "--seeds", "2,101"], "--seeds 2: tuning is done on seeds 1, 2, 3, report on others"),
    ([*COMPARE, "--tune-methods", "muon"], "--tune-methods muon: nothing is tuned without --tune"),
    ([*COMPARE, "--tune-methods", "nobody"], "--tune-methods nobody: nothing is tuned without --tune"),
    ([*COMPARE, "--tune", "--tune-methods", ","], "--tune-methods is empty"),
    ([*COMPARE, "--tune", "--tune-methods", "sgd,sgd"], "--tune-methods names one method twice"),
    ([*COMPARE, "--reference", ""], "--reference '': expected one of groktimizer"),
    ([*COMPARE, "--settings", "width=8,width=9"], "--settings 'width=8,width=9': width is given twice"),
    ([*COMPARE, "--settings", "width=8;"], "--settings '': expected key=value"),
    ([*COMPARE, "--settings", "width=8;width=8"], "the same setting as 'width=8'"),
    ([*COMPARE, "--settings", "width=8", "--set", "width=9"], "width is given twice: 9 by --set"),
    ([*COMPARE, "--tune", "--set", "model=mlp"], "model is given twice: mlp by --set"),
    ([*COMPARE, "--device", "tpu9"], "device='tpu9': not available here"),
    (["reproduce", "beyond-l2", "--figures", ", ,"], "--figures is empty: name some"),
    ([*RUN, "--seed", "one"], "'one': expected a whole number ≥ 0"),
    ([*RUN, "--seed", "-1"], "'-1': expected a whole number ≥ 0"),
    ([*RUN, "--steps", "0"], "'0': expected a whole number ≥ 1"),
    ([*RUN, "--every", "often"], "'often': expected a whole number ≥ 1 or 'log'"),
    ([*RUN, "--every=--"], "argument --every: expected a value, got '--'"),
    ([*RUN, "--precision", "fp8"], "invalid choice: 'fp8'"),
    ([*RUN, "--threads", "many"], "'many': expected a whole number ≥ 1"),
    ([*RUN, "--device", "tpu9", "--set", "p=5"], "device='tpu9': not available here"),
    ([*RUN, "--checkpoint-every", "0"], "'0': expected a whole number ≥ 1"),
    ([*RUN, "--penalty", "l3"], "unknown penalty 'l3' (known: l2, l1, nuclear, group)"),
    ([*COMPARE, "--penalty", "l3"], "unknown penalty 'l3' (known: l2, l1, nuclear, group)"),
    (["list", "task"], "invalid choice: 'task'"),
    ([*RUN, "--optimizer", "adamw", "--penalty", "l1"], "--penalty l1: adamw takes no penalty; accepted: groktimizer"),
    ([*RUN, "--penalty", "l1", "--weight", "-1"], "weight_decay=-1.0: expected a finite number ≥ 0"),
    ([*RUN, "--penalty", "l1", "--weight", "x"], "weight_decay='x': expected a number or none"),
    ([*RUN, "--set", "penalty=l7"], "unknown penalty 'l7'"),
    (["run", "sparse-recovery", "--penalty", "nuclear"], "expected tensors with at least 2 dimensions"),
    (["run", "sparse-recovery", "--set", "s=200"], "s=200: expected at most n=100"),
    (["run", "sparse-recovery", "--set", "N=0"], "N=0: expected a whole number ≥ 1"),
    (["run", "sparse-recovery", "--set", "tau=0.5"], "tau=0.5: features='gaussian' have none"),
    (["run", "matrix-completion", "--set", "r=11"], "r=11: expected a rank of at most min(n1, n2)=10"),
    (["run", "matrix-completion", "--set", "N=5"], "without an observed entry, so recovery is impossible"),
    ([*RUN, "--fast"], "unrecognized arguments: --fast"),
    ([*RUN, "--set", "learning_rate=1"], "unknown option 'learning_rate'"),
    ([*RUN, "--set", "trian_fraction=0.4"], "did you mean 'train_fraction'?"),
    ([*RUN, "--set", "lr"], "'lr': expected key=value"),
    ([*RUN, "--set", "lr=1", "lr=2"], "lr is given twice"),
    ([*RUN, "--set", "lr=fast"], "lr='fast': expected a number"),
    ([*RUN, "--set", "p=1"], "p=1: expected a whole number from 2"),
    ([*RUN, "--set", "p=7.5"], "p='7.5': expected a whole number"),
    (["run", "modular-division", "--set", "p=15"], "p=15: modular-division needs a prime"),
    ([*RUN, "--set", "train_fraction=0"], "train_fraction=0.0: expected a number inside (0, 1)"),
    ([*RUN, "--set", "train_fraction=1.0"], "train_fraction=1.0: expected a number inside (0, 1)"),
    ([*RUN, "--set", "train_fraction=1e-9"], "train_fraction=1e-09"),
    ([*RUN, "--set", "model=cnn"], "model='cnn'"),
    ([*RUN, "--set", "model=transformer", "width=30"], "heads=4: expected a divisor of width=30"),
    ([*RUN, "--set", "batch_size=0"], "batch_size=0"),
    ([*RUN, "--optimizer", "adamw", "--set", "lr=-1e-3"], "lr=-0.001: expected a finite learning rate > 0"),
    ([*RUN, "--set", "lr=-1"], "lr=-1"),
    ([*RUN, "--optimizer", "adamw", "--set", "weight_decay=-1"], "weight_decay=-1.0: expected a finite number ≥ 0"),
    ([*RUN, "--set", "lr=0.5", "weight_decay=3"], "weight_decay"),  # η·λ ≥ 1
    ([*RUN, "--set", "metric=euclidian"], "metric='euclidian'"),
    ([*RUN, "--set", "interpolation=0"], "interpolation=0.0"),
    ([*RUN, "--set", "interpolation=-0.1"], "interpolation=-0.1"),
    ([*RUN, "--set", "damping=0"], "damping=0.0"),
    ([*RUN, "--set", "base=adamx"], "unknown base 'adamx': did you mean 'adam"),
    ([*RUN, "--set", "base=adam:fast"], "base='adam:fast': expected NAME or NAME:LR"),
    ([*RUN, "--set", "guard=perhaps"], "guard='perhaps': expected true or false"),
    (["run", "digits", "--set", "n_train=0"], "n_train=0"),
    (["run", "ridge", "--set", "n=0"], "n=0"),
    (
        [*SPARSE, "--optimizer", "proximal", "--set", "lr=1"],
        "lr=1: descent diverges on this problem, accepted are",
    ),
    ([*SPARSE, "--optimizer", "subgradient", "--set", "lr=0.5"], "lr=0.5: descent diverges on this problem, accepted"),
    ([*SPARSE, "--optimizer", "sgd", "--set", "lr=2", "momentum=0.9"], "lr=2: descent diverges on this problem"),
    (
        [*SPARSE, "--penalty", "l1", "--set", "metric=euclidean", "lr=0.3", "interpolation=inf"],
        "lr=0.3: accelerated proximal steps diverge on this problem, accepted are values up to",
    ),
    ([*SPARSE, "--penalty", "l1", "--weight", "1e3"], "weight=1000: 0 is the answer, accepted on this problem are"),
    ([*SPARSE, "--optimizer", "proximal", "--weight", "1e3"], "weight=1000: 0 is the answer, accepted on this problem"),
    (
        ["run", "matrix-completion", "--optimizer", "proximal", "--penalty", "nuclear", "--weight", "9"],
        "weight=9: 0 is the answer, accepted on this problem are weights below",
    ),
    (
        ["run", "ridge", "--optimizer", "sgd", "--set", "lr=300"],
        "lr=300: descent diverges on this problem, accepted",
    ),
    (
        ["compare", "sparse-recovery", "--optimizers", "proximal", "--set", "lr=1"],
        "lr=1: descent diverges on this problem",
    ),
    # sizes, estimated before anything is allocated
    ([*RUN, "--set", "width=3000000"], "width=3000000: modular-addition takes at least 7.21e+04 GB, 8 GB are free"),
    ([*RUN, "--set", "p=4096", "train_fraction=0.1"], "p=4096"),
    ([*RUN, "--set", "model=transformer", "width=4000000"], "width=4000000: modular-addition takes at least"),
    (["run", "ridge", "--set", "m=99999999999999999999"], "m=99999999999999999999: ridge takes at least 1.62e+14 GB"),
    (["run", "relu-regression", "--set", "m=300000000", "d=400"], "m=300000000, d=400: relu-regression takes at least"),
    (["run", "relu-teacher", "--set", "r=30000000"], "r=30000000: relu-teacher takes at least"),
    (["run", "digits", "--set", "width=90000000"], "width=90000000: digits takes at least"),
    (["run", "mnist", "--set", "width=90000000"], "width=90000000: mnist takes at least"),
    ([*SPARSE, "--set", "n=3000000", "N=9000000"], "n=3000000, N=9000000: sparse-recovery takes at least"),
    (["run", "matrix-sensing", "--set", "n1=700", "n2=700", "N=3000000"], "n1=700, n2=700, N=3000000: matrix-sensing"),
    (["compare", "ridge", "--set", "n=300000", "m=700000"], "n=300000, m=700000: ridge takes at least"),
    ([*RUN, "--steps", "7000000000000"], "evaluations take at least"),
    ([*RUN, "--steps", "9" * 30], "expected a whole number from 1 to 1,000,000,000,000,000"),
    ([*RUN, "--threads", "4000"], "threads=4000: expected a whole number from 1 to 1,024"),
    (
        ["predict", "low-rank", "--n1", "700000", "--n2", "900000", "--N", "3000000"],
        "--n1 700000 --n2 900000 --N 3000000: needs more than",
    ),
    # numbers that leave float32
    ([*RUN, "--optimizer", "adamw", "--set", "lr=3e25"], "lr=3e+25: expected a number from 1e-18 to 1e+18"),
    ([*RUN, "--set", "lr=2e300"], "lr=2e+300: expected a number from 1e-18 to 1e+18"),
    ([*RUN, "--optimizer", "muon", "--set", "vector_lr=1e-300"], "vector_lr=1e-300: expected a number from"),
    ([*RUN, "--optimizer", "grokfast", "--set", "lamb=4e44"], "lamb=4e+44: expected a number from"),
    ([*RUN, "--set", "base=adam:7e40"], "base='adam:7e40': expected a learning rate from"),
    # devices that hold no numbers, and one thing said in two ways
    ([*RUN, "--device", "meta"], "device='meta': not available here"),
    ([*COMPARE, "--device", "tpu3"], "device='tpu3': not available here"),
    ([*RUN, "--set", "penalty=nuclear", "--penalty", "group"], "--penalty group: --set penalty=nuclear says it"),
    ([*RUN, "--set", "interpolation=5e50"], "interpolation=5e+50: expected a loss level up to 1e+18, or inf"),
    ([*COMPARE, "--set", "optimizer.weight_decay=3", "--weight", "3"], "says it as well; give one of them"),
    ([*TINY, "--json", "{loop}"], "--json {loop}: Too many levels of symbolic links"),
    ([*TINY, "--out", "{file}"], "cannot write in the directory {file}"),
    ([*TINY, "--out", "{file}/below"], "cannot write in the directory {file}/below"),
    ([*TINY, "--json", "{file}/x.json"], "cannot write in the directory {file}"),
    ([*TINY, "--json", "{folder}"], "--json {folder}: expected a file, got a directory"),
]


def one_line(error: str) -> str:
    assert error.count("\n") <= 1 and "Traceback" not in error
    return error.strip()


@pytest.mark.parametrize(("words", "told"), COMMANDS, ids=[" ".join(words) for words, _ in COMMANDS])
def test_a_wrong_command_line_is_one_line_and_exit_2(words, told, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("groktimizer.training.machine.free_memory", lambda: 8_000_000_000)
    places = {"file": tmp_path / "file", "folder": tmp_path, "loop": tmp_path / "loop"}
    places["loop"].symlink_to("loop")
    places["file"].write_text("kept")
    assert told.format(**places) in refused([word.format(**places) for word in words])
    assert places["file"].read_text() == "kept"


@pytest.mark.parametrize("words", [["--device", "tpu9"], ["--set", "width=90000000"], ["--steps", "8" * 14]])
@pytest.mark.parametrize("command", [RUN, COMPARE], ids=["run", "compare"])
def test_nothing_is_written_before_the_arguments_are_accepted(command, words, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("groktimizer.training.machine.free_memory", lambda: 8_000_000_000)
    refused([*command, *words])
    assert list(tmp_path.iterdir()) == []


def broken(error: Exception | None) -> Callable[..., Problem]:
    """What a mistake of ours in a task looks like: an error of its own, or one that numpy raises."""

    def build(_self: RidgeTask, _seed: int, **_options: object) -> Problem:
        if error is not None:
            raise error
        return np.ones((2, 3)) @ np.ones(2)  # pyright: ignore[reportReturnType]

    return build


@pytest.mark.parametrize("error", [None, KeyError("theta"), ValueError("shape"), RuntimeError("odd"), AssertionError()])
def test_a_mistake_of_ours_says_where_and_is_not_the_users(error, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(RidgeTask, "build", broken(error))
    assert main(["run", "ridge", "--steps", "3", "--out", str(tmp_path)]) == 70
    told = one_line(capsys.readouterr().err)
    assert told.startswith("groktimizer: internal error: ") and "tests/test_errors.py:" in told and "in build" in told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "out of memory with n=3000"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "out of memory with n=3000"),
        (OverflowError("math range error"), "out of the range of computation, given tolerance=1e-9 (math range error"),
        (ZeroDivisionError("float division by zero"), "out of the range of computation"),
        (ValueError("math domain error"), "out of the range of computation"),
        (RuntimeError("value cannot be converted to type float without overflow"), "out of the range of computation"),
        (np.linalg.LinAlgError("SVD did not converge"), "out of the range of computation"),
    ],
)  # fmt: skip
def test_limits_of_the_machine_are_one_line(error, told, tmp_path, monkeypatch, refused):
    monkeypatch.setattr(RidgeTask, "build", broken(error))
    words = ["run", "ridge", "--set", "n=3000", "m=9", "tolerance=1e-9", "--steps", "3", "--out", str(tmp_path)]
    assert told in refused(words)


class Overflowing(RidgeTask):
    """Ridge whose network is nan before the first step."""

    def build(self, seed: int, **options: Any) -> Problem:
        problem = super().build(seed, **options)
        with torch.no_grad():
            next(problem.model.parameters()).fill_(torch.nan)
        return problem


def bad_start() -> object:
    return train(Overflowing(n=5, m=9), lambda model: torch.optim.SGD(model.parameters()), steps=1)


# a call -> words that its one line contains
CALLS: list[tuple[Callable[[], object], str]] = [
    (bad_start, "train_loss=nan at step 0"),
    (lambda: param_groups(nn.ReLU()), "parameter"),
    (lambda: make_spec("ridge", "sgd", seed=1.5), "seed=1.5: expected a whole number ≥ 0"),  # pyright: ignore[reportArgumentType]
    (lambda: make_spec("ridge", "sgd", seed=True), "seed=True: expected a whole number ≥ 0"),
    (lambda: make_spec("ridge", "sgd", steps=0), "steps=0: expected a whole number from 1 to 1,000,000,000,000,000"),
    (lambda: make_spec("ridge", "sgd", every=0), "every=0: expected a whole number ≥ 1 or 'log'"),
    (lambda: make_spec("ridge", "sgd", precision="fp16"), "unknown precision 'fp16': did you mean 'fp"),
    (lambda: execute([], Store("."), workers=-1), "workers=-1: expected a whole number ≥ 1"),
    (lambda: identity({"lr": float("nan")}), "cannot hold not-a-number"),
    (lambda: resolve("grokfst"), "unknown optimizer 'grokfst': did you mean 'grokfast'?"),
    (lambda: wilson_interval(6, 5), "successes=6, n=5"),
    (lambda: paired_bootstrap([1], [1, 2]), "the same seeds"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "told"), CALLS, ids=[told for _, told in CALLS])
def test_a_wrong_call_is_one_line(call, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as caught:
        call()
    assert told in one_line(str(caught.value))


def test_an_unknown_name_is_a_mistake_of_the_user():
    assert issubclass(UnknownName, UserError)


def test_of_three_hundred_names_a_complaint_lists_some():
    told = unknown("column", "x7y", [f"x{k}" for k in range(300)])
    assert "did you mean 'x7'?" in told and "x49 … 300 in all)" in told and "x50" not in told


def tiny(tmp_path: Path) -> tuple[list[str], Path, Path]:
    """The tiny command, and where its record and its checkpoint are or would be."""
    words = [*TINY, "--out", str(tmp_path)]
    spec = make_spec("modular-addition", "groktimizer", task_options={"p": 5, "width": 4}, steps=3, every=1)
    store = Store(tmp_path)
    return words, store.path(spec.identity), store.checkpoint(spec.identity)


def as_other_version(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Record.from_parquet(path.read_bytes(), str(path))
    monkeypatch.setattr("groktimizer.results.record.SCHEMA", 99)
    path.write_bytes(kept.to_parquet())
    monkeypatch.undo()


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "version"])
def test_a_damaged_record_is_one_line_and_stays(damage, tmp_path, capsys, monkeypatch):
    words, record, _ = tiny(tmp_path)
    assert main(words) == 0
    if damage == "version":
        as_other_version(record, monkeypatch)
    else:
        record.write_bytes({"truncated": record.read_bytes()[:-9], "garbage": b"x" * 99, "empty": b""}[damage])
    before = record.read_bytes()
    capsys.readouterr()
    assert main(words) == 2
    told = one_line(capsys.readouterr().err)
    assert str(record) in told and "--fresh" in told and record.read_bytes() == before
    assert main([*words, "--fresh"]) == 0


@pytest.mark.parametrize("damage", ["garbage", "version", "another run"])
def test_a_damaged_checkpoint_is_one_line_and_stays(damage, tmp_path, capsys, monkeypatch):
    words, _, checkpoint = tiny(tmp_path)
    if damage == "version":
        monkeypatch.setattr("groktimizer.training.checkpoint.VERSION", 99)
    save_checkpoint(checkpoint, {"identity": "someone else's"})
    monkeypatch.undo()
    if damage == "garbage":
        write_bytes(checkpoint, b"garbage")
    before = checkpoint.read_bytes()
    assert main(words) == 2
    told = one_line(capsys.readouterr().err)
    assert str(checkpoint) in told and checkpoint.read_bytes() == before
    assert main([*words, "--fresh"]) == 0


FULL = """
import resource, signal, sys
from groktimizer.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
sys.dont_write_bytecode = True  # of the libraries, where it would stay cut off
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, capsys):
    """No file can grow beyond 3 kB: the run says so; what an earlier run recorded is still there."""
    words, record, _ = tiny(tmp_path)
    assert main(words) == 0
    before = record.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", FULL, *words, "--fresh"], capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 2 and "cannot write" in one_line(done.stderr)
    assert record.read_bytes() == before
    assert not [path for path in tmp_path.rglob("*.tmp")]
    np.testing.assert_array_equal(Store(tmp_path).query()[0].history["step"], [0, 1, 2, 3])
