"""Tasks of other networks: parities, a lazy polynomial, BatchNorm, and Gromov's network with its analytic solution."""

import math

import pytest
import torch

from groktimizer.models import TwoHotMLP
from groktimizer.tasks import ParityTask, PolynomialTask, make_problem, make_task
from groktimizer.tasks.operations import table
from groktimizer.tasks.polynomial import LazyPolynomial
from groktimizer.tasks.sparse import ProductVector


def cosines(p: int, width: int, seed: int = 0) -> TwoHotMLP:
    """The solution of arXiv 2301.02679 for a + b: unit j has one frequency f and phases φ, ψ, and reads out φ + ψ."""
    source = torch.Generator().manual_seed(seed)
    frequency = torch.randint(1, p, (width,), generator=source).double()
    phases = 2 * math.pi * torch.rand(2, width, generator=source, dtype=torch.float64)
    angles = 2 * math.pi / p * torch.arange(p).double()[:, None] * frequency
    model = TwoHotMLP(p, width, "quadratic", mean_field=True, dtype=torch.float64).requires_grad_(False)
    amplitude = (2 / width) ** (1 / 3)
    model.left.copy_(amplitude * (angles + phases[0]).cos())
    model.right.copy_(amplitude * (angles + phases[1]).cos())
    model.readout.copy_(amplitude * (angles + phases.sum(0)).cos())
    return model


@pytest.mark.parametrize("p", [11, 23])
def test_gromovs_network_adds_by_cosines_when_it_is_wide(p: int):
    """Of (cos A + cos B)² cos C cos(A + B − C)/2 survives the phases: logits 1 where right, −1/(p − 1) elsewhere."""
    pairs, answers = table("modular-addition", p)
    logits = cosines(p, 40_000)(pairs)
    assert bool((logits.argmax(1) == answers).all())
    right = torch.nn.functional.one_hot(answers, p).bool()
    assert float(logits[right].mean()) == pytest.approx(1, rel=0.05)
    assert float(logits[~right].mean()) == pytest.approx(-1 / (p - 1), rel=0.5)
    assert float((logits - torch.where(right, 1.0, -1 / (p - 1))).abs().max()) < 0.3


def test_a_narrow_one_is_wrong_now_and_then_and_it_does_not_subtract():
    pairs, answers = table("modular-addition", 23)
    found = [float((cosines(23, width)(pairs).argmax(1) == answers).double().mean()) for width in (10, 50, 400)]
    assert found[0] < 0.5 < found[1] < found[2] == 1
    differences = table("modular-subtraction", 23).targets
    assert float((cosines(23, 400)(pairs).argmax(1) == differences).double().mean()) < 0.1


def test_gromovs_network_starts_small_at_every_width():
    """h is N(0, 2σ²), so Σ_j h_j² v_j has variance width · 12 σ⁶ = 3/(64 width)."""
    for width in (100, 900):
        task = make_task("modular-addition", {"p": 23, "model": "gromov", "width": width, "loss": "mse"})
        problem = task.build(0)
        wanted = (3 / (64 * width)) ** 0.5
        assert float(problem.model(problem.train.inputs).detach().std()) == pytest.approx(wanted, rel=0.2)


@pytest.mark.parametrize(("n", "k", "n_train"), [(8, 8, 200), (10, 3, 100), (40, 3, 600), (62, 5, 50)])
def test_parity_is_counted_bit_by_bit_and_no_string_comes_twice(n: int, k: int, n_train: int):
    problem = make_task("bit-parity", {"n": n, "k": k, "n_train": n_train, "width": 4}).build(1)
    assert problem.test is not None
    assert len(problem.train.inputs) == n_train and len(problem.test.inputs) == min(2000, 2**n - n_train)
    seen: set[tuple[float, ...]] = set()
    for part in (problem.train, problem.test):
        for signs, label in zip(part.inputs.tolist(), part.targets.tolist(), strict=True):
            assert math.prod(signs[:k]) == (-1) ** (k + label) and set(signs) <= {1.0, -1.0}
            seen.add(tuple(signs))
    assert len(seen) == len(problem.train.inputs) + len(problem.test.inputs)


def test_bits_are_fair_and_independent():
    """All 40 means and 780 correlations of 3,000 strings within 4.5 standard deviations."""
    bits = ParityTask(n=40, n_train=1000).strings(0).double() * 2 - 1
    assert float(bits.mean(0).abs().max()) < 4.5 / 3000**0.5
    products = (bits.T @ bits / 3000).fill_diagonal_(0)
    assert float(products.abs().max()) < 4.5 / 3000**0.5


