"""The teacher–student task: Jacobians in closed form, the Sobolev loss, and a student that is the teacher."""

from typing import Any

import pytest
import torch

from groktimizer.tasks import make_task
from groktimizer.tasks.relu import TwoLayerRelu
from groktimizer.tasks.teacher import Sobolev, TeacherTask

SMALL: dict[str, Any] = {"N": 6, "d": 4, "r": 5, "c": 3}


def drawn(m: int = 7, d: int = 4, c: int = 3, *, slopes: bool = False) -> TwoLayerRelu:
    return TwoLayerRelu(torch.randn(m, d, dtype=torch.float64), torch.randn(m, c, dtype=torch.float64), slopes=slopes)


def test_the_jacobian_is_the_one_of_automatic_differentiation():
    network, inputs = drawn(), torch.randn(9, 4, dtype=torch.float64)
    wanted = torch.stack([torch.autograd.functional.jacobian(network, x[None]).squeeze() for x in inputs])
    torch.testing.assert_close(network.jacobian(inputs), wanted)


def test_the_network_is_the_product_of_its_jacobian_with_the_input():
    """It is positively 1-homogeneous in x, so J(x) x = y(x) (Euler)."""
    network, inputs = drawn(), torch.randn(9, 4, dtype=torch.float64)
    torch.testing.assert_close(torch.einsum("ncd,nd->nc", network.jacobian(inputs), inputs), network(inputs))


def test_outputs_come_first_and_then_the_jacobian_output_by_output():
    network, inputs = drawn(slopes=True), torch.randn(9, 4, dtype=torch.float64)
    rows = network(inputs)
    assert rows.shape == (9, 3 + 3 * 4)
    torch.testing.assert_close(rows[:, 3:].reshape(9, 3, 4), network.jacobian(inputs))


def test_the_loss_is_the_papers_sum_sample_by_sample():
    task = TeacherTask(**SMALL, sobolev=0.7)
    problem = task.build(0, dtype=torch.float64)
    student = problem.model
    assert isinstance(student, TwoLayerRelu)
    student.requires_grad_(False)
    total = 0.0
    for x, wanted in zip(*problem.train, strict=True):
        active = torch.diag((student.hidden @ x > 0).double())
        outputs = student.readout.T @ active @ student.hidden @ x
        jacobian = student.readout.T @ active @ student.hidden
        total += float((outputs - wanted[:3]).norm() ** 2 + 0.7 * (jacobian - wanted[3:].reshape(3, 4)).norm() ** 2)
    assert float(problem.loss(student, *problem.train)) == pytest.approx(total / 6, rel=1e-12)


def test_the_gradient_of_the_sobolev_loss_is_its_finite_difference():
    problem = TeacherTask(**SMALL, sobolev=2.0).build(0, dtype=torch.float64)
    problem.loss(problem.model, *problem.train).backward()
    for parameter in problem.model.parameters():
        direction = torch.randn_like(parameter)
        assert parameter.grad is not None
        slope = float((parameter.grad * direction).sum())
        ends = []
        for shift in (1e-6, -1e-6):
            with torch.no_grad():
                parameter.add_(direction, alpha=shift)
                ends.append(float(problem.loss(problem.model, *problem.train)))
                parameter.sub_(direction, alpha=shift)
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(slope, rel=1e-6)


def test_sobolev_changes_the_loss_but_neither_data_nor_student_nor_the_conditions():
    plain, matched = (TeacherTask(**SMALL, sobolev=s).build(3, dtype=torch.float64) for s in (0.0, 1.0))
    assert torch.equal(plain.train.inputs, matched.train.inputs)
    assert torch.equal(plain.train.targets, matched.train.targets[:, :3])
    for one, two in zip(plain.model.parameters(), matched.model.parameters(), strict=True):
        assert torch.equal(one, two)
    first, second = plain.evaluate(plain.model), matched.evaluate(matched.model)
    assert first["train_loss"] < second["train_loss"]
    for column in ("test_loss", "train_error", "test_error"):
        assert first[column] == pytest.approx(second[column], rel=1e-12)


def test_a_weight_of_zero_is_no_term():
    found, wanted = torch.randn(5, 3), torch.randn(5, 3)
    assert torch.equal(Sobolev(3, 0.0)(found, wanted), (found - wanted).square().sum(1).mean())


def test_the_teacher_has_the_papers_size_and_spread():
    """y has c outputs of variance r · Var(B) · E relu(⟨a, x⟩)² = r/r² · d/2 = d/(2r) on average."""
    problem = make_task("relu-teacher").build(0)
    assert problem.train.inputs.shape == (100, 100) and problem.train.targets.shape == (100, 2)
    assert problem.model.get_parameter("hidden").shape == (500, 100)
    assert problem.model.get_parameter("readout").shape == (500, 2)
    assert problem.test is not None and problem.test.inputs.shape == (1000, 100)
    assert float(problem.test.targets.square().mean()) == pytest.approx(0.1, rel=0.4)


def test_matching_slopes_generalises_where_outputs_alone_do_not():
    """With d inputs a Jacobian says d times more than an output: the same samples, a third of the test error."""
    errors = []
    for sobolev in (0.0, 1.0):
        problem = TeacherTask(N=60, d=10, r=10, c=2, width=30, sobolev=sobolev).build(0)
        optimizer = torch.optim.Adam(problem.model.parameters(), lr=1e-2)
        for _ in range(600):
            optimizer.zero_grad()
            problem.loss(problem.model, *problem.train).backward()
            optimizer.step()
        errors.append(problem.evaluate(problem.model)["test_error"])
    assert errors[1] < errors[0] / 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"N": 0}, "N=0"),
        ({"width": 0}, "width=0"),
        ({"sobolev": -1}, "sobolev=-1.0: expected a finite number ≥ 0"),
        ({"sobolev": "inf"}, "sobolev=inf"),
        ({"test_tolerance": 0}, "test_tolerance=0"),
        ({"init_scale": 0}, "init_scale=0"),
    ],
)
def test_mistakes_are_one_line(options, message):
    with pytest.raises(ValueError, match=message):
        make_task("relu-teacher", options)
