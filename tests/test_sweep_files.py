"""Sweeps in YAML: what they expand to, and what is refused with file, line and key."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from groktimizer.cli import main
from groktimizer.ground.errors import UserError
from groktimizer.sweeps import Range, Sample, Sweep, make_spec
from groktimizer.sweeps.axes import grid, size
from groktimizer.sweeps.cells import Clock, Training
from groktimizer.sweeps.reader import WANTED, parse_sweep, read_sweep
from groktimizer.sweeps.sweep import parse_seeds

RIDGE = """
task: ridge
kind: clock
set:
  n: 10
  m: 40
  lr: {log: [0.01, 1], num: 3}
  weight_decay: [1e-3, 1e-2]
seeds: 2
"""
TRAINED = """
task: ridge
optimizer: [sgd, adamw]
set: {n: 10, m: 40, lr: [0.1, 0.2], momentum: [0, 0.9]}
seeds: 3-5
steps: 40
every: 10
"""


def test_a_grid_has_every_combination_and_seeds_of_clocks_are_outermost():
    cells = list(parse_sweep(RIDGE, "x").cells())
    assert [(c.lr, c.weight_decay, c.seed) for c in cells if isinstance(c, Clock)] == [
        (lr, decay, seed) for seed in (0, 1) for lr in (0.01, 0.1, 1.0) for decay in (1e-3, 1e-2)
    ]
    assert parse_sweep(RIDGE, "x").count == len(cells) == 12
    for text, more in ((RIDGE, []), (RIDGE, ["sample={count: 4}"]), (TRAINED, [])):
        sweep = parse_sweep(text, "x", more)
        assert sweep.first.identity == next(sweep.cells()).identity
    assert all(isinstance(c, Clock) and c.task_options["m"] == 40 for c in cells)


def test_an_optimizer_without_an_option_ignores_its_axis_and_a_run_is_the_one_of_make_spec():
    sweep = parse_sweep(TRAINED, "x")
    cells = [cell for cell in sweep.cells() if isinstance(cell, Training)]
    names = [cell.spec.optimizer for cell in cells]
    assert (names.count("sgd"), names.count("adamw"), sweep.count) == (12, 6, 24)
    alone = make_spec(
        "ridge", "sgd", task_options={"n": 10, "m": 40}, optimizer_options={"lr": 0.2, "momentum": 0.9}, seed=4,
        steps=40, every=10,
    )  # fmt: skip
    assert alone.identity in {cell.identity for cell in cells}
    assert len({cell.identity for cell in cells}) == 18


def test_equal_shapes_differ_in_seeds_and_numbers_alone():
    cells = [cell for cell in parse_sweep(TRAINED, "x").cells() if isinstance(cell, Training)]
    assert len({cell.shape for cell in cells}) == 2  # one an optimizer
    larger = parse_sweep(TRAINED, "x", ["m=50", "optimizer=sgd"]).cells()
    assert {cell.shape for cell in larger}.isdisjoint(cell.shape for cell in cells)


def test_ranges_are_even_in_their_scale_and_keep_six_digits():
    assert Range(1e-4, 1.0, log=True, num=5).values == [1e-4, 1e-3, 1e-2, 0.1, 1.0]
    assert Range(0, 1, num=3).values == [0.0, 0.5, 1.0]
    assert Range(1, 2, num=4).values == [1.0, 1.33333, 1.66667, 2.0]
    axes = {"a": Range(1, 2, num=4), "b": [1, 2, 3]}
    assert size(axes) == len(list(grid(axes))) == 12


@pytest.mark.parametrize("method", ["sobol", "random"])
def test_samples_fill_the_ranges_and_are_drawn_the_same_again(method: str):
    axes = {"lr": Range(1e-3, 1.0, log=True), "width": [32, 64]}
    sample = Sample(64, method, 1)  # pyright: ignore[reportArgumentType]
    points = list(sample.points(axes))
    assert points == list(sample.points(axes)) and len(points) == 64
    assert points != list(Sample(64, method, 2).points(axes))  # pyright: ignore[reportArgumentType]
    logs = np.sort([math.log10(float(point["lr"])) for point in points])  # pyright: ignore[reportArgumentType]
    assert -3 <= logs[0] and logs[-1] <= 0
    gaps = np.abs((logs + 3) / 3 - (np.arange(64) + 0.5) / 64)
    assert gaps.max() < (1 / 64 if method == "sobol" else 0.3)  # every 64th of a Sobol sample holds one point
    assert {point["width"] for point in points} == {32, 64}


def test_overrides_win_over_the_file():
    sweep = parse_sweep(RIDGE, "x", ["seeds=4-6", "lr=0.5", "weight_decay=1e-3,1e-2,0.1", "m=60"])
    cells = [cell for cell in sweep.cells() if isinstance(cell, Clock)]
    assert {cell.seed for cell in cells} == {4, 5, 6} and {cell.lr for cell in cells} == {0.5}
    assert {cell.weight_decay for cell in cells} == {1e-3, 1e-2, 0.1} and cells[0].task_options["m"] == 60


def test_seeds_in_every_spelling():
    assert parse_seeds(3) == (0, 1, 2) and parse_seeds("5-7") == (5, 6, 7) and parse_seeds("1,4") == (1, 4)
    for wrong in ("0", "7-5", "a", "1,b", "-3", "1-99999999999", ""):
        with pytest.raises(UserError, match="seeds"):
            parse_seeds(wrong)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "x: no task; expected task: a name of"),
        ("- ridge", "x: expected keys with values"),
        ("task: ridge\ntask: digits", "x, line 2: task: given twice"),
        ("task: [", "x, line 1: no YAML"),
        ("task: rigde", "x, line 1: task: unknown task 'rigde': did you mean 'ridge'?"),
        ("task: ridge\nstep: 5", "x, line 2: step: unknown key; did you mean steps?"),
        ("task: ridge\nsteps: many", "x, line 2: steps: 'many' is not accepted; expected a whole number"),
        ("task: ridge\nsteps: 0", "x, line 2: steps=0: expected a whole number"),
        ("task: ridge\nkind: train", "x, line 2: kind: 'train' is not accepted; expected run or clock"),
        ("task: ridge\nseeds: []", "x, line 2: seeds: the list is empty"),
        ("task: ridge\nseeds: 7-3", "x, line 2: seeds='7-3': expected how many"),
        ("task: ridge\noptimizer: []", "x, line 2: optimizer: the list is empty"),
        ("task: ridge\nset:\n  lr: []", "x, line 3: set lr: the list is empty"),
        ("task: ridge\nset:\n  lrr: 1", "x, line 3: set.lrr: unknown option 'lrr': did you mean 'lr'?"),
        ("task: ridge\nset:\n  lr: {log: [1, 2]}", "x, line 3: set lr: a range without num"),
        ("task: ridge\nset:\n  lr: {log: [2, 1], num: 3}", "x, line 3: set lr: range [2, 1]: expected the smaller"),
        ("task: ridge\nset:\n  lr: {log: [0, 1], num: 3}", "x, line 3: set lr: range log [0, 1]: expected numbers > 0"),
        ("task: ridge\nset:\n  lr: {lag: [0, 1], num: 3}", "x, line 3: set.lr: "),
        ("task: ridge\nset:\n  lr: {num: 3}", "x, line 3: set lr: expected log: [low, high]"),
        ("task: ridge\nset:\n  n: 3\n  task.n: 4", "x, line 4: set task.n: n says it as well"),
        ("task: ridge\nsample: {count: 0}", "x, line 2: sample: 0 is not accepted"),
        ("task: ridge\nkind: clock\nsteps: 5", "x, line 3: steps: a clock has none"),
        ("task: ridge\nset: {lr: !!python/object:os.system x}", "x, line 2: no YAML"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_line(text: str, said: str):
    with pytest.raises(UserError) as raised:
        parse_sweep(text, "x")
    assert said in f"{raised.value}" and "\n" not in f"{raised.value}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task: ridge\nkind: clock", "x: lr: exact clocks need it"),
        (
            "task: ridge\nkind: clock\nset: {lr: 1, weight_decay: [1, -1]}",
            "line 3: weight_decay=-1.0: expected",
        ),
        ("task: ridge\nkind: clock\nset: {lr: 1, weight_decay: 1, momentum: x}", "line 3: momentum='x': expected crit"),
        ("task: ridge\nset: {n: [5, 0]}", "x, line 2: n=0"),
        ("task: ridge\noptimizer: [adamw, sdg]", "x, line 2: optimizer: unknown optimizer 'sdg': did you mean 'sgd'?"),
        ("task: ridge\noptimizer: sgd\nset: {lr: fast}", "x, line 3: lr='fast': expected a number"),
    ],
)
def test_every_value_is_checked_before_anything_starts(text: str, said: str):
    with pytest.raises(UserError) as raised:
        parse_sweep(text, "x")
    assert said in f"{raised.value}"


def test_the_files_of_the_documentation_are_sweeps():
    docs = Path(__file__).parents[1] / "docs"
    text = (docs / "sweeps.md").read_text()
    assert f"```yaml\n{(docs / 'ridge.yaml').read_text()}```" in text
    found = [parse_sweep(block, "docs/sweeps.md") for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    assert [sweep.count for sweep in found] == [1_000, 60]
    assert set(re.findall(r"`([a-z]+)`", "".join(re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)))) == set(WANTED)


def test_ten_million_cells_have_to_be_meant():
    axes = {"lr": Range(0.1, 1, num=4_000), "weight_decay": Range(0.1, 1, num=4_000)}
    sweep = Sweep("ridge", "clock", axes=axes)
    with pytest.raises(UserError, match=r"16,000,000 cells.*--yes"):
        sweep.check_size()
    sweep.check_size(yes=True)


def test_files_that_cannot_be_read_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    binary, huge = tmp_path / "b.yaml", tmp_path / "h.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    huge.write_bytes(b"#" * 2_000_000)
    for path, said in ((binary, "not UTF-8"), (huge, "2,000,000 bytes"), (tmp_path / "none.yaml", "cannot be read")):
        with pytest.raises(UserError, match=said):
            read_sweep(path)
        assert main(["sweep", str(path), "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert path.name in error and said in error and "Traceback" not in error


@pytest.mark.parametrize("word", ["lr", "=3", "lr=", "lr=[1"])
def test_an_override_that_is_none_is_refused(word: str):
    with pytest.raises(UserError, match="expected"):
        parse_sweep(RIDGE, "x", [word])
