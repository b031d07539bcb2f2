"""Tables of real data as tasks: divisions, levels, files of the user's own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from groktimizer.cli import main
from groktimizer.data import rows_of
from groktimizer.ground.errors import UserError
from groktimizer.results import Store
from groktimizer.sweeps import make_spec
from groktimizer.tasks import make_task


def flowers(path: Path, shift: float = 0.0) -> Path:
    """Thirty rows of two kinds; the last row is there twice."""
    draw = np.random.default_rng(0)
    kinds = ["rose", "iris"] * 15
    lines = [f"{draw.normal() + 5 * (kind == 'rose') + shift:.6f},{draw.normal():.6f},{kind}" for kind in kinds]
    path.write_text("\n".join(["petal,stem,kind", *lines, lines[-1]]) + "\n")
    return path


def test_classes_are_stratified_and_columns_standardised_on_the_training_part():
    problem = make_task("tabular", {"data": "breast-cancer", "n_train": 40}).build(3, dtype=torch.float64)
    rows = rows_of("breast-cancer")
    assert problem.test is not None
    assert len(problem.train.inputs) == 40 and len(problem.test.inputs) == 569 - 40
    assert float(problem.train.targets.double().mean()) == pytest.approx(rows.targets.mean(), abs=1 / 40)
    torch.testing.assert_close(problem.train.inputs.mean(0), torch.zeros(30, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(problem.train.inputs.std(0, correction=0), torch.ones(30, dtype=torch.float64))
    # The same rows: both parts together are the whole table, up to the map of its columns.
    whole = torch.cat((problem.train.inputs, problem.test.inputs)).numpy()
    order, other = (np.lexsort(part.T[::-1]) for part in (whole, rows.inputs))
    fitted = LinearRegression().fit(whole[order], rows.inputs[other])
    np.testing.assert_allclose(fitted.predict(whole[order]), rows.inputs[other], atol=1e-6)


def test_the_error_of_numbers_is_one_minus_r_squared_under_the_root():
    problem = make_task("tabular", {"data": "diabetes", "n_train": 60}).build(0, dtype=torch.float64)
    columns = problem.evaluate(problem.model)
    assert problem.test is not None
    with torch.no_grad():
        known = r2_score(problem.test.targets.numpy(), problem.model(problem.test.inputs).squeeze(1).numpy())
    assert 1 - columns["test_error"] ** 2 == pytest.approx(known, rel=1e-9)
    assert columns["train_loss"] == pytest.approx(columns["train_error"] ** 2 / 2, rel=1e-9)
    assert make_task("tabular", {"data": "diabetes", "level": 0.36}).generalised.threshold == 0.8


def test_a_file_of_ones_own_is_learnt_and_another_content_is_another_run(tmp_path: Path):
    path = flowers(tmp_path / "flowers.csv")
    options = {"data": str(path), "target": "kind", "n_train": 12}
    first = make_spec("tabular", "groktimizer", task_options=options, steps=60)
    words = ["run", "tabular", "--set", f"data={path}", "target=kind", "n_train=12", "--steps", "60", "--every", "20"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    (record,) = Store(tmp_path / "out").query()
    assert record.history["test_accuracy"][-1] > 0.9
    rows_of.cache_clear()
    flowers(path, shift=0.5)
    second = make_spec("tabular", "groktimizer", task_options=options, steps=60)
    assert first.identity != second.identity
    with pytest.raises(UserError, match="its content is not the one that was asked for"):
        make_task("tabular", dict(first.task_options))


def test_rows_that_are_equal_are_not_in_both_parts(tmp_path: Path):
    path = flowers(tmp_path / "flowers.csv")
    rows = rows_of(str(path), "kind")
    assert rows.different == 30 and len(rows.inputs) == 31
    for seed in range(10):
        train, test = rows.divide(12, seed)
        assert (29 in train) == (30 in train) and (29 in test) == (30 in test)


@pytest.mark.parametrize(
    "words, said",
    [
        (["data=irises"], "unknown table 'irises'"),
        (["data=leukaemia"], "did you mean"),
        (["n_train=569"], "n_train=569: expected 2 … 567 of the 569 different rows"),
        (["data=diabetes", "n_train=1"], "n_train=1: expected 2 … 441 of the 442 different rows"),
        (["data=none.csv", "target=y"], "none.csv: cannot be read"),
        (["level=1.5"], "level=1.5"),
    ],
)
def test_bad_options_are_refused_in_one_line(words: list[str], said: str, refused: Callable[[list[str]], str]):
    assert said in refused(["run", "tabular", "--set", *words])


def test_a_csv_without_the_target_column_is_refused(tmp_path: Path, refused: Callable[[list[str]], str]):
    path = flowers(tmp_path / "flowers.csv")
    told = refused(["run", "tabular", "--set", f"data={path}", "target=colour", "n_train=12"])
    assert "unknown column of" in told and "petal, stem, kind" in told


def test_one_row_of_a_class_is_refused(tmp_path: Path, refused: Callable[[list[str]], str]):
    path = tmp_path / "lone.csv"
    path.write_text("x,kind\n" + "".join(f"{k},{'a' if k else 'b'}\n" for k in range(14)))
    told = refused(["run", "tabular", "--set", f"data={path}", "target=kind", "n_train=6"])
    assert "1 different row(s) of the rarest: expected two classes or more, at least two rows of each" in told
