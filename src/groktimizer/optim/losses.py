"""How training losses reach the optimizer: gathered on their device, read in batches, agreed on by the ranks."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from groktimizer.ground.checks import is_number
from groktimizer.ground.errors import UserError
from groktimizer.optim.agreement import Scope, local, stacked

DEVICE_POLL = 10


class Inbox:
    """Losses on their way to the detector and the controller.

    Those put between two steps are averaged into one; every `poll` steps the gathered ones are read on the host, at
    one synchronisation.

    Args:
        poll: Steps between two readings; None is 1 for losses on the CPU and 10 for others.
    """

    def __init__(self, poll: int | None) -> None:
        self.poll = poll
        self._pending: list[Tensor | float] = []
        self._unread: list[Tensor | float | None] = []  # None: a step of this rank without a loss

    def put(self, loss: Any) -> None:
        """Take in one loss.

        Args:
            loss: A number or a one-element tensor.

        Raises:
            UserError: If it is not one number.
        """
        if isinstance(loss, Tensor) and loss.numel() == 1:
            self._pending.append(local(loss.detach()).reshape(()))
        elif is_number(loss):
            self._pending.append(float(loss))
        else:
            kind = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
            raise UserError(f"loss={kind}: expected one number, the training loss that was differentiated")

    @property
    def waiting(self) -> bool:
        """Whether a loss was put since the last step."""
        return bool(self._pending)

    def clear(self) -> None:
        """Drop what was put since the last step was closed."""
        self._pending.clear()

    def _close(self) -> list[Tensor | float]:
        """What was put since the last step, as one loss; empty if nothing was."""
        pending, self._pending = self._pending, []
        return [_mean(pending)] if len(pending) > 1 else pending

    def take(self, *, now: bool = False) -> list[float]:
        """Close a step of a process that decides alone.

        Args:
            now: Whether to read whatever there is.

        Returns:
            The losses to act on now, oldest first; empty when none is due.
        """
        self._unread += self._close()
        waiting = [loss for loss in self._unread if loss is not None]
        if not waiting:
            return []
        sample = waiting[-1]
        on_device = isinstance(sample, Tensor) and sample.device.type != "cpu"
        if not now and len(waiting) < (self.poll or (DEVICE_POLL if on_device else 1)):
            return []
        self._unread = []
        if len(waiting) == 1:
            return [float(waiting[0])]
        return stacked(waiting, _device(waiting)).tolist()

    def agree(
        self, extras: list[Tensor | float], scope: Scope, device: torch.device, *, now: bool = False
    ) -> tuple[list[float], Tensor]:
        """Close a step of one rank among several: one reduction, if anything is due, of losses and other sums.

        Readings are due by steps, not by losses, and each rank says how many losses it adds: one that observed none
        keeps nobody waiting.

        Args:
            extras: This rank's parts of other sums; as many on every rank.
            scope: Who takes part.
            device: Where the parameters live.
            now: Whether to read whatever there is.

        Returns:
            The losses to act on now (each the mean over the ranks that saw one), and the sums of `extras`.
        """
        self._unread += self._close() or [None]
        unread = self._unread
        if not now and len(unread) < (self.poll or (1 if device.type == "cpu" else DEVICE_POLL)):
            unread = []
        else:
            self._unread = []
        if not unread and not extras:
            return [], torch.zeros(0)
        seen: list[Tensor | float] = [0.0 if loss is None else loss for loss in unread]
        counts: list[Tensor | float] = [float(loss is not None) for loss in unread]
        row = scope.total(stacked([*seen, *counts, *extras], device))
        totals = row[: 2 * len(unread)].tolist()
        pairs = zip(totals[: len(unread)], totals[len(unread) :], strict=True)
        return [total / count for total, count in pairs if count], row[2 * len(unread) :]

    def state_dict(self) -> dict[str, Any]:
        """Losses not yet acted on.

        Returns:
            Lists of plain numbers, each with its length before it.
        """
        return {
            "unread": counted([None if loss is None else float(loss) for loss in self._unread]),
            "pending": counted([float(loss) for loss in self._pending]),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave.

        Args:
            state: Lists of plain numbers, each with its length before it.
        """
        self._unread, self._pending = (state.get(name, [0])[1:] for name in ("unread", "pending"))


def counted(values: Sequence[float | None]) -> list[Any]:
    """A list that is never empty: formats that flatten a state lose empty ones.

    Args:
        values: Numbers.

    Returns:
        How many they are, and then they.
    """
    return [len(values), *values]


def _device(losses: Sequence[Tensor | float]) -> torch.device:
    return next((loss.device for loss in losses if isinstance(loss, Tensor)), torch.device("cpu"))


def _mean(losses: list[Tensor | float]) -> Tensor:
    """Mean of the finite losses: one of a step that a GradScaler skipped does not count; nan if none is finite."""
    values = stacked(losses, _device(losses))
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
