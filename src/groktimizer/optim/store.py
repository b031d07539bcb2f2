"""What the optimizer keeps of each tensor: in `torch.optim.Optimizer.state`, under the same keys in both phases.

======================  ================================================================================
``exp_avg``             Adam's mean gradient in phase 1, the velocity b in phase 2
``exp_avg_sq``          second moments: Adam's in phase 1; in phase 2 those of the adaptive metric
``snapshot``            with ``guard=True``: the last interpolating state
``probe_direction``     Euclidean metric without lr: leading direction of the curvature ...
``probe_gradient``      ... and the gradient before a probe
``scale``               factor on this tensor's step, a number
``unit``                what a weight of 1 means for this tensor under its penalty, a number; 0 before it is known
======================  ================================================================================

and what a ``base=`` keeps besides. A tensor that is not in use is *idle*: one zero, expanded to the shape, so that the
key costs no memory. `filled` writes it out for a state dict, and numbers as tensors without axes (as Adam's ``step``):
keys and shapes are then the same at every step, and ``torch.distributed.checkpoint`` loads a file of either phase into
a fresh optimizer.
"""

from collections.abc import Iterable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from groktimizer.optim.agreement import local

VELOCITY, MOMENT, SNAPSHOT = "exp_avg", "exp_avg_sq", "snapshot"
DIRECTION, GRADIENT = "probe_direction", "probe_gradient"
NUMBERS = ("scale", "unit")

Entry: TypeAlias = dict[str, Any]
State: TypeAlias = dict[Any, Entry]


def idle(param: Tensor) -> Tensor:
    """A stand-in of a parameter's shape that takes one number of memory.

    Args:
        param: A parameter.

    Returns:
        Zeros that nobody may write to; sharded as the parameter is.
    """
    part = local(param)
    return _placed(torch.zeros((), dtype=part.dtype, device=part.device).expand(part.shape), param)


def _placed(part: Tensor, like: Tensor) -> Tensor:
    """This rank's part as a tensor that is sharded as another is."""
    if getattr(like, "device_mesh", None) is None:
        return part
    from torch.distributed.tensor import DTensor

    sharded: Any = like
    mesh, placements = sharded.device_mesh, sharded.placements
    return DTensor.from_local(part, mesh, placements, run_check=False, shape=like.shape, stride=like.stride())


def is_idle(value: object) -> bool:
    """Whether a state entry is a stand-in.

    Args:
        value: Any state entry.

    Returns:
        True for what `idle` makes (of a parameter with at least one axis).
    """
    if not isinstance(value, Tensor):
        return False
    part = local(value)
    return part.numel() > 0 and part.ndim > 0 and not any(part.stride())


def use(entry: Entry, param: Tensor, name: str) -> Tensor:
    """A tensor to write to, zeros if it was idle or missing.

    Args:
        entry: The state of a parameter, changed in place.
        param: The parameter.
        name: A key.

    Returns:
        The tensor in the entry.
    """
    value = entry.get(name)
    if not isinstance(value, Tensor) or value.shape != param.shape or is_idle(value):
        value = entry[name] = torch.zeros_like(param, memory_format=torch.preserve_format)
    return value


def wake(entry: Entry, param: Tensor, names: Iterable[str]) -> None:
    """Give velocity and second moment, where they are used, memory of their own.

    Args:
        entry: The state of a parameter, changed in place.
        param: The parameter.
        names: Keys of the tensors that these settings use.
    """
    for name in names:
        if name in (VELOCITY, MOMENT):
            use(entry, param, name)


def begin(entry: Entry, param: Tensor, names: Iterable[str], scale: float, unit: float) -> None:
    """Complete the state of a parameter: the keys that it lacks, idle.

    Args:
        entry: The state of a parameter, changed in place.
        param: The parameter.
        names: Keys of the tensors that these settings use.
        scale: Factor on its step.
        unit: What a weight of 1 means for it; 0 if that has to be found.
    """
    for name in names:
        if name not in entry:
            entry[name] = idle(param)
    entry.setdefault("scale", scale)
    entry.setdefault("unit", unit)


def rewind(state: State) -> None:
    """Forget that a step was counted which was none.

    Args:
        state: Its counters, Adam's and others' ``"step"``, are set to 0.
    """
    for entry in state.values():
        count = entry.get("step")
        if isinstance(count, Tensor):
            count.zero_()
        elif count is not None:
            entry["step"] = 0


def rest(entry: Entry, param: Tensor, names: Iterable[str]) -> None:
    """Free what is out of use: other tensors of the parameter's shape become idle, other containers go.

    Args:
        entry: The state of a parameter, changed in place.
        param: The parameter.
        names: Keys of the tensors in use.
    """
    for name in list(entry):
        value = entry[name]
        if name in names or name in NUMBERS:
            continue
        if isinstance(value, Tensor) and value.shape == param.shape and value.ndim:
            entry[name] = idle(param)
        elif not isinstance(value, (Tensor, int, float)) or (isinstance(value, Tensor) and value.ndim):
            del entry[name]


def filled(state: dict[Any, Entry]) -> dict[Any, Entry]:
    """A state for saving: idle tensors written out, numbers as tensors without axes.

    Args:
        state: By parameter or by number.

    Returns:
        A new dict; tensors in use are the same objects.
    """
    return {key: {name: _filled(name, value) for name, value in entry.items()} for key, entry in state.items()}


def _filled(name: str, value: Any) -> Any:
    if name in NUMBERS:
        return torch.tensor(float(value), dtype=torch.float64)
    if not is_idle(value):
        return value
    part = local(value)  # not cloned: a clone of one number keeps its stride, by which idle ones are known
    return _placed(torch.zeros(part.shape, dtype=part.dtype, device=part.device), value)


def number(entry: Entry, name: str) -> float:
    """One of the numbers of a tensor.

    Args:
        entry: The state of a parameter.
        name: ``"scale"`` or ``"unit"``.

    Returns:
        The number; a tensor that a framework has put in its place is replaced.
    """
    value = entry[name]
    if isinstance(value, Tensor):
        value = entry[name] = float(value)
    return value


def nbytes(content: Any) -> int:
    """Bytes of every tensor in use in nested dicts.

    Args:
        content: A state, by parameter or by number.

    Returns:
        The sum, of this rank's parts; what is idle does not count.
    """
    if isinstance(content, Tensor):
        return 0 if is_idle(content) else local(content).nbytes
    return sum(nbytes(value) for value in content.values()) if isinstance(content, dict) else 0
