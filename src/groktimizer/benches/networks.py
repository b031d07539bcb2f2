"""The estimators' network under other optimizers: what GROKtimizer is to be compared with, on equal terms."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn

from groktimizer.estimators.choice import INTERPOLATE
from groktimizer.estimators.path import fresh, loss_of, tensors
from groktimizer.estimators.table import Frame, Table, frame, merged

Array = NDArray[Any]
Predictor = Callable[[Array], Array]  # rows, shape (m, p), to classes or numbers, shape (m,)
Score = Callable[[Array, Array], float]
C = TypeVar("C")

WIDTH, STEPS = 128, 500
CELLS = tuple((lr, decay) for lr in (1e-3, 1e-2) for decay in (0.1, 1.0, 3.0))
WEIGHTS = (5e-4, 2e-3, 8e-3, 3.2e-2, 0.13, 0.5)
HELD_OUT = 0.2
SETTINGS: Mapping[str, Any] = {"width": WIDTH, "steps": STEPS}


class _Problem:
    """A network and its standardised training rows; squared errors are of numbers of variance 1."""

    def __init__(
        self, inputs: Array, targets: Array, classes: int, seed: int, *, turns: bool = False, dtype: Any = torch.float32
    ) -> None:
        columns = np.eye(classes)[targets] if classes else targets[:, None].astype(float)
        rows = merged(inputs, columns, np.ones(len(inputs)))
        self.classes = classes
        self.middle, self.spread = (0.0, 1.0) if classes else (targets.mean(), targets.std() or 1.0)
        self.frame: Frame = frame(rows, turns=turns)
        self.rows: Table = rows._replace(targets=(rows.targets - self.middle) / self.spread)
        mapped = self.rows._replace(inputs=self.frame(rows.inputs))
        self.data = tensors(mapped, "cpu", dtype)
        self.model = fresh(mapped, (WIDTH,), seed, inputs.shape[1])[0].to(dtype)

    def loss(self, inputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Mean loss of rows, in units of what outputs of zero lose."""
        return loss_of(self.model(inputs), targets, weights, classes=bool(self.classes))

    def predictor(self) -> Predictor:
        """The network as it is now."""
        model, dtype = copy.deepcopy(self.model), self.data[0].dtype

        def predict(others: Array) -> Array:
            with torch.no_grad():
                said = model(torch.tensor(self.frame(others), dtype=dtype)).double().numpy()
            return said.argmax(1) if self.classes else said[:, 0] * self.spread + self.middle

        return predict


def _groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    params = list(model.parameters())
    matrices, vectors = [p for p in params if p.ndim > 1], [p for p in params if p.ndim == 1]
    return [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]


def adam(
    inputs: Array,
    targets: Array,
    classes: int,
    seed: int,
    *,
    lr: float,
    weight_decay: float = 0.0,
    interpolate: bool = False,
) -> Predictor:
    """Train by Adam with decoupled decay of the matrices, on all rows in every step.

    Args:
        inputs: Shape (n, p).
        targets: Class numbers or numbers, shape (n,).
        classes: Number of classes; 0 of a regression.
        seed: Of the initial weights.
        lr: Learning rate.
        weight_decay: Decay.
        interpolate: Whether to stop at 2 % of what constant outputs lose.

    Returns:
        The network after `STEPS` steps.
    """
    problem = _Problem(inputs, targets, classes, seed)
    optimizer = torch.optim.AdamW(_groups(problem.model, weight_decay), lr=lr, fused=True)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = problem.loss(*problem.data)
        if interpolate and loss.item() <= INTERPOLATE:
            break
        loss.backward()
        optimizer.step()
    return problem.predictor()


def stopped_early(inputs: Array, targets: Array, classes: int, seed: int) -> Predictor:
    """Train by AdamW at its defaults on four fifths of the rows; the network that loses least on the others is kept.

    Args:
        inputs: Shape (n, p).
        targets: Class numbers or numbers, shape (n,).
        classes: Number of classes; 0 of a regression.
        seed: Of the initial weights and of the division.

    Returns:
        That network.
    """
    order = np.random.default_rng(seed).permutation(len(inputs))
    held, kept = np.split(order, [max(1, round(HELD_OUT * len(order)))])
    problem = _Problem(inputs[kept], targets[kept], classes, seed)
    columns = np.eye(classes)[targets[held]] if classes else (targets[held, None] - problem.middle) / problem.spread
    outside = [torch.tensor(part, dtype=torch.float32) for part in (problem.frame(inputs[held]), columns)]
    outside.append(torch.ones(len(held)))
    optimizer = torch.optim.AdamW(problem.model.parameters(), fused=True)
    best, least = problem.predictor(), np.inf
    for _ in range(STEPS):
        with torch.no_grad():
            lost = problem.loss(*outside).item()
        if lost < least:
            best, least = problem.predictor(), lost
        optimizer.zero_grad()
        problem.loss(*problem.data).backward()
        optimizer.step()
    return best


def ridge_path(inputs: Array, targets: Array, classes: int, seed: int) -> dict[float, Predictor]:
    """Minimise loss + (weight / 2) ‖W‖² by L-BFGS along rising weights, each from the minimum before it.

    The loss is in units of what outputs of zero lose.

    With more columns than rows it works in their span, which the norm cannot tell from the columns.

    Args:
        inputs: Shape (n, p).
        targets: Class numbers or numbers, shape (n,).
        classes: Number of classes; 0 of a regression.
        seed: Of the initial weights.

    Returns:
        The network at each of `WEIGHTS`.
    """
    problem = _Problem(inputs, targets, classes, seed, turns=True, dtype=torch.float64)
    params = list(problem.model.parameters())
    matrices = [param for param in params if param.ndim > 1]

    def objective(flat: Array, weight: float) -> tuple[float, Array]:
        nn.utils.vector_to_parameters(torch.from_numpy(flat), params)
        value = problem.loss(*problem.data) + weight / 2 * torch.stack([m.square().sum() for m in matrices]).sum()
        slopes = torch.autograd.grad(value, params)
        return value.item(), nn.utils.parameters_to_vector(slopes).numpy()

    flat = nn.utils.parameters_to_vector(params).detach().numpy().copy()
    path: dict[float, Predictor] = {}
    for weight in WEIGHTS:
        done: Any = minimize(objective, flat, (weight,), "L-BFGS-B", jac=True, options={"maxiter": STEPS})
        flat = done.x
        nn.utils.vector_to_parameters(torch.from_numpy(flat), params)
        path[weight] = problem.predictor()
    return path


def choose(
    path: Callable[[Array, Array], Mapping[C, Predictor]],
    inputs: Array,
    targets: Array,
    inner: Sequence[tuple[Array, Array]],
    score: Score,
) -> tuple[C, float]:
    """Choose a point of a path on inner folds.

    Args:
        path: Fits all points to rows.
        inputs: Training rows, shape (n, p).
        targets: Theirs, shape (n,).
        inner: Folds.
        score: Of truth and predictions.

    Returns:
        The point with the best mean score, of equals the last, and that score.
    """
    found: dict[C, list[float]] = {}
    for train, test in inner:
        for point, predict in path(inputs[train], targets[train]).items():
            found.setdefault(point, []).append(score(targets[test], predict(inputs[test])))
    means = {point: float(np.mean(each)) for point, each in found.items()}
    best = max(reversed(means), key=means.__getitem__)
    return best, means[best]
