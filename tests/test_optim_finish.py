"""The default to its end: a level that initialisation cannot inflate, a plateau, the finish at the least norm."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from scipy.optimize import brentq
from torch import Tensor, nn

from groktimizer import L1, GROKtimizer, GroupL1, LossBelow, Nuclear, param_groups
from groktimizer.measures import least_l1, norm_gap
from groktimizer.optim import switch
from groktimizer.optim.control import Control
from groktimizer.penalties import Penalty
from optim_cases import LEFT, Problem, equal, run


def two_layers(*, inputs: int, width: int, outputs: int, scale: float = 1.0) -> nn.Sequential:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, outputs))
    with torch.no_grad():
        for param in model.parameters():
            param.mul_(scale)
    return model


def step(opt: GROKtimizer, loss: Tensor) -> None:
    opt.zero_grad()
    loss.backward()
    opt.observe(loss)
    opt.step()


def control(opt: GROKtimizer) -> dict[str, float]:
    return opt.state_dict()["param_groups"][0]["control"]


# ------------------------------------------------------------------ the end
@pytest.mark.parametrize(("inputs", "bound"), [(30, 1.02), (600, 1.05)])
def test_the_untuned_default_ends_at_the_least_norm(inputs: int, bound: float) -> None:
    """Against L-BFGS along a path of weights, from several starts, the end of the run among them."""
    generator = torch.Generator().manual_seed(7)
    features = torch.randn(24, inputs, generator=generator)
    labels = (features[:, 0] * features[:, 1] > 0).long()
    model = two_layers(inputs=inputs, width=32, outputs=2)
    opt = GROKtimizer(param_groups(model))

    def loss(net: nn.Module) -> Tensor:
        return nn.functional.cross_entropy(net(features), labels)

    for _ in range(1000):
        step(opt, loss(model))
    level = control(opt)["level"]
    assert float(loss(model).detach()) == pytest.approx(level, rel=0.02)  # the constraint binds
    gap = norm_gap(model, loss, level, penalised=param_groups(model)[0]["params"], starts=[copy.deepcopy(model)])
    assert 0.99 < gap.gap < bound
    assert "in the Euclidean metric since" in opt.status


@pytest.mark.parametrize(
    ("penalty", "parts"),
    [
        (L1(), np.abs),
        (GroupL1(), lambda target: np.linalg.norm(target, axis=1)),
        (Nuclear(), lambda target: np.linalg.svd(target, compute_uv=False)),
    ],
    ids=["l1", "rows", "nuclear"],
)
def test_the_end_has_the_least_of_other_penalties_too(penalty: Penalty, parts: Callable[[Any], Any]) -> None:
    """Of |W - Y|^2 / 2 n: entries, rows or singular values of Y, each shorter by the threshold t that meets the level.

    They are orthogonal, so |W - Y|^2 is the sum of min(size, t)^2 and h(W) that of max(size - t, 0).
    """
    target = default_rng(8).standard_normal((12, 10))
    target[4:] *= 0.1
    weight = nn.Parameter(torch.tensor(default_rng(9).standard_normal((12, 10))))
    opt = GROKtimizer([weight], penalty=penalty)
    for _ in range(600):
        step(opt, 0.5 * (weight - torch.tensor(target)).square().mean())
    level, sizes = control(opt)["level"], parts(target)
    threshold: Any = brentq(lambda t: 0.5 * (np.minimum(sizes, t) ** 2).sum() / target.size - level, 0.0, 10.0)
    least = np.maximum(sizes - threshold, 0.0).sum()
    assert float(penalty.value(weight.detach())) == pytest.approx(least, rel=0.01)
    assert "in the Euclidean metric since" in opt.status


def test_a_proximal_penalty_goes_over_after_twelve_units_of_damped_time() -> None:
    target = torch.tensor(default_rng(8).standard_normal((12, 10)))
    weight = nn.Parameter(torch.tensor(default_rng(9).standard_normal((12, 10))))
    opt, before = GROKtimizer([weight], penalty=L1()), 0.0
    while control(opt)["finish_step"] < 0:
        before = control(opt)["damped_time"]
        step(opt, 0.5 * (weight - target).square().mean())
    assert before < 12.0 <= control(opt)["damped_time"] < before + 0.2


def test_the_end_under_l1_is_the_lassos() -> None:
    """Forty samples of a hundred features, five of which count, against the Lasso's path."""
    random = default_rng(2)
    features = random.standard_normal((40, 100))
    targets = features @ np.where(np.arange(100) < 5, 1.0, 0.0)
    weight = nn.Parameter(torch.tensor(0.1 * random.standard_normal(100)))
    opt, zeros = GROKtimizer([weight], penalty=L1()), []
    for _ in range(600):
        step(opt, (torch.tensor(features) @ weight - torch.tensor(targets)).square().mean())
        zeros.append(int((weight == 0).sum()))
    least = least_l1(features, targets, control(opt)["level"])
    assert float(weight.detach().abs().sum()) == pytest.approx(least, rel=0.01)
    assert min(zeros[-100:]) >= 85  # in probes of the curvature too


