"""The verdict "faster" or "slower" against enumeration, against scipy, and by simulation of methods that are alike."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, wilcoxon

from groktimizer.measures import FEWEST_SEEDS, last_common_time, paired_bootstrap, sign_flip_test

CALLED = {"faster", "slower"}
differences = st.lists(st.sampled_from([0.0, 1.0, 2.0, 2.0, 5.0, 40.0, math.inf]), min_size=1, max_size=7)


def statistic(signs: np.ndarray, sizes: np.ndarray) -> float:
    """Sum of signed mean ranks of the sizes that are not 0; ranks by scipy, infinite sizes sharing the last ones."""
    there = sizes > 0
    finite = np.where(np.isinf(sizes), 1e300, sizes)
    return float((signs[there] * rankdata(finite[there])).sum()) if there.any() else 0.0


@settings(max_examples=40)
@given(differences, st.data())
def test_the_p_value_is_the_enumerated_one(sizes: list[float], data: st.DataObject):
    """Each of the 2^n choices of signs is drawn up and its statistic compared with the one that was seen."""
    signs = np.array(data.draw(st.lists(st.sampled_from([-1, 1]), min_size=len(sizes), max_size=len(sizes))))
    sign, p_value = sign_flip_test((signs * np.array(sizes)).tolist())
    seen = statistic(signs, np.array(sizes))
    others = [statistic(np.array(flip), np.array(sizes)) for flip in itertools.product((-1, 1), repeat=len(sizes))]
    assert p_value == np.mean([abs(other) >= abs(seen) - 1e-9 for other in others])
    assert sign == np.sign(seen)


@settings(max_examples=25)
@given(st.lists(st.sampled_from([0.0, 3.0, 8.0, 90.0, 91.0, math.inf]), min_size=6, max_size=7))
def test_of_all_flips_at_most_one_in_twenty_is_called(sizes: list[float]):
    """The level holds given the sizes, so it holds for every law of times: not on average, but here, by counting."""
    flips = itertools.product((-1, 1), repeat=len(sizes))
    called = [sign_flip_test((np.array(flip) * np.array(sizes)).tolist())[1] <= 0.05 for flip in flips]
    assert np.mean(called) <= 0.05


@pytest.mark.parametrize("n", [6, 9, 14, 25])
def test_without_ties_it_is_the_signed_rank_test_of_scipy(n: int):
    source = np.random.default_rng(n)
    for _ in range(20):
        given = source.normal(0.4, 1, n)
        _, wanted = wilcoxon(given, method="exact")
        assert sign_flip_test(given.tolist())[1] == pytest.approx(wanted, rel=1e-12)


LAWS = {
    "steps on a grid, many ties": lambda source, n: source.integers(3, 7, n) * 5.0,
    "heavy tail": lambda source, n: 10 + source.pareto(0.5, n),
    "one in three is a DNF": lambda source, n: np.where(source.random(n) < 1 / 3, np.inf, source.integers(9, 99, n)),
    "two kinds of run": lambda source, n: np.where(source.random(n) < 0.5, 60.0, 3_000 + source.integers(0, 900, n)),
}  # fmt: skip
DRAWS = 100


def alike(law: str, n: int, draws: int = DRAWS, *, cap: float | None = None) -> float:
    """How often two methods of one law are called different; the first stops at `cap` × the median of the other."""
    source, called = np.random.default_rng([n, len(law)]), 0
    for _ in range(draws):
        a, b = LAWS[law](source, n), LAWS[law](source, n)
        horizon = math.inf if cap is None else cap * float(np.median(b))
        a = np.where(a > horizon, np.inf, a)
        called += paired_bootstrap(a.tolist(), b.tolist(), horizon=horizon, resamples=1).verdict in CALLED
    return called / draws


def at_most(rate: float, draws: int) -> float:
    """The rate with four standard errors of its simulation."""
    return rate + 4 * math.sqrt(rate * (1 - rate) / draws)


@pytest.mark.parametrize("n", range(2, 21))
def test_methods_that_are_alike_are_called_different_in_at_most_one_of_twenty(n: int):
    """Discrete times, heavy tails, ties and unfinished runs; fewer than six seeds are never called anything."""
    rates = [alike(law, n) for law in LAWS]
    assert np.mean(rates) <= (0 if n < FEWEST_SEEDS else at_most(0.05, DRAWS * len(LAWS)))


@pytest.mark.slow
@pytest.mark.parametrize("cap", [None, 1.0, 3.0])
@pytest.mark.parametrize("law", LAWS)
def test_the_same_law_by_law(law: str, cap: float | None):
    for n in range(2, 21):
        assert alike(law, n, 1_000, cap=cap) <= (0 if n < FEWEST_SEEDS else at_most(0.05, 1_000)), n


@pytest.mark.parametrize("law", LAWS)
def test_a_cap_on_one_method_alone_makes_no_difference(law: str):
    """Stopped at three times the other's median: both are judged by the times that fit into the shorter budget."""
    rates = [alike(law, n, cap=3.0) for n in (6, 10, 16)]
    assert np.mean(rates) <= at_most(0.05, DRAWS * len(rates))


