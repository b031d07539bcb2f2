"""The small-data benchmark: its divisions, its methods against closed forms, its statistics, its command."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score

from groktimizer import benches
from groktimizer.benches import classical, methods, networks, small_data, standings
from groktimizer.benches.methods import METHODS, Answer, Task, score
from groktimizer.benches.sets import SETS, DataSet, folds, own_set
from groktimizer.cli import main
from groktimizer.ground.errors import UserError
from groktimizer.measures import corrected_interval
from groktimizer.report import small_data as page
from groktimizer.results import Store


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Twelve different rows of two classes, four of them twice."""
    draw = np.random.default_rng(3)
    rows = draw.normal(size=(12, 3))
    kind = np.arange(12) % 2
    rows[:, 0] += 4.0 * kind
    twice = [*range(12), 0, 3, 6, 9]
    path = tmp_path / "own.npz"
    np.savez(path, x=rows[twice], y=kind[twice])
    return path


def test_rows_that_are_equal_stay_together_and_divisions_differ(table: Path):
    data = own_set(table, "y", 6)
    rows = data.rows()
    seen = set()
    for number in range(data.splits):
        train, test = data.split(number)
        assert sorted([*train, *test]) == list(range(16))
        assert not {tuple(row) for row in rows.inputs[train]} & {tuple(row) for row in rows.inputs[test]}
        assert len(np.unique(rows.groups[train])) == 6
        assert rows.different == 12
        assert np.unique(rows.targets[train], return_counts=True)[1].min() >= 3
        np.testing.assert_array_equal(train, data.split(number)[0])
        seen.add(tuple(train))
    assert len(seen) > 10


@pytest.mark.parametrize(
    "n_train, said", [(5, "n_train=5: expected a whole number ≥ 6"), (11, "n_train=11: expected 2 … 10 of the 12")]
)
def test_a_table_with_too_few_rows_is_refused(table: Path, n_train: int, said: str):
    with pytest.raises(UserError, match=said):
        own_set(table, "y", n_train)


def test_a_table_with_one_row_of_a_class_is_refused(tmp_path: Path):
    path = tmp_path / "lone.csv"
    path.write_text("x,kind\n" + "".join(f"{k},{'a' if k else 'b'}\n" for k in range(14)))
    with pytest.raises(UserError, match=r"has 2 class\(es\), 1 different row\(s\) of the rarest: expected two classes"):
        own_set(path, "kind")


@pytest.mark.parametrize(
    "rows, said",
    [
        ([(k, f"{k}") for k in range(40)], "has 40 .* words and whole numbers are classes, numbers .* such as 3.0"),
        ([(k, 1.5) for k in range(40)], "the target is 1.5 in every row: expected numbers that differ"),
        ([(k, 0.5 + k) for k in range(3)], "3 different rows, expected at least 12"),
    ],
)
def test_a_table_without_anything_to_predict_is_refused(rows: list[tuple[object, object]], said: str, tmp_path: Path):
    path = tmp_path / "own.csv"
    path.write_text("x,y\n" + "".join(f"{x},{y}\n" for x, y in rows))
    with pytest.raises(UserError, match=said):
        own_set(path, "y")


@pytest.mark.slow
def test_a_class_of_two_rows_is_no_obstacle_and_what_is_recorded_is_read_again(tmp_path: Path):
    """One row of it is trained on: some cells on inner folds cannot be fitted, and warnings are errors here."""
    draw = np.random.default_rng(9)
    kind = (np.arange(24) < 2).astype(int)
    path = tmp_path / "rare.npz"
    np.savez(path, x=draw.normal(size=(24, 3)) + kind[:, None], y=kind)
    words = ["bench", "small-data", "--data", str(path), "--target", "y", "--n-train", "8", "--splits", "2",
             "--methods", "linear-l2,linear-l1,pls,svm-rbf,grok-l2", "--workers", "1", "--out"]  # fmt: skip
    assert main([*words, str(tmp_path / "out"), "--json", str(tmp_path / "a.json")]) == 0
    assert main([*words, str(tmp_path / "out"), "--json", str(tmp_path / "b.json")]) == 0
    once, again = (json.loads((tmp_path / f"{name}.json").read_text()) for name in "ab")
    assert once["means"] == again["means"] and once["means"]["classical-cv"]


def test_the_width_of_the_kernel_is_searched_in_units_of_the_columns():
    search = classical.search("svm-rbf", np.arange(60) % 2, 40, folds(np.arange(60) % 2, 0), 0)
    assert search.param_grid["svc__gamma"] == [1 / 40, 0.3 / 40, 0.1 / 40, 0.03 / 40, 0.01 / 40]


def test_a_set_that_is_named_twice_counts_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["bench", "small-data", "--sets", "breast-cancer,breast-cancer", "--methods", "linear-l2,pls,linear-l2"]
    assert main([*words, "--splits", "2", "--workers", "1", "--out", str(tmp_path)]) == 0
    assert "4 of 4: breast-cancer, split 1" in "".join(capsys.readouterr())


