"""Margins, distances and noise on linear classifiers; spectra of made tables; correlations against scipy."""

import math
from collections.abc import Callable
from itertools import permutations
from typing import Literal

import numpy as np
import pytest
import torch
from scipy.stats import norm, rankdata, spearmanr
from torch import Tensor, nn

from groktimizer.measures import (
    distances,
    fourier_concentration,
    margins,
    median_ratio,
    rank_correlation,
    rescale,
    robustness,
    spearman,
    spectral_entropy,
)
from groktimizer.models import MLP, ModularMLP


def classifier(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """A linear classifier with given rows."""
    layer = nn.Linear(weight.shape[1], weight.shape[0]).to(weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(torch.zeros(len(weight)) if bias is None else bias)
    return layer


def test_a_margin_is_the_lead_over_the_best_other_class():
    torch.manual_seed(0)
    logits, targets = torch.randn(30, 5), torch.randint(5, (30,))
    for found, row, target in zip(margins(logits, targets), logits, targets, strict=True):
        others = [value for place, value in enumerate(row.tolist()) if place != target]
        assert float(found) == pytest.approx(row[target].item() - max(others))
    assert ((margins(logits, targets) > 0) == (logits.argmax(1) == targets)).all()


def test_the_distance_of_a_linear_classifier_leads_to_its_boundary():
    """Moved so far towards the nearest of its half-spaces' borders, two classes are level; a little less, y leads."""
    torch.manual_seed(1)
    layer, inputs = classifier(torch.randn(4, 3).double(), torch.randn(4)), torch.randn(10, 3).double()
    targets = layer(inputs).argmax(1)
    found = distances(layer, inputs, targets)
    assert (found > 0).all()
    for x, y, far in zip(inputs, targets.tolist(), found.tolist(), strict=True):
        leads = {}
        for c in set(range(4)) - {y}:
            normal = (layer.weight[y] - layer.weight[c]).detach()
            moved = x - far * normal / normal.norm()
            outputs = layer(moved).detach()
            leads[c] = float(outputs[y] - outputs[c])
        assert min(leads.values()) == pytest.approx(0, abs=1e-9)
    wrong = (targets + 1) % 4
    assert (distances(layer, inputs, wrong) < 0).all()


def test_rescaling_two_layers_moves_neither_distance_nor_robustness():
    torch.manual_seed(2)
    model, inputs = MLP([3, 8, 4], dtype=torch.float64), torch.randn(40, 3).double()
    targets = model(inputs).argmax(1)
    before = distances(model, inputs, targets), robustness(model, inputs, [0.5])
    inner, outer = model.layers
    rescale(list(inner.parameters()), outer.get_parameter("weight"), 8.0)
    torch.testing.assert_close(distances(model, inputs, targets), before[0])
    assert (robustness(model, inputs, [0.5]) == before[1]).all()


def test_the_answers_that_noise_leaves_are_the_normal_distribution_s():
    """Answer sign(x) at x = ±1 under x + σ z: it stays with probability Φ(1/σ)."""
    layer = classifier(torch.tensor([[1.0], [-1.0]]))
    inputs = torch.tensor([[1.0], [-1.0]]).repeat(500, 1)
    scales = [0.0, 0.5, 1.0, 3.0]
    found = robustness(layer, inputs, scales, draws=40, seed=3)
    wanted = [1.0, *(norm.cdf(1 / scale) for scale in scales[1:])]
    assert found == pytest.approx(np.array(wanted), abs=4 * 0.5 / math.sqrt(40_000))
    assert robustness(layer, 7 * inputs, scales, draws=40, seed=3) == pytest.approx(found)  # relative to the size


def test_noise_on_a_table_of_symbols_is_relative_to_the_table():
    pairs = torch.cartesian_prod(torch.arange(7), torch.arange(7))
    model = ModularMLP(7, 16, dtype=torch.float64)
    found = robustness(model, pairs, [0.0, 0.1, 10.0], table="embedding")
    assert found[0] == 1.0 and found[0] > found[1] > found[2]
    with torch.no_grad():  # a product of two rows: the hidden weights undo the square
        model.embedding.mul_(4.0)
        model.hidden.weight.div_(16.0)
    assert robustness(model, pairs, [0.0, 0.1, 10.0], table="embedding") == pytest.approx(found)


def test_a_column_that_is_one_sinusoid_has_concentration_1_and_two_equal_ones_have_half():
    p = 11
    turn = 2 * math.pi * torch.arange(p).double()[:, None] / p
    waves = torch.cat([torch.cos(k * turn + k) * (k + 1) + 3 for k in range(1, 6)], 1)
    assert fourier_concentration(waves) == pytest.approx(1)
    both = torch.cat([torch.cos(turn) + torch.cos(2 * turn), torch.sin(turn) + torch.sin(3 * turn)], 1)
    assert fourier_concentration(both) == pytest.approx(0.5)
    shifted = waves.roll(3, 0)  # symbols renamed a → a + 3
    assert fourier_concentration(shifted) == pytest.approx(1)
    assert fourier_concentration(waves[torch.randperm(p, generator=torch.Generator().manual_seed(0))]) < 0.9


def test_a_random_table_has_the_concentration_of_the_largest_of_exponentials():
    """Powers of p prime are independent exponentials; E max of K over K: (1 + … + 1/K)/K."""
    p, count = 59, 29
    table = torch.randn(p, 4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert fourier_concentration(table) == pytest.approx(sum(1 / k for k in range(1, count + 1)) / count, rel=0.02)


def test_spectral_entropy_counts_directions():
    torch.manual_seed(3)
    left, _ = torch.linalg.qr(torch.randn(8, 4).double())
    right, _ = torch.linalg.qr(torch.randn(6, 4).double())
    assert math.exp(spectral_entropy(left @ right.T) * math.log(6)) == pytest.approx(4)
    sizes = torch.tensor([3.0, 2.0, 1.0, 0.5]).double()
    shares = sizes.square() / sizes.square().sum()
    wanted = -float((shares * shares.log()).sum()) / math.log(6)
    assert spectral_entropy(5 * (left * sizes) @ right.T) == pytest.approx(wanted)


@pytest.mark.parametrize("seed", range(4))
def test_spearman_is_scipy_s_with_ties_and_infinities(seed: int):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 4, 15), rng.integers(0, 6, 15)
    assert spearman(x, y) == pytest.approx(spearmanr(x, y)[0])
    assert spearman(np.exp(3.0 * x), y) == pytest.approx(spearman(x, y))  # any rising map
    assert spearman(rankdata(x), -y) == pytest.approx(-spearman(x, y))
    assert spearman([1, 2, np.inf], [1, 2, 3]) == pytest.approx(1) and np.isnan(spearman([1, 1, 1], [1, 2, 3]))


def test_the_interval_of_a_correlation_covers_the_true_one_as_often_as_it_says():
    """Independent quantities, 12 seeds of one solution: 0 is outside of some 1 in 20 intervals."""
    missed = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        found = rank_correlation(rng.normal(size=(12, 1)), rng.normal(size=(12, 1)))
        assert found.low <= found.value <= found.high
        missed += not found.low <= 0 <= found.high
    assert missed <= 18


def test_solutions_of_a_seed_are_resampled_together():
    """Copies of a solution are no evidence: value and interval are those of one of them."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(10, 1)), rng.normal(size=(10, 1))
    one, four = (rank_correlation(np.repeat(x, k, 1), np.repeat(y, k, 1)) for k in (1, 4))
    assert (four.value, four.low, four.high) == pytest.approx((one.value, one.low, one.high))


def test_within_takes_out_what_the_solutions_differ_in_and_pooled_does_not():
    rng = np.random.default_rng(1)
    noise, shift = rng.normal(size=(12, 3)), 100 * np.arange(3)
    apart = rank_correlation(noise + shift, -noise + shift)
    same = rank_correlation(noise + shift, -noise + shift, "within")
    assert apart.value > 0.7 and same.value == pytest.approx(-1)
    constant = rank_correlation(np.ones((5, 2)), noise[:5, :2], "within")
    assert all(map(np.isnan, (constant.value, constant.low, constant.high)))


@pytest.mark.parametrize("kind", ["pooled", "within"])
def test_seeds_with_a_number_that_is_not_known_are_left_out(kind: Literal["pooled", "within"]):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(12, 2)), rng.normal(size=(12, 2))
    gaps = x.copy()
    gaps[3, 0] = gaps[7, 1] = np.nan
    there = np.delete(np.arange(12), [3, 7])
    assert rank_correlation(gaps, y, kind) == rank_correlation(x[there], y[there], kind)
    few = rank_correlation(np.where(np.arange(12)[:, None] < 10, np.nan, x), y, kind)
    assert all(map(np.isnan, (few.value, few.low, few.high)))


def test_the_interval_of_a_ratio_is_that_of_the_median_over_all_resamples():
    """Three pairs: 27 equally likely resamples, by hand."""
    ratios = np.array([1.0, 2.0, 4.0])
    found = median_ratio(3 * ratios, np.full(3, 3.0))
    medians = sorted(float(np.median(ratios[list(rows)])) for rows in np.ndindex(3, 3, 3))
    assert (found.value, found.low, found.high) == (2.0, medians[0], medians[-1])  # each end has 7 of 27
    assert all(median_ratio(np.array(order), np.ones(3)).value == 2.0 for order in permutations(ratios))


SYMBOLS = torch.zeros(3, 2, dtype=torch.long)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: margins(torch.zeros(3, 1), torch.zeros(3).long()), r"expected \(n, classes ≥ 2\) and \(n,\)"),
        (lambda: distances(ModularMLP(5, 4), SYMBOLS, SYMBOLS[:, 0]), "inputs: torch.int64, expected real numbers"),
        (lambda: robustness(nn.Linear(1, 2), torch.ones(1, 1), [-1.0]), r"scales\[0\]=-1.0: expected"),
        (lambda: robustness(nn.Linear(1, 2), torch.ones(1, 1), [1.0], draws=0), "draws=0"),
        (lambda: robustness(ModularMLP(5, 4), SYMBOLS, [1.0]), "or a table to be moved"),
        (lambda: robustness(ModularMLP(5, 4), SYMBOLS, [1.0], table="E"), "table='E': expected a parameter"),
        (lambda: fourier_concentration(torch.ones(5, 3)), "every column is constant"),
        (lambda: fourier_concentration(torch.ones(2, 3)), "expected at least 3 rows"),
        (lambda: spectral_entropy(torch.zeros(3, 3)), "finite and not all 0"),
        (lambda: spearman([1, 2], [1]), "x, y: 2 and 1 values"),
        (lambda: spearman([1, np.nan], [1, 2]), "a value is not a number"),
        (lambda: rank_correlation(np.ones((2, 1)), np.ones((2, 1))), "seeds ≥ 3"),
        (lambda: median_ratio([1.0], [0.0]), "expected as many, all > 0"),
    ],
)
def test_what_does_not_suit_is_one_line(call: Callable[[], object], told: str):
    with pytest.raises(ValueError, match=told):
        call()
