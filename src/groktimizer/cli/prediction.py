"""What the kinds of ``predict`` have in common: a result that is recorded, told in rows and drawn as descents."""

import argparse
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from groktimizer.cli.lines import Told, step
from groktimizer.ground.errors import UserError
from groktimizer.results import PREDICTION, Record, identity, provenance

Array = np.ndarray
Methods = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Prediction:
    """What a kind found; its lines were told as they came.

    Attributes:
        kind: Of ``predict``.
        settings: What the problem consists of besides its arrays.
        content: The result, arrays in it.
        arrays: Of the problem, None for those it does without.
        frame: What is drawn, None for nothing.
        file: First words of the picture's name.
        asked: What else was asked, of which nothing is drawn.
    """

    kind: str
    settings: Mapping[str, object]
    content: Mapping[str, Any]
    arrays: Iterable[Array | None] = ()
    frame: Mapping[str, Any] | None = None
    file: str = ""
    asked: Mapping[str, object] = field(default_factory=dict)

    def record(self) -> Record:
        """What is kept: the same numbers, drawn or read, have one identity and one picture."""
        digests = [None if array is None else _digest(array) for array in self.arrays]
        spec = {"predict": self.kind, **self.settings, "arrays": digests}
        file = f"predict-{self.file or self.kind}-{identity(spec)}"
        kept = {**self.content, "file": file, "frame": self.frame}
        return Record.of(PREDICTION, {**spec, **self.asked}, kept, provenance(1))


def _digest(array: Array) -> str:
    values = np.ascontiguousarray(array, dtype=np.float64)
    return hashlib.sha256(str(values.shape).encode() + b"\n" + values.tobytes()).hexdigest()


def given(arguments: argparse.Namespace, names: Iterable[str]) -> list[str]:
    """Those of some options that were given, as they are typed."""
    return [f"--{name.replace('_', '-')}" for name in names if getattr(arguments, name) is not None]


def refuse(options: Iterable[str], reason: str) -> None:
    """Refuse the first of some options.

    Args:
        options: As they are typed; none is fine.
        reason: What follows its name.

    Raises:
        UserError: If there is one.
    """
    for option in options:
        raise UserError(f"{option} {reason}")


def descents(
    title: str,
    sentence: str,
    tolerances: Sequence[float],
    methods: Methods,
    *,
    words: Sequence[str] = ("relative error", "train error", "recovery error"),
    curves: tuple[str, str] = ("train_error", "recovery_error"),
    band: tuple[str, float, float] | None = None,
) -> dict[str, Any]:
    """What is drawn of methods with two clocks: `report.descents`.

    Args:
        title: Above the panels.
        sentence: Before the times of every method.
        tolerances: Of both curves.
        methods: By name: steps, times, curves, and whether a never is for good.
        words: For the vertical axis and the curves.
        curves: Keys of both.
        band: Name, first and last step of where a method that was not run would recover.

    Returns:
        The frame.
    """
    times = "; ".join(f"{name} {_when(method['settled'])}" for name, method in methods.items())
    kept = ("steps", "memorised", "generalised", "resting")
    runs = [
        {"name": name, "train": method[curves[0]], "test": method[curves[1]], **{key: method[key] for key in kept}}
        for name, method in methods.items()
    ]
    frame = {"painter": "descents", "title": title, "sentence": f"{sentence} within tolerance for good: {times}"}
    return {**frame, "tolerances": tolerances, "words": words, "band": band, "runs": runs}


def _when(settled: int | None) -> str:
    return "never" if settled is None else f"at step {settled:,}"


def tell_times(told: Told, methods: Methods, what: tuple[str, str, str], column: str | None = None) -> None:
    """Tell every method's times as a table.

    Args:
        told: Takes the lines.
        methods: By name: times, whether a never is for good, and a number in `column`.
        what: Of which curves t1 and t2 are the times, within which tolerance, and how long a settled time lasts.
        column: Key of a number to tell before the times.
    """
    rows = [["", *([column] if column else []), "t1", "t2", "settled", "delay"]]
    for name, method in methods.items():
        never = step(None) if method.get("resting", True) else "-"
        times = (method[key] for key in ("memorised", "generalised", "settled", "delay"))
        known = [f"{method[column]:.6g}"] if column else []
        rows.append([name, *known, *(never if time is None else step(time) for time in times)])
    told.table(rows)
    told.say(f"t1, t2: first step with {what[0]} {what[1]}; settled: t2 that lasts {what[2]}")
