"""Phase 1: the optimizer that fits, and what it hands over."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

Build: TypeAlias = Callable[[list[dict[str, Any]]], Optimizer]


BASE_LR = 1.2e-2


def default_base(groups: list[dict[str, Any]]) -> Optimizer:
    """Adam without decay: lr 1.2e-2, betas (0.9, 0.98); longer steps on tensors with larger entries, see `settings`.

    Args:
        groups: Parameter groups.

    Returns:
        The phase-1 optimizer.
    """
    return Adam(groups, lr=BASE_LR, betas=(0.9, 0.98))


@dataclass(frozen=True)
class BaseFactory:
    """The callable behind ``base=``, which says clearly when it cannot be pickled.

    Args:
        build: ``callable(param_groups) -> torch.optim.Optimizer``.
    """

    build: Build

    def __call__(self, groups: list[dict[str, Any]], *, maximize: bool) -> Optimizer:
        """Build the phase-1 optimizer.

        Args:
            groups: Its groups, as `settings.base_groups` makes them.
            maximize: Whether the objective is climbed.

        Returns:
            A fresh optimizer over the same tensors.

        Raises:
            ValueError: If the callable does not give a `torch.optim.Optimizer`.
        """
        base = self.build(groups)
        if not isinstance(base, Optimizer):
            raise ValueError(
                f"base={self.build!r} returned {type(base).__name__}: accepted is "
                "callable(param_groups) -> torch.optim.Optimizer"
            )
        if maximize:
            for group in base.param_groups:
                group["maximize"] = True
        return base

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def __reduce__(self) -> tuple[type["BaseFactory"], tuple[Build]]:
        try:
            pickle.dumps(self.build)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise pickle.PicklingError(
                f"base={self.build!r} cannot be pickled: define it with `def` at the top level of a module "
                "(or save opt.state_dict(), which needs no pickle of the callable)"
            ) from error
        return BaseFactory, (self.build,)


def second_moments(base: Optimizer, params: list[Tensor]) -> tuple[dict[int, Tensor], int, float | None]:
    """Second moments that the base has gathered, as Adam and its relatives keep them.

    Args:
        base: The phase-1 optimizer.
        params: Some of its parameters.

    Returns:
        Running means of squared gradients by parameter id (those that the base keeps), how many gradients they have
        seen (counted by parameter or by group), and the decay rate ``betas[1]``.
    """
    moments: dict[int, Tensor] = {}
    steps, beta2 = 0, None
    wanted = {id(param) for param in params}
    for group in base.param_groups:
        for param in group["params"]:
            entry = base.state.get(param, {})
            moment = entry.get("exp_avg_sq")
            if id(param) in wanted and isinstance(moment, Tensor) and moment.shape == param.shape:
                moments[id(param)] = moment
                steps = max(steps, int(entry.get("step", group.get("step", 0))))
                betas = group.get("betas")
                beta2 = float(betas[1]) if isinstance(betas, (tuple, list)) and len(betas) > 1 else beta2
    return (moments, steps, beta2) if steps else ({}, 0, None)


def free_state(state: dict[Any, dict[str, Any]], keep: tuple[str, ...]) -> None:
    """Drop everything phase 1 has stored but what phase 2 takes over.

    Args:
        state: The optimizer's state, by parameter; its entries are replaced.
        keep: Keys that stay.
    """
    for param in list(state):
        state[param] = {key: state[param][key] for key in keep if key in state[param]}


def root_mean_square(param: Tensor) -> float:
    """RMS of a tensor's entries; 1 for a tensor without data (on the meta device).

    Args:
        param: A parameter.

    Returns:
        The RMS.
    """
    if param.is_meta or param.numel() == 0:
        return 1.0
    return length(param) / param.numel() ** 0.5


def length(param: Tensor) -> float:
    """l2 norm of one tensor; half precision is summed in float32.

    Args:
        param: A real tensor.

    Returns:
        Its norm.
    """
    wider = torch.float32 if param.dtype in {torch.float16, torch.bfloat16} else None
    return float(torch.linalg.vector_norm(param.detach(), dtype=wider))
