"""Everything the theory says of one sparse problem at once: what `groktimizer predict sparse` prints."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from groktimizer.ground import checks
from groktimizer.ground.errors import UserError
from groktimizer.measures import Transition
from groktimizer.theory.clock.checks import check_lr, check_vector, check_weight
from groktimizer.theory.clock.claims import Bound, at_most, stated
from groktimizer.theory.clock.forecast import Array, Descent, better_weight, grid, known, until_rest
from groktimizer.theory.lasso import laws
from groktimizer.theory.lasso.answers import basis_pursuit
from groktimizer.theory.lasso.checks import FARTHEST
from groktimizer.theory.lasso.path import LassoPath
from groktimizer.theory.lasso.problem import Lasso
from groktimizer.theory.lasso.recovery import NOISE, STRICT, Recovery
from groktimizer.theory.lasso.solvers import Runs, solve
from groktimizer.theory.lasso.times import LassoTimes, times_along

PROXIMAL, ACCELERATED = "proximal (ISTA)", "accelerated"
_FIRST = 10  # steps over 1 / sqrt(alpha beta) of the first accelerated run
_WORK = 2e10  # products that an accelerated run may cost: a minute
_REST = 1e-3  # distance from the limit, over what the tolerance allows, that counts as there
_SPREAD = 2.0  # measured: t2 takes up to so many times Theorem 3.3's law
_DRAWN = 2  # the curve of ISTA is drawn up to so many times its last time


@dataclass(frozen=True, eq=False)
class SparseForecast:
    """What will happen: the clocks of ISTA, exact, and of accelerated steps, taken one by one; laws; advice.

    Args:
        lr: alpha.
        weight: beta.
        proximal: ISTA.
        accelerated: The same steps with momentum and restart.
        times: ISTA's times with the limits of both errors, which are those of every method.
        recovery: Whether the samples allow to find a*.
        laws: By what they are about.
        advice: What to change, one line each.
    """

    lr: float
    weight: float
    proximal: Descent
    accelerated: Descent
    times: LassoTimes
    recovery: Recovery
    laws: Mapping[str, Bound]
    advice: tuple[str, ...]

    @property
    def transition(self) -> Transition:
        """What ISTA does after it has memorised."""
        return self.times.transition

    @property
    def verdict(self) -> str:
        """Whether a* can be found, in one line."""
        found = self.recovery
        if found.recovers:
            told = f"recovers: a* is the fit of least l1 norm (null-space constant {found.null_space:.3g} < 1)"
            if found.fuchs < STRICT:
                told += f"; Fuchs's certificate {found.fuchs:.3g} < 1: with a small weight no wrong coordinate stays"
            return told
        if found.tied:
            return "does not recover: a* is one of several fits of least l1 norm; which of them a run ends at is open"
        reach = "within" if found.error <= self.times.test_tolerance else "beyond"
        return (
            f"does not recover: the fit of least l1 norm lies at relative distance {found.error:.3g} from a*, {reach} "
            "the tolerance; no run of any length ends at a*, more samples may help"
        )


def forecast(
    problem: Lasso,
    a0: npt.ArrayLike,
    lr: float,
    weight: float,
    train_tolerance: float,
    test_tolerance: float,
    teacher: npt.ArrayLike | None = None,
) -> SparseForecast:
    """Times of ISTA and of the accelerated method, the laws, the verdict and advice; arguments as in `grokking_time`.

    lr is at most 1 / L; without a teacher the fit of least l1 norm takes its place.

    >>> rng = np.random.default_rng(0)
    >>> features, teacher = rng.normal(size=(20, 40)) / 20**0.5, np.zeros(40)
    >>> teacher[:2] = [1.0, -2.0]
    >>> found = forecast(Lasso(features, features @ teacher), np.zeros(40), 0.1, 1e-5, 1e-3, 1e-2, teacher)
    >>> found.recovery.recovers, found.proximal.settled > 50 * found.accelerated.settled
    (True, True)

    Returns:
        The forecast.

    Raises:
        UserError: If an argument is not accepted, or a time would be beyond 1e12 steps.
    """
    checks.positive(train_tolerance=train_tolerance, test_tolerance=test_tolerance)
    target = teacher_of(problem, teacher)
    check_lr(lr, problem.sharpness, "features")
    check_weight(weight, problem.max_weight)
    check_lr(lr, problem.sharpness, "features", momentum=True)
    can = problem.recovery(target)
    delay, memorising, floor = problem.laws(a0, lr, weight, target, can.null_space)
    _check_length(lr, weight, laws.drift(problem.features, problem.targets, target, lr, weight, a0), memorising.value)
    path = problem.trajectory(a0, lr, weight)
    times = times_along(path, target, train_tolerance, test_tolerance, can)
    fast = _accelerated(problem, path, target, times)
    arrives = (
        stated(can.recovers, "a* is the fit of least l1 norm", "a* is not the only fit of least l1 norm"),
        at_most("recovery error in the end", times.recovery_floor, test_tolerance),
    )
    # The laws count from a train error that falls freely; near its end it creeps, and t1 is late.
    falls = at_most("train error in the end, twice", 2 * times.train_floor, train_tolerance)
    steps = _accelerated_law(problem, path, target, times)
    return SparseForecast(
        lr=lr,
        weight=weight,
        proximal=_proximal(path, target, times),
        accelerated=fast,
        times=times,
        recovery=can,
        laws={
            PROXIMAL: replace(delay, conditions=(*delay.conditions, *arrives, falls)),
            "its memorising": replace(memorising, conditions=(*memorising.conditions, falls)),
            ACCELERATED: replace(steps, conditions=(*steps.conditions, *arrives, falls)),
            "l2 alone": floor,
        },
        advice=(*_noise(problem, target), *_floors(times, can), *_better_weight(problem, path, target, times, can)),
    )


def teacher_of(problem: Lasso, teacher: npt.ArrayLike | None) -> Array:
    """A checked a*, shape (n,), by default the fit of least l1 norm."""
    if teacher is None:
        return basis_pursuit(problem.features, problem.targets)
    return check_vector("teacher", teacher, problem.n)


def _check_length(lr: float, weight: float, delay: float, memorising: float) -> None:
    """Refuse runs of which the curve would be drawn beyond the last step that has a state."""
    steps = _SPREAD * _DRAWN * delay
    if steps > FARTHEST:
        raise UserError(
            f"lr={lr:g}, weight={weight:g}: t2 ~ {delay:.1g} steps, accepted are values with a product of at least "
            f"{lr * weight * steps / FARTHEST:.2g}"
        )
    steps = _DRAWN * memorising
    if steps > FARTHEST:
        raise UserError(
            f"lr={lr:g}: t1 ~ {memorising:.1g} steps, accepted are values of at least {lr * steps / FARTHEST:.2g}"
        )


def _proximal(path: LassoPath, teacher: Array, times: LassoTimes) -> Descent:
    """ISTA as a curve, drawn past its last time and its last event."""
    ends = [times.settled or 0, times.memorised_settled or 0]
    last = path.events[-1].step if path.n_events else 1
    steps = grid(min(_DRAWN * max(*ends, last), FARTHEST))
    clocks = (times.memorised, times.memorised_settled, times.generalised, times.settled)
    train, recovery = path.train_error(steps), path.error(steps, teacher)
    return Descent(*clocks, PROXIMAL, steps, train, recovery, taken=None, resting=True)


def _accelerated(problem: Lasso, path: LassoPath, teacher: Array, times: LassoTimes) -> Descent:
    """The accelerated run, until it rests at the estimator, which is known."""

    def run(steps: int) -> Descent:
        runs = solve(
            problem.features, problem.targets, path.at(0), path.lr, path.weight, grid(steps), teacher,
            method=ACCELERATED, train_tolerance=times.train_tolerance, test_tolerance=times.test_tolerance,
        )  # fmt: skip
        clocks = known(runs.memorised, runs.memorised_settled, runs.generalised, runs.settled)
        resting = _rests(problem, runs, path.limit, teacher, times)
        return Descent(*clocks, ACCELERATED, runs.steps, runs.train_error, runs.recovery_error, steps, resting)

    most = max(int(_WORK / problem.features.size), 1000)
    return until_rest(run, _FIRST / math.sqrt(path.lr * path.weight), most)


def _rests(problem: Lasso, runs: Runs, limit: Array, teacher: Array, times: LassoTimes) -> bool:
    """Whether what is left of the way changes neither time: it is small beside the distance to the tolerance."""
    left = float(np.linalg.norm(runs.a - limit))
    way = math.sqrt(problem.sharpness) * left / float(np.linalg.norm(problem.targets))
    away = left / float(np.linalg.norm(teacher))
    near = _REST * abs(times.recovery_floor - times.test_tolerance)
    return away <= near and way <= _REST * abs(times.train_floor - times.train_tolerance)


def _accelerated_law(problem: Lasso, path: LassoPath, teacher: Array, times: LassoTimes) -> Bound:
    """`laws.accelerated` until the l1 norm is within the test tolerance of its least value."""
    memorised = path.at(min(times.memorised or 0, FARTHEST))
    excess = times.test_tolerance * float(np.abs(teacher).sum())
    away = float(np.linalg.norm(memorised - path.limit))
    return laws.accelerated(away, path.lr, path.weight, excess, problem.sharpness)


def _noise(problem: Lasso, teacher: Array) -> list[str]:
    """Say that the targets are not those of a*."""
    off = np.linalg.norm(problem.features @ teacher - problem.targets) / np.linalg.norm(problem.targets)
    if off <= NOISE:
        return []
    return [f"targets are not X a* (relative distance {off:.3g}): the verdict is for targets without this noise"]


def _floors(times: LassoTimes, recovery: Recovery) -> list[str]:
    """The lines of `LassoTimes.advice` that are news: a verdict of no recovery says where small weights end."""
    news = recovery.recovers or times.attainable <= times.test_tolerance
    return [line for line in times.advice if news or not line.startswith("test_tolerance")]


def _better_weight(
    problem: Lasso, path: LassoPath, teacher: Array, times: LassoTimes, recovery: Recovery
) -> tuple[str, ...]:
    """The largest weight found that keeps both tolerances, with ISTA's exact times; nothing if it is about this one."""
    if times.recovery_floor > times.test_tolerance and times.attainable > times.test_tolerance:
        return ()

    def run(weight: float) -> LassoTimes:
        other = problem.trajectory(path.at(0), path.lr, weight)
        return times_along(other, teacher, times.train_tolerance, times.test_tolerance, recovery)

    def told(other: LassoTimes, weight: float, both: int) -> str:
        ends = f"recovery error {other.recovery_floor:.3g} in the end"
        return f"{PROXIMAL} within both for good from step {both:,}, {ends}"

    return better_weight(path.weight, problem.max_weight, times.ends, run, told)
