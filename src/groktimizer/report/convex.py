"""Pictures of convex descents: train and recovery error over steps, one panel a method, both clocks marked."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from groktimizer.report.style import BLUE, GREY, INK, PALE, RED, house_style
from groktimizer.theory.descent import Descent

Band = tuple[str, float, float]


def descents(
    found: Sequence[Descent], title: str, sentence: str, tolerances: tuple[float, float], band: Band | None = None
) -> Figure:
    """Train and recovery error of each method over the same steps, with t1 and t2.

    Args:
        found: The methods.
        title: Above the panels.
        sentence: Below the title.
        tolerances: Of train and recovery error.
        band: Name, first and last step of where a method that was not run would recover, or None.

    Returns:
        The figure.
    """
    last = max([float(one.steps[-1]) for one in found] + ([band[2]] if band and np.isfinite(band[2]) else []))
    curves = [np.concatenate((one.train_error[1:], one.recovery_error[1:])) for one in found]
    low, high = min(float(values.min()) for values in curves), max(float(values.max()) for values in curves)
    low = min(max(low, 1e-8 * high), *tolerances)
    with house_style():
        figure = Figure(figsize=(5.4 * len(found) + (1.8 if len(found) == 1 else 0), 4.6))
        figure.set_layout_engine("constrained", h_pad=0.08, w_pad=0.08, rect=(0, 0, 1, 1 - 0.78 / 4.6))
        for axes, one in zip(np.ravel(figure.subplots(1, len(found), squeeze=False, sharey=True)), found, strict=True):
            axes.set(xscale="log", yscale="log", xlim=(1, 1.2 * last), ylim=(low / 3, 30 * high), xlabel="step")
            _panel(axes, one, tolerances, last)
            if band is not None:
                _band(axes, band, last)
        figure.axes[0].set_ylabel("relative error")
        height = float(figure.get_figheight())
        figure.text(0.02, 1 - 0.12 / height, title, ha="left", va="top", fontsize=13, fontweight="bold", color=INK)
        figure.text(0.02, 1 - 0.44 / height, sentence, ha="left", va="top", fontsize=10.5, color=GREY)
    return figure


def _panel(axes: Axes, one: Descent, tolerances: tuple[float, float], last: float) -> None:
    axes.set_title(one.name, fontsize=11)
    curves = (("train error", one.train_error, BLUE, "t1", one.memorised, tolerances[0]),)
    curves += (("recovery error", one.recovery_error, RED, "t2", one.generalised, tolerances[1]),)
    for name, errors, colour, mark, time, tolerance in curves:
        axes.plot(one.steps[1:], errors[1:], color=colour, lw=2.2, zorder=3, label=name)
        if one.resting:
            axes.plot([one.steps[-1], last], [errors[-1]] * 2, color=colour, lw=1.0, ls=":", zorder=2.5)
        axes.axhline(tolerance, color=colour, lw=0.9, ls=(0, (1, 3)), zorder=2.2)
        if time is None or time < 1:
            continue
        axes.plot([time], [tolerance], "o", color=colour, ms=7, mec="white", mew=1.2, zorder=5)
        left = time > last**0.6
        axes.annotate(
            f"{mark} = {time:,}",
            (time, tolerance),
            xytext=(-8 if left else 8, 7),
            textcoords="offset points",
            ha="right" if left else "left",
            color=colour,
            fontsize=10,
            fontweight="bold",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0},
            zorder=4,
        )
    axes.legend(fontsize=9, handlelength=1.8, labelcolor="linecolor", loc="upper left", ncols=2)


def _band(axes: Axes, band: Band, last: float) -> None:
    name, first, end = band
    axes.axvspan(first, min(end, 1.2 * last), color=PALE, zorder=0.5)
    axes.annotate(
        name, (min(end, last), 0.98), xycoords=("data", "axes fraction"), xytext=(-4, 0), textcoords="offset points",
        va="top", ha="right", fontsize=9, color=GREY,
    )  # fmt: skip
