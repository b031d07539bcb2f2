"""Tasks: data × model × loss, with the conditions of memorisation and generalisation, as immutable values.

Example:
    >>> make_task("modular-addition", {"p": "23", "train_fraction": 0.5}).options()["p"]
    23
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import get_type_hints

from groktimizer.ground.errors import UserError
from groktimizer.ground.names import convert_all, kinds_of, lookup
from groktimizer.tasks.criterion import Criterion
from groktimizer.tasks.digits import DigitsTask
from groktimizer.tasks.matrix import MatrixTask
from groktimizer.tasks.mnist import MnistTask
from groktimizer.tasks.modular import ModularTask
from groktimizer.tasks.problem import Batch, Problem, Task
from groktimizer.tasks.relu import ReluTask
from groktimizer.tasks.ridge import RidgeTask
from groktimizer.tasks.sparse import SparseTask
from groktimizer.tasks.teacher import TeacherTask

__all__ = [
    "TASKS",
    "Batch",
    "Criterion",
    "DigitsTask",
    "MatrixTask",
    "MnistTask",
    "ModularTask",
    "Problem",
    "ReluTask",
    "RidgeTask",
    "SparseTask",
    "Task",
    "TaskType",
    "TeacherTask",
    "UserError",
    "make_task",
]


@dataclass(frozen=True)
class TaskType:
    """An entry of the registry.

    Attributes:
        name: Name of the task.
        summary: What it is, in one line.
        factory: The class; its fields but the name are the options.
    """

    name: str
    summary: str
    factory: type[ModularTask | RidgeTask | ReluTask | TeacherTask | DigitsTask | MnistTask | SparseTask | MatrixTask]

    def defaults(self) -> dict[str, object]:
        """List the options with their default values.

        Returns:
            Values by name.
        """
        return {f.name: f.default for f in fields(self.factory) if f.name not in self.factory.fixed}

    def kinds(self) -> dict[str, tuple[type, ...]]:
        """List the options with the types they admit.

        Returns:
            Types by name.
        """
        hints = get_type_hints(self.factory)
        return {name: kinds_of(hints[name]) for name in self.defaults()}


TASKS: Mapping[str, TaskType] = {
    entry.name: entry
    for entry in (
        TaskType("modular-addition", "(a + b) mod p from a part of all pairs", ModularTask),
        TaskType("modular-subtraction", "(a - b) mod p from a part of all pairs", ModularTask),
        TaskType("modular-multiplication", "(a * b) mod p from a part of all pairs", ModularTask),
        TaskType("modular-division", "(a / b) mod p, p prime, from a part of all pairs", ModularTask),
        TaskType("ridge", "linear regression with more features than samples (arXiv 2601.19791, Figure 2)", RidgeTask),
        TaskType("relu-regression", "a two-layer ReLU network that has to output 0 (same paper, Figure 4)", ReluTask),
        TaskType("relu-teacher", "a two-layer ReLU network learns another (arXiv 2506.05718, Figure 10)", TeacherTask),
        TaskType("digits", "scikit-learn's digits, few samples, large initialisation, two-layer network", DigitsTask),
        TaskType("mnist", "a thousand images of MNIST, large initialisation, two-layer network", MnistTask),
        TaskType("sparse-recovery", "a sparse vector from few linear samples (arXiv 2506.05718, Figure 3)", SparseTask),
        TaskType("matrix-completion", "a low-rank matrix from some entries (same paper, Figure 5)", MatrixTask),
        TaskType("matrix-sensing", "a low-rank matrix from inner products (same paper, appendix D)", MatrixTask),
    )
}


def make_task(name: str, options: Mapping[str, object] | None = None) -> Task:
    """Make a task from its name and options; texts are read as the types of the options.

    Args:
        name: One of `TASKS`.
        options: Values by name; what is not given is default.

    Returns:
        The task.

    Raises:
        UnknownName: If there is no such task or option.
        UserError: If a value is of the wrong type or out of its range.

    Example:
        >>> make_task("ridge", {"n": "50"}).options()["n"]
        50
    """
    entry = lookup("task", name, TASKS)
    values = convert_all(f"task {name}", options or {}, entry.kinds())
    return entry.factory(**values, name=name)  # pyright: ignore[reportArgumentType]