def test_decay_moves_no_faster_than_the_weights_follow() -> None:
    """Features with a mean make steps short; with `pace` halved the loss swings between 0.2 and 2.9 times the level."""
    random, losses = default_rng(0), []
    inputs = torch.tensor(random.standard_normal((30, 300)) + 3.0)
    targets = inputs @ torch.tensor(random.standard_normal(300)) / math.sqrt(300)
    opt = GROKtimizer([weight := nn.Parameter(torch.tensor(0.1 * random.standard_normal(300)))])
    for _ in range(1500):
        losses.append((inputs @ weight - targets).square().mean())
        step(opt, losses[-1])
    assert all(float(loss.detach()) == pytest.approx(control(opt)["level"], rel=0.1) for loss in losses[-500:])


def test_with_a_given_step_or_weight_the_metric_stays() -> None:
    for given in ({"lr": 4e-3}, {"weight_decay": 2.0}):
        problem = Problem()
        opt = problem.optimizer({"interpolation": 0.2} | given)
        run(problem, lambda opt=opt, problem=problem: opt.step(problem.closure), 300)
        assert control(opt)["finish_step"] == -1


def test_batches_that_differ_keep_the_adaptive_metric() -> None:
    """A curvature from the gradients of two batches is none."""
    problem, rng = Problem(), default_rng(5)
    opt = problem.optimizer({"interpolation": 0.2})
    for _ in range(400):
        loss = problem.closure()
        opt.observe(loss.item() * float(rng.uniform(0.5, 1.5)))
        opt.step()
    assert opt.phase == 2
    assert control(opt)["finish_step"] == -1


def test_a_sixteen_bit_model_keeps_the_adaptive_metric() -> None:
    problem = Problem(torch.bfloat16)
    opt = problem.optimizer({"interpolation": 0.3})
    run(problem, lambda: opt.step(problem.closure), 300)
    assert opt.phase == 2
    assert control(opt)["finish_step"] == -1


def test_a_schedule_halves_the_steps_of_the_finish_too() -> None:
    """Of lr = 4e-3 x factor only the factor counts there: the curvature gives the rest."""
    moved: list[float] = []
    for factor in (1.0, 0.5):
        problem = Problem()
        opt = problem.optimizer({"interpolation": 0.2})
        run(problem, lambda opt=opt, problem=problem: opt.step(problem.closure), 430)
        assert control(opt)["probes_left"] == 0
        opt.param_groups[0]["lr"] *= factor
        for param in problem.params:
            opt.state[param]["exp_avg"].zero_()
        before = problem.values()
        opt.step(problem.closure)
        moved.append(
            math.sqrt(sum(float((a - b).square().sum()) for a, b in zip(before, problem.values(), strict=True)))
        )
    assert moved[1] == pytest.approx(0.5 * moved[0], rel=1e-2)  # the decay of a shorter step grows more slowly


