"""Contracts that every GROKtimizer setting keeps: what torch.optim's own optimizers are held to, and ours."""

import copy
import io
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from groktimizer import L1, GROKtimizer
from groktimizer.optim import updates
from groktimizer.optim.reference import Reference
from groktimizer.optim.store import is_idle
from optim_cases import CASES, INF, LEFT, Case, Problem, equal, run, same_bits

pytestmark = LEFT
STEPS = 150
WINDOW = 60  # steps after a cut: every period of the optimizer, the 50 of its flush the longest
every_case = pytest.mark.parametrize("case", CASES, ids=str)


@every_case
def test_the_switch_happens_where_the_table_says(case: Case) -> None:
    problem = Problem()
    opt = problem.optimizer(case.options)
    run(problem, lambda: opt.step(problem.closure), STEPS)
    assert (opt.phase == 2) is case.switches
    assert (opt.base is None) is case.switches
    assert all(torch.isfinite(value).all() for value in problem.values())


@every_case
def test_closure_and_observe_walk_the_same_path(case: Case) -> None:
    if case.name in {"euclidean-untuned", "euclidean-l1-untuned"}:
        pytest.skip("a closure lets the calibration evaluate gradients of its own; without one it probes by steps")
    one, two = Problem(), Problem()
    first, second = one.optimizer(case.options), two.optimizer(case.options)

    def observed() -> None:
        loss = two.closure()
        second.observe(loss)
        second.step()

    left = run(one, lambda: first.step(one.closure), STEPS)
    right = run(two, observed, STEPS)
    assert all(equal(a, b) for a, b in zip(left, right, strict=True))


def written(opt: GROKtimizer, problem: Problem) -> bytes:
    buffer = io.BytesIO()
    torch.save({"opt": opt.state_dict(), "params": problem.values()}, buffer)
    return buffer.getvalue()


def read(content: bytes) -> dict[str, Any]:
    return torch.load(io.BytesIO(content), weights_only=True)