def test_the_sets_are_the_eleven_and_larger_than_their_training_part():
    assert len(SETS) == 11
    for each in (SETS["digits"], SETS["breast-cancer"], SETS["diabetes"]):
        train, test = each.split(0)
        assert len(train) == each.n_train < len(test)


def test_scores_are_scikit_learns():
    draw = np.random.default_rng(1)
    truth, said = draw.integers(3, size=50), draw.integers(3, size=50)
    assert score(truth, said) == pytest.approx(balanced_accuracy_score(truth, said), rel=1e-12)
    numbers = draw.normal(size=50)
    assert score(numbers, np.full(50, numbers.mean())) == pytest.approx(0.0, abs=1e-12)


def test_the_corrected_interval_without_overlap_is_students():
    differences = np.random.default_rng(2).normal(0.3, 1.0, 20)
    known = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    assert corrected_interval(differences, 0.0) == pytest.approx((known.low, known.high), rel=1e-12)
    low, high = corrected_interval(differences, 0.25)  # 1/20 + 1/4 is six times 1/20
    assert (high - low) / (known.high - known.low) == pytest.approx(math.sqrt(6), rel=1e-12)
    assert all(math.isnan(end) for end in corrected_interval([1.0], 0.0))


def test_the_classical_method_of_a_division_is_that_of_its_inner_folds_not_of_its_test_part():
    families = {"a": "classical", "b": "classical", "c": "network"}
    scores = {"a": {"x": [0.1, 0.9]}, "b": {"x": [0.8, 0.2]}, "c": {"x": [1.0, 1.0]}}
    inner: standings.Scores = {"a": {"x": [0.7, 0.6]}, "b": {"x": [0.6, 0.7]}, "c": {"x": [None, None]}}
    assert standings.chosen_classical(scores, inner, families) == {"x": [0.1, 0.2]}
    assert standings.chosen_classical({"c": scores["c"]}, inner, families) == {}
    inner["a"]["x"] = [None, math.nan]  # could not be fitted there
    assert standings.chosen_classical(scores, inner, families) == {"x": [0.8, 0.2]}


def test_verdicts_find_a_planted_difference_and_call_equals_level():
    draw = np.random.default_rng(4)
    base = draw.normal(0.8, 0.05, 20)
    scores = {
        "adamw-cv": {"x": list(base), "y": list(base)},
        "grok-auto": {"x": list(base + 0.1 + draw.normal(0, 0.01, 20)), "y": list(base + draw.normal(0, 0.01, 20))},
    }
    sizes = {which: {"n": 20, "m": 10} for which in "xy"}
    told = standings.verdicts(scores, scores, sizes, {"adamw-cv": "network", "grok-auto": "ours"})
    (pair,) = told["pairs"]
    assert pair["counts"]["corrected"] == {"better": 1, "level": 1, "worse": 0}
    assert pair["sets"]["x"]["corrected"]["verdict"] == "better"
    assert told["ranks"]["grok-auto"] <= 1.5
    few = {name: {which: values[:5] for which, values in each.items()} for name, each in scores.items()}
    (pair,) = standings.verdicts(few, few, sizes, {"adamw-cv": "network", "grok-auto": "ours"})["pairs"]
    assert pair["counts"]["here"] == {"better": 0, "level": 0, "worse": 0, "too few divisions": 2}


def test_every_minimum_of_the_ridge_path_is_stationary_and_the_norm_falls():
    draw = np.random.default_rng(5)
    inputs = draw.normal(size=(12, 30))
    targets = inputs[:, 0] + 0.1 * draw.normal(size=12)
    path = networks.ridge_path(inputs, targets, 0, 0)
    spread = [np.std(predict(inputs)) for predict in path.values()]
    assert list(path) == list(networks.WEIGHTS)
    assert spread == sorted(spread, reverse=True)
    assert spread[0] == pytest.approx(targets.std(), rel=0.01)  # the smallest weight interpolates
    assert spread[-1] < 0.9 * spread[0]


def test_adam_interpolates_and_decay_shrinks_what_it_says():
    draw = np.random.default_rng(6)
    inputs, targets = draw.normal(size=(16, 8)), np.arange(16) % 2
    network = networks.adam(inputs, targets, 2, 0, lr=1e-3, interpolate=True)
    np.testing.assert_array_equal(network(inputs), targets)
    numbers = draw.normal(5.0, 2.0, 16)
    free, decayed = (networks.adam(inputs, numbers, 0, 0, lr=1e-2, weight_decay=decay) for decay in (0.0, 30.0))
    assert np.std(decayed(inputs)) < 0.2 * np.std(free(inputs))
    assert np.mean(decayed(inputs)) == pytest.approx(numbers.mean(), abs=0.5)


def test_of_equal_points_the_last_is_chosen():
    inputs, targets = np.zeros((6, 1)), np.array([0, 0, 0, 1, 1, 1])

    def path(*_: np.ndarray) -> dict[float, networks.Predictor]:
        return {weight: lambda rows, k=kind: np.full(len(rows), k) for weight, kind in ((1.0, 0), (2.0, 0), (3.0, 9))}

    assert networks.choose(path, inputs, targets, folds(targets, 0), score)[0] == 2.0


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "forest")) for name in classical.ABOUT]
)
def test_classical_methods_learn_what_is_linear(name: str):
    draw = np.random.default_rng(7)
    inputs = draw.normal(size=(60, 3))
    slope = np.array([2.0, 1.0, 0.0])
    for targets in (inputs @ slope, (inputs @ slope > 0).astype(np.int64)):
        task = Task(inputs[:40], targets[:40], inputs[40:], 0)
        answer = METHODS[name].fit(task)
        assert score(targets[40:], answer.predicted) > 0.5
        assert answer.inner is not None and answer.fits >= 4


