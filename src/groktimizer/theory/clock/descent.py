"""Four ways down ``1/2 ||X a - y||^2 + beta h(a)``, step by step, compiled; importing this file imports numba.

h is the l1 norm of vectors or the nuclear norm of matrices, G = X'(X a - y), s = sign a or U V', D_t soft thresholding
of the entries or of the singular values, and ``Pi(a) = a - X^+ (X a - y)``, the projection on the fits:

    "subgradient"  a <- a - alpha (G + beta s)
    "projected"    a <- Pi(a - alpha beta s)
    "proximal"     a <- D_{alpha beta}(a - alpha G)
    "accelerated"  the same from z = a + theta (a - a_before), theta_k = (t_k - 1) / t_{k+1},
                   t_{k+1} = (1 + sqrt(1 + 4 t_k^2)) / 2, t anew when ``(z - a)'(a - a_before) > 0`` with a the new
                   point (Beck and Teboulle 2009; O'Donoghue and Candes 2015)

Runs of vectors lie side by side: two matrix products a step serve all of them. Singular values are those of
``W = Q M``, Q orthogonal and turned until the rows of W are so too (one-sided Jacobi). From one step to the next they
hardly turn, so Q is kept, and one sweep of it does instead of a decomposition: a tenth of LAPACK's time for a 10 x 10
matrix, to the same digits. Accelerated runs multiply rounding, since it decides when they restart: two computations
that differ in the last digit are apart by 1e-3 after a thousand steps. Against the same run in extended precision,
times differed by less than a percent where recovery is easy, by up to a fifth where it is barely possible.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from groktimizer.ground.compiled import compiled
from groktimizer.theory.clock.quadratic import Array

Steps = npt.NDArray[np.int64]
METHODS = ("subgradient", "projected", "proximal", "accelerated")
_SUBGRADIENT, _PROJECTED, _, _ACCELERATED = range(4)
_EPS = float(np.finfo(np.float64).eps)
_TINY = float(np.finfo(np.float64).tiny)
_ALIGNED = 1e-8  # largest cosine between two rows after which one more sweep would change nothing: it squares
_SWEEPS = 60
_RENEWED = 256  # steps after which Q is made orthogonal again
_LOOK = 128  # steps between two looks at whether a run may stop


@compiled
def note(marks: Steps, step: int, met: bool) -> None:
    """Keep the first step with a condition, and the first of those that hold since; -1 for none."""
    if not met:
        marks[1] = -1
        return
    if marks[0] < 0:
        marks[0] = step
    if marks[1] < 0:
        marks[1] = step


class Data(NamedTuple):
    """What every run shares; a matrix (m, l), m <= l, is flat.

    Args:
        shape: (m, l) of matrices, (0, 0) of vectors.
        places: Entries that are seen, shape (N,); empty if inner products are.
        matrix: X, shape (N, entries); empty if entries are seen.
        back: X again, or the transposed pseudoinverse for the projected method; likewise.
        targets: y, shape (N,).
        truth: a*, shape (entries,).
        limits: Squared absolute limits of ``||X a - y||`` and ``||a - a*||``, shape (2,).
        grid: Steps at which the squares are kept, increasing, shape (K,); the last one ends the runs.
        patience: They stop once all have stayed at a* for so many steps.
        inertia: t at first and anew.
    """

    shape: tuple[int, int]
    places: Steps
    matrix: Array
    back: Array
    targets: Array
    truth: Array
    limits: Array
    grid: Steps
    patience: int
    inertia: float


@compiled
def _residual(data: Data, a: Array, out: Array) -> None:
    """``X a - y`` of every run."""
    if data.places.size:
        for b in range(out.shape[0]):
            for k in range(out.shape[1]):
                out[b, k] = a[b, data.places[k]]
    else:
        np.dot(a, data.matrix.T, out)
    for b in range(out.shape[0]):
        for k in range(out.shape[1]):
            out[b, k] -= data.targets[k]


@compiled
def _back(data: Data, values: Array, out: Array) -> None:
    """``X' v`` of every run, or ``X^+ v``: of entries the same."""
    if data.places.size:
        out[:] = 0.0
        for b in range(out.shape[0]):
            for k in range(values.shape[1]):
                out[b, data.places[k]] = values[b, k]
    else:
        np.dot(values, data.back, out)


