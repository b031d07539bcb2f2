"""Checkpoints: written aside, forced to disk and renamed; read back without running code."""

import contextlib
import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

VERSION = 1
KIND = "groktimizer-checkpoint"


class CheckpointError(ValueError):
    """A checkpoint cannot be read or written; the text names the file and what to do. The file is left as it is."""


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint so that at every moment the old or the new one is there, whole.

    Args:
        path: File to write; its folder is made if need be.
        content: Tensors, numbers, texts, lists and dictionaries.

    Raises:
        CheckpointError: If the file cannot be written (disk full, no permission …); the old one remains.
    """
    buffer = io.BytesIO()
    torch.save({"kind": KIND, "version": VERSION, **content}, buffer)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise CheckpointError(f"cannot write checkpoint {path}: {error.strerror or error}") from error


def _read(path: Path) -> dict[str, Any]:
    """Read the content of a file after checking the checksum of every part of it.

    Args:
        path: File to read.

    Returns:
        What was saved.

    Raises:
        CheckpointError: If it is damaged or no such file.
    """
    advice = f"checkpoint {path} is damaged: move it away to start again"
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise CheckpointError(advice)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, pickle.UnpicklingError, EOFError, RuntimeError, KeyError, NotImplementedError) as error:
        raise CheckpointError(advice) from error
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error.strerror or error}") from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise CheckpointError(f"{path} is not a checkpoint of groktimizer: give another path")
    return content


def load_checkpoint(path: Path, identity: str) -> dict[str, Any]:
    """Read a checkpoint of a given run.

    Args:
        path: File to read.
        identity: Identity of the run that wants to go on.

    Returns:
        What was saved.

    Raises:
        CheckpointError: If the file is damaged, of another version or of another run.
    """
    content = _read(path)
    if content["version"] != VERSION:
        raise CheckpointError(
            f"checkpoint {path} is of version {content['version']}, this groktimizer reads version {VERSION}: "
            "finish the run with the version that wrote it, or move the file away"
        )
    if content["identity"] != identity:
        raise CheckpointError(
            f"checkpoint {path} belongs to another run ({content['identity'] or 'unnamed'}, not "
            f"{identity or 'unnamed'}): give another path or move it away"
        )
    return content
