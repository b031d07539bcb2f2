"""The explorer of sparse recovery in a headless Chromium takes the steps that the package takes."""

import json
import random
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browser_pages import browser, pages, shown, typed
from chromium import Browser
from groktimizer.cli import main
from groktimizer.cli.explore_sparse import CAP, NONZEROS, SAMPLES, UNKNOWNS
from groktimizer.tasks import SparseTask
from groktimizer.theory.clock.rounding import rounded
from groktimizer.theory.lasso import Lasso
from groktimizer.theory.lasso.solvers import solve
from predictions import told

__all__ = ["browser", "pages"]  # fixtures
pytestmark = pytest.mark.slow
STEPS = [0, 1, 2, 3, 5, 9, 20, 50, 100, 200, 500, 1000, 2000]
RELATIVE, ROUNDING = 1e-9, 1e-12  # of errors, relative and beside what is left of them
EARLY = 100  # steps in which the accelerated method has not yet multiplied rounding; after them, times within LATE
LATE = 0.05


@pytest.fixture
def sparse(browser: Browser, pages: Path) -> Browser:
    browser.open(pages / "explore-sparse.html")
    return browser


@dataclass(frozen=True)
class Setting:
    """One position of the sliders."""

    n: int
    N: int
    s: int
    scale: float
    lr: float
    weight: float
    epsilon: float = 1e-2
    c: float = 1e-1

    def problem(self) -> tuple[Lasso, np.ndarray, np.ndarray]:
        """The package's, with a(0) and a*."""
        data = SparseTask(n=self.n, s=self.s, N=self.N, init_scale=self.scale).draw(0)
        return data.problem(), data.factors[0].numpy(), data.teacher.numpy()


def settings(count: int) -> list[Setting]:
    """Random positions that are accepted; the run of each rests within some thousand steps."""
    rng, found = random.Random(0), list[Setting]()
    for _ in range(count):
        n, samples, s, scale = rng.choice(UNKNOWNS), rng.choice(SAMPLES), rng.choice(NONZEROS), 10 ** rng.uniform(-6, 0)
        problem, *_ = Setting(n, samples, s, scale, 0.1, 0.1).problem()
        lr, weight = rng.uniform(0.3, 1) / problem.sharpness, 10 ** rng.uniform(-3, -0.3) * problem.max_weight
        found.append(Setting(n, samples, s, scale, lr, weight))
    return found


@pytest.mark.parametrize("setting", settings(50), ids=lambda s: f"{s.n}-{s.N}-{s.s}-{s.weight:.2g}")
def test_steps_and_times_are_those_of_the_package(setting: Setting, sparse: Browser):
    problem, start, teacher = setting.problem()
    code = f"(() => {{ const {{runs}} = Explorer.begin({json.dumps(vars(setting))}, {STEPS}); "
    code += "runs.forEach((run) => Sparse.take(run, 400000)); "
    code += "return runs.map((run) => [run.kept, run.times, run.step, run.resting]) })()"
    (kept, times, last, resting), (fast, quick, _, _) = sparse.run(code)
    path = problem.trajectory(start, setting.lr, setting.weight)
    for ours, theirs in zip(kept, (path.train_error(STEPS), path.error(STEPS, teacher)), strict=True):
        np.testing.assert_allclose(ours, theirs[: len(ours)], rtol=RELATIVE, atol=ROUNDING)
    exact = problem.grokking_time(start, setting.lr, setting.weight, setting.epsilon, setting.c, teacher)
    assert resting
    assert max(step or 0 for step in times.values()) <= last
    assert times == {name: getattr(exact, name) for name in times}
    given = (problem.features, problem.targets, start, setting.lr, setting.weight)
    tolerances = {"train_tolerance": setting.epsilon, "test_tolerance": setting.c}
    runs = solve(*given, [*STEPS, 100_000], teacher, method="accelerated", **tolerances)
    early = sum(step <= EARLY for step in STEPS)
    for ours, theirs in zip(fast, (runs.train_error, runs.recovery_error), strict=True):
        np.testing.assert_allclose(ours[:early], theirs[: len(ours[:early])], rtol=1e-6, atol=1e-9)
    for name, step in quick.items():
        exact_step = int(getattr(runs, name))
        assert (-1 if step is None else step) == pytest.approx(exact_step, rel=LATE, abs=2), name


