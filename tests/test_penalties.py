"""Penalties: the proximal map is the argmin, duality, stacks equal their members, and one line for each mistake."""

import math
import pickle
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from groktimizer import L1, L2, Elastic, GroupL1, Nuclear
from groktimizer.penalties import Penalty
from groktimizer.penalties.partial_svd import above, spectral_bound

PENALTIES = (
    L1(),
    L2(),
    GroupL1(),
    GroupL1("columns"),
    Nuclear(),
    Elastic(L1(), 0.7),
    Elastic(GroupL1(), 0.7),
    Elastic(Nuclear(), 0.7),
)
KINKED = tuple(penalty for penalty in PENALTIES if not isinstance(penalty, L2 | Elastic))  # h is a norm
SHAPES = ((4, 6), (6, 4), (5, 5), (3, 2, 2, 2), (1, 3))
ENTRIES = st.floats(-8, 8, allow_subnormal=False).map(lambda x: round(x, 3))
MATRICES = arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=ENTRIES)
STEPS = st.floats(0, 4).map(lambda x: round(x, 3))
each_penalty = pytest.mark.parametrize("penalty", PENALTIES, ids=repr)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def objective(penalty: Penalty, u: Tensor, theta: Tensor, step: float) -> float:
    return float(penalty.value(u) + (u - theta).square().sum() / (2 * step))


@each_penalty
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_perturbation_is_better_than_the_proximal_map(penalty: Penalty, shape: tuple[int, ...]):
    """The objective is 1/step-strongly convex: anything at distance d is worse by d²/(2 step) at least."""
    for seed, step in product(range(3), (1e-3, 0.5, 3.0)):
        theta = 2 * draw(*shape, seed=seed)
        u = penalty.prox(theta, step)
        least = objective(penalty, u, theta, step)
        others = [u + size * draw(*shape, seed=10 + i) for i, size in product(range(5), (1e-4, 1e-2, 1.0))]
        for other in [*others, theta, torch.zeros_like(theta), penalty.prox(theta, 2 * step)]:
            wanted = least + float((other - u).square().sum()) / (2 * step)
            assert objective(penalty, other, theta, step) >= wanted - 1e-12 * abs(wanted)


@each_penalty
@given(values=MATRICES, other=arrays(np.float64, (4, 4), elements=ENTRIES), step=STEPS)
def test_the_step_of_the_map_is_a_subgradient_where_it_lands(
    penalty: Penalty, values: np.ndarray, other: np.ndarray, step: float
):
    """u = prox(θ) iff h(w) ≥ h(u) + ⟨θ − u, w − u⟩/step for every w."""
    theta = torch.from_numpy(values)
    w = torch.from_numpy(other[: values.shape[0], : values.shape[1]].copy())
    u = penalty.prox(theta, step)
    gain = step * (penalty.value(w) - penalty.value(u)) - ((theta - u) * (w - u)).sum()
    assert float(gain) >= -1e-11 * (1 + float(theta.square().sum() + w.square().sum()))


