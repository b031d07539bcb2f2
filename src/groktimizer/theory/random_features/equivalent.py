r"""Errors of ridge regression on random features, where samples, inputs and features are many: a deterministic limit.

The model. Samples x ~ N(0, I_d), i = 1 … n; labels y = ⟨β, x⟩ + g(x) + noise with ‖β‖² = `signal`, g uncorrelated with
every linear function and of variance `nonlinear`, noise of variance `noise`. N features φ(x) = σ(Wx/√d)/√N with W_ij ~
N(0, 1), their mean μ₀ subtracted; θ minimises (1/2n)‖Φθ − y‖² + (λ/2)‖θ‖², the convention of `theory.ridge`.

The derivation, in two steps.
(1) In the limit the features are like μ₁ Wx/√(dN) + μ⋆ z/√N with z ~ N(0, I) independent of x (Gaussian equivalence).
So, given W, this is ridge regression on Gaussian features of covariance Σ = (μ₁²A + μ⋆²)/N with A = WW'/d, whose best
linear predictor is θ* = Σ⁻¹c, c = cov(φ, y) = μ₁Wβ/√(dN). Of that problem the limit is known: with κ > 0 such that

    κ (1 − tr Σ(Σ+κ)⁻¹/n) = λ,      df₂ = tr Σ²(Σ+κ)⁻²,

the error on fresh noisy labels is E = (κ² θ*'(Σ+κ)⁻¹Σ(Σ+κ)⁻¹θ* + var(y) − c'Σ⁻¹c)/(1 − df₂/n), and the mean square
residual on the training labels is (λ/κ)² E.
(2) A is a Wishart matrix, and every trace above one of g(q) = (1/N) tr (μ₁²A + q)⁻¹ at q = μ⋆² + Nκ or its derivative.
Marchenko and Pastur's law says that g solves, with γ = N/d,

    γ q μ₁² g² + (q + μ₁²(1 − γ)) g = 1.

β lies isotropically to W, so that c'f(Σ)c = (signal/d) tr (μ₁²A/N) f(Σ); the traces become

    c'(Σ+κ)⁻¹c = signal·a,   a = s/(1 + s) with s = γμ₁²g,      κ c'(Σ+κ)⁻²c = signal·b,   b = −Nκ da/dq,

and Σ⁻¹ cancels out of E: its numerator is signal·(1 − a − b) + nonlinear + noise.

The split of the error on noiseless labels. The predictor's mean over samples, noise and W is aβ, with the a above:
`bias` = signal (1 − a)² + nonlinear. The mean over samples and noise for one W is (Σ+κ)⁻¹c: its variance over W is
`initialisation`. Label noise adds `label_noise` = noise·(df₂/n)/(1 − df₂/n), and `sampling` is the rest, the variance
over samples for one W, in mean over W.

Sources: Pennington and Worah (NeurIPS 2017) and Mei and Montanari (arXiv 1908.05355) for the equivalence; Hastie et al.
(1903.08560) and Dobriban and Wager (1507.03003) for step 1; the curves are those of d'Ascoli et al. (2006.03509). The
tangent kernel, whose error has two peaks over the parameters (Adlam and Pennington, 2008.06786), is not here. The
composition of the two steps is ours; tests compare it with simulations.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from groktimizer.ground.checks import not_negative, positive
from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.quadratic import Array
from groktimizer.theory.random_features.activations import Coefficients

_HALVINGS = 64  # of an interval of at most some hundred in ln κ: to the last bit
_LEAST, _MOST = 1e-60, 1e60  # squares of decays and widths stay within float64


@dataclass(frozen=True, eq=False)
class Errors:
    """Mean squares, without ½; of the shape of widths and decays together.

    Attributes:
        train: Of y − f̂(x) on the training samples, noise included.
        test: Of y − noise − f̂(x) on fresh samples: the sum of the four below.
        bias: Of y − noise − mean predictor.
        initialisation: Variance over W of the predictor's mean over samples and label noise.
        sampling: Variance over samples, without that of the label noise, in mean over W.
        label_noise: What label noise adds.
    """

    train: Array
    test: Array
    bias: Array
    initialisation: Array
    sampling: Array
    label_noise: Array


@dataclass(frozen=True)
class _Traces:
    """At each Nκ: a and b of the signal, tr Σ(Σ+κ)⁻¹/N and df₂/N."""

    a: Array
    b: Array
    first: Array
    second: Array


@dataclass(frozen=True)
class RandomFeatures:
    """Ridge regression on random features of n samples in d dimensions; all sizes are large, only ratios count.

    Attributes:
        samples: n.
        inputs: d.
        activation: Coefficients of σ; μ₀ does not matter, it is subtracted.
        signal: ‖β‖², variance of the linear part of the labels.
        nonlinear: Variance of the rest of the labels, which no feature finds in this limit.
        noise: Variance of the label noise.

    Raises:
        UserError: If a size is not positive, a variance negative, or the activation constant.

    Example:
        >>> from groktimizer.theory.random_features import coefficients
        >>> problem = RandomFeatures(100, 50, coefficients("tanh"), noise=0.1)
        >>> narrow, peak, wide = problem.errors([30, 100, 3000], 1e-6).test
        >>> bool(peak > 2 * narrow and wide < narrow / 5)
        True
    """

    samples: float
    inputs: float
    activation: Coefficients
    signal: float = 1.0
    nonlinear: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Check every number."""
        positive(samples=self.samples, inputs=self.inputs)
        not_negative(signal=self.signal, nonlinear=self.nonlinear, noise=self.noise)
        if self.activation.linear == 0 == self.activation.rest:
            raise UserError("activation: constant, expected one that is not")

    @property
    def null(self) -> float:
        """Test error of the predictor 0."""
        return self.signal + self.nonlinear

    def errors(
        self, width: npt.ArrayLike, weight_decay: npt.ArrayLike, *, samples: npt.ArrayLike | None = None
    ) -> Errors:
        """Compute the errors.

        Args:
            width: N, the number of features, of any shape.
            weight_decay: λ, of a shape that goes with it.
            samples: n if it is not the problem's, of a shape that goes with both.

        Returns:
            Train and test error, and what the latter consists of.

        Raises:
            UserError: If a number is not from 1e-60 to 1e60.
        """
        given = {"width": width, "weight_decay": weight_decay, "samples": self.samples if samples is None else samples}
        read = {name: np.asarray(values, dtype=np.float64) for name, values in given.items()}
        for name, values in read.items():
            if not ((values >= _LEAST) & (values <= _MOST)).all():
                raise UserError(f"{name}={values.tolist()}: expected numbers from {_LEAST:g} to {_MOST:g}")
        widths, decays, counts = np.broadcast_arrays(*read.values())
        k = self._effective(widths, decays, counts)
        traces = self._traces(k, widths)
        second = traces.second * widths / counts
        amplified = second / (1 - second)
        missed = self.signal * (1 - traces.a - traces.b) + self.nonlinear
        noisy = (missed + self.noise) * (1 + amplified)
        return Errors(
            train=(widths * decays / k) ** 2 * noisy,
            test=missed + (missed + self.noise) * amplified,
            bias=self.signal * (1 - traces.a) ** 2 + self.nonlinear,
            initialisation=self.signal * (traces.a - traces.b - traces.a**2),
            sampling=missed * amplified,
            label_noise=self.noise * amplified,
        )

    def _effective(self, widths: Array, decays: Array, counts: Array) -> Array:
        """Nκ, by halving in its logarithm: k (1 − (N/n) tr Σ(Σ+κ)⁻¹/N) = Nλ, whose left side is convex and 0 at 0."""
        target = widths * decays
        power = self.activation.linear**2 + self.activation.rest**2
        low, high = np.log(target), np.log(target + widths / counts * power)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            k = np.exp(middle)
            beyond = k * (1 - widths / counts * self._traces(k, widths).first) > target
            low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
        return np.exp((low + high) / 2)

    def _traces(self, k: Array, widths: Array) -> _Traces:
        """Everything that follows from g, in forms that keep their digits."""
        # a = γ(1 − qg) is s/(1 + s); tr Σ(Σ+κ)⁻¹/N = 1 − kg = μ⋆²g + a/γ, and df₂/N that less its derivative's k-fold.
        linear, rest = self.activation.linear**2, self.activation.rest**2
        gamma, q = widths / self.inputs, rest + k
        square, slope = gamma * q * linear, q + linear * (1 - gamma)
        root = np.sqrt(slope**2 + 4 * square)
        g = np.where(slope > 0, 2 / np.maximum(root + slope, 1e-300), (root - slope) / np.maximum(2 * square, 1e-300))
        h = (gamma * linear * g**2 + g) / root
        s = gamma * linear * g
        a, b = s / (1 + s), k * gamma * linear * h / (1 + s) ** 2
        first = rest * g + a / gamma
        return _Traces(a, b, first, first - k * rest * h - b / gamma)