@every_case
def test_a_resumed_run_is_bit_equal_wherever_it_was_cut(case: Case) -> None:
    whole = Problem()
    opt = whole.optimizer(case.options)
    saved = []
    for _ in range(STEPS + 1):
        saved.append((written(opt, whole), opt.status))
        opt.step(whole.closure)
    switch = opt.switch_step or STEPS // 2
    for cut in {0, 1, max(switch - 1, 0), switch, min(switch + 1, STEPS - 1), (switch + STEPS) // 2, STEPS - 1}:
        content = read(saved[cut][0])
        part = Problem()
        resumed = part.optimizer(case.options)
        with torch.no_grad():
            for param, value in zip(part.params, content["params"], strict=True):
                param.copy_(value)
        resumed.load_state_dict(content["opt"])
        end = min(cut + WINDOW, STEPS)
        run(part, lambda part=part, resumed=resumed: resumed.step(part.closure), end - cut)
        assert same_bits(read(written(resumed, part)), read(saved[end][0])), f"cut at {cut}"
        assert resumed.status == saved[end][1]


@every_case
def test_gradients_are_never_changed_nor_aliased(case: Case) -> None:
    problem = Problem()
    opt = problem.optimizer(case.options)
    for _ in range(STEPS):
        loss = problem.closure()
        before = [param.grad.clone() for param in problem.params if param.grad is not None]
        holders = [param.grad for param in problem.params]
        opt.observe(loss)
        opt.step()
        for param, grad, holder in zip(problem.params, before, holders, strict=True):
            assert holder is not None
            assert param.grad is holder
            assert torch.equal(holder, grad)
        pointers = {param.grad.untyped_storage().data_ptr() for param in problem.params if param.grad is not None}
        held = {v.untyped_storage().data_ptr() for e in opt.state.values() for v in e.values() if isinstance(v, Tensor)}
        assert not pointers & held


@every_case
def test_deepcopy_and_pickle_continue_alike(case: Case) -> None:
    for cut in (10, STEPS - 20):
        problem = Problem()
        opt = problem.optimizer(case.options)
        run(problem, lambda o=opt, p=problem: o.step(p.closure), cut)
        twins: list[Problem] = []
        for twin_problem, twin in (copy.deepcopy((problem, opt)), pickle.loads(pickle.dumps((problem, opt)))):
            twins.append(twin_problem)
            run(twin_problem, lambda t=twin, p=twin_problem: t.step(p.closure), 15)
        run(problem, lambda o=opt, p=problem: o.step(p.closure), 15)
        assert all(equal(twin.values(), problem.values()) for twin in twins)


@every_case
def test_phase_two_keeps_only_its_own_buffers(case: Case) -> None:
    problem = Problem()
    opt = problem.optimizer(case.options)
    run(problem, lambda: opt.step(problem.closure), STEPS)
    if not case.switches:
        pytest.skip("stays in phase 1")
    live = {key for entry in opt.state.values() for key, value in entry.items()
            if isinstance(value, Tensor) and value.ndim and not is_idle(value)}  # fmt: skip
    finished = "in the Euclidean metric since" in opt.status
    assert finished is (case.name == "adaptive-at-once")  # the others are still in the excursion of the loss
    own = {"exp_avg"} | ({"exp_avg_sq"} if "adaptive" in case.name and not finished else set())
    assert live - {"snapshot", "probe_direction"} == own
    numbers = sum(param.numel() for param in problem.params)
    assert opt.state_bytes == pytest.approx(8 * numbers * len(live), abs=64)  # counters besides


@every_case
def test_a_state_dict_has_the_same_keys_and_shapes_at_every_step(case: Case) -> None:
    """So that a file of either phase loads into a fresh optimizer, whatever the format makes of it."""
    problem = Problem()
    opt = problem.optimizer(case.options)
    layouts: list[Any] = []
    saved: dict[str, Any] = {}
    for _ in range(STEPS):
        opt.step(problem.closure)
        saved = opt.state_dict()
        shapes = [
            {key: value.shape if isinstance(value, Tensor) else type(value) for key, value in entry.items()}
            for entry in saved["state"].values()
        ]
        types = [{key: type(value) for key, value in group.items()} for group in saved["param_groups"]]
        control = {key: type(value) for key, value in saved["param_groups"][0]["control"].items()}
        layouts.append((shapes, types, control))
    assert all(layout == layouts[0] for layout in layouts)
    assert all(
        isinstance(value, (int, float, str, list, dict)) for value in saved["param_groups"][0]["control"].values()
    )


NATIVE: dict[str, Any] = {"numba": "from the first step on"}  # by default it has to pay first
GIVEN: dict[str, Any] = {"lr": 1e-3, "weight_decay": 0.5}
EUCLIDEAN: dict[str, Any] = {"metric": "euclidean", "lr": 0.1, "weight_decay": 1e-3}
REFERENCES: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("adaptive untuned", {"interpolation": 0.2}, {"level": 0.2}),
    ("adaptive relative level", {}, {}),
    ("adaptive given", GIVEN | {"interpolation": 0.2}, GIVEN | {"level": 0.2}),
    ("adaptive at once", GIVEN | {"interpolation": INF}, GIVEN | {"level": math.inf}),
    ("euclidean", EUCLIDEAN | {"interpolation": 0.2}, EUCLIDEAN | {"level": 0.2}),
    ("euclidean, damping 0.5", EUCLIDEAN | {"interpolation": INF, "damping": 0.5},
     EUCLIDEAN | {"level": math.inf, "damping": 0.5}),
    ("euclidean l1", EUCLIDEAN | {"interpolation": 0.2, "penalty": L1()},
     EUCLIDEAN | {"level": 0.2, "penalty": L1()}),
    ("adaptive l1", GIVEN | {"interpolation": 0.2, "penalty": L1()}, GIVEN | {"level": 0.2, "penalty": L1()}),
    ("adaptive l1 at its own step", {"weight_decay": 1e-3, "interpolation": 0.2, "penalty": L1()},
     {"weight_decay": 1e-3, "level": 0.2, "penalty": L1()}),
)  # fmt: skip


