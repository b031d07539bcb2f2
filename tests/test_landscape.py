"""Losses against the norm: an L and a U on a trained network, and a rescaling that moves the norm and nothing else."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from groktimizer.measures import (
    Landscape,
    along_path,
    along_ray,
    factor_for,
    least_factor,
    least_squared_norm,
    rescale,
    squared_norm,
)
from groktimizer.models import MLP
from groktimizer.tasks import make_task
from groktimizer.tasks.relu import TwoLayerRelu
from groktimizer.training import train

ACTIVATIONS = {1.0: torch.relu, 2.0: torch.square, 3.0: lambda z: torch.relu(z) ** 3, 0.5: lambda z: z.abs().sqrt()}
sizes = st.floats(1e-3, 1e3)
degrees = st.floats(0.2, 5.0)


@pytest.mark.parametrize("degree", ACTIVATIONS)
def test_the_function_stays_while_the_norm_moves_over_decades(degree: float):
    source = torch.Generator().manual_seed(0)
    A, B, x = (torch.randn(*s, dtype=torch.float64, generator=source) for s in ((30, 8), (4, 30), (8, 50)))
    phi, a, b = ACTIVATIONS[degree], float(A.square().sum()), float(B.square().sum())
    before, norms = B @ phi(A @ x), []
    for factor in (1e-3, 1e-2, 0.3, 1.0, 7.0, 1e2, 1e3):
        inner, outer = A.clone(), B.clone()
        rescale(inner, outer, factor, degree)
        after = outer @ phi(inner @ x)
        assert float((after - before).abs().max() / before.abs().max()) < 1e-12
        norms.append(float(inner.square().sum() + outer.square().sum()))
        assert norms[-1] == pytest.approx(squared_norm(a, b, factor, degree), rel=1e-12)
    assert max(norms) > 1e4 * min(norms)


@given(a=sizes, b=sizes, degree=degrees)
def test_the_least_factor_is_the_minimiser_and_its_norm_the_closed_form(a: float, b: float, degree: float):
    best = least_factor(a, b, degree)
    assert squared_norm(a, b, best, degree) == pytest.approx(least_squared_norm(a, b, degree), rel=1e-9)
    for other in (0.5, 0.9, 1.1, 2.0):
        assert squared_norm(a, b, other * best, degree) > least_squared_norm(a, b, degree)


@given(a=sizes, b=sizes, degree=degrees, times=st.floats(1.0, 1e9))
def test_every_larger_norm_can_be_had(a: float, b: float, degree: float, times: float):
    wanted = times * least_squared_norm(a, b, degree)
    factor = factor_for(a, b, wanted, degree)
    assert factor >= least_factor(a, b, degree) * (1 - 1e-9)
    assert squared_norm(a, b, factor, degree) == pytest.approx(wanted, rel=1e-6)


def test_balanced_layers_of_a_relu_network_have_the_least_norm():
    """At L = 1 the minimum 2‖A‖‖B‖ is where both layers have the same norm; rescaling by λ0 gets there."""
    network = TwoLayerRelu(3 * torch.randn(20, 5, dtype=torch.float64), torch.randn(20, 2, dtype=torch.float64))
    a, b = (float(p.detach().square().sum()) for p in network.parameters())
    rescale(network.hidden, network.readout, least_factor(a, b))
    one, two = (float(p.detach().square().sum()) for p in network.parameters())
    assert one == pytest.approx(two) == pytest.approx(math.sqrt(a * b))
    assert one + two == pytest.approx(least_squared_norm(a, b))


def parts(network: torch.nn.Module) -> tuple[list[torch.nn.Parameter], torch.nn.Parameter]:
    """What stands before and after the ReLU of a two-layer MLP; the last bias is in neither."""
    first = [network.get_parameter("layers.0.weight"), network.get_parameter("layers.0.bias")]
    return first, network.get_parameter("layers.1.weight")


def test_a_bias_before_the_activation_goes_with_the_inner_weights():
    network = MLP((6, 20, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inputs = torch.randn(10, 6, dtype=torch.float64)
    before = network(inputs)
    rescale(*parts(network), 300.0)
    torch.testing.assert_close(network(inputs), before, rtol=1e-12, atol=1e-13)


def trained(seed: int = 0):
    """A network that fits its 64 digits and is right on most of the others."""
    problem = make_task("digits", {"init_scale": 1.0, "width": 64}).build(seed, dtype=torch.float64)
    optimizer = torch.optim.Adam(problem.model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        problem.loss(problem.model, *problem.train).backward()
        optimizer.step()
    return problem


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_training_loss_is_an_l_and_the_test_loss_a_u(seed: int):
    """Along θ → s θ of a network that fits: chance at s → 0; at s → ∞ right answers cost 0, wrong ones ever more."""
    problem = trained(seed)
    before = [p.detach().clone() for p in problem.model.parameters()]
    seen = along_ray(problem.model, problem.evaluate, [float(s) for s in np.geomspace(0.02, 20, 25)])
    assert (seen.shape("train_loss"), seen.shape("test_loss")) == ("L", "U")
    assert seen.losses["train_loss"][0] == pytest.approx(math.log(10), rel=0.01)
    assert seen.losses["train_loss"][-1] < 1e-6
    assert seen.losses["test_loss"][-1] > 1
    assert seen.norms[0] < seen.best_norm("test_loss") < seen.norms[-1]
    for parameter, value in zip(problem.model.parameters(), before, strict=True):
        assert torch.equal(parameter, value)
    norm = math.sqrt(sum(float(value.square().sum()) for value in before))
    np.testing.assert_allclose(seen.norms, norm * np.geomspace(0.02, 20, 25))


def test_the_same_network_has_its_losses_at_every_norm():
    """What the U says about the norm is not about the function: rescaled by λ, losses stay and the norm goes away."""
    problem = trained()
    losses = problem.evaluate(problem.model)
    for factor in (10.0, 10.0, 10.0, 1e-6):
        rescale(*parts(problem.model), factor)
        assert problem.evaluate(problem.model) == pytest.approx(losses, rel=1e-9)


def test_a_recorded_path_gives_its_norms_and_losses():
    run = train(
        make_task("ridge", {"n": 5, "m": 9}), lambda m: torch.optim.SGD(m.parameters(), lr=0.5), steps=20, every=5
    )
    path = along_path(run.history)
    np.testing.assert_array_equal(path.norms, run.history["norm_l2"])
    np.testing.assert_array_equal(path.losses["test_loss"], run.history["test_loss"])
    with pytest.raises(ValueError, match="no column 'test_accuracy'; it has step"):
        along_path(run.history, ["test_accuracy"])


@pytest.mark.parametrize(
    ("losses", "shape"),
    [
        ([2, 1, 0, 0], "L"),
        ([2, 1, 0, 0.05], "L"),
        ([2, 1, 0, 0.2], "U"),
        ([2, 1, 3, math.inf], "U"),
        ([2, 1, 3, math.nan], "U"),
        ([math.nan, 1, 50, 100], "U"),
        ([math.inf, 1, 1, 1], "L"),
        ([math.nan] * 4, "flat"),
        ([1, 1, 2, 3], "rising"),
        ([1, 1, 1, 1.01], "flat"),
        ([0, 0, 0, 0], "flat"),
    ],
)
def test_shapes_are_named_whatever_the_order_of_the_points(losses, shape):
    norms, values = np.arange(1.0, 5.0), np.array(losses, dtype=float)
    assert Landscape(norms, {"x": values}).shape("x") == shape
    assert Landscape(norms[::-1].copy(), {"x": values[::-1].copy()}).shape("x") == shape


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rescale(torch.ones(2), torch.ones(2), 0.0), "factor=0.0: expected a finite number > 0"),
        (lambda: rescale(torch.ones(2), torch.ones(2), 1.0, -1.0), "degree=-1.0"),
        (lambda: rescale(torch.ones(2), torch.ones(2), 1e-200, 2.0), "give a factor nearer 1"),
        (lambda: least_factor(0.0, 1.0), "a=0.0"),
        (lambda: least_squared_norm(1.0, math.nan), "b=nan"),
        (lambda: factor_for(4.0, 64.0, 31.0), "no rescaling has a squared norm below 32"),
        (lambda: factor_for(1.0, 1.0, math.inf), "wanted=inf"),
        (lambda: along_ray(torch.nn.Linear(1, 1), lambda m: {}, [1.0, -1.0]), r"factors\[1\]=-1.0"),
        (lambda: along_ray(torch.nn.Linear(1, 1), lambda m: {}, []), "at least one"),
        (lambda: Landscape(np.ones(1), {"a": np.ones(1)}).shape("b"), "loss 'b': expected a"),
    ],
)
def test_mistakes_are_one_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("dtype", "factor", "degree"),
    [
        (torch.float32, 2.0**80, 2.0),
        (torch.float32, 2.0**-80, 2.0),
        (torch.float32, 2.0**-150, 0.1),
        (torch.float16, 2.0**20, 0.1),
        (torch.float64, 2.0**600, 2.0),
    ],
)
def test_what_the_tensors_cannot_hold_is_refused_before_anything_is_multiplied(dtype, factor: float, degree: float):
    inner, outer = torch.full((3,), 3.0, dtype=dtype), torch.full((3,), 5.0, dtype=dtype)
    with pytest.raises(ValueError, match=f"normal {str(dtype).removeprefix('torch.')}, give a factor nearer 1"):
        rescale(inner, outer, factor, degree)
    assert inner.tolist() == [3.0] * 3 and outer.tolist() == [5.0] * 3


def test_an_entry_that_would_overflow_counts_as_well_as_the_factor():
    with pytest.raises(ValueError, match="nearer 1"):
        rescale(torch.tensor([1e30]), torch.ones(1), 1e20)
    rescale(torch.tensor([1e30]), torch.ones(1), 1e5)


def test_a_measure_that_fails_leaves_the_network_as_it_was():
    model = torch.nn.Linear(3, 2)
    before = model.weight.detach().clone()

    def fail(_: torch.nn.Module) -> dict[str, float]:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        along_ray(model, fail, [2.0])
    assert torch.equal(model.weight, before)
