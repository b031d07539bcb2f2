"""Phase 2 for complexities other than L2: what it solves, how fast, and what it refuses."""

import io
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from groktimizer import L1, L2, Elastic, GROKtimizer, GroupL1, Nuclear, param_groups
from groktimizer.optim import proximal
from groktimizer.optim.reference import Reference
from groktimizer.optim.updates import Scalars
from groktimizer.penalties import Penalty
from optim_cases import INF, Problem, run

SAMPLES, FEATURES, SPARSITY = 40, 100, 5


def recovery(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(SAMPLES, FEATURES, generator=generator, dtype=torch.float64) / SAMPLES**0.5
    teacher = torch.zeros(FEATURES, dtype=torch.float64)
    places = torch.randperm(FEATURES, generator=generator)[:SPARSITY]
    teacher[places] = torch.randn(SPARSITY, generator=generator, dtype=torch.float64)
    return features, teacher


def solve(
    features: Tensor, targets: Tensor, steps: int, *, stop: Any = None, **options: Any
) -> tuple[Tensor, int | None, GROKtimizer]:
    theta = nn.Parameter(torch.zeros(features.shape[1], dtype=torch.float64))
    opt = GROKtimizer([theta], interpolation=INF, **options)
    for step in range(1, steps + 1):
        residual = features @ theta.detach() - targets
        theta.grad = features.T @ residual
        opt.observe(0.5 * residual.square().sum())
        opt.step()
        if stop is not None and stop(theta.detach()):
            return theta.detach(), step, opt
    return theta.detach(), None, opt


def ista(features: Tensor, targets: Tensor, lr: float, weight: float, stop: Any, steps: int) -> int | None:
    theta = torch.zeros(features.shape[1], dtype=torch.float64)
    for step in range(1, steps + 1):
        theta = L1().prox(theta - lr * features.T @ (features @ theta - targets), lr * weight)
        if stop(theta):
            return step
    return None


def stationarity(theta: Tensor, gradient: Tensor, weight: float) -> float:
    """How far minus the gradient is from weight times the subdifferential of the l1 norm."""
    on = theta != 0
    outside = (gradient[~on].abs() - weight).clamp_min(0.0)
    return float(torch.cat([(gradient[on] + weight * theta[on].sign()).abs(), outside]).max())


def test_euclidean_steps_solve_the_lasso() -> None:
    features, teacher = recovery(0)
    targets = features @ teacher
    theta, _, _ = solve(features, targets, 6000, metric="euclidean", penalty=L1(), lr=0.1, weight_decay=1e-2)
    assert stationarity(theta, features.T @ (features @ theta - targets), 1e-2) < 1e-9
    assert 0 < int((theta != 0).sum()) < SAMPLES


def test_adaptive_steps_of_a_separable_penalty_solve_the_same_problem() -> None:
    features, teacher = recovery(1)
    targets = features @ teacher
    theta, _, _ = solve(features, targets, 6_000, penalty=L1(), lr=2e-4, weight_decay=1e-2)
    assert stationarity(theta, features.T @ (features @ theta - targets), 1e-2) < 2e-4
    assert 0 < int((theta != 0).sum()) < SAMPLES


def test_the_second_clock_runs_at_the_square_root() -> None:
    features, teacher = recovery(0)
    targets = features @ teacher
    near = lambda theta: bool((theta - teacher).norm() < 1e-2 * teacher.norm())  # noqa: E731 (a local name)
    times = [
        solve(features, targets, 6000, stop=near, metric="euclidean", penalty=L1(), lr=0.1, weight_decay=weight)[1]
        for weight in (1e-3, 1e-5)
    ]
    slope = math.log(times[1] / times[0]) / math.log(1e-2)  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
    assert slope == pytest.approx(-0.5, abs=0.05)
    slow = ista(features, targets, 0.1, 1e-3, near, 30_000)
    assert slow is not None
    assert times[0] is not None
    assert slow > 20 * times[0]


MATRICES: dict[str, Penalty] = {"nuclear": Nuclear(), "rows": GroupL1("rows"), "elastic": Elastic(Nuclear(), 0.1)}
EUCLIDEAN: dict[str, Any] = {"metric": "euclidean", "lr": 0.05, "weight_decay": 1e-2}


@pytest.mark.parametrize("options", [EUCLIDEAN, {"lr": 2e-3, "weight_decay": 0.05}], ids=["euclidean", "adaptive"])
@pytest.mark.parametrize("name", MATRICES)
def test_matrix_penalties_equal_the_slow_twin(name: str, options: dict[str, Any]) -> None:
    penalty = MATRICES[name]
    generator = torch.Generator().manual_seed(5)
    theta = nn.Parameter(torch.randn(8, 6, generator=generator, dtype=torch.float64))
    target = torch.randn(8, 2, generator=generator, dtype=torch.float64)
    mix = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    metric = {"metric": options.get("metric", "adaptive")}
    slow = Reference([theta], **(options | metric), level=math.inf, penalty=penalty)
    opt = GROKtimizer([theta], interpolation=INF, penalty=penalty, **options)
    for _ in range(400):
        residual = theta.detach() @ mix - target
        theta.grad = residual @ mix.T
        slow.step(0.0, [theta.grad])
        opt.step()
        torch.testing.assert_close(theta.detach(), slow.theta[0], rtol=1e-8, atol=1e-10)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))


