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

RAISE, RAISES = 2.0, 60  # of the weight, on the way up the path
HALVINGS, CLOSE = 12, 0.002  # on the way back, until the loss is so near below the level
PASSES = 500  # of L-BFGS at one weight
KNOTS = 20  # of the Lasso's path at most, for each sample or feature


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

    From the network itself and from every other start, first the loss and then ``loss + (weight / 2) ‖W‖²`` is
    minimised by L-BFGS along a path of weights: upward, doubled, until the loss at the minimum exceeds the level, then
    back between the last two by halving, each time from both sides. The least norm of all states with a loss ≤ `level`
    counts; on convex problems that is the least there is, elsewhere an upper bound of it.

    Args:
        model: The network under test; it stays as it is. Its dtype is the precision of the answer.
        loss: Training loss of a network over all samples, a scalar and the same when asked twice; it is called with
            copies of `model`, in the mode that it is in.
        level: Loss that counts as interpolation, > 0 and below the loss of W = 0, in units of the loss.
        penalised: Its parameters that make up W, such as ``param_groups(model)[0]["params"]``; None for all.
        starts: Other networks of the same make, whose trainable parameters are started from.

    Returns:
        Norms, loss and gap.

    Raises:
        UserError: If `level` or `loss` is not as said, `penalised` has no trainable parameter of `model`, a start has
            other shapes, or no path comes to a loss ≤ `level`.

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
    shapes = [[tuple(value.shape) for value in state] for state in states]
    if wrong := [k for k, shape in enumerate(shapes[1:]) if shape != shapes[0]]:
        raise UserError(f"starts[{wrong[0]}]: parameters of other shapes, expected a network like the model")
    here = path.checked(states[0])
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
        return Point(self._value(state), math.sqrt(float(self._square().detach())), state)

    def checked(self, state: State) -> Point:
        """The network under test, after a look at the loss and the level."""
        first, second = self._value(state), self._value(state)
        zero = self._value(self._without(state))
        if not math.isfinite(first) or first != second:
            reason = "is not finite" if not math.isfinite(first) else "differs when asked twice (dropout? model.eval())"
            raise UserError(f"loss: {first:g} {reason}, expected a finite number of all samples")
        if zero <= self.level:
            raise UserError(f"level={self.level:g}: W = 0 has a loss of {zero:g}, expected a level below that")
        return self.point(state)

    @torch.no_grad()
    def _value(self, state: State) -> float:
        self._place(state)
        value = self.loss(self.model)
        if value.numel() != 1:
            raise UserError(f"loss: gave a tensor of shape {tuple(value.shape)}, expected one number")
        return float(value)

    def _without(self, state: State) -> State:
        """The same with W = 0."""
        inside = [any(param is weight for weight in self.weights) for param in self.params]
        return [torch.zeros_like(value) if gone else value for value, gone in zip(state, inside, strict=True)]

    def walk(self, state: State) -> list[Point]:
        """The states with a loss ≤ level on the path that begins at the fit next to a state."""
        good = self.minimise(state, 0.0)
        if good.loss > self.level:
            return []
        low, weight, bad = 0.0, self.level / good.norm**2 / RAISE, None
        found = [good]
        for _ in range(RAISES):
            point = self.minimise(good.state, weight)
            if point.loss > self.level:
                bad = point
                break
            low, good, weight = weight, point, max(RAISE * weight, self.level / point.norm**2 / RAISE)
            found.append(good)
        if bad is None:
            return found
        high = weight
        for _ in range(HALVINGS):
            if good.loss >= (1.0 - CLOSE) * self.level:
                break
            middle = math.sqrt(low * high) if low > 0.0 else high / RAISE
            tried = [self.minimise(point.state, middle) for point in (good, bad)]
            fits = [point for point in tried if point.loss <= self.level]
            if fits:
                low, good = middle, min(fits, key=lambda point: point.norm)
                found.append(good)
            else:
                high, bad = middle, min(tried, key=lambda point: point.loss)
        return found

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
    features, targets = np.asarray(features, np.float64), np.asarray(targets, np.float64)
    if features.ndim != 2 or targets.shape != features.shape[:1]:
        raise UserError(f"features, targets: shapes {features.shape}, {targets.shape}, expected (n, d) and (n,)")
    if not (np.isfinite(features).all() and np.isfinite(targets).all()):
        raise UserError("features, targets: hold values that are not finite, expected finite numbers")
    path = lars_path(features, targets, method="lasso", max_iter=KNOTS * max(features.shape))[2]
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
