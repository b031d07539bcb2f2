"""Grokking times over grids of settings, many cells at once where gradient descent allows it.

Under gradient descent a mode is one exponential, so the intervals of `clock.search` are labelled for many cells
together, and where one is open between those that are unmet and those that are met, it is halved together. A cell that
is not decided that way (its curve comes back, rings, or stays near its tolerance), every cell with momentum, and the
population loss of every cell under a covariance that mixes the modes goes through the single search.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from groktimizer.dynamics import Phase, critical_momentum, stability_limit
from groktimizer.ground.checks import positive, word
from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.quadratic import Array, Diagonal
from groktimizer.theory.clock.search import EVER, Crossing
from groktimizer.theory.ridge.modal import Modal, Start
from groktimizer.theory.ridge.problem import Ridge

NEVER, UNRESOLVED, DIVERGES = -1, -2, -3
Integers = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int8]
_CHUNK = 256  # cells at once: their modes fit the cache
_FASTEST = 1e4  # rate of a mode that is at rest after one step
_SLACK = 1e-12  # relative, more than the rounding of a loss


@dataclass(frozen=True)
class GridTimes:
    """Times of every cell; -1 never, -2 unresolved, -3 the step size diverges.

    Args:
        memorised: First step with train loss <= its tolerance.
        memorised_settled: First step from which it stays so.
        generalised: First step with population loss <= its tolerance.
        settled: First step from which it stays so.
        searched: Cells that took the single search, for one loss or both.
    """

    memorised: Integers
    memorised_settled: Integers
    generalised: Integers
    settled: Integers
    searched: int


@dataclass(frozen=True)
class _Cells:
    """Settings of cells, flattened: each of shape (cells,)."""

    lr: Array
    weight_decay: Array
    init_scale: Array
    momentum: Array

    def take(self, index: Integers) -> "_Cells":
        return _Cells(self.lr[index], self.weight_decay[index], self.init_scale[index], self.momentum[index])


def grokking_grid(
    ridge: Ridge,
    theta0: npt.ArrayLike,
    lr: npt.ArrayLike,
    weight_decay: npt.ArrayLike,
    train_tolerance: float,
    test_tolerance: float,
    *,
    init_variance: npt.ArrayLike = 1.0,
    momentum: npt.ArrayLike | str = 0.0,
    damping: float = 1.0,
    budget: int = 2_000_000,
) -> GridTimes:
    """Exact grokking times of every cell of a grid; the arrays broadcast against each other.

    Args:
        ridge: The problem.
        theta0: Initial parameters of unit variance, shape (m,).
        lr: eta.
        weight_decay: lambda > 0.
        train_tolerance: epsilon.
        test_tolerance: c.
        init_variance: nu^2; the run starts at ``nu theta0``.
        momentum: mu in [0, 1), or "critical" for each cell's own critical momentum.
        damping: Ratio zeta of the critical momentum.
        budget: Steps that a single search may walk in a cell.

    Returns:
        Times in the broadcast shape.
    """
    positive(train_tolerance=train_tolerance, test_tolerance=test_tolerance)
    start = ridge.start(theta0)
    cells, shape = _cells(lr, weight_decay, init_variance, momentum, damping)
    tolerances = (train_tolerance, test_tolerance)
    curvature = cells.lr * (ridge.sharpness + cells.weight_decay)
    stable = curvature < stability_limit(0) * (1 + cells.momentum)
    fast = np.flatnonzero((curvature <= 1) & (cells.momentum == 0))
    rows = (0, 1) if ridge.covariance.scale is not None else (0,)  # losses whose modes do not mix
    results = np.where(stable, UNRESOLVED, np.full((4, cells.lr.size), DIVERGES, dtype=np.int64))
    for chunk in np.array_split(fast, max(1, -(-fast.size // _CHUNK))):
        for row in rows if chunk.size else ():
            curves = _Curves(ridge.modal, start, cells.take(chunk), row, tolerances[row])
            results[2 * row : 2 * row + 2, chunk] = _together(curves)
    left = np.flatnonzero((results == UNRESOLVED).any(axis=0))
    for cell in left:
        results[:, cell] = _alone(ridge.modal, start, cells, int(cell), tolerances, results[:, cell], budget)
    return GridTimes(*results.reshape(4, *shape), searched=int(left.size))


def _cells(
    lr: npt.ArrayLike, weight_decay: npt.ArrayLike, variance: npt.ArrayLike, momentum: npt.ArrayLike | str, zeta: float
) -> tuple[_Cells, tuple[int, ...]]:
    """Broadcast and check the settings; the grid's shape comes second."""
    numbers = [np.asarray(value, dtype=np.float64) for value in (lr, weight_decay, variance)]
    for name, values in zip(("lr", "weight_decay", "init_variance"), numbers, strict=True):
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise UserError(f"{name}: least {values.min():g}, accepted are positive finite numbers")
    if isinstance(momentum, str):
        word("momentum", momentum, ["critical", "numbers in [0, 1)"])
        eta, decay = np.broadcast_arrays(numbers[0], numbers[1])
        flat = [critical_momentum(float(a), float(b), zeta) for a, b in zip(eta.flat, decay.flat, strict=True)]
        mu = np.reshape(flat, eta.shape)
    else:
        mu = np.asarray(momentum, dtype=np.float64)
        if not ((mu >= 0) & (mu < 1)).all():
            raise UserError("momentum: expected numbers in [0, 1) or critical")
    eta, decay, nu2, mu = np.broadcast_arrays(*numbers, mu)
    return _Cells(eta.ravel(), decay.ravel(), np.sqrt(nu2).ravel(), mu.ravel()), eta.shape