@pytest.mark.parametrize(
    "kernel",
    [
        {"foreach": False},
        {"foreach": True},
        {},
        NATIVE,
        pytest.param({"compiled": True}, marks=pytest.mark.slow),
        {"fused": True},
    ],
    ids=str,
)
@pytest.mark.parametrize(("name", "ours", "theirs"), REFERENCES, ids=[row[0] for row in REFERENCES])
def test_every_kernel_equals_the_slow_twin(
    name: str, ours: dict[str, Any], theirs: dict[str, Any], kernel: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    euclidean = "euclidean" in name
    if kernel is NATIVE:
        monkeypatch.setattr(updates, "PAYS", 0.0)
        kernel = {}
    if ("compiled" in kernel and euclidean) or ("fused" in kernel and not euclidean):
        pytest.skip("refused by name: fused is Euclidean, compiled is adaptive")
    if "penalty" in ours and kernel.keys() & {"compiled", "fused"}:
        pytest.skip("refused by name: these kernels are for L2")
    problem = Problem()
    opt = problem.optimizer(ours | kernel)
    slow = Reference(problem.values(), **theirs)
    paths: tuple[list[Tensor], list[Tensor]] = ([], [])
    for _ in range(150 if "penalty" in ours else 300):
        loss = problem.closure()
        slow.step(loss.item(), [param.grad for param in problem.params if param.grad is not None])
        opt.observe(loss)
        opt.step()
        for path, values in zip(paths, (problem.params, slow.theta), strict=True):
            path.append(torch.cat([value.detach().flatten() for value in values]))
    # A threshold cuts where rounding decides: entries next to 0 differ by what the step was rounded by.
    torch.testing.assert_close(*map(torch.stack, paths), rtol=1e-9, atol=1e-9 if "penalty" in ours else 1e-12)
    assert opt.phase == slow.phase == 2
    finished = slow.numbers.finish_step >= 0
    assert ("in the Euclidean metric since" in opt.status) is finished
    assert finished is (name == "adaptive untuned")


@pytest.mark.parametrize("kernel", [{"foreach": False}, {"foreach": True}, {"fused": True}], ids=str)
def test_the_euclidean_metric_is_torch_sgd_bit_for_bit(kernel: dict[str, bool]) -> None:
    eta, weight_decay = 0.05, 2e-3
    one, two = Problem(), Problem()
    opt = one.optimizer({"metric": "euclidean", "lr": eta, "weight_decay": weight_decay, "interpolation": INF} | kernel)
    momentum = (1 - math.sqrt(eta * weight_decay)) ** 2
    sgd = torch.optim.SGD(two.params, lr=eta, momentum=momentum, weight_decay=weight_decay, **kernel)
    left = run(one, lambda: opt.step(one.closure), 200)
    right = run(two, lambda: sgd.step(two.closure), 200)
    assert all(equal(a, b) for a, b in zip(left, right, strict=True))


def test_the_momentum_follows_a_scheduler_bit_for_bit() -> None:
    one, two = Problem(), Problem()
    weight_decay = 2e-3
    opt = one.optimizer({"metric": "euclidean", "lr": 0.1, "weight_decay": weight_decay, "interpolation": INF})
    sgd = torch.optim.SGD(two.params, lr=0.1, momentum=0.5, weight_decay=weight_decay, fused=True)
    schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=80, eta_min=1e-3) for o in (opt, sgd)]
    for _ in range(120):
        sgd.param_groups[0]["momentum"] = (1 - math.sqrt(sgd.param_groups[0]["lr"] * weight_decay)) ** 2
        opt.step(one.closure)
        sgd.step(two.closure)
        for schedule in schedules:
            schedule.step()
        assert equal(one.values(), two.values())


def test_a_tensor_lr_is_the_same_as_a_number() -> None:
    paths = []
    for lr in (0.1, torch.tensor(0.1, dtype=torch.float64)):
        problem = Problem()
        opt = problem.optimizer({"metric": "euclidean", "lr": lr, "weight_decay": 1e-3, "interpolation": 0.2})
        paths.append(run(problem, lambda opt=opt, problem=problem: opt.step(problem.closure), STEPS))
    torch.testing.assert_close(paths[0], paths[1], rtol=1e-12, atol=1e-14)


def test_a_schedulers_factor_acts_in_both_phases() -> None:
    """With factor 0 nothing moves, in phase 1 (base lr) and in phase 2; with factor 1 again, both move."""
    for options in ({"interpolation": 0.2}, {"lr": 1e-3, "weight_decay": 0.1, "interpolation": 0.2}):
        for cut in (5, STEPS):
            problem = Problem()
            opt = problem.optimizer(options)
            factor = {"now": 1.0}
            schedule = torch.optim.lr_scheduler.LambdaLR(opt, lambda _, factor=factor: factor["now"])
            run(problem, lambda o=opt, p=problem: o.step(p.closure), cut)
            still = problem.values()
            factor["now"] = 0.0
            schedule.step()
            run(problem, lambda o=opt, p=problem: o.step(p.closure), 3)
            assert equal(problem.values(), still)
            factor["now"] = 1.0
            schedule.step()
            run(problem, lambda o=opt, p=problem: o.step(p.closure), 3)
            assert not equal(problem.values(), still)


