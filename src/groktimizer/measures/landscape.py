"""Losses against the parameter norm (the LU mechanism), and the rescaling that moves the norm and nothing else."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from groktimizer.ground.errors import UserError

Array = NDArray[np.float64]
Shape = Literal["L", "U", "rising", "flat"]
BISECTIONS = 200


def _above_zero(**values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise UserError(f"{name}={value}: expected a finite number > 0")


@dataclass(frozen=True)
class Landscape:
    """Losses at points of different norm.

    Attributes:
        norms: Euclidean norms ‖θ‖ of all parameters together, one per point.
        losses: Values at the points, by name.
    """

    norms: Array
    losses: Mapping[str, Array]

    def best_norm(self, name: str) -> float:
        """Find the norm at which a loss is smallest: the middle of the Goldilocks zone, if it is the test loss.

        Args:
            name: Which loss.

        Returns:
            The norm.
        """
        return float(self.norms[np.argmin(self._loss(name))])

    def shape(self, name: str, tolerance: float = 0.05) -> Shape:
        """Name the shape of a loss from the smallest norm to the largest, with ℓ its values and m the least of them.

        It falls if ℓ(smallest) > (1 + tolerance) m, and rises again if ℓ(largest) − m is more than `tolerance` times
        the fall ℓ(smallest) − m (without a fall, or from infinity: if ℓ(largest) > (1 + tolerance) m). What is not a
        number counts as infinite.

        Args:
            name: Which loss; not negative.
            tolerance: Relative change that counts.

        Returns:
            "L": it falls and stays low; "U": it falls and rises; "rising"; "flat".

        Example:
            >>> losses = {"train": np.array([2, 0.1, 0]), "test": np.array([2, 1, 4])}
            >>> points = Landscape(np.array([1.0, 2.0, 3.0]), losses)
            >>> points.shape("train"), points.shape("test"), points.best_norm("test")
            ('L', 'U', 2.0)
        """
        ordered = self._loss(name)[np.argsort(self.norms, kind="stable")]
        first, last, least = ordered[0], ordered[-1], ordered.min()
        if not np.isfinite(least):
            return "flat"
        falls = first > (1 + tolerance) * least
        fall = first - least if np.isfinite(first) else least  # from infinity: as where nothing falls
        rises = last - least > tolerance * (fall if falls else least)
        return ("U" if rises else "L") if falls else ("rising" if rises else "flat")

    def _loss(self, name: str) -> Array:
        """Values of a loss with infinity for what is not a number.

        Args:
            name: Which loss.

        Returns:
            One value per point.

        Raises:
            UserError: If there is no such loss.
        """
        if name not in self.losses:
            raise UserError(f"loss {name!r}: expected {' or '.join(self.losses)}")
        values = np.asarray(self.losses[name], dtype=np.float64)
        return np.where(np.isnan(values), np.inf, values)


def along_ray(
    model: nn.Module, measure: Callable[[nn.Module], Mapping[str, float]], factors: Sequence[float]
) -> Landscape:
    """Measure a network at θ → s θ: all its parameters times a factor.

    Args:
        model: The network; it is put back to the bit.
        measure: Losses by name from the network, such as `Problem.evaluate`.
        factors: The factors s, positive.

    Returns:
        A point for each factor, with norm s ‖θ‖.

    Raises:
        UserError: If a factor is not finite and positive, or there is none.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> seen = along_ray(model, lambda m: {"loss": float(m.weight.detach().square())}, [1.0, 2.0])
        >>> float(seen.losses["loss"][1] / seen.losses["loss"][0]), float(seen.norms[1] / seen.norms[0])
        (4.0, 2.0)
    """
    if not factors:
        raise UserError("factors: expected at least one")
    _above_zero(**{f"factors[{k}]": factor for k, factor in enumerate(factors)})
    parameters = list(model.parameters())
    kept = [parameter.detach().clone() for parameter in parameters]
    norm = math.sqrt(sum(_square(parameter) for parameter in kept))
    points: list[Mapping[str, float]] = []
    try:
        for factor in factors:
            _assign(parameters, (factor * value for value in kept))
            points.append(measure(model))
    finally:
        _assign(parameters, kept)
    losses = {name: np.array([point[name] for point in points]) for name in points[0]}
    return Landscape(norm * np.asarray(factors, dtype=np.float64), losses)


def along_path(
    history: Mapping[str, NDArray[np.generic]], names: Sequence[str] = ("train_loss", "test_loss")
) -> Landscape:
    """Read losses against the norm off a recorded run, in the order of its steps.

    Args:
        history: Columns of a run, among them "norm_l2".
        names: Columns to take.

    Returns:
        A point for each evaluation.

    Raises:
        UserError: If a column is missing.
    """
    missing = [name for name in ("norm_l2", *names) if name not in history]
    if missing:
        raise UserError(f"history: no column {missing[0]!r}; it has {', '.join(history)}")
    return Landscape(
        np.asarray(history["norm_l2"], dtype=np.float64),
        {name: np.asarray(history[name], dtype=np.float64) for name in names},
    )


@torch.no_grad()
def rescale(
    inner: Tensor | Iterable[Tensor], outer: Tensor | Iterable[Tensor], factor: float, degree: float = 1.0
) -> None:
    """Multiply A by λ and B by λ^−L, in place: y(x) = B φ(A x) stays what it is if φ(λ z) = λ^L φ(z) for λ > 0.

    ReLU has degree L = 1, z² has 2. A bias inside φ belongs to `inner`; one added after B stays as it is. Only rounding
    changes the function (nothing at all if λ and λ^L are powers of two).

    Args:
        inner: A: what acts before the activation, one tensor or several.
        outer: B: what acts after it.
        factor: λ > 0.
        degree: L > 0.

    Raises:
        UserError: If factor or degree is not finite and positive, or the tensors cannot hold λ, λ^−L or what becomes
            of their largest entry; nothing is multiplied then.

    Example:
        >>> A, B, x = torch.randn(5, 3), torch.randn(2, 5), torch.randn(3)
        >>> before = B @ torch.relu(A @ x)
        >>> rescale(A, B, 1024.0)
        >>> bool((B @ torch.relu(A @ x) == before).all())
        True
    """
    _above_zero(factor=factor, degree=degree)
    inside, outside = ([part] if isinstance(part, Tensor) else list(part) for part in (inner, outer))
    power = math.log2(factor)
    for tensor, exponent in (*((one, power) for one in inside), *((one, -degree * power) for one in outside)):
        if not _holds(tensor, exponent):
            kind = str(tensor.dtype).removeprefix("torch.")
            told = f"2^{exponent:g}, or an entry times it, is no normal {kind}"
            raise UserError(f"factor={factor:g}: {told}, give a factor nearer 1")
    for tensor in inside:
        tensor.mul_(factor)
    for tensor in outside:
        tensor.mul_(factor**-degree)


def _holds(tensor: Tensor, exponent: float) -> bool:
    """Whether 2^exponent, and the largest entry times it, are numbers of full precision in the tensor's type."""
    kind = torch.finfo(tensor.dtype)
    largest = float(tensor.abs().max()) if tensor.numel() else 0.0
    reached = [exponent, exponent + math.log2(largest)] if 0 < largest < math.inf else [exponent]
    return math.log2(kind.tiny) <= min(reached) and max(reached) <= math.log2(kind.max)


