"""``groktimizer predict sparse|low-rank``: the l1 norm and the nuclear norm on the zero-loss manifold."""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from groktimizer.cli.lines import bound, line, read_array, step
from groktimizer.results import make_directory
from groktimizer.tasks import MatrixTask, SparseTask
from groktimizer.theory import low_rank_forecast as matrices
from groktimizer.theory.descent import Descent
from groktimizer.theory.lasso import Lasso
from groktimizer.theory.lasso.checks import check_matrix, check_vector
from groktimizer.theory.lasso.forecast import SparseForecast, forecast

Array = np.ndarray
_LR = 0.1  # or 1/L where that is less
_DRAWN = ("n", "s", "N", "features", "tau")


def sparse_problem(arguments: argparse.Namespace) -> tuple[Lasso, Array, Array | None]:
    """Draw the problem, or read it.

    Args:
        arguments: From the parser.

    Returns:
        The problem, a(0), and a*, None where it is unknown.

    Raises:
        ValueError: If options exclude each other or files do not fit.
    """
    files = {name: getattr(arguments, name) for name in ("features_file", "targets", "teacher")}
    given = [name for name in _DRAWN if getattr(arguments, name) is not None]
    if arguments.features_file is None:
        for name in ("targets", "teacher"):
            if files[name] is not None:
                raise ValueError(f"--{name} without --features-file: accepted are the files together or none")
        data = SparseTask(**{name: getattr(arguments, name) for name in given}).draw(arguments.seed)
        problem = Lasso(data.features.numpy(), data.targets.numpy())
        return problem, data.factors[0].numpy(), data.teacher.numpy()
    for name in given:
        raise ValueError(f"--{name} with --features-file: the files say what the problem is")
    features = check_matrix("features", read_array("features-file", arguments.features_file))
    start, teacher = np.zeros(features.shape[1]), None
    if arguments.teacher is not None:
        teacher = check_vector("teacher", read_array("teacher", arguments.teacher), features.shape[1])
    if arguments.targets is not None:
        return Lasso(features, read_array("targets", arguments.targets)), start, teacher
    if teacher is None:
        raise ValueError("--features-file alone: accepted with --targets, --teacher or both")
    return Lasso(features, features @ teacher), start, teacher


def sparse(arguments: argparse.Namespace) -> dict[str, Any]:
    """Do ``predict sparse``.

    Args:
        arguments: From the parser.

    Returns:
        The result as plain values.
    """
    folder = make_directory(arguments.out)
    problem, start, teacher = sparse_problem(arguments)
    lr = _step_size(arguments.lr, problem.sharpness)
    found = forecast(
        problem, start, lr, arguments.weight, arguments.tolerance, arguments.test_tolerance, teacher=teacher
    )
    from groktimizer.report import convex, style

    size = f"n = {problem.n:,}, s = {found.recovery.sparsity:,}, N = {problem.n_samples:,}"
    title = f"sparse recovery, {size}, α = {lr:.4g}, β = {arguments.weight:g}"
    drawn = "file" if arguments.features_file is not None else arguments.features or "gaussian"
    name = f"predict-sparse-{drawn}-{problem.n}-{found.recovery.sparsity}-{problem.n_samples}-{arguments.weight:g}.png"
    told = "a* is the fit of least l1 norm" if found.recovery.recovers else "a* is not the fit of least l1 norm"
    figure = convex.descents(
        (found.proximal, found.accelerated),
        title,
        f"{told}; recovery error within tolerance for good: {_settled((found.proximal, found.accelerated))}",
        (found.times.train_tolerance, found.times.test_tolerance),
    )
    picture = style.save(figure, folder / name)
    line(f"{title}; largest curvature {problem.sharpness:.4g}, beta_max {problem.max_weight:.4g}")
    if teacher is None:
        line("a*           not given: the fit of least l1 norm takes its place")
    _tell_sparse(found)
    line(f"picture      {picture}")
    sizes = {"n": problem.n, "s": found.recovery.sparsity, "N": problem.n_samples}
    return {"kind": "sparse", **sizes, **_sparse_content(found), "picture": str(picture)}


def _tell_sparse(found: SparseForecast) -> None:
    line(f"verdict      {found.verdict}")
    tolerances = (found.times.train_tolerance, found.times.test_tolerance)
    _tell_times((found.proximal, found.accelerated), tolerances, "for ever")
    line(f"transition   {found.transition.verdict.value}; {found.transition.reason}")
    line(f"events       {found.times.n_events:,} changes of support or sign on the way of {found.proximal.name}")
    floors = f"train error {found.times.train_floor:.3g}, recovery error {found.times.recovery_floor:.3g}"
    line(f"ends         {floors} (the Lasso estimator of this weight)")
    line("laws" if found.recovery.recovers else "laws (of the way to a*, which no run ends at)")
    for name, law in found.laws.items():
        line(f"  {name:<24}{bound(law)}")
    for text in found.advice:
        line(f"advice       {text}")


def _sparse_content(found: SparseForecast) -> dict[str, Any]:
    return {
        "lr": found.lr,
        "weight": found.weight,
        "verdict": found.verdict,
        "recovery": asdict(found.recovery),
        "methods": _methods((found.proximal, found.accelerated)),
        "train_floor": found.times.train_floor,
        "recovery_floor": found.times.recovery_floor,
        "events": found.times.n_events,
        "transition": {"verdict": found.transition.verdict.name, "reason": found.transition.reason},
        "laws": {name: asdict(law) | {"guaranteed": law.guaranteed} for name, law in found.laws.items()},
        "advice": found.advice,
    }


