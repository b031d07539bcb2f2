"""Where a result comes from: versions, commit, machine; nothing that names the host or its user."""

import datetime
import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

PACKAGES = ("groktimizer", "torch", "numpy", "scipy", "scikit-learn", "pytorch-optimizer", "pyarrow")


def provenance(threads: int | None) -> dict[str, object]:
    """Collect what is needed to judge and repeat a result.

    Args:
        threads: threads the run computed with (None: PyTorch's own choice).

    Returns:
        Versions of the packages, Python, threads, commit and dirty flag of this package's checkout (None when it
        was installed from a wheel), processor and system, and the time of creation (UTC, ISO 8601).
    """
    commit, dirty = _checkout()
    return {
        "versions": dict(_versions()),
        "python": platform.python_version(),
        "threads": threads,
        "commit": commit,
        "dirty": dirty,
        "machine": {"system": platform.system(), "processor": _processor(), "cores": os.cpu_count()},
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


@functools.cache
def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@functools.cache
def _checkout() -> tuple[str | None, bool | None]:
    """Commit and dirty flag, only when this very package is tracked there (not a checkout that merely contains it)."""
    package = Path(__file__).resolve().parent.parent
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    commit = _git(package, "rev-parse", "HEAD")
    changes = _git(package, "status", "--porcelain", "--", ".")
    return commit, None if changes is None else bool(changes)


def _git(directory: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
