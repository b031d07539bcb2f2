"""``groktimizer predict random-features``: errors of ridge regression over the number of features or of samples.

With ``--output-scale`` the features are all tangent features of the network, and are counted as its parameters.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from groktimizer.cli.lines import Told
from groktimizer.cli.prediction import Prediction
from groktimizer.ground.checks import not_negative, positive
from groktimizer.ground.errors import UserError
from groktimizer.ground.memory import check_memory
from groktimizer.ground.names import lookup
from groktimizer.ground.seeds import derive_seed
from groktimizer.theory.random_features import (
    ACTIVATIONS,
    DERIVATIVES,
    Curve,
    RandomFeatures,
    Setting,
    coefficients,
    curve,
    levelling_decay,
    peaks,
    simulate,
)
from groktimizer.theory.random_features.equivalent import LARGEST_SCALE
from groktimizer.theory.random_features.simulation import FRESH

Array = np.ndarray
_REACH, _POINTS = 30.0, 241  # sizes from 1/30 of the smallest scale to 30 times the largest
_FEW = 8  # sizes that are told, and those that are simulated
_DRAWN = 3.0  # simulated up to so many times the largest scale
_DECAYS = (1e-12, 1e6)
_PARTS = ("bias", "initialisation", "sampling", "label_noise")
_LABELS = {"features": ("N", "features N"), "samples": ("n", "samples n")}


def random_features(arguments: argparse.Namespace, told: Told) -> Prediction:
    """Do ``predict random-features``.

    Args:
        arguments: From the parser.
        told: Takes the lines.

    Returns:
        The result.
    """
    _check(arguments)
    sigma = coefficients(arguments.activation)
    kept = {name: getattr(arguments, name) for name in ("signal", "nonlinear", "noise")}
    variances = {name: value**2 for name, value in kept.items()}
    problem = RandomFeatures(arguments.n, arguments.d, sigma, **variances, output_scale=arguments.output_scale)
    scales = _scales(arguments)
    sizes = _sizes(problem, arguments.width, scales)
    found = curve(problem, arguments.weight_decay, sizes, width=arguments.width)
    tops, level = peaks(found), levelling_decay(problem, sizes, width=arguments.width)
    levelled = None if not level else curve(problem, level, sizes, width=arguments.width)
    widths = found.sizes if arguments.width is None else np.full_like(found.sizes, arguments.width)
    drawn = _simulated(arguments, scales)
    _tell(problem, found, tops, level, drawn, told)
    settings = {
        **{name: getattr(arguments, name) for name in ("n", "d", "over", "width", "activation", "weight_decay")},
        "output_scale": arguments.output_scale,
        **kept,
        "draws": arguments.draws,
        "seed": arguments.seed,
    }
    content = {
        **settings,
        "coefficients": sigma._asdict(),
        "null": problem.null,
        "sizes": found.sizes,
        "parameters": problem.parameters(widths),
        **vars(found.errors),
        "peaks": [{"size": size, "test": test} for size, test in tops],
        "levelling_decay": level,
        "simulated": {name: drawn[:, place] for place, name in enumerate(("size", "train", "test", "spread"))},
    }
    frame = _frame(arguments, found, levelled, tops, level, drawn)
    return Prediction("random-features", settings, content, (), frame)


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what no problem has."""
    lookup("--activation", arguments.activation, ACTIVATIONS)
    not_negative(**{f"--{name}": getattr(arguments, name) for name in ("signal", "nonlinear", "noise")})
    scale = arguments.output_scale
    not_negative(**{"--output-scale": scale})
    if scale > LARGEST_SCALE:
        raise UserError(f"--output-scale {scale:g}: accepted are values from 0 to {LARGEST_SCALE:g}")
    if scale and arguments.activation not in DERIVATIVES:
        known = ", ".join(DERIVATIVES)
        raise UserError(f"--activation {arguments.activation}: jumps, accepted with --output-scale are {known}")
    decay = arguments.weight_decay
    positive(**{"--weight-decay": decay})
    if not _DECAYS[0] <= decay <= _DECAYS[1]:
        raise UserError(f"--weight-decay {decay:g}: accepted are values from {_DECAYS[0]:g} to {_DECAYS[1]:g}")
    if (arguments.over == "samples") != (arguments.width is not None):
        raise UserError(f"--over {arguments.over}, --width {arguments.width}: accepted are --over samples with --width")
    largest = _DRAWN * max(arguments.d, arguments.n, arguments.width or 0)
    copies = 3 if scale else 1  # of what is of the kernel's size
    if arguments.draws:
        numbers = (largest + FRESH) * (arguments.d + copies * largest) + 2 * copies * largest**2
        check_memory("--n, --d, --width", int(numbers))


