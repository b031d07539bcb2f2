"""``groktimizer predict``: what will happen, before anything is trained."""

import argparse
import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from groktimizer._names import derive_seed
from groktimizer.cli.files import check_json, write_result
from groktimizer.cli.lines import bound, line, read_array, step
from groktimizer.cli.predict_convex import low_rank, sparse
from groktimizer.results import Store, make_directory
from groktimizer.studies import first_passage
from groktimizer.tasks import RidgeTask
from groktimizer.theory.linear_estimators import LinearEstimator, delay, needed_loss
from groktimizer.theory.ridge import DecayAdvice, GrokkingTime, Ridge
from groktimizer.theory.ridge.checks import check_features
from groktimizer.theory.ridge.forecast import Forecast, curve_steps, forecast

Array = np.ndarray

_MOST_DRAWN = 10**8  # numbers in a drawn data set: 800 MB


def predict(arguments: argparse.Namespace) -> int:
    """Do ``groktimizer predict``.

    Args:
        arguments: From the parser.

    Returns:
        0.
    """
    check_json(arguments.json)
    kinds = {"ridge": _ridge, "linear-estimator": _linear, "network": _network, "sparse": sparse, "low-rank": low_rank}
    content = kinds[arguments.kind](arguments)
    write_result(arguments.json, {"command": shlex.join(["groktimizer", *arguments.words]), **content})
    return 0


def ridge_problem(arguments: argparse.Namespace) -> tuple[Ridge, Array]:
    """Draw the problem, or read it.

    Args:
        arguments: From the parser.

    Returns:
        The problem and θ(0).

    Raises:
        ValueError: If options exclude each other or files do not fit.
    """
    nu = arguments.nu
    rng = np.random.default_rng(derive_seed(arguments.seed, "predict"))
    if not 0 <= arguments.noise < math.inf:
        raise ValueError(f"--noise {arguments.noise:g}: accepted are finite numbers >= 0")
    if arguments.features is None:
        if arguments.teacher is not None:
            raise ValueError("--teacher without --features: accepted are both files or neither")
        norm = 1.0 if arguments.teacher_norm is None else arguments.teacher_norm
        task = RidgeTask(n=arguments.n or 100, m=arguments.m or 1000, nu=nu, teacher_norm=norm)
        features, teacher, theta = (part.numpy() for part in task.draw(arguments.seed))
        covariance: Array | float = 1 / task.m
    else:
        for name in ("n", "m", "teacher_norm"):
            if getattr(arguments, name) is not None:
                raise ValueError(f"--{name.replace('_', '-')} with --features: the files say how large the problem is")
        if arguments.teacher is None:
            raise ValueError("--features without --teacher: accepted are both files or neither")
        features = check_features(read_array("features", arguments.features))
        teacher = read_array("teacher", arguments.teacher)
        covariance = float(np.mean(np.square(features, dtype=np.float64)))
        theta = rng.normal(size=features.shape[1]) * nu
    if arguments.covariance is not None:
        covariance = read_array("covariance", arguments.covariance)
    if arguments.theta0 is not None:
        theta = read_array("theta0", arguments.theta0)
    noise = rng.normal(size=len(features)) * arguments.noise if arguments.noise else None
    return Ridge(features, teacher, covariance=covariance, noise=noise), theta


def _ridge(arguments: argparse.Namespace) -> dict[str, Any]:
    folder = make_directory(arguments.out)
    problem, theta = ridge_problem(arguments)
    test = arguments.tolerance if arguments.test_tolerance is None else arguments.test_tolerance
    found = forecast(
        problem,
        theta,
        arguments.lr,
        arguments.weight_decay,
        arguments.tolerance,
        test,
        momentum=arguments.momentum,
        switch=arguments.switch,
        max_delay=arguments.max_delay,
        init_variance=arguments.nu**2 if arguments.theta0 is None else None,
    )
    from groktimizer.report import clocks, style

    title = f"ridge, n = {problem.n:,}, m = {problem.m:,}, η = {arguments.lr:g}, λ = {arguments.weight_decay:g}"
    name = f"predict-ridge-{problem.n}-{problem.m}-{arguments.weight_decay:g}.png"
    picture = style.save(clocks.ridge(found, title), folder / name)
    _tell_ridge(problem, found, title)
    line(f"picture      {picture}")
    return {"kind": "ridge", "n": problem.n, "m": problem.m, **_ridge_content(found), "picture": str(picture)}