def low_rank(arguments: argparse.Namespace) -> dict[str, Any]:
    """Do ``predict low-rank``: the verdict and the law first, then the steps.

    Args:
        arguments: From the parser.

    Returns:
        The result as plain values.
    """
    folder = make_directory(arguments.out)
    given = {name: getattr(arguments, name) for name in ("n1", "n2", "r", "N", "tau")}
    task = MatrixTask(name=f"matrix-{arguments.measurements}", **given)
    data = task.draw(arguments.seed)
    problem, start = data.problem(), data.factors[0]
    lr = _step_size(arguments.lr, problem.sharpness)
    tolerances = (arguments.tolerance, arguments.test_tolerance)
    seen = matrices.outlook(problem, start, lr, arguments.weight, tolerances)
    size = f"{task.n1} × {task.n2}, r = {task.r}, N = {task.N:,}"
    title = f"matrix {arguments.measurements}, {size}, α = {lr:.4g}, β = {arguments.weight:g}"
    line(f"{title}; largest curvature {problem.sharpness:.4g}, beta_max {problem.weight_limit:.4g}")
    line(f"verdict      {seen.told}")
    _tell_law(seen)
    found = matrices.forecast(problem, start, seen, iterate=arguments.iterate)
    runs = [run for run in (found.proximal, found.accelerated) if run is not None]
    _tell_times(runs, tolerances, "to the last step taken")
    if found.skipped:
        line(f"{matrices.PROXIMAL:<18}not iterated: {found.skipped}")
    for run in runs:
        ends = f"train error {run.train_error[-1]:.3g}, recovery error {run.recovery_error[-1]:.3g}"
        line(f"ends         {run.name} after {run.taken:,} steps: {ends}")
    for text in found.advice:
        line(f"advice       {text}")
    from groktimizer.report import convex, style

    sentence = f"{seen.verdict.outcome}; recovery error within tolerance for good: {_settled(runs)}"
    shown = found.proximal is None and seen.law is not None and not seen.hopeless
    band = (f"where {matrices.PROXIMAL} recovers", seen.law.earliest, seen.expected) if shown and seen.law else None
    sizes = f"{task.n1}-{task.n2}-{task.r}-{task.N}"
    name = f"predict-low-rank-{arguments.measurements}-{sizes}-{arguments.weight:g}.png"
    picture = style.save(convex.descents(runs, title, sentence, tolerances, band), folder / name)
    line(f"picture      {picture}")
    told = {"lr": lr, "weight": arguments.weight, "verdict": asdict(seen.verdict), "law": _law_content(seen)}
    rest = {"methods": _methods(runs), "skipped": found.skipped, "advice": found.advice, "picture": str(picture)}
    return {"kind": "low-rank", "measurements": arguments.measurements, **given, **told, **rest}


def _tell_law(seen: matrices.Outlook) -> None:
    law = seen.law
    if law is None:
        line("law          none: there is nothing to wait for")
        return
    line(f"law          t1 ~ {step(law.memorised)} (predictor in the code of arXiv 2506.05718)")
    if seen.hopeless:
        line(f"{'':<13}t2: none to wait for, {matrices.BEYOND}")
        return
    line(
        f"{'':<13}t2 ~ {step(law.generalised)}, measured up to {matrices.SPREAD} times that (arXiv 2506.05718: "
        "||A^ - A*||_2->2 / (alpha beta), A^ the fit of t1)"
    )
    late = "no bound" if math.isinf(law.latest) else f"<= {step(law.latest)}"
    line(f"{'':<13}t2 >= {step(law.earliest)}, {late} (ours, of projected subgradients)")


def _law_content(seen: matrices.Outlook) -> Mapping[str, float] | None:
    if seen.law is None:
        return None
    kept = ("memorised", "generalised", "earliest", "latest", "distance", "ripple")
    return {name: getattr(seen.law, name) for name in kept} | {"expected": seen.expected}


def _step_size(lr: float | None, sharpness: float) -> float:
    """The step size that was given, or 0.1 where the accelerated method is stable with it, else its limit."""
    return min(_LR, 1 / sharpness) if lr is None else lr


def _tell_times(runs: Sequence[Descent], tolerances: tuple[float, float], lasting: str) -> None:
    line(f"{'':<18}{'t1':>10}{'t2':>15}{'settled':>15}{'delay':>15}")
    for run in runs:
        row = (run.memorised, run.generalised, run.settled, run.delay)
        cells = "".join(
            f" {_time(run, value):>{width - 1}}" for value, width in zip(row, (10, 15, 15, 15), strict=True)
        )
        line(f"{run.name:<18}{cells}")
    line(
        f"t1, t2: first step with relative train error <= {tolerances[0]:g}, recovery error <= {tolerances[1]:g}; "
        f"settled: t2 that lasts {lasting}"
    )
    for run in runs:
        if run.taken is not None and not run.resting:
            line(f"{run.name:<18}not at rest after the {run.taken:,} steps that were taken: '-' is not yet")


def _time(run: Descent, value: int | None) -> str:
    return "-" if value is None and not run.resting else step(value)


def _settled(runs: Sequence[Descent]) -> str:
    said = [f"{run.name} " + ("never" if run.settled is None else f"at step {run.settled:,}") for run in runs]
    return "; ".join(said)


def _methods(runs: Sequence[Descent]) -> dict[str, Any]:
    """Times and curves of every method."""
    kept = ("memorised", "memorised_settled", "generalised", "settled", "delay", "taken", "resting")
    curves = ("steps", "train_error", "recovery_error")
    return {run.name: {name: getattr(run, name) for name in (*kept, *curves)} for run in runs}
