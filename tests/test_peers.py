"""Peers: what they claim to minimise, that they can be resumed, and one line for each mistake."""

import copy
import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from groktimizer.models import MLP
from groktimizer.optim.penalised import ProximalGradient, Subgradient
from groktimizer.peers import PEERS, Composite, peer_names, resolve
from groktimizer.peers.build import parse_base
from groktimizer.peers.muon import Muon
from groktimizer.penalties import L1
from groktimizer.tasks import make_task

SHORT = {"lbfgs": {"iterations": 2}}  # of which a step is a whole descent


def problem(seed: int = 0) -> tuple[nn.Module, Callable[[], Tensor]]:
    source = torch.Generator().manual_seed(seed)
    model = MLP((6, 10, 4), generator=source, dtype=torch.float64)
    inputs = torch.randn(20, 6, generator=source, dtype=torch.float64)
    targets = torch.randint(0, 4, (20,), generator=source)
    return model, lambda: nn.functional.cross_entropy(model(inputs), targets)


def run(optimizer: Optimizer, loss: Callable[[], Tensor], steps: int) -> None:
    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value.detach()

    for _ in range(steps):
        optimizer.step(closure)  # pyright: ignore


@pytest.mark.parametrize("name", peer_names())
def test_every_peer_learns_and_every_option_is_taken(name: str):
    peer, options = resolve(name, SHORT.get(name))
    model, loss = problem()
    optimizer = peer.build(model, options)
    run(optimizer, loss, 1)  # one of them rescales its weights before its first step
    first = float(loss().detach())
    run(optimizer, loss, 40)
    assert float(loss().detach()) < first
    assert set(options) == set(peer.defaults)


@pytest.mark.parametrize("name", peer_names())
def test_resuming_is_bit_equal(name: str):
    """10 steps, state to disk, a new optimizer takes it, 10 more: the weights of 20 steps in one go."""
    peer, options = resolve(name, SHORT.get(name))
    straight, straight_loss = problem()
    run(peer.build(straight, options), straight_loss, 20)
    model, loss = problem()
    first = peer.build(model, options)
    run(first, loss, 10)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = peer.build(model, options)
    second.load_state_dict(torch.load(file, weights_only=True))
    run(second, loss, 10)
    for value, wanted in zip(model.parameters(), straight.parameters(), strict=True):
        assert torch.equal(value, wanted)


@pytest.mark.parametrize("name", PEERS)
def test_every_cell_of_every_grid_is_a_full_set_of_valid_options(name: str):
    peer = PEERS[name]
    assert len(peer.grid) >= 8
    completed = [resolve(name, cell)[1] for cell in peer.grid]
    assert len({tuple(sorted(cell.items(), key=lambda item: item[0])) for cell in completed}) == len(peer.grid)
    assert all(peer.build(problem()[0], cell).param_groups for cell in completed)


def test_the_grid_of_adamw_is_the_one_that_was_promised():
    """The range that the rules ask for, the corner that wins on the MLP and the cell that wins on the transformer."""
    lrs, decays = ({cell[key] for cell in PEERS["adamw"].grid} for key in ("lr", "weight_decay"))
    pairs = {(cell["lr"], cell["weight_decay"]) for cell in PEERS["adamw"].grid}
    assert {(3e-2, 3.0), (1e-2, 0.3), (1e-2, 1.0), (1e-2, 3.0)} <= pairs and len(pairs) == 8
    assert (min(lrs), max(lrs), min(decays), max(decays)) == (1e-3, 3e-2, 0.3, 3.0)


@pytest.mark.parametrize("name", PEERS)
def test_every_method_decays_what_the_readme_teaches(name: str):
    """Its groups are those of `param_groups(model)`: weights under the decay, if it has any, biases never."""
    model, _ = problem()
    weights, _ = halves(model)
    decay = {"weight_decay": 0.5} if "weight_decay" in PEERS[name].defaults else {}
    penalty = {"penalty": "l2"} if "penalty" in PEERS[name].defaults else {}
    at_once = {"interpolation": math.inf} if name == "two-phase" else {}
    peer, options = resolve(name, {**decay, **penalty, **at_once, "lr": 1e-3})
    built = peer.build(model, options)
    if isinstance(built, Subgradient):
        decayed = built.targets
    elif name == "lbfgs":
        decayed = built.take.args[0]  # pyright: ignore[reportAttributeAccessIssue]
    else:
        decayed = [p for group in built.param_groups if group.get("weight_decay") for p in group["params"]]
    assert {id(p) for p in decayed} == ({id(p) for p in weights} if decay else set())


