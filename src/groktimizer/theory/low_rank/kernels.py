"""The compiled loop of `solvers`; importing this file imports numba.

Singular values are those of ``W = Q M``, Q orthogonal and turned until the rows of W are so too (one-sided Jacobi).
From one step of a descent to the next they hardly turn, so Q is kept, and one sweep of it does instead of a
decomposition: a tenth of LAPACK's time for a 10 x 10 matrix, to the same digits.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from groktimizer.theory.clock.compiled import compiled, note

Array = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int64]

SUBGRADIENT, PROXIMAL, PROJECTED, ACCELERATED = range(4)
_EPS = float(np.finfo(np.float64).eps)
_ALIGNED = 1e-8  # largest cosine between two rows after which one more sweep would change nothing: it squares
_SWEEPS = 60
_RENEWED = 256  # steps after which Q is made orthogonal again
_LOOK = 128  # steps between two looks at whether a run may stop


class Data(NamedTuple):
    """What every run of a problem shares; arrays are flat, of matrices (m, l) with m <= l.

    Args:
        places: Where the entries are that are seen, shape (N,); empty if inner products are.
        matrix: X, shape (N, m l); empty if entries are seen.
        back: X again, or the transposed pseudoinverse for the projected method; likewise.
        targets: y, shape (N,).
        truth: A*, shape (m l,).
        limits: Squared absolute limits of ``||X A - y||`` and ``||A - A*||``, shape (2,).
        grid: Steps at which the squares are kept, increasing, shape (K,); the last one ends the run.
        patience: A run stops once it has stayed recovered for so many steps.
    """

    places: Steps
    matrix: Array
    back: Array
    targets: Array
    truth: Array
    limits: Array
    grid: Steps
    patience: int


@compiled
def _residual(data: Data, a: Array, out: Array) -> None:
    """``X A - y``."""
    if data.places.size:
        for k in range(out.size):
            out[k] = a[data.places[k]] - data.targets[k]
    else:
        for k in range(out.size):
            total = -data.targets[k]
            for j in range(a.size):
                total += data.matrix[k, j] * a[j]
            out[k] = total


@compiled
def _back(data: Data, values: Array, out: Array) -> None:
    """``X' v``, or ``X^+ v``: of entries the same."""
    out[:] = 0.0
    if data.places.size:
        for k in range(values.size):
            out[data.places[k]] = values[k]
    else:
        for k in range(values.size):
            for j in range(out.size):
                out[j] += values[k] * data.back[k, j]


@compiled
def _multiply(one: Array, two: Array, out: Array) -> None:
    """``out = one two``, row by row."""
    for i in range(out.shape[0]):
        out[i] = 0.0
        for k in range(two.shape[0]):
            for j in range(two.shape[1]):
                out[i, j] += one[i, k] * two[k, j]


@compiled
def _turn(rows: Array, i: int, j: int, cosine: float, sine: float) -> None:
    """Turn two rows in their plane."""
    for k in range(rows.shape[1]):
        one, two = rows[i, k], rows[j, k]
        rows[i, k] = cosine * one - sine * two
        rows[j, k] = sine * one + cosine * two


@compiled
def align(basis: Array, rows: Array, squares: Array) -> None:
    """Turn the rows of ``W = Q M``, and of Q with them, until those of W are orthogonal.

    Args:
        basis: Q, shape (m, m).
        rows: W, shape (m, l).
        squares: Becomes the squared singular values of M, in no order, shape (m,).
    """
    m = rows.shape[0]
    for _ in range(_SWEEPS):
        for i in range(m):
            squares[i] = 0.0
            for k in range(rows.shape[1]):
                squares[i] += rows[i, k] * rows[i, k]
        largest, worst = squares.max(), 0.0
        for i in range(m - 1):
            for j in range(i + 1, m):
                inner = 0.0
                for k in range(rows.shape[1]):
                    inner += rows[i, k] * rows[j, k]
                if inner * inner <= _EPS * _EPS * largest * max(squares[i], squares[j]):
                    continue  # orthogonal up to a change of M by its rounding
                worst = max(worst, abs(inner) / math.sqrt(squares[i] * squares[j]))
                ratio = (squares[j] - squares[i]) / (2 * inner)
                tangent = (1.0 if ratio >= 0 else -1.0) / (abs(ratio) + math.sqrt(1 + ratio * ratio))
                shrunk = 1 / math.sqrt(1 + tangent * tangent)
                _turn(rows, i, j, shrunk, shrunk * tangent)
                _turn(basis, i, j, shrunk, shrunk * tangent)
                squares[i] -= tangent * inner
                squares[j] += tangent * inner
        if worst <= _ALIGNED:
            return


