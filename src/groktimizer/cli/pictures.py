"""Where the picture of a prediction goes: one file a problem, so that no two overwrite each other."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from groktimizer.results import identity


def picture_path(folder: Path, kind: str, settings: Mapping[str, object], *arrays: np.ndarray | None) -> Path:
    """Name a picture after the problem: the same numbers, drawn or read, give the same name.

    Args:
        folder: Where it goes.
        kind: Of the prediction, the first word of the name.
        settings: What the problem consists of besides its arrays.
        arrays: Its arrays, None for those it does without.

    Returns:
        The path.
    """
    digests = [None if array is None else _digest(array) for array in arrays]
    return folder / f"predict-{kind}-{identity({'kind': kind, **settings, 'arrays': digests})}.png"


def _digest(array: np.ndarray) -> str:
    values = np.ascontiguousarray(array, dtype=np.float64)
    return hashlib.sha256(str(values.shape).encode() + b"\n" + values.tobytes()).hexdigest()
