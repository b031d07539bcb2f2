"""The theorems of arXiv 2601.19791 as functions: each names itself, checks its conditions, and gives its number.

Times are those of the paper: t1 the last step with train loss >= epsilon (memorised-settled minus one), t2 the first
step with population loss <= c. A bound whose conditions fail is still computed. Where the paper's conditions hide
constants in an Omega, those of its proofs are used; Eq (8) has none and gets 1. What the proofs get from a Gaussian
theta_0 is measured; that it is Gaussian is taken on trust.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from groktimizer.theory.clock.claims import Bound, Condition, at_least, at_most, stated, trusted
from groktimizer.theory.ridge.spectrum import Array

_SMALL_STEP = 0.01  # Eq (8): eta lambda at most
_SAME = 1e-9  # relative, two floats that were meant equal


@dataclass(frozen=True)
class Facts:
    """What the theorems know of a problem.

    Args:
        n: Samples.
        m: Features.
        lr: eta.
        weight_decay: lambda.
        train_tolerance: epsilon.
        test_tolerance: c.
        init_variance: nu^2 of the Gaussian initialisation.
        initial_square: ||theta_0||^2.
        teacher_norm: ||theta*||.
        mean_square: L = ||Phi||_F^2 / n.
        least_gram: Smallest positive eigenvalue of Phi'Phi.
        least_covariance: Smallest eigenvalue of Sigma.
        feature_bound: b with ||phi(x)|| <= b.
        sharpness: Largest curvature of the train loss.
        hidden_square: ||theta_0||^2 outside the span of the data.
        misfit: Root mean square of what the teacher leaves of the targets, of train or test.
        failure: delta, the probability that a bound may fail with.
    """

    n: int
    m: int
    lr: float
    weight_decay: float
    train_tolerance: float
    test_tolerance: float
    init_variance: float
    initial_square: float
    teacher_norm: float
    mean_square: float
    least_gram: float
    least_covariance: float
    feature_bound: float
    sharpness: float
    hidden_square: float
    misfit: float
    failure: float = 0.05


def _log(value: float) -> float:
    """ln, NaN where there is none."""
    return math.log(value) if value > 0 else math.nan


def _log_factor(facts: Facts, curvature: float = 0.0) -> float:
    """``ln(1 - eta h - eta lambda)``, the log of a mode's factor; NaN where one step overshoots."""
    loss = facts.lr * (curvature + facts.weight_decay)
    return math.log1p(-loss) if loss < 1 else math.nan


def theorem_4_1(facts: Facts, steps: npt.ArrayLike) -> tuple[dict[str, Array], tuple[Condition, ...]]:
    """Curves of Theorem 4.1 (zero teacher).

    (i) ``L_n <= (L/2) (1 - eta l+/n - eta lambda)^2t ||theta_0||^2``; (ii) with probability 1 - 2 exp(-(m-n)/32)
    ``L >= lambda_min(Sigma) (1 - eta lambda)^2t (m - n) nu^2 / 2``; (iii) ``||theta_t||^2 <= (1 - eta lambda)^2t
    ||theta_0||^2``.

    Args:
        facts: The problem.
        steps: Steps t.

    Returns:
        The curves of (i), (ii), (iii) by name, each of the shape of `steps`; and the conditions.
    """
    t = np.asarray(steps, dtype=np.float64)
    decay = np.exp(2 * t * _log_factor(facts))
    memory = np.exp(2 * t * _log_factor(facts, facts.least_gram / facts.n))
    spread = facts.least_covariance * (facts.m - facts.n) * facts.init_variance
    curves = {
        "(i) train loss, upper": facts.mean_square / 2 * memory * facts.initial_square,
        "(ii) population loss, lower": spread / 2 * decay,
        "(iii) squared norm, upper": decay * facts.initial_square,
    }
    conditions = (
        _realizable(facts),
        at_most("||teacher||", facts.teacher_norm, 0.0),
        at_most("lr", facts.lr, 2 / (facts.mean_square + 2 * facts.weight_decay)),
        _wide(facts),
        *_start_conditions(facts),
    )
    return curves, conditions


def _wide(facts: Facts) -> Condition:
    """More features than samples by so many that a Gaussian part outside the data has about its mean norm."""
    return at_least("m", facts.m, facts.n + 32 * math.log(2 / facts.failure))


def _realizable(facts: Facts) -> Condition:
    """The paper has a linear teacher and labels without noise throughout."""
    opposite = f"targets are not the teacher's: root mean square difference {facts.misfit:.4g}"
    return stated(facts.misfit == 0, "targets are the teacher's, without noise", opposite)


