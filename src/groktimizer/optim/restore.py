"""Handing state over: from phase 1 to phase 2, into a checkpoint and out of it, from somebody else's Adam."""

from copy import deepcopy
from typing import Any

from torch import Tensor

from groktimizer.ground.errors import UserError
from groktimizer.optim import store
from groktimizer.optim.control import VERSION, Control
from groktimizer.optim.phase_one import NO_OPTIONS, OWN_GROUPS, PhaseOne, second_moments
from groktimizer.optim.version_one import is_version_one, upgraded

ADAM_KEYS = ("step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq")

Groups = list[dict[str, Any]]


def hand_over(groups: Groups, one: PhaseOne, state: store.State, names: tuple[str, ...]) -> None:
    """End phase 1: its second moments are carried over (adaptive metric), everything comes to rest, the rest is freed.

    Args:
        groups: The outer groups; beta2 becomes the base's own.
        one: Phase 1.
        state: The state, which both share.
        names: Keys of the tensors that phase 2 uses.
    """
    adaptive = store.MOMENT in names
    for group in groups:
        moments, steps, beta2 = second_moments(one.optimizer, group["params"]) if adaptive else ({}, 0, None)
        group["moment_steps"] = steps
        group["beta2"] = group["beta2"] if beta2 is None else beta2
        for param in group["params"]:
            if id(param) in moments:
                state[param][store.MOMENT] = moments[id(param)]
        begin_phase_two(group, state, names, counted=set(moments))


def begin_phase_two(group: dict[str, Any], state: store.State, names: tuple[str, ...], *, counted: set[int]) -> None:
    """Bring the state of a group's tensors to rest.

    Args:
        group: A parameter group.
        state: The state.
        names: Keys of the tensors that phase 2 uses.
        counted: Ids of the parameters whose second moments go on.
    """
    for param in group["params"]:
        entry = state.get(param)
        if not entry:
            continue
        store.rest(entry, param, names)
        store.wake(entry, param, names)
        entry[store.VELOCITY].zero_()
        if store.MOMENT in names and id(param) not in counted:
            entry[store.MOMENT].zero_()


def pack(packed: dict[str, Any], live: dict[str, Any], one: PhaseOne | None) -> dict[str, Any]:
    """Complete torch's state dict with what lives outside state and groups.

    Args:
        packed: `torch.optim.Optimizer.state_dict()`.
        live: Losses on their way.
        one: Phase 1, if it is on.

    Returns:
        A new dict: tensors in use are the optimizer's own, as with any torch optimizer; nothing else changes with it.
    """
    groups = [{key: _copied(value) for key, value in group.items()} for group in packed["param_groups"]]
    for group in groups:
        group["penalty"] = repr(group["penalty"])  # a text, which weights_only=True can read
    kind = "" if one is None else type(one.optimizer).__name__
    groups[0]["control"] = Control.of(groups).to_dict() | live | {"base": kind, "base_state": {}}
    if one is not None and not one.shares:
        groups[0]["control"]["base_state"] = one.optimizer.state_dict()
    elif one is not None and not one.aligned:
        groups[0]["base"] = [*NO_OPTIONS, [OWN_GROUPS, one.options()]]
    elif one is not None:
        for group, options in zip(groups, one.options(), strict=True):
            group["base"] = options
    return packed | {"param_groups": groups, "state": store.filled(packed["state"])}


def _copied(value: Any) -> Any:
    return deepcopy(value) if isinstance(value, (dict, list, Tensor)) else value


def resume_base(groups: Groups, one: PhaseOne, control: dict[str, Any]) -> None:
    """Give a fresh base what the saved one's groups held.

    Args:
        groups: The loaded groups.
        one: Phase 1.
        control: The control numbers as they were saved.

    Raises:
        UserError: If it was saved with another kind of base.
    """
    kind, saved = type(one.optimizer).__name__, control.get("base", "")
    if saved not in ("", kind):
        raise UserError(f"state_dict was saved with base {saved}: expected {kind}, this optimizer's")
    if not one.shares:
        one.optimizer.load_state_dict(control.get("base_state", {}))
    else:
        one.restore([group["base"] for group in groups])
    for group in groups:
        group["base"] = deepcopy(NO_OPTIONS)