# ------------------------------------------------------------------ the reference of the level
def test_a_large_initialisation_does_not_raise_the_level() -> None:
    """The second gradient is of the weights at zero; then everything is where it began, to the last bit."""
    inputs, targets = torch.randn(20, 5, generator=torch.Generator().manual_seed(1)), torch.ones(20, 1)
    targets[::2] = -1.0
    model = two_layers(inputs=5, width=16, outputs=1, scale=8.0)
    opt = GROKtimizer(param_groups(model))

    def loss() -> Tensor:
        return (model(inputs) - targets).square().mean()

    start = [param.detach().clone() for param in model.parameters()]
    first = loss()
    step(opt, first)
    assert all(not weight.any() for weight in param_groups(model)[0]["params"])
    saved, values = copy.deepcopy(opt.state_dict()), copy.deepcopy(model.state_dict())
    emptied = loss().item()
    step(opt, loss())
    back = [param.detach().clone() for param in model.parameters()]
    assert equal(back, start)
    assert control(opt)["detector_empty"] == pytest.approx(emptied)
    assert emptied < 0.1 * first.item()

    other = two_layers(inputs=5, width=16, outputs=1, scale=8.0)
    resumed = GROKtimizer(param_groups(other))
    other.load_state_dict(values)
    resumed.load_state_dict(saved)
    model = other
    step(resumed, loss())
    assert equal([param.detach() for param in other.parameters()], back)


def deflated(model: nn.Module, opt: GROKtimizer, loss: Callable[[], Tensor], *, stop: int = 20) -> list[Tensor]:
    """Steps until nothing is halved any more; the weights before the first halving."""
    for _ in range(2):
        step(opt, loss())
    before = [param.detach().clone() for param in model.parameters()]
    while control(opt)["inflated"] and control(opt)["steps"] < stop:
        step(opt, loss())
    return before


def test_an_inflated_start_is_halved_until_it_loses_at_most_twice_what_zero_weights_do() -> None:
    """Penalised weights alone, by a power of 2, and phase 1 begins there: the steps of what was halved are new."""
    inputs, targets = torch.randn(20, 5, generator=torch.Generator().manual_seed(1)), torch.ones(20, 1)
    targets[::2] = -1.0
    model = two_layers(inputs=5, width=16, outputs=1, scale=8.0)
    weights = param_groups(model)[0]["params"]
    opt = GROKtimizer(param_groups(model))

    def loss() -> Tensor:
        return (model(inputs) - targets).square().mean()

    inflated = [group["scales"] for group in opt.param_groups]
    before = deflated(model, opt, loss)
    emptied, halvings = control(opt)["detector_empty"], control(opt)["steps"] - 3
    assert 2 <= halvings <= 4
    assert control(opt)["noise_losses"] == 1  # what was seen before is of another network
    assert control(opt)["detector_first"] <= 2.0 * emptied
    weights_now, others_now = (group["scales"] for group in opt.param_groups)
    assert all(new < old for new, old in zip(weights_now, inflated[0], strict=True))
    assert others_now == inflated[1]
    assert [int(opt.state[weight]["step"]) for weight in weights] == [1, 1]
    # The step that ended it moved by at most Adam's step; before that each weight was halved.
    for param, old in zip(model.parameters(), before, strict=True):
        factor = 0.5**halvings if any(param is weight for weight in weights) else 1.0
        largest = 0.012 * max(max(group["scales"]) for group in opt.param_groups) + 1e-6
        assert (param.detach() - factor * old).abs().max() <= largest