def _start_conditions(facts: Facts) -> tuple[Condition, ...]:
    """What lower bounds on t2 need of theta_0; that it is Gaussian serves the paper to show this."""
    spread = max(facts.m - facts.n, 0) * facts.init_variance / 2
    return (
        at_least("||theta0 outside the data||^2", facts.hidden_square, spread),
        trusted("theta0 is drawn from N(0, nu^2 I)"),
    )


def _decay_limit(facts: Facts) -> float:
    """Largest lambda with ``(3/2) lambda ||theta*||^2 <= epsilon``."""
    return 2 * facts.train_tolerance / (3 * facts.teacher_norm**2) if facts.teacher_norm > 0 else math.inf


def _decay_conditions(facts: Facts) -> tuple[Condition, ...]:
    """Those of Theorem 4.4: largest lambda of its proof, and (implied by (4)) a start no shorter than the teacher."""
    norm, root = facts.teacher_norm, math.sqrt(facts.mean_square * facts.train_tolerance / 6)
    return (
        _realizable(facts),
        at_most("weight_decay", facts.weight_decay, min(_decay_limit(facts), root / norm if norm > 0 else math.inf)),
        at_most("lr", facts.lr, 1 / (facts.weight_decay + facts.feature_bound**2)),
        at_least("||theta0||", math.sqrt(facts.initial_square), norm),
    )


def _sample_condition(facts: Facts) -> Condition:
    """(3) of Theorem 4.2, with the constant of the proof of Theorem 4.6."""
    need = 2048 * facts.feature_bound**4 * facts.teacher_norm**4 / facts.train_tolerance**2
    return at_least("n", facts.n, need * math.log(4 / facts.failure))


def _width_conditions(facts: Facts) -> tuple[Condition, ...]:
    """(4) of Theorem 4.2: smallest m of the proof of Theorem 4.5."""
    spread, gram = facts.init_variance, facts.least_covariance * facts.init_variance
    return (
        _wide(facts),
        at_least("m", facts.m, facts.n + (8 * facts.teacher_norm**2 / spread if spread > 0 else math.inf)),
        at_least("m", facts.m, facts.n + (8 * facts.test_tolerance / gram if gram > 0 else math.inf)),
        at_least("c", facts.test_tolerance, facts.train_tolerance),
    )


def _theorem_4_2_conditions(facts: Facts) -> tuple[Condition, ...]:
    return (_sample_condition(facts), *_decay_conditions(facts), *_width_conditions(facts))


def _memorised_within(facts: Facts, ratio: float) -> float:
    """``n ln(ratio) / (2 eta l+)`` steps, at least 0."""
    return max(facts.n * _log(ratio) / (2 * facts.lr * facts.least_gram), 0.0)


def theorem_4_2_memorised(facts: Facts) -> Bound:
    """Eq (6): ``t1 <= n ln(6 b^2 ||theta_0||^2 / epsilon) / (2 eta l+)``."""
    value = _memorised_within(facts, 6 * facts.feature_bound**2 * facts.initial_square / facts.train_tolerance)
    return Bound("Theorem 4.2, Eq (6)", "t1 <=", value, _theorem_4_2_conditions(facts))


def _forgetting(facts: Facts) -> float:
    """``((m - n) nu^2 / 2) (sqrt(c / lambda_min(Sigma)) + ||theta*||)^-2``."""
    if facts.least_covariance <= 0:
        return 0.0
    radius = math.sqrt(facts.test_tolerance / facts.least_covariance) + facts.teacher_norm
    return (facts.m - facts.n) * facts.init_variance / 2 / radius**2


def theorem_4_2_generalised(facts: Facts) -> Bound:
    """Eq (7): ``t2 >= ln(((m-n) nu^2 / 2) (sqrt(c/lambda_min(Sigma)) + ||theta*||)^-2) / (4 eta lambda)``."""
    value = _log(_forgetting(facts)) / (4 * facts.lr * facts.weight_decay)
    slow = at_most("lr * weight_decay", facts.lr * facts.weight_decay, 0.5)  # ln(1 - x) >= -2 x
    conditions = (*_theorem_4_2_conditions(facts), slow, *_start_conditions(facts))
    return Bound("Theorem 4.2, Eq (7)", "t2 >=", value, conditions)


