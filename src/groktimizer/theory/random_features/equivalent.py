r"""Errors of ridge regression on random or tangent features, where all sizes are large: a deterministic limit.

The model. Samples x ~ N(0, I_d), i = 1 … n; labels y = ⟨β, x⟩ + g(x) + noise with ‖β‖² = `signal`, g uncorrelated with
every linear function and of variance `nonlinear`, noise of variance `noise`. N features φ(x) = (σ(Wx/√d) − μ₀)/√N with
W_ij ~ N(0, 1); θ minimises (1/2n)‖Φθ − y‖² + (λ/2)‖θ‖², the convention of `theory.ridge`. With `output_scale` s > 0
they are the tangent features of the network f(x) = Σ_i a_i (σ(w_i·x/√d) − μ₀)/√N, a_i = ±s: besides φ, which belongs to
the second layer, the N·d of the first, ψ_ij = a_i σ'(w_i·x/√d) x_j/√(dN). That is p = N(d + 1) parameters.

The derivation, in two steps; v = r s²/d with r = Var σ'.
(1) In the limit the features are like Lx + √D z, z ~ N(0, I) independent of x (Gaussian equivalence): L has the rows
μ₁ w_i/√(dN) of the second layer and a_i μ₁ e_j/√(dN) of the first, and D is μ⋆²/N on the second, v/N on the first.
So, given W, this is ridge regression on Gaussian features of covariance Σ = LL' + D, whose best linear predictor is
θ* = Σ⁻¹c, c = cov(φ, y) = Lβ. Of that problem the limit is known: with κ > 0 such that

    κ (1 − df₁/n) = λ,      df₁ = tr Σ(Σ+κ)⁻¹,      df₂ = tr Σ²(Σ+κ)⁻² = df₁ + κ ddf₁/dκ,

the error on fresh noisy labels is E = (κ² θ*'(Σ+κ)⁻¹Σ(Σ+κ)⁻¹θ* + var(y) − c'Σ⁻¹c)/(1 − df₂/n), and the mean square
residual on the training labels is (λ/κ)² E.
(2) With k = Nκ, q = μ⋆² + k and γ = N/d is L'(D+κ)⁻¹L = M = τ + (μ₁²/q) W'W/d, τ = γμ₁²s²/(k + v): the first layer adds
a multiple of the identity. Woodbury gives

    c'(Σ+κ)⁻¹c = signal·a,   a = (1/d) tr M(I+M)⁻¹,      κ c'(Σ+κ)⁻²c = signal·b,   b = −κ da/dκ,

as β lies isotropically to W, and log det(Σ+κ) = log det(D+κ) + log det(I+M), whose derivative is (p − df₁)/κ. W'W/d is
a Wishart matrix; Marchenko and Pastur's law says that g = (1/N) tr (μ₁²A/(1+τ) + q)⁻¹, A = WW'/d, solves

    γqμ₁² g² + (q(1+τ) + μ₁²(1 − γ)) g = 1 + τ,   and with S = τ + γμ₁²g:   a = S/(1 + S) = a₁ + a₂, a₁ = τ/(1 + S),

    df₁ = N (μ⋆²g + a₂/γ) + d k a₁/(k + v) + Nd v/(k + v).

Σ⁻¹ cancels out of E: its numerator is signal·(1 − a − b) + nonlinear + noise.

The split of the error on noiseless labels. The predictor's mean over samples, noise and W is aβ, with the a above:
`bias` = signal (1 − a)² + nonlinear. The mean over samples and noise for one W is (Σ+κ)⁻¹c: its variance over W is
`initialisation`. Label noise adds `label_noise` = noise·(df₂/n)/(1 − df₂/n), and `sampling` is the rest, the variance
over samples for one W, in mean over W.

How far it goes. While Nd ≫ n the first layer is a linear kernel and an implicit ridge, nλ → nλ + r s², which softens
the peak at N = n. At N = n/d, that is p ≈ n, is another peak; there it takes 1 ≪ n/d ≪ d: with few neurons the norm of
ψ differs from sample to sample, and with n like d² quadratic functions, of which ψ has only the variance here, are
learned. Measured at d = 200, s = 0.1: the test error at that peak is right to 6 % from n/d = 5 on, for ReLU 7 times too
large at n/d = 2; elsewhere it is right to 5 % at n = 2d, and up to 18 % too low at n = 10d, d = 100 (docs/clocks.md).

Sources: Pennington and Worah (NeurIPS 2017) and Mei and Montanari (arXiv 1908.05355) for the equivalence, Adlam and
Pennington (2008.06786) for it with the tangent kernel and for the two peaks over p, at n and at nd; Hastie et al.
(1903.08560) and Dobriban and Wager (1507.03003) for step 1; the curves with s = 0 are those of d'Ascoli et al.
(2006.03509). The composition of the steps, over all N, is ours; tests compare it with simulations.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from groktimizer.ground.checks import not_negative, positive
from groktimizer.ground.errors import UserError
from groktimizer.theory.clock.quadratic import Array
from groktimizer.theory.random_features.activations import Coefficients

_HALVINGS = 64  # of an interval of at most some hundred in ln κ: to the last bit
_ROUNDING = 1e-9  # of integrals
LARGEST_SCALE = 1e6
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
    """At each Nκ: (1 - a)² and a - b - a² of the signal, df₁/N and df₂/N."""

    unlearned: Array
    scattered: Array
    first: Array
    second: Array


@dataclass(frozen=True)
class RandomFeatures:
    """Ridge regression on random features of n samples in d dimensions, or on all tangent features of the network.

    All sizes are large. Of random features only their ratios count; with `output_scale` N counts beside n/d, too.

    Attributes:
        samples: n.
        inputs: d.
        activation: Coefficients of σ; μ₀ does not matter, it is subtracted.
        signal: ‖β‖², variance of the linear part of the labels.
        nonlinear: Variance of the rest of the labels, which no feature finds in this limit.
        noise: Variance of the label noise.
        output_scale: s, the size of the second layer's weights, from 0 to 1e6: the first layer's tangent features are
            in proportion to it. 0: random features, those of the second layer, alone.

    Raises:
        UserError: If a size is not positive, a variance negative, the activation constant, or, with an `output_scale`,
            its `squared_slope` unknown, infinite or too small.

    Example:
        >>> from groktimizer.theory.random_features import coefficients
        >>> problem = RandomFeatures(100, 50, coefficients("tanh"), noise=0.1)
        >>> narrow, peak, wide = problem.errors([30, 100, 3000], 1e-6).test
        >>> bool(peak > 2 * narrow and wide < narrow / 5)
        True
        >>> tangent = RandomFeatures(4000, 100, coefficients("tanh"), noise=0.1, output_scale=0.1)
        >>> widths = [10, 40, 400, 4000, 40000]  # p is n at 40 and nd at 4000
        >>> narrow, first, between, second, wide = tangent.errors(widths, 1e-9).test
        >>> bool(first > 2 * narrow and between < first / 2 and second > between and wide < second)
        True
    """

    samples: float
    inputs: float
    activation: Coefficients
    signal: float = 1.0
    nonlinear: float = 0.0
    noise: float = 0.0
    output_scale: float = 0.0

    def __post_init__(self) -> None:
        """Check every number."""
        positive(samples=self.samples, inputs=self.inputs)
        not_negative(signal=self.signal, nonlinear=self.nonlinear, noise=self.noise, output_scale=self.output_scale)
        _, linear, rest, steep = self.activation
        if linear == 0 == rest:
            raise UserError("activation: constant, expected one that is not")
        if self.output_scale > LARGEST_SCALE:
            raise UserError(f"output_scale={self.output_scale!r}: expected a number from 0 to {LARGEST_SCALE:g}")
        least = linear**2 + 2 * rest**2
        if self.output_scale and not least * (1 - _ROUNDING) <= steep < np.inf:
            raise UserError(
                f"activation: squared_slope={steep:g}, with an output_scale expected a finite number ≥ {least:.4g}"
            )

    @property
    def null(self) -> float:
        """Test error of the predictor 0."""
        return self.signal + self.nonlinear

    @property
    def power(self) -> float:
        """Mean square of all features of a sample together, tr Σ."""
        linear = self.activation.linear**2
        return linear + self.activation.rest**2 + (self.output_scale**2 * linear + self._softening)

    @property
    def _softening(self) -> float:
        """Of the first layer, r s²: the ridge that it amounts to while Nd is far above n."""
        return self.output_scale**2 * self.activation.slope_variance if self.output_scale else 0.0

    def parameters(self, width: npt.ArrayLike) -> Array:
        """Count the features, p.

        Args:
            width: N, of any shape.

        Returns:
            N, or N(d + 1) with an `output_scale`, of the same shape.
        """
        return np.asarray(width, dtype=np.float64) * (self.inputs + 1 if self.output_scale else 1.0)

    def errors(
        self, width: npt.ArrayLike, weight_decay: npt.ArrayLike, *, samples: npt.ArrayLike | None = None
    ) -> Errors:
        """Compute the errors.

        Args:
            width: N, the number of features of the second layer, of any shape.
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
        bias, initialisation = self.signal * traces.unlearned + self.nonlinear, self.signal * traces.scattered
        missed = bias + initialisation
        return Errors(
            train=(widths * decays / k) ** 2 * (missed + self.noise) * (1 + amplified),
            test=missed + (missed + self.noise) * amplified,
            bias=bias,
            initialisation=initialisation,
            sampling=missed * amplified,
            label_noise=self.noise * amplified,
        )

    def _effective(self, widths: Array, decays: Array, counts: Array) -> Array:
        """Nκ, by halving in its logarithm: k (1 − (N/n) tr Σ(Σ+κ)⁻¹/N) = Nλ, whose left side is convex and 0 at 0."""
        target = widths * decays
        power = self.power
        low, high = np.log(target), np.log(target + widths / counts * power)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            k = np.exp(middle)
            beyond = k * (1 - widths / counts * self._traces(k, widths).first) > target
            low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
        return np.exp((low + high) / 2)

    def _traces(self, k: Array, widths: Array) -> _Traces:
        """Everything that follows from g, as sums of what is not negative, which keep their digits."""
        # With ' for -k d/dk: free τ of τ, k of q. tr Σ(Σ+κ)⁻¹/N is written with μ⋆²g = 1 - kg - a₂/γ, and g - g', of
        # which df₂ and the signal's parts consist, with the equation of g.
        linear, rest, scale = self.activation.linear**2, self.activation.rest**2, self.output_scale**2
        own = k + self._softening / self.inputs
        gamma, q = widths / self.inputs, rest + k
        tau, free, bound = gamma * linear * scale / own, k / own, self._softening / self.inputs / own
        whole, square = 1 + tau, gamma * q * linear
        slope = q * whole + linear * (1 - gamma)
        root = np.sqrt(slope**2 + 4 * square * whole)
        g = np.where(
            slope > 0, 2 * whole / np.maximum(root + slope, 1e-300), (root - slope) / np.maximum(2 * square, 1e-300)
        )
        s = tau + gamma * linear * g
        one, two, left = tau / (1 + s), gamma * linear * g / (1 + s), linear * g / (1 + s)  # left = 1 - qg
        falling = (k * (gamma * linear * g**2 + g * whole) + free * tau * left) / root  # g'
        staying = (whole * rest * g + left * (1 + tau * bound) + gamma * rest * linear * g**2) / root  # g - g'
        moved = (free * tau + gamma * linear * falling) / (1 + s)
        second = rest * staying + (gamma * linear * staying / (1 + s) + two * moved) / gamma
        second += free * one * (2 * bound + moved) / gamma + self._softening / own * bound
        return _Traces(
            unlearned=1 / (1 + s) ** 2,
            scattered=(tau * bound + gamma * linear * staying) / (1 + s) ** 2,
            first=rest * g + two / gamma + free * one / gamma + self._softening / own,
            second=second,
        )
