"""``groktimizer explore ridge``: modes of drawn problems of many sizes, or of a problem that was predicted."""

import argparse
import itertools
from typing import Any

import numpy as np

from groktimizer.cli.explored import Page, command
from groktimizer.cli.lines import check_sizes, check_steps
from groktimizer.cli.predict_ridge import NU, ridge_problem
from groktimizer.cli.predict_task import settle
from groktimizer.ground.checks import not_negative, positive
from groktimizer.ground.errors import UserError
from groktimizer.tasks import RidgeTask
from groktimizer.theory.clock.search import LATEST
from groktimizer.theory.ridge import Ridge
from groktimizer.theory.ridge.modes import modes_of

SAMPLES, FEATURES = (10, 20, 50, 100, 200), (20, 50, 100, 200, 500, 1000, 2000)
MOST_MODES, MOST_MIXED = 2000, 300  # modes of one problem; where the population mixes them, of a triangle of numbers
METHODS = ("sgd", "heavy ball", "groktimizer")
USUAL = {"nu": 1.0, "momentum": 0.9, "tolerance": 0.01}  # what `predict ridge` takes where nothing is said
_START = {"lr": 1.0, "decay": 1e-4, "n": 100, "m": 1000, "nu": 1.0, "momentum": 0.9, "change": 0, "epsilon": 0.01}
_SAID = ("lr", "weight-decay", "momentum", "switch", "tolerance", "test-tolerance", "max-delay")


def ridge(arguments: argparse.Namespace, given: argparse.Namespace | None) -> Page:
    """What the page of ridge regression is made of.

    Args:
        arguments: Of ``explore``.
        given: Of ``predict ridge``, whose problem is taken; None draws problems.

    Returns:
        Words, content and methods.
    """
    return _drawn(arguments.seed) if given is None else _own(given)


def _drawn(seed: int) -> Page:
    sizes = [_size(n, m, seed) for n, m in itertools.product(SAMPLES, FEATURES)]
    content = {
        "sizes": sizes,
        "start": {**_START, "c": _START["epsilon"]},
        "ranges": {"lr": (1e-2, 1e2), "decay": (1e-7, 1e-1)},
        "usual": USUAL,
        "test": "Population",
        "command": "groktimizer predict ridge" + (f" --seed {seed}" if seed else ""),
    }
    problem = "φ ~ N(0, I/m), a teacher of norm 1 and a Gaussian start of scale ν"
    words = {"title": "Grokking in ridge regression", "test": "Population loss", "problem": problem}
    return words, content, METHODS


def _size(n: int, m: int, seed: int) -> dict[str, Any]:
    features, teacher, theta = (part.numpy() for part in RidgeTask(n=n, m=m).draw(seed))
    return _for_page(modes_of(Ridge(features, teacher, covariance=1 / m), theta), 1.0)


def _for_page(modes: dict[str, Any], unit: float | None) -> dict[str, Any]:
    """Without what the page computes itself; `unit` is the nu of the start, None for one that was given."""
    return {**{name: value for name, value in modes.items() if name != "curvature"}, "unit": unit}


def _own(given: argparse.Namespace) -> Page:
    names = ("nu", "teacher_norm", "noise", "lr", "weight_decay", "tolerance", "test_tolerance")
    check_sizes(**{name: getattr(given, name) for name in names})
    check_steps(switch=given.switch)
    not_negative(**{"--noise": given.noise})
    settle(given, "ridge")
    drawn = ridge_problem(given)
    problem, variance = drawn.problem, drawn.variance
    test_tolerance = given.tolerance if given.test_tolerance is None else given.test_tolerance
    positive(lr=given.lr, weight_decay=given.weight_decay, tolerance=given.tolerance, test_tolerance=test_tolerance)
    if not 0 <= given.momentum < 1:
        raise UserError(f"momentum={given.momentum!r}: expected a number in [0, 1)")
    most = MOST_MODES if problem.population.scale is not None else MOST_MIXED
    if problem.rank > most:
        raise UserError(f"features: rank {problem.rank:,}, accepted of a page with this population are up to {most:,}")
    unit = None if variance is None else float(np.sqrt(variance))
    start = {
        **{"n": problem.n, "m": problem.m, "nu": NU if unit is None else unit},
        **{"lr": given.lr, "decay": given.weight_decay, "momentum": given.momentum, "change": given.switch or 0},
        **{"epsilon": given.tolerance, "c": test_tolerance},
    }
    if start["change"] == LATEST:
        raise UserError(f"switch={given.switch}: accepted of a page are steps below {LATEST:,}")
    content = {
        "sizes": [_for_page(modes_of(problem, drawn.theta0), unit)],
        "start": start,
        "ranges": {
            "lr": _around(given.lr, 2 / problem.sharpness),
            "decay": _around(given.weight_decay, problem.sharpness),
        },
        "usual": USUAL,
        "test": "Test" if drawn.test == "test loss" else "Population",
        "command": command(given.words, [*_SAID, *([] if unit is None else ["nu"])]),
    }
    told = f"the features of the command below, n = {problem.n:,}, m = {problem.m:,}, rank {problem.rank:,}"
    title = f"Grokking in your ridge problem, n = {problem.n:,}, m = {problem.m:,}"
    return {"title": title, "test": drawn.test.capitalize(), "problem": told}, content, METHODS


def _around(value: float, top: float) -> tuple[float, float]:
    """Ends of a slider that goes up to a limit and holds a value."""
    return min(1e-6 * top, value / 10), max(top, 2 * value)
