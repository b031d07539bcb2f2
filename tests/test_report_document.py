"""The report of a store: what it says of groups of seeds, and that it is one page that needs nothing."""

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from groktimizer.cli import main
from groktimizer.measures import median_interval
from groktimizer.report.document import document, svg_of
from groktimizer.report.groups import CLOCK, axes_of, cell_of, families, fits, grouped, slope
from groktimizer.report.maps import maps, plot
from groktimizer.results import COMPARISON, FAILURE, PREDICTION, Record, Store

LR, DECAY = (0.1, 0.2, 0.4), (1e-3, 1e-2, 0.1)
CONSTANT = 40.0


def clock(lr: float, decay: float, seed: int, task: str = "ridge", **times: Any) -> Record:
    """Exact clocks that settle at 40 / (η λ), a little later with each seed, and memorise at 10 / η."""
    spec = {"clock": "exact", "task": {"name": task, "options": {"n": 5, "m": 20}}, "seed": seed, "lr": lr,
            "weight_decay": decay, "momentum": 0.0, "switch": None, "code": 2}  # fmt: skip
    settled = round(CONSTANT / (lr * decay)) + seed
    found = {"memorised": round(10 / lr), "memorised_settled": None, "generalised": settled, "settled": settled} | times
    content = {"times": found, "status": "grokked", "advice": "nothing to change"}
    return Record.of(PREDICTION, spec, content, {"created": f"2026-01-0{seed + 1}", "python": "3.11"})


def trained(lr: float, decay: float, seed: int, optimizer: str = "sgd", settled: int | None = 90) -> Record:
    spec = {"task": {"name": "ridge", "options": {"n": 5, "m": 20}}, "seed": seed, "steps": 100, "code": 2,
            "optimizer": {"name": optimizer, "options": {"lr": lr, "weight_decay": decay}}}  # fmt: skip
    steps = np.arange(0, 101, 10)
    history = {"step": steps, "phase": np.zeros(11, dtype=int), "seconds": steps / 1e3, "norm_l2": 3 - steps / 50,
               "train_loss": np.exp(-steps / 10), "test_loss": np.exp(-steps / 30)}  # fmt: skip
    times = {"memorised": 30, "generalised": settled, "settled": settled, "evaluated_every": 10, "secondary": None}
    summary = {"times": times, "status": "grokked", "advice": "<b>bold</b>", "steps": 100, "seconds": 0.1,
               "switch_step": None, "optimizer_status": ""}  # fmt: skip
    return Record(spec, history, summary, {"created": "2026-01-01"})


def grid(**times: Any) -> list[Record]:
    return [clock(lr, decay, seed, **times) for lr in LR for decay in DECAY for seed in range(3)]


def groups_of(records: list[Record]) -> list[Any]:
    return grouped(cell for record in records if (cell := cell_of(record)) is not None)


class Page(HTMLParser):
    """What a page loads, the ids it has, and its content."""

    def __init__(self, text: bytes) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.feed(text.decode())
        found = re.search(rb'id="content">(.*?)</script>', text, re.DOTALL)
        assert found is not None
        self.content = json.loads(found[1])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            inside = (value or "").startswith(("#", "data:"))
            if name in {"src", "href", "xlink:href", "action", "data"} and not inside:
                self.loads.append(f"{tag} {value}")


def test_groups_hold_what_differs_in_seeds_alone_and_the_rest_is_left_out():
    others = [Record.of(COMPARISON, {"x": 1}, {}, {}), Record.of(FAILURE, {"failed": "0"}, {"error": "no"}, {})]
    groups = groups_of([*grid(), *others, trained(0.1, 1e-3, 0)])
    assert len(groups) == 10 and {len(group.cells) for group in groups} == {1, 3}
    assert set(axes_of(groups)) >= {"lr", "weight_decay"}
    exact = [group for group in groups if group.method == CLOCK]
    assert [group.median("settled") for group in exact if group.settings["lr"] == 0.1] == [400_001, 40_001, 4_001]
    assert len(families(exact, ["lr"])) == len(DECAY)


def test_the_interval_of_a_median_is_the_narrowest_that_the_binomial_allows():
    assert median_interval([1, 2, 3, 4, 5]) is None
    for n in (6, 9, 20, 33):
        low, high = median_interval(list(range(n))) or (0, 0)
        assert low + high == n - 1
        assert 2 * binom.cdf(low, n, 0.5) <= 0.05 < 2 * binom.cdf(low + 1, n, 0.5)
    assert median_interval([1, 2, 3, None, None, None]) == (1, math.inf)


def test_the_interval_covers_the_median_as_often_as_it_says():
    draw = np.random.default_rng(0).exponential(size=(4000, 10))
    ends = [median_interval(list(row)) or (0, 0) for row in draw]
    covered = np.mean([low <= math.log(2) <= high for low, high in ends])
    assert 0.97 < covered < 0.99  # 1 - 2 P(B <= 1) = 0.9785


