"""`groktimizer predict`: what it says is what training then does, and bad input ends in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groktimizer.cli import main
from groktimizer.cli.lines import bound, step
from groktimizer.results import Record, Store
from groktimizer.studies import first_passage
from groktimizer.sweeps import make_spec, run_spec
from groktimizer.tasks import RidgeTask
from groktimizer.theory.clock.rounding import rounded
from groktimizer.theory.linear.estimators import LinearEstimator
from groktimizer.theory.ridge import Bound, Ridge
from groktimizer.theory.ridge.forecast import curve_steps, forecast
from predictions import told

SMALL = ["predict", "ridge", "--n", "20", "--m", "200", "--weight-decay", "0.01"]


def test_the_prediction_is_what_run_then_measures(tmp_path, capsys):
    """The same draw as `run ridge`: SGD trained step by step reaches every predicted integer."""
    content = told(SMALL, tmp_path)
    for name, options in (("gradient descent", {}), ("heavy ball 0.9", {"momentum": 0.9})):
        spec = make_spec(
            "ridge",
            "sgd",
            task_options={"n": 20, "m": 200},
            optimizer_options={"lr": 1.0, "weight_decay": 0.01, **options},
            steps=1500,
        )
        times = run_spec(spec).times
        for key in ("memorised", "generalised", "settled"):
            assert content["methods"][name][key] == getattr(times, key) is not None
    text = capsys.readouterr().out
    assert all(word in text for word in ("gradient descent", "CDM", "Eq (8)", "Theorem 4.6", "recommended", "picture"))
    assert Path(content["picture"]).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_what_is_recommended_is_what_its_command_then_measures(tmp_path, capsys):
    """The λ as it is printed, the times beside it, and the delay that was asked for."""
    words = ["predict", "ridge", "--n", "60", "--m", "400", "--lr", "2", "--weight-decay", "1e-3", "--seed", "3"]
    advice = told([*words, "--max-delay", "60"], tmp_path)["recommendation"]
    lines = {line[:13].strip(): line[13:] for line in capsys.readouterr().out.splitlines()}
    assert f"weight_decay {advice['weight_decay']} " in lines["recommended"]
    command = lines["check"].split()[1:]
    file = tmp_path / "run.json"
    assert main([*command, "--out", str(tmp_path), "--json", str(file)]) == 0
    times = json.loads(file.read_text())["summary"]["times"]
    memorised, settled = times["memorised"], times["settled"]
    assert f"t1 {memorised}, settled {settled}, " in lines["recommended"] and settled - memorised <= 60
    told([*words, "--max-delay", "60", "--noise", "0.01"], tmp_path)
    assert "\ncheck  " not in capsys.readouterr().out  # no run has that noise


@pytest.mark.slow
def test_the_table_of_the_page_is_what_its_command_says(tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "clocks.md").read_text()
    command = next(line for line in page.splitlines() if line.startswith("    groktimizer predict ridge "))
    methods = told(command.split()[1:], tmp_path)["methods"]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:3] != "|--"]
    shown = {row[0].partition(" (")[0]: row[1:] for row in rows if len(row) == 5}
    keys = ("memorised", "generalised", "settled", "delay")
    assert len(methods) == 3
    for name, method in methods.items():
        assert shown[name] == [f"{method[key]:,}" for key in keys]


def test_critical_damping_is_the_square_root(tmp_path):
    methods = told(["predict", "ridge", "--m", "500"], tmp_path)["methods"]
    slow, fast = (methods[name]["settled"] for name in ("gradient descent", "CDM"))
    assert fast < 4 * slow**0.5 < slow / 10


def test_the_recommendation_grants_the_delay_and_less_decay_does_not(tmp_path):
    content = told([*SMALL, "--max-delay", "100"], tmp_path)
    advised, times = content["recommendation"]["weight_decay"], content["recommendation"]["times"]
    assert times["settled"] - times["memorised"] <= 100
    features, teacher, theta = (part.numpy() for part in RidgeTask(n=20, m=200).draw(0))
    less = Ridge(features, teacher, 1 / 200).grokking_time(theta, 1.0, advised * 0.99, 0.01, 0.01)
    assert less.settled is not None and less.memorised is not None and less.settled - less.memorised > 100


@pytest.mark.slow
def test_files_give_the_same_as_the_draw(tmp_path):
    for name, part in zip(("features", "teacher", "theta0"), RidgeTask(n=20, m=200).draw(0), strict=True):
        np.save(tmp_path / f"{name}.npy", part.numpy())
    np.save(tmp_path / "covariance.npy", np.full(200, 1 / 200))
    words = ["predict", "ridge", "--weight-decay", "0.01"]
    for name in ("features", "teacher", "theta0", "covariance"):
        words += [f"--{name}", str(tmp_path / f"{name}.npy")]
    assert told(words, tmp_path)["methods"] == told(SMALL, tmp_path)["methods"]


def test_the_curves_reach_past_the_last_time():
    features, teacher, theta = (part.numpy() for part in RidgeTask(n=20, m=200).draw(1))
    found = forecast(Ridge(features, teacher, 1 / 200), theta, 1.0, 1e-3, 0.01, 0.01)
    steps = curve_steps(found)
    assert steps[0] == 0 and (np.diff(steps) > 0).all()
    assert steps[-1] >= 2 * max(run.times.settled or 0 for run in found.methods.values())


def test_more_samples_than_features_is_computed_and_said(tmp_path, capsys):
    content = told(["predict", "ridge", "--n", "60", "--m", "40", "--weight-decay", "0.001"], tmp_path)
    assert content["methods"]["gradient descent"]["settled"] is not None
    assert "advice       features: no null space (rank m), so this is not grokking's regime" in capsys.readouterr().out


def test_a_tolerance_below_the_floor_is_said_with_the_term(tmp_path, capsys):
    content = told([*SMALL, "--noise", "1", "--tolerance", "1e-9"], tmp_path)
    assert content["methods"]["CDM"]["settled"] is None and content["recommendation"]["reason"].startswith("none: ")
    text = capsys.readouterr().out
    assert "train_tolerance=1e-09 cannot be kept: the train loss ends at" in text
    assert "test_tolerance=1e-09 cannot be kept" in text and "mostly from the" in text


@pytest.mark.slow
def test_the_linear_estimator_says_its_times(tmp_path, capsys):
    content = told(["predict", "linear-estimator", "--ratio", "0.9", "--inputs", "60"], tmp_path)
    assert round(content["formula"]) == 56_386
    times = LinearEstimator(0.9, 0.01).times(1e-3)
    assert (content["memorised"], content["generalised"]) == pytest.approx(times)
    never = told(["predict", "linear-estimator", "--ratio", "1.5", "--inputs", "0"], tmp_path)
    floor = "it ends at 0.3333, mostly from the null space"
    assert never["generalised"] == "inf" and floor in never["advice"][0] and floor in capsys.readouterr().out
    words = ["predict", "linear-estimator", "--weight-decay", "1", "--inputs", "0"]
    train, test = told(words, tmp_path)["advice"]
    assert "a train loss of" in train and all("mostly from the bias of weight decay" in line for line in (train, test))


def test_columns_stay_apart_at_any_number_of_digits(tmp_path, capsys):
    """At lr weight_decay = 3e-13 gradient descent's times have 13 digits, 17 characters with their commas."""
    content = told([*SMALL[:-1], "3e-13"], tmp_path)
    method = content["methods"]["gradient descent"]
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("gradient descent"))
    cells = row.removeprefix("gradient descent").split()
    assert cells[1:] == [f"{method[key]:,}" for key in ("memorised", "generalised", "settled", "delay")]
    assert method["settled"] > 10**12


