"""A ridge problem as the plain numbers from which its runs, times and bounds follow in closed form.

What a page without this package needs: the modes of the data, the null space as one more mode, and a few sizes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from groktimizer.theory.ridge.modal import Start
from groktimizer.theory.ridge.problem import Ridge


def modes_of(ridge: Ridge, theta0: npt.ArrayLike | Start) -> dict[str, Any]:
    """Take a problem apart.

    >>> found = modes_of(Ridge([[1.0, 0.0, 0.0]], [1.0, 0.0, 2.0], covariance=1 / 3), [3.0, 4.0, 0.0])
    >>> abs(found["start"][0]), found["size"], found["cross"]  # along the data, and outside of them
    (np.float64(3.0), 4.0, 0.0)

    Args:
        ridge: The problem.
        theta0: Initial parameters, shape (m,).

    Returns:
        By name: "n", "m"; of each mode, shape (rank,), the singular value "values", "curvature", the coordinates
        "start" and "teacher", and "noise", the label noise along the left singular vector; "unreachable", the train
        loss of what no parameters fit; "size", the norm of the start's part outside the data; "facts", what the bounds
        ask for beside the settings; "zero", both losses of theta = 0. Of the population, if its covariance is `scale`
        times the identity, "scale", "cross" (the teacher's part outside the data along the start's), "rest" (the loss
        of what it has beside that) and "hidden" (of all of it); otherwise "upper", the rows of a triangular factor from
        the diagonal on, whose columns are the modes, the start's part outside the data and what is wanted of it.
    """
    start, modal = ridge.start(theta0), ridge.modal
    facts = ridge.facts(start, 1.0, 1.0, 1.0, 1.0)
    kept = (
        "initial_square",
        "teacher_norm",
        "least_covariance",
        "feature_bound",
        "misfit",
        "mean_square",
        "least_gram",
    )
    zero = ridge.trajectory(modal.zero, 1 / ridge.sharpness, 0.0).train_loss(0), ridge.population.loss(-ridge.teacher)
    found: dict[str, Any] = {
        "n": ridge.n,
        "m": ridge.m,
        "values": modal.system.values,
        "curvature": modal.curvature,
        "start": start.coordinates,
        "teacher": modal.teacher.coordinates,
        "noise": modal.noise,
        "unreachable": modal.unreachable,
        "size": float(np.linalg.norm(start.flat)),
        "facts": {name: getattr(facts, name) for name in kept},
        "zero": [float(loss) for loss in zero],
    }
    scale = ridge.population.scale
    if scale is None:
        factor = modal.upper(start)
        return found | {"upper": factor[np.triu_indices(len(factor))]}
    outside = modal.teacher.flat
    cross = float(start.flat @ outside) / found["size"] if found["size"] > 0 else 0.0
    left = outside - cross * start.flat / found["size"] if found["size"] > 0 else outside
    parts = {"rest": scale * float(left @ left), "hidden": scale * float(outside @ outside)}
    return found | {"scale": scale, "cross": cross, **parts}
