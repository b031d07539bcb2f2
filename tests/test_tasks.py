"""Tasks: right answers, fixed splits, and one line for each mistake."""

import math
from functools import cache

import pytest
import torch

from groktimizer.data import Samples
from groktimizer.ground.errors import UnknownName
from groktimizer.ground.names import convert, nearest
from groktimizer.ground.seeds import derive_seed
from groktimizer.models import ModularTransformer
from groktimizer.tasks import TASKS, make_task
from groktimizer.tasks.operations import table
from groktimizer.tasks.problem import squared_error

SMALL = {
    "modular-addition": {"p": 11},
    "modular-subtraction": {"p": 11},
    "modular-multiplication": {"p": 11},
    "modular-division": {"p": 11},
    **{f"modular-{name}": {"p": 11} for name in ("squares", "quadratic", "quadratic-shifted", "cubic", "cubic-mixed")},
    **{f"s5-{name}": {"train_fraction": 0.1, "width": 8} for name in ("composition", "conjugation", "sandwich")},
    "bit-parity": {"n": 10, "n_train": 100, "width": 16},
    "polynomial-regression": {"n": 30, "d": 6, "width": 8},
    "ridge": {"n": 10, "m": 40},
    "relu-regression": {"n": 10, "m": 40, "d": 8},
    "relu-teacher": {"N": 10, "d": 8, "r": 12, "width": 20, "sobolev": 0.5},
    "digits": {"width": 16},
    "mnist": {"n_train": 100, "width": 16},
    "tabular": {"n_train": 20, "width": 8},
    "mnist-1d": {"n_train": 100, "width": 16},
    "sparse-recovery": {"n": 20, "s": 2, "N": 10, "depth": 2},
    "matrix-completion": {"n1": 6, "n2": 5, "r": 1, "N": 20, "depth": 3},
    "matrix-sensing": {"n1": 4, "n2": 6, "r": 1, "N": 12},
}
OPERATIONS = {
    "modular-addition": lambda a, b, c, p: (a + b - c) % p == 0,
    "modular-subtraction": lambda a, b, c, p: (a - b - c) % p == 0,
    "modular-multiplication": lambda a, b, c, p: (a * b - c) % p == 0,
    "modular-division": lambda a, b, c, p: (b * c - a) % p == 0 and b != 0,
    "modular-squares": lambda a, b, c, p: (a**2 + b**2 - c) % p == 0,
    "modular-quadratic": lambda a, b, c, p: (a**2 + a * b + b**2 - c) % p == 0,
    "modular-quadratic-shifted": lambda a, b, c, p: (a**2 + a * b + b**2 + a - c) % p == 0,
    "modular-cubic": lambda a, b, c, p: (a**3 + a * b - c) % p == 0,
    "modular-cubic-mixed": lambda a, b, c, p: (a**3 + a * b**2 + b - c) % p == 0,
}


@cache
def images(name: str) -> Samples:
    """5,000 images sorted by class."""
    pixels = torch.randint(0, 256, (5000, 784), generator=torch.Generator().manual_seed(0)).double()
    return Samples(pixels, torch.arange(10).repeat_interleave(500))


@pytest.fixture(autouse=True)
def without_network(monkeypatch):
    monkeypatch.setattr("groktimizer.tasks.mnist.load", images)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_is_right(name: str):
    p = 13
    pairs, answers = table(name, p)
    assert all(OPERATIONS[name](a, b, c, p) for (a, b), c in zip(pairs.tolist(), answers.tolist(), strict=True))
    assert len(set(map(tuple, pairs.tolist()))) == (p * (p - 1) if name == "modular-division" else p * p)


@pytest.mark.parametrize("name", TASKS)
def test_a_problem_is_a_function_of_task_and_seed(name: str):
    task = make_task(name, SMALL[name])
    before = torch.get_rng_state()
    one, two, other = task.build(3), task.build(3), task.build(4)
    assert torch.equal(before, torch.get_rng_state())
    for part, same in zip(one.train, two.train, strict=True):
        assert torch.equal(part, same)
    assert not torch.equal(one.train.inputs, other.train.inputs)
    for value, same in zip(one.model.parameters(), two.model.parameters(), strict=True):
        assert torch.equal(value, same)
    assert one.evaluate(one.model) == two.evaluate(two.model)


