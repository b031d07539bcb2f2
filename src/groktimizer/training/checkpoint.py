"""Checkpoints: written aside, forced to disk and renamed; read back without running code."""

import io
import lzma
import math
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from groktimizer.ground.errors import UserError
from groktimizer.ground.files import write_whole

VERSION = 3
KIND = "groktimizer-checkpoint"


# What reading a zip file of pickles with changed bytes can raise.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    pickle.UnpicklingError,
    EOFError,
    RuntimeError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
)


class CheckpointError(UserError):
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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, buffer.getbuffer())
    except OSError as error:
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
    except OSError as error:
        raise CheckpointError(f"cannot read checkpoint {path}: {error.strerror or error}") from error
    except DAMAGE as error:
        raise CheckpointError(advice) from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise CheckpointError(f"{path} is not a checkpoint of groktimizer: give another path")
    return content


def load_checkpoint(path: Path, identity: str) -> dict[str, Any]:
    """Read a checkpoint of a given run and check its content.

    Args:
        path: File to read.
        identity: Identity of the run that wants to go on.

    Returns:
        What was saved.

    Raises:
        CheckpointError: If the file is damaged, of another version or of another run, or has not what a run saves.
    """
    content = _read(path)
    if content.get("version") != VERSION:
        raise CheckpointError(
            f"checkpoint {path} is of version {content.get('version')}, this groktimizer reads version {VERSION}: "
            "finish the run with the version that wrote it, or move the file away"
        )
    for name, right in _SCHEMA.items():
        if name not in content or not right(content[name]):
            raise CheckpointError(
                f"checkpoint {path}: its {name!r} is not what a run saves; move the file away to start again"
            )
    if content["identity"] != identity:
        raise CheckpointError(
            f"checkpoint {path} belongs to another run ({content['identity'] or 'unnamed'}, not "
            f"{identity or 'unnamed'}): give another path or move it away"
        )
    return content


def restore(content: dict[str, Any], path: Path, model: nn.Module, optimizer: Optimizer) -> None:
    """Put network and optimizer into the state of a checkpoint.

    Args:
        content: What `load_checkpoint` gave.
        path: The file, for the error.
        model: The run's network.
        optimizer: The run's optimizer, new.

    Raises:
        CheckpointError: If the state is that of another network or optimizer.
    """
    found, wanted = content["optimizer_kind"], type(optimizer).__name__
    if found != wanted:
        raise CheckpointError(
            f"checkpoint {path} holds the state of {found}, this run's optimizer is {wanted}: move the file away to "
            "start again"
        )
    try:
        model.load_state_dict(content["model"])
        optimizer.load_state_dict(content["optimizer"])
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(
            f"checkpoint {path} does not fit this run ({reason}): move the file away to start again"
        ) from error


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _seconds(value: object) -> bool:
    return isinstance(value, float) and 0 <= value < math.inf


def _named(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


def _tensors(value: object) -> TypeGuard[Mapping[str, Tensor]]:
    return _named(value) and all(isinstance(part, Tensor) for part in value.values())


def _history(value: object) -> bool:
    """Whether a table has equally long columns of numbers, and steps that begin at 0 and grow."""
    if not _tensors(value) or "step" not in value:
        return False
    step = value["step"]
    if any(column.dtype != torch.float64 or column.shape != step.shape for column in value.values()):
        return False
    return step.ndim == 1 and len(step) > 0 and float(step[0]) == 0 and bool((step.diff() > 0).all())


def _random(value: object) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.uint8 and value.shape == torch.get_rng_state().shape


# What a run saves, and how each part is told from something else.
_SCHEMA: Mapping[str, Callable[[object], bool]] = {
    "identity": lambda value: isinstance(value, str),
    "step": _count,
    "passes": _count,
    "resumed": _count,
    "seconds": _seconds,
    "cpu_seconds": _seconds,
    "model": _tensors,
    "optimizer": _named,
    "optimizer_kind": lambda value: isinstance(value, str),
    "history": _history,
    "random": _random,
}
