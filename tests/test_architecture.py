"""The plan of the house, kept by the tests: arrows, lengths, docstrings, the front door and what it pulls in.

The public API and the command line are compared with the snapshots in tests/snapshots. After a deliberate change:
`uv run python tests/test_architecture.py` writes them anew, that of the integrations too; look at the diff, commit it.
"""

import importlib
import re
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
GRAPH = rules.imports_of_files(
    {rules.module_name(path, SRC): (path.read_text(), path.name == "__init__.py") for path in SOURCES}
)
DOORS = rules.doors(groktimizer, "theory", "training")


@pytest.fixture(scope="module")
def imported() -> dict[str, set[str]]:
    """What each of three imports adds, one after the other in a fresh interpreter, to the top-level modules."""
    names = ("torch", "groktimizer", "scipy")
    told = "sys.stdout.write(' '.join({m.partition('.')[0] for m in sys.modules}) + '\\n')"
    code = "import sys\n" + "".join(f"import {name}\n{told}\n" for name in names)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seen = [set(line.split()) for line in done.stdout.splitlines()]
    return {name: after - before for name, before, after in zip(names, [set[str](), *seen], seen, strict=False)}


def test_every_arrow_is_in_the_table():
    wrong = [
        line
        for path in SOURCES
        for rule in (rules.forbidden_arrows, rules.forbidden_side_arrows)
        for line in rule(path.read_text(), rules.module_name(path, SRC), is_package=path.name == "__init__.py")
    ]
    assert wrong == []


def test_every_arrow_of_the_table_is_used():
    assert rules.unused_arrows(GRAPH) == []


def test_no_files_import_each_other_in_a_circle():
    assert rules.circles(GRAPH) == []


def test_a_circle_and_an_unused_arrow_are_seen():
    files = {
        "groktimizer.optim": ("from groktimizer.optim.a import x", True),
        "groktimizer.optim.a": ("from groktimizer.optim import b", False),
        "groktimizer.optim.b": ("def f():\n    from .c import y", False),
        "groktimizer.optim.c": ("from groktimizer.dynamics import z", False),
        "groktimizer.dynamics": ("", True),
        "groktimizer.penalties": ("", True),
    }
    graph = rules.imports_of_files(files)
    assert rules.circles(graph) == []
    assert rules.unused_arrows(graph) == ["optim may import penalties and does not"]
    files["groktimizer.optim.c"] = ("import groktimizer.optim.a", False)
    wrong = rules.circles(rules.imports_of_files(files))
    assert wrong == ["groktimizer.optim.a", "groktimizer.optim.b", "groktimizer.optim.c"]


def test_the_guide_to_the_tree_names_what_is_there():
    """CONTRIBUTING's table: each file exists, and what stands in brackets after it is defined in it."""
    rows = re.findall(r"^\| [^|]+ \| (`.+) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    found = [pair for row in rows for pair in re.findall(r"`([\w/]+\.py)`(?: \(`([\w.]+)`\))?", row)]
    assert len(found) > len(rows) > 5
    for file, name in found:
        source = (PACKAGE / file).read_text()
        assert all(
            re.search(rf"\b(def|class) {part}\b|^{part}\b", source, re.MULTILINE) for part in name.split(".") if part
        )


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


def test_a_file_of_theory_outside_its_rooms_is_seen():
    assert rules.forbidden_side_arrows("import math", "groktimizer.theory.descent")
    assert not rules.forbidden_side_arrows("import math", "groktimizer.theory.clock", is_package=True)


def test_no_file_is_too_long():
    files = [*SOURCES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    assert [line for path in files for line in rules.too_long(path.read_text(), path.name)] == []


def test_a_file_of_401_lines_is_too_long():
    assert rules.too_long("x = 1\n" * 400, "long.py") == []
    assert rules.too_long("x = 1\n" * 401, "long.py") == ["long.py: 401 lines"]


def test_functions_are_short():
    """Nine in ten; what is documented at length is not long for that."""
    lengths = sorted(length for path in SOURCES for length in rules.lengths_of_functions(path.read_text()))
    assert lengths[round(0.9 * len(lengths))] <= rules.LONGEST_FUNCTION
    assert rules.lengths_of_functions('def f():\n    """Says.\n\n    More.\n    """\n    return 1\n') == [2]


def test_there_are_enough_tests():
    lines = {folder: sum(len(path.read_text().splitlines()) for path in (ROOT / folder).rglob("*.py"))
             for folder in ("src", "tests")}  # fmt: skip
    assert lines["tests"] >= rules.LEAST_TESTS * lines["src"]


def test_no_error_is_silenced():
    found = [line for path in SOURCES for line in rules.silenced_errors(path.read_text(), rules.module_name(path, SRC))]
    assert found == []
    source = "try:\n    f()\nexcept{}:\n    pass\n"
    assert [bool(rules.silenced_errors(source.format(what), "m")) for what in ("", " Exception", " OSError")] == [
        True,
        True,
        False,
    ]


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


def test_the_front_door_pulls_in_nothing_heavier_than_torch(imported: dict[str, set[str]]):
    assert rules.PACKAGE in imported["groktimizer"]
    assert not imported["groktimizer"] & rules.HEAVY


def test_a_heavy_import_is_seen(imported: dict[str, set[str]]):
    assert imported["scipy"] & rules.HEAVY == {"scipy"}


def test_the_public_api_is_the_one_in_the_snapshot():
    assert {door.__name__.count(".") for door in DOORS} == {0, 1, 2}
    assert rules.public_api(*DOORS) == (SNAPSHOTS / "public_api.txt").read_text()


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
    (SNAPSHOTS / "public_api.txt").write_text(rules.public_api(*DOORS))
    sys.stdout.write(rules.public_api(*DOORS))
    frameworks = [importlib.import_module(f"groktimizer.integrations.{name}") for name in ("lightning", "transformers")]
    (SNAPSHOTS / "integrations.txt").write_text(rules.public_api(*frameworks))
    (SNAPSHOTS / "command_line.txt").write_text(rules.command_line(build_parser()))