def settled(browser: Browser) -> None:
    """Wait until the page has done its steps."""
    look = "document.body.dataset.busy === 'false' ? done() : setTimeout(look, 50)"
    code = f"new Promise((done) => {{ const look = () => {{ {look} }}; look() }})"
    browser.run(code)


def rows(content: dict[str, Any], method: str) -> list[str]:
    """What the table should say of a method."""
    found = content["methods"][method]
    times = (found[key] for key in ("memorised", "generalised", "settled", "delay"))
    return ["never" if step is None else f"{step:,}" for step in times]


def test_the_copied_command_gives_the_numbers_of_the_page(sparse: Browser, tmp_path: Path):
    changes = {"unknowns n": "50", "samples N": "30", "non-zero ones s": "3", "initial scale ζ": "0.5"}
    changes |= {"weight β of the ℓ1 norm": "0.002", "memorised: train error ≤": "0.01"}
    for label, value in changes.items():
        typed(sparse, label, value)
    settled(sparse)
    words = shlex.split(sparse.run("document.getElementById('command').textContent"))
    content = told(words[1:], tmp_path)
    assert shown(sparse)[0][1:] == rows(content, "proximal (ISTA)")
    laws = sparse.run("document.getElementById('laws').textContent")
    assert f"t2 − t1 ~ {rounded(content['laws']['proximal (ISTA)']['value'])} steps" in laws
    assert f"stays at {rounded(content['laws']['l2 alone']['value'], '>=')} or more" in laws


def test_a_predicted_problem_is_taken_with_its_settings(browser: Browser, tmp_path: Path):
    rng = np.random.default_rng(0)
    features, teacher = rng.normal(size=(20, 40)) / 20**0.5, np.zeros(40)
    teacher[:2] = [1.0, -2.0]
    np.save(tmp_path / "X.npy", features)
    np.save(tmp_path / "a.npy", teacher)
    words = ["predict", "sparse", "--features-file", str(tmp_path / "X.npy"), "--teacher", str(tmp_path / "a.npy")]
    content = told([*words, "--weight", "0.001", "--lr", "0.08", "--tolerance", "0.01"], tmp_path)
    assert main(["explore", "sparse", "--from", str(tmp_path / "x.json"), "--out", str(tmp_path)]) == 0
    browser.open(tmp_path / "explore-sparse.html")
    settled(browser)
    assert shown(browser)[0][1:] == rows(content, "proximal (ISTA)")
    again = shlex.split(browser.run("document.getElementById('command').textContent"))
    assert told(again[1:], tmp_path)["identity"] == content["identity"]


@pytest.mark.parametrize(
    ("label", "value", "named"),
    [
        ("step size α (lr)", "2", "α = 2 may diverge with momentum: accepted are values up to"),
        ("weight β of the ℓ1 norm", "90", "β = 90: the answer is 0 from"),
    ],
)
def test_a_setting_that_predict_refuses_is_refused(label: str, value: str, named: str, sparse: Browser):
    typed(sparse, label, value)
    assert sparse.run("document.getElementById('lines').textContent").startswith(named)
    assert sparse.errors == []


def test_a_run_ends_at_the_cap_if_it_does_not_rest(sparse: Browser):
    """One that is set a hundred steps before it."""
    code = "(() => { const f = Explorer.begin({...Explorer.setting(), weight: 1e-5}); "
    code += f"Explorer.work(f.runs.map((run) => Object.assign(run, {{step: {CAP} - 100}})), Infinity); "
    code += "return f.runs.map((run) => [run.step, run.resting]) })()"
    assert sparse.run(code)[0] == [CAP, False]