def theorem_4_4(facts: Facts) -> Bound:
    """``L_n(theta_t) <= epsilon for t >= (1/2) log_{1 - eta l+/n - eta lambda}(epsilon / (6 L ||theta_0||^2))``."""
    ratio = facts.train_tolerance / (6 * facts.mean_square * facts.initial_square) if facts.initial_square > 0 else 1.0
    return Bound(
        "Theorem 4.4",
        "t1 <=",
        max(_log(ratio) / _log_factor(facts, facts.least_gram / facts.n) / 2, 0.0),
        _decay_conditions(facts),
    )


def theorem_4_5(facts: Facts) -> Bound:
    """``L(theta_t) >= c for t <= log_{1 - eta lambda}(sqrt(2/((m-n) nu^2)) (sqrt(c/lambda_min) + ||theta*||))``."""
    value = -_log(_forgetting(facts)) / 2 / _log_factor(facts)
    conditions = (_realizable(facts), *_width_conditions(facts), *_start_conditions(facts))
    return Bound("Theorem 4.5", "t2 >=", value, conditions)


def theorem_4_6(facts: Facts) -> Bound:
    """Population loss of the limit: ``L <= 2 L_n + epsilon <= lambda ||theta*||^2 + epsilon``."""
    value = facts.weight_decay * facts.teacher_norm**2 + facts.train_tolerance
    conditions = (
        _sample_condition(facts),
        _realizable(facts),
        at_most("lr", facts.lr, 2 / (facts.weight_decay + facts.sharpness)),
        trusted("n >= 4 C^2 b^4 ||teacher||^4 / epsilon^2, C not given"),
        trusted("samples are drawn from the population"),
    )
    return Bound("Theorem 4.6", "population loss of the limit <=", value, conditions)


def _gaussian_conditions(facts: Facts) -> tuple[Condition, ...]:
    """Those of both halves of Eq (8)."""
    return (
        _realizable(facts),
        at_least("m", facts.m, facts.n + 1),
        at_most("m * least covariance - 1", abs(facts.m * facts.least_covariance - 1), _SAME),
        at_most("lr * weight_decay", facts.lr * facts.weight_decay, _SMALL_STEP),
        at_most("|c / epsilon - 1|", abs(facts.test_tolerance / facts.train_tolerance - 1), _SAME),
        at_least("m", facts.m, facts.teacher_norm**2 / facts.train_tolerance),
        trusted("features are drawn from N(0, I/m)"),
    )


def eq_8_memorised(facts: Facts) -> Bound:
    """``t1 <= n ln(14 m nu^2 / epsilon) / (2 eta l+)`` for Gaussian features of covariance I/m."""
    value = _memorised_within(facts, 14 * facts.m * facts.init_variance / facts.train_tolerance)
    square = 14 / 9 * facts.m * facts.init_variance  # 6 b^2 of it is 14 m nu^2
    conditions = (
        at_most("weight_decay", facts.weight_decay, _decay_limit(facts)),
        at_most("lr", facts.lr, 1 / (facts.weight_decay + facts.sharpness)),
        at_least("||theta0||", math.sqrt(facts.initial_square), facts.teacher_norm),
        at_most("||theta0||^2", facts.initial_square, square),
        at_most("b^2", facts.feature_bound**2, 1.5),
    )
    return Bound("Eq (8)", "t1 <=", value, _gaussian_conditions(facts) + conditions)


def eq_8_generalised(facts: Facts) -> Bound:
    """``t2 >= ln((m - n) nu^2 / (8 m epsilon)) / (2.02 eta lambda)`` for Gaussian features of covariance I/m."""
    log = _log((facts.m - facts.n) * facts.init_variance / (8 * facts.m * facts.train_tolerance))
    conditions = _gaussian_conditions(facts) + _start_conditions(facts)
    return Bound("Eq (8)", "t2 >=", log / (2.02 * facts.lr * facts.weight_decay), conditions)


def predicted_generalisation(facts: Facts) -> float:
    """Not a bound but a prediction of ours: ``t2 = ln((m - n) nu^2 lambda_min(Sigma) / c) / (2 eta lambda)``.

    The null-space part of the start alone, forgotten at rate eta lambda: within a few percent where decay is slow.

    Args:
        facts: The problem, with weight_decay > 0.

    Returns:
        Steps; 0 where that part is below c from the start, NaN where there is nothing to forget.
    """
    ratio = (facts.m - facts.n) * facts.init_variance * facts.least_covariance / facts.test_tolerance
    return max(_log(ratio), 0.0) / (2 * facts.lr * facts.weight_decay)


TIME_BOUNDS = (
    eq_8_memorised,
    eq_8_generalised,
    theorem_4_2_memorised,
    theorem_4_2_generalised,
    theorem_4_4,
    theorem_4_5,
    theorem_4_6,
)
