"""What a GROKtimizer is set to: the metric's untuned values, and how groups are completed from them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from groktimizer.optim.base import BASE_LR, root_mean_square
from groktimizer.optim.control import Rule
from groktimizer.optim.detector import Detector, LossBelow
from groktimizer.penalties import L2, Penalty

METRICS = ("adaptive", "euclidean")
ADAPTIVE_LR = 4e-3
ADAPTIVE_DECAY = 2.0
# Nominal weight of another penalty, in units of its pull (`phase_two.weigh`): separable ones, and the others.
SEPARABLE_PULL, JOINT_PULL = 0.1, 0.4
EUCLIDEAN_NOMINAL = 1.0  # lr and decay then live in the controller's scales, found by calibration and constraint
TAKEN_ON_LEVEL = 0.05  # a training loss that counts as interpolation for a model taken on without a level, but
TAKEN_ON_FACTOR = 100.0  # at most this multiple of the loss it arrives with: the loss may be on a smaller scale
SCALE_UNIT, SCALE_MAX = 0.1, 10.0

RULES = {
    "adaptive": Rule(),
    "euclidean": Rule(
        start=1e-4,
        hold=0.0,
        decay_gain=0.05,
        growth=0.05,
        lr_gain=0.0,
        late_gain=0.0,
        cooling=math.inf,
        inherits=False,
        astray=4.0,
        lost=300,
        dead=math.inf,
    ),
}


@dataclass(frozen=True)
class Settings:
    """Constructor arguments that belong to the whole optimizer, not to a group."""

    metric: str
    penalty: Penalty
    guard: bool
    compiled: bool
    poll: int | None

    def check(self, *, foreach: bool | None, fused: bool | None, capturable: bool, differentiable: bool) -> None:
        """Refuse what is not supported, by name.

        Args:
            foreach: The constructor's argument.
            fused: The constructor's argument.
            capturable: The constructor's argument.
            differentiable: The constructor's argument.

        Raises:
            ValueError: One line with the argument, its value and what is accepted.
        """
        if self.metric not in METRICS:
            raise ValueError(f"metric={self.metric!r}: accepted are 'adaptive' and 'euclidean'")
        check_penalty(self.penalty)
        if capturable:
            raise ValueError("capturable=True is not supported: the host decides the phase switch; accepted: False")
        if differentiable:
            raise ValueError("differentiable=True is not supported: the update runs in place; accepted: False")
        if foreach and fused:
            raise ValueError("foreach=True with fused=True: accepted is one of them")
        if fused and self.adaptive:
            raise ValueError("fused=True with metric='adaptive': PyTorch has no such kernel; accepted: compiled=True")
        if self.compiled and not self.adaptive:
            raise ValueError("compiled=True with metric='euclidean': accepted there is fused=True")
        if self.poll is not None and (isinstance(self.poll, bool) or not isinstance(self.poll, int) or self.poll < 1):
            raise ValueError(f"poll={self.poll!r}: accepted is an integer >= 1, or None")

    @property
    def adaptive(self) -> bool:
        """Whether the metric is the adaptive one."""
        return self.metric == "adaptive"

    @property
    def accelerates(self) -> bool:
        """Whether proximal steps take the accelerated momentum rather than the critical one."""
        return not self.adaptive

    @property
    def pace(self) -> float:
        """The decay that stands for a penalty other than L2 in momentum and damped time."""
        return ADAPTIVE_DECAY if self.adaptive else EUCLIDEAN_NOMINAL

    @property
    def rule(self) -> Rule:
        """Constants of the constraint and the guard in this metric."""
        return RULES[self.metric]

    def calibrates(self, groups: list[dict[str, Any]]) -> bool:
        """Whether some group's lr has to be found from the curvature.

        Args:
            groups: The parameter groups.

        Returns:
            True in the Euclidean metric when a group came without lr.
        """
        return not self.adaptive and not all(group["given"]["lr"] for group in groups)

    def scales(self, params: list[Tensor], *, given: bool) -> list[float]:
        """How much longer each tensor's adaptive step is: its RMS in units of 0.1, between 1 and 10.

        A tensor of large entries (an embedding of unit variance) needs larger steps than a matrix of variance
        1/fan-in for the same relative motion. An lr that was given is taken as it is.

        Args:
            params: The group's tensors.
            given: Whether the group's lr was given.

        Returns:
            One factor per tensor.
        """
        if given or not self.adaptive:
            return [1.0] * len(params)
        return [min(max(root_mean_square(param) / SCALE_UNIT, 1.0), SCALE_MAX) for param in params]


def detector_for(interpolation: float | Detector | None, *, maximize: bool) -> Detector | None:
    """The detector that an ``interpolation=`` argument stands for.

    Args:
        interpolation: None, a level, infinity, or a detector.
        maximize: Whether the objective is climbed.

    Returns:
        A detector; None for infinity (phase 2 at once).

    Raises:
        ValueError: If it is none of these, or a loss level is asked for while maximising.
    """
    if isinstance(interpolation, Detector):
        return interpolation
    if isinstance(interpolation, (int, float)) and not isinstance(interpolation, bool) and interpolation == math.inf:
        return None
    if maximize:
        raise ValueError(
            f"maximize=True with interpolation={interpolation!r}: accepted then are float('inf') and a detector"
        )
    if interpolation is None:
        return LossBelow()
    if isinstance(interpolation, bool) or not isinstance(interpolation, (int, float)):
        raise ValueError(f"interpolation={interpolation!r}: accepted is a level > 0, float('inf'), a detector, None")
    return LossBelow(absolute=float(interpolation))


def check_penalty(penalty: object) -> None:
    """Refuse what is no penalty.

    Args:
        penalty: An argument or a group's option.

    Raises:
        ValueError: One line with what is accepted.
    """
    if not isinstance(penalty, Penalty):
        raise ValueError(f"penalty={penalty!r}: accepted are L2(), L1(), GroupL1(), Nuclear() and Elastic()")


def listed(params: Any) -> Any:
    """The constructor's parameters as a list, once.

    Args:
        params: Tensors, groups, or (name, tensor) pairs.

    Returns:
        A list; a lone tensor is passed on for torch to refuse.

    Raises:
        ValueError: If there are none, or they come in a set.
    """
    if isinstance(params, (set, frozenset)):
        raise ValueError("params is a set, whose order changes from run to run: accepted is a list or an iterator")
    entries = params if isinstance(params, Tensor) else list(params)
    if len(entries) == 0:
        raise ValueError("params=[]: the parameter list is empty; accepted are tensors that require grad")
    return entries


def tensors(params: Any) -> list[Tensor]:
    """The tensors of a group's ``params``, which may be one tensor or (name, tensor) pairs.

    Args:
        params: As `torch.optim.Optimizer.add_param_group` accepts it.

    Returns:
        The tensors.
    """
    listed = [params] if isinstance(params, Tensor) else list(params)
    return [entry[1] if isinstance(entry, tuple) else entry for entry in listed]


def complete(param_group: dict[str, Any], defaults: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Fill a new group with the metric's untuned values where neither it nor the constructor gives one.

    Args:
        param_group: The user's group.
        defaults: The constructor's per-group arguments.
        settings: The optimizer's settings.

    Returns:
        A new dict; ``given`` tells which of lr and weight_decay came from the user.

    Raises:
        ValueError: If params is a set, whose order is not reproducible.
    """
    if isinstance(param_group.get("params"), (set, frozenset)):
        raise ValueError("params is a set, whose order changes from run to run: accepted is a list or an iterator")
    group = defaults | param_group
    params = group["params"]
    group["params"] = [params] if isinstance(params, Tensor) else list(params)
    group["given"] = {"lr": group["lr"] is not None, "weight_decay": group["weight_decay"] is not None}
    if group["lr"] is None:
        group["lr"] = ADAPTIVE_LR if settings.adaptive else EUCLIDEAN_NOMINAL
    group.setdefault("penalty", settings.penalty)
    check_penalty(group["penalty"])
    group["units"] = None
    if group["weight_decay"] is None:
        group["weight_decay"] = EUCLIDEAN_NOMINAL
        if settings.adaptive and not isinstance(group["penalty"], L2):
            group["weight_decay"] = SEPARABLE_PULL if group["penalty"].separable else JOINT_PULL
        elif settings.adaptive:
            group["weight_decay"] = min(ADAPTIVE_DECAY, 0.25 / max(float(group["lr"]), 1e-30))
    group["nominal_lr"] = float(group["lr"])
    group["moment_steps"] = 0
    return group


