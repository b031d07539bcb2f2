"""`groktimizer draw`: every picture again from its record, the same numbers behind it and the same bytes."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from groktimizer.cli import main
from groktimizer.ground.errors import UserError
from groktimizer.report import comparison, pictures
from groktimizer.results import Record, Store
from groktimizer.training.checkpoint import load_checkpoint
from test_predict import passage_record
from test_report import record

OLD = Path(__file__).parent / "data" / "version_1"  # made at commit 00e5b76: a run, and another that was stopped
SGD = ["--optimizer", "sgd", "--steps", "40", "--every", "4"]
COMMANDS = {
    "run": ["run", "ridge", "--set", "n=5", "m=20", *SGD],
    "run, accuracies": ["run", "modular-addition", "--set", "p=7", "width=8", *SGD],
    "compare": ["compare", "ridge", "--set", "n=5", "m=20", "--settings", "nu=1;nu=2", "--optimizers", "sgd,adamw",
                "--seeds", "7,8", "--steps", "30", "--every", "5", "--workers", "1"],
    "predict ridge": ["predict", "ridge", "--n", "9", "--m", "40", "--weight-decay", "0.01"],
    "predict linear-estimator": ["predict", "linear-estimator", "--inputs", "20"],
    "predict sparse": ["predict", "sparse", "--n", "40", "--s", "2", "--N", "20", "--weight", "1e-3"],
    "predict low-rank": ["predict", "low-rank", "--n1", "5", "--n2", "5", "--r", "1", "--N", "20", "--weight", "1e-2"],
    "reproduce": ["reproduce", "ridge", "--figures", "7", "--quick"],
}  # fmt: skip


SLOW = (
    "compare",
    "predict ridge",
    "predict linear-estimator",
    "predict sparse",
    "predict low-rank",
    "reproduce",
)  # drawn as the others are


def drawn(figure: Figure) -> list[np.ndarray]:
    """The numbers behind every line, mark, band and text of a figure."""
    figure.draw_without_rendering()
    found: list[np.ndarray] = []
    for axes in figure.axes:
        found += [np.asarray(line.get_xydata()) for line in axes.lines]
        found += [np.asarray(patch.get_path().vertices) for patch in axes.patches]
        found += [np.asarray([*text.get_position(), *map(ord, text.get_text())]) for text in axes.texts]
    return found


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in COMMANDS])
def test_a_picture_is_drawn_again_from_its_record(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    """The command's own figure against the one of the record on disk; then `draw` in each of its three ways."""
    first: dict[str, Figure] = {}
    figure = pictures.figure

    def kept(record: Record) -> Figure | None:
        return first.setdefault(record.identity, figure(record))  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(pictures, "figure", kept)
    assert main([*COMMANDS[name], "--out", str(tmp_path)]) == 0
    monkeypatch.undo()
    made = {path.name: path.read_bytes() for path in [*tmp_path.glob("*.png"), *tmp_path.glob("*.md")]}
    pages = {path.name: path.read_text() for path in tmp_path.glob("*.json")}
    (identity,) = first
    again = figure(Store(tmp_path).load(identity))
    assert again is not None
    before, after = drawn(first[identity]), drawn(again)
    assert len(before) == len(after) > 3
    for one, two in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, two)
    file = tmp_path / "records" / f"{identity}.parquet"
    for words in ([str(tmp_path)], [str(file)], [identity[:9], "--out", str(tmp_path)]):
        for path in [*tmp_path.glob("*.png"), *tmp_path.glob("*.md"), *tmp_path.glob("*.json")]:
            path.unlink()
        capsys.readouterr()
        assert main(["draw", *words]) == 0
        told = capsys.readouterr().out
        for made_before, content in made.items():
            assert (tmp_path / made_before).read_bytes() == content and str(tmp_path / made_before) in told
        assert pages == {path.name: path.read_text() for path in tmp_path.glob("*.json")}


def test_what_a_prediction_computed_is_in_its_record(tmp_path: Path):
    main([*COMMANDS["predict sparse"], "--out", str(tmp_path)])
    (kept,) = Store(tmp_path).query("prediction", predict="sparse")
    method = kept.content["methods"]["proximal (ISTA)"]
    assert method["steps"].dtype == np.int64 and method["settled"] > 1000
    assert kept.content["frame"]["runs"][0]["train"] is method["train_error"]


