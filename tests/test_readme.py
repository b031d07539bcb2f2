"""The README and the pages of docs/ as tests: their Python runs, their links lead somewhere, their commands exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITH_CODE = [page for page in PAGES if "```python" in page.read_text()]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def blocks(text: str) -> list[tuple[int, str]]:
    """Each Python block with the line it starts on."""
    return [(text.count("\n", 0, match.start(1)), match[1]) for match in BLOCK.finditer(text)]


def broken_links(page: Path) -> list[str]:
    """Local targets that do not exist."""
    targets = [link for link in LINK.findall(page.read_text()) if not link.startswith(("http://", "https://"))]
    return [target for target in targets if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run_in_order(page: Path):
    world: dict[str, object] = {"__name__": f"page_{page.stem}"}
    for line, source in blocks(page.read_text()):
        # Blank lines in front, so that a traceback shows the line of the page.
        exec(compile("\n" * line + source, str(page), "exec"), world)
    assert len(world) > 1


def test_blocks_are_found_in_order_and_a_failing_one_is_seen():
    text = "x\n```python\na = 1\n```\ny\n```bash\nls\n```\n```python\nassert a == 2\n```\n"
    found = blocks(text)
    assert found == [(2, "a = 1\n"), (9, "assert a == 2\n")]
    with pytest.raises(AssertionError):
        exec("".join(source for _, source in found), {})


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
    assert "uv run pytest" in (ROOT / ".ci" / "run").read_text()
