"""``groktimizer predict ridge``: gradient descent, heavy ball and CDM on ridge regression, drawn or from files."""

import argparse
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from groktimizer.cli.lines import Told, bound, check_steps, read_array, step
from groktimizer.cli.predict_task import drawn_task, known, refuse_task, settle
from groktimizer.cli.prediction import Prediction, descents, given, refuse, tell_times
from groktimizer.ground.checks import not_negative
from groktimizer.ground.memory import check_memory
from groktimizer.ground.seeds import derive_seed
from groktimizer.measures.times import WINDOW_STEPS
from groktimizer.tasks import RidgeTask, Task, find_task
from groktimizer.theory.ridge import DecayAdvice, GrokkingTime, Ridge
from groktimizer.theory.ridge.forecast import CRITICAL, Forecast, curve_steps, forecast
from groktimizer.theory.ridge.spectrum import SVD_ENTRIES, check_features

Array = np.ndarray
NU = 1.0  # of a start that is drawn for features from a file
_SIZES = ("n", "m", "teacher_norm")
_TEST = ("targets", "test_features", "test_targets")


@dataclass(frozen=True, eq=False)
class Drawn:
    """A problem that was drawn or read.

    Args:
        problem: It.
        theta0: Initial parameters, shape (m,).
        arrays: What it was made of, which its picture is named after.
        test: What its population loss is called.
        variance: ν² of the initial parameters, where they were drawn with a ν that is known.
        task: What `groktimizer run` trains on the same problem, if there is one.
    """

    problem: Ridge
    theta0: Array
    arrays: tuple[Array | None, ...]
    test: str
    variance: float | None = None
    task: Task | None = None


def ridge(arguments: argparse.Namespace, told: Told) -> Prediction:
    """Do ``predict ridge``.

    Args:
        arguments: From the parser.
        told: Takes the lines.

    Returns:
        The result.
    """
    check_steps(switch=arguments.switch, max_delay=arguments.max_delay)
    not_negative(**{"--noise": arguments.noise})
    settle(arguments, "ridge")
    drawn = ridge_problem(arguments)
    problem, tolerance = drawn.problem, arguments.tolerance
    settings: dict[str, Any] = {
        "lr": arguments.lr,
        "weight_decay": arguments.weight_decay,
        "train_tolerance": tolerance,
        "test_tolerance": tolerance if arguments.test_tolerance is None else arguments.test_tolerance,
        "momentum": arguments.momentum,
        "switch": arguments.switch,
    }
    asked: dict[str, Any] = {"max_delay": arguments.max_delay, "init_variance": drawn.variance}
    found = forecast(problem, drawn.theta0, **settings, **asked)
    title = f"ridge, n = {problem.n:,}, m = {problem.m:,}, η = {arguments.lr:g}, λ = {arguments.weight_decay:g}"
    content = {"n": problem.n, "m": problem.m, **_content(found)}
    methods = {
        name: {**method, "steps": content["steps"], "resting": not method["unresolved"]}
        for name, method in content["methods"].items()
    }
    told.say(f"{title}; rank {problem.rank}, largest curvature {problem.sharpness:.4g}")
    tell_times(told, content["methods"], (f"train, {drawn.test}", "within tolerance", "for ever"), "momentum")
    _tell(found, drawn.test, told, _check(arguments, drawn.task, found))
    times = next(iter(found.methods.values())).times
    frame = descents(
        title,
        drawn.test,
        (times.train_tolerance, times.test_tolerance),
        {_named(name, method): method for name, method in methods.items()},
        words=("loss", "train loss", drawn.test),
        curves=("train_loss", "population_loss"),
    )
    file = f"ridge-{problem.n}-{problem.m}"
    return Prediction("ridge", settings, content, drawn.arrays, frame, file, asked)


