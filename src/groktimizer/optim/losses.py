"""How training losses reach the optimizer: gathered on their device, read in batches, averaged over ranks."""

import numbers
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

DEVICE_POLL = 10


class Inbox:
    """Losses on their way to the detector and the controller.

    Those put between two steps are averaged into one; every `poll` steps the gathered ones are read on the host, at
    one synchronisation. All ranks of a process group get the same numbers, their mean.

    Args:
        poll: Steps between two readings; None is 1 for losses on the CPU and 10 for others.
    """

    def __init__(self, poll: int | None) -> None:
        self.poll = poll
        self.seen = False
        self._pending: list[Tensor | float] = []
        self._unread: list[Tensor | float] = []

    def put(self, loss: Any) -> None:
        """Take in one loss.

        Args:
            loss: A number or a one-element tensor.

        Raises:
            ValueError: If it is not one number.
        """
        if isinstance(loss, Tensor) and loss.numel() == 1:
            self._pending.append(loss.detach().reshape(()))
        elif isinstance(loss, numbers.Real) and not isinstance(loss, bool):
            self._pending.append(float(loss))
        else:
            kind = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
            raise ValueError(f"loss={kind}: accepted is one number, the training loss that was differentiated")
        self.seen = True

    def take(self) -> list[float]:
        """Close a step.

        Returns:
            The losses to act on now, oldest first; empty when none is due.
        """
        if self._pending:
            self._unread.append(self._pending[0] if len(self._pending) == 1 else _mean(self._pending))
            self._pending.clear()
        if not self._unread:
            return []
        sample = self._unread[-1]
        on_device = isinstance(sample, Tensor) and sample.device.type != "cpu"
        if len(self._unread) < (self.poll or (DEVICE_POLL if on_device else 1)):
            return []
        return self._read()

    def _read(self) -> list[float]:
        several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        unread, self._unread = self._unread, []
        if len(unread) == 1 and not several:
            return [float(unread[0])]
        values = _stacked(unread)
        if several and values.device.type == "cpu" and dist.get_backend() == "nccl":
            values = values.cuda()
        if several:
            dist.all_reduce(values)
            values /= dist.get_world_size()
        return values.tolist()

    def state_dict(self) -> dict[str, Any]:
        """Losses not yet acted on.

        Returns:
            Plain numbers.
        """
        return {
            "seen": self.seen,
            "unread": [float(x) for x in self._unread],
            "pending": [float(x) for x in self._pending],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave.

        Args:
            state: Plain numbers.
        """
        self.seen, self._unread, self._pending = state["seen"], list(state["unread"]), list(state["pending"])


def _stacked(losses: list[Tensor | float]) -> Tensor:
    device = next((loss.device for loss in losses if isinstance(loss, Tensor)), torch.device("cpu"))
    wide = torch.float32 if device.type == "mps" else torch.float64
    return torch.stack([torch.as_tensor(loss, dtype=wide, device=device) for loss in losses])


def _mean(losses: list[Tensor | float]) -> Tensor:
    """Mean of the finite losses: one of a step that a GradScaler skipped does not count; nan if none is finite."""
    values = _stacked(losses)
    return torch.where(torch.isfinite(values), values, torch.nan).nanmean()


def replay(closure: Callable[[], Any], loss: Any) -> Callable[[], Any]:
    """The closure for the base: its first call gives the loss already computed, later ones (LBFGS) evaluate anew.

    Args:
        closure: The user's closure.
        loss: What it returned at this step.

    Returns:
        A closure.
    """
    fresh = True

    def evaluate() -> Any:
        nonlocal fresh
        if fresh:
            fresh = False
            return loss
        return closure()

    return evaluate
