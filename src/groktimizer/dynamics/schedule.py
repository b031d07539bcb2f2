"""Two phases and more: one decay and momentum until a step, others after it, exactly.

An affine mode has the gradient ``h x - pull`` plus decay ``lambda x``: h is the curvature of the data alone, pull what
the targets ask for. Its fixed point is ``pull / (h + lambda)``; when decay changes, so does the point, and the state at
the change is the initial state of the next phase.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from groktimizer.dynamics.modes import transfer
from groktimizer.dynamics.rates import Array, BoolArray, ModeRates, mode_rates
from groktimizer.ground.errors import UserError


@dataclass(frozen=True)
class Phase:
    """Settings that hold from a step on.

    Args:
        start: First step at which they act, 0 for the first phase.
        lr: Step size eta, positive.
        weight_decay: lambda.
        momentum: mu in [0, 1).
        carry_velocity: Keep the velocity of the previous phase; otherwise it starts at 0.
    """

    start: int
    lr: float
    weight_decay: float
    momentum: float = 0.0
    carry_velocity: bool = False


@dataclass(frozen=True)
class Segment:
    """One phase, solved: positions are ``fixed_point + M^(t - start) (offset, velocity)``, see `offsets`.

    A mode so slow that its fixed point is farther from the target than its start is measured from there: the sum of a
    far fixed point and of the distance from it would lose the digits of what is between.

    Args:
        start: First step.
        rates: Constants of the modes.
        fixed_point: Where the phase leads; the position itself for modes that nothing moves.
        position: Position at `start`.
        offset: `position` minus fixed point.
        velocity: Velocity at `start`.
        from_start: Modes whose `offsets` count from `position`; the others count from the fixed point.
    """

    start: int
    rates: ModeRates
    fixed_point: Array
    position: Array
    offset: Array
    velocity: Array
    from_start: BoolArray

    @property
    def origin(self) -> Array:
        """Where `offsets` count from."""
        return np.where(self.from_start, self.position, self.fixed_point)

    @property
    def end(self) -> Array:
        """What `offsets` tend to: 0, or the whole way for modes measured from their start."""
        return np.where(self.from_start, -self.offset, 0.0)

    @cached_property
    def from_end(self) -> "Segment":
        """The same phase with every mode measured from its fixed point."""
        return replace(self, from_start=np.zeros_like(self.from_start)) if self.from_start.any() else self

    def take(self, modes: npt.NDArray[np.intp]) -> "Segment":
        """Some of the modes."""
        parts = (part[modes] for part in (self.fixed_point, self.position, self.offset, self.velocity))
        return Segment(self.start, self.rates.take(modes), *parts, from_start=self.from_start[modes])

    def offsets(self, steps: npt.ArrayLike) -> tuple[Array, Array]:
        """Distance from the origin, and velocity.

        Args:
            steps: Steps since `start`; an array of steps adds leading axes.

        Returns:
            Both with shape ``steps.shape + modes.shape``.
        """
        t = np.asarray(steps, dtype=np.float64)
        t = t.reshape(t.shape + (1,) * self.offset.ndim)
        entries = transfer(self.rates, t)
        moved = entries.position
        if self.from_start.any():
            moved = np.where(self.from_start, self.rates.displacement(t), moved)
        return (
            moved * self.offset + entries.position_per_velocity * self.velocity,
            entries.velocity_per_position * self.offset + entries.velocity * self.velocity,
        )


def solve(
    phases: Sequence[Phase],
    curvature: Array,
    pull: Array,
    initial: Array,
    rates: Callable[[float, Array], ModeRates] | None = None,
    target: Array | None = None,
) -> list[Segment]:
    """Chain the phases: each starts where the one before it ended.

    Args:
        phases: In order of `start`, the first at 0.
        curvature: h >= 0 of the data, shape (modes,).
        pull: Shape (modes,); 0 where h = 0.
        initial: Positions at step 0, shape (modes,).
        rates: Constants from step size and curvature in place of heavy ball's, for gradient flow.
        target: What distances will be taken from, shape (modes,): a mode that starts nearer to it than it ends is
            measured from its start. None measures all from the fixed point.

    Returns:
        One segment a phase.

    Raises:
        UserError: If the starts are not 0 and increasing.
    """
    starts = [phase.start for phase in phases]
    if not starts or starts[0] != 0 or any(b <= a for a, b in itertools.pairwise(starts)):
        raise UserError(f"phases: starts {starts} must begin with 0 and increase")
    segments: list[Segment] = []
    position, velocity = initial, np.zeros_like(initial)
    for phase in phases:
        if segments:
            distance, velocity = segments[-1].offsets(phase.start - segments[-1].start)
            position = segments[-1].origin + distance
            velocity = velocity if phase.carry_velocity else np.zeros_like(velocity)
        total = curvature + phase.weight_decay
        still = total == 0
        fixed_point = np.where(still, position, pull / np.where(still, 1.0, total))
        constants = mode_rates(phase.lr, total, phase.momentum) if rates is None else rates(phase.lr, total)
        nearer = np.zeros(still.shape, dtype=bool)
        if target is not None:
            nearer = constants.apart & (np.abs(fixed_point - target) > np.abs(position - target))
        offset = position - fixed_point
        segments.append(Segment(phase.start, constants, fixed_point, position, offset, velocity, nearer))
    return segments


def positions(segments: Sequence[Segment], steps: npt.ArrayLike) -> Array:
    """Positions at any steps of a solved schedule.

    Args:
        segments: From `solve`.
        steps: Integer steps t >= 0, scalar or array.

    Returns:
        Shape ``steps.shape + (modes,)``.
    """
    t = np.asarray(steps, dtype=np.float64)
    result = np.empty(t.shape + segments[0].offset.shape)
    for index, segment in enumerate(segments):
        end = segments[index + 1].start if index + 1 < len(segments) else np.inf
        here = (t >= segment.start) & (t < end)
        result[here] = segment.origin + segment.offsets(t[here] - segment.start)[0]
    return result