@compiled
def _turn(rows: Array, i: int, j: int, cosine: float, sine: float) -> None:
    """Turn two rows in their plane."""
    for k in range(rows.shape[1]):
        one, two = rows[i, k], rows[j, k]
        rows[i, k] = cosine * one - sine * two
        rows[j, k] = sine * one + cosine * two


@compiled
def _align(basis: Array, rows: Array, squares: Array, gone: float) -> None:
    """Turn the rows of ``W = Q M``, and of Q with them, until those of W are orthogonal; gives their squared norms.

    Rows that are so short and so orthogonal that (by Gershgorin's circles) none of their sums is longer than the root
    of `gone` may stay as they are.
    """
    m = rows.shape[0]
    for _ in range(_SWEEPS):
        largest, worst = 0.0, 0.0
        for i in range(m):
            squares[i] = 0.0
            for k in range(rows.shape[1]):
                squares[i] += rows[i, k] * rows[i, k]
            largest = max(largest, squares[i])
        for i in range(m - 1):
            for j in range(i + 1, m):
                inner = 0.0
                for k in range(rows.shape[1]):
                    inner += rows[i, k] * rows[j, k]
                longer = max(squares[i], squares[j])
                if inner * inner <= _EPS * _EPS * largest * longer or m * abs(inner) <= gone - longer:
                    continue  # orthogonal up to a change of M by its rounding, or nothing is left of them
                worst = max(worst, abs(inner) / math.sqrt(max(squares[i] * squares[j], _TINY)))
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
def spectral(basis: Array, matrix: Array, threshold: float, out: Array) -> None:
    """``U max(S - threshold, 0) V'``, or the polar factor ``U V'`` where the threshold is negative.

    Args:
        basis: Q of the matrix before, or any orthogonal one; becomes that of this one.
        matrix: ``M = U S V'``, shape (m, l).
        threshold: Of the singular values.
        out: Becomes the answer, shape (m, l).
    """
    rows, squares = np.empty_like(matrix), np.empty(matrix.shape[0])
    np.dot(basis, matrix, rows)
    _align(basis, rows, squares, threshold * threshold if threshold > 0 else 0.0)
    largest = 0.0
    for i in range(squares.size):
        largest = max(largest, squares[i])
    least = (max(matrix.shape) * _EPS) ** 2 * largest
    for i in range(squares.size):
        size = math.sqrt(max(squares[i], 0.0))
        if threshold < 0:
            factor = 1 / size if squares[i] > least else 0.0
        else:
            factor = 1 - threshold / size if size > threshold else 0.0
        for k in range(rows.shape[1]):
            rows[i, k] *= factor
    np.dot(basis.T, rows, out)


@compiled
def _begin(bases: Array) -> None:
    """Every Q as the identity."""
    for b in range(bases.shape[0]):
        for i in range(bases.shape[1]):
            for j in range(bases.shape[2]):
                bases[b, i, j] = 1.0 if i == j else 0.0


@compiled
def _renew(bases: Array) -> None:
    """Every Q as the nearest orthogonal matrix to second order: ``(3 Q - Q Q' Q) / 2``."""
    for b in range(bases.shape[0]):
        cube = np.dot(np.dot(bases[b], bases[b].T), bases[b])
        for i in range(cube.shape[0]):
            for j in range(cube.shape[1]):
                bases[b, i, j] = 1.5 * bases[b, i, j] - 0.5 * cube[i, j]


@compiled
def _map(data: Data, bases: Array, given: Array, thresholds: Array, out: Array) -> None:
    """D_t of every run, or s where the threshold is negative."""
    for b in range(given.shape[0]):
        if data.shape[0]:
            spectral(bases[b], given[b].reshape(data.shape), thresholds[b], out[b].reshape(data.shape))
        elif thresholds[b] < 0:
            for j in range(given.shape[1]):
                out[b, j] = np.sign(given[b, j])
        else:
            for j in range(given.shape[1]):
                out[b, j] = given[b, j] - min(max(given[b, j], -thresholds[b]), thresholds[b])


@compiled
def _extrapolate(theta: Array, now: Array, before: Array, out: Array) -> None:
    """``now + theta (now - before)`` of every run; `before` becomes `now`, which may be `out`."""
    for b in range(theta.size):
        for j in range(now.shape[1]):
            ahead = now[b, j] + theta[b] * (now[b, j] - before[b, j])
            before[b, j] = now[b, j]
            out[b, j] = ahead


