"""Figures and tables say what the records say."""

import itertools
import json
import math
import os
import shutil
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from groktimizer.measures import paired_bootstrap
from groktimizer.peers import PEERS, resolve
from groktimizer.report import comparison, panels, public, style, tables, two_clocks
from groktimizer.results import Record
from groktimizer.studies.protocol import parse_method

RESULTS = Path(__file__).parents[1] / "docs" / "results"


def record(
    t1: int | None, t2: int | None, settled: int | None, switch: int | None = None, accuracy: bool = True
) -> Record:
    steps = np.arange(0, 1001, 10)
    history = {"step": steps, "norm_l2": 2.0 + steps * 0.0, "norm_l1": 4.0 - steps / 500}
    history["norm_nuclear"] = np.where(steps % 100 == 0, 8.0, np.nan)
    for part, time in (("train", t1), ("test", t2)):
        done = steps >= (math.inf if time is None else time)
        history[f"{part}_loss"] = np.where(done, 1e-3, 1.0)
        if accuracy:
            history[f"{part}_accuracy"] = np.where(done, 1.0, 0.01)
    times = {"memorised": t1, "generalised": t2, "settled": settled, "generalised_95": t2}
    times["delay"] = None if t1 is None or t2 is None else t2 - t1
    summary = {"times": times, "switch_step": switch, "status": "grokked" if settled else "not-generalised"}
    return Record({"task": {"name": "t"}, "optimizer": {"name": "o"}, "seed": 3, "steps": 1000}, history, summary, {})


def test_the_two_clock_frame_is_the_record():
    frame = two_clocks.frame(record(20, 400, 410, switch=15))
    assert frame.marks == {"phase 2 begins": 15, "memorised": 20, "generalised": 400, "settled": 410}
    assert (frame.title, frame.delay, frame.accuracy) == ("t, o, seed 3", 380, True)
    steps, values = frame.norms["norm_nuclear"]
    np.testing.assert_array_equal(steps, np.arange(0, 1001, 100))
    np.testing.assert_array_equal(values, np.ones(11))
    np.testing.assert_allclose(frame.norms["norm_l1"][1][-1], 0.5)


def test_norms_that_begin_near_zero_are_told_by_their_largest():
    run = record(20, 400, 410)
    grown = {**run.history, "norm_l2": np.linspace(1e-6, 3.0, 101)}
    frame = two_clocks.frame(replace(run, history=grown))
    assert frame.unit == "the largest"
    assert max(values.max() for _, values in frame.norms.values()) == 1.0
    assert two_clocks.frame(record(20, 400, 410)).unit == "at the start"
    told = two_clocks.plot(frame).axes[1].get_ylabel()
    assert "1 = the largest" in told


