"""State dicts of version 1, as groktimizer wrote them first: phase 1 lived apart, groups held lists by tensor."""

import math
from typing import Any

from groktimizer.optim import store
from groktimizer.optim.constraint import fresh
from groktimizer.optim.losses import counted
from groktimizer.optim.weighing import weighs_itself

STEP_SIZES = ("lr", "nominal_lr", "factor")  # of the base: those of tensors with a scale held it

Groups = list[dict[str, Any]]


def is_version_one(control: dict[str, Any]) -> bool:
    """Whether control numbers are those of version 1, which did not say so.

    Args:
        control: ``param_groups[0]["control"]``.

    Returns:
        True if they carry no version.
    """
    return "version" not in control


def upgraded(state_dict: dict[str, Any], groups: Groups) -> dict[str, Any]:
    """The same state as version 2 writes it.

    Args:
        state_dict: Of version 1; left as it is.
        groups: The groups of the optimizer that loads it.

    Returns:
        A new state dict, which shares the tensors.
    """
    saved = state_dict["param_groups"]
    old = dict(saved[0]["control"])
    base, detector, inbox = (old.pop(name, None) for name in ("base", "detector", "inbox"))
    control = _control(old, base, detector, inbox)
    state = {index: _renamed(entry) for index, entry in state_dict["state"].items()}
    options: Groups = []
    if base is not None and not base["state_dict"]["param_groups"][0].keys() & {"outer"}:
        control["base_state"] = base["state_dict"]  # a base with groups of its own
    elif base is not None:
        options = base["state_dict"]["param_groups"]
        order = _base_order(saved, options)
        for position, entry in base["state_dict"]["state"].items():
            state.setdefault(order[position], {}).update(entry)
    new_groups: Groups = []
    for index, (theirs, ours) in enumerate(zip(saved, groups, strict=True)):
        known = options[index] if index < len(options) and options[index].get("outer") == index else {}
        group = {key: value for key, value in theirs.items() if key not in ("given", "units", "control")}
        group["lr_given"], group["decay_given"] = theirs["given"]["lr"], theirs["given"]["weight_decay"]
        group["base"] = [[key, value] for key, value in known.items() if key not in ("params", *STEP_SIZES)]
        itself = weighs_itself(group | {"penalty": ours["penalty"]})
        units = [1.0 if itself else unit or 0.0 for unit in theirs["units"] or [0.0] * len(theirs["params"])]
        group["unit"] = max(units, default=0.0)
        for number, scale, unit in zip(theirs["params"], theirs["scales"], units, strict=True):
            if number in state:
                state[number] |= {"scale": scale, "unit": unit}
        new_groups.append(group | ({"control": control} if index == 0 else {}))
    return {"state": state, "param_groups": new_groups}


def _renamed(entry: store.Entry) -> store.Entry:
    """Phase 2's velocity had a name of its own."""
    return {store.VELOCITY if name == "momentum_buffer" else name: value for name, value in entry.items()}


def _control(
    old: dict[str, Any], base: dict[str, Any] | None, detector: dict[str, Any] | None, inbox: dict[str, Any] | None
) -> dict[str, Any]:
    control = fresh(old["metric"]).to_dict()
    age = old.pop("momentum_age", None)
    for name, value in old.items():
        control[name] = value if value is not None else control.get(name)
    control["age"] = 0.0 if age is None else float(age) - 1.0
    control["base"] = "" if base is None else base["kind"]
    control |= {f"detector_{name}": value for name, value in (detector or {}).items()}
    if inbox is not None:
        control |= {"observed": inbox["seen"], "unread": counted(inbox["unread"]), "pending": counted(inbox["pending"])}
    # It took every loss at its word: what is known of noise begins at none.
    control |= {"detector_noise_turning": 0.0, "noise_turning": 0.0}
    return control | {"curvature": old.get("curvature", math.nan)}


def _base_order(saved: Groups, base_groups: Groups) -> list[int]:
    """Which tensor each of the base's was: it had the groups' tensors sorted by their scale."""
    split = sum(len(group["params"]) > 0 for group in saved) != len(base_groups)
    order: list[int] = []
    for group in saved:
        lanes: dict[float, list[int]] = {}
        for number, scale in zip(group["params"], group["scales"], strict=True):
            lanes.setdefault(scale if split else 1.0, []).append(number)
        order += [number for lane in lanes.values() for number in lane]
    return order