@pytest.mark.parametrize("name", PEERS)
def test_a_model_of_vectors_alone_is_all_weights(name: str):
    theta = nn.ParameterList([nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))])
    decays = "weight_decay" in PEERS[name].defaults
    at_once = {"interpolation": math.inf} if name == "two-phase" else {}
    peer, options = resolve(name, {"weight_decay": 0.5, **at_once} if decays else {})
    built = peer.build(theta, options)
    weighed = {id(p) for group in built.param_groups if group.get("weight_decay") != 0 for p in group["params"]}
    assert isinstance(built, Subgradient) or not decays or weighed == {id(p) for p in theta}


def test_an_optimizer_says_what_does_not_suit_a_task():
    """Steps of 2/L diverge, of 2(1 + μ)/L with momentum; a weight from which on 0 is the answer; a matrix's norm."""
    task = make_task("sparse-recovery", {"n": 20, "s": 2, "N": 10})
    limits = task.limits(0)
    assert limits is not None and set(limits.weights) == {"l1"}
    lr = 2 / limits.sharpness

    def reason(name: str, **options: object) -> str | None:
        peer, complete = resolve(name, options)
        return peer.suits(task, complete, limits)

    assert reason("proximal", lr=0.999 * lr, weight_decay=1e-5) is None
    assert "descent diverges on this problem" in str(reason("proximal", lr=1.001 * lr, weight_decay=1e-5))
    assert reason("sgd", lr=1.499 * lr, momentum=0.5) is None and reason("sgd", lr=9.0, nesterov=True) is None
    assert "descent diverges" in str(reason("sgd", lr=1.501 * lr, momentum=0.5))
    assert reason("groktimizer", metric="euclidean", penalty="l1", lr=lr / 2) is None
    assert "accelerated" in str(reason("groktimizer", metric="euclidean", penalty="l1", lr=0.501 * lr))
    assert reason("groktimizer", lr=1.0) is None and reason("adamw", lr=1.0) is None
    assert "0 is the answer" in str(reason("subgradient", lr=0.01, weight_decay=limits.weights["l1"]))
    assert "penalty=nuclear: it learns a vector" in str(reason("adam-subgradient", penalty="nuclear"))
    assert task.theory(0) is not None and make_task("sparse-recovery", {"depth": 2}).limits(0) is None


def test_tuned_is_the_same_build_with_the_reference_cell():
    peer, options = resolve("adamw-tuned")
    assert peer is PEERS["adamw"]
    assert options == resolve("adamw", PEERS["adamw"].tuned)[1]
    assert all(peer.tuned_source for peer in PEERS.values() if peer.tuned is not None)


def test_defaults_are_those_of_the_packages():
    for name, kind in {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}.items():
        model, _ = problem()
        ours, theirs = (
            PEERS[name].build(model, PEERS[name].defaults),
            kind(model.parameters(), fused=name != "sgd" or None),
        )
        assert {k: v for k, v in ours.param_groups[0].items() if k != "params"} == {
            k: v for k, v in theirs.param_groups[0].items() if k != "params"
        }


def test_adam_l2_is_adam_on_loss_plus_beta_times_the_squared_norm_of_the_weights():
    beta = 1e-2
    model, loss = problem()
    peer, options = resolve("adam-l2", {"weight_decay": beta})
    run(peer.build(model, options), loss, 30)
    other, plain = problem()

    def penalised() -> Tensor:
        return plain() + beta * sum((p.square().sum() for p in halves(other)[0]), start=torch.zeros(()))

    run(torch.optim.Adam(other.parameters(), lr=1e-3), penalised, 30)
    for value, wanted in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-10, atol=1e-12)