def test_a_resumed_run_goes_on_halving() -> None:
    inputs = torch.randn(20, 5, generator=torch.Generator().manual_seed(1))
    models = [two_layers(inputs=5, width=16, outputs=1, scale=8.0) for _ in range(2)]
    opts = [GROKtimizer(param_groups(model)) for model in models]
    for _ in range(3):
        step(opts[0], (models[0](inputs) - 1.0).square().mean())
    assert control(opts[0])["inflated"] > 0.0
    usual = GROKtimizer(param_groups(two_layers(inputs=5, width=16, outputs=1)))
    step(usual, usual.param_groups[0]["params"][0].square().mean() + 1.0)
    held = [{key: entry.keys() for key, entry in opt.state_dict()["state"].items()} for opt in (opts[0], usual)]
    assert all(held[0][key] == names for key, names in held[1].items())
    models[1].load_state_dict(models[0].state_dict())
    opts[1].load_state_dict(copy.deepcopy(opts[0].state_dict()))
    for _ in range(30):
        for model, opt in zip(models, opts, strict=True):
            step(opt, (model(inputs) - 1.0).square().mean())
    assert equal(*([param.detach() for param in model.parameters()] for model in models))


def test_halving_ends_with_a_loss_that_has_not_fallen_and_waits_for_one_that_is_told() -> None:
    told = Control("adaptive", first_loss=100.0, emptied=True)
    switch.take_in_empty(told, [1.0])
    losses = ([80.0], [], [20.0], [20.0], [10.0])
    assert [switch.deflates(told, each) for each in losses] == [True, False, True, False, False]


def test_single_samples_do_not_halve_a_usual_start_away() -> None:
    """The loss of one sample may be many times that of another, with or without weights."""
    for seed in range(20):
        model = two_layers(inputs=10, width=64, outputs=1)
        generator = torch.Generator().manual_seed(seed)
        inputs, targets = (torch.randn(200, columns, generator=generator) for columns in (10, 1))
        opt = GROKtimizer(param_groups(model))
        weight = param_groups(model)[0]["params"][0]
        start = weight.detach().norm()
        for i in range(12):
            step(opt, (model(inputs[i : i + 1]) - targets[i]).square().mean())
        assert control(opt)["inflated"] == 0.0
        assert weight.detach().norm() > start / 5.0


def test_a_base_of_the_user_begins_where_the_weights_are() -> None:
    """What it has in mind of larger weights cannot be taken from it."""
    inputs = torch.randn(20, 5, generator=torch.Generator().manual_seed(1))
    model = two_layers(inputs=5, width=16, outputs=1, scale=8.0)
    opt = GROKtimizer(param_groups(model), base=lambda groups: torch.optim.SGD(groups, lr=1e-9))
    start = [param.detach().clone() for param in model.parameters()]
    for _ in range(8):
        step(opt, (model(inputs) - 1.0).square().mean())
    assert control(opt)["detector_empty"] < 0.1 * control(opt)["detector_first"]
    for param, old in zip(model.parameters(), start, strict=True):
        torch.testing.assert_close(param.detach(), old, atol=1e-3, rtol=0.0)


def test_batches_that_differ_can_interpolate_from_an_inflated_start() -> None:
    """The first loss, a hundred times all others, would make any mean uncertain for ever."""
    inputs = torch.randn(64, 8, generator=torch.Generator().manual_seed(1))
    targets = inputs[:, :2].tanh()
    model = two_layers(inputs=8, width=64, outputs=2, scale=8.0)
    opt = GROKtimizer(param_groups(model))
    order = torch.Generator().manual_seed(2)
    for _ in range(1500):
        batch = torch.randperm(64, generator=order)[:16]
        step(opt, (model(inputs[batch]) - targets[batch]).square().mean())
        if opt.phase == 2:
            break
    assert opt.phase == 2
    assert (model(inputs) - targets).square().mean().item() < 0.03 * control(opt)["detector_empty"]


def test_weights_come_back_though_they_are_frozen_meanwhile() -> None:
    model = two_layers(inputs=5, width=16, outputs=1, scale=8.0)
    opt = GROKtimizer(param_groups(model))
    inputs = torch.randn(20, 5, generator=torch.Generator().manual_seed(1))
    step(opt, model(inputs).square().mean())
    assert not any(weight.any() for weight in param_groups(model)[0]["params"])
    next(model.parameters()).requires_grad = False
    step(opt, model(inputs).square().mean())
    assert all(param.any() for param in model.parameters())


