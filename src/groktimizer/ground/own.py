"""Code of the user's own: what ``module:Name`` and the names of entry points stand for."""

import contextlib
import hashlib
import importlib.util
import os
import sys
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from groktimizer.ground.errors import UnknownName, UserError
from groktimizer.ground.names import unknown

COLON = ":"
FILES: set[str] = set()  # what was imported because its name was given: an error raised there is not one of ours


@dataclass(frozen=True)
class Own:
    """Something that a name of the user's stands for.

    Attributes:
        name: The name, ``module:Name`` or that of an entry point.
        value: What it stands for.
        digest: SHA-256 of the file that it is defined in, 16 hexadecimal digits: runs of two versions are two runs.
    """

    name: str
    value: object
    digest: str


def find_own(kind: str, name: str, group: str, known: Iterable[str]) -> Own:
    """Import what a name stands for that is in no table of ours.

    Args:
        kind: What it should be, such as "task".
        name: ``module:Name``, imported from the installed packages or else from the working directory, or the name of
            an entry point.
        group: The group of entry points.
        known: The names in our table, for the error.

    Returns:
        What it stands for.

    Raises:
        UnknownName: If there is no such entry point.
        UserError: If the module is not there, or has nothing of that name.
    """
    reference = name
    if COLON not in name:
        points = {point.name: point.value for point in entry_points(group=group)}
        if name not in points:
            raise UnknownName(unknown(kind, name, [*known, *points]))
        reference = points[name]
    module, _, attribute = reference.partition(COLON)
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        raise UserError(f"{kind} {name!r}: expected module:Name, such as mine:Parity")
    found = _import(kind, name, module)
    file = getattr(found, "__file__", None) or ""
    if attribute not in vars(found):
        raise UserError(f"{kind} {name!r}: {file or module} has no {attribute}")
    digest = hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16] if file else ""
    return Own(name, vars(found)[attribute], digest)


def file_name(name: str) -> str:
    """A name as a part of a file's: without the colon, which some systems and every link read otherwise."""
    return name.replace(COLON, ".")


def own_names(group: str) -> list[str]:
    """The names of a group of entry points; nothing is imported."""
    return [point.name for point in entry_points(group=group)]


def _import(kind: str, name: str, module: str) -> ModuleType:
    try:
        with _working_directory_last():
            spec = importlib.util.find_spec(module)
            FILES.add((spec and spec.origin) or "")
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if f"{module}.".startswith(f"{error.name}."):
            raise UserError(
                f"{kind} {name!r}: there is no {error.name}.py or {error.name}/ in {os.getcwd()}, nor an installed "
                f"package {error.name}"
            ) from error
        raise


@contextlib.contextmanager
def _working_directory_last() -> Generator[None]:
    """Look for modules in the working directory too, after all others and only now.

    A file there can stand in the place of no other module, and is imported only when it, or what it imports, is named.
    """
    importlib.invalidate_caches()
    here = os.getcwd()
    if here in sys.path:
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)
