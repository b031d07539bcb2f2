"""`groktimizer reproduce pinned-norm`: the law that was put in comes out, and every claim can fail."""

import json
from pathlib import Path

import numpy as np
import pytest

from groktimizer.cli import main
from groktimizer.papers import pinned_norm as paper
from groktimizer.papers.reproduction import Effort, train
from groktimizer.results import Record, Store

RHOS = paper.RHOS


def drawn(alpha: float, noise: float = 0.1, seeds: int = 6, seed: int = 0) -> np.ndarray:
    """Delays of a law with lognormal noise of every run."""
    rng = np.random.default_rng(seed)
    return 100 * np.exp(alpha * (np.array(RHOS) - 1) + noise * rng.normal(size=(seeds, len(RHOS))))


def test_the_slope_comes_out_and_its_interval_holds_it_in_most_draws():
    """A percentile interval of a median over six seeds is too short: 95 % asked for, above 75 % is what to expect."""
    held = 0
    for seed in range(20):
        delays = {paper.PLAIN: drawn(7.0, seed=seed)}
        law, band = paper.fit(delays[paper.PLAIN], RHOS), paper.interval(paper.resampled(delays, RHOS)[paper.PLAIN])
        assert abs(law.alpha - 7.0) < 0.5 and law.straight > 0.95
        held += band[0] <= 7.0 <= band[1]
    assert held >= 13


def test_many_slopes_are_the_single_ones():
    rng = np.random.default_rng(0)
    delays = rng.uniform(50, 500, size=(8, 4, len(RHOS)))
    delays[rng.random(delays.shape) < 0.3] = np.inf
    delays[-1] = np.inf
    wanted = [paper.fit(table, RHOS).alpha for table in delays]
    np.testing.assert_allclose(paper.slopes(np.median(delays, axis=1), RHOS), wanted, rtol=1e-9)
    assert np.isinf(np.median(delays, axis=1)).any() and np.isnan(wanted[-1])


def test_exponential_and_power_laws_are_told_apart():
    law, power = paper.fit(np.exp(5 * np.array([RHOS])), RHOS), paper.fit(np.array([RHOS]) ** 5, RHOS)
    assert law.straight == pytest.approx(1.0) and law.power < 0.9999
    assert power.power == pytest.approx(1.0) and power.straight < 0.9999
    assert not paper.exponential(paper.PLAIN, paper.fit(np.array([[1.0, 9, 2, 8, 3, 7]]), RHOS)).passed


def test_a_dnf_is_infinite_and_a_median_that_falls_on_one_is_left_out():
    delays = drawn(7.0, noise=0.0)
    delays[:3, -1] = np.inf  # half of them
    delays[:2, -2] = np.inf
    law = paper.fit(delays, RHOS)
    assert np.isinf(law.medians[-1]) and np.isfinite(law.medians[-2]) and law.alpha == pytest.approx(7.0)
    assert not paper.finished(paper.PLAIN, delays, 10).passed
    assert "31 of 36 runs" in paper.finished(paper.PLAIN, delays, 10).measured
    nothing = paper.fit(np.full((6, len(RHOS)), np.inf), RHOS)
    assert np.isnan(nothing.alpha) and not paper.exponential(paper.PLAIN, nothing).passed
    assert not paper.rises(paper.PLAIN, nothing, (np.nan, np.nan)).passed


def test_the_law_is_gone_if_its_slope_is_0_or_far_smaller():
    slopes = {
        name: np.linspace(low, high, 101) for name, low, high in (("plain", 6, 8), ("flat", -1, 1), ("same", 5, 8))
    }
    law = paper.fit(drawn(1.0), RHOS)
    assert paper.gone(slopes["plain"], slopes["flat"], law).passed
    assert paper.gone(slopes["plain"], 0.3 * slopes["plain"], law).passed
    assert not paper.gone(slopes["plain"], slopes["same"], law).passed


def test_the_rise_is_asked_of_the_interval():
    law = paper.fit(drawn(7.0), RHOS)
    assert paper.rises(paper.PLAIN, law, (1.0, 9.0)).passed and not paper.rises(paper.PLAIN, law, (-1.0, 9.0)).passed
    assert paper.concentrated("x", np.array([40.0, 40.5, 39.5])).passed
    assert not paper.concentrated("x", np.array([40.0, 60.0, 20.0])).passed


def record(t1: int | None, t2: int | None) -> Record:
    history = {"step": np.array([0, 100, 200]), "norm_l2": np.array([9.0, 5.0, 4.0])}
    return Record({}, history, {"times": {"memorised": t1, "generalised": t2}}, {})


def test_the_critical_norm_is_that_at_t2():
    assert paper.critical_norm(record(0, 100)) == 5.0
    assert np.isnan(paper.critical_norm(record(0, None)))
    assert paper.delay(record(0, 100)) == 100.0 and paper.delay(record(100, 100)) == paper.EVERY
    assert np.isinf(paper.delay(record(0, None)))


def test_a_held_norm_is_what_the_history_of_a_run_says(tmp_path: Path):
    arms = (paper.PLAIN, paper.NORMED)
    cells = {arm: [paper.pinned(0, 30.0, 20, arm, 1.5)] for arm in arms}
    for arm, (run,) in train(cells, Effort(workers=1, store=Store(tmp_path)), "x").items():
        assert run.spec["task"]["options"]["norm"] is (True if arm.normed else None)
        np.testing.assert_allclose(run.history["norm_l2"][1:], 30.0, rtol=1e-6)
        assert run.history["norm_l2"][0] > 50
    steady = paper.pinned(0, 30.0, 20, paper.STEADY, 1.5)
    assert steady.optimizer_options["lr"] == pytest.approx(1.5 * paper.LR)


@pytest.mark.slow
def test_the_quick_figure_finds_the_law(tmp_path: Path):
    words = ["reproduce", "pinned-norm", "--quick", "--out", str(tmp_path), "--json", str(tmp_path / "x.json")]
    assert main(words) == 0
    verdicts = {row["claim"]: row["verdict"] for row in json.loads((tmp_path / "x.json").read_text())["claims"]}
    assert verdicts["no LayerNorm: the delay rises with ρ, interval of α above 0"] == "pass"
    assert "pass" in [verdict for claim, verdict in verdicts.items() if "no LayerNorm: ln delay is linear" in claim]
