"""The explorer in a headless Chromium: its arithmetic is the package's, and it serves keyboards and screen readers."""

import json
import math
import random
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browser_pages import browser, pages, serious, shown, typed
from chromium import Browser
from groktimizer.cli import main
from groktimizer.cli.explore_ridge import FEATURES, SAMPLES
from groktimizer.ground.errors import UserError
from groktimizer.tasks import RidgeTask
from groktimizer.theory.clock.forecast import grid
from groktimizer.theory.ridge import GrokkingTime, Ridge, Trajectory, recommend
from predictions import told
from test_explore import own_files

__all__ = ["browser", "pages"]  # fixtures
pytestmark = pytest.mark.slow
RELATIVE = 1e-9
TIMES = ("memorised", "memorised_settled", "generalised", "settled")
METHODS = ("gradient descent", "heavy ball", "CDM")


@pytest.fixture
def ridge(browser: Browser, pages: Path) -> Browser:
    browser.open(pages / "explore-ridge.html")
    return browser


@dataclass(frozen=True)
class Setting:
    """One position of the sliders."""

    n: int
    m: int
    nu: float
    lr: float
    decay: float
    momentum: float
    change: int | None
    epsilon: float
    c: float

    def text(self) -> str:
        """As the page's functions take it."""
        change = "Infinity" if self.change is None else str(self.change)
        return json.dumps({**vars(self), "change": "X"}).replace('"X"', change)

    def problem(self) -> tuple[Ridge, np.ndarray]:
        features, teacher, theta = (part.numpy() for part in RidgeTask(n=self.n, m=self.m, nu=self.nu).draw(0))
        return Ridge(features, teacher, covariance=1 / self.m), theta

    def runs(self) -> list[tuple[Trajectory, GrokkingTime]]:
        """The package's three methods; never switched, all are descent without decay."""
        problem, theta = self.problem()
        found: list[tuple[Trajectory, GrokkingTime]] = []
        for momentum in (0.0, self.momentum, "critical"):
            given = (self.lr, 0.0, 0.0, None) if self.change is None else (self.lr, self.decay, momentum, self.change)
            lr, decay, mu, switch = given
            times = problem.grokking_time(theta, lr, decay, self.epsilon, self.c, mu, switch)
            found.append((problem.trajectory(theta, lr, decay, mu, switch), times))
        return found


def settings(count: int, seed: int = 0) -> list[Setting]:
    """Random positions with which gradient descent does not diverge."""
    rng, found = random.Random(seed), list[Setting]()
    while len(found) < count:
        n, m, decay = rng.choice(SAMPLES), rng.choice(FEATURES), 10 ** rng.uniform(-7, -1)
        problem, _ = Setting(n, m, 1.0, 1.0, decay, 0.9, 0, 0.01, 0.01).problem()
        lr = min(10 ** rng.uniform(-2, 2), 10 ** rng.uniform(-0.7, -0.01) * 2 / (problem.sharpness + decay))
        epsilon, change = 10 ** rng.uniform(-4, -1), rng.choice([0, 0, 0, 1, 20, 1000, 100_000, None])
        c, mu = rng.choice([epsilon, 10 ** rng.uniform(-4, -1)]), rng.choice([0.0, 0.9, rng.uniform(0, 0.999)])
        found.append(Setting(n, m, 10 ** rng.uniform(-1, 1), lr, decay, mu, change, epsilon, c))
    return found


def same_time(ours: int | None, theirs: int | None, curve: Any, level: float) -> bool:
    """Equal, or two steps between which the loss is the level to the tolerance of this test."""
    if ours is None or theirs is None or ours == theirs:
        return ours == theirs
    return bool((np.abs(curve([ours, theirs]) / level - 1) <= RELATIVE).all())


@pytest.mark.parametrize("setting", settings(50), ids=lambda s: f"{s.n}-{s.m}-{s.lr:.2g}-{s.decay:.2g}-{s.change}")
def test_curves_and_times_are_those_of_the_package(setting: Setting, ridge: Browser):
    for k, (path, times) in enumerate(setting.runs()):
        ends = [step for step in (times.settled, times.memorised_settled) if step is not None]
        steps = grid(min(max(3 * max(ends, default=0), 10_000), 2**53), 150)
        code = f"(() => {{ const f = Explorer.forecast({setting.text()}).methods[{k}]; "
        code += f"const curves = Ridge.curves(f.run, {steps.tolist()}); "
        code += "return [f.times, curves, [f.run.train, f.run.population].map(Ridge.ends)] })()"
        found, curves, floors = ridge.run(code)
        assert floors == pytest.approx([times.floors.train, times.floors.population], rel=RELATIVE)
        for ours, theirs in zip(curves, (path.train_loss, path.population_loss), strict=True):
            np.testing.assert_allclose(ours, theirs(steps), rtol=RELATIVE, atol=0, err_msg=METHODS[k])
        assert found["resolved"]
        for name in TIMES:
            curve, level = (path.train_loss, setting.epsilon) if "memor" in name else (path.population_loss, setting.c)
            assert same_time(found[name], getattr(times, name), curve, level), (METHODS[k], name)
    assert ridge.errors == []