@pytest.mark.slow
def test_it_is_said_where_what_has_learned_nothing_passes(tmp_path, capsys):
    """Under covariance I/m the population loss of theta = 0 is ||teacher||^2 / m: 1/200."""
    content = told(SMALL, tmp_path)
    assert content["zero"]["within"] and content["zero"]["population_loss"] == pytest.approx(1 / 200)
    told_zero = "zero         theta = 0, which has learned nothing, has train loss "
    assert told_zero in capsys.readouterr().out
    strict = told([*SMALL, "--test-tolerance", "0.0049"], tmp_path)
    assert not strict["zero"]["within"] and told_zero not in capsys.readouterr().out
    told(["predict", "linear-estimator", "--inputs", "0", "--tolerance", "9"], tmp_path)
    assert "is met by the student 0, which has learned nothing (generalisation loss 0.5" in capsys.readouterr().out


def test_the_file_is_whole_before_anything_is_printed(tmp_path, monkeypatch):
    """A reader that closes the pipe at once: printing fails, the JSON is there."""

    def closed(text: str) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("groktimizer.cli.lines.line", closed)
    for words in (
        ["linear-estimator", "--inputs", "0"],
        ["low-rank", "--n1", "3", "--n2", "3", "--r", "1", "--N", "8", "--weight", "1e-2"],
    ):
        file = tmp_path / f"{words[0]}.json"
        main(["predict", *words, "--out", str(tmp_path), "--json", str(file)])
        assert json.loads(file.read_text())["kind"] == words[0]


