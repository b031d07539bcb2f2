"""`groktimizer explore`: the page is whole, asks nobody for anything, and is of the problem that was asked for."""

import base64
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groktimizer.cli import main
from groktimizer.cli.explore_ridge import MOST_MIXED
from groktimizer.cli.explored import without
from groktimizer.report.explorer import page
from groktimizer.tasks import RidgeTask
from groktimizer.theory.ridge import Ridge
from groktimizer.theory.ridge.modes import modes_of
from predictions import told

ROOT = Path(__file__).parents[1]
EXPLORER = ROOT / "src" / "groktimizer" / "report" / "explorer"
DATA = re.compile(r'(<script type="application/json" id="content">)(.*?)(</script>)', re.DOTALL)


def content_of(text: str) -> dict[str, Any]:
    """What a page computes with."""
    found = DATA.search(text)
    assert found is not None
    return json.loads(found[2])


def numbers(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f8")


@pytest.fixture(scope="module", params=["ridge", "sparse"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def drawn(kind: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of the drawn problems."""
    folder = tmp_path_factory.mktemp("page")
    assert main(["explore", kind, "--out", str(folder)]) == 0
    return (folder / f"explore-{kind}.html").read_text()


@pytest.mark.slow
def test_the_page_asks_nobody_for_anything(drawn: str):
    text = DATA.sub("", drawn)
    assert "default-src 'none'" in text
    assert not re.search(r"""\b(src|href|action|data)\s*=\s*["']""", text)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|WebSocket|sendBeacon|import\(|Worker\(", text)


def test_the_template_is_filled_and_small_enough_for_a_page_of_the_documentation(drawn: str):
    assert "@@" not in drawn
    assert len(drawn.encode()) < 300_000
    assert "uPlot" in drawn


def test_the_page_of_the_documentation_is_the_one_that_the_command_writes(kind: str, drawn: str):
    """The numbers of another machine's LAPACK may differ in their last digits; all the rest may not."""
    kept = (ROOT / "docs" / f"explore-{kind}.html").read_text()
    same = DATA.sub(r"\1\3", kept) == DATA.sub(r"\1\3", drawn)
    assert same, f"out of date: groktimizer explore {kind} --out docs"
    assert content_of(kept)["start"] == content_of(drawn)["start"]


@pytest.mark.parametrize("path", sorted(EXPLORER.iterdir()), ids=lambda path: path.name)
def test_no_file_of_the_page_is_too_long(path: Path):
    assert len(path.read_text().splitlines()) <= 400


def test_the_vendored_library_has_its_licence_and_source():
    vendor = EXPLORER.parent / "vendor"
    version = re.search(r"\(v([\d.]+)\)", (vendor / "uPlot.iife.min.js").read_text()[:200])
    assert version is not None and version[1] in (vendor / "README.md").read_text()
    assert "MIT License" in (vendor / "uPlot.LICENSE").read_text()


def test_the_page_carries_the_modes_of_the_task(tmp_path: Path):
    assert main(["explore", "ridge", "--seed", "3", "--out", str(tmp_path / "x.html")]) == 0
    content = content_of((tmp_path / "x.html").read_text())
    assert content["command"].endswith("--seed 3")
    size = next(size for size in content["sizes"] if (size["n"], size["m"]) == (10, 20))
    features, teacher, theta = (part.numpy() for part in RidgeTask(n=10, m=20).draw(3))
    modes = modes_of(Ridge(features, teacher, covariance=1 / 20), theta)
    for name in ("values", "start", "teacher"):
        assert np.array_equal(numbers(size[name]), modes[name])
    assert size["noise"] is None  # zeros


def test_modes_give_back_the_losses_at_the_start():
    """Whatever the population: the form over the modes is the loss of the vectors."""
    rng = np.random.default_rng(0)
    features, teacher, theta = rng.normal(size=(4, 9)), rng.normal(size=9), rng.normal(size=9)
    root = rng.normal(size=(9, 9))
    one = modes_of(Ridge(features, teacher, covariance=0.3), theta)
    away = np.append(one["start"] - one["teacher"], one["size"] - one["cross"])
    assert one["scale"] * (away @ away) + one["rest"] == pytest.approx(0.3 * np.sum((theta - teacher) ** 2), rel=1e-12)
    two = modes_of(Ridge(features, teacher, covariance=root.T @ root), theta)
    upper = np.zeros((6, 6))
    upper[np.triu_indices(6)] = two["upper"]
    image = upper @ [*(two["start"] - two["teacher"]), 1.0, -1.0]
    assert image @ image == pytest.approx(np.sum((root @ (theta - teacher)) ** 2), rel=1e-10)
    assert one["zero"] == pytest.approx([np.sum((features @ teacher) ** 2) / 8, 0.3 * teacher @ teacher], rel=1e-12)


def own_files(folder: Path, n: int = 12, m: int = 30) -> list[str]:
    """Options of a problem with labels and a test set."""
    rng = np.random.default_rng(1)
    files = {"features": rng.normal(size=(n, m)), "test-features": rng.normal(size=(2 * m, m))}
    teacher = rng.normal(size=m) / m**0.5
    files |= {"targets": files["features"] @ teacher, "test-targets": files["test-features"] @ teacher}
    words: list[str] = []
    for name, array in files.items():
        np.save(folder / f"{name}.npy", array)
        words += [f"--{name}", str(folder / f"{name}.npy")]
    return words


def test_a_predicted_problem_is_taken_with_its_settings(tmp_path: Path):
    words = [
        "predict",
        "ridge",
        *own_files(tmp_path),
        "--lr",
        "0.1",
        "--weight-decay=0.01",
        "--switch",
        "7",
        "--nu",
        "2",
    ]
    told(words, tmp_path)
    assert main(["explore", "ridge", "--from", str(tmp_path / "x.json"), "--out", str(tmp_path)]) == 0
    text = (tmp_path / "explore-ridge.html").read_text()
    content = content_of(text)
    (size,) = content["sizes"]
    assert (size["n"], size["m"], size["unit"]) == (12, 30, 2)
    assert len(numbers(size["upper"])) == 14 * 15 // 2
    expected = {"lr": 0.1, "decay": 0.01, "change": 7, "nu": 2, "momentum": 0.9, "epsilon": 0.01, "c": 0.01}
    assert content["start"].items() >= expected.items()
    assert shlex.split(content["command"]) == ["groktimizer", "predict", "ridge", *own_files(tmp_path)]
    assert "Test loss over steps" in text


def test_options_are_taken_out_of_a_command_however_they_are_written():
    words = [
        "predict",
        "ridge",
        "--lr=2",
        "--n",
        "5",
        "--set",
        "nu=1",
        "weight_decay=3",
        "--switch",
        "4",
        "--set",
        "lr=1",
    ]
    assert without(words, ["lr", "weight-decay", "switch"]) == ["predict", "ridge", "--n", "5", "--set", "nu=1"]


def test_a_name_cannot_leave_its_place_in_the_page(tmp_path: Path):
    odd = tmp_path / "<script>alert(1)<" / "&amp;"
    odd.mkdir(parents=True)
    told(["predict", "ridge", *own_files(odd), "--lr", "0.1"], tmp_path)
    assert main(["explore", "ridge", "--from", str(tmp_path / "x.json"), "--out", str(tmp_path)]) == 0
    text = (tmp_path / "explore-ridge.html").read_text()
    assert "<script>alert" not in text
    assert str(odd) in content_of(text)["command"]
    words = {"title": "<b>&", "test": "<i>", "problem": "<u>"}
    made = page("ridge", words, {"sizes": [], "name": "</script><b>"}, ["sgd"]).decode()
    assert not re.search("<b>|<i>|<u>", made) and "&lt;b&gt;&amp;" in made


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["lasso"], "lasso"),
        (["ridge", "--from", "absent.json"], "absent.json: No such file"),
        (["ridge", "--from", "."], "--from .: Is a directory"),
        (["ridge", "--from", "text.json"], "text.json: no JSON"),
        (["ridge", "--from", "empty.json"], "empty.json: holds no command of predict"),
        (["ridge", "--from", "list.json"], "list.json: holds no command of predict"),
        (["ridge", "--from", "quote.json"], "quote.json: holds no command of predict"),
        (["ridge", "--from", "run.json"], "run.json: holds no command of predict"),
        (["ridge", "--from", "sparse.json"], "its command is `predict sparse`"),
        (["sparse", "--from", "ridge.json"], "its command is `predict ridge`"),
        (["ridge", "--from", "wrong.json"], "--lr"),
        (["ridge", "--from", "mu.json"], "momentum=1.5: expected a number in [0, 1)"),
        (["ridge", "--from", "gone.json"], "gone.npy: No such file"),
        (["ridge", "--seed", "-1"], "--seed"),
        (["ridge", "--out", "text.json/x"], "text.json"),
    ],
)
def test_bad_input_ends_in_one_line(
    words: list[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[[list[str]], str]
):
    monkeypatch.chdir(tmp_path)
    commands = {
        "quote": "groktimizer predict 'ridge",
        "run": "groktimizer run ridge",
        "sparse": "groktimizer predict sparse",
        "ridge": "groktimizer predict ridge",
        "wrong": "groktimizer predict ridge --lr two",
        "mu": "groktimizer predict ridge --momentum 1.5",
        "gone": "groktimizer predict ridge --features gone.npy --teacher gone.npy",
    }
    for name, command in commands.items():
        Path(f"{name}.json").write_text(json.dumps({"command": command}))
    Path("text.json").write_text("{")
    Path("empty.json").write_text("{}")
    Path("list.json").write_text("[1]")
    assert named in refused(["explore", *words])
    assert not list(tmp_path.rglob("*.html"))


def test_a_problem_too_large_for_a_page_is_refused(tmp_path: Path, refused: Callable[[list[str]], str]):
    files = own_files(tmp_path, n=MOST_MIXED + 1, m=MOST_MIXED + 5)
    command = shlex.join(["groktimizer", "predict", "ridge", *files])
    (tmp_path / "large.json").write_text(json.dumps({"command": command}))
    line = refused(["explore", "ridge", "--from", str(tmp_path / "large.json"), "--out", str(tmp_path)])
    assert f"rank {MOST_MIXED + 1}" in line and f"up to {MOST_MIXED}" in line
