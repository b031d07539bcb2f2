"""The compiled loops of `solvers`; importing this file imports numba.

One run keeps X by columns, so that zeros of the iterate cost nothing. Many runs lie side by side in the last axis: two
matrix products a step serve all of them, and the rest of a step goes through them as vectors.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from groktimizer.theory.clock.compiled import compiled, note
from groktimizer.theory.clock.quadratic import Array

Marks = npt.NDArray[np.int64]

SUBGRADIENT, PROJECTED, ISTA, ACCELERATED = range(4)


class Data(NamedTuple):
    """What every run shares.

    Args:
        features: X, shape (N, n), contiguous, as are the next two.
        columns: X', shape (n, N).
        back: The pseudoinverse of X, shape (n, N); read by the projected method only.
        targets: y, shape (N,).
        teacher: a*, shape (n,).
        limits: Squared absolute limits of ``||X a - y||`` and ``||a - a*||``, shape (2,).
        grid: Steps at which the squares are kept, increasing, shape (K,); the last one ends the run.
    """

    features: Array
    columns: Array
    back: Array
    targets: Array
    teacher: Array
    limits: Array
    grid: Marks


@compiled
def _residual(columns: Array, a: Array, targets: Array, out: Array) -> None:
    """``X a - y``, zeros of a skipped."""
    for i in range(targets.size):
        out[i] = -targets[i]
    for j in range(a.size):
        if a[j] != 0.0:
            for i in range(targets.size):
                out[i] += a[j] * columns[j, i]


@compiled
def _pull(matrix: Array, vector: Array, out: Array) -> None:
    """``M v``, M by rows."""
    for j in range(out.size):
        total = 0.0
        for i in range(vector.size):
            total += matrix[j, i] * vector[i]
        out[j] = total


@compiled
def _gradient(features: Array, vector: Array, out: Array) -> None:
    """``X' v`` by rows of X, four at a time: long sums side by side instead of many short ones."""
    out[:] = 0.0
    whole = vector.size - vector.size % 4
    for i in range(0, whole, 4):
        a, b, c, d = vector[i], vector[i + 1], vector[i + 2], vector[i + 3]
        for j in range(out.size):
            out[j] += a * features[i, j] + b * features[i + 1, j] + c * features[i + 2, j] + d * features[i + 3, j]
    for i in range(whole, vector.size):
        for j in range(out.size):
            out[j] += vector[i] * features[i, j]


@compiled
def _away(a: Array, b: Array) -> float:
    """``||a - b||^2``."""
    total = 0.0
    for j in range(a.size):
        total += (a[j] - b[j]) * (a[j] - b[j])
    return total


@compiled
def _shrink(moved: float, threshold: float) -> float:
    """``S_threshold(moved)``."""
    return moved - min(max(moved, -threshold), threshold)


@compiled
def _lead(residual: Array, last: Array, theta: float, ahead: Array) -> None:
    """Residual of the extrapolated point, by linearity; `last` becomes the residual of the current one."""
    for i in range(residual.size):
        ahead[i] = residual[i] + theta * (residual[i] - last[i])
        last[i] = residual[i]


@compiled
def _momentum_step(a: Array, previous: Array, direction: Array, lr: float, threshold: float, theta: float) -> float:
    """Proximal step from the extrapolated point; gives ``(z - new)'(new - a)``."""
    turn = 0.0
    for j in range(a.size):
        point = a[j] + theta * (a[j] - previous[j])
        new = _shrink(point - lr * direction[j], threshold)
        turn += (point - new) * (new - a[j])
        previous[j] = a[j]
        a[j] = new
    return turn


@compiled
def one_run(
    method: int, data: Data, a0: Array, lr: float, weight: float, history: Array, marks: Marks
) -> tuple[Array, int]:
    """One run.

    Args:
        method: One of the four constants of this file.
        data: Shared data.
        a0: Start, shape (n,).
        lr: alpha.
        weight: beta.
        history: Squares at the steps of the grid, shape (2, K), written.
        marks: First and settled step of both conditions, shape (2, 2), -1 at first, written.

    Returns:
        The last iterate, and the number of restarts.
    """
    n, samples = a0.size, data.targets.size
    a, previous, direction = a0.copy(), a0.copy(), np.empty(n)
    residual, last, ahead = np.empty(samples), np.zeros(samples), np.empty(samples)
    zero, threshold = np.zeros(samples), lr * weight
    momentum, theta, kept, restarts = 1.0, 0.0, 0, 0
    for step in range(data.grid[-1] + 1):
        _residual(data.columns, a, data.targets, residual)
        train, test = _away(residual, zero), _away(a, data.teacher)
        note(marks[0], step, train <= data.limits[0])
        note(marks[1], step, test <= data.limits[1])
        if step == data.grid[kept]:
            history[0, kept], history[1, kept] = train, test
            kept += 1
            if kept == data.grid.size:
                break
        if method == ISTA:
            _gradient(data.features, residual, direction)
            for j in range(n):
                a[j] = _shrink(a[j] - lr * direction[j], threshold)
        elif method == ACCELERATED:
            _lead(residual, last, theta, ahead)
            _gradient(data.features, ahead, direction)
            turn = _momentum_step(a, previous, direction, lr, threshold, theta)
            following = (1 + np.sqrt(1 + 4 * momentum * momentum)) / 2
            theta = 0.0 if turn > 0 else (momentum - 1) / following
            momentum = 1.0 if turn > 0 else following
            restarts += turn > 0
        elif method == SUBGRADIENT:
            _gradient(data.features, residual, direction)
            for j in range(n):
                a[j] -= lr * direction[j] + threshold * np.sign(a[j])
        else:
            a -= threshold * np.sign(a)
            _residual(data.columns, a, data.targets, residual)
            _pull(data.back, residual, direction)
            a -= direction
    return a, restarts


