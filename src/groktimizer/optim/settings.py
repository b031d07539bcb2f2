"""What a GROKtimizer is set to: the metric's untuned values, and how groups are completed from them."""

import math
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from groktimizer.ground.checks import whole, word
from groktimizer.ground.errors import UserError
from groktimizer.optim import store
from groktimizer.optim.agreement import ALONE, Group, Scope, among_ranks, local, scope_of_shards
from groktimizer.optim.constraint import RULES, Rule
from groktimizer.optim.control import Control
from groktimizer.optim.lengths import deviations
from groktimizer.optim.phase_one import NO_OPTIONS
from groktimizer.penalties import L2, Penalty

METRICS = ("adaptive", "euclidean")
ADAPTIVE_LR = 4e-3
ADAPTIVE_DECAY = 2.0
# Nominal weight of another penalty, in units of its pull (`weighing.weigh`): separable ones, and the others.
SEPARABLE_PULL, JOINT_PULL = 0.1, 0.4
EUCLIDEAN_NOMINAL = 1.0  # lr and decay then live in `Control`'s scales, found by calibration and constraint
SMALL, LARGE = 0.05, 0.1  # spread of a tensor's entries below which its steps are shorter, above which longer
SCALE_MIN, SCALE_MAX = 2.0**-4, 10.0
PROBED = (torch.float32, torch.float64)


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
            UserError: One line with the argument, its value and what is accepted.
        """
        word("metric", self.metric, METRICS)
        check_penalty(self.penalty)
        if capturable:
            raise UserError("capturable=True is not supported: the host decides the phase switch; accepted: False")
        if differentiable:
            raise UserError("differentiable=True is not supported: the update runs in place; accepted: False")
        if foreach and fused:
            raise UserError("foreach=True with fused=True: expected one of them")
        if fused and self.adaptive:
            raise UserError("fused=True with metric='adaptive': PyTorch has no such kernel; accepted: compiled=True")
        if self.compiled and not self.adaptive:
            raise UserError("compiled=True with metric='euclidean': accepted there is fused=True")
        if self.poll is not None:
            whole("poll", self.poll, also="or None")

    @property
    def adaptive(self) -> bool:
        """Whether the metric is the adaptive one."""
        return self.metric == "adaptive"

    @cached_property
    def finish(self) -> "Settings":
        """The same settings in the Euclidean metric, in which an untuned adaptive run ends."""
        return replace(self, metric="euclidean", compiled=False)

    def finishes(self, groups: list[dict[str, Any]]) -> bool:
        """Whether the run ends in the Euclidean metric, whose fixed points have least norm.

        Args:
            groups: The parameter groups.

        Returns:
            True in the adaptive metric if neither lr nor the weight of a penalty was given; of 16-bit parameters the
            curvature cannot be probed.
        """
        return self.adaptive and all(
            not group["lr_given"]
            and (not group["decay_given"] or group["weight_decay"] == 0)
            and all(param.dtype in PROBED for param in group["params"])
            for group in groups
        )

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
        return not self.adaptive and not all(group["lr_given"] for group in groups)

    def tensors(self, groups: list[dict[str, Any]]) -> tuple[str, ...]:
        """Keys of the tensors that phase 2 uses of each parameter.

        Args:
            groups: The parameter groups.

        Returns:
            Names out of `store`.
        """
        names = (store.VELOCITY,)
        if self.adaptive:
            names += (store.MOMENT,)
        if self.guard:
            names += (store.SNAPSHOT,)
        probes = self.calibrates(groups) or self.finishes(groups)
        return (*names, store.DIRECTION, store.GRADIENT) if probes else names

    def scales(self, params: list[Tensor], *, given: bool, scope: Scope | None = None) -> list[float]:
        """How much longer each tensor's adaptive step is, by the standard deviation of its entries.

        1 from 0.05 to 0.1, up to 10 beyond: a tensor of large entries (an embedding of unit variance) needs larger
        steps than a matrix of variance 1/fan-in for the same relative motion. Below, the nearest power of 2, so that
        tensors share their kernels: one with thousands of inputs needs smaller steps, or its norm blows up. Equal
        entries (the gains of a normalisation, zeros) take steps of 1: to move all gains by an eighth at once throws a
        network off. An lr that was given is taken as it is. Of a sharded tensor the whole is measured; six decimals
        are kept, so that the order of a sum does not show.

        Args:
            params: The group's tensors.
            given: Whether the group's lr was given.
            scope: Who takes part when some are sharded.

        Returns:
            One factor per tensor; nan for one without data (on the meta device), to be measured later.
        """
        if given or not self.adaptive:
            return [1.0] * len(params)
        return [_scale(deviation) for deviation in deviations(params, scope or ALONE)]

    def measure_again(self, group: dict[str, Any], state: store.State, process_group: Group = None) -> None:
        """Measure the scales of a penalised group's tensors as they are now.

        Args:
            group: A parameter group.
            state: The optimizer's state, where they are kept.
            process_group: The argument of that name.
        """
        if group["weight_decay"] == 0.0:
            return
        params = group["params"]
        group["scales"] = self.scales(params, given=group["lr_given"], scope=scope_of_shards(params, process_group))
        for param, scale in zip(params, group["scales"], strict=True):
            if "scale" in state.get(param, ()):
                state[param]["scale"] = scale

    def known_scales(self, group: dict[str, Any], state: store.State, process_group: Group = None) -> list[float]:
        """The scales of a group's tensors as they are now: kept with each tensor, else measured for its place.

        Args:
            group: A parameter group; its list for reading, ``"scales"``, is brought up to date.
            state: The optimizer's state.
            process_group: The argument of that name.

        Returns:
            One factor per tensor.
        """
        params, listed = group["params"], group["scales"]
        if len(listed) != len(params) or any(math.isnan(scale) for scale in listed):
            listed = self.scales(params, given=group["lr_given"], scope=scope_of_shards(params, process_group))
        group["scales"] = [
            store.number(state[param], "scale") if "scale" in state.get(param, ()) else scale
            for param, scale in zip(params, listed, strict=True)
        ]
        return group["scales"]


def _scale(deviation: float) -> float:
    if math.isnan(deviation) or deviation == 0.0:
        return deviation or 1.0
    if deviation >= SMALL:
        return round(min(max(deviation / LARGE, 1.0), SCALE_MAX), 6)
    return max(2.0 ** round(math.log2(deviation / SMALL)), SCALE_MIN)


def check_penalty(penalty: object) -> None:
    """Refuse what is no penalty.

    Args:
        penalty: An argument or a group's option.

    Raises:
        UserError: One line with what is accepted.
    """
    if not isinstance(penalty, Penalty):
        raise UserError(f"penalty={penalty!r}: expected L2(), L1(), GroupL1(), Nuclear() or Elastic()")


def listed(params: Any) -> Any:
    """The constructor's parameters as a list, once.

    Args:
        params: Tensors, groups, or (name, tensor) pairs.

    Returns:
        A list; a lone tensor is passed on for torch to refuse.

    Raises:
        UserError: If there are none, or they come in a set or in a module.
    """
    if isinstance(params, (set, frozenset)):
        raise UserError("params is a set, whose order changes from run to run: expected a list or an iterator")
    if isinstance(params, nn.Module):
        name = type(params).__name__
        raise UserError(f"params is a module ({name}): expected its parameters, param_groups(model)")
    entries = params if isinstance(params, Tensor) else list(params)
    if len(entries) == 0:
        raise UserError("params=[]: the parameter list is empty; accepted are tensors that require grad")
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
        A new dict; ``lr_given`` and ``decay_given`` tell which of the two came from the user.

    Raises:
        UserError: If params is a set, whose order is not reproducible.
    """
    if isinstance(param_group.get("params"), (set, frozenset)):
        raise UserError("params is a set, whose order changes from run to run: expected a list or an iterator")
    group = defaults | param_group
    params = group["params"]
    group["params"] = [params] if isinstance(params, Tensor) else list(params)
    group["lr_given"], group["decay_given"] = group["lr"] is not None, group["weight_decay"] is not None
    if group["lr"] is None:
        group["lr"] = ADAPTIVE_LR if settings.adaptive else EUCLIDEAN_NOMINAL
    group.setdefault("penalty", settings.penalty)
    check_penalty(group["penalty"])
    if group["weight_decay"] is None:
        group["weight_decay"] = EUCLIDEAN_NOMINAL
        if settings.adaptive and not isinstance(group["penalty"], L2):
            group["weight_decay"] = SEPARABLE_PULL if group["penalty"].separable else JOINT_PULL
        elif settings.adaptive:
            group["weight_decay"] = min(ADAPTIVE_DECAY, 0.25 / max(float(group["lr"]), 1e-30))
    group["nominal_lr"] = float(group["lr"])
    group["moment_steps"] = 0
    group["unit"] = 0.0
    group["base"] = deepcopy(NO_OPTIONS)
    return group


