"""The two clocks read off a history: when a run memorised, when it generalised, and when that lasted.

One implementation of the definitions for the history of every task and every method; what theory foresees, searched for
in closed forms or counted in a solver's own steps, comes in the same `Clocks`. A time is known only to the resolution
at which the run was evaluated, which is therefore part of the result.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
from typing_extensions import override

from groktimizer.ground.errors import UserError
from groktimizer.measures.verdict import Clocks

WINDOW_STEPS = 500
WINDOW_EVALUATIONS = 5


class Condition(Protocol):
    """A condition on one column of a history, such as a task's `Criterion`."""

    @property
    def metric(self) -> str:
        """Name of the column."""
        ...

    def met(self, values: np.ndarray | float) -> np.ndarray:
        """Say where the condition holds; NaN never meets it."""
        ...


@dataclass(frozen=True)
class Times(Clocks):
    """Times of one run at its evaluated steps; None where the run never got there (DNF, counted as +∞).

    Attributes:
        generalised_95: t2 of the task's secondary condition (test accuracy ≥ 0.95), if it has one.
        settled_95: Its settled time.
        evaluated_every: Largest gap between two evaluations, in steps: the resolution of all of the above.
    """

    generalised_95: int | None
    settled_95: int | None
    evaluated_every: int

    @property
    @override
    def resolution(self) -> int:
        """Steps between two looks at the run."""
        return self.evaluated_every

    def content(self) -> dict[str, int | None]:
        """All of them by name, the delay among them."""
        return asdict(self) | {"delay": self.delay}


def window_observed(first: int, last: int, evaluations: int, window: int = WINDOW_STEPS) -> bool:
    """Say whether evaluations cover a whole settling window of max(window steps, 5 evaluations).

    Args:
        first: Step of the first evaluation of the stretch.
        last: Step of its last one.
        evaluations: How many evaluations it has, both ends counted.
        window: Length of the window in steps.

    Returns:
        True if the stretch spans the window.

    Example:
        >>> window_observed(100, 600, 6), window_observed(100, 599, 500), window_observed(100, 2100, 3)
        (True, False, False)
    """
    return last - first >= window and evaluations >= WINDOW_EVALUATIONS


def last_common_time(budgets: Sequence[int], every: int, window: int = WINDOW_STEPS) -> float:
    """Find the last settled time that each of several runs had the steps to show.

    A run of B steps shows a settled time t only if the whole window after t lies within B. Where budgets differ, a time
    beyond this one is seen in one run and could not have been in another.

    Args:
        budgets: Steps that the runs were given, at least one.
        every: Largest gap between two evaluations, in steps.
        window: Length of the settling window in steps.

    Returns:
        The step; +∞ if the budgets are equal, so that nothing needs to be cut.

    Example:
        >>> last_common_time([2000, 620], every=5), last_common_time([2000, 2000], every=5)
        (120, inf)
    """
    if len(set(budgets)) == 1:
        return math.inf
    return min(budgets) - max(window, (WINDOW_EVALUATIONS - 1) * every)


def _first(steps: np.ndarray, met: np.ndarray) -> int | None:
    """Find the first step at which a condition holds.

    Args:
        steps: Evaluated steps, ascending, shape (n,).
        met: Whether the condition holds there, shape (n,).

    Returns:
        The step, or None.
    """
    return int(steps[np.argmax(met)]) if met.any() else None


def _settled(steps: np.ndarray, met: np.ndarray, window: int) -> int | None:
    """Find the first step from which a condition holds at every evaluation of a whole observed window.

    Only the start of an unbroken stretch can be that step, and it is if the stretch spans the window.

    Args:
        steps: Evaluated steps, ascending, shape (n,).
        met: Whether the condition holds there, shape (n,).
        window: Length of the window in steps.

    Returns:
        The step, or None if no window was observed whole.
    """
    edges = np.diff(np.concatenate(([0], met.astype(np.int8), [0])))
    for begin, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        if window_observed(int(steps[begin]), int(steps[end - 1]), int(end - begin), window):
            return int(steps[begin])
    return None


def _both(history: Mapping[str, np.ndarray], criterion: Condition | None, window: int) -> tuple[int | None, int | None]:
    """Find the first and the settled time of a condition.

    Args:
        history: Columns of a run.
        criterion: The condition, or None.
        window: Length of the settling window in steps.

    Returns:
        First time and settled time.

    Raises:
        UserError: If the history lacks the column.
    """
    if criterion is None:
        return None, None
    if criterion.metric not in history:
        raise UserError(f"history has no column {criterion.metric!r}: it has {', '.join(history)}")
    met = criterion.met(history[criterion.metric])
    steps = np.asarray(history["step"])
    return _first(steps, met), _settled(steps, met, window)


def grokking_times(
    history: Mapping[str, np.ndarray],
    memorised: Condition,
    generalised: Condition,
    secondary: Condition | None = None,
    window: int = WINDOW_STEPS,
) -> Times:
    """Read the clocks off a history.

    Args:
        history: Columns by name, each of shape (evaluations,); "step" ascending.
        memorised: Condition of t1.
        generalised: Condition of t2 and of settled.
        secondary: Condition of the second column (0.95), or None.
        window: Length of the settling window in steps; at least 5 evaluations are asked for in any case.

    Returns:
        The times. A condition whose window was not observed whole has not settled.

    Raises:
        UserError: If there is no evaluation, a column is missing, steps do not ascend, or the window is negative.

    Example:
        >>> from groktimizer.tasks import Criterion
        >>> history = {"step": np.arange(0, 1001, 100), "a": np.arange(11) / 10, "b": (np.arange(11) >= 4) * 1.0}
        >>> times = grokking_times(history, Criterion("a", 0.2, above=True), Criterion("b", 0.99, above=True))
        >>> times.memorised, times.generalised, times.settled, times.delay
        (200, 400, 400, 200)
    """
    steps = np.asarray(history["step"])
    gaps = np.diff(steps)
    if steps.size == 0:
        raise UserError("history is empty: at least one evaluation is needed")
    if (gaps <= 0).any():
        raise UserError("history['step']: expected steps that ascend")
    if window < 0:
        raise UserError(f"window={window}: expected a number of steps ≥ 0")
    t1, t1_settled = _both(history, memorised, window)
    t2, settled = _both(history, generalised, window)
    t2_secondary, settled_secondary = _both(history, secondary, window)
    return Times(
        memorised=t1,
        memorised_settled=t1_settled,
        generalised=t2,
        settled=settled,
        generalised_95=t2_secondary,
        settled_95=settled_secondary,
        evaluated_every=int(gaps.max()) if gaps.size else 0,
    )
