"""Writing files so that a reader never sees half of one, whatever happens in between."""

import json
from collections.abc import Mapping
from pathlib import Path

from groktimizer.ground.errors import UserError
from groktimizer.ground.files import prove_writable, write_whole
from groktimizer.results.identity import plain


class StoreError(UserError):
    """A file could not be read or written; the text is one line that names it and says what to do."""


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file or nothing: temporary file beside it, fsync, rename. Links are written through and stay.

    Args:
        path: where the file goes; what was there stays until the new file is complete. What is no plain file, such as
            /dev/stdout or a pipe, is written to.
        data: its content.

    Raises:
        StoreError: if the directory cannot be written or the disk is full; nothing half-written is left.
    """
    try:
        write_whole(path, data)
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}; free some space or choose another directory with --out"
        ) from error


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a mapping as indented JSON, whole or not at all (not-a-number becomes null)."""
    text = json.dumps(plain(content, nan=True), indent=2, allow_nan=False)
    write_bytes(path, text.encode() + b"\n")


def make_directory(path: Path) -> Path:
    """Make a directory, prove that files can be written there, and remove what killed writers left in it.

    Args:
        path: the directory; its parents are made as well.

    Returns:
        The same path.

    Raises:
        StoreError: if it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        prove_writable(path)
    except OSError as error:
        raise StoreError(
            f"cannot write in the directory {path}: {error.strerror or error}; give a writable one with --out"
        ) from error
    return path
