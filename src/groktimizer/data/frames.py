"""Tables that others keep as pickled pandas frames, read without pandas and without running any code of theirs.

A pickle names functions and calls them. `read_frame` answers the few names that a frame of numbers and words needs
with stand-ins that do nothing but hold what they get, and refuses every other name, so no code of a file runs.
"""

import io
import lzma
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

Column = NDArray[np.generic]
NUMBERS = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8", "b1")
FAULTS = (
    lzma.LZMAError,
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    LookupError,
    TypeError,
    OverflowError,
    MemoryError,
    RecursionError,
)
LARGEST = 1 << 28  # bytes of an unpacked file


class _Fixed(type):
    """A class that a pickle cannot change."""

    @override
    def __setattr__(cls, name: str, value: Any, /) -> None:
        raise ValueError(f"it sets {name} of a class")


class _Held(metaclass=_Fixed):
    """What a frame, its manager or an array of words becomes: its arguments, and the state set later."""

    def __init__(self, *arguments: object) -> None:
        self.arguments: tuple[Any, ...] = arguments
        self.state: Any = None

    def __setstate__(self, state: object) -> None:
        self.state = state


def _block(values: Any, places: Any, _: int) -> tuple[Any, Any]:
    return values, places


def _numbers(buffer: bytes | bytearray, kind: _Held, shape: Sequence[int], order: Any) -> Column:
    code = kind.arguments[0]
    if code not in NUMBERS:
        raise ValueError(f"it holds numbers of type {code!r}, expected one of {', '.join(NUMBERS)}")
    return np.frombuffer(buffer, np.dtype(code).newbyteorder(kind.state[1])).reshape(shape, order=order)


def _index(_: object, state: Mapping[str, Any]) -> Any:
    return state.get("data")


ANSWERS: Mapping[tuple[str, str], Callable[..., object]] = {
    ("pandas.core.frame", "DataFrame"): _Held,
    ("pandas.core.internals.managers", "BlockManager"): _Held,
    ("pandas._libs.internals", "_unpickle_block"): _block,
    ("pandas.core.indexes.base", "_new_Index"): _index,
    ("pandas.core.indexes.base", "Index"): _Held,
    ("pandas.core.indexes.range", "RangeIndex"): _Held,
    ("numpy.core.numeric", "_frombuffer"): _numbers,
    ("numpy.core.multiarray", "_reconstruct"): _Held,
    ("numpy", "ndarray"): _Held,
    ("numpy", "dtype"): _Held,
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
        unpacked = lzma.LZMADecompressor().decompress(data, max_length=LARGEST)
        frame = _Reader(io.BytesIO(unpacked)).load()
        blocks, axes = frame.state["_mgr"].arguments
        names = _words(axes[0])
        columns: dict[int, Column] = {}
        for content, where in blocks:
            values = _words(content) if isinstance(content, _Held) else content
            places = range(len(names))[where] if isinstance(where, slice) else where
            columns |= dict(zip(map(int, places), values, strict=True))
        return {str(name): columns[k] for k, name in enumerate(names)}
    except FAULTS as error:
        raise ValueError(f"not a pickled table: {error}") from error


def _words(held: Any) -> Column:
    """Make an array of words: NumPy pickles one of objects as version, shape, dtype, order and a list.

    Args:
        held: What stands in for it.

    Returns:
        The array of str, of its shape.

    Raises:
        ValueError: If it holds something else.
    """
    _, shape, _, fortran, content = held.state
    if type(content) is not list or not all(type(word) is str for word in content):
        raise ValueError("it holds objects that are no words")
    return np.array(content, dtype=str).reshape(shape, order="F" if fortran else "C")
