"""The norm gap: the norm of a network over the least norm that the same network needs for the same training loss.

Phase 2 promises the interpolating solution of least norm; this says how far from it a run ended. It is an oracle for
tests and studies, not a part of training: some thousand passes over all the training samples.
"""

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from groktimizer.ground.checks import positive
from groktimizer.ground.errors import UserError

Array = NDArray[np.float64]
Loss = Callable[[nn.Module], Tensor]
Point = tuple[float, float, Array]  # loss, norm and parameters

RAISE, RAISES = 2.0, 40  # of the weight, on the way up the path
HALVINGS, CLOSE = 12, 0.002  # on the way back, until the loss is so near below the level
PASSES = 500  # of L-BFGS at one weight


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
    here = path.point(path.vector(model))
    found = [point for start in (model, *starts) for point in path.walk(path.vector(start))]
    if here[0] <= level:
        found.append(here)
    if not found:
        raise UserError(f"level={level:g}: no minimum of loss + penalty is as low, whatever the weight")
    return NormGap(here[1], here[0], min(norm for _, norm, _ in found), level)


class _Path:
    """Minima of loss + (weight / 2) ‖W‖² over weights, on a copy of the network."""

    def __init__(self, model: nn.Module, loss: Loss, level: float, chosen: set[int] | None) -> None:
        self.model, self.loss, self.level = copy.deepcopy(model), loss, level
        counted = [
            (param, chosen is None or id(original) in chosen)
            for param, original in zip(self.model.parameters(), model.parameters(), strict=True)
            if param.requires_grad
        ]
        self.params = [param for param, _ in counted]
        if not any(inside for _, inside in counted):
            raise UserError("penalised: none of them is a trainable parameter of the model, expected at least one")
        masks = [np.full(param.numel(), inside, dtype=np.float64) for param, inside in counted]
        self.mask: Array = np.concatenate(masks)

    def vector(self, model: nn.Module) -> Array:
        """Trainable parameters of a network as one vector."""
        values = [param.detach().flatten() for param in model.parameters() if param.requires_grad]
        return torch.cat(values).double().cpu().numpy()

    def evaluate(self, theta: Array) -> tuple[float, Array]:
        """Training loss and its gradient."""
        with torch.no_grad():
            for param, part in zip(self.params, self._parts(theta), strict=True):
                param.copy_(torch.from_numpy(part).view_as(param))
        for param in self.params:
            param.grad = None
        value = self.loss(self.model)
        value.backward()
        grads = [torch.zeros_like(param) if param.grad is None else param.grad for param in self.params]
        return float(value.detach()), torch.cat([grad.flatten() for grad in grads]).double().cpu().numpy()

    def point(self, theta: Array) -> Point:
        """Loss and norm of a state."""
        return self.evaluate(theta)[0], float(np.linalg.norm(self.mask * theta)), theta

    def walk(self, theta: Array) -> list[Point]:
        """The states with a loss ≤ level on the path that begins at one."""
        weight = self.level / max(self.point(theta)[1] ** 2, 1e-300)
        below, above = self._up(theta, weight)
        if below is None or above is None:
            return [] if below is None else [below[1]]
        (low, good), (high, bad) = below, above
        found = [good]
        for _ in range(HALVINGS):
            middle = math.sqrt(low * high)
            tried = [self.minimise(point[2], middle) for point in (good, bad)]
            fits = [point for point in tried if point[0] <= self.level]
            if fits:
                low, good = middle, min(fits, key=lambda point: point[1])
                found.append(good)
            else:
                high, bad = middle, min(tried, key=lambda point: point[0])
            if good[0] >= (1.0 - CLOSE) * self.level:
                break
        return found

    def _up(self, theta: Array, weight: float) -> tuple[tuple[float, Point] | None, tuple[float, Point] | None]:
        """The last weight whose minimum fits, and the first whose minimum does not, with their minima."""
        below: tuple[float, Point] | None = None
        above: tuple[float, Point] | None = None
        for _ in range(RAISES):
            point = self.minimise(theta, weight)
            if point[0] <= self.level:
                below, weight = (weight, point), weight * RAISE
                theta = point[2]
                if above is not None:
                    break
            else:
                above = (weight, point)
                if below is not None:
                    break
                weight /= RAISE
        return below, above

    def minimise(self, theta: Array, weight: float) -> Point:
        """The minimum at a weight that L-BFGS finds from a state."""
        from scipy.optimize import minimize

        def objective(at: Array) -> tuple[float, Array]:
            value, grad = self.evaluate(at)
            inside = self.mask * at
            return value + weight / 2 * float(inside @ inside), grad + weight * inside

        options = {"maxiter": PASSES, "maxfun": 2 * PASSES, "maxcor": 20, "ftol": 1e-12, "gtol": 1e-12}
        found = minimize(objective, theta, jac=True, method="L-BFGS-B", options=options)
        return self.point(found.x)

    def _parts(self, theta: Array) -> list[Array]:
        return np.split(theta, np.cumsum([param.numel() for param in self.params])[:-1])


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