@pytest.mark.parametrize("name", TASKS)
def test_options_make_the_task_again_from_values_and_from_texts(name: str):
    task = make_task(name, SMALL[name])
    assert make_task(name, task.options()) == task
    assert make_task(name, {key: str(value) for key, value in task.options().items()}) == task
    assert list(task.options()) == list(TASKS[name].defaults())
    assert task.name == name


@pytest.mark.parametrize("name", TASKS)
def test_the_loss_in_training_is_the_loss_in_evaluation(name: str):
    problem = make_task(name, SMALL[name]).build(0, dtype=torch.float64)
    loss = problem.loss(problem.model, *problem.train)
    assert problem.evaluate(problem.model)["train_loss"] == pytest.approx(float(loss.detach()), rel=1e-12)
    assert loss.dtype == torch.float64


@pytest.mark.parametrize("name", TASKS)
def test_the_loss_of_a_bf16_forward_pass_is_float32(name: str):
    problem = make_task(name, SMALL[name]).build(0)
    with torch.autocast("cpu", torch.bfloat16):
        loss = problem.loss(problem.model, *problem.train)
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(problem.evaluate(problem.model)["train_loss"], rel=0.05)


def test_a_modular_split_is_a_partition_that_does_not_depend_on_the_network():
    small = make_task("modular-addition", {"p": 11, "train_fraction": 0.3})
    former = make_task("modular-addition", {"p": 11, "train_fraction": 0.3, "model": "transformer", "width": 8})
    one, two = small.build(0), former.build(0)
    assert isinstance(two.model, ModularTransformer)
    assert torch.equal(one.train.inputs, two.train.inputs)
    assert one.test is not None
    both = torch.cat((one.train.inputs, one.test.inputs)).tolist()
    assert len(one.train.inputs) == int(0.3 * 121)
    assert sorted(map(tuple, both)) == [(a, b) for a in range(11) for b in range(11)]


def test_the_papers_number_of_training_pairs():
    assert len(make_task("modular-addition").build(0).train.inputs) == 3763


def test_accuracy_counts_right_answers():
    problem = make_task("modular-addition", {"p": 5, "train_fraction": 0.5}).build(0)
    assert problem.test is not None
    right = sum(
        int(problem.model(pair[None]).argmax()) == int(answer)
        for pair, answer in zip(problem.test.inputs, problem.test.targets, strict=True)
    )
    assert problem.evaluate(problem.model)["test_accuracy"] == pytest.approx(right / len(problem.test.targets))


def test_squared_error_is_the_mean_over_samples_and_classes():
    logits, targets = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    wanted = sum((float(logits[i, c]) - (c == int(targets[i]))) ** 2 for i in range(4) for c in range(3)) / 12
    assert float(squared_error(logits, targets)) == pytest.approx(wanted, rel=1e-6)


def test_ridge_losses_are_the_papers():
    """Training loss (1/2n)‖Φθ − y‖²; population loss E⟨θ − θ*, φ⟩², here also estimated from fresh φ ~ N(0, I/m)."""
    task = make_task("ridge", {"n": 30, "m": 50, "nu": 2.0, "teacher_norm": 3.0})
    problem = task.build(1, dtype=torch.float64)
    features, targets = problem.train
    theta = problem.model.get_parameter("theta").detach()
    found = problem.evaluate(problem.model)
    assert found["train_loss"] == pytest.approx(float((features @ theta - targets).norm() ** 2 / 60))
    source = torch.Generator().manual_seed(0)
    fresh = torch.randn(50_000, 50, generator=source, dtype=torch.float64) / math.sqrt(50)
    error = recover_error(problem, theta)
    assert found["test_loss"] == pytest.approx(float((fresh @ error).square().mean()), rel=0.03)
    assert float((theta - error).norm()) == pytest.approx(3.0)
    torch.testing.assert_close(features @ (theta - error), targets)


def recover_error(problem, theta: torch.Tensor) -> torch.Tensor:
    """Find θ − θ* from the population loss alone: it is ‖θ − θ*‖²/m, so its gradient at θ is 2(θ − θ*)/m."""
    m, base = len(theta), problem.evaluate(problem.model)["test_loss"]
    error = torch.empty_like(theta)
    parameter = problem.model.get_parameter("theta")
    for i in range(m):
        with torch.no_grad():
            parameter[i] += 1.0
        error[i] = (problem.evaluate(problem.model)["test_loss"] - base) * m / 2 - 0.5
        with torch.no_grad():
            parameter[i] -= 1.0
    return error