def _scales(arguments: argparse.Namespace) -> tuple[int, ...]:
    """Sizes around which the curve turns and draws are taken: d, that of the other two, n/d of the tangent kernel."""
    other = arguments.n if arguments.width is None else arguments.width
    first = arguments.n // arguments.d  # p is n there
    more = (first,) if arguments.output_scale and arguments.width is None and first > 1 else ()
    return (arguments.d, other, *more)


def _sizes(problem: RandomFeatures, width: int | None, scales: tuple[int, ...]) -> Array:
    """Of the curve, ascending. A network has a neuron at least; over samples the curve goes on to p."""
    least, most = min(scales) / _REACH, max(scales) * _REACH
    if problem.output_scale:
        least, most = (
            (max(least, 1.0), most) if width is None else (least, max(most, _DRAWN * problem.parameters(width)))
        )
    sizes = np.geomspace(least, most, _POINTS)
    return np.unique(np.concatenate([sizes, np.array(scales, dtype=np.float64)]))


def _simulated(arguments: argparse.Namespace, scales: tuple[int, ...]) -> Array:
    """Rows of size, mean train error, mean test error and its standard error over the draws."""
    rows: list[tuple[float, ...]] = []
    if not arguments.draws:
        return np.empty((0, 4))
    rng = np.random.default_rng(derive_seed(arguments.seed, "random-features"))
    signal, nonlinear, noise = (getattr(arguments, name) ** 2 for name in ("signal", "nonlinear", "noise"))
    ends = max(min(scales) / _DRAWN, 1.0), _DRAWN * max(scales)
    for size in sorted({*np.geomspace(*ends, _FEW).round().astype(int).tolist(), *scales}):
        n, width = (arguments.n, size) if arguments.width is None else (size, arguments.width)
        setting = Setting(n, arguments.d, width, arguments.activation, signal, nonlinear, noise, arguments.output_scale)
        pairs = np.array([simulate(setting, arguments.weight_decay, rng) for _ in range(arguments.draws)])
        spread = pairs[:, 1].std(ddof=1) / np.sqrt(len(pairs)) if len(pairs) > 1 else np.nan
        rows.append((float(size), *pairs.mean(0).tolist(), float(spread)))
    return np.array(rows)


