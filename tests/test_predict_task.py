"""``predict TASK --set …``: the run without the training, whose kinds and flags are other words for the same."""

import json
from pathlib import Path
from typing import Any

import pytest

from groktimizer.cli import main

RIDGE = ["n=10", "m=60", "lr=0.5", "weight_decay=0.01", "tolerance=0.02"]
OWN = """
from dataclasses import dataclass
from typing import ClassVar
from groktimizer.tasks import Known, RidgeTask

@dataclass(frozen=True)
class Twice(RidgeTask):
    def theory(self, seed: int) -> Known:
        problem, start, truth = RidgeTask(n=self.n, m=self.m).theory(seed)
        return Known(problem, 2 * start, truth)
"""


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


def test_a_task_of_the_users_own_is_predicted_by_its_theory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "twice.py").write_text(OWN)
    own = told(["predict", "twice:Twice", "--set", "n=10", "m=60"], tmp_path)
    wide = told(["predict", "ridge", "--set", "n=10", "m=60", "nu=2"], tmp_path)
    for name, method in wide["methods"].items():
        assert own["methods"][name]["settled"] == pytest.approx(method["settled"], abs=1)


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