def check_effective(group: dict[str, Any], settings: Settings) -> None:
    """Check a completed group: its kernels; eta * lambda in the adaptive metric; tensors that its penalty can take.

    Args:
        group: A completed group.
        settings: The optimizer's settings.

    Raises:
        UserError: If there is no such kernel for its penalty, a step would decay everything, or a tensor has the wrong
            order for the penalty.
    """
    kernels = {"compiled": settings.compiled, "fused": group["fused"]}
    for name, asked in kernels.items():
        if asked and not isinstance(group["penalty"], L2):
            raise UserError(
                f"{name}=True with penalty={group['penalty']!r}: there is no such kernel; accepted: False, or None"
            )
    if group["weight_decay"] != 0:
        try:
            for param in tensors(group["params"]):
                group["penalty"].check(param)
        except ValueError as error:
            remedy = "groktimizer.param_groups(model) keeps the penalty off biases; else L1() takes any tensor"
            raise UserError(f"{error}; {remedy}") from None
    largest = max((scale for scale in group["scales"] if not math.isnan(scale)), default=1.0)
    lr, decay = group["nominal_lr"] * largest, group["weight_decay"]
    if isinstance(group["penalty"], L2) and settings.adaptive and lr * decay >= 1.0:
        raise UserError(
            f"weight_decay={decay!r} with an effective lr of {lr:g}: lr * weight_decay must be < 1; accepted at this "
            f"lr is weight_decay < {1.0 / lr:g}"
        )


