"""When has the training loss reached interpolation? A detector answers from the losses alone, never from test data."""

import math
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from groktimizer.ground.checks import fraction, is_number, positive, whole
from groktimizer.ground.errors import UserError
from groktimizer.optim import noise

RESTS = 0.2  # share of all losses, if more than `noise.REST`, without a fall that is a plateau
HALF = 0.5  # share of the reference below which a plateau is a fit
ABOVE = 2.0  # the level, in units of the loss that was got to
LOSSES = ("first", "smoothed", "empty", "lowest", "plateau")
UNSEEN = 3.0  # bad samples more than it shows that a window of losses may hide, one time in twenty


@runtime_checkable
class Detector(Protocol):
    """What `GROKtimizer(interpolation=...)` accepts beside a number.

    `level` is the loss that counts as interpolation once known (the constraint and the guard use it); `None` before.
    """

    @property
    def level(self) -> float | None:
        """The interpolation level epsilon, or None while it is not known."""
        ...

    def update(self, loss: float) -> bool:
        """Take in one training loss; return whether phase 2 begins."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers that restore the detector."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        ...


@dataclass
class LossBelow:
    """Interpolation is reached when the smoothed training loss stays below a level.

    The level is `absolute`, or `fraction` of the first loss seen, or of `empty`, the loss of the model with its
    penalised weights at zero, where that is smaller: a large initialisation inflates the first loss. The loss is
    smoothed by ``s <- smoothing s + (1 - smoothing) loss`` and must be below the level `patience` times in a row.

    A relative level may be out of reach (wrong labels, a network too small). Where batches do not differ, and once the
    smoothed loss, below half of that reference, has not fallen by a tenth within 60 losses or a fifth of all so far,
    whichever is more, it counts as interpolated, and the level is twice the loss it got to.

    Where batches differ (`noise.noisy`) a few lucky ones say nothing. The mean over a window of losses must then be
    below the level by its `noise.uncertainty`: standard error and what a lucky streak may have hidden. The first loss
    is then the start of the line through the first few.

    Args:
        absolute: Level in units of the loss, positive; None takes the fraction.
        fraction: Share of the first loss, in (0, 1).
        smoothing: Weight of the past, in [0, 1); 0 takes each loss at its word, however much batches differ.
        patience: Consecutive smoothed losses below the level, >= 1.

    Raises:
        UserError: If an argument is out of range.

    Example:
        >>> detector = LossBelow(absolute=0.1, smoothing=0.0, patience=2)
        >>> [detector.update(loss) for loss in (0.5, 0.09, 0.2, 0.05, 0.04)]
        [False, False, False, False, True]
    """

    absolute: float | None = None
    fraction: float = 0.02
    smoothing: float = 0.5
    patience: int = 2
    first: float | None = None
    smoothed: float | None = None
    below: int = 0
    empty: float | None = None
    lowest: float | None = None
    resting: int = 0
    plateau: float | None = None
    seen: noise.Noise = field(default_factory=noise.Noise, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.absolute is not None and not (is_number(self.absolute) and 0.0 < self.absolute < math.inf):
            raise UserError(
                f"interpolation={self.absolute!r}: expected a loss level > 0, float('inf') (phase 2 at once), "
                "a detector, or None (2 % of the first loss)"
            )
        positive(fraction=self.fraction)
        fraction(fraction=self.fraction, smoothing=self.smoothing)
        whole("patience", self.patience)

    @property
    def level(self) -> float | None:
        """The interpolation level epsilon in units of the loss; None before the first loss."""
        least = self.least
        return least if least is None or self.plateau is None else max(least, ABOVE * self.plateau)

    @property
    def least(self) -> float | None:
        """The level without a plateau."""
        reference = self._reference
        return self.absolute if reference is None else self.fraction * reference

    @property
    def _reference(self) -> float | None:
        if self.absolute is not None or self.first is None:
            return None
        first = noise.start(self.seen) if self._differ else self.first
        return first if self.empty is None else min(first, self.empty)

    def update(self, loss: float) -> bool:
        """Take in one training loss.

        Args:
            loss: The training loss before this step; a non-finite one is not counted.

        Returns:
            Whether interpolation is reached.

        Raises:
            UserError: If the level is relative and the first loss is not positive.
        """
        if not math.isfinite(loss):
            self.below = 0
            return False
        if self.first is None:
            if self.absolute is None and loss <= 0.0:
                raise UserError(
                    f"interpolation=None with a first training loss of {loss!r}: {self.fraction:g} of it says nothing; "
                    "accepted then is a loss level > 0, float('inf') or a detector"
                )
            self.first = loss
        past = loss if self.smoothed is None else self.smoothed
        self.smoothed = self.smoothing * past + (1.0 - self.smoothing) * loss
        noise.take_in(self.seen, loss)
        self._rest(self.smoothed)
        level = self.level
        assert level is not None
        self.below = self.below + 1 if self.smoothed < level else 0
        return self._confident(level) and self.below >= self.patience

    def _rest(self, loss: float) -> None:
        """Note how long the loss has not fallen, and where, if that is long enough to be a plateau."""
        reference = self._reference
        if reference is None or self.plateau is not None:
            return
        if self._differ:  # a mean that does not fall is then what `constraint.anneal` shortens the steps by
            self.lowest, self.resting = None, 0
            return
        self.resting += 1
        if self.lowest is None or loss < noise.FALLS * self.lowest:
            self.lowest, self.resting = loss, 0
        elif self.lowest < HALF * reference and self.resting >= max(noise.REST, RESTS * self.seen.losses):
            self.plateau = self.lowest

    @property
    def _differ(self) -> bool:
        return self.smoothing > 0.0 and noise.noisy(self.seen)

    def _confident(self, level: float) -> bool:
        """Whether the mean of the window is below the level for sure; a window that may still get there goes on."""
        if not self._differ:
            noise.restart(self.seen)
            return True
        average = noise.mean(self.seen)
        if average + noise.uncertainty(self.seen, UNSEEN * noise.bad(self.seen)) < level:
            return True
        if average >= level and noise.full(self.seen):
            noise.restart(self.seen)
        return False

    def state_dict(self) -> dict[str, Any]:
        """What changes while it runs.

        Returns:
            Plain numbers, nan for what is not known yet.
        """
        known = {name: getattr(self, name) for name in LOSSES}
        plain = {name: math.nan if number is None else number for name, number in known.items()}
        return plain | {"below": self.below, "resting": self.resting} | self.seen.to_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave.

        Args:
            state: Plain numbers.
        """
        for name in LOSSES:
            number = state.get(name)
            setattr(self, name, None if number is None or math.isnan(number) else number)
        self.below, self.resting = state["below"], state.get("resting", 0)
        self.seen = noise.Noise.from_dict(state)
