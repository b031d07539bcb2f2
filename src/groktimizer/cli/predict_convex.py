"""``groktimizer predict sparse``: the l1 norm on the zero-loss manifold, and what it shares with the nuclear norm."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from groktimizer.cli.lines import Told, bound, check_sizes, read_array, step
from groktimizer.cli.pictures import picture_path
from groktimizer.ground.errors import UserError
from groktimizer.ground.memory import check_memory
from groktimizer.results import make_directory
from groktimizer.tasks import SparseTask
from groktimizer.theory.clock.descent import Descent
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
        UserError: If options exclude each other or files do not fit.
    """
    files = {name: getattr(arguments, name) for name in ("features_file", "targets", "teacher")}
    given = [name for name in _DRAWN if getattr(arguments, name) is not None]
    if arguments.features_file is None:
        for name in ("targets", "teacher"):
            if files[name] is not None:
                raise UserError(f"--{name} without --features-file: accepted are the files together or none")
        task = SparseTask(**{name: getattr(arguments, name) for name in given})
        _check_room(f"--n {task.n} --N {task.N}", task.N, task.n)
        data = task.draw(arguments.seed)
        problem = Lasso(data.features.numpy(), data.targets.numpy())
        return problem, data.factors[0].numpy(), data.teacher.numpy()
    for name in given:
        raise UserError(f"--{name} with --features-file: the files say what the problem is")
    features = check_matrix("features", read_array("features-file", arguments.features_file))
    _check_room(f"--features-file {arguments.features_file}", *features.shape)
    start, teacher = np.zeros(features.shape[1]), None
    if arguments.teacher is not None:
        teacher = check_vector("teacher", read_array("teacher", arguments.teacher), features.shape[1])
    if arguments.targets is not None:
        return Lasso(features, read_array("targets", arguments.targets)), start, teacher
    if teacher is None:
        raise UserError("--features-file alone: accepted with --targets, --teacher or both")
    return Lasso(features, features @ teacher), start, teacher


def _check_room(what: str, samples: int, n: int) -> None:
    """Refuse features that leave no room for decompositions, linear programs and the cosines between all columns."""
    check_memory(what, 8 * samples * n + 3 * n**2)


def sparse(arguments: argparse.Namespace, told: Told) -> dict[str, Any]:
    """Do ``predict sparse``.

    Args:
        arguments: From the parser.
        told: Takes the lines.

    Returns:
        The result as plain values.
    """
    check_descent(arguments)
    folder = make_directory(arguments.out)
    problem, start, teacher = sparse_problem(arguments)
    lr = step_size(arguments.lr, problem.sharpness)
    tolerances = (arguments.tolerance, arguments.test_tolerance)
    found = forecast(problem, start, lr, arguments.weight, *tolerances, teacher=teacher)
    from groktimizer.report import convex, style

    size = f"n = {problem.n:,}, s = {found.recovery.sparsity:,}, N = {problem.n_samples:,}"
    title = f"sparse recovery, {size}, α = {lr:.4g}, β = {arguments.weight:g}"
    a_star = "a* is the fit of least l1 norm" if found.recovery.recovers else "a* is not the fit of least l1 norm"
    runs = (found.proximal, found.accelerated)
    figure = convex.descents(
        runs, title, f"{a_star}; recovery error within tolerance for good: {settled(runs)}", tolerances
    )
    settings = {"lr": lr, "weight": arguments.weight, "tolerances": tolerances}
    kind = f"sparse-{problem.n}-{found.recovery.sparsity}-{problem.n_samples}"
    path = picture_path(folder, kind, settings, problem.features, problem.targets, start, teacher)
    picture = style.save(figure, path)
    told.say(f"{title}; largest curvature {problem.sharpness:.4g}, beta_max {problem.max_weight:.4g}")
    if teacher is None:
        told.say("a*           not given: the fit of least l1 norm takes its place")
    _tell_sparse(found, told)
    told.say(f"picture      {picture}")
    sizes = {"n": problem.n, "s": found.recovery.sparsity, "N": problem.n_samples}
    return {"kind": "sparse", **sizes, **_sparse_content(found), "picture": str(picture)}