@given(st.floats(-1e300, 1e300))
def test_bounds_are_rounded_to_their_own_side(value: float):
    low, high = (float(rounded(value, side).replace(",", "")) for side in (">=", "<="))
    assert low <= value <= high
    assert high - low <= max(1.001e-3 * abs(value), 2e-321) or high - low <= 1 <= abs(value) / 1000


def test_printed_bounds_are_on_the_right_side(capsys):
    for quantity, value, shown in (
        ("t2 >=", 86.499, "86.49"),
        ("t1 <=", 4321.2, "4,322"),
        ("x <=", 0.020301, "0.02031"),
    ):
        assert f"{quantity} {shown}  (" in bound(Bound("T", quantity, value, ()))
    assert "nothing: it is infinite" in bound(Bound("T", "t1 <=", float("inf"), ()))
    assert step(17.2, "<=") == "18" and step(17.9, ">=") == "17" and step(2e15 + 0.5) == "2,000,000,000,000,000"


def test_a_decay_that_overshoots_is_computed_and_its_bound_has_no_number(tmp_path, capsys):
    told(["predict", "ridge", "--n", "9", "--m", "50", "--weight-decay", "1"], tmp_path)
    assert "t2 >= nothing: the log of a number <= 0" in capsys.readouterr().out


def passage_record(seed: int, decay: float, delay: int) -> Record:
    """A run whose squared norm falls from 900 to 100 exactly as the law with kappa 0.25 says."""
    spec = make_spec("ridge", "adamw", optimizer_options={"lr": 1e-3, "weight_decay": decay}, seed=seed)
    history = {"step": np.array([0, 50, 50 + delay]), "norm_l2": np.array([40.0, 30.0, 10.0])}
    times = {"memorised": 50, "generalised": 50 + delay, "delay": delay}
    return Record(spec.canonical(), history, {"times": times}, {})


def test_the_network_law_finds_its_constants_and_predicts_a_new_decay(tmp_path, capsys):
    """ln(900/100) / (2 kappa lr wd) with kappa = 1/4 is 2 ln 9 / (lr wd)."""
    store = Store(tmp_path / "runs")
    for seed, decay in enumerate((0.5, 1.0, 2.0)):
        store.save(passage_record(seed, decay, round(2 * np.log(9) / (1e-3 * decay))))
    words = ["predict", "network", "--from", str(tmp_path / "runs"), "--lr", "1e-3", "--weight-decay", "4"]
    (group,) = told(words, tmp_path)["groups"]
    assert group["kappa"] == pytest.approx(0.25, rel=1e-3) and group["critical_norm"] == pytest.approx(100)
    assert group["delay"] == pytest.approx(2 * np.log(9) / 4e-3, rel=1e-3)
    assert group["error_percent"] < 1 and group["low"] <= group["delay"] <= group["high"]
    assert "leaving one out" in capsys.readouterr().out


def test_runs_of_two_versions_of_the_code_are_two_laws():
    """What computed a run is the package's code and the files of the user's own."""
    runs = [passage_record(seed, decay, round(2 * np.log(9) / (1e-3 * decay))) for seed, decay in enumerate((0.5, 1.0))]
    versions: list[dict[str, Any]] = [{"code": 1}, {"code": 2}, {"code": 2, "own": {"task": "ab"}}]
    records = [Record({**run.spec, **one}, run.history, run.summary, {}) for run in runs for one in versions]
    names = ["code 1", "code 2", "code 2, task ab"]
    found = first_passage.groups(records)
    assert [(len(group.runs), group.name.rpartition("(")[2]) for group in found] == [(2, f"{name})") for name in names]
    (alone,) = first_passage.groups(records[::3])
    assert alone.name == found[0].name.removesuffix(" (code 1)") and alone.law == found[0].law


def test_runs_that_cannot_be_used_are_counted_with_the_reason():
    unfit = passage_record(0, 1.0, 100)
    late = Record(unfit.spec, unfit.history, {"times": {"memorised": None, "generalised": None, "delay": None}}, {})
    (group,) = first_passage.groups([late])
    assert group.left_out == {"that never memorised": 1} and group.law is None and "0 given" in group.reason