def adopt(state_dict: dict[str, Any], groups: Groups, metric: str) -> tuple[dict[str, Any], float | None]:
    """Make a state dict fit to load: our own, of any version, or Adam's or another's with our options in its groups.

    Args:
        state_dict: What the user loads.
        groups: Our groups.
        metric: Our metric.

    Returns:
        A state dict with our groups' keys, and, for another optimizer's, its beta2 (0 where it has none).

    Raises:
        UserError: If it was saved in the other metric, has another number of groups, or comes from a later version.
    """
    saved = state_dict["param_groups"]
    if len(saved) != len(groups):
        raise UserError(
            f"state_dict has {len(saved)} parameter groups: expected {len(groups)}, as this optimizer has; give it "
            "the groups that the other optimizer had (such as model.parameters())"
        )
    if saved and "control" in saved[0]:
        if is_version_one(saved[0]["control"]):
            state_dict = upgraded(state_dict, groups)
            saved = state_dict["param_groups"]
        _check_control(saved[0]["control"], metric)
        entries = {key: _present(entry) for key, entry in state_dict["state"].items()}
        return {"state": entries, "param_groups": _with_ours(saved, groups)}, None
    betas = saved[0].get("betas", (0.0, 0.0))
    ours = [
        {key: _copied(value) for key, value in group.items() if key != "params"} | {"params": theirs["params"]}
        for group, theirs in zip(groups, saved, strict=True)
    ]
    ours[0]["control"] = Control.of(groups).to_dict()
    entries = {
        index: {key: value for key, value in entry.items() if key in ADAM_KEYS}
        for index, entry in state_dict["state"].items()
        if "exp_avg_sq" in entry
    }
    return {"state": entries, "param_groups": ours}, float(betas[1])


def _check_control(control: dict[str, Any], metric: str) -> None:
    if control["version"] > VERSION:
        raise UserError(
            f"state_dict of version {control['version']}: expected 1 to {VERSION}; it was saved by a later "
            "groktimizer, which can read it"
        )
    if control["metric"] != metric:
        raise UserError(
            f"state_dict was saved with metric={control['metric']!r}: expected {metric!r}, this optimizer's"
        )


def _present(entry: Any) -> Any:
    """Without the empty dicts that flattening (torch.distributed.checkpoint) leaves for keys that a file lacks."""
    if not isinstance(entry, dict):
        return entry
    return {name: value for name, value in entry.items() if not (isinstance(value, dict) and not value)}


def _with_ours(saved: Groups, groups: Groups) -> Groups:
    # Complete, with this optimizer's penalties in place of their texts. What a format drops (a flat one has no empty
    # lists and dicts) is as in a fresh optimizer.
    result: Groups = []
    for theirs, ours in zip(saved, groups, strict=True):
        text = theirs.get("penalty", ours["penalty"])
        text = text if isinstance(text, str) else repr(text)
        if text != repr(ours["penalty"]):
            raise UserError(f"state_dict was saved with penalty={text}: expected {ours['penalty']!r}, this group's")
        missing = {key: _copied(value) for key, value in ours.items() if key not in theirs and key != "params"}
        result.append(missing | theirs | {"penalty": ours["penalty"]})
    return result


def renumber(state_dict: dict[str, Any], groups: Groups, state: store.State) -> None:
    """Put back the numbers of each tensor, which torch has rounded to the tensor's type.

    Args:
        state_dict: What was loaded.
        groups: The parameter groups.
        state: The loaded state.
    """
    keys = [key for group in state_dict["param_groups"] for key in group["params"]]
    for key, param in zip(keys, [param for group in groups for param in group["params"]], strict=True):
        saved = state_dict["state"].get(key, {})
        state_of = state.get(param, {})
        state_of.update({name: float(saved[name]) for name in store.NUMBERS if name in saved})


def settle(groups: Groups, state: store.State, names: tuple[str, ...], *, phase: int, kept: bool) -> None:
    """After loading: what the phase does not use is idle again.

    Args:
        groups: The parameter groups.
        state: The loaded state.
        names: Keys of the tensors that phase 2 uses.
        phase: The phase.
        kept: Whether the guard holds a state.
    """
    used = names if phase > 1 else ()
    out = [
        name
        for name, needed in ((store.SNAPSHOT, kept), (store.GRADIENT, False), (store.DIRECTION, False))
        if not needed
    ]
    for group in groups:
        for param in group["params"]:
            entry = state.get(param)
            if not entry:
                continue
            if used:
                store.rest(entry, param, used)
                for name in used:
                    entry.setdefault(name, store.idle(param))  # of a version that had fewer keys
            for name in out:
                value = entry.get(name)
                if isinstance(value, Tensor) and not bool(value.any()):
                    entry[name] = store.idle(param)


def take_over(groups: Groups, state: store.State, beta2: float, names: tuple[str, ...]) -> None:
    """Begin phase 2 from another optimizer's loaded state: its second moments, at rest.

    Args:
        groups: Our groups.
        state: The loaded state.
        beta2: Its decay rate of second moments.
        names: Keys of the tensors that phase 2 uses.
    """
    adaptive = store.MOMENT in names
    for group in groups:
        steps = [state[param]["step"] for param in group["params"] if "step" in state.get(param, {})]
        group["moment_steps"] = max((int(step) for step in steps), default=0) if adaptive else 0
        if group["moment_steps"]:
            group["beta2"] = beta2
        for param in group["params"]:
            if param in state:
                state[param].pop("step", None)
        begin_phase_two(group, state, names, counted={id(p) for p in group["params"] if adaptive})
