"""Grokking in linear estimators (arXiv 2310.16441): exact losses in the proportional limit, and the delay.

Inputs x ~ N(0, I), teacher T and student S with entries of variance 1/(2 d_in d_out), D = S - T, ratio = d_in / N_tr.
Train loss ``Tr(D' Sigma_tr D) / d_out`` and generalisation loss ``||D||^2 / d_out``, gradient descent
``D <- (I - (2 eta/d_out) Sigma_tr) D - (eta gamma/d_out)(D + T)``. As d_in grows, the eigenvalues nu of Sigma_tr follow
the Marchenko-Pastur law and both losses become integrals over it; times are steps in the limit of small eta.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import special
from scipy.optimize import brentq

from groktimizer.ground import checks
from groktimizer.ground.errors import UserError

Array = npt.NDArray[np.float64]

_NODES = 4096  # of the quadrature
_REACH = 36.0  # its variable ends at plus and minus this: what is left out is below rounding
_CONFIDENT = 0.95  # accuracy at which the paper reads its times


@lru_cache(maxsize=4)
def marchenko_pastur(ratio: float, nodes: int = _NODES) -> tuple[Array, Array]:
    """Quadrature of the Marchenko-Pastur law: eigenvalues and weights that sum to 1, not to be written to.

    Density ``sqrt((l+ - nu)(nu - l-)) / (2 pi ratio nu)`` on ``l+- = (1 +- sqrt(ratio))^2``, and for ratio > 1 an atom
    ``1 - 1/ratio`` at 0, which comes first. With ``nu = l- + 4 sqrt(ratio) sin^2(phi)`` it is
    ``4 sin^2(2 phi) / (pi nu) dphi`` on (0, pi/2). Near ratio 1, and at late times, what counts lies at tiny phi of
    every size; so the nodes are even in w with ``phi = (pi/2) / (1 + exp(-w))``. The integrand falls exponentially on
    both sides, so the trapezoidal rule converges geometrically, at any ratio.

    Returns:
        Both.
    """
    _check_ratio(ratio)
    w = np.linspace(-_REACH, _REACH, nodes)
    share = special.expit(w)
    phi, width = math.pi / 2 * share, math.pi / 2 * share * special.expit(-w) * (w[1] - w[0])
    values = _gap(ratio) ** 2 + 4 * math.sqrt(ratio) * np.sin(phi) ** 2
    weights = 4 * np.sin(2 * phi) ** 2 / (math.pi * values) * width
    if ratio > 1:
        values, weights = np.r_[0.0, values], np.r_[(ratio - 1) / ratio, weights]
    values.flags.writeable = weights.flags.writeable = False
    return values, weights


@dataclass(frozen=True)
class LinearFloors:
    """Where the losses end: the train loss, and the test loss as bias of decay and null space (for ratio > 1)."""

    train: float
    bias: float
    null_space: float

    @property
    def generalisation(self) -> float:
        """Limit of the generalisation loss."""
        return self.bias + self.null_space

    @property
    def largest_term(self) -> str:
        """Name of the larger term of the generalisation floor."""
        return "bias of weight decay" if self.bias > self.null_space else "null space"


@dataclass(frozen=True)
class LinearEstimator:
    """One setting of the paper.

    Args:
        ratio: d_in / N_tr.
        lr: eta.
        weight_decay: gamma.
        outputs: d_out.
        student_scale: Initial student relative to the teacher's scale; its square weighs the student's part.
    """

    ratio: float
    lr: float
    weight_decay: float = 0.0
    outputs: int = 1
    student_scale: float = 1.0

    def __post_init__(self) -> None:
        _check_ratio(self.ratio)
        checks.positive(lr=self.lr, outputs=self.outputs, student_scale=self.student_scale)
        checks.not_negative(weight_decay=self.weight_decay)
        # D <- (I - (2 eta/d_out) Sigma - (eta gamma/d_out) I) D with nu <= (1 + sqrt(ratio))^2
        limit = 2 * self.outputs / (2 * (1 + math.sqrt(self.ratio)) ** 2 + self.weight_decay)
        if self.lr >= limit:
            raise UserError(f"lr={self.lr:g}: diverges on such inputs, accepted are values below {limit:.6g}")

    def losses(self, steps: npt.ArrayLike, law: tuple[Array, Array] | None = None) -> tuple[Array, Array]:
        """Train and generalisation loss over d_out at steps t >= 0, Eqs (5)-(8) and (15).

        With E = exp(-2 eta (nu + gamma/2) t / d_out) a direction is ``D = E S_0 - T (E nu + gamma/2)/(nu + gamma/2)``,
        so the losses are ``1/2 E_MP[(a^2 E^2 + ((E nu + gamma/2)/(nu + gamma/2))^2) q]``, q = nu or 1, a the student's
        scale.

        Args:
            steps: Any shape.
            law: Eigenvalues and weights in place of Marchenko-Pastur's, such as those of a drawn Sigma_tr.

        Returns:
            Both, shape ``steps.shape``.

        Raises:
            UserError: If a step is negative or not finite.
        """
        if not (np.isfinite(steps).all() and np.min(steps, initial=0) >= 0):
            raise UserError("steps: holds negative or non-finite ones, accepted are steps >= 0")
        values, weights = marchenko_pastur(self.ratio) if law is None else law
        t = np.asarray(steps, dtype=np.float64)[..., None]
        half = self.weight_decay / 2
        decay = np.exp(-2 * self.lr / self.outputs * (values + half) * t)
        total = values + half
        safe = np.where(total > 0, total, 1.0)
        teacher = np.where(total > 0, (decay * values + half) / safe, 1.0)
        spread = (self.student_scale**2 * decay**2 + teacher**2) / (2 * self.outputs)
        return (spread * values) @ weights, spread @ weights

    def floors(self) -> LinearFloors:
        """Limits of both losses: what the bias of decay leaves, and without decay the null space."""
        values, weights = marchenko_pastur(self.ratio)
        half, seen, share = self.weight_decay / 2, values > 0, 1 / (2 * self.outputs)
        bias = np.where(seen, (half / (values + half + ~seen)) ** 2, 0.0) * share
        # Decay forgets the student there and never learns the teacher; without it both stay.
        null = float(weights[~seen].sum()) * share * (1 + (self.student_scale**2 if half == 0 else 0.0))
        return LinearFloors(float((bias * values) @ weights), float(bias @ weights), null)

    def accuracies(self, steps: npt.ArrayLike, tolerance: float) -> tuple[Array, Array]:
        """Train and test accuracy, Eq (10): chance that the mean squared error of the outputs is <= tolerance."""
        train, test = self.losses(steps)
        return accuracy(train, tolerance, self.outputs), accuracy(test, tolerance, self.outputs)

    def times(self, tolerance: float, level: float = _CONFIDENT, latest: float = 1e15) -> tuple[float, float]:
        """Steps (real numbers) at which train and test accuracy reach a level.

        Args:
            tolerance: epsilon: an output is correct if its squared error, averaged over outputs, is at most this.
            level: Accuracy asked for, in (0, 1).
            latest: inf is returned beyond this step.

        Returns:
            Train and test time; inf where the level is never reached, see `floors`.

        Raises:
            UserError: If the tolerance is not positive or the level not inside (0, 1).
        """
        checks.positive(tolerance=tolerance)
        if not 0 < level < 1:
            raise UserError(f"level={level!r}: accepted are numbers in (0, 1)")
        return self._first(0, tolerance, level, latest), self._first(1, tolerance, level, latest)

    def _first(self, which: int, tolerance: float, level: float, latest: float) -> float:
        """First crossing of one accuracy, bracketed on a fine geometric grid."""

        def short(log_step: npt.ArrayLike) -> Array:
            return self.accuracies(np.exp(log_step), tolerance)[which] - level

        grid = np.linspace(math.log(1e-3), math.log(latest), 400)
        reached = short(np.r_[-np.inf, grid]) >= 0
        first = int(np.argmax(reached))
        if first <= 1:  # before the first step; or nowhere, for which argmax says 0
            return (0.0 if reached[0] else math.inf) if first == 0 else math.exp(grid[0])
        return math.exp(float(np.asarray(brentq(short, grid[first - 2], grid[first - 1], xtol=1e-12))))


def accuracy(loss: npt.ArrayLike, tolerance: float, outputs: int = 1) -> Array:
    """Chance that the mean square of d_out Gaussian errors is below epsilon: the chi-square law.

    Args:
        loss: Its mean, >= 0, any shape.
        tolerance: epsilon, > 0.
        outputs: d_out; for one it is ``erf(sqrt(epsilon / (2 loss)))``.

    Returns:
        In [0, 1], shape of `loss`.
    """
    size = np.asarray(loss, dtype=np.float64)
    with np.errstate(divide="ignore", over="ignore"):  # a loss of about 0: the chance is 1
        return special.gammainc(outputs / 2, outputs * tolerance / (2 * size))


def needed_loss(tolerance: float, level: float = _CONFIDENT, outputs: int = 1) -> float:
    """Loss at which `accuracy` is `level`: for one output ``epsilon / (2 erfinv(level)^2)``."""
    return outputs * tolerance / (2 * float(special.gammaincinv(outputs / 2, level)))


def train_loss_closed_form(ratio: float, lr: float, steps: npt.ArrayLike) -> Array:
    """Eq (9), without decay: ``exp(-4 eta (ratio + 1) t) I_1(x) / (x / 2)`` with x = 8 eta t sqrt(ratio)."""
    t = np.asarray(steps, dtype=np.float64)
    x = 8 * lr * t * math.sqrt(ratio)
    bessel = np.where(x > 0, special.ive(1, x) / np.where(x > 0, x / 2, 1.0), 1.0)
    return bessel * np.exp(-4 * lr * t * _gap(ratio) ** 2)


def late_losses(ratio: float, lr: float, steps: npt.ArrayLike) -> tuple[Array, Array]:
    """Eq (11), train and test loss for ratio < 1, ``eta t`` large: the slowest mode's exponential and power of t."""
    _check_ratio_below_1(ratio)
    t, edge = np.asarray(steps, dtype=np.float64), _gap(ratio) ** 2
    train = np.exp(-4 * lr * edge * t) / (16 * math.sqrt(math.pi) * ratio**0.75 * (lr * t) ** 1.5)
    return train, train / edge


