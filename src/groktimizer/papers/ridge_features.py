"""Figures 3, 5, 6 and 7 of arXiv 2601.19791: ridge regression on random features of nonlinear targets; all exact.

The population loss is the mean over 1,000 test inputs. Inputs are N(0, I_d): the law that the paper's text leaves open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from groktimizer.ground.seeds import derive_seed
from groktimizer.papers.reproduction import (
    STEP,
    Array,
    Check,
    Effort,
    Line,
    Panel,
    Reproduced,
    level,
    near,
    number,
    rising,
    slope,
    sweep,
)
from groktimizer.theory.networks.features import RandomFourier, RandomRelu, relu_neuron
from groktimizer.theory.ridge import GrokkingTime, Ridge

LEVEL = 0.01  # epsilon = c, everywhere in the paper
TEST = 1000
SCALED = (
    "the teacher neuron is divided by √d, so that its energy is 1/(2d): as printed its energy is 1/2, and no step of "
    "the run on 100 samples of N(0, I_100) comes below c"
)


@dataclass(frozen=True)
class Setting:
    """A problem on random features.

    Attributes:
        n: Samples.
        m: Features.
        d: Inputs.
        decay: λ.
        nu2: ν² of the ReLU features.
        noise: Standard deviation of the label noise.
        teacher_scale: Factor on the teacher neuron; None is 1/√d.
    """

    n: int = 100
    m: int = 10_000
    d: int = 100
    decay: float = 1e-5
    nu2: float = 1.0
    noise: float = 0.0
    teacher_scale: float | None = None


@dataclass(frozen=True)
class Drawn:
    """A drawn problem.

    Attributes:
        problem: For the theory.
        theta: θ(0) ~ N(0, I_m).
        features: Train features (n, m).
        targets: Train targets (n,).
        test_features: Test features (1000, m).
        test_targets: Test targets (1000,).
    """

    problem: Ridge
    theta: Array
    features: Array
    targets: Array
    test_features: Array
    test_targets: Array

    def times(self, decay: float) -> GrokkingTime:
        """Exact times at η = 1."""
        return self.problem.grokking_time(self.theta, 1.0, decay, LEVEL, LEVEL)


def relu_problem(setting: Setting, seed: int) -> Drawn:
    """Random ReLU features, a ReLU neuron as teacher (Figures 3, 5, 6)."""
    rng = np.random.default_rng(derive_seed(seed, "ridge-relu"))
    features = RandomRelu.draw(setting.m, setting.d, rng, setting.nu2)
    direction = rng.normal(size=setting.d)
    direction *= (setting.teacher_scale or setting.d**-0.5) / np.linalg.norm(direction)
    train, test = rng.normal(size=(setting.n, setting.d)), rng.normal(size=(TEST, setting.d))
    targets = relu_neuron(direction, train) + setting.noise * rng.normal(size=setting.n)
    return _drawn(features(train), targets, features(test), relu_neuron(direction, test), rng.normal(size=setting.m))


def fourier_problem(setting: Setting, seed: int) -> Drawn:
    """Random Fourier features, one of them as teacher (Figure 7)."""
    rng = np.random.default_rng(derive_seed(seed, "ridge-fourier"))
    features = RandomFourier.draw(setting.m, setting.d, rng)
    train, test = features(rng.normal(size=(setting.n, setting.d))), features(rng.normal(size=(TEST, setting.d)))
    return _drawn(train, train[:, 0], test, test[:, 0], rng.normal(size=setting.m))


def _drawn(features: Array, targets: Array, test_features: Array, test_targets: Array, theta: Array) -> Drawn:
    problem = Ridge.from_targets(features, targets, test_features, test_targets)
    return Drawn(problem, theta, features, targets, test_features, test_targets)


def losses(title: str, drawn: Drawn, decay: float, last: float) -> Panel:
    """Both losses of gradient descent over its steps."""
    steps = np.unique(np.geomspace(1, last, 200).round())
    path = drawn.problem.trajectory(drawn.theta, 1.0, decay)
    train, test = path.train_loss(steps), path.population_loss(steps)
    return Panel(title, STEP, "loss", (Line("train", steps, train), Line("population", steps, test, "solid", 1)))


def clocks(found: Sequence[GrokkingTime]) -> tuple[Array, Array]:
    """The paper's t1, the last step with train loss ≥ ε, and t2 of each; not-a-number for never."""
    t1 = [number(one.memorised_settled) - 1 for one in found]
    return np.array(t1), np.array([number(one.generalised) for one in found])


SWEEPS: Mapping[str, tuple[str, Sequence[float]]] = {
    "decay": ("λ", (1e-6, 1e-5, 1e-4, 1e-3)),
    "n": ("n", (25, 50, 100, 200)),
    "m": ("m", (1000, 2000, 5000, 10_000)),
    "nu2": ("ν²", (0.5, 1.0, 2.0, 4.0)),
}


