"""``groktimizer explore sparse``: drawn problems of many sizes, or a problem that was predicted."""

import argparse
import itertools
from typing import Any

import numpy as np

from groktimizer.cli.explored import Page, command
from groktimizer.cli.predict_convex import sparse_problem, step_size
from groktimizer.cli.predict_task import settle
from groktimizer.ground.checks import positive
from groktimizer.ground.errors import UserError
from groktimizer.tasks import SparseTask
from groktimizer.theory.lasso import Lasso
from groktimizer.theory.lasso.forecast import teacher_of
from groktimizer.theory.lasso.recovery import Recovery

UNKNOWNS, SAMPLES, NONZEROS = (50, 100), (10, 20, 30, 40), (1, 2, 3, 4, 5, 6, 8)
MOST_NUMBERS = 40_000  # of the features of one problem: a step of the page is two products with them
CAP = 500_000  # steps that the page takes
METHODS = ("proximal", "groktimizer")
_USUAL = {"epsilon": 1e-3, "c": 1e-2, "scale": 1e-6}  # what `predict sparse` takes where nothing is said
_START = {"lr": 0.1, "weight": 1e-4, "n": 100, "N": 40, "s": 5, **_USUAL}
_SAID = ("lr", "weight", "weight-decay", "tolerance", "train-tolerance", "test-tolerance")
Array = np.ndarray


def sparse(arguments: argparse.Namespace, given: argparse.Namespace | None) -> Page:
    """What the page of sparse recovery is made of.

    Args:
        arguments: Of ``explore``.
        given: Of ``predict sparse``, whose problem is taken; None draws problems.

    Returns:
        Words, content and methods.
    """
    return _drawn(arguments.seed) if given is None else _own(given)


def _page(title: str, problem: str, content: dict[str, Any]) -> Page:
    words = {"title": title, "problem": problem, "cap": f"{CAP:,}"}
    return words, {**content, "usual": _USUAL, "cap": CAP}, METHODS


def _drawn(seed: int) -> Page:
    content = {
        "sizes": [_size(n, samples, seed) for n, samples in itertools.product(UNKNOWNS, SAMPLES)],
        "start": _START,
        "ranges": {"lr": (1e-3, 1.0), "weight": (1e-5, 1.0)},
        "scaled": True,
        "command": "groktimizer predict sparse" + (f" --seed {seed}" if seed else ""),
    }
    told = "Features are N(0, 1/N), the start is Gaussian of scale ζ/√n."
    return _page("Grokking in sparse recovery", told, content)


def _size(n: int, samples: int, seed: int) -> dict[str, Any]:
    """One matrix of features with every teacher that is chosen from; the start for scale 1."""
    found: dict[str, Any] = {"n": n, "N": samples, "cases": []}
    for nonzeros in NONZEROS:
        data = SparseTask(n=n, s=nonzeros, N=samples, init_scale=1.0).draw(seed)
        problem, teacher = data.problem(), data.teacher.numpy()
        found["cases"].append(_case(teacher, problem.recovery(teacher)))
        found |= {"features": problem.features, "sharpness": problem.sharpness, "start": data.factors[0].numpy()}
    return found


def _case(teacher: Array, found: Recovery, targets: Array | None = None) -> dict[str, Any]:
    support = np.flatnonzero(teacher)
    kept = {"s": int(support.size), "support": support.tolist(), "values": teacher[support], "targets": targets}
    return {**kept, "kappa": min(found.null_space, 1e300), "verdict": _verdict(found)}


def _verdict(found: Recovery) -> str:
    if found.recovers:
        return (
            f"These samples allow it: a* is the only fit of least ℓ1 norm (null-space constant {found.null_space:.3g} "
            "< 1), so a small enough β finds it."
        )
    if found.tied:
        return "These samples do not allow it for sure: a* is one of several fits of least ℓ1 norm."
    return (
        f"These samples do not allow it: the fit of least ℓ1 norm lies at relative distance {found.error:.3g} from a*; "
        "more samples or fewer non-zero entries do."
    )


def _own(given: argparse.Namespace) -> Page:
    settle(given, "sparse-recovery")
    problem, start, teacher = sparse_problem(given)
    if problem.features.size > MOST_NUMBERS:
        raise UserError(
            f"features: {problem.n_samples:,} × {problem.n:,} numbers, accepted of a page are up to {MOST_NUMBERS:,}"
        )
    lr = step_size(given.lr, problem.sharpness)
    positive(lr=lr, weight=given.weight, tolerance=given.tolerance, test_tolerance=given.test_tolerance)
    target = teacher_of(problem, teacher)
    case = _case(target, problem.recovery(target), problem.targets)
    one = {
        **{"n": problem.n, "N": problem.n_samples, "features": problem.features, "sharpness": problem.sharpness},
        **{"start": start, "cases": [case]},
    }
    content = {
        "sizes": [one],
        "start": {
            **{"lr": lr, "weight": given.weight, "n": problem.n, "N": problem.n_samples, "s": case["s"]},
            **{"epsilon": given.tolerance, "c": given.test_tolerance, "scale": 1.0},
        },
        "ranges": {"lr": _around(lr, 1 / problem.sharpness), "weight": _around(given.weight, problem.max_weight)},
        "scaled": False,
        "command": command(given.words, _SAID),
    }
    told = "Features, targets and start are those of the command above." + _instead(problem, teacher)
    return _page(f"Grokking in your sparse problem, N = {problem.n_samples:,}, n = {problem.n:,}", told, content)


def _instead(problem: Lasso, teacher: Array | None) -> str:
    return " No a* was given: the fit of least ℓ1 norm takes its place." if teacher is None else ""


def _around(value: float, top: float) -> tuple[float, float]:
    """Ends of a slider that goes up to a limit and holds a value."""
    return min(1e-5 * top, value / 10), max(top, 2 * value)
