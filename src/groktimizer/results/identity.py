"""Identity of a run: the same specification always gives the same short hash."""

import hashlib
import json
import math
from collections.abc import Mapping

import numpy as np

from groktimizer.ground.errors import UserError

DIGITS = 16


def plain(value: object, *, nan: bool = False) -> object:
    """Turn a value into plain JSON content with one spelling per number.

    Tuples become lists, numpy scalars become Python's, whole floats become integers (``1.0`` and ``1`` are
    the same setting) and infinities become the strings ``"inf"`` and ``"-inf"``.

    Args:
        value: a number, string, boolean, None, or (nested) mapping, list, tuple or array of them.
        nan: write not-a-number as None; otherwise it is refused.

    Returns:
        Content that ``json.dumps`` writes without extensions.

    Raises:
        UserError: if a key is not a string, or a value has no plain form.

    Example:
        >>> plain({"lr": np.float64(1.0), "betas": (0.9, 0.98), "interpolation": float("inf")})
        {'lr': 1, 'betas': [0.9, 0.98], 'interpolation': 'inf'}
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return _plain_float(value, nan)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise UserError(f"a key of a specification must be text, got {key!r}")
        return {key: plain(item, nan=nan) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, nan=nan) for item in value]
    raise UserError(f"a specification holds numbers, text, true/false, none, lists and mappings, got {value!r}")


def _plain_float(value: float, nan: bool) -> object:
    if math.isnan(value):
        if nan:
            return None
        raise UserError("a specification cannot hold not-a-number (nan); give a number")
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def canonical_json(spec: Mapping[str, object]) -> str:
    """Write a specification as JSON with sorted keys and one spelling per number."""
    return json.dumps(plain(spec), sort_keys=True, separators=(",", ":"), allow_nan=False)


def identity(spec: Mapping[str, object]) -> str:
    """Hash a specification: the first 16 hex digits of the SHA-256 of its canonical JSON.

    Args:
        spec: plain content (see `plain`); the order of keys does not matter.

    Returns:
        16 hexadecimal digits.

    Example:
        >>> identity({"lr": 1e-3, "seed": 1}) == identity({"seed": 1.0, "lr": 0.001})
        True
    """
    return hashlib.sha256(canonical_json(spec).encode()).hexdigest()[:DIGITS]