def halves(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    parameters = list(model.parameters())
    return [p for p in parameters if p.ndim == 2], [p for p in parameters if p.ndim != 2]


def test_muon_is_muon_on_matrices_and_adamw_on_the_rest_which_has_no_decay():
    model, loss = problem()
    peer, options = resolve("muon", {"lr": "0.02", "weight_decay": 0.3, "vector_lr": 0.005})
    run(peer.build(model, options), loss, 10)
    other, plain = problem()
    matrices, vectors = halves(other)
    parts = Muon(matrices, lr=0.02, weight_decay=0.3), torch.optim.AdamW(vectors, lr=0.005, weight_decay=0.0)
    for _ in range(10):
        other.zero_grad()
        plain().backward()
        for part in parts:
            part.step()
    for value, wanted in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(value, wanted)


def test_muon_on_a_cpu_is_torchs_to_the_rounding_of_bfloat16_and_closer_to_the_exact_iteration():
    gradient, moved = torch.randn(24, 40, generator=torch.Generator().manual_seed(0)), []
    for kind in (torch.optim.Muon, Muon):
        matrix = torch.zeros(24, 40, requires_grad=True)
        matrix.grad = gradient.clone()
        kind([matrix], lr=1.0, weight_decay=0.0, nesterov=False, momentum=0.0).step()
        moved.append(-matrix.detach().double())
    exact = gradient.double() / gradient.double().norm()
    for _ in range(5):  # the five quintic steps of Jordan et al., in float64
        gram = exact @ exact.T
        exact = 3.4445 * exact + (-4.775 * gram + 2.0315 * gram @ gram) @ exact
    rounded, ours = ((each - exact).norm() / exact.norm() for each in moved)
    assert ours < 1e-5 < rounded < 0.03


def test_muon_without_matrices_is_adamw():
    theta = nn.ParameterList([nn.Parameter(torch.ones(3))])
    peer, options = resolve("muon")
    assert len(peer.build(theta, options).param_groups) == 1


def composite(model: nn.Module) -> Composite:
    matrices, vectors = halves(model)
    return Composite([torch.optim.SGD(matrices, lr=0.1, momentum=0.9), torch.optim.Adam(vectors, lr=0.01)])


def test_a_composite_calls_its_closure_once_and_follows_schedulers():
    model, loss = problem()
    optimizer, calls = composite(model), []
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    optimizer.step(lambda: (calls.append(1), loss().backward(), loss().detach())[-1])
    scheduler.step()
    assert len(calls) == 1
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.005]
    frozen = [p.detach().clone() for p in model.parameters()]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    run(optimizer, loss, 1)
    assert all(torch.equal(p, before) for p, before in zip(model.parameters(), frozen, strict=True))


def copied(pair: tuple[nn.Module, Composite]) -> tuple[nn.Module, Composite]:
    return copy.deepcopy(pair)


def pickled(pair: tuple[nn.Module, Composite]) -> tuple[nn.Module, Composite]:
    return pickle.loads(pickle.dumps(pair))


def subgradient(model: nn.Module) -> Optimizer:
    peer, options = resolve("adam-subgradient", {"lr": 0.01, "penalty": "nuclear", "weight_decay": 0.3})
    return peer.build(model, options)


def proximal(model: nn.Module) -> Optimizer:
    peer, options = resolve("proximal", {"lr": 0.01, "penalty": "nuclear", "weight_decay": 0.3})
    return peer.build(model, options)


def clipped(model: nn.Module) -> Optimizer:
    peer, options = resolve("clip", {"inner": "adamw", "radius": 0.5, "start": False})
    return peer.build(model, options)


def switched(model: nn.Module) -> Optimizer:
    peer, options = resolve("two-phase", {"interpolation": 1e6})
    return peer.build(model, options)


@pytest.mark.parametrize("build", [composite, subgradient, proximal, clipped, switched])
@pytest.mark.parametrize("way", [copied, pickled])
def test_a_copied_optimizer_around_others_goes_on_alike(way, build):
    """Gradients are given by hand, so that copy and original see the same."""
    model, loss = problem()
    optimizer = build(model)
    run(optimizer, loss, 5)
    twin, twin_optimizer = way((model, optimizer))
    for network, method in ((model, optimizer), (twin, twin_optimizer)):
        for _ in range(3):
            for p in network.parameters():
                p.grad = torch.full_like(p, 0.3)
            method.step(lambda: torch.zeros(()))
    for value, wanted in zip(twin.parameters(), model.parameters(), strict=True):
        assert torch.equal(value, wanted)


def test_a_composite_refuses_what_it_cannot_be():
    weight = torch.ones(2, 2, requires_grad=True)
    with pytest.raises(ValueError, match="empty"):
        Composite([])
    with pytest.raises(ValueError, match="more than one parameter group"):
        Composite([torch.optim.SGD([weight], lr=0.1), torch.optim.Adam([weight])])
    with pytest.raises(ValueError, match="no further groups"):
        Composite([torch.optim.SGD([weight], lr=0.1)]).add_param_group({"params": [torch.ones(1, requires_grad=True)]})


