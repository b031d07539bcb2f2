"""Time laws for networks: from kernel to rich (arXiv 2311.18817), and first passage of the norm (arXiv 2605.18845).

Neither is exact; the second has two constants that runs of the same architecture have to supply, and their error.
lr is eta, weight_decay lambda (beta in the first paper), memorised_norm V_mem.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from groktimizer.ground.errors import UserError

_ENOUGH = 3  # runs without which a calibration has no error


def kernel_to_rich_time(init_norm: float, weight_decay: float, lr: float | None = None) -> float:
    """Time ``ln(gamma) / beta`` at which gradient flow with decay leaves the kernel regime.

    For a homogeneous network whose initial norm gamma is large and decay beta a negative power of it, just before this
    time the network is the kernel predictor of its initialisation, just after it a stationary point of the minimum-norm
    problem (arXiv 2311.18817). The decay is ``(beta/2) ||theta||^2``, gamma = ||theta(0)|| is above 1. Given eta, the
    time is in steps.

    Returns:
        Time of gradient flow, or steps.

    Raises:
        UserError: If one is not accepted.
    """
    if not (init_norm > 1 and weight_decay > 0 and (lr is None or lr > 0)):
        raise UserError(
            f"init_norm={init_norm!r}, weight_decay={weight_decay!r}, lr={lr!r}: accepted are init_norm > 1, others > 0"
        )
    return math.log(init_norm) / weight_decay / (1.0 if lr is None else lr)


@dataclass(frozen=True)
class NormRun:
    """What first-passage calibration needs from one run.

    Args:
        lr: eta.
        weight_decay: lambda.
        memorised_norm: V_mem = ||theta||^2 at memorisation.
        generalised_norm: V = ||theta||^2 at generalisation, or None if the run did not get there.
        delay: Generalised minus memorised, steps; None likewise.
    """

    lr: float
    weight_decay: float
    memorised_norm: float
    generalised_norm: float | None = None
    delay: float | None = None


@dataclass(frozen=True)
class FirstPassage:
    """The law ``delay = ln(V_mem / V_star) / (2 kappa eta lambda)`` with its constants and measured error.

    Args:
        kappa: Rate of the norm relative to plain decay: 1 for SGD, 0.2-0.4 reported for AdamW.
        critical_norm: V_star, the squared norm at which networks of this kind generalise.
        errors: Leave-one-out log errors ``ln(predicted / measured)``, one a run.
    """

    kappa: float
    critical_norm: float
    errors: tuple[float, ...] = ()

    def delay(self, lr: float, weight_decay: float, memorised_norm: float) -> float:
        """Predicted delay in steps; 0 when the norm is already below V_star, inf without decay."""
        if not (lr > 0 and weight_decay >= 0 and memorised_norm > 0):
            raise UserError(
                f"lr={lr!r}, weight_decay={weight_decay!r}, memorised_norm={memorised_norm!r}: accepted are lr > 0, "
                "weight_decay >= 0, memorised_norm > 0"
            )
        if weight_decay == 0:
            return math.inf
        return max(math.log(memorised_norm / self.critical_norm), 0.0) / (2 * self.kappa * lr * weight_decay)

    @property
    def mean_percentage_error(self) -> float:
        """Leave-one-out mean absolute percentage error, in percent; NaN without errors."""
        return 100 * float(np.mean([abs(math.exp(error) - 1) for error in self.errors])) if self.errors else math.nan

    def interval(
        self, lr: float, weight_decay: float, memorised_norm: float, confidence: float = 0.95
    ) -> tuple[float, float]:
        """Student interval for the delay of a new run from the spread of the leave-one-out log errors around 0.

        Few runs give a wide interval, as they should, and fewer than three (0, inf).

        Returns:
            Low and high.
        """
        if len(self.errors) < _ENOUGH:
            return 0.0, math.inf
        count = len(self.errors)
        spread = math.sqrt(sum(error**2 for error in self.errors) / count) * math.sqrt(1 + 1 / count)
        reach = math.exp(float(stdtrit(count - 1, (1 + confidence) / 2)) * spread)
        middle = self.delay(lr, weight_decay, memorised_norm)
        return middle / reach, middle * reach


def calibrate(runs: Sequence[NormRun]) -> FirstPassage:
    """Constants of the law from runs that generalised, with leave-one-out errors.

    V_star is the geometric mean of the squared norms at generalisation, kappa the median over runs of
    ``ln(V_mem / V_gen) / (2 eta lambda delay)``. Each run's error is that of the law calibrated on the others.
    Runs without a delay, or whose norm did not fall, are left out.

    Returns:
        The calibrated law.

    Raises:
        UserError: If none is left.
    """
    usable = [run for run in runs if run.delay and run.generalised_norm and run.generalised_norm < run.memorised_norm]
    if not usable:
        raise UserError(f"runs: {len(runs)} given, accepted is at least one that generalised with its norm falling")
    law = _fit(usable)
    if len(usable) < _ENOUGH:
        return law
    others = [_fit(usable[:i] + usable[i + 1 :]) for i in range(len(usable))]
    # A law that puts V_star above this run's norm predicts no delay at all: count it as one step.
    errors = [
        math.log(max(other.delay(run.lr, run.weight_decay, run.memorised_norm), 1.0) / float(run.delay or 1))
        for other, run in zip(others, usable, strict=True)
    ]
    return FirstPassage(law.kappa, law.critical_norm, tuple(errors))


def _fit(runs: Sequence[NormRun]) -> FirstPassage:
    """Constants without errors."""
    norms = [math.log(run.generalised_norm) for run in runs if run.generalised_norm]
    rates = [
        math.log(run.memorised_norm / run.generalised_norm) / (2 * run.lr * run.weight_decay * run.delay)
        for run in runs
        if run.generalised_norm and run.delay
    ]
    return FirstPassage(float(np.median(rates)), math.exp(float(np.mean(norms))))
