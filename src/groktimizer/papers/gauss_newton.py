"""Exact Gauss-Newton on small networks, and the question of arXiv 2411.07979: does second order generalise worse?

The step of Levenberg on L(θ) = mean cross-entropy + (λ/2)‖θ‖², with J the Jacobian of all logits and H the Hessian of
the cross-entropy in them:

    (J'HJ/n + (λ + μ) I) δ = −∇L,

exact, by the P × P matrix or by the one of all logits, whichever is smaller. μ is divided by 3 where L falls by more
than half of what the quadratic model says, and multiplied by 4 until L falls. λ = 0 until the mean cross-entropy is at
most 2 % of ln(classes), the fit; then either it stays 0, or λ > 0: the ℓ2 phase.

Compared are the test accuracies at the fit, and at the end, seed by seed, with untuned AdamW and GROKtimizer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from groktimizer.measures import paired_bootstrap
from groktimizer.papers.reproduction import STEP, Array, Check, Effort, Line, Panel, Paper, Reproduced, curve, train
from groktimizer.results import Record
from groktimizer.sweeps import make_spec
from groktimizer.tasks import Problem, make_problem, make_task

FIT = 0.02  # of ln(classes)
DAMPING, LEAST, MOST = 1e-2, 1e-12, 1e8  # μ at the start and its range
GOOD, DOWN, UP = 0.5, 3.0, 4.0
CHUNK = 32  # samples whose Jacobian is taken at a time
EVERY = 5
DECAY = 1e-3  # λ of the ℓ2 phase


@dataclass(frozen=True)
class Descent:
    """A run of Gauss-Newton.

    Attributes:
        loss: Mean cross-entropy at the steps 0, 1, 2 …
        accuracy: On the test samples.
        fit: First step with the loss at the fit; None if there is none.
    """

    loss: Array
    accuracy: Array
    fit: int | None


class Levenberg:
    """Damped Gauss-Newton on a network's mean cross-entropy and (λ/2)‖θ‖² of all its parameters.

    Args:
        model: The network; its parameters are set by every step.
        inputs: Shape (n, …).
        targets: Classes, shape (n,).

    Attributes:
        theta: All parameters in a row, shape (P,).
        damping: μ.
    """

    def __init__(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> None:
        self.model, self.inputs, self.targets = model, inputs, targets
        self.names = [name for name, _ in model.named_parameters()]
        self.shapes = [param.shape for param in model.parameters()]
        self.theta = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
        self.damping = DAMPING

    def logits(self, theta: Tensor, inputs: Tensor) -> Tensor:
        """Logits at some parameters, shape (n, classes)."""
        parts = theta.split([shape.numel() for shape in self.shapes])
        named = {name: part.view(shape) for name, part, shape in zip(self.names, parts, self.shapes, strict=True)}
        return functional_call(self.model, named, (inputs,))

    def place(self, theta: Tensor) -> None:
        """Put parameters into the network."""
        self.theta = theta
        with torch.no_grad():
            nn.utils.vector_to_parameters(theta, self.model.parameters())

    def objective(self, theta: Tensor, decay: float) -> float:
        """Mean cross-entropy + (decay/2)‖θ‖²."""
        with torch.no_grad():
            loss = nn.functional.cross_entropy(self.logits(theta, self.inputs), self.targets)
            return float(loss + decay / 2 * theta.square().sum())

    def curvature(self, decay: float) -> tuple[Tensor, Tensor]:
        """Compute the gradient of the objective, and a root of J'HJ/n.

        With u = √softmax, H = A A' for A = diag(u)(I − u u'), so that rows A'J/√n are a root.

        Args:
            decay: λ.

        Returns:
            ∇L, shape (P,), and R with R'R = J'HJ/n, shape (n·classes, P).
        """

        def alone(theta: Tensor, one: Tensor) -> Tensor:
            return self.logits(theta, one.unsqueeze(0))[0]

        jacobian = vmap(jacrev(alone), in_dims=(None, 0), chunk_size=CHUNK)(self.theta, self.inputs)
        with torch.no_grad():
            share = self.logits(self.theta, self.inputs).softmax(1)
            count, classes = share.shape
            error = share - nn.functional.one_hot(self.targets, classes)
            gradient = torch.einsum("nc,ncp->p", error, jacobian) / count + decay * self.theta
            u = share.sqrt().unsqueeze(2)
            scaled = u * jacobian
            root = scaled - u * (u.mT @ scaled)
            return gradient, root.flatten(0, 1) / count**0.5

    def step(self, decay: float) -> bool:
        """Take a step, with as much damping as it needs to go down.

        Args:
            decay: λ.

        Returns:
            Whether there was one: at the end of what rounding shows there is none.
        """
        before = self.objective(self.theta, decay)
        gradient, root = self.curvature(decay)
        solve = solver(root)
        while self.damping <= MOST:
            delta = -solve(gradient, decay + self.damping)
            model = float(gradient @ delta + ((root @ delta).square().sum() + decay * delta.square().sum()) / 2)
            fall = before - self.objective(self.theta + delta, decay)
            if fall > 0:
                self.place(self.theta + delta)
                self.damping = max(self.damping / DOWN, LEAST) if fall > -GOOD * model else self.damping
                return True
            self.damping *= UP
        return False


def solver(root: Tensor) -> Callable[[Tensor, float], Tensor]:
    """Prepare to solve (R'R + shift) x = b, by the smaller of R'R and R R'.

    Args:
        root: R, shape (rows, P).

    Returns:
        A function from b, shape (P,), and the shift > 0 to x.
    """
    rows, size = root.shape
    wide = rows < size
    gram = root @ root.T if wide else root.T @ root
    eye = torch.eye(gram.shape[0], dtype=gram.dtype)

    def solve(b: Tensor, shift: float) -> Tensor:
        factor = torch.linalg.cholesky(gram + shift * eye)
        if not wide:
            return torch.cholesky_solve(b.unsqueeze(1), factor)[:, 0]
        inner = torch.cholesky_solve((root @ b).unsqueeze(1), factor)[:, 0]
        return (b - root.T @ inner) / shift

    return solve


def descend(problem: Problem, most: int, after: Mapping[float, int]) -> dict[float, Descent]:
    """Run Gauss-Newton from a problem's initial network: without decay to the fit, and from there on with each of some.

    Args:
        problem: In float64; its network is trained in place.
        most: Steps to the fit at most.
        after: By λ, the steps from there on.

    Returns:
        By λ; it ends early where no step goes down.
    """
    optimizer = Levenberg(problem.model, *problem.train)
    level = FIT * float(np.log(optimizer.logits(optimizer.theta, optimizer.inputs[:1]).shape[1]))

    def measured() -> tuple[float, float]:
        columns = problem.evaluate(problem.model)
        return columns["train_loss"], columns["test_accuracy"]

    shared = [measured()]
    while shared[-1][0] > level and len(shared) <= most and optimizer.step(0.0):
        shared.append(measured())
    fit = len(shared) - 1 if shared[-1][0] <= level else None
    theta, damping = optimizer.theta, optimizer.damping
    found: dict[float, Descent] = {}
    for decay, steps in after.items():
        optimizer.place(theta)
        optimizer.damping, rows = damping, list(shared)
        for _ in range(steps):
            if fit is None or not optimizer.step(decay):
                break
            rows.append(measured())
        loss, accuracy = (np.array(column) for column in zip(*rows, strict=True))
        found[decay] = Descent(loss, accuracy, fit)
    return found


@dataclass(frozen=True)
class Setting:
    """Where the methods are compared.

    Attributes:
        task: Name of the task.
        options: Its options.
        classes: Of the answers.
        most: Steps of Gauss-Newton to the fit at most.
        after: Its steps from there on, by λ.
        steps: Steps of the others.
    """

    task: str
    options: Mapping[str, object]
    classes: int
    most: int
    after: Mapping[float, int]
    steps: int


SETTINGS = (
    Setting("digits", {"n_train": 64, "width": 32}, 10, 40, {0.0: 10, DECAY: 20}, 1_500),
    Setting("modular-addition", {"p": 23, "width": 16, "train_fraction": 0.5}, 23, 40, {0.0: 5, DECAY: 12}, 1_500),
)
OTHERS = ("adamw", "groktimizer")
NAMES = {"adamw": "AdamW", "groktimizer": "GROKtimizer"}


def at_fit(run: Record, classes: int) -> tuple[float, float]:
    """Step and test accuracy at the first evaluation with the loss at the fit; not-a-number if there is none."""
    met = np.flatnonzero(run.history["train_loss"] <= FIT * np.log(classes))
    if not met.size:
        return float("nan"), float("nan")
    return float(run.history[STEP][met[0]]), float(run.history["test_accuracy"][met[0]])


def worse(claim: str, ours: Sequence[float], theirs: Sequence[float]) -> Check:
    """The claim that paired accuracies are lower: by the exact sign-flip test at 5 %; pairs that lack one drop out."""
    both = [(a, b) for a, b in zip(ours, theirs, strict=True) if np.isfinite(a) and np.isfinite(b)]
    if not both:
        return Check(claim, "no pair", False)
    found = paired_bootstrap(*zip(*both, strict=True))
    standing = {"faster": "lower", "slower": "higher", "level": "level"}.get(found.verdict, found.verdict)
    medians = " against ".join(f"{np.median(column):.3f}" for column in zip(*both, strict=True))
    told = f"median difference {found.median:+.3f} [{found.low:+.3f}, {found.high:+.3f}], p = {found.p_value:.2g}: "
    return Check(claim, f"{medians}; {told}{standing} ({found.pairs} pairs)", found.verdict == "faster")


def _compared(
    setting: Setting, newton: Sequence[Mapping[float, Descent]], others: Mapping[str, Sequence[Record]]
) -> list[Check]:
    fits = [found[0.0].fit for found in newton]
    reached = [
        float("nan") if fit is None else found[0.0].accuracy[fit] for fit, found in zip(fits, newton, strict=True)
    ]
    ends = {decay: [found[decay].accuracy[-1] for found in newton] for decay in setting.after}
    first = {name: [at_fit(run, setting.classes) for run in runs] for name, runs in others.items()}
    last = {name: [float(run.history["test_accuracy"][-1]) for run in runs] for name, runs in others.items()}
    counted = {"Gauss-Newton": [np.inf if fit is None else fit for fit in fits]}
    counted |= {NAMES[name]: [np.inf if np.isnan(pair[0]) else pair[0] for pair in first[name]] for name in OTHERS}
    steps = ", ".join(f"{name} {np.median(column):,.0f}" for name, column in counted.items())
    fewer = all(max(counted["Gauss-Newton"]) < min(counted[NAMES[name]]) for name in OTHERS)
    task = setting.task
    return [
        Check(f"{task}: Gauss-Newton fits in fewer steps than any run of the others", f"medians {steps}", fewer),
        *(
            worse(f"{task}, at the fit: lower test accuracy than {NAMES[name]}", reached, [b for _, b in first[name]])
            for name in OTHERS
        ),
        worse(f"{task}, at the end without ℓ2: lower test accuracy than AdamW", ends[0.0], last["adamw"]),
        *(
            worse(f"{task}, after the ℓ2 phase: lower test accuracy than {NAMES[name]}", ends[DECAY], last[name])
            for name in OTHERS
        ),
        worse(f"{task}: without the ℓ2 phase lower test accuracy than with it", ends[0.0], ends[DECAY]),
    ]


def _panel(
    setting: Setting, newton: Sequence[Mapping[float, Descent]], others: Mapping[str, Sequence[Record]]
) -> Panel:
    lines = [
        Line(label, np.arange(1, len(one.loss)), one.accuracy[1:], "faint", colour)
        for label, colour, decay in (("Gauss-Newton", 4, 0.0), ("Gauss-Newton, then ℓ2", 2, DECAY))
        for one in (found[decay] for found in newton)
    ]
    lines += [curve(run, NAMES[name], "test_accuracy", name) for name, runs in others.items() for run in runs]
    return Panel(setting.task, STEP, "test accuracy", tuple(lines), y_log=False)


def figure_generalisation(effort: Effort) -> Reproduced:
    """Test accuracy at the fit and at the end, seed by seed."""
    seeds = effort.seeds(2, 10)
    panels: list[Panel] = []
    checks: list[Check] = []
    for setting in SETTINGS:
        shared: dict[str, Any] = {
            "task_options": setting.options,
            "steps": setting.steps,
            "every": EVERY,
            "stop_on_settled": False,
        }
        specs = {name: [make_spec(setting.task, name, seed=seed, **shared) for seed in seeds] for name in OTHERS}
        others = train(specs, effort, setting.task)
        newton: list[dict[float, Descent]] = []
        for seed in seeds:
            problem = make_problem(
                make_task(setting.task, setting.options), seed, dtype=torch.float64, device=torch.device("cpu")
            )
            newton.append(descend(problem, setting.most, setting.after))
            effort.say(f"{setting.task}: Gauss-Newton, {len(newton)} of {len(seeds)} networks")
        panels.append(_panel(setting, newton, others))
        checks += _compared(setting, newton, others)
    changed = (
        "small networks, full batches, float64; the paper trains deep reversible ones on mini-batches",
        "λ of the ℓ2 phase not tuned, 20 steps of it on digits and 12 on addition",
        *effort.shorter("2 seeds, on which no test can decide"),
    )
    title = "does exact Gauss-Newton generalise worse?"
    return Reproduced("Generalisation", title, tuple(panels), tuple(checks), changed)


PAPER = Paper(
    "arXiv 2411.07979, Exact, Tractable Gauss-Newton Optimization in Deep Reversible Architectures Reveal Poor "
    "Generalization",
    {"generalisation": figure_generalisation},
    alone=("generalisation",),
)