def test_without_a_common_horizon_the_capped_method_would_be_called_slower():
    """Every time from 1 to 4 doublings over the cap is a DNF of the one and a finished run of the other."""
    source, called = np.random.default_rng(5), 0
    for _ in range(100):
        a, b = 2.0 ** source.uniform(0, 8, 12), 2.0 ** source.uniform(0, 8, 12)
        a[a > 16] = np.inf
        called += paired_bootstrap(a.tolist(), b.tolist(), resamples=1).verdict == "slower"
    assert called / 100 > 0.2


def test_six_seeds_are_the_fewest_that_can_decide():
    for n in range(1, 12):
        assert (sign_flip_test([-1.0] * n)[1] <= 0.05) == (n >= FEWEST_SEEDS)


@pytest.mark.parametrize(("n", "power"), [(6, 0.9), (8, 0.95), (10, 0.99), (20, 0.999)])
def test_a_clear_difference_is_found(n: int, power: float):
    """Twice the steps at a spread of a tenth: at six seeds each pair has to agree, which almost all do."""
    source = np.random.default_rng(n)
    found = [
        paired_bootstrap(source.normal(100, 10, n).tolist(), source.normal(200, 20, n).tolist(), resamples=1).verdict
        for _ in range(200)
    ]
    assert found.count("faster") / 200 >= power and "slower" not in found


def test_runs_that_did_not_finish_count_for_the_other_method():
    b = [300, 310, 290, 305, 295, 300, 298, 302]
    assert paired_bootstrap([None] * 8, b).verdict == "slower"
    assert paired_bootstrap([100] * 7 + [None], b).verdict == "level"  # rank 8 of 8 against the other seven
    assert paired_bootstrap([100] * 11 + [None], [*b, 300, 300, 300, 300]).verdict == "faster"  # 12 of 78: p = 0.034
    assert paired_bootstrap([100, 100, None, None, None, None], [200, 200, None, None, None, None]).verdict == "level"


def test_a_time_that_the_shorter_budget_could_not_show_is_a_dnf_of_both():
    """620 steps show settled times up to 120, and up to 20 if five evaluations take 600 steps."""
    assert last_common_time((620, 2_000), every=5) == 120
    assert last_common_time((2_000, 620), every=150) == 20
    a, b = [None] * 6, [121, 400, 900, 1_400, 130, 500]
    assert paired_bootstrap(a, b).verdict == "slower"
    cut = paired_bootstrap(a, b, horizon=120)
    assert (cut.verdict, cut.p_value, cut.median) == ("level", 1.0, 0.0)


def test_not_a_number_is_no_difference():
    with pytest.raises(ValueError, match="expected numbers"):
        sign_flip_test([1.0, math.nan])
