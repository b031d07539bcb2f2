"""Fixed feature maps: through them the ridge theory speaks of nonlinear targets (arXiv 2601.19791, Figures 3 and 7)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RandomRelu:
    """``phi_j(x) = relu(<w_j, x>)`` with weights of shape (m, d)."""

    weights: Array

    @classmethod
    def draw(cls, width: int, inputs: int, rng: np.random.Generator, variance: float = 1.0) -> "RandomRelu":
        """`width` weights ``w_j ~ N(0, variance / (d m) I)``, the scale of Figure 3, on `inputs` = d coordinates."""
        return cls(rng.normal(size=(width, inputs)) * (variance / (inputs * width)) ** 0.5)

    def __call__(self, inputs: Array) -> Array:
        """Features of inputs (n, d); shape (n, m)."""
        return np.maximum(np.asarray(inputs) @ self.weights.T, 0.0)


@dataclass(frozen=True)
class RandomFourier:
    """``phi(x) = sqrt(2/m) cos(W x + b)``, weights W (m, d), phases b (m,): inner products near a Gaussian kernel's."""

    weights: Array
    phases: Array

    @classmethod
    def draw(cls, width: int, inputs: int, rng: np.random.Generator, variance: float = 1.0) -> "RandomFourier":
        """Rows ``N(0, variance I)``, phases uniform in [0, 2 pi): of the kernel ``exp(-variance ||x - x'||^2 / 2)``."""
        return cls(rng.normal(size=(width, inputs)) * variance**0.5, rng.uniform(0, 2 * np.pi, width))

    def __call__(self, inputs: Array) -> Array:
        """Features of inputs (n, d); shape (n, m)."""
        return (2 / self.phases.size) ** 0.5 * np.cos(np.asarray(inputs) @ self.weights.T + self.phases)


def relu_neuron(direction: Array, inputs: Array) -> Array:
    """The teacher of Figure 3, ``relu(<w*, x>)``; shape (n,)."""
    return np.maximum(np.asarray(inputs) @ direction, 0.0)
