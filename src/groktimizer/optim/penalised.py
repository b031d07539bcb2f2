"""Descent on ``loss + weight * h`` for any penalty h: by subgradients (around a torch optimizer) and by proximal steps.

The three iterations of arXiv 2506.05718 (section 3, appendix D) as optimizers: the subgradient one, with Adam or with
plain gradient descent, and the proximal one (ISTA for the l1 norm, singular value thresholding for the nuclear norm).
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import override

from groktimizer.ground.checks import not_negative
from groktimizer.optim.groups import param_groups
from groktimizer.penalties import Penalty


def groups(model: nn.Module) -> list[dict[str, Any]]:
    """Which tensors a penalty touches: the weights, or everything in a model that has nothing but vectors.

    Args:
        model: A network.

    Returns:
        Parameter groups; those that are not penalised have ``weight_decay=0``.
    """
    split = param_groups(model)
    if all(group.get("weight_decay") == 0.0 for group in split):
        return [{"params": [param for group in split for param in group["params"]]}]
    return split


def penalised(model: nn.Module) -> list[Tensor]:
    """The tensors that a penalty touches.

    Args:
        model: A network.

    Returns:
        Parameters, in the model's order.
    """
    return [param for group in groups(model) if group.get("weight_decay") != 0.0 for param in group["params"]]


def _evaluate(closure: Callable[[], Any] | None) -> Any:
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


class Subgradient(Optimizer):
    """A torch optimizer on ``loss + weight * h``: the subgradient of least norm is added to the gradient for its step.

    Args:
        inner: The optimizer; its state and groups are this one's.
        targets: The tensors that h is taken of.
        penalty: h.
        weight: Its weight, >= 0.

    Raises:
        UserError: If a tensor has the wrong order for the penalty, or the weight is negative or not finite.
    """

    def __init__(self, inner: Optimizer, targets: Iterable[Tensor], penalty: Penalty, weight: float) -> None:
        not_negative(weight=weight)
        self.inner, self.targets, self.penalty, self.weight = inner, list(targets), penalty, weight
        for param in self.targets:
            penalty.check(param)
        super().__init__([dict(group) for group in inner.param_groups], {})
        self._share()

    def _share(self) -> None:
        self.param_groups, self.state = self.inner.param_groups, self.inner.state

    @override
    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add tensors to the inner optimizer; they are not penalised."""
        if self.__dict__.get("param_groups") is self.inner.param_groups:
            self.inner.add_param_group(param_group)
        else:
            super().add_param_group(param_group)  # while torch makes this object

    @override
    def __getstate__(self) -> dict[str, Any]:
        """Everything that deepcopy and pickle need."""
        names = ("inner", "targets", "penalty", "weight")
        return super().__getstate__() | {name: self.__dict__[name] for name in names}

    @override
    def __setstate__(self, state: dict[str, Any]) -> None:
        """Put the content of a copy in place; state and groups are the inner optimizer's again."""
        super().__setstate__(state)
        self._share()

    @torch.no_grad()
    @override
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] (one for torch's overloads)
        """Take one step; the gradients are as they were afterwards."""
        loss = _evaluate(closure)
        plain = [(param, param.grad) for param in self.targets if param.grad is not None]
        for param, grad in plain:
            param.grad = torch.add(grad, self.penalty.subgradient(param), alpha=self.weight)
        try:
            self.inner.step()
        finally:
            for param, grad in plain:
                param.grad = grad
        return loss

    @override
    def state_dict(self) -> dict[str, Any]:
        """The inner optimizer's state."""
        return self.inner.state_dict()

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the inner optimizer's state."""
        self.inner.load_state_dict(state_dict)
        self._share()


class ProximalGradient(Optimizer):
    """``theta <- prox(theta - lr * gradient, lr * weight)``; no momentum.

    Args:
        params: Groups as `groups` makes them; those with ``weight_decay=0`` take plain gradient steps.
        lr: Step size, > 0; needs ``lr * sharpness <= 1``.
        penalty: h.
        weight: Its weight, >= 0.

    Raises:
        UserError: If a tensor has the wrong order for the penalty, or a number is negative or not finite.
    """

    def __init__(self, params: list[dict[str, Any]], lr: float, penalty: Penalty, weight: float) -> None:
        not_negative(lr=lr, weight=weight)
        self.penalty, self.weight = penalty, weight
        super().__init__(params, {"lr": lr, "weight_decay": weight})
        for group in self.param_groups:
            if group["weight_decay"] != 0.0:
                for param in group["params"]:
                    penalty.check(param)

    @override
    def __getstate__(self) -> dict[str, Any]:
        """Everything that deepcopy and pickle need."""
        return super().__getstate__() | {"penalty": self.penalty, "weight": self.weight}

    @torch.no_grad()
    @override
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] (one for torch's overloads)
        """Take one step."""
        loss = _evaluate(closure)
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    moved = param - group["lr"] * param.grad
                    step = group["lr"] * group["weight_decay"]
                    param.copy_(self.penalty.prox(moved, step) if step else moved)
        return loss
