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
from types import FunctionType, ModuleType

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
        file: That of the module which was named, empty for none.
    """

    name: str
    value: object
    file: str

    @property
    def digest(self) -> str:
        """Of the files that define it: runs of two versions are two runs."""
        return digest_of(self.file, self.value)


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
    value = vars(found)[attribute]
    if isinstance(value, type | FunctionType) and value.__module__.startswith(f"{module.partition('.')[0]}."):
        FILES.add(getattr(sys.modules.get(value.__module__), "__file__", None) or "")
    return Own(name, value, file)


def digest_of(file: str, value: object) -> str:
    """SHA-256 of the file in which something was found and, where it is another, of that which defines it.

    Args:
        file: The file that was named, empty for none.
        value: What was found there, perhaps only handed on; of classes and functions it is known who defines them.

    Returns:
        16 hexadecimal digits, none if there is no file.
    """
    definer = sys.modules.get(value.__module__) if isinstance(value, type | FunctionType) else None
    files = dict.fromkeys([file, getattr(definer, "__file__", None) or file])
    found = b"".join(Path(one).read_bytes() for one in files if one)
    return hashlib.sha256(found).hexdigest()[:16] if found else ""


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
