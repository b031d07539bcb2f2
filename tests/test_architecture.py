"""The plan of the house, kept by the tests: arrows, lengths, docstrings, the front door and what it pulls in.

The public API and the command line are compared with the snapshots in tests/snapshots. After a deliberate change:
`uv run python tests/test_architecture.py` writes both anew; look at the diff and commit it.
"""

import subprocess
import sys
from pathlib import Path

import pytest

import groktimizer
import house_rules as rules
from groktimizer.cli import build_parser

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
PACKAGE = SRC / rules.PACKAGE
SNAPSHOTS = ROOT / "tests" / "snapshots"
SOURCES = sorted(PACKAGE.rglob("*.py"))


def imported_by(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after `statement`."""
    code = f"{statement}\nimport sys\nsys.stdout.write(' '.join({{m.partition('.')[0] for m in sys.modules}}))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_every_arrow_is_in_the_table():
    wrong = [
        line
        for path in SOURCES
        for rule in (rules.forbidden_arrows, rules.forbidden_side_arrows)
        for line in rule(path.read_text(), rules.module_name(path, SRC), is_package=path.name == "__init__.py")
    ]
    assert wrong == []


def test_the_table_has_no_cycle():
    """Peel off, floor by floor, the rooms all of whose imports are already peeled off."""
    left = dict(rules.ALLOWED)
    while left:
        floor = [room for room, below in left.items() if not below & left.keys()]
        assert floor, f"cycle among {sorted(left)}"
        for room in floor:
            del left[room]


@pytest.mark.parametrize(
    ("module", "is_package", "source"),
    [
        ("groktimizer.dynamics.damping", False, "from groktimizer.optim import GROKtimizer"),
        ("groktimizer.dynamics.damping", False, "import groktimizer.penalties.l2 as l2"),
        ("groktimizer.dynamics.damping", False, "from ..penalties import L2"),
        ("groktimizer.dynamics", True, "from ..penalties import L2"),
        ("groktimizer.optim.switch", False, "def f():\n    from groktimizer.training import train"),
        ("groktimizer.optim.switch", False, "from groktimizer import peers"),
        ("groktimizer.optim.switch", False, "from groktimizer import GROKtimizer"),
        ("groktimizer.optim.switch", False, "import groktimizer"),
        ("groktimizer.results.store", False, "import importlib\nimportlib.import_module('groktimizer.sweeps')"),
        ("groktimizer.ground.names", False, "from groktimizer.penalties import L2"),
        ("groktimizer", True, "from groktimizer.training import train"),
        ("groktimizer.cellar.wine", False, "import math"),
    ],
)
def test_a_forbidden_arrow_is_seen(module: str, is_package: bool, source: str):
    assert rules.forbidden_arrows(source, module, is_package=is_package)


@pytest.mark.parametrize(
    ("module", "is_package", "source"),
    [
        ("groktimizer.optim.switch", False, "from groktimizer.dynamics import critical_momentum"),
        ("groktimizer.optim.switch", False, "from .detector import Detector\nfrom .. import penalties"),
        ("groktimizer.optim", True, "from .switch import Switch"),
        (
            "groktimizer.results.store",
            False,
            "from groktimizer import ground\nfrom groktimizer.ground.seeds import x",
        ),
        ("groktimizer.cli.compare", False, "from groktimizer import studies\nimport groktimizer.results.store"),
        ("groktimizer", True, "from groktimizer.optim import GROKtimizer\nfrom .penalties import L2"),
    ],
)
def test_an_allowed_arrow_passes(module: str, is_package: bool, source: str):
    assert rules.forbidden_arrows(source, module, is_package=is_package) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("groktimizer.theory.lasso.checks", "from groktimizer.theory.ridge.checks import check_vector"),
        ("groktimizer.theory.low_rank", "from groktimizer.theory import lasso"),
        ("groktimizer.theory.networks.path", "from ..linear import estimators"),
        ("groktimizer.theory.clock.bands", "def f():\n    import groktimizer.theory.ridge"),
    ],
)
def test_an_arrow_between_problems_is_seen(module: str, source: str):
    assert rules.forbidden_side_arrows(source, module)
    assert not rules.forbidden_arrows(source, module)
    clock = "from groktimizer.theory.clock.claims import Bound\nfrom groktimizer.dynamics import solve"
    assert not rules.forbidden_side_arrows(clock, module)


def test_no_file_is_too_long():
    files = [*SOURCES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    assert [line for path in files for line in rules.too_long(path.read_text(), path.name)] == []


def test_a_file_of_401_lines_is_too_long():
    assert rules.too_long("x = 1\n" * 400, "long.py") == []
    assert rules.too_long("x = 1\n" * 401, "long.py") == ["long.py: 401 lines"]


def test_every_room_says_what_it_holds():
    assert rules.undocumented_rooms(PACKAGE) == []


def test_a_room_without_docstring_is_seen(tmp_path: Path):
    for name, door in {"silent": "import math\n", "open": None, "good": '"""Says it."""\n'}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "thing.py").write_text("")
        if door is not None:
            (tmp_path / name / "__init__.py").write_text(door)
    assert [Path(room).name for room in rules.undocumented_rooms(tmp_path)] == ["open", "silent"]


def test_only_the_command_line_prints():
    found = [line for path in SOURCES for line in rules.unwanted_calls(path.read_text(), rules.module_name(path, SRC))]
    assert found == []


def test_a_print_and_a_hasattr_are_seen():
    source = "import sys\nprint('x')\nsys.stderr.write('y')\nhasattr(1, 'real')\n"
    seen = [line.rsplit(" ", 1)[-1] for line in rules.unwanted_calls(source, "groktimizer.training.loop")]
    assert sorted(seen) == ["hasattr", "print", "stderr"]
    assert rules.unwanted_calls("print('x')", "groktimizer.cli.run") == []


def test_the_front_door_pulls_in_nothing_heavier_than_torch():
    added = imported_by("import groktimizer") - imported_by("import torch")
    assert rules.PACKAGE in added
    assert not added & rules.HEAVY


def test_a_heavy_import_is_seen():
    assert (imported_by("import torch, scipy") - imported_by("import torch")) & rules.HEAVY == {"scipy"}


def test_the_public_api_is_the_one_in_the_snapshot():
    assert rules.public_api(groktimizer) == (SNAPSHOTS / "public_api.txt").read_text()


def test_a_changed_default_changes_the_snapshot(monkeypatch: pytest.MonkeyPatch):
    before = rules.public_api(groktimizer)

    def param_groups(model, extra=1):
        return [model, extra]

    monkeypatch.setattr(groktimizer, "param_groups", param_groups)
    assert "param_groups(model, extra=1)" in rules.public_api(groktimizer)
    assert rules.public_api(groktimizer) != before


def test_the_command_line_is_the_one_in_the_snapshot():
    assert rules.command_line(build_parser()) == (SNAPSHOTS / "command_line.txt").read_text()


def test_every_option_is_explained():
    lines = [line for line in rules.command_line(build_parser()).splitlines() if line.startswith("  ")]
    assert len(lines) > 25
    assert not [line for line in lines if line.endswith("None")]


if __name__ == "__main__":
    SNAPSHOTS.mkdir(exist_ok=True)
    (SNAPSHOTS / "public_api.txt").write_text(rules.public_api(groktimizer))
    sys.stdout.write(rules.public_api(groktimizer))
    (SNAPSHOTS / "command_line.txt").write_text(rules.command_line(build_parser()))
