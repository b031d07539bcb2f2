"""Times, norms and statistics against their definitions, spelt out slowly."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from groktimizer import measures
from groktimizer.measures import grokking_times, median_with_dnf, norms, paired_bootstrap, wilson_interval
from groktimizer.tasks import Criterion

TRAIN = Criterion("train_accuracy", 0.99, above=True)
TEST = Criterion("test_accuracy", 0.99, above=True)
LOW = Criterion("test_accuracy", 0.95, above=True)


def test_what_is_imported_on_first_use_is_never_the_module_of_its_name():
    code = "import groktimizer.measures as m\nprint({type(getattr(m, name)).__name__ for name in reversed(m.__all__)})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "function" in done.stdout and "module" not in done.stdout
    assert not measures._HOMES.keys() & set(measures.__all__)  # whichever is asked for first


def history(steps, train, test):
    return {"step": np.array(steps), "train_accuracy": np.array(train), "test_accuracy": np.array(test)}


def settled_by_definition(steps: list[int], met: list[bool], window: int) -> int | None:
    """First evaluation from which some whole observed window of max(window steps, 5 evaluations) is met throughout."""
    for i in range(len(steps)):
        for j in range(i, len(steps)):
            if steps[j] - steps[i] >= window and j - i + 1 >= 5 and all(met[i : j + 1]):
                return steps[i]
    return None


@given(st.data())
def test_settled_is_its_definition(data: st.DataObject):
    gaps = data.draw(st.lists(st.integers(1, 400), min_size=1, max_size=25))
    steps = np.cumsum([0, *gaps]).tolist()
    met = data.draw(st.lists(st.booleans() | st.just(True), min_size=len(steps), max_size=len(steps)))
    window = data.draw(st.sampled_from([0, 100, 500]))
    curve = [1.0 if good else 0.5 for good in met]
    times = grokking_times(history(steps, curve, curve), TRAIN, TEST, window=window)
    assert times.settled == settled_by_definition(steps, met, window)
    assert times.generalised == next((s for s, good in zip(steps, met, strict=True) if good), None)
    assert times.evaluated_every == max(gaps)


def test_crossing_and_falling_back_is_generalised_but_not_settled():
    steps = list(range(0, 1300, 100))
    test = [0.0, 0.0, 0.96, 1.0, 0.9, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    times = grokking_times(history(steps, [0, *[1.0] * 12], test), TRAIN, TEST, LOW)
    assert (times.memorised, times.memorised_settled) == (100, 100)
    assert (times.generalised, times.settled, times.delay) == (300, 500, 200)
    assert (times.generalised_95, times.settled_95) == (200, 500)


def test_a_window_not_yet_observed_whole_has_not_settled():
    steps = [0, 100, 200, 300, 400, 500]
    reached = [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert grokking_times(history(steps, reached, reached), TRAIN, TEST).settled is None
    assert grokking_times(history([*steps, 600], [*reached, 1.0], [*reached, 1.0]), TRAIN, TEST).settled == 100


def test_five_evaluations_are_asked_for_when_they_are_rare():
    steps, reached = [0, 1000, 2000, 3000], [1.0] * 4
    assert grokking_times(history(steps, reached, reached), TRAIN, TEST).settled is None
    assert grokking_times(history([*steps, 4000], [1.0] * 5, [1.0] * 5), TRAIN, TEST).settled == 0


def test_a_run_that_never_gets_there_has_no_times_and_nan_meets_nothing():
    times = grokking_times(history([0, 10], [0.5, math.nan], [0.1, math.nan]), TRAIN, TEST, LOW)
    assert (times.memorised, times.generalised, times.settled, times.delay) == (None, None, None, None)


def test_losses_settle_downwards():
    columns = {"step": np.arange(0, 1001, 100), "loss": 10.0 ** -np.arange(11.0)}
    below = Criterion("loss", 1e-3, above=False)
    assert grokking_times(columns, below, below).settled == 300


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (history([], [], []), "empty"),
        (history([0, 0], [0, 0], [0, 0]), "ascend"),
        ({"step": np.array([0]), "train_accuracy": np.array([1.0])}, "test_accuracy"),
    ],
)
def test_histories_that_are_none_are_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        grokking_times(columns, TRAIN, TEST)


def test_a_negative_window_is_refused():
    with pytest.raises(ValueError, match="window=-1"):
        grokking_times(history([0], [1.0], [1.0]), TRAIN, TEST, window=-1)


def test_norms_of_a_matrix_with_known_singular_values():
    """U diag(s) Vᵀ has ℓ2 norm ‖s‖ and nuclear norm Σs; rotations change neither."""
    values = torch.tensor([5.0, 2.0, 0.5], dtype=torch.float64)
    left, right = (torch.linalg.qr(torch.randn(n, 3, dtype=torch.float64))[0] for n in (7, 4))
    weight = left * values @ right.T
    bias = torch.tensor([3.0, -4.0], dtype=torch.float64)
    measured = norms([("w", weight), ("b", bias)])
    assert measured.l2["w"] == pytest.approx(float(values.norm()))
    assert measured.nuclear == {"w": pytest.approx(7.5), "b": pytest.approx(5.0)}
    assert measured.total_nuclear == pytest.approx(12.5)
    assert measured.total_l1 == pytest.approx(float(weight.abs().sum()) + 7.0)
    assert measured.total_l2 == pytest.approx(math.sqrt(float(values.square().sum()) + 25))


def test_more_dimensions_count_as_first_times_rest():
    kernel = torch.randn(3, 2, 5, dtype=torch.float64)
    flat = torch.linalg.matrix_norm(kernel.reshape(3, 10), ord="nuc")
    assert norms([("k", kernel)]).nuclear["k"] == pytest.approx(float(flat))
    assert norms([("s", torch.tensor(-2.0))]).nuclear["s"] == 2.0


def test_norms_of_half_precision_and_of_what_is_not_finite():
    ones = torch.ones(300, 300, dtype=torch.bfloat16)
    assert norms([("w", ones)]).l1["w"] == 90_000
    assert norms([("w", ones)]).nuclear["w"] == pytest.approx(300, rel=1e-4)
    assert math.isnan(norms([("w", torch.full((2, 2), math.inf))]).nuclear["w"])
    assert math.isnan(norms([("w", ones)], nuclear=False).total_nuclear)


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (1, 5), (5, 5), (7, 10), (50, 100)])
def test_wilson_agrees_with_scipy(successes: int, n: int):
    wanted = binomtest(successes, n).proportion_ci(0.9, method="wilson")
    assert wilson_interval(successes, n, 0.9) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


@pytest.mark.parametrize(("successes", "n", "confidence"), [(1, 0, 0.9), (3, 2, 0.9), (-1, 2, 0.9), (1, 2, 1.0)])
def test_wilson_refuses_what_is_no_rate(successes, n, confidence):
    with pytest.raises(ValueError, match="expected"):
        wilson_interval(successes, n, confidence)


@pytest.mark.parametrize(
    ("values", "median"),
    [([3], 3), ([1, 2], 1.5), ([1, None, 2], 2), ([1, 2, None, None], math.inf), ([None, 5, None], math.inf)],
)
def test_median_counts_a_run_that_did_not_finish_as_infinite(values, median):
    assert median_with_dnf(values) == median


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20))
def test_median_of_finite_times_is_numpys(values: list[int]):
    assert median_with_dnf(values) == np.median(values)


def exact_interval(differences: list[float]) -> tuple[float, float]:
    """The bootstrap distribution of the median of n = 3 enumerated: 27 equally likely samples."""
    medians = sorted(sorted((a, b, c))[1] for a in differences for b in differences for c in differences)
    return medians[0], medians[-1]


def test_bootstrap_interval_of_three_pairs_is_the_enumerated_one():
    """P(median = extreme) = 7/27 > 2.5 %, so the 95 % interval reaches from the least to the largest difference."""
    outcome = paired_bootstrap([10, 20, 60], [20, 50, 55])
    assert (outcome.low, outcome.high) == exact_interval([-10, -30, 5])
    assert (outcome.median, outcome.verdict, outcome.pairs) == (-10, "too few seeds", 3)


def test_bootstrap_covers_a_known_shift():
    """The interval of the median holds the true shift in about 95 of 100 data sets (binomial: ≥ 85 almost surely)."""
    source = np.random.default_rng(1)
    hits = 0
    for i in range(100):
        b = source.uniform(500, 600, 25)
        outcome = paired_bootstrap((b - 20 + source.normal(0, 30, 25)).tolist(), b.tolist(), resamples=500, seed=i)
        hits += outcome.low <= -20 <= outcome.high
    assert hits >= 85


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ([1, 2, 3, 4, 5, 6], [11, 12, 13, 14, 15, 16], "faster"),
        ([11, 12, 13, 14, 15, 16], [1, 2, 3, 4, 5, 6], "slower"),
        ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], "level"),
        ([1, 2, 3, 4, 5, 6], [None] * 6, "faster"),
        ([None] * 6, [None] * 6, "level"),
        ([None] * 6, [1, 2, 3, 4, 5, 6], "slower"),
        ([None, 1, None, 1, None, 1], [1, None, 1, None, 1, None], "level"),
        ([1, 2, 3, 4, 5], [11, 12, 13, 14, 15], "too few seeds"),
        ([1], [100], "too few seeds"),
    ],
)
def test_verdicts(a, b, verdict):
    outcome = paired_bootstrap(a, b)
    mirrored = {"faster": "slower", "slower": "faster"}
    assert outcome.verdict == verdict
    assert paired_bootstrap(b, a).verdict == mirrored.get(verdict, verdict)
    assert not math.isnan(outcome.low + outcome.median) or math.isinf(outcome.low)


def test_bootstrap_is_a_pure_function_of_its_arguments():
    a, b = [5, None, 9, 12, 30], [6, 8, 9, None, 28]
    assert paired_bootstrap(a, b, seed=3) == paired_bootstrap(a, b, seed=3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired_bootstrap([1], [1, 2]), "same seeds"),
        (lambda: paired_bootstrap([], []), "empty"),
        (lambda: paired_bootstrap([-1], [1]), "≥ 0"),
        (lambda: paired_bootstrap([1], [1], resamples=0), "resamples=0"),
        (lambda: paired_bootstrap([1], [1], confidence=2), "confidence=2"),
        (lambda: median_with_dnf([]), "empty"),
    ],
)
def test_statistics_refuse_what_makes_no_sense(call, message):
    with pytest.raises(ValueError, match=message):
        call()