def test_a_gradient_of_other_strides_meets_the_right_entries() -> None:
    """A fused kernel takes tensors for flat rows of numbers."""
    grad = torch.arange(6.0).reshape(3, 2).t()
    moved: list[Tensor] = []
    for foreach in (None, False):
        param = nn.Parameter(torch.ones(2, 3))
        opt = GROKtimizer(
            [param], lr=0.1, weight_decay=0.1, metric="euclidean", interpolation=float("inf"), foreach=foreach
        )
        param.grad = grad
        opt.step()
        moved.append(param.detach())
    torch.testing.assert_close(moved[0], moved[1])


def test_a_usual_initialisation_asks_for_nothing() -> None:
    model = two_layers(inputs=5, width=16, outputs=3)
    inputs, labels = torch.randn(20, 5, generator=torch.Generator().manual_seed(1)), torch.arange(20) % 3
    opt = GROKtimizer(param_groups(model))
    step(opt, nn.functional.cross_entropy(model(inputs), labels))
    assert all(weight.any() for weight in param_groups(model)[0]["params"])
    assert control(opt)["emptied"] == 0


def test_steps_are_shorter_where_entries_are_small() -> None:
    """Deviations 0.01 / sqrt 3 and 0.08: factors 1/8, the power of two next to 0.115, and 1."""
    wide, narrow = nn.Parameter(torch.empty(1000).uniform_(-0.01, 0.01)), nn.Parameter(torch.tensor([0.08, -0.08]))
    opt = GROKtimizer([wide, narrow, nn.Parameter(torch.zeros(3))])
    assert opt.param_groups[0]["scales"] == [0.125, 1.0, 1.0]


# ------------------------------------------------------------------ a plateau
def fed(losses: list[float], detector: LossBelow) -> int | None:
    return next((i for i, loss in enumerate(losses) if detector.update(loss)), None)


def test_a_plateau_below_half_of_the_first_loss_counts_as_interpolated() -> None:
    falling = [0.9**i for i in range(20)]  # to 0.135
    detector = LossBelow()
    reached = fed(falling + [falling[-1]] * 200, detector)
    assert reached is not None
    assert 60 <= reached - len(falling) <= 70
    assert detector.level == pytest.approx(2.0 * falling[-1], rel=0.11)
    restored = LossBelow()
    restored.load_state_dict(detector.state_dict())
    assert restored.level == detector.level


@pytest.mark.parametrize(
    ("losses", "detector"),
    [
        ([1.0 - 0.0005 * i for i in range(600)], LossBelow()),  # above half of the first loss
        ([0.995**i for i in range(700)], LossBelow()),  # falls by a tenth within 21 steps
        ([0.9**i for i in range(20)] + [0.135] * 400, LossBelow(absolute=0.01)),  # a level that was given
    ],
    ids=["above", "falling", "given"],
)
def test_what_is_no_plateau(losses: list[float], detector: LossBelow) -> None:
    assert fed(losses, detector) is None
    assert detector.plateau is None


@LEFT
def test_wrong_labels_end_phase_one_on_a_plateau_and_status_says_so() -> None:
    """Two classes for the same inputs: the loss cannot fall below ln 2 / 5."""
    inputs = torch.eye(10).repeat(10, 1)
    labels = (torch.arange(10) % 2).repeat(10)
    labels[:10] = 1 - labels[:10]
    model = two_layers(inputs=10, width=32, outputs=2)
    opt = GROKtimizer(param_groups(model))
    for _ in range(300):
        step(opt, nn.functional.cross_entropy(model(inputs), labels))
    assert opt.phase == 2
    assert "a plateau of the loss at 0.3" in opt.status
