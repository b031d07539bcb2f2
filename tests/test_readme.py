"""The README and the pages of docs/ as tests: their Python runs, their links lead somewhere, their commands exist."""

import re
from pathlib import Path

import pytest

from pages import MADE, PAGES, RECIPES, ROOT, blocks, run

LONG = "beyond-l2.md"  # its blocks take a minute
WITH_CODE = [page for page in PAGES if "```python" in page.read_text()]
RUN = [pytest.param(page, marks=[pytest.mark.slow] * (page.name == LONG), id=page.name) for page in WITH_CODE]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def broken_links(page: Path) -> list[str]:
    """Local targets that do not exist."""
    targets = [link for link in LINK.findall(page.read_text()) if not link.startswith(("http://", "https://", *MADE))]
    return [target for target in targets if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", RUN)
def test_the_blocks_of_a_page_run_in_order(page: Path):
    own = [block for block in blocks(page.read_text()) if block.section != RECIPES]  # those: test_recipes.py
    world = run(own, page, {"__name__": f"page_{page.stem}"})
    assert len(world) > 1


def test_blocks_are_found_in_order_and_a_failing_one_is_seen():
    text = "x\n```python\na = 1\n```\n## A\n### b\n```bash\nls\n```\n```python\n## C\nassert a == 2\n```\n"
    text += "## D\n```python\n```\n"
    found = blocks(text)
    assert found == [(2, "a = 1\n", "", ""), (10, "## C\nassert a == 2\n", "A", "b"), (15, "", "D", "")]
    with pytest.raises(AssertionError):
        run(found, Path("page.md"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_local_links_and_pictures_exist(page: Path):
    assert broken_links(page) == []


def test_a_broken_link_is_seen(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("[a](page.md#top) [b](gone.md) [c](https://example.org/x)")
    assert broken_links(page) == ["gone.md"]


def test_the_readme_gives_the_two_commands():
    text = (ROOT / "README.md").read_text()
    assert "pip install uv && uv run groktimizer compare modular-addition --quick\n    uv run pytest\n" in text
    assert "uv run --no-sync pytest" in (ROOT / ".ci" / "run").read_text()
