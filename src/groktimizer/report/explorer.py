"""The explorer: one HTML page that computes by itself, made of templates, plain content and vendored uPlot.

Everything stands in the page, so that it opens from a disk and asks nobody for anything. Its arithmetic is in
``explorer/*.js``, which the tests compare with the package.
"""

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

from groktimizer.report.pages import data, filled, read
from groktimizer.report.style import look

_SCRIPTS = {
    "ridge": ("modes", "text", "clock", "ridge", "bounds", "advice", "panel", "ridge-page"),
    "sparse": ("text", "sparse", "panel", "sparse-page"),
}
_LIGHTER = 0.3  # part of white in a method's colour on dark paper
_PART = re.compile(r"^@@@ (\w+)\n", re.MULTILINE)


def page(kind: str, words: Mapping[str, str], content: Mapping[str, Any], methods: Sequence[str]) -> bytes:
    """Make the page.

    Args:
        kind: "ridge" or "sparse".
        words: Text for the places of the template of this kind, such as "title"; it is escaped.
        content: What the page computes with; arrays become base64 of float64, those of zeros null.
        methods: Whose curves are drawn, by the names of `report.style.METHODS`.

    Returns:
        The page, UTF-8.
    """
    parts = {name: html.escape(text) for name, text in words.items()}
    pieces = _PART.split(read(f"explorer/{kind}.html"))[1:]
    for name, text in zip(pieces[::2], pieces[1::2], strict=True):
        parts[name] = filled(text.strip(), parts)
    looks = [
        {"marker": each.marker, "light": each.colour, "dark": _lighter(each.colour)} for each in map(look, methods)
    ]
    parts["content"] = data({**content, "looks": looks})
    parts["style"] = read("vendor/uPlot.min.css") + read("explorer/explorer.css")
    scripts = ("vendor/uPlot.iife.min.js", *(f"explorer/{name}.js" for name in _SCRIPTS[kind]))
    parts["script"] = "\n".join(map(read, scripts))
    return filled(read("explorer/explorer.html"), parts).encode()


def _lighter(colour: str) -> str:
    parts = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(part + _LIGHTER * (255 - part)):02x}" for part in parts)