def ridge_problem(arguments: argparse.Namespace) -> Drawn:
    """Draw the problem, or read it.

    Args:
        arguments: From the parser.

    Returns:
        The problem and its start.
    """
    _check_files(arguments)
    rng = np.random.default_rng(derive_seed(arguments.seed, "predict"))
    files = {name: _file(arguments, name) for name in ("features", "teacher", *_TEST, "covariance", "theta0")}
    features, teacher, theta = files["features"], files["teacher"], files["theta0"]
    task: Task | None = None
    covariance: Array | float | None = files["covariance"]
    if features is None:
        task = drawn_task(arguments, ("n", "m", "nu", "teacher_norm"))
        if isinstance(task, RidgeTask):
            _check_room(f"--n {task.n} --m {task.m}", task.n, task.m)
        if type(task) is not RidgeTask or task.batch_size is not None:
            return _own(arguments, task, theta)
        features, teacher, start = (part.numpy() for part in task.draw(arguments.seed))
        usual, nu = 1 / task.m, task.nu
    else:
        refuse_task(arguments, "--features")
        features = check_features(features)
        _check_room(f"--features {arguments.features}", *features.shape)
        usual = float(np.mean(np.square(features, dtype=np.float64)))
        nu = NU if arguments.nu is None else arguments.nu
        start = rng.normal(size=features.shape[1]) * nu
    variance = nu**2 if theta is None else None
    if theta is not None or files["covariance"] is not None or arguments.noise:
        task = None  # no run has this problem
    theta = start if theta is None else theta
    noise = rng.normal(size=len(features)) * arguments.noise if arguments.noise else None
    labels = tuple(files[name] for name in _TEST)
    if teacher is None:
        targets, points, answers = (np.asarray(part) for part in labels)  # all are there, see `_check_files`
        problem = Ridge.from_targets(features, targets, points, answers)
        return Drawn(problem, theta, (features, *labels, theta), "test loss", variance)
    covariance = usual if covariance is None else covariance
    arrays = (features, teacher, noise, np.asarray(covariance), theta)
    problem = Ridge(features, teacher, covariance=covariance, noise=noise)
    return Drawn(problem, theta, arrays, "population loss", variance, task)


def _file(arguments: argparse.Namespace, name: str) -> Array | None:
    path = getattr(arguments, name)
    return None if path is None else read_array(name.replace("_", "-"), path)


def _own(arguments: argparse.Namespace, task: Task, theta: Array | None) -> Drawn:
    """The problem of a task of the user's own."""
    given_too = [f"--{name}" for name in ("covariance", "noise") if getattr(arguments, name)]
    refuse(given_too, f"with --task {arguments.task}: its theory says what the labels and the population are")
    problem, start, _ = known(task, arguments.seed, Ridge)
    start = start.numpy() if theta is None else theta
    arrays = (problem.features, problem.teacher, problem.noise, start, *_population(problem))
    return Drawn(problem, start, arrays, "population loss", task=None if arguments.theta0 else task)


def _population(problem: Ridge) -> list[Array | None]:
    """All that its covariance, or its sample of the population, consists of."""
    parts = (getattr(problem.population, part.name) for part in fields(problem.population))
    return [None if part is None else np.asarray(part) for part in parts]


def _check_room(what: str, n: int, m: int) -> None:
    """Refuse features that leave no room for their factorisation: U, V' and the work of LAPACK, or a Gram matrix."""
    copies = 5 if n * m < SVD_ENTRIES else 3
    check_memory(what, copies * n * m + 3 * min(n, m) ** 2)


def _check_files(arguments: argparse.Namespace) -> None:
    """Refuse files and options that exclude each other or lack one another."""
    labels = given(arguments, ("teacher", *_TEST))
    if arguments.features is None:
        refuse(labels, "without --features: accepted are the files together or none")
        return
    refuse(given(arguments, _SIZES), "with --features: the files say how large the problem is")
    if arguments.nu is not None:
        not_negative(**{"--nu": arguments.nu})
    together = "--targets, --test-features and --test-targets"
    if not labels:
        refuse(["--features"], "without --teacher: accepted is a teacher, or --targets with a test set")
    if labels == ["--teacher"]:
        return
    if arguments.teacher is not None:
        refuse(labels[:1], f"with {labels[1]}: accepted is a teacher, or {together}")
    for name in _TEST:
        if getattr(arguments, name) is None:
            refuse(labels, f"without --{name.replace('_', '-')}: accepted are {together} together")
    given_too = [f"--{name}" for name in ("covariance", "noise") if getattr(arguments, name)]
    refuse(given_too, "with --targets: the files say what the labels and the population are")


def _named(name: str, method: Mapping[str, Any]) -> str:
    return f"{name} (μ = {method['momentum']:.4g})" if name == CRITICAL else name