@pytest.mark.parametrize("penalty", KINKED, ids=repr)
@given(values=MATRICES, step=STEPS)
def test_moreau(penalty: Penalty, values: np.ndarray, step: float):
    """θ − prox(θ) is the projection on the dual ball of radius step: inside it, and supporting at prox(θ)."""
    theta = torch.from_numpy(values)
    u = penalty.prox(theta, step)
    rest = theta - u
    assert float(penalty.dual_norm(rest)) <= step + 1e-12 * (1 + step)
    assert float((rest * u).sum()) == pytest.approx(step * float(penalty.value(u)), rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("penalty", KINKED, ids=repr)
@given(values=MATRICES, other=arrays(np.float64, (4, 4), elements=ENTRIES))
def test_fenchel(penalty: Penalty, values: np.ndarray, other: np.ndarray):
    """⟨θ, w⟩ ≤ h(θ) h°(w), attained at a subgradient; so h° is the dual norm and h the dual of h°."""
    theta, w = torch.from_numpy(values), torch.from_numpy(other[: values.shape[0], : values.shape[1]].copy())
    bound = float(penalty.value(theta) * penalty.dual_norm(w))
    assert float((theta * w).sum()) <= bound + 1e-10 * (1 + bound)
    polar = penalty.subgradient(theta)
    assert float((theta * polar).sum()) == pytest.approx(float(penalty.value(theta)), rel=1e-10)
    assert float(penalty.dual_norm(polar)) == pytest.approx(1.0 if values.any() else 0.0, abs=1e-10)


@each_penalty
def test_the_subgradient_supports_and_has_the_least_norm(penalty: Penalty):
    """At a point with zeros: h(w) ≥ h(θ) + ⟨v, w − θ⟩, and v = lim (θ − prox_s(θ))/s, Moreau–Yosida's least element."""
    theta = draw(4, 2) @ draw(2, 5, seed=1)
    theta[1] = 0.0
    theta[:, 3] = 0.0
    v = penalty.subgradient(theta)
    for seed, size in product(range(20), (1e-3, 1.0)):
        w = theta + size * draw(4, 5, seed=seed)
        gain = float(penalty.value(w) - penalty.value(theta) - (v * (w - theta)).sum())
        assert gain >= -1e-12
    step = 1e-6
    torch.testing.assert_close((theta - penalty.prox(theta, step)) / step, v, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
def test_zero_is_the_answer_from_beta_max_on(penalty: Penalty):
    """One proximal step from 0 on g with gradient G stays at 0 iff the weight is at least beta_max(G)."""
    gradient = draw(4, 5)
    limit = float(penalty.beta_max(gradient))
    if isinstance(penalty, L2):
        assert limit == math.inf
        assert float(penalty.beta_max(torch.zeros(3, 3))) == 0.0
        return
    assert not penalty.prox(-gradient, limit * (1 + 1e-12)).abs().gt(1e-12).any()
    assert penalty.prox(-gradient, limit * 0.99).abs().gt(1e-12).any()


@pytest.mark.parametrize("penalty", [p for p in PENALTIES if p.kinked], ids=repr)
def test_the_dual_norm_of_a_penalty_that_has_none_follows_from_its_map(penalty: Penalty):
    """prox(theta, step) = 0 if and only if theta / step is a subgradient at 0; L2's map reaches 0 nowhere."""
    stack = torch.stack([draw(4, 6, seed=seed) * 10.0 ** (seed - 1) for seed in range(3)])
    found = Penalty.dual_norm(penalty, stack, batched=True)
    torch.testing.assert_close(found, penalty.dual_norm(stack, batched=True), rtol=1e-12, atol=0)
    assert float(Penalty.dual_norm(penalty, torch.zeros(2, 3))) == 0.0
    assert float(Penalty.dual_norm(L2(), stack)) == math.inf
    assert math.isnan(Penalty.dual_norm(penalty, torch.full((2, 2), math.nan)))


@each_penalty
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_a_stack_is_its_members(penalty: Penalty, dtype: torch.dtype):
    runs = draw(3, 4, 6).to(dtype)
    runs[1, 2] = 0
    for method in ("value", "subgradient", "dual_norm", "beta_max"):
        call = getattr(penalty, method)
        torch.testing.assert_close(call(runs, batched=True), torch.stack([call(run) for run in runs]))
    steps = [0.1, 0.5, 2.0]
    wanted = torch.stack([penalty.prox(run, step) for run, step in zip(runs, steps, strict=True)])
    torch.testing.assert_close(penalty.prox(runs, torch.tensor(steps), batched=True), wanted)
    same = torch.stack([penalty.prox(run, 0.5) for run in runs])
    torch.testing.assert_close(penalty.prox(runs, 0.5, batched=True), same)
    torch.testing.assert_close(penalty.prox(runs, torch.tensor(0.5), batched=True), same)
    assert wanted.dtype == runs.dtype
    assert wanted.shape == runs.shape


@each_penalty
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_more_dims_are_flattened_from_the_second_on(penalty: Penalty, shape: tuple[int, ...]):
    theta = draw(*shape)
    flat = theta.reshape(shape[0], -1)
    assert torch.equal(penalty.value(theta), penalty.value(flat))
    for found, same in (
        (penalty.prox(theta, 0.4), penalty.prox(flat, 0.4)),
        (penalty.subgradient(theta), penalty.subgradient(flat)),
    ):
        assert found.shape == theta.shape
        assert torch.equal(found.reshape(flat.shape), same)


@pytest.mark.parametrize("penalty", [p for p in PENALTIES if p.separable], ids=repr)
def test_a_separable_map_takes_a_step_per_entry(penalty: Penalty):
    theta, steps = draw(3, 4), draw(3, 4, seed=1).abs()
    found = penalty.prox(theta, steps)
    wanted = [
        penalty.prox(entry[None], float(step))[0] for entry, step in zip(theta.ravel(), steps.ravel(), strict=True)
    ]
    torch.testing.assert_close(found.ravel(), torch.stack(wanted))
    assert torch.equal(penalty.prox(theta[None], steps[None], batched=True)[0], found)


@pytest.mark.parametrize("penalty", [p for p in PENALTIES if not p.separable], ids=repr)
def test_a_map_that_is_not_separable_refuses_it(penalty: Penalty):
    with pytest.raises(ValueError, match=r"step of shape \(3, 4\): expected a number"):
        penalty.prox(draw(3, 4), torch.ones(3, 4))


@pytest.fixture(scope="module")
def skglm():
    return pytest.importorskip("skglm.penalties", reason="skglm, a second library to agree with, is not installed")


@given(values=arrays(np.float64, 7, elements=ENTRIES), step=STEPS)
def test_skglm_has_the_same_maps(skglm, values: np.ndarray, step: float):
    """A second library: skglm's scalar proximal maps, entry by entry; its elastic net is α(r|θ| + (1 − r)θ²/2)."""
    theta = torch.from_numpy(values)
    mine, ratio = L1().prox(theta, step), 1 / 1.7
    theirs = [skglm.L1(1.0).prox_1d(value, step, 0) for value in values]
    np.testing.assert_allclose(mine.numpy(), theirs, atol=1e-15)
    theirs = [skglm.L1_plus_L2(1.7, ratio).prox_1d(value, step, 0) for value in values]
    np.testing.assert_allclose(Elastic(L1(), 0.7).prox(theta, step).numpy(), theirs, atol=1e-14)


@each_penalty
@pytest.mark.parametrize("shape", [(0, 3), (3, 0)], ids=str)
def test_an_empty_tensor_has_value_zero(penalty: Penalty, shape: tuple[int, int]):
    theta = torch.zeros(shape)
    assert float(penalty.value(theta)) == float(penalty.dual_norm(theta)) == 0.0
    assert penalty.prox(theta, 0.5).shape == penalty.subgradient(theta).shape == shape


@each_penalty
def test_what_is_killed_is_exactly_zero_and_nothing_moves_without_step(penalty: Penalty):
    theta = draw(4, 5).float()
    assert torch.equal(penalty.prox(torch.zeros_like(theta), 0.0), torch.zeros_like(theta))
    torch.testing.assert_close(penalty.prox(theta, 0.0), theta)
    if penalty.kinked:
        assert torch.equal(penalty.prox(theta, 100.0), torch.zeros_like(theta))


@each_penalty
def test_a_diverged_tensor_stays_diverged(penalty: Penalty):
    runs = torch.ones(2, 3, 4)
    runs[1] = torch.nan
    found = penalty.prox(runs, 0.1, batched=True)
    assert found[0].isfinite().all()
    assert found[1].isnan().any()
    assert penalty.value(runs, batched=True).isnan().tolist() == [False, True]


@each_penalty
def test_a_penalty_is_a_value(penalty: Penalty):
    copy = pickle.loads(pickle.dumps(penalty))
    assert copy == penalty
    assert hash(copy) == hash(penalty)
    assert eval(repr(penalty)) == penalty


def low_rank(m: int, n: int, rank: int, noise: float, dtype: torch.dtype) -> Tensor:
    return ((draw(m, rank) @ draw(rank, n, seed=1)) / math.sqrt(rank) + noise * draw(m, n, seed=2)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    ("m", "n", "rank", "noise", "step"), [(150, 200, 5, 1e-3, 1.0), (200, 150, 40, 0.01, 0.5), (160, 160, 3, 0.0, 0.1)]
)
def test_the_partial_map_keeps_its_bound(m: int, n: int, rank: int, noise: float, step: float, dtype: torch.dtype):
    theta = low_rank(m, n, rank, noise, dtype)
    exact = Nuclear().prox(theta.double(), step)
    found = above(theta, step, 1e-4)
    assert found is not None
    assert found.values.shape == (rank,)
    mapped = (found.left * (found.values - step)) @ found.right.T
    rounding = 1e-6 * float(exact.norm()) if dtype == torch.float32 else 1e-11
    assert float((mapped.double() - exact).norm()) <= found.error + rounding
    assert found.error <= 1e-4 * float(mapped.norm()) + rounding
    torch.testing.assert_close(Nuclear(exact_below=64).prox(theta, step), mapped)


def test_where_a_part_does_not_do_the_map_is_exact():
    """A flat spectrum above the threshold, and one that straddles it closely."""
    for theta, step in (
        (draw(120, 130), 0.1),
        (draw(120, 130), 15.0),
        (low_rank(120, 130, 100, 0.0, torch.float64), 1e-3),
    ):
        exact = Nuclear().prox(theta, step)
        assert float((Nuclear(exact_below=8).prox(theta, step) - exact).norm()) <= 1e-4 * float(exact.norm())
    runs = torch.stack((draw(70, 80), low_rank(70, 80, 2, 0.0, torch.float64)))
    steps = torch.tensor([0.1, 1.0])
    torch.testing.assert_close(
        Nuclear(exact_below=8).prox(runs, steps, batched=True), Nuclear().prox(runs, steps, batched=True)
    )


def test_a_large_matrix_below_the_threshold_becomes_zero():
    assert not Nuclear(exact_below=8).prox(1e-3 * draw(90, 100), 1.0).any()
    assert not Nuclear(exact_below=8).prox(torch.zeros(90, 100), 1.0).any()


def test_a_matrix_too_small_to_have_a_part_is_mapped_exactly():
    for shape in ((2, 2), (2, 9), (3, 3)):
        theta = draw(*shape)
        torch.testing.assert_close(Nuclear(exact_below=1).prox(theta, 0.5), Nuclear().prox(theta, 0.5))


def test_entries_whose_sum_overflows_are_still_finite():
    theta = torch.full((4, 6), 2e38)
    for runs in (theta, torch.stack((theta, torch.eye(4, 6)))):
        found = Nuclear().prox(runs, 1.0, batched=runs.ndim == 3)
        torch.testing.assert_close(found, runs.where(runs > 1, 0.0), rtol=1e-5, atol=1e-5)


@given(seed=st.integers(0, 10_000), rank=st.integers(0, 5))
def test_the_spectral_bound_is_above_the_norm_and_not_far(seed: int, rank: int):
    theta = draw(60, 80, seed=seed)
    left, values, right = torch.linalg.svd(theta, full_matrices=False)
    found = spectral_bound(theta, left[:, :rank], right[:rank].T, torch.Generator().manual_seed(seed))
    assert float(values[rank]) <= found <= 1.06 * float(values[rank])


def test_the_partial_map_leaves_the_global_generator_alone_and_repeats_itself():
    theta, before = low_rank(100, 120, 4, 0.01, torch.float32), torch.get_rng_state()
    one, two = (Nuclear(exact_below=8).prox(theta, 1.0) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(before, torch.get_rng_state())


class Sharded:
    """As much of a DTensor as `check` reads."""

    ndim, shape = 2, torch.Size((4, 4))

    def __init__(self, whole: bool):
        self.placements = (self,)
        self.whole = whole

    def is_replicate(self) -> bool:
        return self.whole


def test_nuclear_refuses_a_sharded_matrix_by_name():
    with pytest.raises(ValueError, match="sharded DTensor of shape"):
        Nuclear().check(Sharded(False))  # pyright: ignore[reportArgumentType]
    Nuclear().check(Sharded(True))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("penalty", [GroupL1(), Nuclear(), Elastic(Nuclear(), 1.0)], ids=repr)
def test_wrong_orders_are_told_in_one_line(penalty: Penalty):
    for call in (penalty.check, penalty.value, penalty.subgradient, penalty.dual_norm, lambda t: penalty.prox(t, 1.0)):
        with pytest.raises(ValueError, match=r"of a tensor of shape \(3,\): expected tensors with at least 2"):
            call(torch.zeros(3))
    with pytest.raises(ValueError, match="at least 2 dimensions"):
        penalty.value(torch.zeros(2, 3), batched=True)
    penalty.check(torch.zeros(2, 3, 1))


@pytest.mark.parametrize("penalty", [L1(), L2(), Elastic(L1(), 1.0)], ids=repr)
def test_separable_penalties_take_every_order(penalty: Penalty):
    for shape in ((), (3,), (2, 3)):
        penalty.check(torch.ones(shape))
        assert penalty.prox(torch.ones(shape), 0.5).shape == shape
    assert penalty.value(torch.ones(3), batched=True).shape == (3,)


def test_an_elastic_subgradient_is_summed_in_full_precision():
    theta = torch.tensor([256.0, -1.0], dtype=torch.bfloat16)
    found = Elastic(L1(), 1.0 / 256).subgradient(theta)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), torch.tensor([2.0, -1.0039]), rtol=4e-3, atol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GroupL1("row"), "groups='row'"),
        (lambda: Nuclear(exact_below=0), "exact_below=0"),
        (lambda: Nuclear(exact_below=1.5), "exact_below=1.5"),  # pyright: ignore[reportArgumentType]
        (lambda: Nuclear(tolerance=0.0), "tolerance=0.0"),
        (lambda: Elastic(L1(), -1.0), "l2=-1.0"),
        (lambda: Elastic(L1(), math.nan), "l2=nan"),
        (lambda: Elastic("l1", 1.0), "penalty='l1'"),  # pyright: ignore[reportArgumentType]
        (lambda: L1().prox(torch.ones(2), -1.0), "step=-1.0"),
        (lambda: L1().prox(torch.ones(2), math.nan), "step=nan"),
        (lambda: GroupL1(["rows"]), r"groups=\['rows'\]"),  # pyright: ignore[reportArgumentType]
        (lambda: Elastic(L1(), "1"), "l2='1'"),  # pyright: ignore[reportArgumentType]
        (lambda: Nuclear(tolerance="x"), "tolerance='x'"),  # pyright: ignore[reportArgumentType]
        (lambda: L1().prox(torch.ones(2), "a"), "step='a'"),  # pyright: ignore[reportArgumentType]
        (lambda: Elastic(L1(), 1.0).prox(torch.ones(2), math.inf), "step=inf: expected a finite number"),
        (lambda: L1().prox(torch.ones(2, dtype=torch.int64), 0.5), "theta of type torch.int64"),
        (lambda: Nuclear().value(torch.ones(2, 2, dtype=torch.complex64)), "theta of type torch.complex64"),
        (lambda: L1().prox(torch.ones(2), torch.ones(3)), r"step of shape \(3,\): expected a number or \(2,\)"),
    ],
)
def test_mistakes_are_told_in_one_line(make, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
