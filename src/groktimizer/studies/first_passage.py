"""From recorded runs to the first-passage law of the norm (arXiv 2605.18845)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from groktimizer.ground.errors import UserError
from groktimizer.results import Record
from groktimizer.theory.networks.laws import FirstPassage, NormRun, calibrate


@dataclass(frozen=True)
class Group:
    """Runs of one task, setting and optimizer, and the law calibrated on them.

    Attributes:
        name: Task, what is set in it, optimizer.
        runs: Usable runs.
        left_out: How many of the group's runs could not be used, by reason.
        law: The law, None if nothing could be calibrated.
        reason: Why not, empty otherwise.
    """

    name: str
    runs: tuple[NormRun, ...]
    left_out: Mapping[str, int]
    law: FirstPassage | None
    reason: str = ""

    @property
    def memorised_norm(self) -> float:
        """Median squared norm at memorisation."""
        return float(np.median([run.memorised_norm for run in self.runs]))


def norm_run(record: Record) -> NormRun | str:
    """Read what the law needs off a record.

    Args:
        record: Of a finished run.

    Returns:
        The run, or why it cannot be used.
    """
    options, times = record.spec["optimizer"]["options"], record.summary["times"]
    lr, decay = options.get("lr"), options.get("weight_decay")
    if not (isinstance(lr, int | float) and isinstance(decay, int | float) and lr > 0 and decay > 0):
        return "without a fixed lr and weight_decay above 0"
    if times["memorised"] is None:
        return "that never memorised"
    steps, norms = np.asarray(record.history["step"]), np.asarray(record.history["norm_l2"])

    def square(step: int) -> float:
        return float(norms[np.searchsorted(steps, step)] ** 2)

    late = times["generalised"]
    if late is None or not times["delay"]:
        return NormRun(float(lr), float(decay), square(times["memorised"]))
    return NormRun(float(lr), float(decay), square(times["memorised"]), square(late), float(times["delay"]))


def groups(records: Sequence[Record]) -> list[Group]:
    """Sort records into groups and calibrate each.

    Args:
        records: Any runs.

    Returns:
        Groups in order of their names; knobs of the optimizer and the seed differ inside a group. Where runs of one
        name were computed by several versions of the code, their names say by which.

    Raises:
        UserError: If there is no record.
    """
    if not records:
        raise UserError("--from: no records there, expected the --out directory of `groktimizer run` or `compare`")
    sorted_records: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        sorted_records.setdefault((_name(record.spec), *_version(record.spec)), []).append(record)
    several = Counter(name for name, *_ in sorted_records)
    return [
        _group(name if several[name] == 1 else f"{name} ({', '.join(version)})", members)
        for (name, *version), members in sorted(sorted_records.items())
    ]


def _version(spec: Mapping[str, Any]) -> list[str]:
    """What else makes runs of one name other runs: the package's code, and files of the user's own."""
    own = spec.get("own", {})
    return [f"code {spec.get('code', 1)}", *(f"{kind} {own[kind]}" for kind in sorted(own))]


def _name(spec: Mapping[str, Any]) -> str:
    task = spec["task"]
    options = ", ".join(f"{key} {value}" for key, value in sorted(task["options"].items()) if value is not None)
    return f"{task['name']} ({options}), {spec['optimizer']['name']}"


def _group(name: str, members: Sequence[Record]) -> Group:
    read = [norm_run(record) for record in members]
    runs = tuple(one for one in read if isinstance(one, NormRun))
    reasons = [one for one in read if isinstance(one, str)]
    left_out = {reason: reasons.count(reason) for reason in sorted(set(reasons))}
    try:
        return Group(name, runs, left_out, calibrate(runs))
    except UserError as error:
        return Group(name, runs, left_out, None, str(error))
