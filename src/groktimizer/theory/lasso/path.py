"""The path of one run of ISTA, event by event: exact states at any step, exact times of any measure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from groktimizer.ground import checks
from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.checks import check_vector
from groktimizer.theory.clock.quadratic import Array
from groktimizer.theory.clock.search import LATEST, Crossing, Curve, crossing, first_step
from groktimizer.theory.lasso.checks import check_steps
from groktimizer.theory.lasso.modes import Modes, Motion, modes_of, motion_of
from groktimizer.theory.lasso.watch import Few, distance_to, event_watch, residual_below

Kind = Literal["enters", "leaves", "flips"]
_SINGLE = 12  # steps taken one by one before an active set is decomposed
_CROWDED = 1000  # length of a stretch after which the next one is decomposed at once
_CACHE = 64 * 2**20  # bytes of decompositions that are kept
_ROUNDING = 8 * np.finfo(np.float64).eps
_IDLE = 20  # events of the size of rounding after which such events are no longer counted


@dataclass(frozen=True)
class Event:
    """A change of support or sign.

    Args:
        step: First step at which it shows.
        kind: "enters" (from zero), "leaves" (to zero), "flips" (across zero in one step).
        coordinate: Index of the coordinate.
    """

    step: int
    kind: Kind
    coordinate: int


class LassoPath:
    """ISTA from a start, ``a <- S_{alpha beta}(a - alpha X'(X a - y))``, without taking its steps.

    Stretches between events are found when a step, a time or the events are asked for. Made by `Lasso.trajectory`.
    Where a coordinate rests on its threshold for ever (equal columns), rounding moves it on and off; after 20 events of
    that size they are ignored.

    Args:
        features: X, shape (N, n).
        targets: y, shape (N,).
        a0: Start, shape (n,).
        lr: alpha.
        weight: beta.
        max_events: Stretches after which the search for events gives up.
    """

    def __init__(
        self, features: Array, targets: Array, a0: Array, lr: float, weight: float, max_events: int = 100_000
    ) -> None:
        self.features, self.targets, self.lr, self.weight = features, targets, lr, weight
        self._max_events = max_events
        self._starts: list[int] = [0]
        self._states: list[Array] = [a0.copy()]
        self._events: list[Event] = []
        self._done = False
        self._idle = 0
        self._transposed = np.ascontiguousarray(features.T)
        self._slack = _ROUNDING * float(np.linalg.norm(features, axis=0).max() * np.linalg.norm(targets))
        self._most = max(_CACHE // (8 * len(features) * sum(features.shape)), 2)
        self._kept: dict[bytes, Modes] = {}

    def _modes(self, key: bytes) -> Modes:
        """Those of an active set; the sets that were asked for last are kept."""
        found = self._kept.pop(key, None) or modes_of(self.features, np.frombuffer(key, np.intp), self.lr)
        self._kept[key] = found
        if len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]
        return found

    @property
    def events(self) -> list[Event]:
        """Every change of support or sign of the whole run."""
        self._extend(LATEST)
        return list(self._events)

    @property
    def n_events(self) -> int:
        """How many there are."""
        return len(self.events)

    @property
    def limit(self) -> Array:
        """Where the run ends, the Lasso estimator of this weight; shape (n,)."""
        self._extend(LATEST)
        return self._motion(len(self._starts) - 1).at(np.inf)

    def at(self, t: npt.ArrayLike) -> Array:
        """Exact iterates at whole steps, 0 to 1e12; shape ``t.shape + (n,)``."""
        steps = check_steps(t)
        result = np.empty((steps.size, self.features.shape[1]))
        flat = steps.ravel()
        if flat.size:
            self._extend(int(flat.max()))
        places = np.searchsorted(self._starts, flat, side="right") - 1
        for place in np.unique(places):
            here = places == place
            result[here] = self._inside(int(place), flat[here] - self._starts[place])
        return result.reshape((*steps.shape, -1))

    def time_to(self, target: npt.ArrayLike | Literal["train"], tolerance: float) -> Crossing:
        """First step at which a measure is at most `tolerance`, and first step from which it stays so for ever.

        Args:
            target: A reference vector (n,), for ``||a - reference|| / ||reference||``; or "train", for
                ``||X a - y|| / ||y||``.
            tolerance: Threshold.

        Returns:
            Both times, those of the run taken step by step.

        Raises:
            UserError: If the reference is zero, or the tolerance not positive.
        """
        checks.positive(tolerance=tolerance)
        if isinstance(target, str):
            if target != "train":
                raise UserError(f"target={target!r}: accepted are 'train' and a vector")
            limit = tolerance * float(np.linalg.norm(self.targets))
            return self._times(lambda motion: residual_below(motion, limit), self._misfit, tolerance)
        reference = check_vector("target", target, self.features.shape[1])
        distance = tolerance * float(np.linalg.norm(reference))
        if distance == 0:
            raise UserError("target=0: a relative error needs a reference other than 0")
        return self._times(
            lambda motion: distance_to(motion, reference, distance), lambda a: _away(a, reference), tolerance
        )

    def train_error(self, t: npt.ArrayLike) -> Array:
        """``||X a_t - y|| / ||y||``, shape ``t.shape``."""
        return self._misfit(self.at(t))

    def error(self, t: npt.ArrayLike, reference: npt.ArrayLike) -> Array:
        """``||a_t - reference|| / ||reference||``, shape ``t.shape``."""
        return _away(self.at(t), np.asarray(reference, np.float64))

    def _misfit(self, states: Array) -> Array:
        """Train errors."""
        return np.linalg.norm(states @ self.features.T - self.targets, axis=-1) / np.linalg.norm(self.targets)

    def _times(
        self, condition_on: Callable[[Motion], Curve], error: Callable[[Array], Array], tolerance: float
    ) -> Crossing:
        """Search the stretches, the short ones step by step."""
        self._extend(LATEST)

        def curve(place: int) -> Curve:
            if place == len(self._starts) - 1 or self._starts[place + 1] - self._starts[place] > _SINGLE + 1:
                return condition_on(self._motion(place))
            return Few(lambda steps: error(self._inside(place, steps)) <= tolerance)

        return crossing(curve, self._starts)

    def _extend(self, until: int) -> None:
        """Find events until the stretch that holds step `until` is known."""
        while not self._done and self._starts[-1] <= until:
            self._close()

    def _close(self) -> None:
        """Find where the last stretch ends, and begin the next one there; or find that it has no end."""
        if self._done:
            return
        start, before = self._starts[-1], self._states[-1]
        least = _ROUNDING * float(np.abs(before).max())
        crowded = len(self._starts) == 1 or start - self._starts[-2] < _CROWDED
        state = before
        for k in range(1, (_SINGLE if crowded else 1) + 1):
            state = self._step(state)
            changed = np.sign(state) != np.sign(before)
            if changed.any():
                large = np.maximum(np.abs(state[changed]), np.abs(before[changed])).max() > least
                self._idle += not large
                if large or self._idle <= _IDLE:
                    self._begin(start + k, state)
                    return
        motion = self._motion(len(self._starts) - 1)
        k = first_step(event_watch(motion, self.features, self.weight, self._slack, least), -1)
        if k is None:
            self._done = True
            return
        self._begin(start + k + 1, self._step(motion.at(k)))

    def _begin(self, step: int, state: Array) -> None:
        """Note the events of a step and start a stretch with it."""
        if len(self._starts) > self._max_events:
            raise UserError(f"max_events={self._max_events}: spent at step {step}, raise it or ask for earlier steps")
        before, after = np.sign(self._states[-1]), np.sign(state)
        for j in np.flatnonzero(before != after):
            kind: Kind = "enters" if before[j] == 0 else "leaves" if after[j] == 0 else "flips"
            self._events.append(Event(step, kind, int(j)))
        self._starts.append(step)
        self._states.append(state)

    def _step(self, state: Array) -> Array:
        """One step of ISTA, as a loop takes it."""
        moved = state - self.lr * (self._transposed @ (self.features @ state - self.targets))
        threshold = self.lr * self.weight
        return moved - np.maximum(np.minimum(moved, threshold), -threshold)

    def _inside(self, place: int, steps: npt.NDArray[np.int64]) -> Array:
        """States of one stretch, steps counted from its start; a few steps are taken, more are computed."""
        if steps.max() > _SINGLE:
            return self._motion(place).at(steps)
        states = [self._states[place]]
        for _ in range(int(steps.max())):
            states.append(self._step(states[-1]))
        return np.array([states[k] for k in steps])

    def _motion(self, place: int) -> Motion:
        """A stretch with the modes of its active set, the latest ones kept."""
        state = self._states[place]
        modes = self._modes(np.flatnonzero(state).tobytes())
        return motion_of(modes, state, self.features @ state - self.targets, self.weight)


def _away(states: Array, reference: Array) -> Array:
    """Relative distances."""
    return np.linalg.norm(states - reference, axis=-1) / np.linalg.norm(reference)
