"""Everything the theory says of one ridge problem at once: what `groktimizer predict ridge` prints."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy.typing as npt

from groktimizer.dynamics import critical_momentum
from groktimizer.ground.checks import positive
from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.claims import Bound
from groktimizer.theory.clock.forecast import Steps, grid
from groktimizer.theory.clock.search import LATEST
from groktimizer.theory.ridge.advice import DecayAdvice, StoppingAdvice, early_stopping, recommend
from groktimizer.theory.ridge.bounds import predicted_generalisation
from groktimizer.theory.ridge.modal import Start
from groktimizer.theory.ridge.problem import Momentum, Ridge
from groktimizer.theory.ridge.times import GrokkingTime
from groktimizer.theory.ridge.trajectory import Trajectory

GRADIENT_DESCENT, CRITICAL = "gradient descent", "CDM"
_TIMES = 4.0  # a curve without a last time is drawn over so many times 1 / (lr weight_decay)
_PAST = 20.0  # one with a last time up to so many times that


@dataclass(frozen=True)
class Method:
    """One method's momentum mu, exact times, and run."""

    momentum: float
    times: GrokkingTime
    curve: Trajectory


@dataclass(frozen=True)
class Forecast:
    """What will happen.

    Args:
        lr: eta.
        weight_decay: lambda.
        methods: By name: gradient descent, heavy ball, CDM.
        bounds: The paper's bounds, for gradient descent.
        predicted: Our practical predictor of gradient descent's t2; NaN where it has none.
        recommendation: The decay that was asked for, or why there is none.
        stopping: The best step to stop training without decay.
        zero: Train and population loss of theta = 0, which decay leads to.
    """

    lr: float
    weight_decay: float
    methods: Mapping[str, Method]
    bounds: tuple[Bound, ...]
    predicted: float
    recommendation: DecayAdvice | str
    stopping: StoppingAdvice
    zero: tuple[float, float]

    @property
    def forgets(self) -> bool:
        """Whether theta = 0 has a population loss within the tolerance: then t2 shows forgetting and no learning."""
        return self.zero[1] <= next(iter(self.methods.values())).times.test_tolerance

    @property
    def advice(self) -> tuple[str, ...]:
        """The lines of every method's times, each once, in order."""
        return tuple(dict.fromkeys(line for method in self.methods.values() for line in method.times.advice))


def forecast(
    ridge: Ridge,
    theta0: npt.ArrayLike,
    lr: float,
    weight_decay: float,
    train_tolerance: float,
    test_tolerance: float,
    *,
    momentum: float = 0.9,
    switch: int | None = None,
    max_delay: int | None = None,
    init_variance: float | None = None,
) -> Forecast:
    """Exact times of gradient descent, heavy ball and CDM, the bounds, and a recommendation.

    Args:
        ridge: The problem.
        theta0: Initial parameters, shape (m,).
        lr: eta.
        weight_decay: lambda > 0.
        train_tolerance: epsilon.
        test_tolerance: c.
        momentum: mu of the heavy ball; CDM takes ``(1 - sqrt(lr weight_decay))^2``.
        switch: Step from which decay and momentum act, None for the first.
        max_delay: The recommendation's delay at most; None takes that of CDM, which gradient descent should match.
        init_variance: nu^2 of the bounds; None takes the mean square of theta0.

    Returns:
        The forecast.

    Raises:
        UserError: If a setting is not accepted, or forgetting takes more steps than there are exact numbers.
    """
    positive(weight_decay=weight_decay, lr=lr)
    if lr * weight_decay * LATEST < _TIMES:  # steps are no longer exact numbers
        raise UserError(
            f"lr={lr:g}, weight_decay={weight_decay:g}: forgetting takes more than {LATEST:.1g} steps, accepted are "
            f"values with a product of at least {_TIMES / LATEST:.2g}"
        )
    start, tolerances = ridge.start(theta0), (train_tolerance, test_tolerance)
    critical = critical_momentum(lr, weight_decay) if lr * weight_decay < 1 else 0.0
    kinds: dict[str, tuple[float, Momentum]] = {
        GRADIENT_DESCENT: (0.0, 0.0),
        f"heavy ball {momentum:g}": (momentum, momentum),
        CRITICAL: (critical, "critical"),
    }
    methods = {
        name: Method(
            mu,
            ridge.grokking_time(start, lr, weight_decay, *tolerances, kind, switch),
            ridge.trajectory(start, lr, weight_decay, kind, switch),
        )
        for name, (mu, kind) in kinds.items()
    }
    zero = ridge.trajectory(ridge.modal.zero, lr, 0.0).train_loss(0), ridge.population.loss(-ridge.teacher)
    return Forecast(
        lr,
        weight_decay,
        methods,
        ridge.bounds(start, lr, weight_decay, *tolerances, init_variance=init_variance),
        predicted_generalisation(ridge.facts(start, lr, weight_decay, *tolerances)),
        _recommendation(ridge, start, lr, tolerances, max_delay, methods[CRITICAL].times),
        early_stopping(ridge, start, lr),
        (float(zero[0]), zero[1]),
    )


def _recommendation(
    ridge: Ridge, start: Start, lr: float, tolerances: tuple[float, float], wish: int | None, critical: GrokkingTime
) -> DecayAdvice | str:
    """The least decay with which gradient descent meets the delay; the reason in words when there is none."""
    if wish is None:
        if critical.settled is None or critical.memorised is None:
            return "none: CDM does not settle, so there is no delay to match"
        wish = max(critical.settled - critical.memorised, 0)
    try:
        return recommend(ridge, start, *tolerances, max_delay=wish, lr=lr)
    except UserError as error:
        return f"none: {error}"


def curve_steps(found: Forecast, points: int = 400) -> Steps:
    """Steps at which to draw the forecast: as `grid` has them, past the last settled time; at most `points` and 0."""
    times = [method.times for method in found.methods.values()]
    ends = [end for one in times for end in (one.settled, one.memorised_settled)]
    slowest = _TIMES / (found.lr * found.weight_decay)
    last = min(max(slowest if end is None else _PAST * end for end in ends), LATEST)
    return grid(max(last, 100.0), points)
