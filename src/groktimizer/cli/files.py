"""Files that a command writes besides its records."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from groktimizer.ground.files import destination
from groktimizer.results import StoreError, make_directory, write_json


def check_json(path: Path | None) -> None:
    """Prove before the work that the result can be written after it.

    Args:
        path: of ``--json``, None if it was not given.

    Raises:
        StoreError: if it is a directory or a device that cannot be written, or its directory cannot be written.
    """
    if path is None:
        return
    try:
        target = destination(path)
    except OSError as error:
        raise StoreError(f"--json {path}: {error.strerror or error}") from error
    if isinstance(target, int):
        return
    if target.is_dir():
        raise StoreError(f"--json {path}: expected a file, got a directory")
    if not target.exists() or target.is_file():
        make_directory(target.parent)
    elif not os.access(target, os.W_OK):
        raise StoreError(f"--json {path}: cannot be written; give another file")


def write_result(path: Path | None, content: Mapping[str, object]) -> None:
    """Write the result of a command as JSON, if a file was given."""
    if path is not None:
        sys.stdout.flush()  # FILE may be /dev/stdout
        write_json(path, content)