def level_taken_on(loss: float) -> float:
    """Interpolation level of a model that arrives memorised, from the loss that it arrives with.

    Args:
        loss: Its first training loss.

    Returns:
        0.05, but between 2 and 100 times the loss.
    """
    return max(min(TAKEN_ON_LEVEL, TAKEN_ON_FACTOR * loss), 2.0 * loss, 1e-30)


def check_effective(group: dict[str, Any], settings: Settings) -> None:
    """Check a completed group: its kernels; eta * lambda in the adaptive metric; tensors that its penalty can take.

    Args:
        group: A completed group.
        settings: The optimizer's settings.

    Raises:
        ValueError: If there is no such kernel for its penalty, a step would decay everything, or a tensor has the wrong
            order for the penalty.
    """
    kernels = {"compiled": settings.compiled, "fused": group["fused"]}
    for name, asked in kernels.items():
        if asked and not isinstance(group["penalty"], L2):
            raise ValueError(
                f"{name}=True with penalty={group['penalty']!r}: there is no such kernel; accepted: False, or None"
            )
    if group["weight_decay"] != 0:
        try:
            for param in tensors(group["params"]):
                group["penalty"].check(param)
        except ValueError as error:
            remedy = "groktimizer.param_groups(model) keeps the penalty off biases; else L1() takes any tensor"
            raise ValueError(f"{error}; {remedy}") from None
    lr, decay = group["nominal_lr"] * max(group["scales"], default=1.0), group["weight_decay"]
    if isinstance(group["penalty"], L2) and settings.adaptive and lr * decay >= 1.0:
        raise ValueError(
            f"weight_decay={decay!r} with an effective lr of {lr:g}: lr * weight_decay must be < 1; accepted at this "
            f"lr is weight_decay < {1.0 / lr:g}"
        )


