"""What cannot end well on a convex problem, known before the first step: steps that diverge, weights that leave 0."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from groktimizer.ground.errors import UserError
from groktimizer.sweeps import RunSpec
from groktimizer.tasks import MatrixTask, RidgeTask, SparseTask, make_task
from groktimizer.theory.lasso import Lasso
from groktimizer.training import check_machine

PLAIN = ("subgradient", "proximal")


def check_limits(spec: RunSpec) -> None:
    """Refuse what this machine cannot hold; and, where the task tells, steps that diverge and weights that leave 0.

    Ridge, sparse recovery and matrices of one factor; full batches; descent by gradients, subgradients and proximal
    steps. Whether an adaptive step size diverges is not known beforehand.

    Args:
        spec: One run.

    Raises:
        UserError: If lr or the weight is out of its range, with the limit of this problem; if the device is not there,
            or the memory does not suffice.
    """
    check_machine(make_task(spec.task, spec.task_options), spec.steps, spec.every, spec.device)
    known = _limits(spec)
    if known is None:
        return
    sharpness, weights = known
    options, name = spec.optimizer_options, spec.optimizer
    most = _steepest(name, options)
    lr = options["lr"]
    if most is not None and lr is not None and lr * sharpness >= most * (1 + 1e-12 if most == 1 else 1):
        reach = "up to" if most == 1 else "below"
        kind = "accelerated proximal steps diverge" if most == 1 else "descent diverges"
        raise UserError(f"lr={lr:g}: {kind} on this problem, accepted are values {reach} {most / sharpness:.6g}")
    penalty, weight = options.get("penalty"), options.get("weight_decay")
    limit = weights.get(penalty, np.inf)
    solves = name != "groktimizer" or penalty == "l1" or options["metric"] == "euclidean"
    if weight is not None and solves and weight >= limit:
        raise UserError(f"weight={weight:g}: 0 is the answer, accepted on this problem are weights below {limit:.6g}")


def _limits(spec: RunSpec) -> tuple[float, dict[str | None, float]] | None:
    """Largest curvature of the training loss, and by penalty the weight from which on 0 is the answer."""
    task = make_task(spec.task, spec.task_options)
    if isinstance(task, SparseTask) and task.depth == 1:
        data = task.draw(spec.seed)
        problem = Lasso(data.features.numpy(), data.targets.numpy())
        return problem.sharpness, {"l1": problem.max_weight}
    if isinstance(task, MatrixTask) and task.depth == 1:
        matrix = task.draw(spec.seed).problem()
        return matrix.sharpness, {"nuclear": matrix.weight_limit}
    if isinstance(task, RidgeTask) and task.batch_size is None:
        features = task.draw(spec.seed)[0].numpy()
        return float(np.linalg.norm(features, 2)) ** 2 / len(features), {}
    return None


def _steepest(name: str, options: Mapping[str, Any]) -> float | None:
    """Largest lr times curvature, None where it is not known; 1 is allowed itself."""
    if name in PLAIN:
        return 2.0
    if name == "sgd" and not options["nesterov"]:
        return 2.0 * (1.0 + options["momentum"])
    proximal = name == "groktimizer" and options["metric"] == "euclidean" and options["penalty"] != "l2"
    return 1.0 if proximal else None
