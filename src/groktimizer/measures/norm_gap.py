"""The norm gap: the norm of a network over the least norm that the same network needs for the same training loss.

Phase 2 promises the interpolating solution of least norm; this says how far from it a run ended. It is an oracle for
tests and studies, not a part of training: some thousand passes over all the training samples.
"""

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from groktimizer.ground.checks import positive
from groktimizer.ground.errors import UserError

Array = NDArray[np.float64]
Loss = Callable[[nn.Module], Tensor]
State = list[Tensor]

RAISE, RAISES = 2.0, 40  # of the weight, on the way up the path
HALVINGS, CLOSE = 12, 0.002  # on the way back, until the loss is so near below the level
PASSES = 500  # of L-BFGS at one weight


class Point(NamedTuple):
    """A state on a path: its training loss and norm, and its trainable parameters."""

    loss: float
    norm: float
    state: State


@dataclass(frozen=True)
class NormGap:
    """What `norm_gap` found.

    Attributes:
        norm: ‖W‖ of the network under test.
        loss: Its training loss.
        least: The least ‖W‖ found at a training loss ≤ `level`.
        level: The level.
    """

    norm: float
    loss: float
    least: float
    level: float

    @property
    def gap(self) -> float:
        """‖W‖ over the least; below 1 only for a network whose loss is above the level, or if the oracle failed."""
        return self.norm / self.least


def norm_gap(
    model: nn.Module,
    loss: Loss,
    level: float,
    *,
    penalised: Iterable[Tensor] | None = None,
    starts: Sequence[nn.Module] = (),
) -> NormGap:
    """Compare a network's norm with the least norm at which it still fits.

    From the network itself and from every other start, ``loss + (weight / 2) ‖W‖²`` is minimised by L-BFGS along a path
    of weights: upward, doubled, until the loss at the minimum exceeds the level, then back between the last two by
    halving, each time from both sides. The least norm of all states with a loss ≤ `level` counts; on convex problems
    that is the least there is, elsewhere an upper bound of it.

    Args:
        model: The network under test; it stays as it is. Its dtype is the precision of the answer.
        loss: Training loss of a network over all samples, a scalar; it is called with copies of `model`.
        level: Loss that counts as interpolation, > 0, in units of the loss.
        penalised: Its parameters that make up W, such as ``param_groups(model)[0]["params"]``; None for all.
        starts: Other networks of the same make to start from.

    Returns:
        Norms, loss and gap.

    Raises:
        UserError: If `level` is not positive, `penalised` has no trainable parameter of `model`, or no path comes to a
            loss ≤ `level`.

    Example:
        >>> model = nn.Linear(2, 1, bias=False).double()
        >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 3.0]]))
        >>> found = norm_gap(model, lambda m: (m(torch.eye(2).double()[:1]) - 1).square().mean(), 0.01)
        >>> round(found.least, 3), round(found.gap, 2)
        (0.9, 3.51)
    """
    positive(level=level)
    path = _Path(model, loss, level, None if penalised is None else {id(param) for param in penalised})
    states = [
        [param.detach().clone() for param in each.parameters() if param.requires_grad] for each in (model, *starts)
    ]
    here = path.point(states[0])
    found = [point for state in states for point in path.walk(state)] + [here] * (here.loss <= level)
    if not found:
        raise UserError(f"level={level:g}: no minimum of loss + penalty is as low, whatever the weight")
    return NormGap(here.norm, here.loss, min(point.norm for point in found), level)


