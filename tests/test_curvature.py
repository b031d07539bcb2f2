"""Sharpness against explicit Hessians, known quadratics, brute force, and what rescaling moves and what it does not."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from groktimizer.measures import curvature, fisher_rao, relative_flatness, rescale, sam_sharpness
from groktimizer.tasks.problem import squared_error

Objective = Callable[[Tensor, Tensor], Tensor]


def network(seed: int = 0, hidden: int = 6) -> tuple[nn.Sequential, Tensor, Tensor]:
    """Two layers with ReLU, 20 samples of 3 classes, float64."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, 3)).double()
    return model, torch.randn(20, 4).double(), torch.randint(3, (20,))


def explicit(model: nn.Module, objective: Objective, inputs: Tensor, targets: Tensor) -> Tensor:
    """The Hessian entry by entry, by torch.autograd.functional, and no product with a vector."""
    names, shapes = zip(*((name, param.shape) for name, param in model.named_parameters()), strict=True)
    flat = torch.cat([param.detach().flatten() for param in model.parameters()])

    def loss(vector: Tensor) -> Tensor:
        parts = torch.split(vector, [shape.numel() for shape in shapes])
        values = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        return objective(torch.func.functional_call(model, values, (inputs,)), targets)

    found = torch.autograd.functional.hessian(loss, flat)
    assert isinstance(found, Tensor)
    return found


@pytest.mark.parametrize("probes", [3, 100])  # Lanczos for 51 parameters; the whole matrix where there are fewer
def test_the_largest_eigenvalue_is_that_of_the_explicit_hessian(probes: int):
    model, inputs, targets = network()
    values = torch.linalg.eigvalsh(explicit(model, cross_entropy, inputs, targets))
    assert curvature(model, cross_entropy, inputs, targets, probes=probes).largest == pytest.approx(
        float(values[-1]), rel=1e-3
    )


def test_the_trace_is_exact_for_few_parameters_and_converges_for_more():
    model, inputs, targets = network()
    wanted = float(explicit(model, cross_entropy, inputs, targets).trace())
    assert curvature(model, cross_entropy, inputs, targets, probes=51).trace == pytest.approx(wanted, rel=1e-9)
    guesses = [curvature(model, cross_entropy, inputs, targets, probes=30, seed=seed).trace for seed in range(8)]
    assert sum(guesses) / 8 == pytest.approx(wanted, rel=0.05)
    assert len(set(guesses)) == 8


def test_the_trace_of_a_hessian_of_low_rank_is_exact():
    """A linear model on two samples under squared error: H = (2/n) XᵀX has rank 2, Hutch++ needs a sketch of 2."""
    torch.manual_seed(1)
    inputs, model = torch.randn(2, 50).double(), nn.Linear(50, 1, bias=False).double()
    found = curvature(model, mse_loss, inputs, torch.zeros(2, 1).double(), probes=9)
    hessian = inputs.T @ inputs  # 2/n = 1
    assert found.trace == pytest.approx(float(hessian.trace()), rel=1e-9)
    assert found.largest == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), rel=1e-3)


def test_curvature_leaves_the_random_state_and_the_gradients_alone():
    model, inputs, targets = network()
    before = torch.get_rng_state()
    assert curvature(model, cross_entropy, inputs, targets, probes=9) == curvature(
        model, cross_entropy, inputs, targets, probes=9
    )
    assert torch.equal(before, torch.get_rng_state())
    assert all(param.grad is None for param in model.parameters())


class Quadratic(nn.Module):
    """Outputs that are the parameters, so that the objective is a function of them."""

    def __init__(self, at: Tensor) -> None:
        super().__init__()
        self.at = nn.Parameter(at.clone())

    def forward(self, inputs: Tensor) -> Tensor:
        return self.at.expand(len(inputs), -1)


def test_sam_at_the_minimum_of_a_quadratic_is_half_the_curvature_times_the_square_of_the_radius():
    """L = ½ Σ k_i a_i², from a point next to 0: max over the ball is ½ k_max ρ², reached along the stiffest axis."""
    curvatures = torch.tensor([1.0, 4.0, 9.0]).double()
    model = Quadratic(torch.full((3,), 1e-7).double())
    ones = torch.zeros(1, 3).double()

    def objective(outputs: Tensor, targets: Tensor) -> Tensor:
        return ((outputs - targets).square() * curvatures).sum(1).mean() / 2

    assert sam_sharpness(model, objective, ones, ones, radius=0.1, steps=30) == pytest.approx(4.5 * 0.01, rel=1e-3)
    first = sam_sharpness(model, objective, ones, ones, radius=0.1, steps=1)
    ascent = curvatures / curvatures.norm()  # one step of SAM goes along the gradient
    assert first == pytest.approx(0.5 * float((curvatures * ascent.square()).sum()) * 0.01, rel=1e-4)


def test_sam_is_below_the_maximum_of_brute_force_and_above_random_points():
    model, inputs, targets = network()
    found = sam_sharpness(model, cross_entropy, inputs, targets, radius=0.3, steps=20)
    kept = [param.detach().clone() for param in model.parameters()]
    base = float(cross_entropy(model(inputs), targets).detach())
    for seed in range(200):
        torch.manual_seed(seed)
        away = [torch.randn_like(param) for param in kept]
        size = math.sqrt(sum(float(part.square().sum()) for part in away))
        with torch.no_grad():
            for param, at, part in zip(model.parameters(), kept, away, strict=True):
                param.copy_(at + 0.3 / size * part)
            assert float(cross_entropy(model(inputs), targets)) - base < found
    with torch.no_grad():
        for param, at in zip(model.parameters(), kept, strict=True):
            param.copy_(at)
    slope = torch.autograd.grad(cross_entropy(model(inputs), targets), list(model.parameters()))
    steep = math.sqrt(sum(float(part.square().sum()) for part in slope))
    assert found < 0.3 * steep + 0.5 * 0.09 * 20  # first order, and more curvature than there is