def test_each_group_has_its_own_penalty() -> None:
    model = network()
    embedding, *layers = (model.get_parameter(name) for name in ("0.weight", "2.weight", "4.weight"))
    biases = [model.get_parameter(name) for name in ("2.bias", "4.bias")]
    groups = [
        {"params": [embedding], "penalty": L1(), "weight_decay": 0.02},
        {"params": layers, "penalty": Nuclear(), "weight_decay": 0.2},
        {"params": biases, "weight_decay": 0.0},
    ]
    opt = GROKtimizer(groups, interpolation=0.2, penalty=Nuclear())
    pairs = torch.cartesian_prod(torch.arange(7), torch.arange(7))
    answers = (pairs[:, 0] + pairs[:, 1]) % 3
    for _ in range(300):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(pairs), answers)
        loss.backward()
        opt.observe(loss)
        opt.step()
    assert opt.phase == 2
    assert bool((embedding == 0).any())
    assert int((torch.linalg.svdvals(layers[0].detach()) > 1e-5).sum()) < 8
    assert not any(bool((bias == 0).any()) for bias in biases)


def test_a_state_is_read_without_pickle_and_belongs_to_its_penalty() -> None:
    problem = Problem()
    opt = problem.optimizer({"interpolation": 0.2, "penalty": L1()})
    run(problem, lambda: opt.step(problem.closure), 120)
    file = io.BytesIO()
    torch.save(opt.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert state["param_groups"][0]["penalty"] == "L1()"
    other = Problem().optimizer({"interpolation": 0.2})
    with pytest.raises(ValueError, match=r"saved with penalty=L1\(\): expected L2\(\)"):
        other.load_state_dict(state)


def test_a_weight_that_is_not_given_pulls_like_l2_whatever_the_units_of_the_loss() -> None:
    weights = []
    for unit in (1.0, 1000.0):
        problem = Problem()
        opt = problem.optimizer({"penalty": L1()})
        scaled = lambda p=problem, u=unit: u * p.loss()  # noqa: E731 (a local name)
        while opt.phase == 1:
            opt.zero_grad()
            loss = scaled()
            loss.backward()
            opt.observe(loss)
            opt.step()
        weights.append(opt.state[opt.param_groups[0]["params"][0]]["unit"])
    assert weights[1] == pytest.approx(1000.0 * weights[0], rel=1e-3)


REFUSED: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("a bias", {"penalty": Nuclear()}, r"Nuclear"),
    ("rows of a bias", {"penalty": GroupL1("rows")}, r"GroupL1"),
    ("no penalty", {"penalty": None}, r"penalty=None: expected L2"),
    ("a class", {"penalty": L1}, r"expected L2"),
    ("compiled", {"penalty": L1(), "compiled": True}, r"compiled=True with penalty=L1\(\)"),
    ("fused", {"penalty": L1(), "metric": "euclidean", "fused": True}, r"fused=True with penalty=L1\(\)"),
)


@pytest.mark.parametrize(("options", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_no_proximal_step_can_do_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        GROKtimizer(Problem().params, **options)
    assert "\n" not in str(caught.value)


def test_large_steps_times_weight_are_fine_for_a_threshold() -> None:
    problem = Problem()
    opt = problem.optimizer(
        {"penalty": L1(), "metric": "euclidean", "lr": 1.0, "weight_decay": 5.0, "interpolation": INF}
    )
    opt.step(problem.closure)
    assert all(bool((param == 0).any()) for param in problem.params[:1])


def test_param_groups_keep_matrix_penalties_off_biases() -> None:
    model = network()
    opt = GROKtimizer(param_groups(model), penalty=Nuclear())
    assert [group["penalty"] for group in opt.param_groups] == [Nuclear(), Nuclear()]
    assert opt.param_groups[1]["weight_decay"] == 0.0
    with pytest.raises(ValueError, match="param_groups"):
        GROKtimizer(model.parameters(), penalty=Nuclear())


def test_l2_stays_the_default() -> None:
    assert GROKtimizer(Problem().params).param_groups[0]["penalty"] == L2()


@pytest.mark.parametrize("penalty", [L1(), Elastic(L1(), 0.5)])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_a_large_tensor_takes_its_step_in_blocks_and_bit_for_bit_the_same(penalty: Penalty, kind: torch.dtype):
    generator = torch.Generator().manual_seed(0)
    whole = [torch.randn(90, 1000, generator=generator).to(kind) for _ in range(3)] + [torch.rand(90, 1000) + 0.1]
    parts = [tensor.clone() for tensor in whole]
    assert whole[0].numel() > proximal.BLOCK
    scalars = Scalars(lr=0.1, weight_decay=2.0, momentum=0.0, correction=0.5)
    wanted = proximal._step(penalty, whole, scalars, torch.tensor(0.9))
    found = proximal.step(penalty, parts, scalars, torch.tensor(0.9))
    assert all(map(torch.equal, whole, parts)) and bool((whole[0] == 0.0).any())
    assert float(found) == pytest.approx(float(wanted), rel=1e-4)