def test_a_hand_made_network_solves_parity():
    """Units relu(s − j) of the sum s of k bits bend where the parity turns: −s, then slopes ±2 at 1, 2, …, k − 1."""
    problem = make_task("bit-parity", {"n": 6, "k": 4, "n_train": 40, "width": 8}).build(0, dtype=torch.float64)
    model = problem.model.requires_grad_(False)
    first, second = model.get_submodule("layers.0"), model.get_submodule("layers.1")
    for parameter in model.parameters():
        parameter.zero_()
    for j in range(4):  # s = Σ (x + 1)/2 over the first four
        first.get_parameter("weight")[j, :4] = 0.5
        first.get_parameter("bias")[j] = 2.0 - j
        second.get_parameter("weight")[1, j] = (1.0 if j == 0 else 2.0) * (-1) ** j
    second.get_parameter("bias")[0] = 0.5
    found = problem.evaluate(model)
    assert found["train_accuracy"] == found["test_accuracy"] == 1


def test_the_polynomial_starts_at_zero_and_has_one_task_for_all_alpha():
    lazy, rich = (PolynomialTask(alpha=alpha).build(2, dtype=torch.float64) for alpha in (10.0, 0.5))
    assert torch.equal(lazy.train.targets, rich.train.targets)
    for problem, alpha in ((lazy, 10.0), (rich, 0.5)):
        assert float(problem.model(problem.train.inputs).detach().abs().max()) < 1e-12
        found = problem.evaluate(problem.model)
        assert found["train_error"] == pytest.approx(1) and found["test_error"] == pytest.approx(1)
        assert found["train_loss"] == pytest.approx(float(problem.train.targets.square().mean()) / alpha**2)
    assert float(lazy.train.targets.mean()) == pytest.approx(0.5, rel=0.3)


def test_one_pair_of_units_is_the_polynomial():
    """φ(h) + φ(−h) = ε h²: units ±v with the sign +1 give (α ε/√m) ⟨v, x⟩², here half of ⟨w, x⟩²."""
    direction = torch.randn(5, dtype=torch.float64)
    model = LazyPolynomial(torch.zeros(2, 5, dtype=torch.float64), alpha=3.0, epsilon=0.7).requires_grad_(False)
    size = (0.5 * 4**0.5 / (3.0 * 0.7)) ** 0.5
    model.hidden[0], model.hidden[1] = size * direction, -size * direction
    inputs = torch.randn(20, 5, dtype=torch.float64)
    torch.testing.assert_close(model(inputs), (inputs @ direction).square() / 2)


def test_lazy_gradients_do_not_depend_on_alpha_at_the_start():
    """The loss/α² of α·f has at f = 0 the gradient −2 y f'/α · (1/n): α times it is the same for all α."""
    slopes = []
    for alpha in (1.0, 7.0):
        problem = PolynomialTask(n=20, d=6, width=8, alpha=alpha).build(0, dtype=torch.float64)
        problem.loss(problem.model, *problem.train).backward()
        slope = next(problem.model.parameters()).grad
        assert slope is not None
        slopes.append(alpha * slope)
    torch.testing.assert_close(*slopes)


def test_evaluation_of_batchnorm_leaves_no_trace_and_takes_the_running_moments():
    problem = make_problem(make_task("digits", {"model": "cnn", "width": 4, "n_train": 100}), 0)
    before = {name: value.clone() for name, value in problem.model.state_dict().items()}
    assert problem.evaluate(problem.model) == problem.evaluate(problem.model)
    assert all(torch.equal(value, before[name]) for name, value in problem.model.state_dict().items())
    assert all(module.training for module in problem.model.modules())
    problem.model(problem.train.inputs)
    assert int(problem.model.get_buffer("norms.0.num_batches_tracked")) == 1
    alone = problem.model.eval()(problem.train.inputs[:1]).detach()
    torch.testing.assert_close(alone, problem.model(problem.train.inputs).detach()[:1])


def test_depth_two_is_a_diagonal_network_of_squares():
    """With u = (a + b)/2, v = (a − b)/2 u∘u − v∘v is a∘b: the same network, rotated, of half the squared norm."""
    problem = make_task("sparse-recovery", {"depth": 2}).build(0)
    assert isinstance(problem.model, ProductVector)
    a, b = (factor.detach() for factor in problem.model.factors)
    u, v = (a + b) / 2, (a - b) / 2
    torch.testing.assert_close(problem.model.product().detach(), u * u - v * v)
    assert float(u.square().sum() + v.square().sum()) == pytest.approx(float(a.square().sum() + b.square().sum()) / 2)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("bit-parity", {"n": 63}, "n=63: expected a whole number from 1 to 62"),
        ("bit-parity", {"k": 41}, "k=41: expected a whole number from 1 to 20"),
        ("bit-parity", {"n": 5, "k": 2, "n_train": 32}, "n_train=32: expected fewer than the 32 strings"),
        ("bit-parity", {"model": "rnn"}, "model='rnn'"),
        ("polynomial-regression", {"width": 5}, "width=5: expected an even number"),
        ("polynomial-regression", {"alpha": 0}, "alpha=0"),
        ("digits", {"model": "cmn"}, "did you mean 'cnn'"),
    ],
)
def test_mistakes_are_one_line(name: str, options: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        make_task(name, options)
