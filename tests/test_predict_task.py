"""``predict TASK --set …``: the run without the training, whose kinds and flags are other words for the same."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from groktimizer.cli import main
from groktimizer.results import Store
from groktimizer.tasks import RidgeTask

RIDGE = ["n=10", "m=60", "lr=0.5", "weight_decay=0.01", "tolerance=0.02"]
OWN = """
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from groktimizer.tasks import Known, RidgeTask
from groktimizer.tasks.sparse import SparseTask
from groktimizer.theory.ridge import Ridge

@dataclass(frozen=True)
class Twice(RidgeTask):
    def theory(self, seed: int) -> Known:
        problem, start, truth = RidgeTask(n=self.n, m=self.m).theory(seed)
        return Known(problem, 2 * start, truth)

@dataclass(frozen=True)
class Wide(RidgeTask):
    nu: float = 2.0

@dataclass(frozen=True)
class Blind(RidgeTask):
    prediction = ""

@dataclass(frozen=True)
class Other(RidgeTask):
    prediction = "sparse"

@dataclass(frozen=True)
class Loose(SparseTask):
    train_tolerance: float = 0.5

@dataclass(frozen=True)
class Skewed(Twice):
    factor: float = 1.0
    def theory(self, seed: int) -> Known:
        problem, start, truth = super().theory(seed)
        covariance = self.factor * np.arange(1, self.m + 1) / self.m**2
        return Known(Ridge(problem.features, problem.teacher, covariance=covariance), start, truth)
"""
SIZES = ["--set", "n=10", "m=60"]
TEST = ["--test-tolerance", "0.2"]
FILES = ["--features", "x.npy", "--teacher", "t.npy"]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with tasks of the user's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "twice.py").write_text(OWN)
    monkeypatch.delitem(sys.modules, "twice", raising=False)
    return tmp_path


@pytest.fixture(autouse=True)
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take longer than what they show; `test_draw` and `test_predict` look at them."""
    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: None)


def told(words: list[str], folder: Path) -> dict[str, Any]:
    """What a command writes, without what names the command and its files."""
    assert main([*words, "--out", str(folder), "--json", str(folder / "x.json")]) == 0
    content = json.loads((folder / "x.json").read_text())
    return {key: value for key, value in content.items() if key not in {"command", "picture"}}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["ridge", "--n", "10", "--m", "60", "--nu", "2"], ["ridge", "--set", "n=10", "m=60", "nu=2"]),
        (
            ["ridge", "--n", "10", "--m=60", "--lr", "0.5"],
            ["ridge", "--task", "ridge", "--set", "n=10", "lr=0.5", "--m", "60"],
        ),
        (
            ["sparse", "--n", "30", "--s", "2", "--N", "20", "--weight", "1e-3", "--tolerance", "0.1"],
            ["sparse-recovery", "--set", "n=30", "s=2", "N=20", "weight_decay=1e-3", "train_tolerance=0.1"],
        ),
        (
            ["low-rank", "--n1", "4", "--n2", "4", "--r", "1", "--N", "13", "--weight", "1e-2"],
            ["matrix-completion", "--set", "n1=4", "n2=4", "r=1", "N=13", "weight_decay=1e-2"],
        ),
        (
            ["low-rank", "--kind", "sensing", "--n1", "4", "--n2", "4", "--r", "1", "--N", "13", "--weight", "1e-2"],
            ["matrix-sensing", "--set", "n1=4", "n2=4", "r=1", "N=13", "--weight", "1e-2"],
        ),
    ],
    ids=["set", "mixed", "sparse", "completion", "sensing"],
)  # fmt: skip
def test_a_task_and_its_kind_are_the_same_numbers(one: list[str], other: list[str], tmp_path: Path):
    assert told(["predict", *one], tmp_path) == told(["predict", *other], tmp_path)


def test_it_is_the_run_without_the_training(tmp_path: Path):
    """Step for step: the times of gradient descent that are computed are those that are trained."""
    predicted = told(["predict", "ridge", "--set", *RIDGE], tmp_path)["methods"]
    run = ["run", "ridge", "--optimizer", "sgd", "--set", *RIDGE, "--steps", "2500", "--every", "1"]
    trained = told(run, tmp_path)["summary"]["times"]
    descent = predicted["gradient descent"]
    assert trained["settled"] is not None
    assert {name: descent[name] for name in ("memorised", "generalised", "settled")} == {
        name: trained[name] for name in ("memorised", "generalised", "settled")
    }


def test_an_option_without_a_flag_counts_too(tmp_path: Path):
    words = ["predict", "sparse-recovery", "--set", "n=30", "s=2", "N=20", "weight_decay=1e-3"]
    assert told(words, tmp_path)["methods"] != told([*words, "init_scale=10", "snr=100"], tmp_path)["methods"]