def delay(ratio: float, lr: float, outputs: int = 1) -> float:
    """Eq (12): ``ln(1/(1 - sqrt(ratio))) / (2 eta (1 - sqrt(ratio))^2)`` steps between train and test accuracy.

    Both late losses have the same shape and differ by ``(1 - sqrt(ratio))^2``; the delay is the time in which the
    slowest mode makes up for it. This is the limit of small tolerances: it leaves out the power of t in Eq (11), and at
    epsilon = 1e-3, ratio 0.9 the exact `LinearEstimator.times` differ by 20,281 steps, not 56,386.

    >>> round(delay(0.9, 0.01))
    56386

    Returns:
        Steps; inf for ratio >= 1, where nothing generalises without decay.
    """
    _check_ratio(ratio)
    checks.positive(lr=lr, outputs=outputs)
    if ratio >= 1:
        return math.inf
    edge = _gap(ratio)
    return -math.log(edge) * outputs / (2 * lr * edge**2)


def divergence(ratio: float, lr: float) -> float:
    """Leading behaviour of `delay` as ratio goes to 1: ``ln(4/(1 - ratio)^2) / (eta (1 - ratio)^2)``."""
    _check_ratio(ratio)
    checks.positive(lr=lr)
    return math.log(4 / (1 - ratio) ** 2) / (lr * (1 - ratio) ** 2)