def check_decays(groups: Iterable[dict[str, Any]]) -> None:
    """Refuse groups that leave phase 2 nothing to do.

    Args:
        groups: The parameter groups.

    Raises:
        ValueError: If every weight_decay is 0.
    """
    if all(group["weight_decay"] == 0 for group in groups):
        raise ValueError(
            "weight_decay=0 in every group: phase 2 minimises the penalty, so accepted is > 0 in one group, or None"
        )


def base_groups(groups: list[dict[str, Any]], *, split: bool, offset: int = 0) -> list[dict[str, Any]]:
    """The groups that the phase-1 optimizer gets: the same tensors, none of phase 2's options.

    Args:
        groups: The outer groups.
        split: Whether the default base is used, which takes a longer step on tensors with larger entries.
        offset: Index of the first outer group.

    Returns:
        Groups that carry the index of their outer group under ``"outer"``.
    """
    result: list[dict[str, Any]] = []
    for index, group in enumerate(groups, start=offset):
        if not split or all(scale == 1.0 for scale in group["scales"]):
            result.append({"params": list(group["params"]), "outer": index})
            continue
        lanes: dict[float, list[Tensor]] = {}
        for param, scale in zip(group["params"], group["scales"], strict=True):
            lanes.setdefault(BASE_LR * scale, []).append(param)
        result += [{"params": params, "outer": index, "lr": lr} for lr, params in lanes.items()]
    return result


def follow_schedule(groups: list[dict[str, Any]], base: Optimizer, scale: float = 1.0) -> None:
    """Apply a scheduler's factor on the outer lr to the base's lr.

    Args:
        groups: The outer groups.
        base: The phase-1 optimizer, changed in place.
        scale: Another factor, for all groups.
    """
    for inner in base.param_groups:
        outer = groups[inner.get("outer", 0)]
        factor = scale * (float(outer["lr"]) / outer["nominal_lr"] if outer["nominal_lr"] > 0.0 else 1.0)
        if factor != inner.setdefault("factor", 1.0):
            inner["lr"] = inner.setdefault("nominal_lr", inner["lr"]) * factor
            inner["factor"] = factor


def remember(state: dict[str, Any], loss: float) -> None:
    """Note a training loss for the status text.

    Args:
        state: The controller's numbers, changed in place.
        loss: A training loss.
    """
    state["last_loss"] = loss
    if state["first_loss"] is None:
        state["first_loss"] = loss
    if state["best_loss"] is None or loss < 0.99 * state["best_loss"]:
        state["best_loss"], state["best_step"] = loss, state["steps"]
