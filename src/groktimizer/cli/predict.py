"""``groktimizer predict``: what will happen, before anything is trained."""

import argparse
import math
import shlex
from typing import Any

import numpy as np

from groktimizer.cli.files import check_json
from groktimizer.cli.lines import Told, check_sizes, step
from groktimizer.cli.predict_convex import sparse
from groktimizer.cli.predict_low_rank import low_rank
from groktimizer.cli.predict_random_features import random_features
from groktimizer.cli.predict_ridge import ridge
from groktimizer.cli.prediction import Prediction
from groktimizer.ground.checks import positive
from groktimizer.ground.errors import UserError
from groktimizer.ground.memory import check_memory
from groktimizer.ground.seeds import derive_seed
from groktimizer.results import Store
from groktimizer.studies import first_passage
from groktimizer.theory.clock.rounding import rounded
from groktimizer.theory.linear.estimators import LinearEstimator, accuracy, delay, needed_loss

Array = np.ndarray

_MOST_DRAWN = 10**8  # numbers in a drawn data set: 800 MB
_MOST_OUTPUTS = 10**9  # up to here the chi-square law has its digits
_ROOM = 20.0  # the curves go on to so many times the last clock
_LEVEL = 0.95  # accuracy at which `LinearEstimator.times` strikes
# Options of which squares and products are taken.
_SIZES = (
    *("nu", "teacher_norm", "noise", "lr", "weight_decay", "tolerance", "test_tolerance"),
    *("ratio", "weight", "tau", "memorised_norm", "signal", "nonlinear"),
)


def predict(arguments: argparse.Namespace) -> int:
    """Do ``groktimizer predict``: a kind finds and tells, then the result is recorded, drawn from there and written.

    Args:
        arguments: From the parser.

    Returns:
        0.
    """
    check_json(arguments.json)
    check_sizes(**{name: getattr(arguments, name) for name in _SIZES if name in vars(arguments)})
    kinds = {
        "ridge": ridge,
        "linear-estimator": _linear,
        "network": _network,
        "sparse": sparse,
        "low-rank": low_rank,
        "random-features": random_features,
    }
    told = Told(arguments.json)
    store = Store(arguments.out)
    found = kinds[arguments.kind](arguments, told)
    record = found.record()
    store.save(record)
    from groktimizer.report import pictures

    picture = pictures.draw(record, store.directory)
    drawn = {} if picture is None else {"picture": str(picture)}
    for name, where in {**drawn, "record": store.path(record.identity)}.items():
        told.say(f"{name:<12} {where}")
    command = shlex.join(["groktimizer", *arguments.words])
    told.finish({"command": command, "kind": arguments.kind, **found.content, **drawn, "identity": record.identity})
    return 0


def _linear(arguments: argparse.Namespace, told: Told) -> Prediction:
    if arguments.outputs > _MOST_OUTPUTS:
        raise UserError(f"--outputs {arguments.outputs}: accepted are up to {_MOST_OUTPUTS:,}")
    problem = LinearEstimator(arguments.ratio, arguments.lr, arguments.weight_decay, arguments.outputs)
    positive(**{"--tolerance": arguments.tolerance})
    times = problem.times(arguments.tolerance)
    formula = delay(arguments.ratio, arguments.lr, arguments.outputs)
    drawn = _drawn_law(arguments.inputs, arguments.ratio, arguments.seed)
    kept = {key: getattr(problem, key) for key in ("ratio", "lr", "weight_decay", "outputs")}
    kept["tolerance"] = arguments.tolerance
    gap = times[1] - times[0] if all(map(math.isfinite, times)) else math.inf
    told.say(f"train        step at which 95 % of the training set is correct: {step(times[0])}")
    told.say(f"generalised  step at which 95 % of unseen inputs are correct: {step(times[1])}")
    told.say(f"delay        in steps: {step(gap)}")
    told.say(f"formula (12) delay in the limit of small tolerances without decay: {step(formula)}")
    advice = _linear_advice(problem, arguments.tolerance)
    for text in advice:
        told.say(f"advice       {text}")
    ends = {"memorised": times[0], "generalised": times[1], "delay": gap, "formula": formula, "advice": advice}
    frame = _linear_frame(problem, arguments.tolerance, drawn, times)
    arrays = (None if drawn is None else drawn[0],)
    return Prediction("linear-estimator", kept, {**kept, **ends}, arrays, frame)


def _linear_frame(
    problem: LinearEstimator, tolerance: float, drawn: tuple[Array, Array] | None, times: tuple[float, float]
) -> dict[str, Any]:
    """Losses and accuracies of a linear estimator, and those of a drawn data set."""
    ends = [time for time in times if math.isfinite(time)]
    steps = np.geomspace(1, _ROOM * max([*ends, 100.0 / problem.lr]), 200)
    looks = [("train", "solid", 0), ("generalisation", "solid", 1)] + [("drawn data", "dashed", 5)] * 2
    values = [*problem.losses(steps), *(() if drawn is None else problem.losses(steps, drawn))]
    losses, shares = [], []
    for (name, style, colour), loss in zip(looks, values, strict=False):
        line = {"label": name, "x": steps, "style": style, "colour": colour}
        losses.append({**line, "y": loss})
        shares.append({**line, "y": accuracy(loss, tolerance, problem.outputs)})
    clocks = []
    for row, time in enumerate(times):
        struck = math.isfinite(time)
        clocks.append(
            {
                "time": time if struck else float(steps[-1]),
                "level": _LEVEL,
                "text": f"t{row + 1} = {time:,.0f}" if struck else f"t{row + 1}: never",
                "colour": row,
                "offset": (8 if struck else -8, -14.0 * (row + 1)),
                "point": struck,
            }
        )
    when = [f"at step {time:,.0f}" if math.isfinite(time) else "never" for time in times]
    panel = {"x": "step", "marks": False}
    return {
        "painter": "panels",
        "title": f"linear estimator, ratio {problem.ratio:g}, η = {problem.lr:g}, γ = {problem.weight_decay:g}",
        "sentence": f"95 % of the training set correct {when[0]}, of unseen inputs {when[1]}",
        "panels": [
            {**panel, "title": "losses", "y": "loss", "y_log": True, "lines": losses},
            {**panel, "title": "accuracies", "y": "share correct", "y_log": False, "lines": shares, "clocks": clocks},
        ],
    }


