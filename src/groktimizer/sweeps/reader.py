"""Sweeps in YAML: read by the safe loader, checked by pydantic, every complaint with file, line and key."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError

from groktimizer.ground.errors import UserError
from groktimizer.ground.names import nearest
from groktimizer.sweeps.axes import Axis, Range, Sample
from groktimizer.sweeps.sweep import Sweep, parse_seeds

SIZE = 1_000_000  # bytes of a file that is read
Scalar = StrictBool | StrictInt | StrictFloat | StrictStr | None


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class RangeEntry(_Model):
    """``{log: [1e-3, 1], num: 7}`` or ``{linear: [0, 1], num: 5}``."""

    log: tuple[float, float] | None = None
    linear: tuple[float, float] | None = None
    num: StrictInt | None = None


class SampleEntry(_Model):
    """``{count: 64, method: sobol, seed: 0}``."""

    count: StrictInt = Field(ge=1)
    method: Literal["sobol", "random"] = "sobol"
    seed: StrictInt = Field(default=0, ge=0)


class SweepEntry(_Model):
    """A file; `Sweep` says what the keys mean. A single value stands for a list of one."""

    task: StrictStr
    kind: Literal["run", "clock"] = "run"
    optimizer: StrictStr | list[StrictStr] = "groktimizer"
    set: dict[StrictStr, RangeEntry | list[Scalar] | Scalar] = Field(default_factory=dict)
    seeds: StrictInt | StrictStr | list[StrictInt] = 1
    sample: SampleEntry | None = None
    steps: StrictInt | None = None
    every: StrictInt | Literal["log"] | None = None
    precision: Literal["fp32", "bf16", "fp64"] | None = None
    device: StrictStr | None = None
    measure: StrictStr | None = None


SETTINGS = ("steps", "every", "precision", "device", "measure")
WANTED = {
    "task": "a name of `groktimizer list tasks`, or module:Name",
    "kind": "run or clock",
    "optimizer": "a name of `groktimizer list optimizers`, or a list of them",
    "set": "options with a value, a list, {log: [low, high], num: n} or {linear: [low, high], num: n}",
    "seeds": "how many, first-last, or a list of whole numbers",
    "sample": "{count: n, method: sobol or random, seed: s}",
    "steps": "a whole number ≥ 1",
    "every": "a whole number ≥ 1 or log",
    "precision": "fp32, bf16 or fp64",
    "device": "a device of PyTorch, such as cpu",
    "measure": "a measure of `groktimizer run --measure`",
}


def read_sweep(path: Path, overrides: Sequence[str] = ()) -> Sweep:
    """Read a sweep from a file.

    Args:
        path: YAML.
        overrides: ``key=value``: keys of the file, such as ``steps=500`` or ``seeds=1-10``, or of its ``set``, such as
            ``lr=1e-3,1e-2``; a value is read as YAML, with commas it is a list.

    Returns:
        The sweep.

    Raises:
        UserError: If it cannot be read or is not right; the text names file, line, key and what is accepted.
    """
    try:
        if path.stat().st_size > SIZE:
            raise UserError(f"{path}: {path.stat().st_size:,} bytes; expected a sweep of at most {SIZE:,}")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"{path}: cannot be read ({reason}); expected a YAML file") from error
    return parse_sweep(text, str(path), overrides)


def parse_sweep(text: str, source: str, overrides: Sequence[str] = ()) -> Sweep:
    """Read a sweep from a text.

    Args:
        text: YAML.
        source: What it is called in complaints.
        overrides: As in `read_sweep`.

    Returns:
        The sweep.

    Raises:
        wrong: UserError, as `read_sweep`.
    """
    content, lines = _parsed(text, source)
    for override in overrides:
        _override(content, override)
        lines = {place: line for place, line in lines.items() if place[0] != override.partition("=")[0]}

    def complain(place: tuple[str, ...], reason: str) -> UserError:
        line = next((lines[place[:end]] for end in range(len(place), 0, -1) if place[:end] in lines), None)
        where = source if line is None else f"{source}, line {line}"
        key = ".".join(place)
        return UserError(
            f"{where}: {reason if not key or reason.startswith((place[0], place[-1])) else f'{key}: {reason}'}"
        )

    try:
        sweep = _sweep(SweepEntry.model_validate(content))
        sweep.check()
    except ValidationError as error:
        wrong = _told(error, complain)
    except UserError as error:
        wrong = complain(_place(f"{error}", content), f"{error}")
    else:
        return sweep
    raise wrong


def _place(told: str, content: dict[str, Any]) -> tuple[str, ...]:
    """The key that a complaint is about: it begins with it, or says which name is unknown."""
    for key in content.get("set") or {}:
        if told.startswith((f"set {key}:", f"{key}=", f"unknown option {key!r}")):
            return "set", key
    return next(((key,) for key in content if re.match(rf"{key}\b|unknown {key} ", told)), ())


def _parsed(text: str, source: str) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    """The content, and the line of every key."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        lines = {place: mark for place, mark in _places(node, (), source)}
        content: Any = {} if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}, line {mark.line + 1}" if mark else source
        raise UserError(f"{where}: no YAML ({getattr(error, 'problem', None) or error})".splitlines()[0]) from error
    except RecursionError as error:
        raise UserError(f"{source}: nested too deeply; expected a mapping of a few levels") from error
    finally:
        loader.dispose()
    if not isinstance(content, dict):
        raise UserError(f"{source}: expected keys with values, such as task: ridge")
    return content, lines


