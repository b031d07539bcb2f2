"""When to evaluate, when to take the costly norms, and which samples a step sees: pure functions of the step."""

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor
from typing_extensions import override

from groktimizer.ground.checks import whole
from groktimizer.ground.seeds import derive_seed

LOG_RATIO = 1.05
MEASURES_PER_DECADE = 8


def log_spaced(steps: int, ratio: float) -> frozenset[int]:
    """List the steps 1, ratio, ratio², … rounded.

    Args:
        steps: Largest step.
        ratio: Factor between neighbours, above 1.

    Returns:
        The steps up to `steps`.
    """
    grid: set[int] = set()
    point = 1.0
    while round(point) <= steps:
        grid.add(round(point))
        point *= ratio
    return frozenset(grid)


class Schedule(Collection[int]):
    """Steps in growing order, of which the regular ones are never written out.

    Args:
        regular: The first steps, such as a range.
        last: The last, at or after all others.

    Example:
        >>> 10**11 in Schedule(range(0, 10**12, 5), 10**12), Schedule(range(0, 10, 4), 10).at_or_after(8.5)
        (True, 10)
    """

    def __init__(self, regular: Sequence[int], last: int) -> None:
        self._members = regular if isinstance(regular, range) else frozenset(regular)
        self._regular = regular
        self.last = last

    @override
    def __contains__(self, step: object) -> bool:
        """Whether a step is one of them."""
        return step in self._members or step == self.last

    @override
    def __iter__(self) -> Iterator[int]:
        """All of them, in order."""
        yield from self._regular
        if not (self._regular and self._regular[-1] == self.last):
            yield self.last

    @override
    def __len__(self) -> int:
        """Their number."""
        return len(self._regular) + (not (self._regular and self._regular[-1] == self.last))

    def at_or_after(self, point: float) -> int | None:
        """Find the first step that is not before a point.

        Args:
            point: Any number.

        Returns:
            The step, None if all are before it.
        """
        place = bisect_left(self._regular, point)
        step = self._regular[place] if place < len(self._regular) else self.last
        return step if step >= point else None


def evaluation_steps(steps: int, every: int | str) -> Schedule:
    """List the steps after which a run is evaluated: 0, the schedule, the last.

    Args:
        steps: Budget.
        every: Steps between evaluations, or "log" for neighbours 5 % apart.

    Returns:
        The steps.

    Raises:
        UserError: If `every` is neither "log" nor a whole number ≥ 1.

    Example:
        >>> sorted(evaluation_steps(25, 10))
        [0, 10, 20, 25]
    """
    if every == "log":
        return Schedule(sorted({0} | log_spaced(steps, LOG_RATIO)), steps)
    return Schedule(range(0, steps, whole("every", every, also="or 'log'")), steps)


def measure_steps(evaluated: Schedule) -> frozenset[int]:
    """Choose about eight evaluations per decade for the costly norms, and the first.

    Args:
        evaluated: Steps at which the run is evaluated.

    Returns:
        For each point of a logarithmic grid, the first evaluation at or after it.
    """
    chosen = {0}
    point = 1.0
    while (step := evaluated.at_or_after(point)) is not None:
        chosen.add(step)
        while point <= step:
            point *= 10 ** (1 / MEASURES_PER_DECADE)
    return frozenset(chosen)


class Batches:
    """Which samples each step sees: a new order for each epoch, a pure function of (seed, epoch).

    Args:
        samples: Number of training samples.
        batch_size: Samples per step, None (or at least `samples`) for all; the last batch of an epoch may be smaller.
        seed: Seed of the run.
        device: Where the indices are put.
    """

    def __init__(self, samples: int, batch_size: int | None, seed: int, device: torch.device) -> None:
        self.samples = samples
        self.size = samples if batch_size is None else min(batch_size, samples)
        self.seed = seed
        self.device = device
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.long)

    @property
    def whole(self) -> bool:
        """Whether every step sees all samples."""
        return self.size == self.samples

    def rows(self, step: int) -> Tensor | None:
        """Give the samples of a step.

        Args:
            step: Number of the step, from 0.

        Returns:
            Indices, shape (batch,), or None for all samples.
        """
        if self.whole:
            return None
        per_epoch = -(-self.samples // self.size)
        epoch, position = divmod(step, per_epoch)
        if epoch != self._epoch:
            source = torch.Generator().manual_seed(derive_seed(self.seed, f"batches/{epoch}"))
            self._order = torch.randperm(self.samples, generator=source).to(self.device)
            self._epoch = epoch
        return self._order[position * self.size : (position + 1) * self.size]
