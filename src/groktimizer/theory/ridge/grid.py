"""Grokking times over grids of settings, many cells at once where gradient descent allows it.

Under gradient descent a mode is one exponential, so a bracket ``[unmet, met]`` of thousands of cells can be halved
together, each half certified by the same interval bounds as a single search. A cell whose curve is not decided that
way (it comes back, rings, or stays near its tolerance), every cell with momentum, and the population loss of every
cell under a covariance that mixes the modes goes through the single search.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from groktimizer.dynamics import Phase, critical_momentum, stability_limit
from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.checks import check_positive, check_vector
from groktimizer.theory.clock.quadratic import Array, Diagonal
from groktimizer.theory.clock.search import Crossing
from groktimizer.theory.ridge.modal import Modal, Start
from groktimizer.theory.ridge.problem import Ridge

NEVER, UNRESOLVED, DIVERGES = -1, -2, -3
Integers = npt.NDArray[np.int64]
_CHUNK = 256  # cells at once: their modes fit the cache
_OCTAVES = 46  # the bracket is looked for among steps below 2^46


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
    check_positive("train_tolerance", train_tolerance)
    check_positive("test_tolerance", test_tolerance)
    start = ridge.modal.locate(check_vector("theta0", theta0, ridge.m))
    cells, shape = _cells(lr, weight_decay, init_variance, momentum, damping)
    tolerances = (train_tolerance, test_tolerance)
    stable = cells.lr * (ridge.sharpness + cells.weight_decay) < stability_limit(0) * (1 + cells.momentum)
    fast = np.flatnonzero(stable & (cells.momentum == 0))
    rows = (0, 1) if ridge.covariance.scale is not None else (0,)  # losses whose modes do not mix
    results = np.full((4, cells.lr.size), DIVERGES, dtype=np.int64)
    results[:, np.flatnonzero(stable)] = UNRESOLVED
    for chunk in np.array_split(fast, max(1, -(-fast.size // _CHUNK))):
        for row in rows if chunk.size else ():
            times = _together(ridge.modal, start, cells.take(chunk), row, tolerances[row])
            results[2 * row : 2 * row + 2, chunk] = times
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
        if momentum != "critical":
            raise UserError(f"momentum={momentum!r}: accepted are numbers in [0, 1) and 'critical'")
        eta, decay = np.broadcast_arrays(numbers[0], numbers[1])
        flat = [critical_momentum(float(a), float(b), zeta) for a, b in zip(eta.flat, decay.flat, strict=True)]
        mu = np.reshape(flat, eta.shape)
    else:
        mu = np.asarray(momentum, dtype=np.float64)
        if not ((mu >= 0) & (mu < 1)).all():
            raise UserError("momentum: accepted are numbers in [0, 1) and 'critical'")
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
    """One loss of many gradient-descent cells: ``sum x^2 + rest`` with ``x = alpha e0 z^t + beta``, one x a mode."""

    def __init__(self, modal: Modal, start: Start, cells: _Cells, row: int) -> None:
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
        self.beta = np.hstack(
            [beta * (form.alpha[:-1] / (own if row == 0 else 1.0)), np.full_like(decay, form.beta[-1])]
        )
        self.swing, self.rest = form.alpha * offset, form.rest
        factor = 1 - lr * curvature
        with np.errstate(divide="ignore", invalid="ignore"):
            small = np.where(factor > 0, np.log1p(-lr * curvature), np.log(np.abs(factor)))
        self.rate = np.maximum(small, -1e4)
        self.mirrored = factor < 0
        self.any_mirrored = bool(self.mirrored.any())

    def keep(self, index: npt.NDArray[np.intp]) -> None:
        """Drop the other cells."""
        self.beta, self.swing = self.beta[index], self.swing[index]
        self.rate, self.mirrored = self.rate[index], self.mirrored[index]

    def at(self, steps: Array) -> Array:
        """X without the alternating sign of e, at one step a cell; shape (cells, modes)."""
        state = np.exp(steps[:, None] * self.rate)
        state *= self.swing
        state += self.beta
        return state

    def excess(self, state: Array, tolerance: float) -> Array:
        """Log of how far the loss is above its limit, relative to the tolerance; guides a search, certifies nothing."""
        limit = np.einsum("ij,ij->i", self.beta, self.beta)
        value = np.einsum("ij,ij->i", state, state)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log((value - limit) / (tolerance - self.rest - limit))

    def label(self, one: Array, two: Array, tolerance: float) -> npt.NDArray[np.int8]:
        """1, -1 or 0 as in `crossing`, for the interval between two states of `at`, one a cell."""
        first, second = one * one, two * two
        far, near = np.maximum(first, second), np.minimum(first, second)
        near *= one * two > 0
        if self.any_mirrored:
            low, high, shift = np.abs(two - self.beta), np.abs(one - self.beta), np.abs(self.beta)
            near = np.where(self.mirrored, np.maximum(0.0, np.maximum(low - shift, shift - high)) ** 2, near)
            far = np.where(self.mirrored, (high + shift) ** 2, far)
        least, most = near.sum(axis=1) + self.rest, far.sum(axis=1) + self.rest
        slack = 1e-12 * most
        return np.where(most + slack <= tolerance, 1, np.where(least - slack > tolerance, -1, 0)).astype(np.int8)


def _together(modal: Modal, start: Start, cells: _Cells, row: int, tolerance: float) -> Integers:
    """First and settled times of one loss in many gradient-descent cells; shape (2, cells)."""
    curves = _Curves(modal, start, cells, row)
    unmet, met, never = _brackets(curves, cells.lr.size, tolerance)
    times = np.full(cells.lr.size, UNRESOLVED, dtype=np.int64)
    times[never] = NEVER
    open_cells = np.flatnonzero(np.isfinite(unmet) & np.isfinite(met) & ~never)
    if open_cells.size:
        curves.keep(open_cells)
        times[open_cells] = _halve(curves, unmet[open_cells], met[open_cells], tolerance)
    return np.stack([times, times])


def _brackets(curves: _Curves, count: int, tolerance: float) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
    """Certify ``[0, a]`` unmet and ``[b, inf)`` met at octaves.

    Args:
        curves: The cells' curves.
        count: Number of cells.
        tolerance: Threshold.

    Returns:
        a and b, NaN where there is none, and which cells never meet the tolerance.
    """
    state, edge = curves.at(np.zeros(count)), 0.0
    unmet = np.where(curves.label(state, state, tolerance) < 0, 0.0, np.nan)
    met, never = np.full(count, np.nan), np.zeros(count, dtype=bool)
    for octave in range(_OCTAVES):
        for_ever = curves.label(state, curves.beta, tolerance)
        met[np.isnan(met) & (for_ever > 0)] = edge
        never |= (for_ever < 0) & (unmet == edge)
        if (never | np.isfinite(met) | np.isnan(unmet)).all():
            break
        after = curves.at(np.full(count, 2.0**octave))
        unmet[(unmet == edge) & (curves.label(state, after, tolerance) < 0)] = 2.0**octave
        state, edge = after, 2.0**octave
    return unmet, met, never


def _halve(curves: _Curves, unmet: Array, met: Array, tolerance: float) -> Integers:
    """Close the brackets ``(unmet, met]``; every half that is cut off is certified to lie on its side.

    Args:
        curves: The cells' curves.
        unmet: a.
        met: b.
        tolerance: Threshold.

    Returns:
        The step of each cell, `UNRESOLVED` where a half could not be certified.
    """
    times, turn = np.full(unmet.size, UNRESOLVED, dtype=np.int64), 0
    cells, early, late = np.arange(unmet.size), curves.at(unmet), curves.at(met)
    while cells.size:
        closed = met - unmet <= 1
        times[cells[closed]] = met[closed].astype(np.int64)
        middle = _middle(unmet, met, curves.excess(early, tolerance), curves.excess(late, tolerance), turn)
        state = curves.at(middle)
        right = curves.label(early, state, tolerance) < 0
        left = ~right & (curves.label(state, late, tolerance) > 0)
        unmet, met = np.where(right, middle, unmet), np.where(left, middle, met)
        early[right], late[left] = state[right], state[left]
        stay, turn = ~closed & (right | left), turn + 1
        if not stay.all():
            cells, unmet, met, early, late = cells[stay], unmet[stay], met[stay], early[stay], late[stay]
            curves.keep(np.flatnonzero(stay))
    return times


def _middle(unmet: Array, met: Array, above: Array, below: Array, turn: int) -> Array:
    """Where to cut brackets: where an exponential would cross, just beyond that, or in the middle, by turns.

    Args:
        unmet: Left ends.
        met: Right ends.
        above: `_Curves.excess` at the left ends.
        below: At the right ends.
        turn: Count of cuts.

    Returns:
        Whole steps strictly inside where there are any.
    """
    width = met - unmet
    with np.errstate(invalid="ignore", divide="ignore"):
        guess = unmet + width * (above / (above - below))
    usable = np.isfinite(guess) & (turn % 3 < 2)
    if turn % 3 == 1:
        margin = np.maximum(1.0, width / 64)
        guess = np.where(guess - unmet < met - guess, guess + margin, guess - margin)
    middle = np.where(usable, guess, unmet + width / 2)
    return np.clip(np.floor(middle), unmet + 1, np.maximum(met - 1, unmet + 1))