def test_a_base_is_read_from_a_text_and_can_be_pickled():
    build = parse_base("adam:1e-3")
    assert build is not None
    made = pickle.loads(pickle.dumps(build))([torch.ones(2, requires_grad=True)])
    assert isinstance(made, torch.optim.Adam)
    assert (made.defaults["lr"], made.defaults["weight_decay"]) == (1e-3, 0.0)
    assert parse_base(None) is None


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("grokfats", {}, "did you mean 'grokfast'"),
        ("sgd-tuned", {}, "unknown optimizer 'sgd-tuned'"),
        ("adamw", {"wd": 1}, "unknown option of optimizer adamw 'wd'"),
        ("adamw", {"weight-decay": 1}, "did you mean 'weight_decay'"),
        ("adamw", {"lr": "fast"}, "lr='fast': expected a number"),
        ("adamw", {"lr": -1e-3}, "lr=-0.001"),
        ("adamw", {"lr": 0}, "lr=0.0"),
        ("adamw", {"lr": math.nan}, "lr=nan"),
        ("adamw", {"lr": None}, "lr=None: expected a number"),
        ("adamw", {"beta2": 1}, "beta2=1.0"),
        ("adamw", {"weight_decay": "-2"}, "weight_decay=-2.0"),
        ("sgd", {"nesterov": "maybe"}, "true or false"),
        ("groktimizer", {"lr": -1}, "lr=-1.0"),
        ("groktimizer", {"lr": "quick"}, "a number or none"),
    ],
)
def test_mistakes_are_told_in_one_line(name, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        resolve(name, options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["adm", "adam:", "adam:quick", "adam:-1", "adam:inf"])
def test_a_base_that_is_none_is_refused(text: str):
    with pytest.raises(ValueError, match="base"):
        parse_base(text)


def test_the_subgradient_is_added_for_the_step_only_and_on_weights_only():
    model, loss = problem()
    peer, options = resolve("subgradient", {"lr": 0.1, "penalty": "l1", "weight_decay": 0.3})
    optimizer = peer.build(model, options)
    before = [param.detach().clone() for param in model.parameters()]
    loss().backward()
    grads = [param.grad for param in model.parameters() if param.grad is not None]
    kept = [grad.clone() for grad in grads]
    optimizer.step()
    for param, start, grad, same in zip(model.parameters(), before, grads, kept, strict=True):
        pull = start.sign() if start.ndim > 1 else 0.0
        torch.testing.assert_close(param.detach(), start - 0.1 * (same + 0.3 * pull), rtol=1e-12, atol=0)
        assert param.grad is grad and torch.equal(grad, same)


def test_a_subgradient_optimizer_takes_groups_and_restores_gradients_after_an_error():
    model, loss = problem()
    optimizer = subgradient(model)
    extra = torch.ones(3, requires_grad=True)
    optimizer.add_param_group({"params": [extra], "lr": 0.5})
    loss().backward()
    extra.grad = torch.ones_like(extra)
    optimizer.step()
    torch.testing.assert_close(extra.detach(), torch.full((3,), 0.5))
    grads = [param.grad for param in model.parameters()]
    optimizer.inner.step = lambda: 1 / 0  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ZeroDivisionError):
        optimizer.step()
    assert all(param.grad is grad for param, grad in zip(model.parameters(), grads, strict=True))


@pytest.mark.parametrize(("name", "value"), [("lr", -0.1), ("weight", math.nan), ("weight", -1.0), ("weight", "a")])
def test_penalised_descent_refuses_numbers_in_one_line(name: str, value: object):
    params = [torch.ones(2, 2, requires_grad=True)]
    options: dict[str, Any] = {"lr": 0.1, "penalty": L1(), "weight": 1.0, name: value}
    with pytest.raises(ValueError, match=rf"^{name}={value!r}: expected a finite number ≥ 0$"):
        ProximalGradient([{"params": params}], **options)
    if name == "weight":
        with pytest.raises(ValueError, match=rf"^weight={value!r}: expected"):
            Subgradient(torch.optim.SGD(params, lr=0.1), params, L1(), options["weight"])


def test_the_proximal_peer_thresholds_weights_and_leaves_biases():
    model, loss = problem()
    peer, options = resolve("proximal", {"lr": 0.1, "penalty": "l1", "weight_decay": 2.0})
    optimizer = peer.build(model, options)
    before = [param.detach().clone() for param in model.parameters()]
    loss().backward()
    grads = [param.grad for param in model.parameters() if param.grad is not None]
    optimizer.step()
    for param, start, grad in zip(model.parameters(), before, grads, strict=True):
        moved = start - 0.1 * grad
        wanted = moved.sign() * (moved.abs() - 0.2).clamp_min(0) if start.ndim > 1 else moved
        torch.testing.assert_close(param.detach(), wanted, rtol=1e-12, atol=1e-15)


def test_groktimizer_with_a_penalty_keeps_it_off_biases():
    model, _ = problem()
    peer, options = resolve("groktimizer", {"penalty": "nuclear"})
    groups = peer.build(model, options).param_groups
    assert [group["weight_decay"] == 0.0 for group in groups] == [False, True]
    assert all(param.ndim == 1 for param in groups[1]["params"])