def counting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put a method that only counts in the place of one."""
    called: list[str] = []

    def fit(task: Task) -> Answer:
        called.append("fit")
        return Answer(np.zeros(len(task.others), int), 1)

    table = MappingProxyType({**METHODS, "adam": replace(METHODS["adam"], fit=fit)})
    monkeypatch.setattr(small_data, "METHODS", table)
    monkeypatch.setattr(methods, "METHODS", table)
    return called


def test_what_is_recorded_is_not_done_again(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    called = counting(monkeypatch)
    units = benches.units_of([own_set(table, "y", 6)], ["adam"], 3)
    store = Store(tmp_path / "store")
    first = benches.bench(units[:2], store, workers=1)
    assert len(called) == 2
    whole = benches.bench(units, store, workers=1)
    assert len(called) == 3
    assert whole["scores"]["adam"]["own"][:2] == first["scores"]["adam"]["own"] == [0.5, 0.5]
    assert benches.forecast(units, store, 1, lambda _: None) == (0, 0.0)
    benches.bench(units, store, workers=1, fresh=True)
    assert len(called) == 6


@pytest.mark.parametrize("chosen", ["linear-l2", "linear-l2,adam"])
def test_methods_that_nothing_is_compared_with_are_drawn_by_their_scores(table: Path, tmp_path: Path, chosen: str):
    words = ["--data", str(table), "--target", "y", "--n-train", "6", "--splits", "2", "--methods", chosen]
    assert main(["bench", "small-data", *words, "--workers", "1", "--out", str(tmp_path)]) == 0
    (record,) = [Store(tmp_path).load(name) for name in Store(tmp_path).identities()
                 if Store(tmp_path).load(name).kind == "comparison"]  # fmt: skip
    frame = record.summary["frame"]
    axes = page.plot(frame).axes
    assert [len(one.lines) for one in axes] == [chosen.count(",") + 1]
    assert [float(np.asarray(line.get_xdata())[0]) for line in axes[0].lines] == [
        100 * frame["means"][name]["own"] for name in chosen.split(",")
    ]


def test_units_go_division_by_division():
    sets = [DataSet("a", 6, 2), DataSet("b", 6, 1)]
    units = benches.units_of(sets, ["adam", "forest"])
    assert [f"{unit.number} {unit.set.name} {unit.method}" for unit in units] == [
        "0 a adam", "0 a forest", "0 b adam", "0 b forest", "1 a adam", "1 a forest",
    ]  # fmt: skip
    assert len({unit.identity for unit in units}) == 6


def test_the_command_compares_on_a_table_of_ones_own(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["bench", "small-data", "--data", str(table), "--target", "y", "--n-train", "6", "--splits", "3",
             "--methods", "linear-l2,adam,grok-l2", "--workers", "1", "--out", str(tmp_path)]  # fmt: skip
    assert main([*words, "--dry-run"]) == 0
    assert "6 of 9 fits are missing" in capsys.readouterr().out
    assert main([*words, "--json", str(tmp_path / "all.json")]) == 0
    said = capsys.readouterr().out
    content = json.loads((tmp_path / "all.json").read_text())
    scores = content["scores"]["grok-l2"]["own"]
    assert np.mean(scores) == pytest.approx(content["means"]["grok-l2"]["own"])
    assert f"{100 * np.mean(scores):.1f}" in said
    assert min(scores) > 0.5
    page = (tmp_path / "bench-small-data-own.md").read_text()
    assert "grok-l2 − adam" in page and "balanced accuracy" in page
    (pair,) = [pair for pair in content["pairs"] if (pair["ours"], pair["theirs"]) == ("grok-l2", "adam")]
    assert f"grok-l2 against adam: {100 * pair['sets']['own']['difference']:+.1f}, on these rows " in said
    first = (tmp_path / "bench-small-data-own.png").read_bytes()
    assert main(["draw", str(tmp_path)]) == 0
    assert (tmp_path / "bench-small-data-own.png").read_bytes() == first


@pytest.mark.parametrize(
    "words, said",
    [
        (["--sets", "irises"], "unknown set 'irises'"),
        (["--methods", "magic"], "unknown method 'magic'"),
        (["--splits", "1"], "--splits"),
        (["--target", "y"], "--target and --n-train: expected --data FILE beside them"),
        (["--data", "no.csv"], "--data: expected --target COLUMN beside it"),
        (["--data", "no.csv", "--target", "y"], "no.csv: cannot be read"),
    ],
)
def test_bad_words_are_refused_in_one_line(words: list[str], said: str, refused: Callable[[list[str]], str]):
    assert said in refused(["bench", "small-data", *words])
