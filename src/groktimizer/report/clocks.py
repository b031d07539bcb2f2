"""Pictures of predictions: the exact curves of a ridge problem, and the accuracies of a linear estimator."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from groktimizer.report import convex, panels
from groktimizer.report.style import BLUE, RED
from groktimizer.theory.clock.descent import Descent
from groktimizer.theory.linear.estimators import LinearEstimator, accuracy
from groktimizer.theory.ridge.forecast import CRITICAL, Forecast, curve_steps

_ROOM = 20.0  # the axis goes on to so many times the last clock, for its words
_LEVEL = 0.95  # accuracy at which `LinearEstimator.times` strikes


def ridge(found: Forecast, title: str, test: str) -> Figure:
    """Train and population loss of every method, with t1 and t2.

    Args:
        found: The forecast.
        title: Above the panels.
        test: What the population loss is called.

    Returns:
        The figure, one panel a method.
    """
    steps = curve_steps(found)
    runs = [
        Descent(
            f"{name} (μ = {method.momentum:.4g})" if name == CRITICAL else name,
            method.times.memorised,
            method.times.memorised_settled,
            method.times.generalised,
            method.times.settled,
            steps,
            method.curve.train_loss(steps),
            method.curve.population_loss(steps),
            taken=None,
            resting=not method.times.unresolved,
        )
        for name, method in found.methods.items()
    ]
    times = next(iter(found.methods.values())).times
    told = "; ".join(f"{name} {_step(method.times.settled)}" for name, method in found.methods.items())
    return convex.descents(
        runs,
        title,
        f"{test} within tolerance for good: {told}",
        (times.train_tolerance, times.test_tolerance),
        words=convex.Words("loss", "train loss", test),
    )


def _step(time: int | None) -> str:
    return "never" if time is None else f"at step {time:,}"


def _when(time: float) -> str:
    return f"at step {time:,.0f}" if np.isfinite(time) else "never"


def linear(
    problem: LinearEstimator,
    tolerance: float,
    drawn: tuple[np.ndarray, np.ndarray] | None,
    times: tuple[float, float],
) -> Figure:
    """Losses and accuracies of a linear estimator, and those of a drawn data set.

    Args:
        problem: The setting.
        tolerance: Of the accuracy.
        drawn: Eigenvalues and weights of a drawn Sigma_tr, or None.
        times: Steps of 95 % train and generalisation accuracy.

    Returns:
        The figure.
    """
    ends = [time for time in times if np.isfinite(time)]
    steps = np.geomspace(1, _ROOM * max([*ends, 100.0 / problem.lr]), 200)
    losses: list[dict[str, Any]] = []
    shares: list[dict[str, Any]] = []
    looks = [("train", "solid", 0), ("generalisation", "solid", 1)] + [("drawn data", "dashed", 5)] * 2
    values = [*problem.losses(steps), *(() if drawn is None else problem.losses(steps, drawn))]
    for (name, style, colour), loss in zip(looks, values, strict=False):
        line = {"label": name, "x": steps, "style": style, "colour": colour}
        losses.append({**line, "y": loss})
        shares.append({**line, "y": accuracy(loss, tolerance, problem.outputs)})
    panel = {"x": "step", "marks": False}
    figure = panels.plot(
        f"linear estimator, ratio {problem.ratio:g}, η = {problem.lr:g}, γ = {problem.weight_decay:g}",
        f"95 % of the training set correct {_when(times[0])}, of unseen inputs {_when(times[1])}",
        [
            {**panel, "title": "losses", "y": "loss", "y_log": True, "lines": losses},
            {**panel, "title": "accuracies", "y": "share correct", "y_log": False, "lines": shares},
        ],
    )
    for clock, time, colour, row in (("t1", times[0], BLUE, 1), ("t2", times[1], RED, 2)):
        struck = bool(np.isfinite(time))
        text = f"{clock} = {time:,.0f}" if struck else f"{clock}: never"
        place = (time if struck else float(steps[-1]), _LEVEL)
        convex.mark_clock(figure.axes[1], place, text, colour, (8 if struck else -8, -14.0 * row), point=struck)
    return figure