@pytest.mark.parametrize("setting", settings(12, seed=1), ids=lambda s: f"{s.n}-{s.m}-{s.lr:.2g}-{s.decay:.2g}")
def test_bounds_and_their_conditions_are_those_of_the_package(setting: Setting, ridge: Browser):
    problem, theta = setting.problem()
    given = (theta, setting.lr, setting.decay, setting.epsilon, setting.c)
    found = ridge.run(
        f"Explorer.bounds({setting.text()}).map((b) => ({{...b, value: String(b.value), told: Bounds.number(b)}}))"
    )
    theirs = problem.bounds(*given, init_variance=setting.nu**2)
    assert len(found) == len(theirs) == 7
    for ours, bound in zip(found, theirs, strict=True):
        assert (ours["theorem"], ours["quantity"]) == (bound.theorem, bound.quantity)
        assert float(ours["value"].replace("Infinity", "inf")) == pytest.approx(bound.value, rel=RELATIVE, nan_ok=True)
        assert ours["guaranteed"] == bound.guaranteed
        assert ours["standing"] == bound.standing
        if math.isfinite(bound.value):
            assert ours["told"] == bound.rounded


@pytest.mark.parametrize(
    "setting", [s for s in settings(40, seed=2) if s.change == 0][:8], ids=lambda s: f"{s.n}-{s.m}"
)
def test_the_advised_decay_is_that_of_the_package(setting: Setting, ridge: Browser):
    problem, theta = setting.problem()
    code = f"(() => {{ const s = {setting.text()}; return Explorer.recommendation(s, Explorer.forecast(s)) }})()"
    found, critical = ridge.run(code), setting.runs()[2][1]
    if critical.settled is None or critical.memorised is None:
        assert found is None
        return
    wish = max(critical.settled - critical.memorised, 0)
    try:
        advice = recommend(problem, theta, setting.epsilon, setting.c, max_delay=wish, lr=setting.lr)
    except UserError:
        assert found is None
        return
    assert found["decay"] == pytest.approx(advice.weight_decay, rel=RELATIVE)
    assert (found["settled"], found["memorised"]) == (advice.times.settled, advice.times.memorised)


def rows_of(methods: dict[str, dict[str, Any]]) -> list[list[str]]:
    """What the table should say of a prediction."""
    keys = ("memorised", "generalised", "settled", "delay")
    told = [[method[key] for key in keys] for method in methods.values()]
    return [["never" if step is None else f"{step:,}" for step in row] for row in told]


def test_the_copied_command_gives_the_numbers_of_the_page(ridge: Browser, tmp_path: Path):
    changes = {"step size η (lr)": "2.5", "weight decay λ": "0.003", "samples n": "20", "features m": "200"}
    changes |= {"initial scale ν": "0.7", "momentum μ of the heavy ball": "0.95"}
    changes |= {"switch: decay and momentum from step": "30", "generalised: population loss ≤": "0.005"}
    for label, value in changes.items():
        typed(ridge, label, value)
    words = shlex.split(ridge.run("document.getElementById('command').textContent"))
    assert words[:3] == ["groktimizer", "predict", "ridge"]
    assert {"--switch", "--nu", "--test-tolerance"} <= set(words)
    content = told(words[1:], tmp_path)
    assert [row[1:] for row in shown(ridge)] == rows_of(content["methods"])
    advised = content["recommendation"]["weight_decay"]
    assert f"λ = {advised:.6g} or more" in ridge.run("document.getElementById('recommended').textContent")


@pytest.mark.parametrize("extra", [[], ["--nu", "2", "--switch", "9"]], ids=["plain", "more"])
def test_a_problem_with_labels_is_that_of_predict(extra: list[str], browser: Browser, tmp_path: Path):
    """Its population mixes the modes."""
    words = ["predict", "ridge", *own_files(tmp_path), "--lr", "0.2", "--weight-decay", "0.002", *extra]
    content = told([*words, "--tolerance", "0.02", "--test-tolerance", "0.9"], tmp_path)
    assert main(["explore", "ridge", "--from", str(tmp_path / "x.json"), "--out", str(tmp_path)]) == 0
    browser.open(tmp_path / "explore-ridge.html")
    assert [row[1:] for row in shown(browser)] == rows_of(content["methods"])
    again = shlex.split(browser.run("document.getElementById('command').textContent"))
    repeated = told(again[1:], tmp_path)
    assert repeated["identity"] == content["identity"]
    steps = content["steps"][1:]
    code = f"Explorer.forecast(Explorer.setting()).methods.map((one) => Ridge.curves(one.run, {steps}))"
    for curves, method in zip(browser.run(code), content["methods"].values(), strict=True):
        np.testing.assert_allclose(curves[0], method["train_loss"][1:], rtol=RELATIVE)
        np.testing.assert_allclose(curves[1], method["population_loss"][1:], rtol=RELATIVE)