def test_fits_find_planted_exponents_and_count_what_never_settled():
    found = {(fit.x, fit.time): fit for fit in fits(groups_of(grid()))}
    fit = found["lr · weight_decay", "settled"]
    assert fit.exponent == pytest.approx(-1, abs=0.002) and fit.error < 0.002 and (fit.points, fit.without) == (9, 0)
    assert found["lr · weight_decay", "memorised"].exponent == pytest.approx(-0.0831, abs=1e-3)  # η is in it, λ is not
    never = [record if record.spec["lr"] < 0.4 else clock(0.4, record.spec["weight_decay"], record.spec["seed"],
             settled=None) for record in grid()]  # fmt: skip
    found = {(fit.x, fit.time): fit for fit in fits(groups_of(never))}
    assert (found["lr · weight_decay", "settled"].points, found["lr · weight_decay", "settled"].without) == (6, 3)
    assert fits(groups_of(grid()[:9])) == []  # three points are no law


def test_a_slope_is_that_of_least_squares():
    x = np.array([0.0, 1.0, 2.0, 4.0])
    noise = np.array([0.1, -0.2, 0.05, 0.05])
    exponent, error = slope(x, 2 * x + noise)
    columns = np.stack([x, np.ones(4)], 1)
    solution, residual, *_ = np.linalg.lstsq(columns, 2 * x + noise, rcond=None)
    covariance = residual[0] / 2 * np.linalg.inv(columns.T @ columns)
    assert exponent == pytest.approx(solution[0]) and error == pytest.approx(math.sqrt(covariance[0, 0]))


def test_maps_hold_medians_and_the_exact_clocks_of_the_same_problem():
    runs = [trained(lr, decay, seed) for lr in LR for decay in DECAY for seed in range(3)]
    known = maps(groups_of(grid()))
    assert len(known) == 1 and known[0].times["settled"][0, 0] == 400_001
    np.testing.assert_allclose(known[0].times["memorised"], np.tile([100, 50, 25], (3, 1)))
    assert maps(groups_of(runs[:18])) == []  # two values are no map
    drawn = plot(maps(groups_of(runs))[0])
    assert [axes.get_title(loc="left") for axes in drawn.axes[:3]] == [
        "t1, memorised",
        "t2, generalised and settled",
        "delay",
    ]


def test_the_page_loads_nothing_has_no_id_twice_and_escapes_every_name():
    name = "<script>alert(1)</script>"
    records = [*grid(), *(clock(0.1, 0.1, seed, task=name) for seed in range(2)), trained(0.1, 0.1, 0),
               Record.of(FAILURE, {"failed": "ab"}, {"error": name}, {})]  # fmt: skip
    text = document(records, f"Report of {name}", damaged=2)
    page = Page(text)
    assert page.loads == [] and len(page.ids) == len(set(page.ids))
    assert page.tags.count("script") == 2 and b"alert(1)</script>" not in text and b"@@" not in text
    assert b"2 damaged files" in text and b"1 cells failed" in text
    assert not re.search(rb"(?:src|href)=[\"']?(?:https?:)?//|url\((?!#)|@import|fetch\(|XMLHttpRequest", text)


def test_every_run_is_in_the_page_with_its_settings_and_curves():
    records = [*grid(), trained(0.1, 0.1, 0)]
    page = Page(document(records, "x"))
    rows, details = page.content["rows"], page.content["details"]
    assert {row[0] for row in rows} == {record.identity[:12] for record in records} and len(details) == len(rows)
    column = page.content["columns"].index("t2, settled")
    assert sorted(row[column] for row in rows) == sorted(record.summary["times"]["settled"] for record in records)
    (curve,) = [detail["curve"] for detail in details if detail["curve"] is not None]
    assert curve[0] == list(range(10, 101, 10)) and curve[1] == pytest.approx(np.exp(-np.arange(1, 11)), rel=1e-3)


def test_the_figures_take_the_ink_of_the_page():
    svg = svg_of(plot(maps(groups_of(grid()))[0]), "here")
    assert "var(--ink)" in svg and "#222222" not in svg.lower() and "here-" in svg
    assert svg.startswith("<svg") and "<metadata>" not in svg


@pytest.mark.slow
def test_a_thousand_runs_stay_below_five_megabytes():
    records = [trained(0.1 + k / 1e4, 0.1, seed) for k in range(100) for seed in range(10)]
    text = document(records, "many")
    assert len(text) < 5e6
    assert sum(detail["curve"] is not None for detail in Page(text).content["details"]) == 1_000


def test_the_command_writes_the_page_of_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    Store(tmp_path).save_all(grid())
    assert main(["report", str(tmp_path), "lr=0.1", "--title", "Ours"]) == 0
    assert "9 records" in capsys.readouterr().out
    assert len(Page((tmp_path / "report.html").read_bytes()).content["rows"]) == 9
    for words, said in (
        ([str(tmp_path), "lr=7"], "no records that agree with the filters"),
        ([str(tmp_path / "none")], "no store"),
        ([str(tmp_path), "--page", str(tmp_path / "x.pdf")], "expected a file that ends with .html"),
    ):
        assert main(["report", *words]) == 2
        assert said in capsys.readouterr().err