@compiled
def _restart(data: Data, ahead: Array, a: Array, former: Array, momentum: Array, theta: Array, restarts: Steps) -> None:
    """Momentum of the next step of every run."""
    for b in range(theta.size):
        turn = 0.0
        for j in range(a.shape[1]):
            turn += (ahead[b, j] - a[b, j]) * (a[b, j] - former[b, j])
        following = (1 + math.sqrt(1 + 4 * momentum[b] * momentum[b])) / 2
        theta[b] = 0.0 if turn > 0 else (momentum[b] - 1) / following
        momentum[b] = data.inertia if turn > 0 else following
        restarts[b] += turn > 0


@compiled
def _look(data: Data, step: int, residual: Array, a: Array, now: Array, marks: Steps) -> bool:
    """Squared errors of every run and what they say of its clocks; whether all have stayed at a* for long."""
    held = True
    for b in range(a.shape[0]):
        train, test = 0.0, 0.0
        for k in range(residual.shape[1]):
            train += residual[b, k] * residual[b, k]
        for j in range(a.shape[1]):
            test += (a[b, j] - data.truth[j]) * (a[b, j] - data.truth[j])
        now[0, b], now[1, b] = train, test
        note(marks[b, 0], step, train <= data.limits[0])
        note(marks[b, 1], step, test <= data.limits[1])
        held &= marks[b, 1, 1] >= 0 and step - marks[b, 1, 1] >= data.patience
    return held


@compiled
def _subtract(a: Array, factors: Array, steps: Array) -> None:
    """``a - factor step`` of every run."""
    for b in range(a.shape[0]):
        for j in range(a.shape[1]):
            a[b, j] -= factors[b] * steps[b, j]


@compiled
def _keep(now: Array, place: int, history: Array) -> None:
    """The squares of every run, at a place."""
    for b in range(now.shape[1]):
        history[0, place, b], history[1, place, b] = now[0, b], now[1, b]


@compiled
def run(
    method: int, data: Data, a: Array, lr: Array, weight: Array, history: Array, marks: Steps, restarts: Steps
) -> int:
    """Runs side by side, one for each pair of lr and weight.

    Args:
        method: Its place in `METHODS`.
        data: The problem.
        a: Starts, shape (runs, entries); become the last iterates.
        lr: alpha, shape (runs,).
        weight: beta, shape (runs,).
        history: Becomes the squared errors at the steps of the grid that were reached, and in the last place those in
            the end, shape (2, K + 1, runs).
        marks: First steps and steps since when, of both errors, shape (runs, 2, 2); -1 in the beginning.
        restarts: Become those of momentum, shape (runs,); 0 in the beginning.

    Returns:
        The last step.
    """
    former, ahead, slope = a.copy(), np.empty_like(a), np.empty_like(a)
    residual, now, drift = np.empty((lr.size, data.targets.size)), np.empty((2, lr.size)), lr * weight
    last, momentum, theta = np.zeros_like(residual), np.full(lr.size, data.inertia), np.zeros(lr.size)
    bases, signs, step, kept = np.empty((lr.size, data.shape[0], data.shape[0])), np.full(lr.size, -1.0), 0, 0
    ones = np.ones(lr.size)
    _begin(bases)
    while True:
        _residual(data, a, residual)
        held = _look(data, step, residual, a, now, marks)
        if data.grid[kept] == step:
            _keep(now, kept, history)
            kept += 1
        if step == data.grid[-1] or (held and step % _LOOK == 0):
            _keep(now, history.shape[1] - 1, history)
            return step
        step += 1
        if step % _RENEWED == 0:
            _renew(bases)
        if method == _SUBGRADIENT:
            _back(data, residual, slope)
            _map(data, bases, a, signs, ahead)
            _subtract(a, lr, slope)
            _subtract(a, drift, ahead)
        elif method == _PROJECTED:
            _map(data, bases, a, signs, ahead)
            _subtract(a, drift, ahead)
            _residual(data, a, residual)
            _back(data, residual, slope)
            _subtract(a, ones, slope)
        else:
            _extrapolate(theta, a, former, ahead)
            _extrapolate(theta, residual, last, residual)
            _back(data, residual, slope)
            for b in range(lr.size):
                for j in range(slope.shape[1]):
                    slope[b, j] = ahead[b, j] - lr[b] * slope[b, j]
            _map(data, bases, slope, drift, a)
            if method == _ACCELERATED:
                _restart(data, ahead, a, former, momentum, theta, restarts)
