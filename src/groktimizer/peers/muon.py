"""torch's Muon at the speed of the host: its Newton–Schulz iteration in the type of the matrices."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from typing_extensions import override


class Muon(torch.optim.Muon):
    """`torch.optim.Muon`, whose matrices on a CPU are orthogonalised in their own type.

    torch rounds every update to bfloat16 before the Newton–Schulz iteration, which is fast on a GPU. Most CPUs have no
    arithmetic of that type: the iteration then takes nearly all of a step. Nothing else differs from torch's Muon.

    Example:
        >>> weight = torch.eye(2, requires_grad=True)
        >>> optimizer = Muon([weight], lr=0.1, weight_decay=0.0)
        >>> weight.square().sum().backward()
        >>> optimizer.step()
        >>> bool((weight.diagonal() < 1).all())
        True
    """

    @override
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with _Unrounded():
            super().step()
        return loss


class _Unrounded(TorchFunctionMode):
    """Leaves a tensor on a CPU in its type where a function asks for it in bfloat16."""

    @override
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.to and kwargs.get("dtype") is torch.bfloat16 and args[0].device.type == "cpu":
            kwargs = {**kwargs, "dtype": args[0].dtype}
        return func(*args, **kwargs)
