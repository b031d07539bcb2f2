"""Tables that others keep as pickled pandas frames, read without pandas and without running any code of theirs.

A pickle names functions and calls them. `read_frame` answers the few names that a frame of numbers and words needs
with stand-ins that do nothing but hold arrays, and refuses every other name, so a file can make nothing run.
"""

import io
import lzma
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

Column = NDArray[np.generic]


class _Held:
    """What a frame, its manager or an array of words becomes: its arguments, and the state set later."""

    def __init__(self, *arguments: object) -> None:
        self.arguments: tuple[Any, ...] = arguments
        self.state: Any = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Block(NamedTuple):
    """Columns of one type.

    Attributes:
        values: Shape (columns, rows).
        places: Where they stand in the frame.
        dimensions: 2.
    """

    values: Any
    places: Any
    dimensions: int


def _numbers(buffer: bytes | bytearray, kind: np.dtype[Any], shape: Sequence[int], order: Any) -> Column:
    return np.frombuffer(buffer, kind).reshape(shape, order=order)


def _index(_: object, state: Mapping[str, Any]) -> Any:
    return state.get("data")


ANSWERS: Mapping[tuple[str, str], Callable[..., object]] = {
    ("pandas.core.frame", "DataFrame"): _Held,
    ("pandas.core.internals.managers", "BlockManager"): _Held,
    ("pandas._libs.internals", "_unpickle_block"): _Block,
    ("pandas.core.indexes.base", "_new_Index"): _index,
    ("pandas.core.indexes.base", "Index"): _Held,
    ("pandas.core.indexes.range", "RangeIndex"): _Held,
    ("numpy.core.numeric", "_frombuffer"): _numbers,
    ("numpy.core.multiarray", "_reconstruct"): _Held,
    ("numpy", "ndarray"): _Held,
    ("numpy", "dtype"): np.dtype,
    ("builtins", "slice"): slice,
}


class _Reader(pickle.Unpickler):
    """An unpickler that knows the names above and no other."""

    @override
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return ANSWERS[module_name.replace("numpy._core", "numpy.core"), global_name]  # as NumPy 2 says it
        except KeyError:
            raise ValueError(f"it asks for {module_name}.{global_name}, which no table needs") from None


def read_frame(data: bytes) -> dict[str, Column]:
    """Read a data frame that pandas pickled and xz compressed.

    Args:
        data: The file.

    Returns:
        Its columns by name, in its order: numbers, or words as a NumPy array of str.

    Raises:
        ValueError: If it is something else, or asks for a function that a table does not need.
    """
    try:
        frame = _Reader(io.BytesIO(lzma.decompress(data))).load()
        blocks, axes = frame.state["_mgr"].arguments
        names = _words(axes[0])
        columns: dict[int, Column] = {}
        for block in blocks:
            values = _words(block.values) if isinstance(block.values, _Held) else block.values
            places = range(len(names))[block.places] if isinstance(block.places, slice) else block.places
            columns |= dict(zip(map(int, places), values, strict=True))
        return {str(name): columns[k] for k, name in enumerate(names)}
    except (lzma.LZMAError, pickle.UnpicklingError, EOFError, AttributeError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"not a pickled table: {error}") from error


def _words(held: Any) -> Column:
    """Make an array of words: NumPy pickles one of objects as version, shape, dtype, order and a list.

    Args:
        held: What stands in for it.

    Returns:
        The array of str, of its shape.
    """
    _, shape, _, fortran, content = held.state
    return np.array(content, dtype=str).reshape(shape, order="F" if fortran else "C")