def squared_norm(a: float, b: float, factor: float, degree: float = 1.0) -> float:
    """Compute w(λ) = a λ² + b λ^(−2L), the squared norm after `rescale`.

    Args:
        a: ‖A‖² before.
        b: ‖B‖² before.
        factor: λ > 0.
        degree: L > 0.

    Returns:
        The squared norm.
    """
    return a * factor**2 + b * factor ** (-2 * degree)


def least_factor(a: float, b: float, degree: float = 1.0) -> float:
    """Find the rescaling of least norm: λ0 = (L b/a)^(1/(2(L + 1))), from w'(λ) = 2aλ − 2L b λ^(−2L−1) = 0.

    w falls before λ0 and rises without bound after it, so every larger norm is taken twice.

    Args:
        a: ‖A‖² > 0.
        b: ‖B‖² > 0.
        degree: L > 0.

    Returns:
        λ0.

    Raises:
        UserError: If an argument is not finite and positive.

    Example:
        >>> least_factor(4.0, 64.0)  # λ⁴ = 16: both layers end with squared norm 16
        2.0
    """
    _above_zero(a=a, b=b, degree=degree)
    return (degree * b / a) ** (1 / (2 * (degree + 1)))


def least_squared_norm(a: float, b: float, degree: float = 1.0) -> float:
    """Compute w(λ0) = (L^(1/(L+1)) + L^(−L/(L+1))) (a^L b)^(1/(L+1)), the least squared norm of the same function.

    Args:
        a: ‖A‖² > 0.
        b: ‖B‖² > 0.
        degree: L > 0.

    Returns:
        The squared norm; 2 ‖A‖ ‖B‖ for ReLU.

    Raises:
        UserError: If an argument is not finite and positive.

    Example:
        >>> least_squared_norm(4.0, 64.0)
        32.0
    """
    _above_zero(a=a, b=b, degree=degree)
    power = 1 / (degree + 1)
    return (degree**power + degree ** (power - 1)) * (a**degree * b) ** power


def factor_for(a: float, b: float, wanted: float, degree: float = 1.0) -> float:
    """Find the rescaling λ ≥ λ0 after which the squared norm is a given number, by bisection.

    Args:
        a: ‖A‖² > 0.
        b: ‖B‖² > 0.
        wanted: Squared norm w(λ), at least `least_squared_norm`.
        degree: L > 0.

    Returns:
        λ.

    Raises:
        UserError: If an argument is not finite and positive, or no rescaling has so small a norm.

    Example:
        >>> round(factor_for(1.0, 1.0, 1e6), 6)
        1000.0
    """
    _above_zero(wanted=wanted)
    low, least = least_factor(a, b, degree), least_squared_norm(a, b, degree)
    if wanted < least * (1 - 1e-12):
        raise UserError(f"wanted={wanted:g}: no rescaling has a squared norm below {least:g}")
    high = max(low, math.sqrt(wanted / a))  # where a λ² alone is as large
    for _ in range(BISECTIONS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if squared_norm(a, b, middle, degree) < wanted else (low, middle)
    return high


def _square(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor, dtype=torch.float64)) ** 2


@torch.no_grad()
def _assign(parameters: Sequence[Tensor], values: Iterable[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)
