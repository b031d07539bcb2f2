"""Tables of names, and what was typed for an option turned into a value.

A name or a value that a user typed becomes the thing meant, or one line that says what would have been accepted.
"""

import difflib
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import TypeVar, Union, get_args, get_origin

from groktimizer.ground.errors import UnknownName, UserError

T = TypeVar("T")
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
MOST = 50  # names that a complaint lists
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    NoneType: "none",
}
PLAIN = frozenset(_WORDS)  # what a text can be read as


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Find the known name that is closest in spelling.

    Args:
        name: What was typed.
        names: The known names.

    Returns:
        The nearest name, or None when nothing is similar.

    Example:
        >>> nearest("modlar-addition", ["modular-addition", "ridge"])
        'modular-addition'
    """
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return close[0] if close else None


def unknown(kind: str, name: str, names: Iterable[str]) -> str:
    """Word the complaint about a name that is in no table.

    Args:
        kind: What the name should be one of, such as "task".
        name: What was typed.
        names: The known names.

    Returns:
        One line with the nearest name and all known ones.
    """
    known = list(names)
    guess = nearest(name, known)
    hint = f": did you mean {guess!r}?" if guess is not None else ""
    more = f" … {len(known):,} in all" if len(known) > MOST else ""
    return f"unknown {kind} {name!r}{hint} (known: {', '.join(known[:MOST]) or 'none'}{more})"


def lookup(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Take the entry of a table, or say which name was probably meant.

    Args:
        kind: What the table holds, such as "task".
        name: What was typed.
        table: Known entries by name.

    Returns:
        The entry.

    Raises:
        UnknownName: If the name is not in the table.

    Example:
        >>> lookup("colour", "red", {"red": 1})
        1
    """
    if name not in table:
        raise UnknownName(unknown(kind, name, table))
    return table[name]


def kinds_of(annotation: object) -> tuple[type, ...]:
    """List the types that an option's annotation admits.

    Args:
        annotation: A plain type or a union of plain types, such as ``int | None``.

    Returns:
        The types, in the order in which they are written.
    """
    parts = get_args(annotation) if get_origin(annotation) in {Union, UnionType} else (annotation,)
    return tuple(part if isinstance(part, type) else get_origin(part) or object for part in parts)


def _from_text(text: str, kind: type) -> object:
    """Read a text as one type.

    Args:
        text: What was typed.
        kind: One of bool, int, float, str, NoneType.

    Returns:
        The value.

    Raises:
        ValueError: If the text is not of that type.
    """
    word = text.strip().lower()
    if kind is NoneType and word in {"none", "null"}:
        return None
    if kind is bool and word in _TRUE | _FALSE:
        return word in _TRUE
    if kind is int:
        return int(word)
    if kind is float:
        return float(word)
    if kind is str:
        return text
    raise ValueError(text)


def _from_value(value: object, kind: type) -> object:
    """Take a value as one type: a whole number is also a number, a truth value is neither.

    Args:
        value: Anything that is not a text.
        kind: One of bool, int, float, str, NoneType.

    Returns:
        The value, as a plain Python object.

    Raises:
        ValueError: If the value is not of that type.
    """
    if kind is NoneType and value is None:
        return None
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if kind is float and isinstance(value, Real) and not isinstance(value, bool):
        return float(value)
    raise ValueError(value)


def convert(key: str, value: object, kinds: tuple[type, ...]) -> object:
    """Turn what a user gave for an option into a value of one of the admitted types.

    Texts (from a command line) are read, the empty types first: ``none`` before numbers before words.

    Args:
        key: Name of the option, for the error.
        value: What was given.
        kinds: Admitted types among bool, int, float, str and NoneType.

    Returns:
        The value as a plain Python object.

    Raises:
        UserError: If no admitted type fits.

    Example:
        >>> convert("width", "64", (int,)), convert("lr", "none", (float, NoneType))
        (64, None)
    """
    read = _from_text if isinstance(value, str) else _from_value
    for kind in sorted(kinds, key=[NoneType, bool, int, float, str].index):
        try:
            return read(value, kind)  # pyright: ignore[reportArgumentType] (a text is read as a text, what else as it is)
        except ValueError:
            continue
    accepted = " or ".join(_WORDS[kind] for kind in kinds)
    raise UserError(f"{key}={value!r}: expected {accepted}")


def convert_all(owner: str, given: Mapping[str, object], kinds: Mapping[str, tuple[type, ...]]) -> dict[str, object]:
    """Convert every given option of an owner.

    Args:
        owner: Whose options they are, such as "task ridge", for the error.
        given: Options as typed.
        kinds: Admitted types of every option the owner has.

    Returns:
        The converted options, only those given.

    Raises:
        UnknownName: If the owner has no such option.
        UserError: If a value is of the wrong type.
    """
    return {key: convert(key, value, lookup(f"option of {owner}", key, kinds)) for key, value in given.items()}