def _check(arguments: argparse.Namespace, task: Task | None, found: Forecast) -> str | None:
    """The command that trains what is recommended; None where no run has this problem and these levels."""
    advice = found.recommendation
    if task is None or isinstance(advice, str) or advice.times.settled is None:
        return None
    levels = task.memorised.threshold, task.generalised.threshold
    if (advice.times.train_tolerance, advice.times.test_tolerance) != levels:
        return None
    usual = find_task(arguments.task).defaults()
    options = {key: value for key, value in task.options().items() if value != usual[key]}
    words = [f"{key}={value}" for key, value in options.items()]
    words += [f"lr={arguments.lr:.12g}", f"weight_decay={advice.weight_decay:.6g}"]
    seed = f" --seed {arguments.seed}" * bool(arguments.seed)
    steps = advice.times.settled + 2 * WINDOW_STEPS
    rest = f"--steps {steps} --precision fp64{seed}"
    return f"groktimizer run {arguments.task} --optimizer sgd --set {' '.join(words)} {rest}"


def _tell(found: Forecast, test: str, told: Told, check: str | None) -> None:
    if test == "test loss":
        told.say("test loss    the mean squared error on the test set; it is the population loss of what follows")
    _tell_zero(found, test, told)
    for text in found.advice:
        told.say(f"advice       {text}")
    told.say(f"recommended  {_recommended(found)}")
    if check is not None:
        told.say(f"check        {check}")
    known = "unknown, nothing to forget" if math.isnan(found.predicted) else f"about {step(found.predicted)}"
    told.say(f"predicted    t2 of gradient descent {known}, from ln((m-n) nu^2 s/c)/(2 lr wd)")
    told.say("bounds (gradient descent, arXiv 2601.19791, whose t1 is the last step with train loss beyond tolerance)")
    for theorem in found.bounds:
        told.say(f"  {bound(theorem)}")
    stop = found.stopping
    when = "in the limit" if stop.step is None else f"at step {stop.step:,}"
    told.say(
        f"stopping     without decay the {test} is least {when}: {stop.loss:.4g}; "
        f"the best ridge estimator (weight_decay {stop.weight_decay:.4g}) has {stop.decay_loss:.4g}"
    )


def _tell_zero(found: Forecast, test: str, told: Told) -> None:
    """Say it where a predictor that has learned nothing counts as generalising."""
    if not found.forgets:
        return
    train, population = found.zero
    end = next(iter(found.methods.values())).times.floors.population
    shows = f"learning shows at a --test-tolerance between {end:.4g}, where runs end, and {population:.4g}"
    if end >= population:
        shows = f"runs end at {end:.4g}, so no --test-tolerance shows learning here"
    told.say(
        f"zero         theta = 0, which has learned nothing, has train loss {train:.4g} and {test} {population:.4g}: "
        f"within the tolerance, so t2 is when the start is forgotten; {shows}"
    )


def _recommended(found: Forecast) -> str:
    advice = found.recommendation
    if isinstance(advice, str):
        return advice
    times = advice.times
    return (
        f"gradient descent with weight_decay {advice.weight_decay:.6g} ({advice.reason}): t1 {step(times.memorised)}, "
        f"settled {step(times.settled)}, bias {advice.bias:.3g}"
    )


def times_content(times: GrokkingTime) -> dict[str, Any]:
    """A method's times as plain values, without θ(0)."""
    kept = ("memorised", "memorised_settled", "generalised", "settled", "delay", "unresolved")
    verdict = None if times.unresolved else times.transition.verdict
    rest = {"verdict": verdict, "floors": asdict(times.floors), "advice": times.advice}
    return {name: getattr(times, name) for name in kept} | rest


def _content(found: Forecast) -> dict[str, Any]:
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
        "zero": {"train_loss": found.zero[0], "population_loss": found.zero[1], "within": found.forgets},
        "advice": found.advice,
        "recommendation": _advice_content(found.recommendation),
        "stopping": {key: getattr(found.stopping, key) for key in ("step", "loss", "weight_decay", "decay_loss")},
    }


def _advice_content(advice: DecayAdvice | str) -> Mapping[str, Any]:
    if isinstance(advice, str):
        return {"reason": advice}
    kept = {key: getattr(advice, key) for key in ("reason", "lr", "weight_decay", "bias")}
    return kept | {"times": times_content(advice.times)}
