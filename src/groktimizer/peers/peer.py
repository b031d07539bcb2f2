"""What an optimizer is here: a name, defaults, a tuning grid, and what it suits."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, ClassVar, Protocol

from torch import nn
from torch.optim import Optimizer

from groktimizer.ground.checks import fraction, not_negative, positive
from groktimizer.ground.errors import UserError
from groktimizer.ground.names import convert_all
from groktimizer.peers import build

SCALES = ("lr", "vector_lr", "weight_decay", "lamb", "damping", "rho", "radius", "norm")
Cell = Mapping[str, Any]


class Excluding(Protocol):
    """A task, as far as an optimizer asks it."""

    excludes: ClassVar[Mapping[str, str]]  # why a penalty cannot be laid on it, by the penalty's name
    convex: ClassVar[bool]  # whether it is a linear problem and no network

    def options(self) -> Mapping[str, object]:
        """All its options."""
        ...


class Curved(Protocol):
    """What cannot end well on a problem."""

    @property
    def sharpness(self) -> float:
        """Largest curvature of the training loss."""
        ...

    @property
    def weights(self) -> Mapping[str, float]:
        """By the name of a penalty, the weight from which on 0 is the answer."""
        ...


@dataclass(frozen=True)
class Peer:
    """An optimizer that can be run and compared.

    Attributes:
        name: Name in the table.
        summary: What it is, in one line.
        defaults: All its options with the values its package gives them.
        grid: Cells of the tuning grid, at least 8; each is a set of overrides of the defaults.
        build: Makes the optimizer from a network and all options.
        tuned: Reference cell, overrides of the defaults; None if none was measured.
        tuned_source: Where the reference cell was measured.
        kinds: Types of options of which the default does not tell.
        penalised_grid: The grid under a penalty other than the default one, where weights mean something else; empty if
            the grid serves both.
        steepest: The lr times curvature from which on it diverges, from its options; None where that is not known.
        solves: Whether it goes to the minimum of loss + weight * penalty, from its options: then a weight from which
            on 0 is the answer is refused.
        misfit: Why it cannot run on a task, from the task; None if it can.
        digest: Of the file that defines an optimizer of the user's own; empty for ours.
    """

    name: str
    summary: str
    defaults: Cell
    grid: tuple[Cell, ...]
    build: Callable[[nn.Module, Cell], Optimizer]
    tuned: Cell | None = None
    tuned_source: str = ""
    kinds: Mapping[str, tuple[type, ...]] = field(default_factory=dict)
    penalised_grid: tuple[Cell, ...] = ()
    steepest: Callable[[Cell], float | None] = lambda _: None
    solves: Callable[[Cell], bool] = lambda _: True
    misfit: Callable[[Excluding], str | None] = lambda _: None
    digest: str = ""

    def holding(self, held: Mapping[str, object]) -> "Peer":
        """The same optimizer with a grid in which some options are held fixed.

        Args:
            held: Overrides that every cell gets, such as the penalty.

        Returns:
            A peer; cells that no longer differ are one.
        """
        other = held.get("penalty", self.defaults.get("penalty")) != self.defaults.get("penalty")
        grid = self.penalised_grid if other and self.penalised_grid else self.grid
        cells = [{**cell, **held} for cell in grid]
        return replace(self, grid=tuple(cell for k, cell in enumerate(cells) if cell not in cells[:k]))

    def options(self, overrides: Mapping[str, object]) -> dict[str, Any]:
        """Complete overrides to all options.

        Args:
            overrides: Values by name; texts are read as the types of the options.

        Returns:
            Every option with its value.

        Raises:
            UnknownName: If there is no such option.
            UserError: If a value is of the wrong type or out of range.
        """
        kinds = {key: self.kinds.get(key, (type(value),)) for key, value in self.defaults.items()}
        given = convert_all(f"optimizer {self.name}", overrides, kinds)
        check_ranges({key: value for key, value in given.items() if value is not None})
        return {**self.defaults, **given}

    def suits(self, task: Excluding, options: Cell, limits: Curved | None = None) -> str | None:
        """Say why it does not suit a task.

        Args:
            task: The task.
            options: All options.
            limits: What the task knows of the draw of a seed; None for what holds of every draw.

        Returns:
            The reason in one line, with what is accepted; None if there is none.
        """
        penalty, weight, lr = str(options.get("penalty")), options.get("weight_decay"), options.get("lr")
        if penalty in task.excludes:
            return f"penalty={penalty}: {task.excludes[penalty]}"
        if (reason := self.misfit(task)) is not None:
            return reason
        if limits is None:
            return None
        most = self.steepest(options)
        # Accelerated proximal steps may be as long as 1/curvature, plain ones not as long as 2/curvature.
        if most is not None and lr is not None and lr * limits.sharpness >= most * (1 + 1e-12 if most == 1 else 1):
            reach = "up to" if most == 1 else "below"
            kind = "accelerated proximal steps diverge" if most == 1 else "descent diverges"
            accepted = f"accepted are values {reach} {most / limits.sharpness:.6g}"
            return f"lr={lr:g}: {kind} on this problem, {accepted}"
        limit = limits.weights.get(penalty, math.inf)
        if weight is not None and weight >= limit and self.solves(options):
            return f"weight={weight:g}: 0 is the answer, accepted on this problem are weights below {limit:.6g}"
        return None


def check_ranges(options: Mapping[str, object]) -> None:
    """Check the options that mean the same in every optimizer.

    Args:
        options: Converted values by name.

    Raises:
        UserError: If a number is out of its range; the line names option, value and range.
    """
    for key, value in options.items():
        if not isinstance(value, float):
            continue
        if key in {"lr", "vector_lr"} and not 0 < value < math.inf:
            raise UserError(f"{key}={value}: expected a finite learning rate > 0")
        if key in {"weight_decay", "lamb", "rho"}:
            not_negative(**{key: value})
        if key in {"radius", "norm"}:
            positive(**{key: value})
        if key in SCALES and value != 0 and not build.SMALLEST <= value <= build.LARGEST:
            raise UserError(f"{key}={value}: expected a number from {build.SMALLEST:g} to {build.LARGEST:g}")
        if key == "interpolation" and build.LARGEST < value < math.inf:
            raise UserError(f"{key}={value}: expected a loss level up to {build.LARGEST:g}, or inf")
        if key in {"beta1", "beta2", "momentum", "alpha"}:
            fraction(**{key: value})


def cells(**values: tuple[Any, ...]) -> tuple[Cell, ...]:
    """Multiply out a grid.

    Args:
        values: Values of each option.

    Returns:
        One cell for each combination.

    Example:
        >>> len(cells(lr=(1e-3, 1e-2), weight_decay=(0.3, 1.0, 3.0)))
        6
    """
    return tuple(dict(zip(values, choice, strict=True)) for choice in product(*values.values()))