def figure_3(effort: Effort) -> Reproduced:
    """Four sweeps around n = 100, m = 10,000, d = 100, λ = 1e-5, ν² = 1."""
    base, seed = Setting(), effort.seed
    if effort.quick:
        base = replace(base, m=4000)
    t1: dict[str, Array] = {}
    t2: dict[str, Array] = {}
    panels: list[Panel] = []
    default = relu_problem(base, seed)
    for knob, (symbol, values) in SWEEPS.items():
        if knob == "decay":
            found = [default.times(value) for value in values]
        else:
            chosen = [replace(base, **{knob: value}) for value in values]
            found = [relu_problem(one, seed).times(base.decay) for one in chosen]
        t1[knob], t2[knob] = clocks(found)
        panels.append(sweep(symbol, values, t1[knob], t2[knob]))
        effort.say(f"Figure 3: over {symbol} done")
    whole = relu_problem(replace(base, teacher_scale=1.0), seed).times(base.decay)
    checks = (
        near("slope of ln t2 over ln λ", slope(SWEEPS["decay"][1], t2["decay"]), -1, 0.02),
        level("t1 does not move with λ ≤ 1e-4", t1["decay"][:3], 1.1),
        rising("t1 rises with n", t1["n"]),
        near("slope of ln t2 over ln n, which is about 1.2 for t1", slope(SWEEPS["n"][1], t2["n"]), 0, 0.2),
        level("t2 hardly moves with m", t2["m"], 1.3),
        rising("ν² widens the gap", t2["nu2"] - t1["nu2"]),
        Check(
            "the printed teacher (energy 1/2) cannot reach c = 0.01",
            f"its population loss ends at {whole.floors.population:.3f}",
            whole.floors.population > LEVEL and whole.generalised is None,
        ),
    )
    changed = (SCALED, *effort.shorter("m = 4,000, not 10,000, outside the sweep over m"))
    return Reproduced("Figure 3", "random ReLU features, a ReLU neuron as teacher", tuple(panels), checks, changed)


def figure_5(effort: Effort) -> Reproduced:
    """Surrogate accuracy: the share of inputs with squared error at most ε; d = n = 100, m = 10,000, λ = 1e-5."""
    setting = Setting(m=4000 if effort.quick else 10_000)
    drawn = relu_problem(setting, effort.seed)
    steps = np.unique(np.geomspace(1, 1e6, 60).round())
    path = drawn.problem.trajectory(drawn.theta, 1.0, setting.decay)
    accuracy = np.empty((2, steps.size))
    for place, step in enumerate(steps):
        theta = path.theta(step)
        accuracy[0, place] = ((drawn.features @ theta - drawn.targets) ** 2 <= LEVEL).mean()
        accuracy[1, place] = ((drawn.test_features @ theta - drawn.test_targets) ** 2 <= LEVEL).mean()
    fitted = int(np.argmax(accuracy[0] >= 0.99))
    plateau = accuracy[1, (steps >= steps[fitted]) & (steps <= 20 * steps[fitted])]
    good = float(steps[np.argmax(accuracy[1] >= 0.95)])
    checks = (
        Check(
            "train accuracy ≥ 0.99 while test accuracy ≤ 0.3",
            f"test accuracy {accuracy[1, fitted]:.3f} at step {steps[fitted]:,.0f}",
            bool(accuracy[0].max() >= 0.99 and accuracy[1, fitted] <= 0.3),
        ),
        Check(
            "plateau: from there to 20 times later test accuracy moves by ≤ 0.1",
            f"moves by {float(np.ptp(plateau)):.3f}",
            bool(np.ptp(plateau) <= 0.1),
        ),
        Check(
            "test accuracy ≥ 0.95 more than 100 times later",
            f"{accuracy[1].max():.3f} at most; ≥ 0.95 from step {good:,.0f}",
            bool(accuracy[1].max() >= 0.95 and good >= 100 * steps[fitted]),
        ),
    )
    lines = (Line("train", steps, accuracy[0]), Line("test", steps, accuracy[1], "solid", 1))
    panel = Panel("share of inputs with (N − N*)² ≤ 0.01", STEP, "surrogate accuracy", lines, y_log=False)
    same = losses("losses of the same run", drawn, setting.decay, 1e6)
    effort.say("Figure 5: done")
    changed = (SCALED, *effort.shorter("m = 4,000, not 10,000"))
    return Reproduced("Figure 5", "the plateau of surrogate accuracy", (panel, same), checks, changed)


def figure_6(effort: Effort) -> Reproduced:
    """Label noise of standard deviation 0.1; m = 5,000, d = 50, n = 100, λ = 1e-5."""
    setting = Setting(m=5000, d=50)
    found: list[GrokkingTime] = []
    panels: list[Panel] = []
    for noise in (0.0, 0.1):
        drawn = relu_problem(replace(setting, noise=noise), effort.seed)
        found.append(drawn.times(setting.decay))
        panels.append(losses(f"label noise {noise:g}", drawn, setting.decay, 1e6))
    t1, t2 = clocks(found)
    excess = [one.floors.population for one in found]
    told = f"{t2[0]:,.0f} and {t2[1]:,.0f}; the population loss ends at {excess[0]:.4f} and {excess[1]:.4f}"
    checks = (
        level("label noise barely moves t1", t1, 1.2),
        Check("label noise barely moves t2: ratio ≤ 1.3", told, bool(t2.max() / t2.min() <= 1.3)),
        Check("with noise too t2 ≥ 100 t1", f"{t2[1] / t1[1]:,.0f}", bool(t2[1] >= 100 * t1[1])),
    )
    effort.say("Figure 6: done")
    return Reproduced("Figure 6", "label noise", tuple(panels), checks, (SCALED,))


def figure_7(effort: Effort) -> Reproduced:
    """Random Fourier features, σ² = 1, m = 5,000, d = 10, n = 100, λ = 1e-4; the teacher is one of the features."""
    setting = Setting(m=5000, d=10, decay=1e-4)
    drawn = fourier_problem(setting, effort.seed)
    (t1, _), (t2, tenth) = clocks([drawn.times(setting.decay), drawn.times(setting.decay / 10)])
    checks = (
        Check("it groks: t2 ≥ 10 t1", f"t1 {t1:,.0f}, t2 {t2:,.0f}", bool(t2 >= 10 * t1)),
        near("ln t2 ratio per decade of λ", float(np.log10(tenth / t2)), 1.0, 0.02),
    )
    effort.say("Figure 7: done")
    panel = losses("n = 100, m = 5,000", drawn, setting.decay, 2e5)
    return Reproduced("Figure 7", "random Fourier features", (panel,), checks)
