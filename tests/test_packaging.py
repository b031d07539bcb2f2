"""What is installed is what is declared: pins, extras, version, licence, citation."""

import importlib
import importlib.metadata
import os
import re
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import groktimizer
from groktimizer.ground.errors import MissingExtra

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = [Requirement(line) for line in PROJECT["tool"]["uv"]["constraint-dependencies"]]


def pins_of(text: str) -> list[str]:
    """The lines of a constraints file that are neither blank nor a comment."""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def test_pip_and_uv_are_given_the_same_versions():
    assert pins_of((ROOT / "constraints.txt").read_text()) == PROJECT["tool"]["uv"]["constraint-dependencies"]


@pytest.mark.skipif(not os.environ.get("CI"), reason="any other environment may have other versions; .ci/run sets CI")
@pytest.mark.parametrize("pin", PINS, ids=lambda pin: pin.name)
def test_the_tested_versions_are_the_ones_running(pin: Requirement):
    """A green run speaks for the pinned versions only if it ran with them (2.15.0+cpu is a build of 2.15.0)."""
    assert pin.specifier.contains(importlib.metadata.version(pin.name))


def test_everything_declared_for_the_base_the_extras_and_the_tests_is_pinned():
    extras, groups = PROJECT["project"]["optional-dependencies"], PROJECT["dependency-groups"]
    lines = [*PROJECT["project"]["dependencies"], *chain(*extras.values()), *groups["dev"]]
    names = {Requirement(line).name for line in lines} - {PROJECT["project"]["name"]}
    assert names <= {pin.name for pin in PINS}


def test_the_pins_satisfy_the_declared_ranges():
    extras, groups = PROJECT["project"]["optional-dependencies"], PROJECT["dependency-groups"]
    lines = [*PROJECT["project"]["dependencies"], *chain(*extras.values()), *groups["dev"]]
    declared = [line for line in lines if not line.startswith(PROJECT["project"]["name"])]
    pinned = {pin.name: next(iter(pin.specifier)).version for pin in PINS}
    assert all(Requirement(line).specifier.contains(pinned[Requirement(line).name]) for line in declared)


def test_the_base_install_is_torch_numpy_scipy():
    assert [Requirement(line).name for line in PROJECT["project"]["dependencies"]] == ["torch", "numpy", "scipy"]


def test_one_version_everywhere():
    version = PROJECT["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert groktimizer.__version__ == version == citation["version"] == newest[1]


def test_the_citation_names_the_three_papers():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    urls = {reference["url"].rsplit("/", 1)[-1] for reference in citation["references"]}
    assert {"2606.01521", "2601.19791", "2506.05718"} <= urls
    assert citation["license"] == PROJECT["project"]["license"]


def test_the_types_are_shipped():
    assert (ROOT / "src" / "groktimizer" / "py.typed").exists()


def test_every_extra_is_asked_for_by_the_package():
    """One that nothing imports promises what is not there."""
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    assert set(re.findall(r'extra="(\w+)"\)', source)) == PROJECT["project"]["optional-dependencies"].keys()


@pytest.mark.parametrize("name", ["lightning", "transformers"])
def test_an_integration_without_its_framework_says_what_brings_it(name: str, monkeypatch: pytest.MonkeyPatch):
    for module in [each for each in sys.modules if each.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"groktimizer.integrations.{name}", raising=False)
    with pytest.raises(MissingExtra, match=rf"^{name} is not installed: pip install 'groktimizer\[{name}\]'$"):
        importlib.import_module(f"groktimizer.integrations.{name}")