def test_a_record_without_a_picture_is_named_and_the_others_are_drawn(tmp_path: Path, capsys):
    store = Store(tmp_path)
    for seed in range(3):
        store.save(passage_record(seed, 1.0, 100 + seed))
    assert main(["predict", "network", "--from", str(tmp_path), "--out", str(tmp_path / "o")]) == 0
    assert main(["draw", str(tmp_path / "o")]) == 0
    (kept,) = Store(tmp_path / "o").query(None)
    assert f"prediction {kept.identity}: has no picture" in capsys.readouterr().out
    assert kept.spec["runs"] == [run.identity for run in store.query()]


def test_records_of_one_name_are_drawn_beside_each_other_from_a_directory_that_is_only_read(tmp_path: Path):
    """Two figures and their names; nothing is written where the records are."""
    store = Store(tmp_path)
    for seed in range(2):
        frame = {"painter": "comparison", **comparison.frame({"s": {"a": [record(20, 400, 400)]}}, str(seed)).content()}
        store.save(Record.of("figure", {"seed": seed}, {"file": "X", "frame": frame}, {}))
    os.utime(tmp_path / "records", (1, 1))
    assert main(["draw", str(tmp_path), "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "records").stat().st_mtime == 1
    made = {path.stem: path.read_bytes() for path in (tmp_path / "again").iterdir()}
    assert made.keys() == {f"X-{kept.identity}" for kept in store.query(None)} and len(set(made.values())) == 2


@pytest.mark.slow
def test_a_figure_of_another_seed_is_another_picture(tmp_path: Path):
    for more in ([], ["--seed", "1"]):
        main([*COMMANDS["reproduce"], *more, "--out", str(tmp_path)])
    assert {path.stem for path in tmp_path.glob("*.png")} == {"ridge-figure-7-quick", "ridge-figure-7-quick-seed-1"}


def test_failed_runs_of_a_comparison_are_drawn_as_such_again():
    """Settings in which one run gave nothing, and in which all did."""
    groups = {"some": {"a": [None, record(20, 400, 400)]}, "none": {"a": [None, None]}}
    frame = {"painter": "comparison", **comparison.frame(groups, "x").content()}
    kept = Record.of("comparison", {"rules": 1}, {"file": "x", "frame": frame}, {})
    figure = pictures.figure(Record.from_parquet(kept.to_parquet(), "x"))
    assert figure is not None
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert "2 failed" in texts and "every run failed" in texts and "1 failed" in texts and "1/2" in texts


BAD: list[tuple[list[str], str]] = [
    (["draw", "nowhere"], "groktimizer-results: holds no records; name a directory that a command had as --out"),
    (["draw", "."], ".: holds no records"),
    (["draw", "abc", "--out", "old"], "abc in old/records: no record begins so"),
    (["draw", "text"], "damaged record text"),
    (["draw"], "the following arguments are required: RECORD|DIR"),
]


@pytest.mark.parametrize(("words", "complaint"), BAD)
def test_bad_input_ends_in_one_line(
    words: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Callable[[list[str]], str],
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(OLD, "old")
    Path("text").write_text("x")
    assert complaint in refused(words)


# What a version before this one left.


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD, tmp_path / "old"))


def test_a_run_of_the_first_version_is_read_and_drawn(old: Path):
    """Today's command has another identity, for it would not give these numbers again: the record stands beside it."""
    (kept,) = Store(old).query(task={"name": "ridge"})
    assert (kept.kind, kept.summary["times"]["memorised"], kept.spec["code"]) == ("run", 20, 1)
    assert main(["draw", kept.identity[:6], "--out", str(old)]) == 0
    (picture,) = old.glob("run-ridge-sgd-*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_state_of_the_first_version_is_refused_with_what_to_do(old: Path):
    (state,) = (old / "checkpoints").iterdir()
    with pytest.raises(UserError, match=r"is of version 1, this groktimizer reads version 3: .* or move the file away"):
        load_checkpoint(state, state.stem)
    assert state.exists()