def _tell_ridge(problem: Ridge, found: Forecast, title: str) -> None:
    line(f"{title}; rank {problem.rank}, largest curvature {problem.sharpness:.4g}")
    line(f"{'':<18}{'momentum':>9}{'t1':>13}{'t2':>15}{'settled':>15}{'delay':>15}")
    for name, method in found.methods.items():
        times = method.times
        row = (times.memorised, times.generalised, times.settled, times.delay)
        cells = "".join(f"{step(value):>{width}}" for value, width in zip(row, (13, 15, 15, 15), strict=True))
        line(f"{name:<18}{method.momentum:>9.6g}{cells}")
    line("t1, t2: first step with train, population loss within tolerance; settled: t2 that lasts for ever")
    for text in found.advice:
        line(f"advice       {text}")
    known = "unknown, nothing to forget" if math.isnan(found.predicted) else f"about {step(found.predicted)}"
    line(f"predicted    t2 of gradient descent {known}, from ln((m-n) nu^2 s/c)/(2 lr wd)")
    line("bounds (gradient descent, arXiv 2601.19791)")
    for theorem in found.bounds:
        line(f"  {bound(theorem)}")
    line(f"recommended  {_recommended(found)}")
    stop = found.stopping
    when = "in the limit" if stop.step is None else f"at step {stop.step:,}"
    line(
        f"stopping     without decay the population loss is least {when}: {stop.loss:.4g}; "
        f"the best ridge estimator (weight_decay {stop.weight_decay:.4g}) has {stop.decay_loss:.4g}"
    )


def _recommended(found: Forecast) -> str:
    advice = found.recommendation
    if isinstance(advice, str):
        return advice
    times = advice.times
    return (
        f"gradient descent with weight_decay {advice.weight_decay:.4g} ({advice.reason}): t1 {step(times.memorised)}, "
        f"settled {step(times.settled)}, bias {advice.bias:.3g}"
    )


def times_content(times: GrokkingTime) -> dict[str, Any]:
    """A method's times as plain values, without θ(0)."""
    kept = ("memorised", "memorised_settled", "generalised", "settled", "delay", "unresolved")
    return {name: getattr(times, name) for name in kept} | {"floors": asdict(times.floors), "advice": times.advice}


def _ridge_content(found: Forecast) -> dict[str, Any]:
    steps = curve_steps(found)
    methods: dict[str, Any] = {}
    for name, run in found.methods.items():
        curve = {"train_loss": run.curve.train_loss(steps), "population_loss": run.curve.population_loss(steps)}
        methods[name] = {"momentum": run.momentum, **times_content(run.times), **curve}
    return {
        "lr": found.lr,
        "weight_decay": found.weight_decay,
        "methods": methods,
        "steps": steps,
        "bounds": [asdict(bound) | {"guaranteed": bound.guaranteed} for bound in found.bounds],
        "predicted": found.predicted,
        "advice": found.advice,
        "recommendation": _advice_content(found.recommendation),
        "stopping": {key: getattr(found.stopping, key) for key in ("step", "loss", "weight_decay", "decay_loss")},
    }


def _advice_content(advice: DecayAdvice | str) -> Mapping[str, Any]:
    if isinstance(advice, str):
        return {"reason": advice}
    kept = {key: getattr(advice, key) for key in ("reason", "lr", "weight_decay", "bias")}
    return kept | {"times": times_content(advice.times)}


def _linear(arguments: argparse.Namespace) -> dict[str, Any]:
    folder = make_directory(arguments.out)
    problem = LinearEstimator(arguments.ratio, arguments.lr, arguments.weight_decay, arguments.outputs)
    if not 0 < arguments.tolerance < math.inf:
        raise ValueError(f"--tolerance {arguments.tolerance:g}: accepted are positive finite numbers")
    times = problem.times(arguments.tolerance)
    formula = delay(arguments.ratio, arguments.lr, arguments.outputs)
    drawn = _drawn_law(arguments.inputs, arguments.ratio, arguments.seed)
    from groktimizer.report import clocks, style

    name = f"predict-linear-estimator-{arguments.ratio:g}-{arguments.weight_decay:g}.png"
    picture = style.save(clocks.linear(problem, arguments.tolerance, drawn, times), folder / name)
    gap = times[1] - times[0] if math.isfinite(times[1]) else math.inf
    line(f"train        step at which 95 % of the training set is correct: {step(times[0])}")
    line(f"generalised  step at which 95 % of unseen inputs are correct: {step(times[1])}")
    line(f"delay        in steps: {step(gap)}")
    line(f"formula (12) delay in the limit of small tolerances without decay: {step(formula)}")
    advice = _linear_advice(problem, arguments.tolerance)
    for text in advice:
        line(f"advice       {text}")
    line(f"picture      {picture}")
    told = {key: getattr(problem, key) for key in ("ratio", "lr", "weight_decay", "outputs")}
    ends = {"memorised": times[0], "generalised": times[1], "delay": gap, "formula": formula, "advice": advice}
    return {"kind": "linear-estimator", **told, "tolerance": arguments.tolerance, **ends, "picture": str(picture)}