def _places(node: Any, place: tuple[str, ...], source: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """The line of every key, and a complaint about one that comes twice, which YAML would drop silently."""
    if not isinstance(node, yaml.MappingNode):
        return
    known = set[str]()
    for key, value in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name in known:
            raise UserError(f"{source}, line {line}: {'.'.join((*place, name))}: given twice; expected once")
        known.add(name)
        yield (*place, name), line
        yield from _places(value, (*place, name), source)


def _told(error: ValidationError, complain: Any) -> UserError:
    """The first complaint of pydantic's in our words."""
    first = error.errors(include_url=False, include_input=True)[0]
    place = [str(part) for part in first["loc"]]
    if first["type"] == "missing":
        return complain((), f"no {place[-1]}; expected {place[-1]}: {WANTED.get(place[-1], 'a value')}")
    known = list(SweepEntry.model_fields) if len(place) == 1 else []
    if first["type"] == "extra_forbidden" and known:
        guess = nearest(place[0], known)
        hint = f"did you mean {guess}? " if guess else ""
        return complain(tuple(place), f"unknown key; {hint}known are {', '.join(known)}")
    depth = 2 if place[0] == "set" and len(place) > 1 else 1
    wanted = WANTED["set"].partition("with ")[2] if depth == 2 else WANTED.get(place[0], "another value")
    return complain(tuple(place[:depth]), f"{_short(first['input'])} is not accepted; expected {wanted}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not (key and equals and text):
        raise UserError(f"{override!r}: expected key=value, such as lr=1e-3,1e-2 or seeds=1-10")
    try:
        value = yaml.safe_load(f"[{text}]" if "," in text and text[:1] not in "[{" else text)
    except yaml.YAMLError as error:
        raise UserError(f"{override!r}: the value is no YAML; expected such as lr=1e-3,1e-2") from error
    if key in SweepEntry.model_fields:
        content[key] = value
        return
    options = content.setdefault("set", {})
    if not isinstance(options, dict):
        raise UserError(f"{override!r}: set is {options!r} in the file; expected options with values")
    options[key.removeprefix("set.")] = value


def _sweep(entry: SweepEntry) -> Sweep:
    seeds = entry.seeds
    given = {key: getattr(entry, key) for key in SETTINGS if getattr(entry, key) is not None}
    return Sweep(
        task=entry.task,
        kind=entry.kind,
        optimizers=tuple([entry.optimizer] if isinstance(entry.optimizer, str) else entry.optimizer),
        axes={name: _axis(name, value) for name, value in entry.set.items()},
        seeds=tuple(seeds) if isinstance(seeds, list) else parse_seeds(seeds),
        sample=None if entry.sample is None else Sample(**entry.sample.model_dump()),
        settings=given,
    )


def _axis(name: str, value: Any) -> Axis:
    if isinstance(value, RangeEntry):
        ends = [(log, ends) for log, ends in ((True, value.log), (False, value.linear)) if ends is not None]
        if len(ends) != 1:
            raise UserError(f"set {name}: expected log: [low, high] or linear: [low, high]")
        try:
            log, (low, high) = ends[0]
            return Range(low, high, log=log, num=value.num)
        except UserError as error:
            raise UserError(f"set {name}: {error}") from error
    return value if isinstance(value, list) else [value]