class _Path:
    """Minima of loss + (weight / 2) ‖W‖² over weights, on a copy of the network."""

    def __init__(self, model: nn.Module, loss: Loss, level: float, chosen: set[int] | None) -> None:
        self.model, self.loss, self.level = copy.deepcopy(model), loss, level
        pairs = zip(self.model.parameters(), model.parameters(), strict=True)
        trained = [(ours, id(theirs)) for ours, theirs in pairs if ours.requires_grad]
        self.params = [ours for ours, _ in trained]
        self.weights = [ours for ours, name in trained if chosen is None or name in chosen]
        if not self.weights:
            raise UserError("penalised: none of them is a trainable parameter of the model, expected at least one")

    def point(self, state: State) -> Point:
        """Loss and norm of a state."""
        self._place(state)
        return Point(float(self.loss(self.model).detach()), math.sqrt(float(self._square().detach())), state)

    def walk(self, state: State) -> list[Point]:
        """The states with a loss ≤ level on the path that begins at one."""
        low, good, high, bad = self._bracket(state)
        if good is None:
            return []
        found = [good]
        for _ in range(HALVINGS if bad is not None else 0):
            if good.loss >= (1.0 - CLOSE) * self.level:
                break
            middle = math.sqrt(low * high)
            tried = [self.minimise(point.state, middle) for point in (good, bad) if point is not None]
            fits = [point for point in tried if point.loss <= self.level]
            if fits:
                low, good = middle, min(fits, key=lambda point: point.norm)
                found.append(good)
            else:
                high, bad = middle, min(tried, key=lambda point: point.loss)
        return found

    def _bracket(self, state: State) -> tuple[float, Point | None, float, Point | None]:
        """The last weight whose minimum fits and the first whose minimum does not, each with that minimum."""
        good = bad = None
        low = high = weight = self.level / max(self.point(state).norm ** 2, 1e-300)
        for _ in range(RAISES):
            point = self.minimise(state if good is None else good.state, weight)
            if point.loss <= self.level:
                low, good = weight, point
            else:
                high, bad = weight, point
            if good is not None and bad is not None:
                break
            weight *= RAISE if bad is None else 1.0 / RAISE
        return low, good, high, bad

    def minimise(self, state: State, weight: float) -> Point:
        """The minimum at a weight that L-BFGS finds from a state."""
        self._place(state)
        rule = torch.optim.LBFGS(
            self.params,
            max_iter=PASSES,
            max_eval=2 * PASSES,
            history_size=20,
            tolerance_grad=1e-9,
            tolerance_change=1e-11,
            line_search_fn="strong_wolfe",
        )

        def objective() -> Tensor:
            rule.zero_grad()
            value = self.loss(self.model) + weight / 2 * self._square()
            value.backward()
            return value.detach()

        rule.step(objective)
        return self.point([param.detach().clone() for param in self.params])

    def _square(self) -> Tensor:
        return torch.stack([weight.square().sum() for weight in self.weights]).sum()

    @torch.no_grad()
    def _place(self, state: State) -> None:
        for param, value in zip(self.params, state, strict=True):
            param.copy_(value)


def least_l1(features: Array, targets: Array, level: float) -> float:
    """Find the least ‖w‖₁ of a linear model whose mean squared error is at most a level.

    Exact: the Lasso's path is piecewise linear (scikit-learn's LARS), so the error is quadratic between its knots.

    Args:
        features: X, shape (n, d).
        targets: y, shape (n,).
        level: Mean squared error, > 0.

    Returns:
        The norm; 0 if w = 0 is good enough.

    Raises:
        UserError: If no w reaches the level.

    Example:
        >>> round(least_l1(np.eye(2), np.array([2.0, 0.0]), 0.02), 3)
        1.8
    """
    from sklearn.linear_model import lars_path

    positive(level=level)
    path = lars_path(features, targets, method="lasso")[2]
    errors = np.mean(np.square(features @ path - targets[:, None]), axis=0)
    if errors[0] <= level:
        return 0.0
    if errors.min() > level:
        raise UserError(f"level={level:g}: the least error of a linear model is {errors.min():.4g}")
    last = int(np.argmax(errors <= level))
    start, step = path[:, last - 1], path[:, last] - path[:, last - 1]
    rest, moved = targets - features @ start, features @ step
    # mean((rest - t moved)²) = level, the first t in (0, 1]
    a, b, c = moved @ moved, -2.0 * rest @ moved, rest @ rest - level * len(targets)
    t = 2.0 * c / (-b + math.sqrt(max(b * b - 4.0 * a * c, 0.0)))
    return float(np.abs(start + t * step).sum())
