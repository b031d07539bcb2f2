"""What the tests of pages share: a browser, the pages of the drawn problems, reading and typing."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chromium import Browser, chromium
from groktimizer.cli import main


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = chromium()
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium, or name one in GROKTIMIZER_CHROMIUM")
    found = Browser(program)
    found.window(1280, 1000)
    yield found
    found.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    for kind in ("ridge", "sparse"):
        assert main(["explore", kind, "--out", str(folder)]) == 0
    return folder


def serious(browser: Browser) -> list[tuple[str, list[str]]]:
    """What axe-core finds on the page that is serious: the rule, and the elements that break it."""
    axe = os.environ.get("GROKTIMIZER_AXE")
    if not axe or not Path(axe).is_file():
        pytest.skip("no axe-core: npm pack axe-core, and name its axe.min.js in GROKTIMIZER_AXE")
    browser.run(Path(axe).read_text() + "; undefined")
    found = browser.run("axe.run().then((result) => result)")
    assert len(found["passes"]) > 15
    bad = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    return [(each["id"], [node["html"] for node in each["nodes"]]) for each in bad]


def shown(browser: Browser) -> list[list[str]]:
    """The table of times."""
    return browser.run("[...document.querySelectorAll('#times tr')].map((r) => [...r.cells].map((c) => c.textContent))")


def typed(browser: Browser, label: str, value: str) -> None:
    """Type into a field and leave it."""
    code = f"(() => {{ const field = document.querySelector('[aria-label={json.dumps(label + ', typed')}]'); "
    code += f"field.value = {json.dumps(value)}; field.dispatchEvent(new Event('change')) }})()"
    browser.run(code)
    browser.run("new Promise((done) => setTimeout(done, 700))")
