"""``groktimizer predict``: what will happen, before anything is trained."""

import argparse
import math
import shlex
from typing import Any

import numpy as np

from groktimizer.cli.files import check_json
from groktimizer.cli.lines import Told, check_sizes, step
from groktimizer.cli.pictures import picture_path
from groktimizer.cli.predict_convex import sparse
from groktimizer.cli.predict_low_rank import low_rank
from groktimizer.cli.predict_ridge import ridge
from groktimizer.ground.errors import UserError
from groktimizer.ground.memory import check_memory
from groktimizer.ground.seeds import derive_seed
from groktimizer.results import Store, make_directory
from groktimizer.studies import first_passage
from groktimizer.theory.clock.figures import rounded
from groktimizer.theory.linear.estimators import LinearEstimator, delay, needed_loss

Array = np.ndarray

_MOST_DRAWN = 10**8  # numbers in a drawn data set: 800 MB
_MOST_OUTPUTS = 10**9  # up to here the chi-square law has its digits


def predict(arguments: argparse.Namespace) -> int:
    """Do ``groktimizer predict``.

    Args:
        arguments: From the parser.

    Returns:
        0.
    """
    check_json(arguments.json)
    kinds = {"ridge": ridge, "linear-estimator": _linear, "network": _network, "sparse": sparse, "low-rank": low_rank}
    told = Told(arguments.json)
    content = kinds[arguments.kind](arguments, told)
    told.finish({"command": shlex.join(["groktimizer", *arguments.words]), **content})
    return 0


def _linear(arguments: argparse.Namespace, told: Told) -> dict[str, Any]:
    names = ("ratio", "lr", "weight_decay", "tolerance")
    check_sizes(**{name: getattr(arguments, name) for name in names})
    if arguments.outputs > _MOST_OUTPUTS:
        raise UserError(f"--outputs {arguments.outputs}: accepted are up to {_MOST_OUTPUTS:,}")
    folder = make_directory(arguments.out)
    problem = LinearEstimator(arguments.ratio, arguments.lr, arguments.weight_decay, arguments.outputs)
    if not 0 < arguments.tolerance < math.inf:
        raise UserError(f"--tolerance {arguments.tolerance:g}: accepted are positive finite numbers")
    times = problem.times(arguments.tolerance)
    formula = delay(arguments.ratio, arguments.lr, arguments.outputs)
    drawn = _drawn_law(arguments.inputs, arguments.ratio, arguments.seed)
    from groktimizer.report import clocks, style

    kept = {key: getattr(problem, key) for key in ("ratio", "lr", "weight_decay", "outputs")}
    kept["tolerance"] = arguments.tolerance
    path = picture_path(folder, "linear-estimator", kept, None if drawn is None else drawn[0])
    picture = style.save(clocks.linear(problem, arguments.tolerance, drawn, times), path)
    gap = times[1] - times[0] if all(map(math.isfinite, times)) else math.inf
    told.say(f"train        step at which 95 % of the training set is correct: {step(times[0])}")
    told.say(f"generalised  step at which 95 % of unseen inputs are correct: {step(times[1])}")
    told.say(f"delay        in steps: {step(gap)}")
    told.say(f"formula (12) delay in the limit of small tolerances without decay: {step(formula)}")
    advice = _linear_advice(problem, arguments.tolerance)
    for text in advice:
        told.say(f"advice       {text}")
    told.say(f"picture      {picture}")
    ends = {"memorised": times[0], "generalised": times[1], "delay": gap, "formula": formula, "advice": advice}
    return {"kind": "linear-estimator", **kept, **ends, "picture": str(picture)}


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


def _network(arguments: argparse.Namespace, told: Told) -> dict[str, Any]:
    if (arguments.lr is None) != (arguments.weight_decay is None):
        raise UserError("--lr, --weight-decay: accepted are both or neither")
    for name in ("lr", "weight_decay", "memorised_norm"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"--{name.replace('_', '-')} {value:g}: accepted are positive finite numbers")
        check_sizes(**{name: value})
    if not (arguments.runs / "records").is_dir():
        raise UserError(f"--from {arguments.runs}: holds no records, expected the --out of `run` or `compare`")
    filters = {} if arguments.optimizer is None else {"optimizer": {"name": arguments.optimizer}}
    found = first_passage.groups(Store(arguments.runs).query(**filters))
    return {"kind": "network", "groups": [_group(group, arguments, told) for group in found]}


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
