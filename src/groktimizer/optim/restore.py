"""Handing state over: from phase 1 to phase 2, into a checkpoint and out of it, from somebody else's Adam."""

from copy import deepcopy
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from groktimizer.optim import base as phase_one
from groktimizer.optim.detector import Detector
from groktimizer.optim.losses import Inbox

ADAM_KEYS = ("step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq")


def hand_over(
    groups: list[dict[str, Any]], base: Optimizer | None, state: dict[Any, dict[str, Any]], *, adaptive: bool
) -> None:
    """End phase 1: carry its second moments over (adaptive metric); the rest goes with the base.

    Args:
        groups: The outer groups; beta2 becomes the base's own.
        base: The phase-1 optimizer.
        state: The outer state.
        adaptive: Whether second moments are used in phase 2.
    """
    if base is None or not adaptive:
        return
    for group in groups:
        moments, steps, beta2 = phase_one.second_moments(base, group["params"])
        group["moment_steps"] = steps
        group["beta2"] = group["beta2"] if beta2 is None else beta2
        for param in group["params"]:
            if id(param) in moments:
                state[param]["exp_avg_sq"] = moments[id(param)]


def pack(packed: dict[str, Any], base: Optimizer | None, detector: Detector | None, inbox: Inbox) -> dict[str, Any]:
    """Complete torch's state dict with what lives outside state and groups.

    Args:
        packed: `torch.optim.Optimizer.state_dict()`.
        base: The phase-1 optimizer, if phase 1 is on.
        detector: The detector.
        inbox: Losses on their way.

    Returns:
        The same dict, its groups copied.
    """
    groups = [{key: _copied(value) for key, value in group.items()} for group in packed["param_groups"]]
    for group in groups:
        group["penalty"] = repr(group["penalty"])  # a text, which weights_only=True can read
    groups[0]["control"] |= {
        "base": None if base is None else {"kind": type(base).__name__, "state_dict": base.state_dict()},
        "detector": None if detector is None else detector.state_dict(),
        "inbox": inbox.state_dict(),
    }
    return packed | {"param_groups": groups}


def _copied(value: Any) -> Any:
    return deepcopy(value) if isinstance(value, (dict, list, Tensor)) else value


def unpack(control: dict[str, Any], base: Optimizer | None, detector: Detector | None, inbox: Inbox) -> None:
    """Undo `pack` after loading.

    Args:
        control: The loaded controller's numbers; what belongs elsewhere is taken out of it.
        base: The rebuilt phase-1 optimizer, if phase 1 is on.
        detector: The detector.
        inbox: Losses on their way.

    Raises:
        ValueError: If it was saved with another kind of base.
    """
    saved = control.pop("base", None)
    if base is not None and saved is not None:
        if saved["kind"] != type(base).__name__:
            raise ValueError(
                f"state_dict was saved with base {saved['kind']}: accepted is {type(base).__name__}, this optimizer's"
            )
        base.load_state_dict(saved["state_dict"])
    seen = control.pop("detector", None)
    if detector is not None and seen is not None:
        detector.load_state_dict(seen)
    waiting = control.pop("inbox", None)
    if waiting is not None:
        inbox.load_state_dict(waiting)


def adopt(state_dict: dict[str, Any], groups: list[dict[str, Any]], metric: str) -> tuple[dict[str, Any], float | None]:
    """Make a state dict fit to load: our own as it is, Adam's or another's with our options in its groups.

    Args:
        state_dict: What the user loads.
        groups: Our groups.
        metric: Our metric.

    Returns:
        A state dict with our groups' keys, and, for another optimizer's, its beta2 (0 where it has none).

    Raises:
        ValueError: If it was saved in the other metric, or has another number of groups.
    """
    saved = state_dict["param_groups"]
    if len(saved) != len(groups):
        raise ValueError(
            f"state_dict has {len(saved)} parameter groups: accepted is {len(groups)}, as this optimizer has; give it "
            "the groups that the other optimizer had (such as model.parameters())"
        )
    if saved and "control" in saved[0]:
        other = saved[0]["control"]["metric"]
        if other != metric:
            raise ValueError(f"state_dict was saved with metric={other!r}: accepted is {metric!r}, this optimizer's")
        return state_dict | {"param_groups": _with_penalties(saved, groups)}, None
    betas = saved[0].get("betas", (0.0, 0.0))
    ours = [
        {key: _copied(value) for key, value in group.items() if key != "params"} | {"params": theirs["params"]}
        for group, theirs in zip(groups, saved, strict=True)
    ]
    entries = {
        index: {key: value for key, value in entry.items() if key in ADAM_KEYS}
        for index, entry in state_dict["state"].items()
        if "exp_avg_sq" in entry
    }
    return {"state": entries, "param_groups": ours}, float(betas[1])


def _with_penalties(saved: list[dict[str, Any]], groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Saved groups with this optimizer's penalties in place of their texts."""
    for theirs, ours in zip(saved, groups, strict=True):
        text = theirs.get("penalty", repr(ours["penalty"]))
        if text != repr(ours["penalty"]):
            raise ValueError(f"state_dict was saved with penalty={text}: accepted is {ours['penalty']!r}, this group's")
    return [theirs | {"penalty": ours["penalty"]} for theirs, ours in zip(saved, groups, strict=True)]


def take_over(groups: list[dict[str, Any]], state: dict[Any, dict[str, Any]], beta2: float, *, adaptive: bool) -> None:
    """Begin phase 2 from another optimizer's loaded state: its second moments, at rest.

    Args:
        groups: Our groups.
        state: The loaded state.
        beta2: Its decay rate of second moments.
        adaptive: Whether second moments are used.
    """
    for group in groups:
        steps = [state[param]["step"] for param in group["params"] if "step" in state.get(param, {})]
        group["moment_steps"] = max((int(step) for step in steps), default=0)
        if group["moment_steps"] and adaptive:
            group["beta2"] = beta2
    phase_one.free_state(state, ("exp_avg_sq",) if adaptive else ())


def give_to_base(groups: list[dict[str, Any]], state: dict[Any, dict[str, Any]], base: Optimizer) -> None:
    """Continue phase 1 from another optimizer's loaded state: it becomes the base's.

    Args:
        groups: Our groups.
        state: The loaded state; emptied.
        base: The phase-1 optimizer.
    """
    for group in groups:
        for param in group["params"]:
            entry = state.pop(param, None)
            if entry:
                base.state[param] = entry
