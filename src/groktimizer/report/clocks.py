"""Pictures of predictions: the exact curves of a ridge problem, and the accuracies of a linear estimator."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from groktimizer.report import panels
from groktimizer.theory.linear_estimators import LinearEstimator, accuracy
from groktimizer.theory.ridge.forecast import Forecast, curve_steps


def ridge(found: Forecast, title: str) -> Figure:
    """Train and population loss of every method.

    Args:
        found: The forecast.
        title: Above the panels.

    Returns:
        The figure, one panel a loss.
    """
    steps = curve_steps(found)[1:]
    first = next(iter(found.methods.values())).times

    def panel(name: str, column: str, tolerance: float) -> dict[str, Any]:
        lines: list[dict[str, Any]] = []
        for place, (method, run) in enumerate(found.methods.items()):
            losses = run.curve.train_loss(steps) if column == "train" else run.curve.population_loss(steps)
            lines.append({"label": method, "x": steps, "y": losses, "style": "solid", "colour": place})
        shown = {"title": name, "x": "step", "y": "loss", "y_log": True, "marks": False, "level": tolerance}
        return {**shown, "lines": lines}

    told = [f"{name} {_step(run.times.settled)}" for name, run in found.methods.items()]
    return panels.plot(
        title,
        f"population loss within tolerance for good: {'; '.join(told)}",
        [
            panel("train loss", "train", first.train_tolerance),
            panel("population loss", "population", first.test_tolerance),
        ],
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
    steps = np.geomspace(1, 4 * max([*ends, 100.0 / problem.lr]), 200)
    losses: list[dict[str, Any]] = []
    shares: list[dict[str, Any]] = []
    looks = [("train", "solid", 0), ("generalisation", "solid", 1)] + [("drawn data", "dashed", 5)] * 2
    values = [*problem.losses(steps), *(() if drawn is None else problem.losses(steps, drawn))]
    for (name, style, colour), loss in zip(looks, values, strict=False):
        line = {"label": name, "x": steps, "style": style, "colour": colour}
        losses.append({**line, "y": loss})
        shares.append({**line, "y": accuracy(loss, tolerance, problem.outputs)})
    panel = {"x": "step", "marks": False}
    return panels.plot(
        f"linear estimator, ratio {problem.ratio:g}, η = {problem.lr:g}, γ = {problem.weight_decay:g}",
        f"95 % of the training set correct {_when(times[0])}, of unseen inputs {_when(times[1])}",
        [
            {**panel, "title": "losses", "y": "loss", "y_log": True, "lines": losses},
            {**panel, "title": "accuracies", "y": "share correct", "y_log": False, "lines": shares},
        ],
    )