@pytest.mark.slow
def test_changing_lr_does_not_recompile() -> None:
    from torch._dynamo.utils import counters

    problem = Problem()
    opt = problem.optimizer({"lr": 1e-3, "weight_decay": 0.5, "interpolation": INF, "compiled": True})
    opt.step(problem.closure)
    opt.step(problem.closure)
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    for step in range(10):
        opt.param_groups[0]["lr"] = 1e-3 * (1 + step)
        opt.step(problem.closure)
    assert counters["stats"]["unique_graphs"] == graphs


def test_maximize_is_minimising_the_negative() -> None:
    metrics: tuple[dict[str, Any], ...] = ({"metric": "euclidean", "lr": 0.1}, {"lr": 1e-3})
    for metric in metrics:
        one, two = Problem(), Problem()
        options = metric | {"weight_decay": 1e-3, "interpolation": INF}
        opt, climb = one.optimizer(options), two.optimizer(options | {"maximize": True})

        def negative(problem: Problem = two) -> Any:
            for param in problem.params:
                param.grad = None
            loss = -problem.loss()
            loss.backward()
            return loss

        left = run(one, lambda o=opt, p=one: o.step(p.closure), 40)
        right = run(two, lambda o=climb, c=negative: o.step(c), 40)
        torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-14)


def test_groups_have_their_own_options_and_unpenalised_tensors_move_with_the_momentum_of_the_others() -> None:
    problem = Problem()
    weights, rest = [problem.params[0], problem.params[2]], [problem.params[1], problem.params[3]]
    opt = GROKtimizer(
        [{"params": weights, "lr": 0.05}, {"params": rest, "weight_decay": 0.0, "damping": 0.7}],
        lr=0.1, weight_decay=1e-3, metric="euclidean", interpolation=INF,
    )  # fmt: skip
    twin = Problem()
    sgd = torch.optim.SGD(
        [
            {"params": [twin.params[0], twin.params[2]], "lr": 0.05, "momentum": (1 - math.sqrt(0.05 * 1e-3)) ** 2},
            {"params": [twin.params[1], twin.params[3]], "weight_decay": 0.0,
             "momentum": (1 - 0.7 * math.sqrt(0.1 * 1e-3)) ** 2},
        ],
        lr=0.1, weight_decay=1e-3, fused=True,
    )  # fmt: skip
    left = run(problem, lambda: opt.step(problem.closure), 50)
    right = run(twin, lambda: sgd.step(twin.closure), 50)
    assert all(equal(a, b) for a, b in zip(left, right, strict=True))


def test_frozen_and_unused_parameters_stay_and_may_come_later() -> None:
    problem = Problem()
    frozen, unused = nn.Parameter(torch.ones(3), requires_grad=False), nn.Parameter(torch.ones(2, dtype=torch.float64))
    opt = GROKtimizer([*problem.params, frozen, unused], interpolation=0.2)
    run(problem, lambda: opt.step(problem.closure), STEPS)
    assert opt.phase == 2
    assert torch.equal(frozen, torch.ones(3))
    assert torch.equal(unused, torch.ones(2, dtype=torch.float64))
    unused.grad = torch.ones(2, dtype=torch.float64)
    opt.step()
    assert not torch.equal(unused, torch.ones(2, dtype=torch.float64))


def test_an_empty_step_is_harmless_and_a_group_may_be_added_in_either_phase() -> None:
    for interpolation in (None, INF):
        problem = Problem()
        opt = GROKtimizer(problem.params[:2], interpolation=interpolation)
        opt.step()
        opt.add_param_group({"params": problem.params[2:], "weight_decay": 0.0})
        before = problem.values()
        opt.step(problem.closure)
        assert not any(torch.equal(a, b) for a, b in zip(before, problem.values(), strict=True))


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 1e-2, "weight_decay": 1e-2},
        {"metric": "euclidean", "lr": 0.05, "weight_decay": 1e-3},
        {"metric": "euclidean", "lr": 0.05, "weight_decay": 1e-3, "penalty": L1()},
    ],
    ids=str,
)
def test_bfloat16_parameters_follow_the_float64_path(options: dict[str, Any]) -> None:
    half, full = Problem(torch.bfloat16), Problem()
    opts = [p.optimizer(options | {"interpolation": 0.3}) for p in (half, full)]
    for problem, opt in zip((half, full), opts, strict=True):
        run(problem, lambda o=opt, p=problem: o.step(p.closure), 100)
    assert all(value.dtype == torch.bfloat16 for value in half.values())
    assert half.loss().item() == pytest.approx(full.loss().item(), abs=0.06)
