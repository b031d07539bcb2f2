"""The curve of errors over the number of features, or of samples; its peaks; the decay under which it has none."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.quadratic import Array
from groktimizer.theory.random_features.equivalent import Errors, RandomFeatures

Over = Literal["features", "samples"]
_RISE = 1e-9  # relative: a smaller rise is rounding
_SCAN, _HALVINGS = 49, 30  # decays that are tried, 4 a decade; of the interval in ln λ where the last rise ends
_SCANNED = (1e-8, 1e4)  # times the mean square of a sample's features together


@dataclass(frozen=True, eq=False)
class Curve:
    """Errors along one size.

    Attributes:
        over: Which size.
        sizes: Its values, ascending, shape (k,).
        errors: Of shape (k,).
    """

    over: Over
    sizes: Array
    errors: Errors


def curve(problem: RandomFeatures, weight_decay: float, sizes: npt.ArrayLike, *, width: float | None = None) -> Curve:
    """Compute errors over the number of features, or at a fixed number of them over the number of samples.

    Args:
        problem: The problem; of a curve over samples its own number of them does not matter.
        weight_decay: λ.
        sizes: Numbers of features N, or of samples where `width` is given; ascending.
        width: The number of features N, of the second layer with an `output_scale`, or None.

    Returns:
        The curve.

    Raises:
        UserError: If sizes do not ascend or are not positive.
    """
    values = np.asarray(sizes, dtype=np.float64)
    if values.ndim != 1 or values.size < 3 or not (np.diff(values) > 0).all():
        raise UserError("sizes: expected at least three numbers that ascend")
    if width is None:
        return Curve("features", values, problem.errors(values, weight_decay))
    return Curve("samples", values, problem.errors(width, weight_decay, samples=values))


def peaks(found: Curve) -> list[tuple[float, float]]:
    """Find the sizes at which the test error is larger than just before and just after.

    Args:
        found: The curve; a peak is known to within its grid.

    Returns:
        Pairs of size and test error, ascending in size.
    """
    test = found.errors.test
    rises = test[1:] > test[:-1] * (1 + _RISE)
    tops = np.flatnonzero(rises[:-1] & ~rises[1:]) + 1
    return [(float(found.sizes[top]), float(test[top])) for top in tops]


def levelling_decay(problem: RandomFeatures, sizes: npt.ArrayLike, *, width: float | None = None) -> float | None:
    """Find the least λ from which on the test error never rises with the size.

    Args:
        problem: The problem.
        sizes: As in `curve`.
        width: As in `curve`.

    Returns:
        λ, to five digits on the grid of sizes; 0 if the smallest that was tried does not rise either; None if the
        largest does.

    Example:
        >>> from groktimizer.theory.random_features import coefficients
        >>> problem = RandomFeatures(100, 50, coefficients("relu"), noise=0.25)
        >>> sizes = np.geomspace(10, 1000, 60)
        >>> decay = levelling_decay(problem, sizes)
        >>> len(peaks(curve(problem, 1.01 * decay, sizes))), len(peaks(curve(problem, 0.5 * decay, sizes)))
        (0, 1)
    """

    def rises(decay: float) -> bool:
        test = curve(problem, decay, sizes, width=width).errors.test
        return bool((test[1:] > test[:-1] * (1 + _RISE)).any())

    tried = problem.power * np.geomspace(*_SCANNED, _SCAN)
    last = next((place for place in range(_SCAN - 1, -1, -1) if rises(float(tried[place]))), None)
    if last is None:
        return 0.0
    if last == _SCAN - 1:
        return None
    low, high = np.log(tried[last : last + 2])
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if rises(float(np.exp(middle))) else (low, middle)
    return float(np.exp(high))