@pytest.mark.slow
@pytest.mark.parametrize("top", [1e200, 1e290, 1.7e308])
def test_values_that_no_scale_can_show_are_gaps(top: float, tmp_path):
    """A run that diverged to the end of float64 has a picture, and so has its comparison."""
    run = record(None, None, None, accuracy=False)
    huge = np.geomspace(1.0, top, 101)
    huge[50] = np.inf
    run = replace(run, history={**run.history} | dict.fromkeys(("train_loss", "test_loss", "norm_l2", "norm_l1"), huge))
    for figure in (
        two_clocks.plot(two_clocks.frame(run)),
        comparison.plot(comparison.frame({"s": {"a": [run]}}, "x")),
    ):
        assert style.save(figure, tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


CASES = [(20, 400, 410, 15, True), (None, None, None, 5, True), (20, 30, 40, 15, False)]
MORE = [(20, 400, 400, 20, True), (20, None, None, None, True), (0, 0, 0, 0, True), (990, 1000, 1000, 980, True)]


@pytest.mark.parametrize("case", [*CASES, *(pytest.param(case, marks=pytest.mark.slow) for case in MORE)])
def test_every_mark_has_its_own_readable_label(case, tmp_path):
    """Each step that is marked is labelled once, and no two labels overlap or leave the figure."""
    frame = two_clocks.frame(record(*case))
    figure = two_clocks.plot(frame)
    figure.draw_without_rendering()
    labels = [text for axes in figure.axes for text in axes.texts if isinstance(text, Annotation)]
    assert len(labels) == len(set(frame.marks.values()))
    boxes = [label.get_window_extent() for label in labels]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 for box in boxes)
    for word, step in frame.marks.items():
        assert any(word in label.get_text() and f"{step:,}" in label.get_text() for label in labels)
    assert style.save(figure, tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_the_comparison_is_ordered_by_settled_time_with_dnf_last():
    groups = {"s": {"never": [record(20, None, None)] * 3, "slow": [record(20, 400, 400)] * 3,
                    "half": [record(10, 90, 90), record(10, 90, None), record(10, 90, None)],
                    "fast": [record(50, 60, 60)] * 3}}  # fmt: skip
    frame = comparison.frame(groups, "title")
    assert [line.label for line in frame.panels["s"]] == ["fast", "slow", "half", "never"]
    assert frame.panels["s"][2].typical in {1, 2}
    figure = comparison.plot(frame)
    figure.draw_without_rendering()
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts.count("not settled in 1,000") == 2
    assert {"0/3", "1/3", "3/3"} <= set(texts)


def test_runs_that_failed_are_counted_and_said():
    """Two of three failed, one of two, and all of a setting: as many seeds as were run, not as gave a record."""
    groups = {"some": {"a": [None, record(20, 400, 400), None], "b": [record(20, None, None), None]},
              "none": {"a": [None, None, None]}}  # fmt: skip
    frame = comparison.frame(groups, "x")
    assert [(line.label, line.failed, line.settled) for line in frame.panels["some"]] == [
        ("a", 2, math.inf),
        ("b", 1, math.inf),
    ]
    assert [line.typical for line in frame.panels["some"]] == [1, 0] and frame.panels["none"][0].typical == -1
    figure = comparison.plot(frame)
    figure.draw_without_rendering()
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert {"1/3", "0/2", "0/3", "2 failed", "not settled in 1,000, 1 failed", "3 failed", "every run failed"} <= set(
        texts
    )


def test_no_arrow_crosses_the_names():
    """A method that got nowhere, and one that was there from step 0, beside others that came near the end."""
    groups = {"a": [record(900, 950, 960)], "nowhere": [record(None, None, None)], "at once": [record(0, None, None)]}
    axes = comparison.plot(comparison.frame({"s": groups}, "x")).axes[1]
    arrows = [text for text in axes.texts if isinstance(text, Annotation) and text.arrow_patch is not None]
    assert len(arrows) == 2
    assert all(arrow.xyann[0] >= axes.get_xlim()[0] for arrow in arrows)


def test_names_with_options_leave_room_for_the_curves_and_for_each_other():
    groups = {f"{name} (penalty=l1 weight_decay=1e-5)": [record(20, 400, 400)] for name in PEERS}
    figure = comparison.plot(comparison.frame({"s": groups}, "x"))
    figure.draw_without_rendering()
    curves, times = figure.axes
    boxes = [label.get_window_extent() for label in times.get_yticklabels()]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert curves.get_position().width > 0.27 and min(box.x0 for box in boxes) > curves.get_window_extent().x1


def test_losses_are_drawn_where_there_are_no_accuracies():
    figure = comparison.plot(comparison.frame({"s": {"a": [record(1, 2, 3, accuracy=False)]}}, "x"))
    assert figure.axes[0].get_yscale() == "log"


@pytest.mark.parametrize(
    ("median", "low", "high", "text"),
    [(120.0, 115, 130, "120 (115–130)"), (120.0, 120, 120, "120"), (120.0, 115, None, "120 (115–∞)"),
     (None, None, None, "> 3,000"), (None, 90, None, "> 3,000 (from 90)"), (1250.0, 1000, 2000, "1,250 (1,000–2,000)")],
)  # fmt: skip
def test_times_are_written_with_spread(median, low, high, text):
    assert tables.steps_text({"median": median, "low": low, "high": high}, 3000) == text


@pytest.mark.parametrize(
    ("verdict", "low", "high", "text"),
    [("faster", -60.0, -35.0, "faster (−60 … −35)"), ("level", -math.inf, 5.0, "level (−∞ … +5)"),
     ("slower", math.inf, math.inf, "slower (did not settle)"),
     ("faster", -math.inf, -math.inf, "faster (the reference did not settle)")],
)  # fmt: skip
def test_verdicts_are_written_with_their_interval(verdict, low, high, text):
    assert tables.verdict_text({"verdict": verdict, "low": low, "high": high}) == text


def test_a_verdict_is_written_with_the_p_value_of_its_test():
    slower = asdict(paired_bootstrap([9, 9, 9, 9, 9, 9], [1, 2, 3, 4, 5, 6]))
    assert tables.verdict_text(slower) == "slower, p = 0.031 (+4 … +8)"
    few = asdict(paired_bootstrap([9, 9, 9], [1, 2, 3]))
    assert tables.verdict_text(few) == "too few seeds (+6 … +8)"


@pytest.mark.parametrize("page", sorted(RESULTS.glob("compare-*.json")), ids=lambda page: page.stem)
def test_published_comparisons_are_still_read(page):
    """A verdict written before there was a test is made again from the times of its seeds."""
    content = json.loads(page.read_text())
    text = tables.comparison_page(content, f"{page.stem}.png", content["command"])
    for panel in content["panels"]:
        for row in panel["rows"]:
            verdict = tables.judged(row, panel)
            assert verdict is None or (verdict["verdict"] == "too few seeds") == (len(row["seeds"]) < 6)
            assert f"| {tables.verdict_text(verdict)} |" in text


@pytest.mark.parametrize("stop", ["\n\n", "\r", "\x0b", "\x0c", "\x85", "\u2028"])
def test_no_argument_puts_html_into_a_page(stop):
    """Whatever Markdown or a browser may take for the end of a line, a command stays one line, a cell one cell."""
    evil = f"x{stop}<script>alert(1)</script>{stop}| y"
    told = public.command(["groktimizer", "compare", "ridge", "--reference", evil])
    assert len(told.splitlines()) == 1
    row = tables.markdown(("a", evil), [[evil, "b"]])
    assert len(row.splitlines()) == 3 and "<" not in row and all(line.count(" | ") == 1 for line in row.splitlines())


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_command_of_a_page_is_the_same_command():
    words = ["a b", "it's", "p\n\tq'\\r", "\x01é\u2028z", "--settings=nu=1;nu=2", "$HOME", "\x7f"]
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {public.command(words)}"], capture_output=True, check=True,
                          env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]})  # fmt: skip
    assert done.stdout.decode().split("\0")[:-1] == words


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/ann/runs/x.pt is damaged", "x.pt is damaged"),
        ("cannot write '/tmp/a b/c'", "cannot write 'a b/c'"),
        ('File "/usr/lib/p.py", line 3', 'File "p.py", line 3'),
        (r"C:\Users\ann\x.pt: gone", "x.pt: gone"),
        (
            "1/2, a/b, docs/results/x.md, https://example.org/a/b",
            "1/2, a/b, docs/results/x.md, https://example.org/a/b",
        ),
    ],
)
def test_a_page_names_files_but_not_their_folders(text, left):
    assert public.without_places({"e": [text]}) == {"e": [left]}


