"""``groktimizer predict low-rank``: the nuclear norm on the zero-loss manifold, drawn or from files."""

import argparse
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from groktimizer.cli.lines import Told, read_array, step
from groktimizer.cli.predict_convex import methods, step_size, tell_descents
from groktimizer.cli.predict_task import drawn_task, known, refuse_task, settle
from groktimizer.cli.prediction import Prediction, descents, given, refuse
from groktimizer.ground.errors import UserError
from groktimizer.ground.memory import check_memory
from groktimizer.tasks import MatrixTask
from groktimizer.theory.clock.checks import check_finite
from groktimizer.theory.low_rank import LowRank, simplest
from groktimizer.theory.low_rank import forecast as matrices
from groktimizer.theory.low_rank.measurements import Entries

_DRAWN = ("n1", "n2", "r", "N", "tau", "seen")
_FILES = ("matrix", "measurements", "targets", "truth")


@dataclass(frozen=True, eq=False)
class Drawn:
    """A problem that was drawn or read.

    Args:
        problem: It.
        start: A0, shape (n1, n2).
        seen: "completion" or "sensing".
        r: Rank of A*.
        tau: Of what was drawn; None for files.
        known: Whether A* was given.
    """

    problem: LowRank
    start: Tensor
    seen: str
    r: int
    tau: float | None
    known: bool = True

    @property
    def sizes(self) -> dict[str, Any]:
        """What was drawn or read, by option."""
        n1, n2 = self.problem.shape
        return {"n1": n1, "n2": n2, "r": self.r, "N": self.problem.measurements.count, "tau": self.tau}

    @property
    def arrays(self) -> list[np.ndarray]:
        """What its record is named after."""
        measured = self.problem.measurements
        what = measured.places if isinstance(measured, Entries) else measured.dense()
        return [part.numpy() for part in (what, self.problem.targets, self.problem.known_truth(), self.start)]


def low_rank(arguments: argparse.Namespace, told: Told) -> Prediction:
    """Do ``predict low-rank``: the verdict and the law first, then the steps.

    Args:
        arguments: From the parser.
        told: Takes the lines.

    Returns:
        The result.

    Raises:
        UserError: If what is seen is said twice, or the files do not fit.
    """
    if arguments.task is not None and arguments.seen is not None:
        raise UserError(f"--kind {arguments.seen}: {arguments.task} says what is seen; give one of them")
    settle(arguments, f"matrix-{arguments.seen or 'completion'}")
    drawn = low_rank_problem(arguments)
    problem, start = drawn.problem, drawn.start
    lr = step_size(arguments.lr, problem.sharpness)
    tolerances = (arguments.tolerance, arguments.test_tolerance)
    seen = matrices.outlook(problem, start, lr, arguments.weight, tolerances)
    title = _title(drawn, lr, arguments.weight)
    told.say(f"{title}; largest curvature {problem.sharpness:.4g}, beta_max {problem.weight_limit:.4g}")
    if not drawn.known:
        told.say(f"A*           not given: the fit of least nuclear norm takes its place, of rank {drawn.r}")
    told.say(f"verdict      {seen.told}")
    _tell_law(seen, told)
    found = matrices.forecast(problem, start, seen, iterate=arguments.iterate)
    runs = methods([run for run in (found.proximal, found.accelerated) if run is not None])
    _tell_steps(found, runs, tolerances, told)
    shown = found.proximal is None and seen.law is not None and not seen.hopeless
    band = (f"where {matrices.PROXIMAL} recovers", seen.law.earliest, seen.expected) if shown and seen.law else None
    frame = descents(title, f"{seen.verdict.outcome}; recovery error", tolerances, runs, band=band)
    law = {"lr": lr, "weight": arguments.weight, "verdict": asdict(seen.verdict), "law": _law_content(seen)}
    rest = {"methods": runs, "skipped": found.skipped, "transition": asdict(found.transition), "advice": found.advice}
    content = {"measurements": drawn.seen, **drawn.sizes, **law, **rest}
    settings = {"lr": lr, "weight": arguments.weight, "tolerances": tolerances, "iterate": arguments.iterate}
    sizes = (*problem.shape, drawn.r, problem.measurements.count)
    file = "-".join(["low-rank", drawn.seen, *map(str, sizes)])
    return Prediction("low-rank", settings, content, drawn.arrays, frame, file)


def low_rank_problem(arguments: argparse.Namespace) -> Drawn:
    """Draw the problem, or read it.

    Args:
        arguments: From the parser.

    Returns:
        The problem and its start.
    """
    _check_files(arguments)
    if arguments.matrix is None and arguments.measurements is None:
        return _draw(arguments)
    matrix, measured, targets, truth = (_file(arguments, name) for name in _FILES)
    if truth is not None:
        check_finite("truth", truth.numpy())
    if matrix is not None:
        problem = _completion(matrix, f"--matrix {arguments.matrix}")
    else:
        problem = _sensing(measured, targets, f"--measurements {arguments.measurements}")
    target = simplest(problem) if truth is None else truth
    problem = LowRank(problem.measurements, problem.targets, target)
    rank = int(torch.linalg.matrix_rank(problem.known_truth(), rtol=1e-9))
    seen = "completion" if matrix is not None else "sensing"
    return Drawn(problem, problem.begin(None), seen, rank, None, truth is not None)


