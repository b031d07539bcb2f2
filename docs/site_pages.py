"""What the site has beside its pages: the interface, the command line, and formulas that the browser itself sets.

A hook of mkdocs. Pages are made from the public names and from the parser, so that they cannot fall behind.
"""

import argparse
import importlib
import inspect
import pkgutil
import re
from types import ModuleType
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs_gallery.sorting import FileNameSortKey

import groktimizer
from groktimizer.cli.parser import build_parser

FRAMEWORKS = ("lightning", "transformers", "trackers")  # need what they are for, so they are not imported here
conf = {"within_subsection_order": FileNameSortKey}  # read by the gallery
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the generated pages into the navigation."""
    pages: list[Any] = ["api/index.md", {"Command line": "api/command-line.md"}]
    config.nav[-1] = {"Reference": pages + [{name: f"api/{name}.md"} for name in _doors()]}  # pyright: ignore[reportOptionalSubscript] (mkdocs.yml has one)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    doors = _doors()
    pages = {f"api/{name}.md": _page(name, *each) for name, each in doors.items()}
    pages["api/index.md"] = _index(doors)
    pages["api/command-line.md"] = _command_line()
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Give pages of results, whose tables have up to fifteen columns, the whole width."""
    if page.file.src_uri.startswith("results/"):
        page.meta["hide"] = ["navigation", "toc"]
    return markdown


def on_page_content(html: str, **_: Any) -> str:
    """Turn TeX into MathML, which every browser draws without a script."""
    return _FORMULA.sub(lambda found: convert(found[2], display="block" if found[1] == "div" else "inline"), html)


def on_post_page(output: str, **_: Any) -> str:
    """Name the theme's search dialog for screen readers."""
    return output.replace(
        'data-md-component="search" role="dialog"', 'data-md-component="search" role="dialog" aria-label="Search"'
    )


def _doors() -> dict[str, tuple[str, list[str]]]:
    """Each package that says in ``__all__`` what it shows: its first line and its names."""
    found = {groktimizer.__name__: _told(groktimizer)}
    for each in pkgutil.walk_packages(groktimizer.__path__, f"{groktimizer.__name__}."):
        if each.ispkg and not each.name.startswith("groktimizer.cli"):
            module = importlib.import_module(each.name)
            if getattr(module, "__all__", None):
                found[each.name] = _told(module)
    for name in FRAMEWORKS:
        found[f"groktimizer.integrations.{name}"] = "", []
    return dict(sorted(found.items()))


def _told(module: ModuleType) -> tuple[str, list[str]]:
    names = sorted(name for name in module.__all__ if not name.startswith("__"))
    return (module.__doc__ or "").partition("\n\n")[0].replace("\n", " "), names


def _page(name: str, told: str, names: list[str]) -> str:
    if not names:
        return f"# {name}\n\n::: {name}\n    options:\n      show_root_heading: false\n"
    values = {each: getattr(importlib.import_module(name), each) for each in names}
    shown = [each for each, value in values.items() if inspect.isroutine(value) or inspect.isclass(value)]
    rows = [f"| `{each}` | `{type(value).__name__}` |" for each, value in values.items() if each not in shown]
    constants = ["## Constants", "| name | type |\n|---|---|\n" + "\n".join(rows)] if rows else []
    return "\n\n".join([f"# {name}", told, *(f"::: {name}.{each}" for each in shown), *constants]) + "\n"


def _index(doors: dict[str, tuple[str, list[str]]]) -> str:
    rows = [
        f"| [`{name}`]({name}.md) | {told} | {', '.join(f'`{each}`' for each in names)} |"
        for name, (told, names) in doors.items()
    ]
    head = "# Reference\n\nWhat each package shows; [the command line](command-line.md) has a page of its own.\n\n"
    return head + "| package | what it is | names |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _command_line() -> str:
    return f"# Command line\n\n{_command(build_parser())}\n"


def _command(parser: argparse.ArgumentParser) -> str:
    """A command with its arguments as a table, then its commands."""
    text, below = f"{parser.description}\n\n", ""
    rows: list[str] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            below = "\n\n".join(f"## {sub.prog}\n\n{_command(sub)}" for sub in action.choices.values())
        elif not isinstance(action, argparse._HelpAction):
            rows.append(_row(action))
    if rows:
        text += "| argument | default | |\n|---|---|---|\n" + "\n".join(rows) + "\n\n"
    return f"{text}{parser.epilog or ''}\n\n{below}"


def _row(action: argparse.Action) -> str:
    value = action.metavar or "|".join(map(str, action.choices or ())) or action.dest
    flags = ", ".join(action.option_strings)
    name = f"{flags} {value}" if flags and action.nargs != 0 else flags or value
    default = "" if action.default in (None, False, argparse.SUPPRESS) else f"`{action.default}`"
    told = (action.help or "").replace("%%", "%").replace("|", "\\|")
    return f"| `{name}` | {default} | {told} |"