def test_a_task_of_the_users_own_is_predicted_by_its_theory(own: Path):
    twice = told(["predict", "twice:Twice", *SIZES, "tolerance=0.05"], own)
    wide = told(["predict", "ridge", *SIZES, "nu=2", "tolerance=0.05"], own)
    for name, method in wide["methods"].items():
        assert method["settled"] is not None
        assert twice["methods"][name]["settled"] == pytest.approx(method["settled"], abs=1)


def test_its_bounds_are_of_its_own_start(own: Path):
    """As those of the same start from a file are: nobody says with which ν it was drawn."""
    np.save(own / "start.npy", 2 * RidgeTask(n=10, m=60).draw(0).theta.numpy())
    read = told(["predict", "ridge", *SIZES, "--theta0", "start.npy"], own)
    assert told(["predict", "twice:Twice", *SIZES], own)["bounds"] == read["bounds"]
    assert told(["predict", "ridge", *SIZES], own)["bounds"] != read["bounds"]


def test_its_defaults_are_its_own(own: Path):
    wide, named = (told(["predict", *words], own) for words in (["twice:Wide", *SIZES], ["ridge", *SIZES, "nu=2"]))
    assert wide["methods"] == named["methods"]
    assert told(["predict", "twice:Wide", *SIZES, "nu=3"], own)["methods"] != wide["methods"]


def test_its_levels_can_be_set(own: Path):
    usual = told(["predict", "twice:Wide", *SIZES], own)
    said = told(["predict", "twice:Wide", *SIZES, "tolerance=0.2"], own)
    assert said["methods"] == told(["predict", "twice:Wide", *SIZES, "--tolerance", "0.2", *TEST], own)["methods"]
    assert said["methods"] != usual["methods"]
    sparse = ["n=20", "s=2", "N=12", "weight_decay=1e-3"]
    loose = told(["predict", "twice:Loose", "--set", *sparse], own)["methods"]
    tight = told(["predict", "twice:Loose", "--set", *sparse, "train_tolerance=0.01", "test_tolerance=0.1"], own)
    ours = ["predict", "sparse-recovery", "--set", *sparse]
    assert loose == told([*ours, "train_tolerance=0.5"], own)["methods"]
    assert tight["methods"] == told([*ours, "train_tolerance=0.01", "test_tolerance=0.1"], own)["methods"] != loose


def test_two_populations_are_two_records(own: Path):
    """The covariance belongs to what a record and its picture are named after."""
    for factor in ("1", "2"):
        told(["predict", "twice:Skewed", *SIZES, f"factor={factor}"], own)
    records = Store(own).query("prediction")
    assert len({record.identity for record in records}) == len({record.summary["file"] for record in records}) == 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["twice:Twice", "--noise", "0.1"], "--noise with --task twice:Twice: its theory says what the labels"),
        (["twice:Twice", "--covariance", "x.npy"], "--covariance with --task twice:Twice: its theory says"),
        (["twice:Blind"], "its theory is not read with prediction = '', expected ridge, sparse, low-rank"),
        (["twice:Other"], "theory gave a Ridge, prediction = 'sparse' is of a Known with a Lasso"),
        (["ridge", "--task", "twice:Twice", *FILES], "--task twice:Twice with --features: the files say what"),
        (["ridge", "--set", "batch_size=8", *FILES], "--set batch_size=8 with --features: the files say what"),
        (["sparse-recovery", "--features-file", "x.npy"], "--task sparse-recovery with --features-file: the files"),
        (["sparse", "--set", "snr=3", "--features-file", "x.npy"], "--set snr=3.0 with --features-file: the files"),
        (["low-rank", "--set", "depth=2", "--matrix", "x.npy"], "--set depth=2 with --matrix: the files say what"),
        (["matrix-completion", "--matrix", "x.npy"], "--task matrix-completion with --matrix: the files say what"),
    ],
)  # fmt: skip
def test_what_would_have_been_dropped_is_refused(words: list[str], line: str, own: Path, refused):
    np.save(own / "x.npy", np.eye(4))
    np.save(own / "t.npy", np.ones(4))
    assert line in refused(["predict", *words])


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["ridge", "--n", "5", "--set", "n=6"], "--n: --set n=6 says it as well; give one"),
        (["ridge", "--set", "damping=1"], "--set damping=1: no prediction depends on it, accepted of an"),
        (["ridge", "--set", "nn=6"], "unknown option 'nn'"),
        (["ridge", "--set", "n=x"], "n='x': expected a whole number"),
        (["ridge", "--set", "lr=x"], "lr='x': expected a number"),
        (["ridge", "--set", "batch_size=5"], "batch_size=5: nothing is known of it before it is trained"),
        (["sparse-recovery", "--set", "depth=2"], "nothing is known of it before it is trained"),
        (["matrix-sensing", "--kind", "completion"], "--kind completion: matrix-sensing says what is seen"),
        (["digits"], "digits: nothing is known of it before it is trained; `groktimizer predict network`"),
        (["sparse-recovary"], "unknown prediction 'sparse-recovary': did you mean 'sparse-recovery'?"),
    ],
)  # fmt: skip
def test_what_cannot_be_predicted_is_one_line(words, line, tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    assert line in refused(["predict", *words])