def _linear_advice(problem: LinearEstimator, tolerance: float) -> list[str]:
    """A line for each loss that ends above what 95 % accuracy needs, with the term that holds it there; or for 0."""
    floors, needed = problem.floors(), needed_loss(tolerance, outputs=problem.outputs)
    ends = {
        "train": (floors.train, "bias of weight decay"),
        "generalisation": (floors.generalisation, floors.largest_term),
    }
    lines = [
        f"--tolerance {tolerance:g} cannot be met: 95 % correct needs a {name} loss of {needed:.4g}, it ends at "
        f"{end:.4g}, mostly from the {term}"
        for name, (end, term) in ends.items()
        if end >= needed
    ]
    unlearned = 1 / (2 * problem.outputs)  # generalisation loss of the student 0: the mean square of the teacher
    if unlearned <= needed:
        lines.append(
            f"--tolerance {tolerance:g} is met by the student 0, which has learned nothing (generalisation loss "
            f"{unlearned:.4g}, needed is {needed:.4g}): the times are when the start is forgotten"
        )
    return lines


def _drawn_law(inputs: int, ratio: float, seed: int) -> tuple[Array, Array] | None:
    """Eigenvalues of a drawn training covariance, each of weight 1/inputs."""
    if inputs == 0:
        return None
    check_memory(f"--inputs {inputs}", 3 * inputs**2)
    samples = max(round(inputs / ratio), 1)
    if samples * inputs > _MOST_DRAWN:
        raise UserError(
            f"--inputs {inputs}: with ratio {ratio:g} that is {rounded(samples)} samples, accepted are up to "
            f"{_MOST_DRAWN:,} numbers; 0 draws none"
        )
    points = np.random.default_rng(derive_seed(seed, "linear-estimator")).normal(size=(samples, inputs))
    values = np.maximum(np.linalg.eigvalsh(points.T @ points / samples), 0.0)
    return values, np.full(inputs, 1 / inputs)


def _network(arguments: argparse.Namespace, told: Told) -> Prediction:
    if (arguments.lr is None) != (arguments.weight_decay is None):
        raise UserError("--lr, --weight-decay: accepted are both or neither")
    settings = {name: getattr(arguments, name) for name in ("lr", "weight_decay", "memorised_norm")}
    positive(**{f"--{name.replace('_', '-')}": value for name, value in settings.items() if value is not None})
    if not (arguments.runs / "records").is_dir():
        raise UserError(f"--from {arguments.runs}: holds no records, expected the --out of `run` or `compare`")
    filters = {} if arguments.optimizer is None else {"optimizer": {"name": arguments.optimizer}}
    records = Store(arguments.runs, write=False).query(**filters)
    content = {"groups": [_group(group, arguments, told) for group in first_passage.groups(records)]}
    return Prediction("network", {**settings, "runs": [record.identity for record in records]}, content)


def _group(group: first_passage.Group, arguments: argparse.Namespace, told: Told) -> dict[str, Any]:
    told.say(group.name)
    for reason, count in group.left_out.items():
        told.say(f"    left out     {count} runs {reason}")
    content: dict[str, Any] = {"name": group.name, "runs": len(group.runs), "left_out": dict(group.left_out)}
    law = group.law
    if law is None:
        told.say(f"    no law       {group.reason}")
        return content | {"reason": group.reason}
    error = law.mean_percentage_error
    known = "unknown (needs three runs)" if math.isnan(error) else f"{error:.0f} % in the mean, leaving one out"
    told.say(
        f"    law          delay = ln(V_mem / {law.critical_norm:.4g}) / (2 · {law.kappa:.3g} · lr · weight_decay)"
    )
    told.say(f"    error        {known}, from {len(group.runs)} runs")
    content |= {"kappa": law.kappa, "critical_norm": law.critical_norm, "errors": law.errors, "error_percent": error}
    if arguments.lr is None:
        return content
    norm = arguments.memorised_norm or group.memorised_norm
    steps = law.delay(arguments.lr, arguments.weight_decay, norm)
    low, high = law.interval(arguments.lr, arguments.weight_decay, norm)
    reach = (
        "no interval (needs three runs)" if math.isinf(high) else f"95 % from {step(low, '>=')} to {step(high, '<=')}"
    )
    told.say(f"    predicted    {step(steps)} steps after memorising at V_mem {norm:.4g}; {reach}")
    return content | {"memorised_norm": norm, "delay": steps, "low": low, "high": high}
