"""Losses against their definitions, number by number, and wrong labels: how many, which, and where there are none."""

import math

import pytest
import torch

from groktimizer.tasks import LOSSES, make_task
from groktimizer.tasks.criterion import accuracy
from groktimizer.tasks.labels import spoil
from groktimizer.tasks.problem import hinge, stablemax

LABELLED = {
    "modular-addition": {"p": 23},
    "s5-composition": {"width": 8, "train_fraction": 0.1},
    "digits": {"n_train": 200, "width": 8},
    "mnist-1d": {"n_train": 200, "width": 8},
    "tabular": {"data": "breast-cancer", "n_train": 200, "width": 8},
    "bit-parity": {"n": 12, "n_train": 200, "width": 8},
}


def drawn(n: int = 6, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(n, classes, dtype=torch.float64, generator=source)
    return logits, torch.randint(0, classes, (n,), generator=source)


def test_hinge_is_the_sum_over_the_other_classes():
    logits, targets = drawn()
    total = 0.0
    for row, y in zip(logits.tolist(), targets.tolist(), strict=True):
        total += sum(max(0.0, 1 - row[y] + x) for c, x in enumerate(row) if c != y) / 4
    assert float(hinge(logits, targets)) == pytest.approx(total / 6, rel=1e-12)


def test_hinge_of_two_classes_is_half_that_of_a_sign():
    logits, targets = drawn(50, 2)
    margin = (2 * targets - 1) * (logits[:, 1] - logits[:, 0])
    assert float(hinge(logits, targets)) == pytest.approx(float((1 - margin).clamp(min=0).mean() / 2), rel=1e-12)


def test_stablemax_is_its_formula():
    logits, targets = drawn()
    total = 0.0
    for row, y in zip(logits.tolist(), targets.tolist(), strict=True):
        sizes = [x + 1 if x >= 0 else 1 / (1 - x) for x in row]
        total -= math.log(sizes[y] / sum(sizes))
    assert float(stablemax(logits, targets)) == pytest.approx(total / 6, rel=1e-12)


def test_stablemax_has_a_gradient_where_cross_entropy_rounds_to_none():
    """At logits (1000, 0) softmax is 1 in float32; s is (1001, 1), the gradient of the smaller one 1/1002."""
    logits = torch.tensor([[1000.0, 0.0]], requires_grad=True)
    slope = {}
    for name in ("cross-entropy", "stablemax"):
        (slope[name],) = torch.autograd.grad(LOSSES[name](logits, torch.tensor([0])), logits)
    assert not slope["cross-entropy"].any()
    assert float(slope["stablemax"][0, 1]) == pytest.approx(1 / 1002, rel=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_is_the_finite_difference_also_at_the_kink_of_stablemax(name: str):
    logits, targets = drawn()
    logits[0, 0] = 0.0
    logits.requires_grad_(True)
    (slope,) = torch.autograd.grad(LOSSES[name](logits, targets), logits)
    direction, step = torch.randn_like(logits), 1e-6
    with torch.no_grad():
        ends = [float(LOSSES[name](logits + sign * step * direction, targets)) for sign in (1, -1)]
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float((slope * direction).sum()), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("task", LABELLED)
@pytest.mark.parametrize("name", LOSSES)
def test_every_classification_takes_every_loss(task: str, name: str):
    problem = make_task(task, {**LABELLED[task], "loss": name}).build(0, dtype=torch.float64)
    loss = problem.loss(problem.model, *problem.train)
    assert float(loss.detach()) == pytest.approx(
        float(LOSSES[name](problem.model(problem.train.inputs).detach(), problem.train.targets)), rel=1e-12
    )


def build(task: str, share: float, seed: int = 3):
    return make_task(task, {**LABELLED[task], "wrong_labels": share}).build(seed)


@pytest.mark.parametrize("task", LABELLED)
def test_the_share_is_wrong_in_training_and_nothing_else_changes(task: str):
    clean, spoilt = build(task, 0.0), build(task, 0.25)
    wrong = clean.train.targets != spoilt.train.targets
    assert int(wrong.sum()) == round(0.25 * len(wrong))
    assert torch.equal(clean.train.inputs, spoilt.train.inputs)
    assert clean.test is not None and spoilt.test is not None
    assert torch.equal(clean.test.targets, spoilt.test.targets)
    for one, two in zip(clean.model.parameters(), spoilt.model.parameters(), strict=True):
        assert torch.equal(one, two)
    assert torch.equal(build(task, 0.25).train.targets, spoilt.train.targets)
    assert not torch.equal(build(task, 0.25, seed=4).train.targets, spoilt.train.targets)


def test_wrong_classes_are_the_others_all_alike():
    """Of 9,000 labels of 4 classes half are wrong: of each class about as many go to each other one (4 sigma)."""
    right = torch.arange(4).repeat(2250)
    spoilt = spoil(right, 0.5, 4, seed=1)
    moved = torch.bincount(4 * right + spoilt, minlength=16).reshape(4, 4)
    assert int(moved.diagonal().sum()) == 4500
    others = moved[~torch.eye(4, dtype=torch.bool)].double()
    assert float((others - 375).abs().max()) < 4 * math.sqrt(375)
    assert spoil(right, 0.0, 4, seed=1) is right


def test_levels_go_down_with_the_share():
    task = make_task("modular-addition", {"wrong_labels": 0.05})
    assert (task.memorised.threshold, task.generalised.threshold) == (0.941, 0.941)
    assert accuracy("test", 0.99).threshold == 0.99


@pytest.mark.parametrize("task", LABELLED)
@pytest.mark.parametrize(
    ("option", "message"),
    [({"wrong_labels": 1.0}, r"wrong_labels=1.0"), ({"wrong_labels": -0.1}, "wrong_labels"), ({"loss": "mae"}, "loss")],
)
def test_mistakes_are_one_line(task: str, option: dict, message: str):
    with pytest.raises(ValueError, match=message):
        make_task(task, {**LABELLED[task], **option})