@pytest.mark.parametrize("kind", ["ridge", "sparse"])
def test_the_page_makes_no_request_and_no_error(kind: str, browser: Browser, pages: Path):
    file = pages / f"explore-{kind}.html"
    browser.open(file)
    browser.run("new Promise((done) => setTimeout(done, 1000))")
    assert browser.requests == [file.resolve().as_uri()]
    assert browser.errors == []


def test_a_slider_moves_by_keyboard_and_the_times_are_told(ridge: Browser):
    before, said = shown(ridge), ridge.run("document.getElementById('said').textContent")
    ridge.run("document.getElementById('control-decay').focus()")
    for _ in range(40):
        ridge.press("ArrowRight", 39)
    ridge.run("new Promise((done) => setTimeout(done, 900))")
    assert shown(ridge) != before
    assert ridge.run("document.getElementById('said').textContent") not in ("", said)
    assert float(ridge.run("document.querySelector('[aria-label=\"weight decay λ, typed\"]').value")) > 1e-4


@pytest.mark.parametrize("kind", ["ridge", "sparse"])
def test_many_moves_leave_the_page_whole(kind: str, browser: Browser, pages: Path):
    """Every slider to both ends and between, the next before the page has rested: no error, and the last one counts."""
    browser.open(pages / f"explore-{kind}.html")
    code = "(async () => { const all = document.querySelectorAll('[type=range]'); "
    code += "for (const part of [0, 1, 0.3, 0.6]) for (const range of all) { "
    code += "range.value = Math.round(part * range.max); range.dispatchEvent(new Event('input')); "
    code += "await new Promise((done) => requestAnimationFrame(done)) } })()"
    browser.run(code)
    browser.run("new Promise((done) => setTimeout(done, 1500))")
    assert browser.errors == []
    assert all(all(cell for cell in row) for row in shown(browser))
    command = browser.run("document.getElementById('command').textContent")
    assert f"--lr {browser.run('Explorer.setting().lr')}" in command
    if kind == "ridge":
        times = browser.run("Explorer.forecast(Explorer.setting()).methods.map((one) => Text.step(one.times.settled))")
        assert [row[3] for row in shown(browser)] == times


def test_every_control_is_reached_by_tab_and_has_a_name(ridge: Browser):
    ridge.run("document.activeElement?.blur()")
    reached = set[str]()
    for _ in range(40):
        ridge.press("Tab", 9)
        reached.add(
            ridge.run("document.activeElement.id || document.activeElement.ariaLabel || document.activeElement.tagName")
        )
    assert {"theme", "control-lr", "control-decay", "control-n", "control-m", "control-nu"} <= reached
    assert {"control-momentum", "control-change", "copy", "weight decay λ, typed", "SUMMARY"} <= reached


@pytest.mark.parametrize(
    ("label", "value", "named"),
    [
        ("weight decay λ", "-1", "-1: accepted is a number from 1e-15 to 1e15"),
        ("samples n", "7", "7: accepted is one of 10, 20"),
        ("momentum μ of the heavy ball", "1", "1: accepted is a number from 0 to below 1"),
        ("switch: decay and momentum from step", "soon", "soon: accepted is a whole number, at once or never"),
        ("step size η (lr)", "<b>", "<b>: accepted is a number from 1e-15 to 1e15"),
    ],
)
def test_what_is_typed_wrongly_is_refused_and_changes_nothing(label: str, value: str, named: str, ridge: Browser):
    before = shown(ridge)
    typed(ridge, label, value)
    told = ridge.run("[...document.querySelectorAll('.wrong')].map((p) => p.textContent).join('')")
    assert told.startswith(named)
    assert shown(ridge) == before


def test_a_step_size_that_diverges_is_said_and_the_rest_goes_on(ridge: Browser):
    typed(ridge, "step size η (lr)", "150")
    table = shown(ridge)
    problem, _ = Setting(100, 1000, 1.0, 1.0, 1e-4, 0.9, 0, 0.01, 0.01).problem()
    assert table[0][1] == f"diverges from η = {2 / (problem.sharpness + 1e-4):.4g} on"
    assert table[2][1].isdecimal()
    assert ridge.errors == []


def test_the_switch_that_never_comes_has_no_command(ridge: Browser):
    typed(ridge, "switch: decay and momentum from step", "never")
    assert ridge.run("document.getElementById('copy').disabled")
    assert [row[3] for row in shown(ridge)] == ["never"] * 3


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("kind", ["ridge", "sparse"])
def test_axe_finds_nothing_serious(kind: str, width: int, theme: str, browser: Browser, pages: Path):
    browser.window(width, 900, theme)
    browser.open(pages / f"explore-{kind}.html")
    assert browser.run("document.documentElement.dataset.theme") == theme
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    browser.run("new Promise((done) => setTimeout(done, 900))")
    found = serious(browser)
    browser.window(1280, 1000)
    assert found == []


def test_colours_change_by_the_button(ridge: Browser):
    paper = "getComputedStyle(document.body).backgroundColor"
    before = ridge.run(paper)
    ridge.run("document.getElementById('theme').click()")
    assert ridge.run(paper) != before
    assert ridge.run("document.getElementById('theme').textContent") == "Light colours"