def _alone(
    modal: Modal,
    start: Start,
    cells: _Cells,
    cell: int,
    tolerances: tuple[float, float],
    known: Integers,
    budget: int,
) -> list[int]:
    """The single search for what is still unresolved in one cell."""
    nu, decay = float(cells.init_scale[cell]), float(cells.weight_decay[cell])
    phase = Phase(0, float(cells.lr[cell]), decay, float(cells.momentum[cell]))
    path = modal.trajectory(start.scaled(nu), [phase], flow=False)
    times = [int(value) for value in known]
    for row, pieces in enumerate((path.train_pieces, path.population_pieces)):
        if times[2 * row] == UNRESOLVED or times[2 * row + 1] == UNRESOLVED:
            times[2 * row : 2 * row + 2] = _codes(path.crossing(pieces, tolerances[row], budget))
    return times


def _codes(found: Crossing) -> list[int]:
    """Times with None spelled as a code."""
    missing = NEVER if found.resolved else UNRESOLVED
    return [missing if value is None else value for value in (found.first, found.settled)]


class _Curves:
    """One loss of many gradient-descent cells: ``sum x^2 + rest`` with ``x = swing z^t + beta`` for every mode."""

    def __init__(self, modal: Modal, start: Start, cells: _Cells, row: int, tolerance: float) -> None:
        decay, nu, lr = (part[:, None] for part in (cells.weight_decay, cells.init_scale, cells.lr))
        curvature = np.append(modal.curvature, 0.0) + decay
        form = modal.train_form(1.0) if row == 0 else modal.population_form(start, modal.distance(1.0), 0.0)
        assert isinstance(form, Diagonal)  # alpha, the last beta and rest do not depend on decay
        pull, own = np.append(modal.system.values * modal.residual / modal.samples, 0.0), modal.system.values
        offset = np.append(start.coordinates, 0.0) * nu - pull / curvature
        offset[:, -1] = cells.init_scale
        if row == 0:
            beta = -decay * modal.residual / curvature[:, :-1]
        else:
            beta = (own * modal.noise / modal.samples - decay * modal.teacher.coordinates) / curvature[:, :-1]
        along = beta * (form.alpha[:-1] / (own if row == 0 else 1.0))
        self.beta = np.hstack([along, np.full_like(decay, form.beta[-1])])
        self.swing, self.rest, self.tolerance = form.alpha * offset, form.rest, tolerance
        with np.errstate(divide="ignore"):
            self.rate = np.maximum(np.log1p(-np.minimum(lr * curvature, 1.0)), -_FASTEST)

    def at(self, cells: Integers, steps: Array) -> Array:
        """X of some cells, at one step each; shape (cells, modes)."""
        state = np.exp(steps[:, None] * self.rate[cells])
        state *= self.swing[cells]
        state += self.beta[cells]
        return state

    def labels(self, one: Array, two: Array) -> Labels:
        """1, -1 or 0 as in `Curve`, for the interval between two states of `at`, both included; shape (cells,)."""
        first, second = one * one, two * two
        near = np.minimum(first, second) * (one * two > 0)
        least, most = near.sum(axis=1) + self.rest, np.maximum(first, second).sum(axis=1) + self.rest
        slack = _SLACK * most
        met, unmet = most + slack <= self.tolerance, least - slack > self.tolerance
        return np.where(met, 1, np.where(unmet, -1, 0)).astype(np.int8)


def _together(curves: _Curves) -> Integers:
    """Step from which every cell meets its tolerance, having never met it before; shape (cells,)."""
    every = np.arange(len(curves.rate))
    state, rows = curves.at(every, np.zeros(every.size)), list[Labels]()
    for edge in EVER[1:-1]:
        if curves.labels(state, curves.beta).all():
            break
        before, state = state, curves.at(every, np.full(every.size, edge))
        rows.append(curves.labels(before, state))
    labels = np.stack([*rows, curves.labels(state, curves.beta)])
    times = np.where((labels < 0).all(axis=0), NEVER, UNRESOLVED)
    once = (np.diff(labels, axis=0) >= 0).all(axis=0) & ((labels == 0).sum(axis=0) == 1)
    cells = np.flatnonzero(once & (labels[0] < 0) & (labels[-1] > 0))
    place = (labels[:, cells] == 0).argmax(axis=0)
    unmet, met = EVER[place], EVER[place + 1]
    early, late = curves.at(cells, unmet), curves.at(cells, met)
    while cells.size:
        closed = met - unmet <= 1
        times[cells[closed]] = met[closed]
        middle = np.floor((unmet + met) / 2)
        state = curves.at(cells, middle)
        right = curves.labels(early, state) < 0
        left = ~right & (curves.labels(state, late) > 0)
        unmet, met = np.where(right, middle, unmet), np.where(left, middle, met)
        early[right], late[left] = state[right], state[left]
        stay = ~closed & (right | left)
        cells, unmet, met, early, late = cells[stay], unmet[stay], met[stay], early[stay], late[stay]
    return times
