"""Text that others will read: each piece on one line, without raw HTML, without the places of this machine's files."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

PLACE = re.compile(r"""(?<![\w.~/\\:])(?:[A-Za-z]:[\\/]|/)(?:[^\s/\\'",:;<>|()]+[\\/])+(?=[^\s/\\'",:;<>|()])""")
NAMED = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\\": r"\\", "'": r"\'"}
BYTE, SHORT, LONE = 0x100, 0x10000, 0xDC00


def command(words: Sequence[str]) -> str:
    r"""Write a command as one line for a shell, with files of this machine by their names alone.

    Args:
        words: the program and its arguments.

    Returns:
        The line; a word with control characters is in the quotes ``$'…'``.

    Example:
        >>> command(["groktimizer", "compare", "ridge", "--out", "/home/me/runs", "--reference", "a\nb"])
        "groktimizer compare ridge --out runs --reference $'a\\nb'"
    """
    return " ".join(_quoted(_named(word)) for word in words)


def _named(word: str) -> str:
    """A word without the folders of an absolute path, also behind ``--option=``."""
    option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    for kind in (PurePosixPath, PureWindowsPath):
        if kind(value).is_absolute():
            return option + equals + (kind(value).name or ".")
    return word


def _quoted(word: str) -> str:
    return shlex.quote(word) if word.isprintable() else f"$'{''.join(map(_escaped, word))}'"


def _escaped(character: str) -> str:
    code = ord(character)
    if character in NAMED or character.isprintable():
        return NAMED.get(character, character)
    if LONE <= code < LONE + BYTE:  # a byte of an argument that is not UTF-8
        return f"\\x{code - LONE:02x}"
    return f"\\x{code:02x}" if code < BYTE // 2 else f"\\u{code:04x}" if code < SHORT else f"\\U{code:08x}"


def line(text: str) -> str:
    r"""Write text for a page: on one line, and a < as itself.

    Args:
        text: any.

    Returns:
        The text in Markdown.

    Example:
        >>> line("killed\n<b>now</b>")
        'killed &lt;b>now&lt;/b>'
    """
    return " ".join(text.split()).replace("<", "&lt;")


def without_places(content: Any) -> Any:
    """Leave of every absolute path in a text the name alone.

    Args:
        content: text, or (nested) mappings and sequences that hold texts.

    Returns:
        The same content.

    Example:
        >>> without_places({"errors": ["/home/me/runs/checkpoints/x.pt is damaged", "1/2"]})
        {'errors': ['x.pt is damaged', '1/2']}
    """
    if isinstance(content, str):
        return PLACE.sub("", content)
    if isinstance(content, Mapping):
        return {key: without_places(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_places(value) for value in content]
    return content