def decayed_delay(ratio: float, lr: float) -> float:
    """Eq (16): with decay, ratio < 1, ``ln(1 + sqrt(ratio)) / (2 eta (1 - sqrt(ratio))^2)``."""
    _check_ratio_below_1(ratio)
    checks.positive(lr=lr)
    return math.log1p(math.sqrt(ratio)) / (2 * lr * _gap(ratio) ** 2)


def decay_floors(ratio: float, weight_decay: float) -> tuple[float, float]:
    """Final losses for small decay and ratio < 1: ``gamma^2/(8 (1 - ratio))`` and ``gamma^2/(8 (1 - ratio)^3)``.

    From Eq (15): ``1/2 E_MP[(gamma/2)^2 / nu]`` and ``1/2 E_MP[(gamma/2)^2 / nu^2]`` with the moments 1/(1 - ratio) and
    1/(1 - ratio)^3. The paper prints twice these values (Eq 16); simulation agrees with ours.

    Returns:
        Train and generalisation loss.
    """
    _check_ratio_below_1(ratio)
    return weight_decay**2 / (8 * (1 - ratio)), weight_decay**2 / (8 * (1 - ratio) ** 3)


def _gap(ratio: float) -> float:
    """``1 - sqrt(ratio)``, without cancellation."""
    return (1 - ratio) / (1 + math.sqrt(ratio))


def _check_ratio(ratio: float) -> None:
    if not (math.isfinite(ratio) and ratio > 0 and ratio != 1):
        raise UserError(f"ratio={ratio!r}: accepted are positive numbers other than 1, where the delay diverges")


def _check_ratio_below_1(ratio: float) -> None:
    if not 0 < ratio < 1:
        raise UserError(f"ratio={ratio!r}: accepted are numbers in (0, 1), more samples than inputs")