def test_sam_puts_the_network_back_to_the_bit():
    model, inputs, targets = network()
    before = [param.detach().clone() for param in model.parameters()]
    assert sam_sharpness(model, cross_entropy, inputs, targets) > 0
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize("objective", [cross_entropy, squared_error])
def test_fisher_rao_is_the_quadratic_form_of_gauss_newton(objective: Objective):
    """θᵀGθ with the Jacobian written out."""
    model, inputs, targets = network()
    names = [name for name, _ in model.named_parameters()]
    values = tuple(param.detach() for param in model.parameters())

    def outputs(*given: Tensor) -> Tensor:
        return torch.func.functional_call(model, dict(zip(names, given, strict=True)), (inputs,))

    jacobian = torch.autograd.functional.jacobian(outputs, values)
    flat = torch.cat([part.flatten(2) for part in jacobian], 2)  # n, classes, parameters
    theta = torch.cat([value.flatten() for value in values])
    reached = outputs(*values)
    total = 0.0
    for row in range(len(inputs)):
        target = targets[row : row + 1]
        curved = torch.autograd.functional.hessian(lambda z, y=target: objective(z[None], y), reached[row])
        assert isinstance(curved, Tensor)
        answer = flat[row] @ theta
        total += float(answer @ curved @ answer) / len(inputs)
    assert fisher_rao(model, objective, inputs, targets) == pytest.approx(total, rel=1e-9, abs=1e-12)


def test_relative_flatness_is_the_sum_over_the_blocks_of_the_explicit_hessian():
    model, inputs, targets = network()
    head = model[2]
    assert isinstance(head, nn.Linear)
    features = model[:2](inputs).detach()
    bias = head.bias.detach()
    hessian = torch.autograd.functional.hessian(
        lambda weight: cross_entropy(features @ weight.T + bias, targets), head.weight.detach()
    )
    assert isinstance(hessian, Tensor)  # 3, 6, 3, 6
    weight = head.weight.detach()
    wanted = sum(float(weight[s] @ weight[t]) * float(hessian[s, :, t, :].trace()) for s in range(3) for t in range(3))
    found = relative_flatness(features, weight, model(inputs), cross_entropy, targets)
    assert found == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("factor", [0.125, 8.0])
def test_rescaling_moves_the_hessian_and_sam_and_not_the_invariant_ones(factor: float):
    model, inputs, targets = network()

    def measured() -> tuple[list[float], list[float]]:
        head = model[2]
        assert isinstance(head, nn.Linear)
        features = model[:2](inputs).detach()
        kept = [
            fisher_rao(model, cross_entropy, inputs, targets),
            relative_flatness(features, head.weight.detach(), model(inputs), cross_entropy, targets),
        ]
        hessian = curvature(model, cross_entropy, inputs, targets)
        return kept, [hessian.largest, hessian.trace, sam_sharpness(model, cross_entropy, inputs, targets)]

    same, before = measured()
    inner, outer = model[0], model[2]
    assert isinstance(inner, nn.Linear) and isinstance(outer, nn.Linear)
    rescale([inner.weight, inner.bias], outer.weight, factor)
    again, after = measured()
    assert again == pytest.approx(same, rel=1e-10)
    assert all(abs(a / b - 1) > 0.2 for a, b in zip(after, before, strict=True))


def test_fisher_rao_stays_when_single_units_are_rescaled_and_relative_flatness_does_not():
    model, inputs, targets = network()
    inner, head = model[0], model[2]
    assert isinstance(inner, nn.Linear) and isinstance(head, nn.Linear)

    def both() -> tuple[float, float]:
        features = model[:2](inputs).detach()
        relative = relative_flatness(features, head.weight.detach(), model(inputs), cross_entropy, targets)
        return fisher_rao(model, cross_entropy, inputs, targets), relative

    before = both()
    units = torch.tensor([0.25, 0.5, 1.0, 2.0, 4.0, 8.0]).double()
    with torch.no_grad():
        inner.weight.mul_(units[:, None])
        inner.bias.mul_(units)
        head.weight.div_(units)
    after = both()
    assert after[0] == pytest.approx(before[0], rel=1e-12)
    assert after[1] != pytest.approx(before[1], rel=0.05)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda m, x, y: curvature(m, cross_entropy, x, y, probes=2), "probes=2: expected a whole number ≥ 3"),
        (lambda m, x, y: curvature(m, cross_entropy, x / 0, y), "objective: the loss is nan, expected a finite number"),
        (lambda m, x, y: sam_sharpness(m, cross_entropy, x, y, radius=0.0), "radius=0.0: expected a finite number > 0"),
        (lambda m, x, y: sam_sharpness(m, cross_entropy, x, y, steps=0), "steps=0: expected a whole number ≥ 1"),
        (lambda m, x, y: fisher_rao(nn.Identity(), cross_entropy, x, y), "model: no parameter is trainable"),
        (lambda m, x, y: relative_flatness(x, x, x, cross_entropy, y), r"shapes \(20, 4\), \(20, 4\), \(20, 4\)"),
    ],
)
def test_what_does_not_suit_is_one_line(call: Callable[..., object], told: str):
    with pytest.raises(ValueError, match=told):
        call(*network())