@compiled
def _residuals(data: Data, a: Array, out: Array) -> None:
    """``X a - y`` of runs side by side."""
    np.dot(data.features, a, out)
    for i in range(out.shape[0]):
        for b in range(out.shape[1]):
            out[i, b] -= data.targets[i]


@compiled
def _aways(a: Array, reference: Array, out: Array) -> None:
    """``||a - reference||^2`` of runs side by side."""
    out[:] = 0.0
    for j in range(a.shape[0]):
        for b in range(a.shape[1]):
            out[b] += (a[j, b] - reference[j]) * (a[j, b] - reference[j])


@compiled
def _notes(marks: Marks, step: int, squares: Array, limit: float) -> None:
    """`note` of runs side by side."""
    for b in range(squares.size):
        note(marks[:, b], step, squares[b] <= limit)


@compiled
def _ista_steps(a: Array, direction: Array, lr: Array, threshold: Array) -> None:
    """Proximal steps of runs side by side."""
    for j in range(a.shape[0]):
        for b in range(a.shape[1]):
            moved = a[j, b] - lr[b] * direction[j, b]
            a[j, b] = moved - min(max(moved, -threshold[b]), threshold[b])


@compiled
def _leads(residual: Array, last: Array, theta: Array, ahead: Array) -> None:
    """`_lead` of runs side by side."""
    for i in range(residual.shape[0]):
        for b in range(residual.shape[1]):
            ahead[i, b] = residual[i, b] + theta[b] * (residual[i, b] - last[i, b])
            last[i, b] = residual[i, b]


@compiled
def _momentum_steps(
    a: Array, previous: Array, direction: Array, lr: Array, threshold: Array, theta: Array, turn: Array
) -> None:
    """`_momentum_step` of runs side by side."""
    turn[:] = 0.0
    for j in range(a.shape[0]):
        for b in range(a.shape[1]):
            point = a[j, b] + theta[b] * (a[j, b] - previous[j, b])
            moved = point - lr[b] * direction[j, b]
            new = moved - min(max(moved, -threshold[b]), threshold[b])
            turn[b] += (point - new) * (new - a[j, b])
            previous[j, b] = a[j, b]
            a[j, b] = new


@compiled
def _restart(momentum: Array, theta: Array, turn: Array, restarts: Marks) -> None:
    """Momentum of the next step of every run."""
    for b in range(turn.size):
        following = (1 + np.sqrt(1 + 4 * momentum[b] * momentum[b])) / 2
        theta[b] = 0.0 if turn[b] > 0 else (momentum[b] - 1) / following
        momentum[b] = 1.0 if turn[b] > 0 else following
        restarts[b] += turn[b] > 0


@compiled
def many_runs(
    method: int, data: Data, a0: Array, lr: Array, weight: Array, history: Array, marks: Marks
) -> tuple[Array, Marks]:
    """Runs side by side, one for each pair of lr and weight.

    Args:
        method: One of the four constants of this file.
        data: Shared data.
        a0: Starts, shape (n, runs), contiguous.
        lr: alpha, shape (runs,).
        weight: beta, shape (runs,).
        history: Shape (2, K, runs), written.
        marks: Shape (2, 2, runs), -1 at first, written.

    Returns:
        The last iterates, shape (n, runs), and the restarts of each run.
    """
    n, runs = a0.shape
    samples = data.targets.size
    a, previous, direction = a0.copy(), a0.copy(), np.empty((n, runs))
    residual, last, ahead = np.empty((samples, runs)), np.zeros((samples, runs)), np.empty((samples, runs))
    momentum, theta, turn = np.ones(runs), np.zeros(runs), np.zeros(runs)
    restarts, threshold, kept = np.zeros(runs, dtype=np.int64), lr * weight, 0
    squares, zero = np.empty((2, runs)), np.zeros(samples)
    for step in range(data.grid[-1] + 1):
        _residuals(data, a, residual)
        _aways(residual, zero, squares[0])
        _aways(a, data.teacher, squares[1])
        _notes(marks[0], step, squares[0], data.limits[0])
        _notes(marks[1], step, squares[1], data.limits[1])
        if step == data.grid[kept]:
            history[:, kept] = squares
            kept += 1
            if kept == data.grid.size:
                break
        if method == ISTA:
            np.dot(data.columns, residual, direction)
            _ista_steps(a, direction, lr, threshold)
        elif method == ACCELERATED:
            _leads(residual, last, theta, ahead)
            np.dot(data.columns, ahead, direction)
            _momentum_steps(a, previous, direction, lr, threshold, theta, turn)
            _restart(momentum, theta, turn, restarts)
        elif method == SUBGRADIENT:
            np.dot(data.columns, residual, direction)
            a -= lr * direction + threshold * np.sign(a)
        else:
            a -= threshold * np.sign(a)
            _residuals(data, a, residual)
            np.dot(data.back, residual, direction)
            a -= direction
    return a, restarts
