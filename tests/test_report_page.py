"""The report in a headless Chromium: a table to sort and filter, every run, both themes, keyboard and screen reader."""

from pathlib import Path

import pytest

from browser_pages import browser, serious
from chromium import Browser
from groktimizer.report.document import document
from test_report_document import clock, grid, trained

__all__ = ["browser"]  # a fixture
pytestmark = pytest.mark.slow
CELLS = "[...document.querySelectorAll('#table tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent))"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    runs = [trained(0.1, 0.1, seed, name) for name in ("sgd", "adamw") for seed in range(6)]
    file.write_bytes(
        document([*grid(), *runs, clock(0.1, 0.1, 7, task="<b>x</b>", settled=None)], "Report of <i>ours</i>")
    )
    return file


@pytest.fixture
def opened(browser: Browser, page: Path) -> Browser:
    browser.open(page)
    return browser


def column(browser: Browser, name: str) -> list[str]:
    heads = browser.run("[...document.querySelectorAll('#table thead button')].map((one) => one.textContent)")
    return [row[heads.index(name)] for row in browser.run(CELLS)]


def press(browser: Browser, name: str) -> None:
    browser.run(
        f"[...document.querySelectorAll('#table thead button')].find((b) => b.textContent === '{name}').click()"
    )


def test_a_head_sorts_both_ways_and_what_there_is_not_comes_last(opened: Browser):
    for way in (1, -1):
        press(opened, "t2, settled")
        values = [text.replace(",", "") for text in column(opened, "t2, settled")]
        numbers = [int(text) for text in values if text != "–"]
        assert values[-1] == "–" and numbers == sorted(numbers, reverse=way < 0) and len(set(numbers)) > 5
        assert opened.run("document.querySelectorAll('th[aria-sort]').length") == 1
    assert opened.errors == []


def test_the_filter_keeps_rows_that_have_every_word(opened: Browser):
    for words, count in (("adamw", 6), ("adamw, seed 3", 1), ("nothing of that", 0), ("", 40)):
        opened.run(f"filter.value = '{words}'; filter.dispatchEvent(new Event('input'))")
        assert len(opened.run(CELLS)) == count
        assert opened.run("document.getElementById('count').textContent") == f"{count} of 40 runs"


def test_a_run_opens_with_its_curve_and_closes_back_to_its_button(opened: Browser):
    opened.run("filter.value = 'adamw'; filter.dispatchEvent(new Event('input'))")
    opened.run("document.querySelector('#table tbody button').click()")
    assert opened.run("document.activeElement.id") == "one-title"
    assert "<b>bold</b>" in opened.run("document.getElementById('one-status').textContent")
    assert opened.run("document.querySelectorAll('#chart canvas').length") == 1
    opened.run("document.getElementById('close').click()")
    assert opened.run("document.activeElement.closest('tbody') !== null")
    assert opened.errors == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_it_is_readable_and_asks_nobody(browser: Browser, page: Path, width: int, theme: str):
    browser.window(width, 900, theme)
    browser.open(page)
    assert browser.run("document.documentElement.dataset.theme") == theme
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    browser.run("document.querySelector('#table tbody button').click()")
    found = serious(browser)
    browser.window(1280, 1000)
    assert found == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:", "about:"))] == []