def _tell_sparse(found: SparseForecast, told: Told) -> None:
    told.say(f"verdict      {found.verdict}")
    tolerances = (found.times.train_tolerance, found.times.test_tolerance)
    tell_times(told, (found.proximal, found.accelerated), tolerances, "for ever")
    told.say(f"transition   {_transition(found)}")
    told.say(f"events       {found.times.n_events:,} changes of support or sign on the way of {found.proximal.name}")
    floors = f"train error {found.times.train_floor:.3g}, recovery error {found.times.recovery_floor:.3g}"
    told.say(f"ends         {floors} (the Lasso estimator of this weight)")
    told.say("laws" if found.recovery.recovers else "laws (of the way to a*, which no run ends at)")
    for name, law in found.laws.items():
        told.say(f"  {name:<24}{bound(law)}")
    for text in found.advice:
        told.say(f"advice       {text}")


def _transition(found: SparseForecast) -> str:
    verdict, reason = found.transition.verdict, found.transition.reason
    return f"{verdict}: {verdict.advice}; {reason}"


def _sparse_content(found: SparseForecast) -> dict[str, Any]:
    return {
        "lr": found.lr,
        "weight": found.weight,
        "verdict": found.verdict,
        "recovery": asdict(found.recovery),
        "methods": methods((found.proximal, found.accelerated)),
        "train_floor": found.times.train_floor,
        "recovery_floor": found.times.recovery_floor,
        "events": found.times.n_events,
        "transition": {"verdict": found.transition.verdict.value, "reason": found.transition.reason},
        "laws": {name: asdict(law) | {"guaranteed": law.guaranteed} for name, law in found.laws.items()},
        "advice": found.advice,
    }


def check_descent(arguments: argparse.Namespace) -> None:
    """Refuse numbers that no arithmetic survives, among the options that `sparse` and `low-rank` share."""
    names = ("lr", "weight", "tolerance", "test_tolerance", "tau")
    check_sizes(**{name: getattr(arguments, name) for name in names})


def step_size(lr: float | None, sharpness: float) -> float:
    """The step size that was given, or 0.1 where the accelerated method is stable with it, else its limit."""
    return min(_LR, 1 / sharpness) if lr is None else lr


def tell_times(told: Told, runs: Sequence[Descent], tolerances: tuple[float, float], lasting: str) -> None:
    """Tell every method's times.

    Args:
        told: Takes the lines.
        runs: The methods.
        tolerances: Of train and recovery error.
        lasting: How long a settled time lasts.
    """
    rows = [["", "t1", "t2", "settled", "delay"]]
    for run in runs:
        times = (run.memorised, run.generalised, run.settled, run.delay)
        rows.append([run.name, *(_time(run, value) for value in times)])
    told.table(rows)
    told.say(
        f"t1, t2: first step with relative train error <= {tolerances[0]:g}, recovery error <= {tolerances[1]:g}; "
        f"settled: t2 that lasts {lasting}"
    )
    if tolerances[1] >= 1:
        told.say(
            f"zero         0, which has learned nothing, has recovery error 1: within {tolerances[1]:g} all the same"
        )
    for run in runs:
        if run.taken is not None and not run.resting:
            told.say(f"{run.name:<18}not at rest after the {run.taken:,} steps that were taken: '-' is not yet")


def _time(run: Descent, value: int | None) -> str:
    return "-" if value is None and not run.resting else step(value)


def settled(runs: Sequence[Descent]) -> str:
    """Say when each method settles."""
    said = [f"{run.name} " + ("never" if run.settled is None else f"at step {run.settled:,}") for run in runs]
    return "; ".join(said)


def methods(runs: Sequence[Descent]) -> dict[str, Any]:
    """Times and curves of every method."""
    kept = ("memorised", "memorised_settled", "generalised", "settled", "delay", "taken", "resting")
    curves = ("steps", "train_error", "recovery_error")
    return {run.name: {name: getattr(run, name) for name in (*kept, *curves)} for run in runs}