def _linear_advice(problem: LinearEstimator, tolerance: float) -> list[str]:
    """A line for each loss that ends above what 95 % accuracy needs: where it ends, and which term holds it there."""
    floors, needed = problem.floors(), needed_loss(tolerance, outputs=problem.outputs)
    ends = {
        "train": (floors.train, "bias of weight decay"),
        "generalisation": (floors.generalisation, floors.largest_term),
    }
    return [
        f"--tolerance {tolerance:g} cannot be met: 95 % correct needs a {name} loss of {needed:.4g}, it ends at "
        f"{end:.4g}, mostly from the {term}"
        for name, (end, term) in ends.items()
        if end >= needed
    ]


def _drawn_law(inputs: int, ratio: float, seed: int) -> tuple[Array, Array] | None:
    """Eigenvalues of a drawn training covariance, each of weight 1/inputs."""
    if inputs == 0:
        return None
    samples = max(round(inputs / ratio), 1)
    if samples * inputs > _MOST_DRAWN:
        raise ValueError(
            f"--inputs {inputs}: with ratio {ratio:g} that is {samples:,} samples, accepted are up to "
            f"{_MOST_DRAWN:,} numbers; 0 draws none"
        )
    points = np.random.default_rng(derive_seed(seed, "linear-estimator")).normal(size=(samples, inputs))
    values = np.maximum(np.linalg.eigvalsh(points.T @ points / samples), 0.0)
    return values, np.full(inputs, 1 / inputs)


def _network(arguments: argparse.Namespace) -> dict[str, Any]:
    if (arguments.lr is None) != (arguments.weight_decay is None):
        raise ValueError("--lr, --weight-decay: accepted are both or neither")
    for name in ("lr", "weight_decay", "memorised_norm"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"--{name.replace('_', '-')} {value:g}: accepted are positive finite numbers")
    if not (arguments.runs / "records").is_dir():
        raise ValueError(f"--from {arguments.runs}: holds no records, expected the --out of `run` or `compare`")
    filters = {} if arguments.optimizer is None else {"optimizer": {"name": arguments.optimizer}}
    found = first_passage.groups(Store(arguments.runs).query(**filters))
    return {"kind": "network", "groups": [_group(group, arguments) for group in found]}


def _group(group: first_passage.Group, arguments: argparse.Namespace) -> dict[str, Any]:
    line(group.name)
    for reason, count in group.left_out.items():
        line(f"    left out     {count} runs {reason}")
    content: dict[str, Any] = {"name": group.name, "runs": len(group.runs), "left_out": dict(group.left_out)}
    law = group.law
    if law is None:
        line(f"    no law       {group.reason}")
        return content | {"reason": group.reason}
    error = law.mean_percentage_error
    known = "unknown (needs three runs)" if math.isnan(error) else f"{error:.0f} % in the mean, leaving one out"
    line(f"    law          delay = ln(V_mem / {law.critical_norm:.4g}) / (2 · {law.kappa:.3g} · lr · weight_decay)")
    line(f"    error        {known}, from {len(group.runs)} runs")
    content |= {"kappa": law.kappa, "critical_norm": law.critical_norm, "errors": law.errors, "error_percent": error}
    if arguments.lr is None:
        return content
    norm = arguments.memorised_norm or group.memorised_norm
    steps = law.delay(arguments.lr, arguments.weight_decay, norm)
    low, high = law.interval(arguments.lr, arguments.weight_decay, norm)
    reach = "no interval (needs three runs)" if math.isinf(high) else f"95 % from {step(low)} to {step(high)}"
    line(f"    predicted    {step(steps)} steps after memorising at V_mem {norm:.4g}; {reach}")
    return content | {"memorised_norm": norm, "delay": steps, "low": low, "high": high}
