"""What is released: the wheel and the sdist install into fresh environments and work outside the tree."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
FIT = """
from sklearn.datasets import load_iris
from groktimizer.estimators import GrokClassifier
features, labels = load_iris(return_X_y=True)
model = GrokClassifier(16, penalty="l2", level="interpolate", random_state=0).fit(features, labels)
print(model.score(features, labels))
"""


def done(*words: object, cwd: Path, seconds: float = 1500) -> str:
    """Run a command, show what it said where it failed, give back its output."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    found = subprocess.run(
        [*map(str, words)], check=False, cwd=cwd, env=env, capture_output=True, text=True, timeout=seconds
    )
    assert found.returncode == 0, f"{words}\n{found.stdout[-2000:]}\n{found.stderr[-4000:]}"
    return found.stdout


def interpreter(version: str) -> Path | None:
    """An installed interpreter, None if there is none."""
    known = [
        *Path.home().glob(f".pyenv/versions/{version}.*/bin/python3"),
        *filter(None, [shutil.which(f"python{version}")]),
    ]
    asked = [Path(each) for each in known]
    for each in asked:
        told = subprocess.run(
            [each, "-c", "import sys; print(sys.version_info[:2])"], check=False, capture_output=True, text=True
        )
        if told.stdout.strip() == f"({version.replace('.', ', ')})":
            return each
    return None


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel and the sdist, built from what git has."""
    tree, dist = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    done("git", "clone", "--quiet", ROOT, tree / "clone", cwd=tree)
    done("uv", "build", "--quiet", "--out-dir", dist, cwd=tree / "clone")
    return dist


def environment(folder: Path, python: Path | str, package: Path, extras: str) -> Path:
    """A fresh environment with the package; its programs."""
    done("uv", "venv", "--quiet", "--python", python, folder / "venv", cwd=folder)
    constraints = ["--constraints", ROOT / "constraints.txt"]
    done(
        "uv", "pip", "install", "--quiet", "--python", folder / "venv", *constraints, f"{package}[{extras}]", cwd=folder
    )
    return folder / "venv" / "bin"


def test_the_archives_hold_the_package_its_licences_and_nothing_strange(built: Path):
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    names = zipfile.ZipFile(wheel).namelist()
    assert all(name.startswith(("groktimizer/", "groktimizer-")) for name in names)
    for wanted in ("groktimizer/py.typed", "groktimizer/papers/claims.json", "groktimizer/report/vendor/uPlot.LICENSE"):
        assert wanted in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    with tarfile.open(sdist) as archive:
        kept = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "README.md",
        "LICENSE",
        "CITATION.cff",
        "CHANGELOG.md",
        "pyproject.toml",
        "src/groktimizer/__init__.py",
    } <= kept


@pytest.mark.parametrize("pattern", ["*.whl", "*.tar.gz"])
def test_a_fresh_environment_passes_the_first_command_outside_the_tree(built: Path, pattern: str, tmp_path: Path):
    (package,) = built.glob(pattern)
    programs = environment(tmp_path, sys.executable, package, "lab")
    said = done(programs / "groktimizer", "compare", "modular-addition", "--quick", cwd=tmp_path)
    assert "groktimizer" in said and "2/2" in said
    where = done(programs / "python", "-c", "import groktimizer; print(groktimizer.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(tmp_path)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_extra_resolves(version: str, tmp_path: Path):
    lock = tmp_path / "lock.txt"
    done(
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--python-version",
        version,
        "--all-extras",
        ROOT / "pyproject.toml",
        "-o",
        lock,
        cwd=tmp_path,
    )
    assert sum("==" in line for line in lock.read_text().splitlines()) > 80


@pytest.mark.parametrize("version", VERSIONS)
def test_it_works_under_every_interpreter_at_hand(built: Path, version: str, tmp_path: Path):
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    (wheel,) = built.glob("*.whl")
    programs = environment(tmp_path, python, wheel, "lab,sklearn")
    assert "settled" in done(
        programs / "groktimizer", "run", "modular-addition", "--set", "p=23", "--steps", "300", cwd=tmp_path
    )
    assert "settled" in done(programs / "groktimizer", "predict", "ridge", cwd=tmp_path)
    assert float(done(programs / "python", "-c", FIT, cwd=tmp_path)) > 0.9
    done(programs / "groktimizer", "list", cwd=tmp_path)
