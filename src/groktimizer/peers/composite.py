"""Several optimizers on disjoint parameters, behaving as one."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import override

from groktimizer.ground.errors import UserError


class Composite(Optimizer):
    """One optimizer made of parts that own disjoint parameters.

    The parameter groups are the parts' own, so schedulers act on all of them, and `state_dict` has the standard form
    and holds the state of every part.

    Args:
        parts: At least one optimizer; no parameter in two of them.

    Raises:
        UserError: If there is no part, or a parameter is in two.

    Example:
        >>> weight, bias = torch.ones(2, 2, requires_grad=True), torch.ones(2, requires_grad=True)
        >>> both = Composite([torch.optim.SGD([weight], lr=0.1), torch.optim.Adam([bias], lr=0.2)])
        >>> [group["lr"] for group in both.param_groups]
        [0.1, 0.2]
    """

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        if not parts:
            raise UserError("parts is empty: expected at least one optimizer")
        self._parts = tuple(parts)
        super().__init__([dict(group) for part in parts for group in part.param_groups], {})
        self.param_groups = [group for part in parts for group in part.param_groups]
        self._share()

    def _share(self) -> None:
        """Make the parts work on this optimizer's state and groups."""
        begin = 0
        for part in self._parts:
            end = begin + len(part.param_groups)
            part.param_groups = self.param_groups[begin:end]
            part.state = self.state
            begin = end

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state of all parts."""
        super().load_state_dict(state_dict)
        self._share()

    @override
    def __getstate__(self) -> dict[str, Any]:
        """Give the content for copies and pickles, parts included."""
        return {**super().__getstate__(), "_parts": self._parts}

    @override
    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refuse further groups once the parts are known."""
        if len(self.param_groups) >= sum(len(part.param_groups) for part in self._parts):
            raise UserError("param_group: a composite optimizer takes no further groups, make a new one")
        super().add_param_group(param_group)

    @torch.no_grad()
    @override
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # pyright: ignore[reportIncompatibleMethodOverride] (one for torch's overloads)
        """Let every part take its step on the same gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss
