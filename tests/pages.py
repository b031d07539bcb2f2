"""The documentation as source: its Python blocks, with the line and the heading that they stand under."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
MADE = ("api/", "gallery/")  # by the build of the site, which checks links to them
PAGES = [ROOT / "README.md", *sorted(page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "gallery")]
LOOP = ROOT / "docs" / "in-your-loop.md"
RECIPES = "In a framework"  # the section of LOOP whose blocks need other packages; tests/test_recipes.py runs them
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(###?) (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """One block of Python."""

    line: int  # lines before it
    source: str
    section: str  # the ## heading above it, or ""
    part: str  # the ### heading above it in that section, or ""


def blocks(text: str) -> list[Block]:
    """Every Python block of a page, in order."""
    return [
        Block(text.count("\n", 0, match.start(1)), match[1], *_headings(text[: match.start()]))
        for match in _BLOCK.finditer(text)
    ]


def _headings(above: str) -> tuple[str, str]:
    section = part = ""
    for marks, title in _HEADING.findall(_BLOCK.sub("", above)):
        section, part = (title, "") if marks == "##" else (section, title)
    return section, part


def run(found: list[Block], page: Path, world: dict[str, object]) -> dict[str, object]:
    """Run blocks one after the other in one namespace, and give it back."""
    for block in found:
        # Blank lines in front, so that a traceback shows the line of the page.
        exec(compile("\n" * block.line + block.source, str(page), "exec"), world)
    return world