BAD = [
    (["ridge", "--weight-decay", "0"], "weight_decay=0.0: expected a finite number > 0"),
    (["ridge", "--weight-decay", "-1"], "weight_decay=-1.0: expected a finite number > 0"),
    (["ridge", "--lr", "nan"], "lr=nan: expected a finite number > 0"),
    (["ridge", "--weight-decay", "nan"], "weight_decay=nan: expected a finite number > 0"),
    (
        ["ridge", "--n", "9", "--m", "50", "--lr", "1e3"],
        "lr=1000: diverges on these features, accepted are values below 9.",
    ),
    (["ridge", "--tolerance", "nan"], "train_tolerance=nan: expected a finite number > 0"),
    (["ridge", "--test-tolerance", "-1"], "test_tolerance=-1.0: expected a finite number > 0"),
    (["ridge", "--momentum", "1"], "momentum=1.0: expected a number in [0, 1) or critical"),
    (["ridge", "--tolerance", "0"], "train_tolerance=0.0: expected a finite number > 0"),
    (["ridge", "--noise", "inf"], "--noise=inf: expected a finite number ≥ 0"),
    (["ridge", "--nu", "-1"], "nu=-1"),
    (["ridge", "--n", "0"], "'0': expected a whole number ≥ 1"),
    (["ridge", "--features", "F"], "--features without --teacher"),
    (["ridge", "--teacher", "F"], "--teacher without --features"),
    (["ridge", "--features", "F", "--teacher", "T", "--n", "3"], "--n with --features"),
    (["ridge", "--features", "F", "--teacher", "short"], "teacher: shape (4,), accepted is (5,)"),
    (["ridge", "--features", "flat", "--teacher", "T"], "features: shape (5,), accepted is (n, m)"),
    (["ridge", "--features", "holes", "--teacher", "T"], "features: holds NaN or inf"),
    (["ridge", "--features", "F", "--teacher", "T", "--theta0", "short"], "theta0: shape (4,), accepted is (5,)"),
    (["ridge", "--features", "F", "--teacher", "T", "--covariance", "skew"], "accepted are symmetric matrices"),
    (["ridge", "--features", "F", "--teacher", "holes"], "teacher: shape (3, 5), accepted is (5,)"),
    (["ridge", "--features", "F", "--teacher", "open"], "teacher: holds NaN or inf, accepted are finite numbers"),
    (["ridge", "--features", "F", "--teacher", "T", "--theta0", "open"], "theta0: holds NaN or inf"),
    (["ridge", "--features", "big", "--teacher", "T"], "features: holds an entry of size 1e+90"),
    (
        ["ridge", "--features", "F", "--teacher", "T", "--covariance", "F"],
        "covariance: shape (3, 5), accepted are (), (5,)",
    ),
    (["ridge", "--features", "F", "--teacher", "T", "--covariance", "open"], "covariance: holds NaN or inf"),
    (
        ["ridge", "--features", "F", "--teacher", "T", "--covariance", "below"],
        "eigenvalue -1 is negative, accepted are",
    ),
    (["ridge", "--features", "words", "--teacher", "T"], "accepted are real numbers"),
    (["ridge", "--features", "no-file", "--teacher", "T"], "No such file or directory; accepted"),
    (["linear-estimator", "--ratio", "1"], "ratio=1.0: accepted are positive numbers other than 1"),
    (["linear-estimator", "--tolerance", "nan"], "--tolerance=nan: expected a finite number > 0"),
    (["linear-estimator", "--lr", "0"], "lr=0.0: expected a finite number > 0"),
    (["linear-estimator", "--lr", "1"], "lr=1: diverges on such inputs, accepted are values below 0.26"),
    (["linear-estimator", "--ratio", "1e-9"], "--inputs 1000: with ratio 1e-09 that is 1,000,000,000,000 samples"),
    (["network", "--from", "nowhere"], "holds no records"),
    (["network"], "the following arguments are required: --from"),
    (["network", "--from", "nowhere", "--lr", "1"], "accepted are both or neither"),
    (["rigde"], "unknown prediction 'rigde': did you mean 'ridge'?"),
]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arrays = {"F": np.eye(3, 5), "T": np.ones(5), "short": np.ones(4), "flat": np.ones(5), "words": np.array(["a"])}
    skew = np.eye(5)
    skew[0, 1] = 0.5
    arrays |= {"holes": np.full((3, 5), np.nan), "open": np.r_[np.ones(4), np.inf], "big": np.eye(3, 5) * 1e90}
    for name, value in (arrays | {"skew": skew, "below": -np.eye(5)}).items():
        with open(name, "wb") as file:
            np.save(file, value)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("words", "complaint"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_ends_in_one_line(words: list[str], complaint: str, refused: Callable[[list[str]], str]):
    assert complaint in refused(["predict", *words])
