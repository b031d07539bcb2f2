"""Files that a command writes besides its records."""

from collections.abc import Mapping
from pathlib import Path

from groktimizer.results import StoreError, make_directory, write_json


def check_json(path: Path | None) -> None:
    """Prove before the work that the result can be written after it.

    Args:
        path: of ``--json``, None if it was not given.

    Raises:
        StoreError: if it is a directory, or its directory cannot be written.
    """
    if path is None:
        return
    if path.is_dir():
        raise StoreError(f"--json {path}: expected a file, got a directory")
    make_directory(path.parent)


def write_result(path: Path | None, content: Mapping[str, object]) -> None:
    """Write the result of a command as JSON, if a file was given."""
    if path is not None:
        write_json(path, content)