def _tell(
    problem: RandomFeatures,
    found: Curve,
    tops: Sequence[tuple[float, float]],
    level: float | None,
    drawn: Array,
    told: Told,
) -> None:
    symbol, errors = _LABELS[found.over][0], found.errors
    _, linear, rest, steep = problem.activation
    slope = f", mean square slope {steep:.4g}" if problem.output_scale else ""
    told.say(f"activation   linear coefficient {linear:.4g}, the rest {rest:.4g}{slope}, its mean taken off")
    rows = [[symbol, "train", "test", *(name.replace("_", " ") for name in _PARTS)]]
    shown = [
        int(np.abs(np.log(found.sizes / size)).argmin()) for size in np.geomspace(found.sizes[0], found.sizes[-1], _FEW)
    ]
    tall = [int(np.flatnonzero(found.sizes == size)[0]) for size, _ in tops]
    for place in sorted({*shown, *tall}):
        numbers = (errors.train, errors.test, *(getattr(errors, name) for name in _PARTS))
        rows.append([f"{found.sizes[place]:,.0f}", *(f"{values[place]:.4g}" for values in numbers)])
    told.table(rows)
    told.say("mean squares; test without label noise = bias + initialisation + sampling + label noise")
    told.say(f"null         the predictor 0 has test error {problem.null:.4g}")
    other = problem.samples if found.over == "features" else None
    for size, test in tops:
        where = f" = {size / problem.inputs:.3g} d" + (f" = {size / other:.3g} n" if other else "")
        if other and problem.output_scale:
            where += f", p = N(d + 1) = {problem.parameters(size):,.0f} = {problem.parameters(size) / other:.3g} n"
        told.say(f"peak         {symbol} = {size:,.0f}{where}: test error {test:.4g}")
    if problem.output_scale:
        here = f"n/d = {other / problem.inputs:.3g}, " if other else ""
        told.say(f"accuracy     a peak at p = n takes 1 ≪ n/d ≪ d; here {here}d = {problem.inputs:,.0f}")
    if not tops:
        told.say(f"peak         none: the test error falls and rises once over {symbol} at most")
    told.say(f"without      {_without(level, symbol)}")
    for size, train, test, spread in drawn:
        told.say(f"simulated    {symbol} = {size:,.0f}: train {train:.4g}, test {test:.4g} ± {spread:.2g}")


def _without(level: float | None, symbol: str) -> str:
    if level is None:
        return f"no weight decay that was tried lets the test error fall all the way over {symbol}"
    if level == 0:
        return f"the test error falls all the way over {symbol} at every weight decay that was tried"
    return f"from weight_decay {level:.4g} on the test error falls all the way over {symbol}"


def _frame(
    arguments: argparse.Namespace,
    found: Curve,
    levelled: Curve | None,
    tops: Sequence[tuple[float, float]],
    level: float | None,
    drawn: Array,
) -> dict[str, Any]:
    """Errors, and what the test error consists of; of the tangent kernel over its parameters."""
    symbol, label = _LABELS[found.over]
    each, tangent = 1, arguments.output_scale > 0
    if tangent and found.over == "features":
        each, label = arguments.d + 1, "parameters p = N(d + 1)"

    def line(name: str, y: Array, style: str, colour: int, x: Array = found.sizes) -> dict[str, Any]:
        return {"label": name, "x": each * x, "y": y, "style": style, "colour": colour}

    errors = found.errors
    lines = [line("train", errors.train, "solid", 0), line("test", errors.test, "solid", 1)]
    if levelled is not None:
        lines.append(line(f"test at λ = {level:.3g}", levelled.errors.test, "dashed", 2))
    if len(drawn):
        lines += [
            line(f"simulated, mean of {arguments.draws}", drawn[:, column], "faint", 5, drawn[:, 0])
            for column in (1, 2)
        ]
    split = [line("test", errors.test, "solid", 1)]
    split += [
        line(name.replace("_", " "), getattr(errors, name), "dashed", colour)
        for name, colour in zip(_PARTS, (0, 2, 3, 4), strict=True)
    ]
    panel = {"x": label, "y": "mean square", "y_log": True, "marks": False}
    fixed = f"n = {arguments.n:,}" if arguments.width is None else f"N = {arguments.width:,}"
    where = " and ".join(f"{symbol} = {size:,.0f}" for size, _ in tops)
    if each > 1:
        where += ", p = " + " and ".join(f"{each * size:,.0f}" for size, _ in tops)
    what = f"tangent features of a {arguments.activation} network, s = {arguments.output_scale:g}"
    what = what if tangent else f"{arguments.activation} features"
    return {
        "painter": "panels",
        "title": f"{what}, {fixed}, d = {arguments.d:,}, λ = {arguments.weight_decay:g}",
        "sentence": f"the test error peaks at {where}" if tops else "the test error has no peak",
        "panels": [
            {**panel, "title": "errors", "lines": lines},
            {**panel, "title": "what the test error consists of", "lines": split},
        ],
    }
