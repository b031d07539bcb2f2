"""The exact clocks of a task's problem, without training it. Imports the theory, so nothing imports it before."""

from functools import lru_cache
from typing import Literal

from groktimizer.ground.errors import UserError
from groktimizer.measures import Clocks
from groktimizer.tasks.task import Known, Task
from groktimizer.theory.lasso import Lasso
from groktimizer.theory.ridge import Ridge

KEPT = 4  # problems in memory, so that cells of one seed factorise theirs once


@lru_cache(KEPT)
def _known(task: Task, seed: int) -> Known | None:
    return task.theory(seed)


def exact_clocks(
    task: Task,
    seed: int,
    lr: float,
    weight_decay: float,
    momentum: float | Literal["critical"] = 0.0,
    switch: int | None = None,
) -> Clocks:
    """Exact first and settled times of the problem of a seed, at the task's own levels.

    Ridge: gradient descent, heavy ball or critical damping (`theory.ridge.Ridge.grokking_time`). Sparse recovery:
    proximal gradient descent (`theory.lasso.Lasso.grokking_time`).

    Args:
        task: One whose theory has closed forms.
        seed: Of its draw.
        lr: eta.
        weight_decay: lambda; of sparse recovery beta.
        momentum: mu, or "critical"; of ridge alone.
        switch: Step from which decay and momentum act, None for the first; of ridge alone.

    Returns:
        The clocks, with what they know beside.

    Raises:
        UserError: If the theory has no closed form for it, or a setting is not accepted.
    """
    found = _known(task, seed)
    levels = (task.memorised.threshold, task.generalised.threshold)
    if found is not None and isinstance(found.problem, Ridge):
        return found.problem.grokking_time(found.start.numpy(), lr, weight_decay, *levels, momentum, switch)
    if found is not None and isinstance(found.problem, Lasso):
        if momentum or switch is not None:
            raise UserError(
                f"momentum={momentum!r}, switch={switch!r}: {task.name} takes proximal steps, without either"
            )
        return found.problem.grokking_time(found.start.numpy(), lr, weight_decay, *levels, found.truth.numpy())
    told = " ".join(f"{key}={value}" for key, value in task.options().items())
    raise UserError(
        f"{task.name} with {told}: its clocks have no closed form; expected ridge or sparse-recovery, or a run"
    )
