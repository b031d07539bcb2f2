"""The site in headless Chromium: nothing from elsewhere, nothing too wide, nothing that axe minds."""

import functools
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from browser_pages import browser, serious
from chromium import Browser

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
__all__ = ["browser"]


class Links(HTMLParser):
    """What a page asks for, what it links to, and what can be linked to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.linked: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.places |= {found[key] or "" for key in ("id", "name") if key in found}
        if tag == "a":
            self.linked += [found.get("href") or ""]
        elif tag in ("script", "img", "iframe", "source", "link") and found.get("rel") != "canonical":
            self.asked += [found[key] or "" for key in ("src", "href") if key in found]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly, examples not executed: tests/test_examples.py does that."""
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(words, check=False, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where a server of this machine alone shows it."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def pages_of(site: Path) -> list[str]:
    """Every page but those of the explorer, which have tests of their own, and the one for what is not there."""
    found = [path.relative_to(site).as_posix() for path in site.rglob("index.html")]
    return sorted(name.removesuffix("index.html") for name in found)


def test_links_and_anchors_lead_somewhere_and_nothing_is_asked_of_others(site: Path):
    files = {path: Links(path.read_text()) for path in site.rglob("*.html")}
    assert len(files) > 50
    wrong: list[str] = []
    for path, found in files.items():
        for link in found.asked + found.linked:
            parts = urlsplit(link)
            if parts.scheme in ("data", "mailto", "javascript"):
                continue
            if parts.scheme or parts.netloc:
                wrong += [f"{path.relative_to(site)} asks {link}"] if link in found.asked else []
                continue
            base = site if link.startswith("/") else path.parent
            target = (base / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            there = target.is_file() and (
                not parts.fragment or target.suffix != ".html" or unquote(parts.fragment) in files[target].places
            )
            wrong += [] if there or path.name == "404.html" else [f"{path.relative_to(site)}: {link}"]
    assert wrong == []


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_fits_asks_nobody_and_is_accessible(
    site: Path, address: str, browser: Browser, width: int, theme: str
):
    browser.window(width, 1000, theme)
    found: dict[str, list[object]] = {}
    for page in pages_of(site):
        browser.visit(address + page)
        others = [url for url in browser.requests if not url.startswith((address, "data:", "blob:"))]
        wide = browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        wrong: list[object] = [
            *others,
            *browser.errors,
            *([f"{wide} px too wide"] if wide > 0 else []),
            *serious(browser),
        ]
        if wrong:
            found[page] = wrong
    assert found == {}


def test_the_page_follows_the_system_and_the_search_finds(address: str, browser: Browser):
    shown: list[str] = []
    for theme in ("dark", "light"):
        browser.window(1280, 1000, theme)
        browser.visit(address)
        shown.append(browser.run("getComputedStyle(document.body).backgroundColor"))
    assert len(set(shown)) == 2
    browser.visit(f"{address}?q=interpolation")
    browser.run(
        "new Promise((done) => { const look = () => document.querySelector('.md-search-result__item') ? done() "
        ": setTimeout(look, 50); look() })"
    )
    assert browser.run("document.querySelectorAll('.md-search-result__item').length") > 0
