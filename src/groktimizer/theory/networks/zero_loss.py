"""Motion along the zero-loss manifold of a two-layer network, without training it (arXiv 2511.01938, Section 4 and 7).

For ``L = ||relu(X W1) W2 - Y||^2`` and decay lambda (no 1/2), H = relu(X W1) wider than there are samples, the second
layer that interpolates with least norm is ``W2 = H' (H H')^-1 Y``. What is left to minimise is Eq (19),

    R(W1) / lambda = ||W1||^2 + Tr(Y' (H H')^-1 Y),

and gradient flow on it is, up to a factor 2, Eq (20): ``dW1/dt = X' [(A Y Y' A H) * relu'(X W1)] - W1``, A = (H H')^-1.
The train loss is exactly 0 all along; only generalisation changes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

from groktimizer.ground.errors import UserError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PairSum:
    """Addition modulo p over unordered pairs (Section 7): ``e_a + e_b``, one-hot sums, which of them train and test."""

    inputs: Array
    targets: Array
    train: npt.NDArray[np.intp]
    test: npt.NDArray[np.intp]

    @classmethod
    def draw(cls, p: int, fraction: float, rng: np.random.Generator) -> "PairSum":
        """All pairs modulo p >= 2, split at random into a share that trains and the rest, neither of them empty."""
        if p < 2 or not 0 < round(fraction * p * (p + 1) / 2) < p * (p + 1) // 2:
            raise UserError(
                f"p={p}, fraction={fraction!r}: accepted are p >= 2 and a fraction that leaves both sets a pair"
            )
        first, second = np.triu_indices(p)
        eye = np.eye(p)
        order = rng.permutation(first.size)
        count = round(fraction * first.size)
        return cls(eye[first] + eye[second], eye[(first + second) % p], order[:count], order[count:])


def second_layer(hidden: Array, targets: Array) -> Array:
    """Least-norm interpolating read-out ``H' (H H')^-1 Y`` of H (n, width), width >= n; shape (width, outputs)."""
    return hidden.T @ _weights(hidden, targets)


def _weights(hidden: Array, targets: Array) -> Array:
    """``(H H')^-1 Y``, which exists for hidden layers of full row rank."""
    try:
        return scipy.linalg.cho_solve(scipy.linalg.cho_factor(hidden @ hidden.T), targets)
    except np.linalg.LinAlgError:
        raise UserError(
            f"first_layer: its hidden layer {hidden.shape} has a rank below {hidden.shape[0]}, accepted are layers of "
            "full row rank; start from random ones"
        ) from None


def complexity(first_layer: Array, inputs: Array, targets: Array) -> float:
    """Eq (19) without lambda: ``||W1||^2 + ||W2||^2`` with the least-norm W2, for W1 (d, width), X (n, d)."""
    readout = second_layer(np.maximum(inputs @ first_layer, 0.0), targets)
    return float((first_layer**2).sum() + (readout**2).sum())


def velocity(first_layer: Array, inputs: Array, targets: Array) -> Array:
    """Eq (20), minus half the gradient of `complexity`: ``X' [(C C' H) * relu'(X W1)] - W1``, C = (H H')^-1 Y."""
    before = inputs @ first_layer
    hidden = np.maximum(before, 0.0)
    weights = _weights(hidden, targets)
    pull = (weights @ (weights.T @ hidden)) * (before > 0)
    return inputs.T @ pull - first_layer


@dataclass(frozen=True)
class Motion:
    """Record of a simulation.

    Args:
        steps: Steps at which it was observed.
        test_accuracy: Share of test pairs read out correctly.
        train_accuracy: Share of train pairs, 1 as long as the inverse exists numerically.
        first_norm: ||W1||^2.
        complexity: ||W1||^2 + ||W2||^2, which only falls once the first large steps are over.
        first_layer: W1 at the end.
    """

    steps: Array
    test_accuracy: Array
    train_accuracy: Array
    first_norm: Array
    complexity: Array
    first_layer: Array


def descend(data: PairSum, first_layer: npt.ArrayLike, steps: int, lr: float = 1e-3, every: int = 100) -> Motion:
    """Follow Eq (20) by explicit steps ``W1 <- W1 + lr velocity``; time is ``lr steps`` in units of 1/lambda.

    W1, shape (d, width), is at least as wide as there are train pairs, and its hidden layer of full rank.

    Returns:
        The record.

    Raises:
        UserError: If the layer is not accepted.
    """
    weights = np.array(first_layer, dtype=np.float64)
    x, y = data.inputs[data.train], data.targets[data.train]
    if weights.ndim != 2 or weights.shape[0] != x.shape[1] or not np.isfinite(weights).all():
        raise UserError(
            f"first_layer: shape {weights.shape}, accepted are finite numbers of shape ({x.shape[1]}, width)"
        )
    if weights.shape[1] < x.shape[0]:
        raise UserError(f"first_layer: width {weights.shape[1]}, accepted is at least the {x.shape[0]} train pairs")
    rows: list[tuple[float, ...]] = []
    for step in range(steps + 1):
        if step % every == 0 or step == steps:
            rows.append((float(step), *_observe(weights, data)))
        if step < steps:
            weights += lr * velocity(weights, x, y)
    columns = np.array(rows).T
    return Motion(*columns, first_layer=weights)


def _observe(weights: Array, data: PairSum) -> tuple[float, float, float, float]:
    """Test and train accuracy, ||W1||^2, and the whole squared norm."""
    hidden = np.maximum(data.inputs @ weights, 0.0)
    readout = second_layer(hidden[data.train], data.targets[data.train])
    right = (hidden @ readout).argmax(axis=1) == data.targets.argmax(axis=1)
    first = float((weights**2).sum())
    return float(right[data.test].mean()), float(right[data.train].mean()), first, first + float((readout**2).sum())


def fourier_spectrum(first_layer: Array) -> npt.NDArray[np.complex128]:
    """Over tokens, one a row of W1: ``F_k = (1/p) sum_j e^{-2 pi i k j / p} W1_j``; shape (p, width), complex."""
    return np.fft.fft(first_layer, axis=0) / first_layer.shape[0]