@compiled
def _renew(basis: Array) -> None:
    """The nearest orthogonal matrix to second order: ``(3 Q - Q Q' Q) / 2``."""
    square, cube = np.empty_like(basis), np.empty_like(basis)
    _multiply(basis, basis.T, square)
    _multiply(square, basis, cube)
    basis[:] = 1.5 * basis - 0.5 * cube


@compiled
def spectral(basis: Array, matrix: Array, threshold: float, out: Array) -> None:
    """``U max(S - threshold, 0) V'``, or the polar factor ``U V'`` where the threshold is negative.

    Args:
        basis: Q of the matrix before, or any orthogonal one; becomes that of this one.
        matrix: ``M = U S V'``, shape (m, l).
        threshold: Of the singular values.
        out: Becomes the answer, shape (m, l).
    """
    rows, squares = np.empty_like(matrix), np.empty(matrix.shape[0])
    _multiply(basis, matrix, rows)
    align(basis, rows, squares)
    least = (max(matrix.shape) * _EPS) ** 2 * squares.max()
    for i in range(squares.size):
        size = math.sqrt(max(squares[i], 0.0))
        if threshold < 0:
            rows[i] *= 1 / size if squares[i] > least else 0.0
        else:
            rows[i] *= 1 - threshold / size if size > threshold else 0.0
    _multiply(basis.T, rows, out)


@compiled
def _look(data: Data, step: int, residual: Array, a: Array, now: Array, marks: Steps) -> bool:
    """Both squared errors and what they say of the clocks; whether the run ends here."""
    now[:] = 0.0
    for k in range(residual.size):
        now[0] += residual[k] * residual[k]
    for k in range(a.size):
        now[1] += (a[k] - data.truth[k]) ** 2
    note(marks[0], step, now[0] <= data.limits[0])
    note(marks[1], step, now[1] <= data.limits[1])
    held = step % _LOOK == 0 and marks[1, 1] >= 0 and step - marks[1, 1] >= data.patience
    return held or step == data.grid[-1]


@compiled
def run(method: int, data: Data, a: Array, lr: float, weight: float, history: Array, marks: Steps) -> int:
    """One run.

    Args:
        method: One of the constants above.
        data: The problem.
        a: A0, shape (m, l); becomes the last iterate.
        lr: alpha.
        weight: beta.
        history: Becomes the squared errors at the steps of the grid that were reached, and in the last column those in
            the end, shape (2, K + 1).
        marks: First steps and steps since when, of both errors, shape (2, 2); -1 in the beginning.

    Returns:
        The last step.
    """
    basis, moved, former, ahead = np.eye(a.shape[0]), np.empty_like(a), a.copy(), a.copy()
    residual, slope, now = np.empty(data.targets.size), np.empty(a.size), np.empty(2)
    step, kept, inertia, drift = 0, 0, 1.0, lr * weight
    while True:
        _residual(data, a.ravel(), residual)
        over = _look(data, step, residual, a.ravel(), now, marks)
        if data.grid[kept] == step:
            history[:, kept] = now
            kept += 1
        if over:
            history[:, -1] = now
            return step
        step += 1
        if step % _RENEWED == 0:
            _renew(basis)
        if method in (SUBGRADIENT, PROJECTED):
            spectral(basis, a, -1.0, moved)
            if method == SUBGRADIENT:
                _back(data, residual, slope)
                a -= lr * (slope.reshape(a.shape) + weight * moved)
            else:
                a -= drift * moved
                _residual(data, a.ravel(), residual)
                _back(data, residual, slope)
                a -= slope.reshape(a.shape)
            continue
        following = (1 + math.sqrt(1 + 4 * inertia * inertia)) / 2
        ahead[:] = a
        if method == ACCELERATED:
            ahead += (inertia - 1) / following * (a - former)
            _residual(data, ahead.ravel(), residual)
        _back(data, residual, slope)
        former[:] = a
        spectral(basis, ahead - lr * slope.reshape(a.shape), drift, a)
        uphill = ((ahead - a) * (a - former)).sum() > 0
        inertia = 1.0 if uphill else following
        if uphill:
            former[:] = a
