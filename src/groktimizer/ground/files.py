"""Ground floor: files written whole or not at all, however many processes, machines and kills there are.

A file is written beside its target under a name that nobody can guess or share, forced to disk and renamed. While it is
written its writer holds a lock on it, so that what a killed writer left behind can be told from what a live one needs.
"""

import contextlib
import functools
import hashlib
import os
import platform
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be removed anyway
    fcntl = None

Content = bytes | memoryview
DAY = 86_400.0
ATTEMPTS = 5
NAMED = 40  # characters of the target's name in its fragment's
_ASIDE = re.compile(r"\..+\.([0-9a-f]{8})-[0-9a-f]{16}\.tmp")


def write_whole(path: Path, data: Content) -> None:
    """Write a file so that at every moment the old or the new one is there, whole.

    Links are written through and stay. What is no plain file (a terminal, a pipe, a device) is written to as it is.

    Args:
        path: Where to; its folder exists.
        data: Its content.

    Raises:
        OSError: If it cannot be written; the old file remains and no fragment is left.
        FileNotFoundError: If its folder is not there.
    """
    target = destination(path)
    if isinstance(target, int) or (target.exists() and not target.is_file()):
        descriptor = os.dup(target) if isinstance(target, int) else os.open(target, os.O_WRONLY)
        with open(descriptor, "wb", buffering=0) as file:
            _write_all(file, data)
        return
    for attempt in range(ATTEMPTS):
        try:
            return _replace(target, data)
        except FileNotFoundError:  # someone took our fragment for a dead writer's
            if attempt == ATTEMPTS - 1 or not target.parent.is_dir():
                raise


def destination(path: Path) -> Path | int:
    """Find where writing to a path ends up.

    Args:
        path: Perhaps a link.

    Returns:
        The path behind all links, or the number of the open file that it stands for, as /dev/stdout does.

    Raises:
        OSError: If links run in a circle.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # a file to be made
        path.stat()  # a circle of links is refused here
    while path.is_symlink():
        folder = Path(os.path.realpath(path.parent))
        if folder == Path(f"/proc/{os.getpid()}/fd"):
            return int(path.name)
        path = folder / path.readlink()
    return path


def prove_writable(folder: Path) -> None:
    """Write a nameless file in a folder, and remove what killed writers left there.

    Args:
        folder: An existing folder.

    Raises:
        OSError: If no file can be written there.
    """
    with tempfile.TemporaryFile(dir=folder):
        pass
    for name in os.listdir(folder):
        if found := _ASIDE.fullmatch(name):
            with contextlib.suppress(OSError):  # it is another's, or gone by now
                _remove_if_dead(folder / name, same_machine=found[1] == _machine())


def _replace(target: Path, data: Content) -> None:
    aside = target.with_name(f".{target.name[:NAMED]}.{_machine()}-{secrets.token_hex(8)}.tmp")
    try:
        with open(aside, "xb", buffering=0) as file:  # x: never an existing file, never through a link
            with _locked(file):
                if target.exists():
                    os.chmod(aside, stat.S_IMODE(target.stat().st_mode))
                _write_all(file, data)
                os.fsync(file.fileno())
                os.replace(aside, target)
    except BaseException:  # Ctrl-C included
        with contextlib.suppress(OSError):  # the first error is the one to tell
            aside.unlink()
        raise


def _write_all(file: IO[bytes], data: Content) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file.fileno(), view) :]


@contextlib.contextmanager
def _locked(file: IO[bytes]) -> Generator[None]:
    """Hold the lock of a writer; where a file system has none, age alone protects (`_remove_if_dead`)."""
    if fcntl is not None:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
    yield


def _remove_if_dead(fragment: Path, *, same_machine: bool) -> None:
    """Remove what a killed writer left: nobody holds its lock and, if it comes from another machine, it is a day old.

    Locks are sure between the processes of one machine, containers included; on shared folders they may not be.
    """
    aged = time.time() - fragment.lstat().st_mtime > DAY
    if fcntl is None or not (same_machine or aged):
        return
    with open(os.open(fragment, os.O_WRONLY | os.O_NOFOLLOW), "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError if its writer lives
        fragment.unlink()


@functools.cache
def _machine() -> str:
    """Eight digits that the processes of one running machine share, whatever container they are in."""
    try:
        name = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        name = platform.node()
    return hashlib.sha256(name.encode()).hexdigest()[:8]
