"""`groktimizer predict` on a user's own files: labels with a test set, matrices with holes, and files that lie."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from groktimizer.ground.memory import ADDRESSES, check_memory, free_memory
from predictions import told

rng = np.random.default_rng(11)
FEATURES, TEST = rng.normal(size=(7, 20)) / 20**0.5, rng.normal(size=(30, 20)) / 20**0.5
SLOPE = rng.normal(size=20)
LABELS, ANSWERS = np.sin(FEATURES @ SLOPE), np.sin(TEST @ SLOPE)
START = rng.normal(size=20)
RANK_ONE = np.outer([3.0, 2.0, 1.0, -1.0], [1.0, -1.0, 0.5])
SEEN = RANK_ONE.copy()
SEEN[3, 1] = SEEN[2, 2] = np.nan
MEASURED = rng.normal(size=(11, 4, 3)) / 11**0.5
PRODUCTS = MEASURED.reshape(11, -1) @ RANK_ONE.ravel()


def save(**arrays: np.ndarray) -> None:
    for name, array in arrays.items():
        np.save(f"{name}.npy", array)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(X=FEATURES, y=LABELS, TX=TEST, ty=ANSWERS, start=START, a=SLOPE, M=SEEN, A=RANK_ONE, Ms=MEASURED, p=PRODUCTS)
    save(zeros=0 * FEATURES, none=0 * LABELS, nan=np.full((4, 3), np.nan), inf=SEEN * np.inf, dust=FEATURES * 1e-170)
    header = "{'descr': '<f4', 'fortran_order': True, 'shape': (90000000, 70000), }".ljust(117) + "\n"
    Path("vast.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + b"\0" * 40)
    Path("cut.npy").write_bytes(Path("X.npy").read_bytes()[:-24])
    Path("odd.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", 60) + b"{'descr': ((((" * 4 + b"    ")


LEARN = ["--features", "X.npy", "--targets", "y.npy", "--test-features", "TX.npy", "--test-targets", "ty.npy"]


def test_labels_and_a_test_set_in_place_of_a_teacher(tmp_path, capsys):
    """Gradient descent written out: both clocks are the first steps with either mean square within its tolerance."""
    words = ["--theta0", "start.npy", "--weight-decay", "1e-2", "--tolerance", "5e-3", "--test-tolerance", "0.35"]
    content = told(["predict", "ridge", *LEARN, *words], tmp_path)
    theta, train, test = START.copy(), [], []
    for _ in range(2000):
        miss = FEATURES @ theta - LABELS
        train.append(miss @ miss / 14)
        test.append(np.mean((TEST @ theta - ANSWERS) ** 2))
        theta = theta - FEATURES.T @ miss / 7 - 1e-2 * theta
    method = content["methods"]["gradient descent"]
    assert method["memorised"] == np.argmax(np.array(train) <= 5e-3) > 0
    assert method["generalised"] == np.argmax(np.array(test) <= 0.35) > 0
    assert content["zero"]["population_loss"] == pytest.approx(np.mean(ANSWERS**2))
    assert content["zero"]["train_loss"] == pytest.approx(np.sum(LABELS**2) / 14)
    assert "test loss    the mean squared error on the test set" in capsys.readouterr().out


def test_a_matrix_with_holes_is_completed(tmp_path, capsys):
    """Without A* the fit of least nuclear norm takes its place; here it is A*, so both give the same times."""
    words = ["predict", "low-rank", "--matrix", "M.npy", "--weight", "1e-2", "--tolerance", "1e-2"]
    alone = told(words, tmp_path)
    assert (alone["n1"], alone["n2"], alone["r"], alone["N"]) == (4, 3, 1, 10)
    assert "A*           not given: the fit of least nuclear norm takes its place, of rank 1" in capsys.readouterr().out
    known = told([*words, "--truth", "A.npy"], tmp_path)
    assert "not given" not in capsys.readouterr().out
    assert known["verdict"]["outcome"] == alone["verdict"]["outcome"] == "certified"
    for name, method in known["methods"].items():
        assert method["settled"] == alone["methods"][name]["settled"] is not None


def test_inner_products_with_given_matrices(tmp_path):
    """The last step of the accelerated method is at the minimiser: X'(X A - y) + weight U V' is 0 on its row space."""
    words = ["--measurements", "Ms.npy", "--targets", "p.npy", "--truth", "A.npy", "--weight", "1e-2"]
    content = told(["predict", "low-rank", *words], tmp_path)
    assert content["measurements"] == "sensing" and content["verdict"]["outcome"] == "certified"
    end = content["methods"]["accelerated"]["recovery_error"][-1]
    assert 0 < end < 1e-2 and content["methods"]["accelerated"]["settled"] is not None


@pytest.mark.slow
def test_a_problem_has_one_picture_and_two_have_two(tmp_path):
    def picture(*words: str) -> str:
        return Path(told(["predict", "ridge", "--theta0", "start.npy", *words], tmp_path)["picture"]).name

    known = ["--features", "X.npy", "--teacher", "a.npy", "--weight-decay", "0.01"]
    names = [picture(*known), picture(*known, "--tolerance", "0.02"), picture(*LEARN)]
    assert len({*names}) == len(names)
    assert picture(*known, "--lr", "1.0", "--seed", "5", "--max-delay", "9") == names[0]
    assert len(list(tmp_path.glob("*.png"))) == len(names)


def test_memory_is_counted_before_it_is_taken():
    free = free_memory()
    assert 0 < free <= ADDRESSES
    check_memory("n=1", free // 16)
    for numbers in (free, 10**400):
        with pytest.raises(
            ValueError, match=r"n=1: needs .* GB of memory, accepted are sizes that fit into the .* free"
        ):
            check_memory("n=1", numbers)


RIDGE, RANK, SPARSE = ["ridge", "--features", "X.npy"], ["low-rank", "--matrix", "M.npy"], ["sparse", "--features-file"]
BAD = [
    ([*RIDGE, "--targets", "y.npy"], "--targets without --test-features: accepted are --targets, --test-features and"),
    ([*RIDGE, "--test-targets", "y.npy"], "--test-targets without --targets: accepted are"),
    (["ridge", *LEARN[2:]], "--targets without --features"),
    (["ridge", *LEARN, "--teacher", "a.npy"], "--teacher with --targets: accepted is a teacher, or --targets,"),
    (["ridge", *LEARN, "--noise", "1"], "--noise with --targets: the files say what the labels"),
    (["ridge", *LEARN, "--covariance", "a.npy"], "--covariance with --targets: the files say"),
    (["ridge", *LEARN[:3], "ty.npy", *LEARN[4:]], "noise: shape (30,), accepted is (7,)"),
    (["ridge", *LEARN[:-1], "y.npy"], "test targets: shape (7,), accepted is (30,)"),
    (["ridge", *LEARN, "--nu", "-2"], "--nu=-2.0: expected a finite number ≥ 0"),
    (["ridge", *LEARN, "--nu", "1e200"], "--nu 1e+200: accepted are sizes from 1e-100 to 1e+60"),
    (
        ["ridge", "--features", "vast.npy", "--teacher", "a.npy"],
        "vast.npy: promises shape (90000000, 70000), but is too",
    ),
    (["ridge", "--features", "cut.npy", "--teacher", "a.npy"], "cut.npy: promises shape (7, 20), but is too short"),
    (["ridge", "--features", "odd.npy", "--teacher", "a.npy"], "odd.npy: not a .npy file of numbers; accepted is what"),
    (["ridge", "--n", "4", "--m", "7" * 50], "--n 4 --m 7777777"),
    (["ridge", "--lr", "1e-90", "--n", "4", "--m", "6"], "lr=1e-90, weight_decay=0.0001: forgetting takes more than"),
    (["ridge", "--switch", "1" * 30], "accepted are steps up to 9,007,199,254,740,992"),
    (["ridge", "--test-tolerance", "1e-200"], "--test-tolerance 1e-200: accepted are sizes"),
    (["linear-estimator", "--ratio", "1e-222"], "--ratio 1e-222: accepted are sizes from"),
    (["linear-estimator", "--inputs", "3" * 40], "needs more than 10^10 GB of memory"),
    (["linear-estimator", "--outputs", "3" * 400], "accepted are up to 1,000,000,000"),
    (["network", "--from", ".", "--lr", "1e-200", "--weight-decay", "1"], "--lr 1e-200: accepted are sizes from"),
    (
        [*SPARSE, "zeros.npy", "--teacher", "a.npy"],
        "features: largest entry 0, accepted are some whose squares are not",
    ),
    ([*SPARSE, "dust.npy", "--targets", "y.npy"], "accepted are some whose squares are not 0"),
    (["sparse", "--n", "2000000000"], "--n 2000000000 --N 40: needs"),
    (["low-rank", "--n1", "70000", "--n2", "80000", "--N", "90000"], "--n1 70000 --n2 80000 --N 90000: needs"),
    (["low-rank", "--lr", "1e-40"], "lr=1e-40: too small to move, accepted are values above 2.2e-16"),
    ([*RANK, "--n1", "3"], "--n1 with --matrix: the file says what is seen"),
    ([*RANK, "--kind", "sensing"], "--kind with --matrix: the file says"),
    (
        [*RANK, "--measurements", "Ms.npy", "--targets", "p.npy"],
        "--matrix with --measurements: accepted is one of them",
    ),
    (["low-rank", "--measurements", "Ms.npy"], "--measurements without --targets: accepted are both"),
    (["low-rank", "--targets", "p.npy"], "--targets without --measurements: accepted are both"),
    (["low-rank", "--truth", "A.npy"], "--truth without --matrix or --measurements"),
    (["low-rank", "--measurements", "X.npy", "--targets", "y.npy"], "shape (7, 20), accepted is (N, n1, n2)"),
    (["low-rank", "--measurements", "Ms.npy", "--targets", "y.npy"], "targets of shape (7,): accepted is (11,)"),
    (["low-rank", "--matrix", "y.npy"], "--matrix y.npy: shape (7,), accepted is (n1, n2)"),
    (["low-rank", "--matrix", "nan.npy"], "holds NaN alone, accepted is at least one entry that is seen"),
    (["low-rank", "--matrix", "inf.npy"], "matrix: holds NaN or inf, accepted are finite numbers"),
    (["low-rank", "--matrix", "zeros.npy"], "targets: all 0"),
    ([*RANK, "--truth", "X.npy"], "truth of shape (7, 20): accepted is (4, 3)"),
    ([*RANK, "--truth", "nan.npy"], "truth: holds NaN or inf"),
]


@pytest.mark.parametrize(("words", "complaint"), BAD, ids=[" ".join(words)[:60] for words, _ in BAD])
def test_bad_input_ends_in_one_line(words: list[str], complaint: str, refused: Callable[[list[str]], str]):
    assert complaint in refused(["predict", *words])