def check_groups(groups: Iterable[dict[str, Any]]) -> None:
    """Refuse groups that leave phase 2 nothing to do.

    Args:
        groups: The parameter groups.

    Raises:
        UserError: If there is no tensor, or every weight_decay is 0.
    """
    groups = list(groups)
    if not any(group["params"] for group in groups) and not among_ranks():  # a rank may hold no tensor (ZeRO)
        raise UserError("params=[]: every parameter group is empty; accepted are tensors that require grad")
    if all(group["weight_decay"] == 0 for group in groups):
        raise UserError(
            "weight_decay=0 in every group: phase 2 minimises the penalty, so accepted is > 0 in one group, or None"
        )


def schedule_factor(group: dict[str, Any]) -> float:
    """What a scheduler has made of a group's lr, as a factor.

    Args:
        group: An outer group.

    Returns:
        lr over the lr that the group came with.
    """
    return float(group["lr"]) / group["nominal_lr"] if group["nominal_lr"] > 0.0 else 1.0


def only_asked_for_state(groups: list[dict[str, Any]], control: Control) -> bool:
    """Whether a step is no step: lr 0 and gradients 0 before the first one, by which frameworks ask for the state.

    ``torch.distributed.checkpoint`` calls ``step`` so, in order to have every key there.

    Args:
        groups: The parameter groups, gradients set.
        control: The control numbers.

    Returns:
        True if nothing was observed, no step was taken and all lr and gradients are 0.
    """
    if control.steps or control.observed or any(float(group["lr"]) for group in groups):
        return False
    grads = [param.grad for group in groups for param in group["params"] if param.grad is not None]
    return bool(grads) and not any(bool(local(grad).any()) for grad in grads)
