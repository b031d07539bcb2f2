"""The explorer: one HTML page that computes by itself, made of templates, plain content and vendored uPlot.

Everything stands in the page, so that it opens from a disk and asks nobody for anything. Its arithmetic is in
``explorer/*.js``, which the tests compare with the package.
"""

import base64
import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np

from groktimizer.report.style import look
from groktimizer.results import plain

_ROOM = resources.files("groktimizer.report")
_SCRIPTS = {
    "ridge": ("modes", "text", "clock", "ridge", "bounds", "advice", "panel", "ridge-page"),
    "sparse": ("text", "sparse", "panel", "sparse-page"),
}
_LIGHTER = 0.3  # part of white in a method's colour on dark paper
_PLACE, _PART = re.compile(r"@@(\w+)@@"), re.compile(r"^@@@ (\w+)\n", re.MULTILINE)


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
    pieces = _PART.split(_read(f"explorer/{kind}.html"))[1:]
    for name, text in zip(pieces[::2], pieces[1::2], strict=True):
        parts[name] = _filled(text.strip(), parts)
    looks = [
        {"marker": each.marker, "light": each.colour, "dark": _lighter(each.colour)} for each in map(look, methods)
    ]
    parts["content"] = _data({**content, "looks": looks})
    parts["style"] = _read("vendor/uPlot.min.css") + _read("explorer/explorer.css")
    scripts = ("vendor/uPlot.iife.min.js", *(f"explorer/{name}.js" for name in _SCRIPTS[kind]))
    parts["script"] = "\n".join(map(_read, scripts))
    return _filled(_read("explorer/explorer.html"), parts).encode()


def _filled(template: str, parts: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda found: parts[found[1]], template)


def _read(name: str) -> str:
    return _ROOM.joinpath(*name.split("/")).read_text(encoding="utf-8")


def _data(content: Mapping[str, Any]) -> str:
    """JSON that no HTML parser can take for the end of its element."""
    text = json.dumps(plain(_packed(content)), allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _packed(content: Any) -> Any:
    """The content with arrays as base64; one of zeros is null."""
    if isinstance(content, np.ndarray):
        values = np.ascontiguousarray(content, dtype="<f8")
        return base64.b64encode(values.tobytes()).decode() if values.any() else None
    if isinstance(content, Mapping):
        return {key: _packed(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_packed(value) for value in content]
    return content


def _lighter(colour: str) -> str:
    parts = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(part + _LIGHTER * (255 - part)):02x}" for part in parts)
