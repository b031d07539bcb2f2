"""The gallery: every example runs in a process of its own, warns of nothing and leaves no file behind."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
QUICK = {"plot_05_which_decay"}  # the others are slow


def each(path: Path):
    marks = [] if path.stem in QUICK else [pytest.mark.slow]
    return pytest.param(path, id=path.stem, marks=marks)


def test_the_gallery_has_examples_and_nothing_else():
    assert len(EXAMPLES) >= 11 and {path.stem for path in EXAMPLES} >= QUICK
    assert all(path.name.startswith("plot_") for path in EXAMPLES)
    assert (FOLDER / "README.md").read_text(encoding="utf-8").startswith("# Gallery\n")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_docstring_is_a_title_and_a_paragraph(path: Path):
    told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    title, gap, paragraph = told.partition("\n\n")
    assert title.startswith("# ") and "\n" not in title
    assert gap and paragraph and not paragraph.startswith("#")


@pytest.mark.parametrize("path", [each(path) for path in EXAMPLES])
def test_an_example_runs_and_leaves_nothing(path: Path, tmp_path: Path):
    here, temporary = tmp_path / "here", tmp_path / "temporary"
    for folder in (here, temporary):
        folder.mkdir()
    ways = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    world = os.environ | {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(ways)}
    world |= {"TMPDIR": str(temporary), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "torch")}  # a cache of torch itself
    world["PYTHONWARNINGS"] = "default"  # the gallery shows what Python alone keeps to itself
    world.pop("DISPLAY", None)  # plt.show() would warn that this backend has no window
    ran = subprocess.run(
        [sys.executable, str(path)], cwd=here, env=world, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    assert ran.stdout
    assert [*here.iterdir(), *temporary.iterdir()] == []
