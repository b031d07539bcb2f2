"""The table of tasks, and the way from a name and options to a task; names of the user's own included."""

import inspect
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, get_type_hints

from groktimizer.ground.errors import UserError
from groktimizer.ground.names import PLAIN, convert_all, kinds_of
from groktimizer.ground.own import Own, find_own
from groktimizer.tasks.digits import DigitsTask
from groktimizer.tasks.finite import FiniteTask, PermutationTask
from groktimizer.tasks.matrix import MatrixTask
from groktimizer.tasks.mnist import MnistTask
from groktimizer.tasks.mnist_1d import Mnist1dTask
from groktimizer.tasks.operations import OPERATIONS
from groktimizer.tasks.parity import ParityTask
from groktimizer.tasks.polynomial import PolynomialTask
from groktimizer.tasks.relu import ReluTask
from groktimizer.tasks.ridge import RidgeTask
from groktimizer.tasks.sparse import SparseTask
from groktimizer.tasks.tables import TableTask
from groktimizer.tasks.task import Task
from groktimizer.tasks.teacher import TeacherTask

GROUP = "groktimizer.tasks"


@dataclass(frozen=True)
class TaskType:
    """An entry of the registry.

    Attributes:
        name: Name of the task.
        summary: What it is, in one line.
        factory: The class; its fields but the name are the options.
        digest: Of the file that defines a task of the user's own; empty for ours.
    """

    name: str
    summary: str
    factory: type[Task]
    digest: str = ""

    def defaults(self) -> dict[str, Any]:
        """List the options with their default values.

        Returns:
            Values by name.
        """
        return {field.name: field.default for field in self._fields() if field.name not in self.factory.fixed}

    def kinds(self) -> dict[str, tuple[type, ...]]:
        """List the options with the types they admit.

        Returns:
            Types by name.
        """
        hints = get_type_hints(self.factory)
        return {name: kinds_of(hints[name]) for name in self.defaults()}

    def make(self, options: Mapping[str, object]) -> Task:
        """Make the task.

        Args:
            options: Values by name; what is not given is default.

        Returns:
            The task, under its name here.
        """
        values = convert_all(f"task {self.name}", options, self.kinds())
        named = {"name": self.name} if any(field.name == "name" for field in self._fields()) else {}
        return self.factory(**values, **named)

    def _fields(self) -> tuple[Any, ...]:
        return fields(self.factory)  # pyright: ignore[reportArgumentType] (tasks are dataclasses)


TASKS: Mapping[str, TaskType] = {
    entry.name: entry
    for entry in (
        *(
            TaskType(name, operation.summary, PermutationTask if operation.order else FiniteTask)
            for name, operation in OPERATIONS.items()
        ),
        TaskType("ridge", "linear regression with more features than samples (arXiv 2601.19791, Figure 2)", RidgeTask),
        TaskType("relu-regression", "a two-layer ReLU network that has to output 0 (same paper, Figure 4)", ReluTask),
        TaskType("relu-teacher", "a two-layer ReLU network learns another (arXiv 2506.05718, Figure 10)", TeacherTask),
        TaskType("digits", "scikit-learn's digits, few samples, large initialisation, two-layer network", DigitsTask),
        TaskType("mnist", "a thousand images of MNIST, large initialisation, two-layer network", MnistTask),
        TaskType("mnist-1d", "a thousand signals of MNIST-1D, large initialisation, two-layer network", Mnist1dTask),
        TaskType("table", "a few samples of a small real table, two-layer network", TableTask),
        TaskType("bit-parity", "the parity of a few of many bits, or of all for a recurrent network", ParityTask),
        TaskType("polynomial-regression", "(w x)^2 from a lazy start (arXiv 2310.06110)", PolynomialTask),
        TaskType("sparse-recovery", "a sparse vector from few linear samples (arXiv 2506.05718, Figure 3)", SparseTask),
        TaskType("matrix-completion", "a low-rank matrix from some entries (same paper, Figure 5)", MatrixTask),
        TaskType("matrix-sensing", "a low-rank matrix from inner products (same paper, appendix D)", MatrixTask),
    )
}


def find_task(name: str) -> TaskType:
    """Find a task by its name.

    Args:
        name: One of `TASKS`, ``module:Name``, or the name of an entry point of the group ``groktimizer.tasks``.

    Returns:
        Its entry.

    Raises:
        UnknownName: If there is no such task.
        UserError: If a task of the user's own is not there or is none.
    """
    return TASKS[name] if name in TASKS else _own_task(find_own("task", name, GROUP, TASKS))


def make_task(name: str, options: Mapping[str, object] | None = None) -> Task:
    """Make a task from its name and options; texts are read as the types of the options.

    Args:
        name: As `find_task` takes it.
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
    return find_task(name).make(options or {})


def _own_task(own: Own) -> TaskType:
    """Check that what a name of the user's stands for is a task whose options can be given as texts."""
    kind = own.value
    if not (isinstance(kind, type) and issubclass(kind, Task) and is_dataclass(kind)):
        raise UserError(f"task {own.name!r}: expected a frozen dataclass derived from groktimizer.tasks.Task")
    if inspect.isabstract(kind):
        missing = ", ".join(sorted(kind.__abstractmethods__))
        raise UserError(f"task {own.name!r}: {kind.__name__} does not say {missing}")
    summary = (inspect.getdoc(kind) or kind.__name__).partition("\n")[0]
    entry = TaskType(own.name, summary, kind, own.digest)
    for name, default in entry.defaults().items():
        if default is MISSING:
            raise UserError(f"task {own.name!r}: option {name} has no default, expected one for each")
    try:
        admitted = entry.kinds()
    except (NameError, TypeError) as error:
        raise UserError(f"task {own.name!r}: the types of its options cannot be read ({error})") from error
    for name, kinds in admitted.items():
        if not PLAIN.issuperset(kinds):
            raise UserError(
                f"task {own.name!r}: option {name} is a {kinds[0].__name__}, expected bool, int, float or str"
            )
    return entry
