"""The check that every task passes, ours and the user's: what it builds can be trained and measured."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from groktimizer.ground.checks import at_least_one
from groktimizer.ground.errors import UserError, place
from groktimizer.ground.own import FILES
from groktimizer.tasks.problem import Batch, Problem, evaluating, full
from groktimizer.tasks.task import Task

LOSS_COLUMNS = ("train_loss", "test_loss")


def make_problem(
    task: Task, seed: int, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
) -> Problem:
    """Build the problem of one seed and check it.

    Args:
        task: What to build.
        seed: As in `Task.build`.
        dtype: As in `Task.build`.
        device: As in `Task.build`.

    Returns:
        The problem.

    Raises:
        UserError: if a set has no samples, not as many targets as inputs, or numbers that are not finite; if a
            label is no class of the network's outputs; if it is no `Problem`. Of a task of the user's own, if network
            and loss do not fit its samples.
    """
    problem = task.build(seed, dtype=dtype, device=device)
    if not isinstance(problem, Problem):
        raise UserError(f"{task.name}: build gave a {type(problem).__name__}, expected a Problem")
    at_least_one(batch_size=problem.batch_size)
    for part, batch in (("train", problem.train), ("test", problem.test)):
        if batch is not None:
            _check_batch(f"{task.name}, {part}", batch)
            _check_labels(f"{task.name}, {part}", batch, problem.model)
    if not type(task).__module__.startswith("groktimizer."):
        _check_loss(f"{task.name}, train", problem)
    return problem


def check_columns(task: Task, metrics: Mapping[str, float]) -> None:
    """Check that the first evaluation has what the history and the task's conditions read.

    Args:
        task: What was built.
        metrics: What its problem's `measure` gave.

    Raises:
        UserError: If a column is missing.
    """
    conditions = [condition for condition in (task.memorised, task.generalised, task.secondary) if condition]
    wanted = dict.fromkeys([*LOSS_COLUMNS, *(condition.metric for condition in conditions)])
    if missing := [name for name in wanted if name not in metrics]:
        raise UserError(f"{task.name}: measure gives no {', '.join(missing)}, only {', '.join(metrics)}")


def _check_batch(where: str, batch: Batch) -> None:
    if not isinstance(batch, Batch):
        raise UserError(f"{where}: a {type(batch).__name__}, expected a Batch")
    for name, values in batch._asdict().items():
        if not isinstance(values, Tensor):
            raise UserError(f"{where}: {name} are a {type(values).__name__}, expected a torch.Tensor")
        if not values.ndim:
            raise UserError(f"{where}: {name} are one number of shape (), expected samples along the first axis")
    samples, targets = len(batch.inputs), len(batch.targets)
    if not samples:
        raise UserError(f"{where}: 0 samples, expected at least one")
    if samples != targets:
        raise UserError(f"{where}: {samples} inputs and {targets} targets, expected as many")
    for name, values in batch._asdict().items():
        if not bool(torch.isfinite(values).all()):
            raise UserError(f"{where}: {name} hold values that are not finite")


def _check_labels(where: str, batch: Batch, model: nn.Module) -> None:
    """Labels are classes of the network's outputs: whole numbers in one row, and as many outputs as classes."""
    if batch.targets.dtype != torch.int64 or batch.targets.ndim != 1:
        return
    outputs = _outputs(where, model, batch.inputs[:1])
    classes, least, most = outputs.shape[-1], int(batch.targets.min()), int(batch.targets.max())
    if outputs.ndim > 1 and classes > 1 and not 0 <= least <= most < classes:
        raise UserError(
            f"{where}: labels from {least} to {most}, the network has {classes} outputs: expected 0 … {classes - 1}"
        )


@torch.no_grad()
def _check_loss(where: str, problem: Problem) -> None:
    """The loss of one step's samples can be computed and is one number."""
    inputs, targets = (part[: problem.batch_size] for part in problem.train)
    outputs = _outputs(where, problem.model, inputs)
    with _told(f"{where}: the loss of outputs {_shape(outputs)} and targets {_shape(targets)}"):
        loss = problem.objective(full(outputs), targets)
    if not (isinstance(loss, Tensor) and loss.ndim == 0):
        raise UserError(f"{where}: the loss is {_shape(loss)}, expected a tensor of shape (): one number")


@torch.no_grad()
def _outputs(where: str, model: nn.Module, inputs: Tensor) -> Tensor:
    """What a network says of samples, without a trace in it or in the random state."""
    with evaluating(model), _told(f"{where}: the network, given inputs {_shape(inputs)}"):
        outputs = model(inputs)
    if not isinstance(outputs, Tensor):
        raise UserError(f"{where}: the network gives outputs {_shape(outputs)}, expected a torch.Tensor")
    return outputs


@contextmanager
def _told(what: str) -> Generator[None]:
    """Tell a misfit as a mistake of the user; what a file of theirs or a machine too small raises is told as that."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        if place(error, FILES) is not None:
            raise
        raise UserError(f"{what}: {' '.join(str(error).split())[:300]}") from error


def _shape(value: object) -> str:
    return (
        f"of shape {tuple(value.shape)} ({value.dtype})"
        if isinstance(value, Tensor)
        else f"of type {type(value).__name__}"
    )