@pytest.mark.parametrize(
    ("word", "left"),
    [("/home/ann/runs", "runs"), ("--out=/home/ann/runs", "--out=runs"), ("/", "."), ("docs/results", "docs/results"),
     (r"C:\Users\ann\runs", "runs"), ("train_fraction=0.3", "train_fraction=0.3")],
)  # fmt: skip
def test_the_command_of_a_page_names_no_folder_of_this_machine(word, left):
    assert public.command(["groktimizer", word]) == f"groktimizer {left}"


def test_markdown_keeps_its_columns():
    lines = tables.markdown(("a", "b"), [["x|y", "z"]]).splitlines()
    assert lines == ["| a | b |", "| --- | --- |", "| x\\|y | z |"]


# colours belong to methods, and what coincides is seen


def colours(figure: Figure, axes: int) -> dict[str, int]:
    """How many pixels of a panel have each colour."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box = figure.axes[axes].get_window_extent()
    pixels = np.asarray(canvas.buffer_rgba())[::-1][int(box.y0) : int(box.y1), int(box.x0) : int(box.x1), :3]
    found, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    return {f"#{r:02x}{g:02x}{b:02x}": int(count) for (r, g, b), count in zip(found, counts, strict=True)}


def test_a_method_has_one_colour_whatever_its_rank_and_its_company():
    fast, slow = [record(20, 60, 60)], [record(20, 400, 400)]
    shown: set[tuple[str, str]] = set()
    for groups in (
        {"groktimizer": fast, "adamw": slow},
        {"groktimizer": slow, "adamw": fast},
        {"muon": fast, "sgd": fast, "groktimizer": slow},
    ):
        axes = comparison.plot(comparison.frame({"s": groups}, "x")).axes[1]
        shown |= {(label.get_text(), str(label.get_color())) for label in axes.get_yticklabels()}
    assert len({name for name, _ in shown}) == len(shown) == 4
    assert dict(shown)["groktimizer"] == style.BLUE


def test_every_optimizer_has_a_look_of_its_own():
    looks = [style.look(name) for name in PEERS]
    assert style.METHODS.keys() == PEERS.keys()
    assert len({one.colour for one in looks}) == len({one.marker for one in looks}) == len(looks)
    assert not {one.marker for one in (*looks, *style.OTHERS)} & {marker for _, marker, _ in comparison.TIMES}
    tuned = {style.look(f"adamw{mark}") for mark in ("", *style.TUNED)}
    assert len({one.colour for one in tuned}) == 3 and len({one.marker for one in tuned}) == 1
    assert style.look("mine:make") == style.look("mine:make") in style.OTHERS


@pytest.mark.parametrize("name", [*PEERS, *(f"{name}-tuned" for name in PEERS if PEERS[name].tuned)])
def test_a_method_has_the_same_look_with_options(name):
    """Each option by itself, and all of them."""
    peer, _ = resolve(name)
    for options in ({}, *({key: value} for key, value in peer.defaults.items()), peer.defaults):
        assert style.look(parse_method(name, options).label) == style.look(name)
    if name in PEERS:
        assert style.look(f"{name} (tuned)").marker == style.look(name).marker


def test_curves_that_coincide_are_both_seen():
    """Four methods with the same curves; training and test data learned at once; two lines of a panel."""
    names = ("groktimizer", "adamw", "adam-l2", "muon")
    figure = comparison.plot(comparison.frame({"s": {name: [record(20, 400, 400)] for name in names}}, "x"))
    seen = colours(figure, 0)
    assert all(seen.get(style.look(name).colour.lower(), 0) > 50 for name in names)
    both = colours(two_clocks.plot(two_clocks.frame(record(20, 20, 20))), 0)
    assert min(both[colour.lower()] for colour in (style.BLUE, style.RED)) > 500
    x = np.array([1.0, 10.0, 100.0])
    lines = [{"label": name, "x": x, "y": x / 200, "style": "solid", "colour": k} for k, name in enumerate("abc")]
    panel = {"title": "", "x": "x", "y": "y", "y_log": False, "marks": True, "lines": lines}
    three = colours(panels.plot({"title": "", "sentence": "", "panels": [panel]}), 0)
    assert min(three[colour.lower()] for colour in (style.BLUE, style.RED, style.GREEN)) > 200


def test_a_curve_is_wide_only_where_another_lies_on_it():
    steps = np.arange(0.0, 100.0)
    low, high = np.minimum(steps, 50.0), np.full(100, 50.0)
    under, over = style.covers([(steps, low), (steps[::3], high[::3])])
    assert under[:48].tolist() == [0] * 48 and under[50:].tolist() == [1] * 50 and not over.any()
    assert style.covers([(steps, np.full(100, np.nan)), (steps, low)])[0].tolist() == [0] * 100
    assert style.covers([]) == []
