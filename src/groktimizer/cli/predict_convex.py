"""``groktimizer predict sparse``: the l1 norm on the zero-loss manifold, and what it shares with the nuclear norm."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from groktimizer.cli.lines import Told, bound, read_array
from groktimizer.cli.predict_task import drawn_task, known, refuse_task, settle
from groktimizer.cli.prediction import Methods, Prediction, descents, given, refuse, tell_times
from groktimizer.ground.errors import UserError
from groktimizer.ground.memory import check_memory
from groktimizer.tasks import SparseTask
from groktimizer.theory.clock.checks import check_vector
from groktimizer.theory.clock.forecast import Descent
from groktimizer.theory.lasso import Lasso
from groktimizer.theory.lasso.checks import check_matrix
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
    if arguments.features_file is None:
        own = given(arguments, ("targets", "teacher"))
        refuse(own, "without --features-file: accepted are the files together or none")
        task = drawn_task(arguments, _DRAWN)
        if isinstance(task, SparseTask):
            _check_room(f"--n {task.n} --N {task.N}", task.N, task.n)
        problem, start, teacher = known(task, arguments.seed, Lasso)
        return problem, start.numpy(), teacher.numpy()
    refuse_task(arguments, "--features-file")
    refuse(given(arguments, _DRAWN), "with --features-file: the files say what the problem is")
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


def sparse(arguments: argparse.Namespace, told: Told) -> Prediction:
    """Do ``predict sparse``.

    Args:
        arguments: From the parser.
        told: Takes the lines.

    Returns:
        The result.
    """
    settle(arguments, "sparse-recovery")
    problem, start, teacher = sparse_problem(arguments)
    lr = step_size(arguments.lr, problem.sharpness)
    tolerances = (arguments.tolerance, arguments.test_tolerance)
    found = forecast(problem, start, lr, arguments.weight, *tolerances, teacher=teacher)
    sizes = {"n": problem.n, "s": found.recovery.sparsity, "N": problem.n_samples}
    size = ", ".join(f"{name} = {value:,}" for name, value in sizes.items())
    title = f"sparse recovery, {size}, α = {lr:.4g}, β = {arguments.weight:g}"
    content: dict[str, Any] = {**sizes, **_content(found)}
    told.say(f"{title}; largest curvature {problem.sharpness:.4g}, beta_max {problem.max_weight:.4g}")
    if teacher is None:
        told.say("a*           not given: the fit of least l1 norm takes its place")
    told.say(f"verdict      {found.verdict}")
    tell_descents(told, content["methods"], tolerances, "for ever")
    _tell_laws(found, told)
    a_star = "a* is the fit of least l1 norm" if found.recovery.recovers else "a* is not the fit of least l1 norm"
    frame = descents(title, f"{a_star}; recovery error", tolerances, content["methods"])
    settings = {"lr": lr, "weight": arguments.weight, "tolerances": tolerances}
    arrays = (problem.features, problem.targets, start, teacher)
    return Prediction("sparse", settings, content, arrays, frame, "-".join(["sparse", *map(str, sizes.values())]))


def _tell_laws(found: SparseForecast, told: Told) -> None:
    verdict, reason = found.transition.verdict, found.transition.reason
    told.say(f"transition   {verdict}: {verdict.advice}; {reason}")
    told.say(f"events       {found.times.n_events:,} changes of support or sign on the way of {found.proximal.name}")
    floors = f"train error {found.times.train_floor:.3g}, recovery error {found.times.recovery_floor:.3g}"
    told.say(f"ends         {floors} (the Lasso estimator of this weight)")
    told.say("laws" if found.recovery.recovers else "laws (of the way to a*, which no run ends at)")
    for name, law in found.laws.items():
        told.say(f"  {name:<24}{bound(law)}")
    for text in found.advice:
        told.say(f"advice       {text}")


def _content(found: SparseForecast) -> dict[str, Any]:
    return {
        "lr": found.lr,
        "weight": found.weight,
        "verdict": found.verdict,
        "recovery": asdict(found.recovery),
        "methods": methods((found.proximal, found.accelerated)),
        "train_floor": found.times.train_floor,
        "recovery_floor": found.times.recovery_floor,
        "events": found.times.n_events,
        "transition": asdict(found.transition),
        "laws": {name: asdict(law) | {"guaranteed": law.guaranteed} for name, law in found.laws.items()},
        "advice": found.advice,
    }


def step_size(lr: float | None, sharpness: float) -> float:
    """The step size that was given, or 0.1 where the accelerated method is stable with it, else its limit."""
    return min(_LR, 1 / sharpness) if lr is None else lr


def tell_descents(told: Told, runs: Methods, tolerances: tuple[float, float], lasting: str) -> None:
    """Tell every method's times.

    Args:
        told: Takes the lines.
        runs: The methods, from `methods`.
        tolerances: Of train and recovery error.
        lasting: How long a settled time lasts.
    """
    within = f"<= {tolerances[0]:g}, recovery error <= {tolerances[1]:g}"
    tell_times(told, runs, ("relative train error", within, lasting))
    if tolerances[1] >= 1:
        told.say(
            f"zero         0, which has learned nothing, has recovery error 1: within {tolerances[1]:g} all the same"
        )
    for name, run in runs.items():
        if run["taken"] is not None and not run["resting"]:
            told.say(f"{name:<18}not at rest after the {run['taken']:,} steps that were taken: '-' is not yet")


def methods(runs: Sequence[Descent]) -> dict[str, Any]:
    """Times and curves of every method."""
    kept = ("memorised", "memorised_settled", "generalised", "settled", "delay", "taken", "resting")
    curves = ("steps", "train_error", "recovery_error")
    return {run.name: {name: getattr(run, name) for name in (*kept, *curves)} for run in runs}