def _draw(arguments: argparse.Namespace) -> Drawn:
    task = drawn_task(arguments, _DRAWN[:-1])
    if isinstance(task, MatrixTask):
        _check_room(f"--n1 {task.n1} --n2 {task.n2} --N {task.N}", task.n1 * task.n2, task.N)
    problem, start, truth = known(task, arguments.seed, LowRank)
    seen = "completion" if isinstance(problem.measurements, Entries) else "sensing"
    if isinstance(task, MatrixTask):
        return Drawn(problem, start, seen, task.r, task.tau)
    return Drawn(problem, start, seen, int(torch.linalg.matrix_rank(truth, rtol=1e-9)), None)


def _completion(matrix: Tensor, file: str) -> LowRank:
    """A problem from a matrix in which NaN stands for what is not seen."""
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise UserError(f"{file}: shape {tuple(matrix.shape)}, accepted is (n1, n2) with n1, n2 >= 1")
    seen = ~matrix.isnan()
    if not bool(seen.any()):
        raise UserError(f"{file}: holds NaN alone, accepted is at least one entry that is seen")
    check_finite("matrix", matrix[seen].numpy())
    _check_room(file, matrix.numel(), int(seen.sum()))
    rows, columns = matrix.shape
    return LowRank.completion(seen.nonzero(), matrix[seen], (rows, columns))


def _sensing(measured: Tensor | None, targets: Tensor | None, file: str) -> LowRank:
    """A problem from matrices and the inner products with them."""
    assert measured is not None and targets is not None  # see `_check_files`
    if measured.ndim != 3 or 0 in measured.shape:
        raise UserError(f"{file}: shape {tuple(measured.shape)}, accepted is (N, n1, n2), none of them 0")
    check_finite("measurements", measured.numpy())
    check_finite("targets", targets.numpy())
    _check_room(file, measured[0].numel(), len(measured))
    return LowRank.sensing(measured, targets)


def _check_room(what: str, entries: int, count: int) -> None:
    """Refuse matrices that leave no room for bases of all their entries and for the dense measurements."""
    check_memory(what, 3 * entries**2 + 4 * entries * count)


def _file(arguments: argparse.Namespace, name: str) -> Tensor | None:
    path = getattr(arguments, name)
    return None if path is None else torch.from_numpy(np.array(read_array(name, path), np.float64))


def _check_files(arguments: argparse.Namespace) -> None:
    """Refuse files and options that exclude each other or lack one another."""
    matrix, measured, targets, truth = (getattr(arguments, name) is not None for name in _FILES)
    if matrix and measured:
        raise UserError("--matrix with --measurements: accepted is one of them")
    if measured != targets:
        has, lacks = ("measurements", "targets") if measured else ("targets", "measurements")
        raise UserError(f"--{has} without --{lacks}: accepted are both files or neither")
    if truth and not (matrix or measured):
        raise UserError("--truth without --matrix or --measurements: accepted are the files together or none")
    if matrix or measured:
        own = [option.replace("--seen", "--kind") for option in given(arguments, _DRAWN)]
        file = f"--{'matrix' if matrix else 'measurements'}"
        refuse_task(arguments, file)
        refuse(own, f"with {file}: the file says what is seen")


def _title(drawn: Drawn, lr: float, weight: float) -> str:
    (n1, n2), count = drawn.problem.shape, drawn.problem.measurements.count
    return f"matrix {drawn.seen}, {n1} × {n2}, r = {drawn.r}, N = {count:,}, α = {lr:.4g}, β = {weight:g}"


def _tell_steps(
    found: matrices.LowRankForecast, runs: Mapping[str, Any], tolerances: tuple[float, float], told: Told
) -> None:
    tell_descents(told, runs, tolerances, "to the last step taken")
    if found.skipped:
        told.say(f"{matrices.PROXIMAL:<18}not iterated: {found.skipped}")
    for name, run in runs.items():
        ends = f"train error {run['train_error'][-1]:.3g}, recovery error {run['recovery_error'][-1]:.3g}"
        told.say(f"ends         {name} after {run['taken']:,} steps: {ends}")
    for text in found.advice:
        told.say(f"advice       {text}")


def _tell_law(seen: matrices.Outlook, told: Told) -> None:
    law = seen.law
    if law is None:
        told.say("law          none: there is nothing to wait for")
        return
    told.say(f"law          t1 ~ {step(law.memorised)} (predictor in the code of arXiv 2506.05718)")
    if seen.hopeless:
        told.say(f"{'':<13}t2: none to wait for, {matrices.BEYOND}")
        return
    told.say(
        f"{'':<13}t2 ~ {step(law.generalised)}, measured up to {matrices.SPREAD} times that (arXiv 2506.05718: "
        "||A^ - A*||_2->2 / (alpha beta), A^ the fit of t1)"
    )
    late = "no bound" if math.isinf(law.latest) else f"<= {step(law.latest, '<=')}"
    told.say(f"{'':<13}t2 >= {step(law.earliest, '>=')}, {late} (ours, of projected subgradients)")


def _law_content(seen: matrices.Outlook) -> Mapping[str, float] | None:
    if seen.law is None:
        return None
    kept = ("memorised", "generalised", "earliest", "latest", "distance", "ripple")
    return {name: getattr(seen.law, name) for name in kept} | {"expected": seen.expected}
