"""Tasks: data × model × loss, with the conditions of memorisation and generalisation, as immutable values.

Example:
    >>> make_task("modular-addition", {"p": "23", "train_fraction": 0.5}).options()["p"]
    23
"""

from groktimizer.ground.errors import UserError
from groktimizer.tasks.checker import check_columns, make_problem
from groktimizer.tasks.criterion import Criterion
from groktimizer.tasks.digits import DigitsTask
from groktimizer.tasks.finite import FiniteTask, PermutationTask
from groktimizer.tasks.matrix import MatrixTask
from groktimizer.tasks.mnist import MnistTask
from groktimizer.tasks.parity import ParityTask
from groktimizer.tasks.polynomial import PolynomialTask
from groktimizer.tasks.problem import LOSSES, Batch, Problem, classification, cross_entropy
from groktimizer.tasks.registry import TASKS, TaskType, find_task, make_task
from groktimizer.tasks.relu import ReluTask
from groktimizer.tasks.ridge import RidgeTask
from groktimizer.tasks.sparse import SparseTask
from groktimizer.tasks.streams import generator
from groktimizer.tasks.tabular import TabularTask
from groktimizer.tasks.task import Known, Limits, Precision, Task
from groktimizer.tasks.teacher import TeacherTask

__all__ = [
    "LOSSES",
    "TASKS",
    "Batch",
    "Criterion",
    "DigitsTask",
    "FiniteTask",
    "Known",
    "Limits",
    "MatrixTask",
    "MnistTask",
    "ParityTask",
    "PermutationTask",
    "PolynomialTask",
    "Precision",
    "Problem",
    "ReluTask",
    "RidgeTask",
    "SparseTask",
    "TabularTask",
    "Task",
    "TaskType",
    "TeacherTask",
    "UserError",
    "check_columns",
    "classification",
    "cross_entropy",
    "find_task",
    "generator",
    "make_problem",
    "make_task",
]