def test_digits_are_split_without_overlap():
    problem = make_task("digits", {"n_train": 100}).build(0)
    assert problem.test is not None
    assert (len(problem.train.inputs), len(problem.test.inputs)) == (100, 1697)
    assert float(problem.train.inputs.min()) == -0.5
    assert float(problem.train.inputs.max()) == 0.5
    classes = torch.bincount(torch.cat((problem.train.targets, problem.test.targets)))
    assert classes.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # as the archive of UCI counts them


def test_the_level_of_images_is_a_part_of_the_best_known():
    assert make_task("digits").generalised.threshold == 0.835
    assert make_task("mnist").generalised.threshold == 0.854
    assert make_task("mnist", {"level": 0.99}).generalised.threshold == 0.89
    assert make_task("mnist", {"level": 0.99, "n_train": 150}).generalised.threshold == round(0.99 * 0.699, 3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("modlar-addition", {}, "did you mean 'modular-addition'"),
        ("modular-addition", {"train_fracton": 0.3}, "did you mean 'train_fraction'"),
        ("modular-addition", {"zzz": 1}, "known: p, train_fraction"),
        ("modular-addition", {"p": "ten"}, "p='ten': expected a whole number"),
        ("modular-addition", {"p": 9.5}, "p=9.5: expected a whole number"),
        ("modular-addition", {"p": True}, "p=True"),
        ("modular-addition", {"p": 1}, "p=1: expected a whole number from 2"),
        ("modular-addition", {"p": 100_000}, "p=100000"),
        ("modular-addition", {"train_fraction": 0}, "inside"),
        ("modular-addition", {"train_fraction": "1.0"}, "inside"),
        ("modular-addition", {"train_fraction": math.nan}, "inside"),
        ("modular-addition", {"p": 2, "train_fraction": 0.1}, "leaves 0 of 4 pairs"),
        ("modular-addition", {"model": "tranformer"}, "did you mean 'transformer'"),
        ("modular-addition", {"loss": "mae"}, "cross-entropy or mse or hinge or stablemax"),
        ("modular-addition", {"width": -3}, "width=-3"),
        ("modular-addition", {"batch_size": 0}, "batch_size=0"),
        ("modular-addition", {"model": "transformer", "heads": 5}, "divisor"),
        ("modular-addition", {"model": "matrix-mlp", "width": 60}, "needs a square number"),
        ("modular-division", {"p": 96}, "needs a prime"),
        ("ridge", {"n": 0}, "n=0"),
        ("ridge", {"nu": -1}, "nu=-1"),
        ("ridge", {"tolerance": "inf"}, "tolerance=inf"),
        ("digits", {"n_train": 1797}, "n_train=1797"),
        ("digits", {"init_scale": 0}, "init_scale=0"),
        ("mnist", {"n_train": 5000}, "n_train=5000: expected at most 4999"),
        ("mnist", {"loss": "mae"}, "loss='mae'"),
        ("mnist", {"width": 0}, "width=0"),
        ("mnist", {"level": 1.2}, "level=1.2"),
    ],
)
def test_mistakes_are_told_in_one_line(name, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        make_task(name, options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", [1.5, "1", None, True])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(ValueError, match="seed="):
        make_task("modular-addition", {"p": 5}).build(seed)


def test_multiplication_takes_a_composite_modulus():
    assert make_task("modular-multiplication", {"p": 12}).options()["p"] == 12


def test_seeds_of_components_differ_and_stay():
    seeds = {derive_seed(seed, part) for seed in range(50) for part in ("split", "init", "batches/0")}
    assert len(seeds) == 150
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive_seed(0, "split") == 3769940940748469125


def test_convert_reads_what_is_meant():
    assert convert("k", "None", (float, type(None))) is None
    assert convert("k", "1e-3", (float,)) == 1e-3
    assert convert("k", 3, (float,)) == 3.0
    assert convert("k", "off", (bool,)) is False
    assert convert("k", "5", (str,)) == "5"
    assert nearest("qqq", ["abc"]) is None


def test_unknown_names_are_value_errors():
    assert issubclass(UnknownName, ValueError)
