"""Nested content with arrays in it, taken apart into plain content and arrays by name, and put together again."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from groktimizer.results.identity import plain

PLACE = "$array"  # the only key of what stands where an array was


def pack(content: Mapping[str, object]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Take the arrays out of nested content.

    Args:
        content: mappings, sequences, numbers, texts, and arrays; those of one dimension are taken out.

    Returns:
        The content as plain JSON content, each array replaced by its name; and the arrays by name, equal ones once. A
        name is the way to the first place of its array.

    Example:
        >>> kept, arrays = pack({"runs": [{"x": np.arange(3), "t1": 1.0}]})
        >>> kept, list(arrays)
        ({'runs': [{'x': {'$array': 'runs/0/x'}, 't1': 1}]}, ['runs/0/x'])
    """
    names: dict[tuple[str, bytes], str] = {}
    arrays: dict[str, np.ndarray] = {}

    def packed(value: object, way: str) -> object:
        if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "biuf":
            values = np.ascontiguousarray(value)
            name = names.setdefault((f"{values.dtype.str}{values.shape}", values.tobytes()), way)
            arrays[name] = values
            return {PLACE: name}
        if isinstance(value, Mapping):
            return {key: packed(item, f"{way}/{key}".lstrip("/")) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [packed(item, f"{way}/{place}".lstrip("/")) for place, item in enumerate(value)]
        return plain(value, nan=True)

    return {key: packed(value, key) for key, value in content.items()}, arrays


def unpack(content: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Put the arrays back into content that `pack` took apart.

    Args:
        content: plain content.
        arrays: by name.

    Returns:
        The content with its arrays.
    """
    if isinstance(content, Mapping):
        if content.keys() == {PLACE}:
            return arrays[content[PLACE]]
        return {key: unpack(value, arrays) for key, value in content.items()}
    if isinstance(content, list):
        return [unpack(value, arrays) for value in content]
    return content
