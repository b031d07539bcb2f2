"""HTML pages of templates, plain content and vendored scripts: they open from a disk and ask nobody for anything."""

import base64
import json
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np

from groktimizer.results import plain

_ROOM = resources.files("groktimizer.report")
_PLACE = re.compile(r"@@(\w+)@@")


def filled(template: str, parts: Mapping[str, str]) -> str:
    """Put texts into the places ``@@name@@`` of a template."""
    return _PLACE.sub(lambda found: parts[found[1]], template)


def read(name: str) -> str:
    """A file of this room, by its path in it."""
    return _ROOM.joinpath(*name.split("/")).read_text(encoding="utf-8")


def data(content: Mapping[str, Any]) -> str:
    """JSON that no HTML parser can take for the end of its element; arrays become base64 of float64, zeros null."""
    text = json.dumps(plain(_packed(content), nan=True), allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _packed(content: Any) -> Any:
    if isinstance(content, np.ndarray):
        values = np.ascontiguousarray(content, dtype="<f8")
        return base64.b64encode(values.tobytes()).decode() if values.any() else None
    if isinstance(content, Mapping):
        return {key: _packed(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_packed(value) for value in content]
    return content
