"""Operations: the axioms of a group, a faithful action, and numbers of solutions that are known without the table."""

from itertools import permutations

import pytest
import torch

from groktimizer.ground.errors import UserError
from groktimizer.tasks import FiniteTask, make_task
from groktimizer.tasks.operations import OPERATIONS, table
from groktimizer.tasks.permutations import compose, elements, inverse

S5 = {name for name, operation in OPERATIONS.items() if operation.order}
EVERY = torch.arange(120)


def square(name: str, p: int) -> torch.Tensor:
    """The answers as a p × p matrix."""
    return table(name, p).targets.reshape(p, p)


def test_permutations_are_a_group():
    """All 120³ triples associate, 0 is neutral, each row and column holds everything once, inverses are inverse."""
    product = square("s5-composition", 120)
    assert torch.equal(product[product], product[:, product])
    assert torch.equal(product[0], EVERY) and torch.equal(product[:, 0], EVERY)
    assert torch.equal(product.sort(0).values, EVERY[:, None].expand(120, 120))
    assert torch.equal(product.sort(1).values, EVERY.expand(120, 120))
    assert not compose(EVERY, inverse(EVERY)).any() and not compose(inverse(EVERY), EVERY).any()


def test_permutation_matrices_are_a_faithful_action():
    """P(a) e_i = e_a(i): the matrices differ and multiply as the numbers do."""
    assert elements().tolist() == [list(images) for images in permutations(range(5))]
    matrices = torch.nn.functional.one_hot(elements(), 5).transpose(1, 2).double()
    assert len(matrices.flatten(1).unique(dim=0)) == 120
    pairs, answers = table("s5-composition", 120)
    assert torch.equal(matrices[pairs[:, 0]] @ matrices[pairs[:, 1]], matrices[answers])


def test_the_group_is_s5_by_its_counts():
    """Elements by order, sizes of the classes of conjugates, and pairs that commute (order × classes)."""
    product, order, power = square("s5-composition", 120), torch.zeros(120, dtype=torch.long), EVERY.clone()
    for n in range(1, 61):
        order[(power == 0) & (order == 0)] = n
        power = product[power, EVERY]
    assert torch.bincount(order).tolist() == [0, 1, 25, 20, 30, 24, 20]
    assert int((product == product.T).sum()) == 120 * 7
    conjugates = square("s5-conjugation", 120)
    classes = {frozenset(column.tolist()) for column in conjugates.T}  # a column holds all conjugates of one b
    assert sorted(map(len, classes)) == [1, 10, 15, 20, 20, 24, 30]


def test_conjugates_and_sandwiches_solve_their_equations():
    """(aba⁻¹)a = ab; aba = e exactly where b is the inverse of a², which is once for each a."""
    product, conjugate, sandwich = (square(f"s5-{name}", 120) for name in ("composition", "conjugation", "sandwich"))
    assert torch.equal(product[conjugate, EVERY[:, None]], product)
    assert torch.equal(sandwich, product[product, EVERY[:, None]])
    solved = (sandwich == 0).nonzero()
    assert torch.equal(solved[:, 0], EVERY)
    assert not product[solved[:, 1], product[EVERY, EVERY]].any()


def legendre(a: int, p: int) -> int:
    """1 if a is a square mod p, −1 if not, 0 if p divides it (Euler)."""
    return (pow(a % p, (p - 1) // 2, p) + 1) % p - 1


def counts(name: str, p: int) -> list[int]:
    return torch.bincount(table(name, p).targets, minlength=p).tolist()


@pytest.mark.parametrize("p", [7, 11, 13, 23, 31])
def test_a_conic_has_its_number_of_points(p: int):
    """ax² + bxy + cy² = d has p − χ(b² − 4ac) points for d ≠ 0 and p + (p − 1)χ(b² − 4ac) for d = 0.

    x² + xy + y² + x has its centre at x = −2/3, y = 1/3, where it is −1/3: the same counts, from there.
    """
    for name, discriminant in (("modular-squares", -4), ("modular-quadratic", -3)):
        sign = legendre(discriminant, p)
        assert counts(name, p) == [p + (p - 1) * sign] + [p - sign] * (p - 1)
    sign, centre = legendre(-3, p), -pow(3, -1, p) % p
    wanted = [p - sign] * p
    wanted[centre] = p + (p - 1) * sign
    assert counts("modular-quadratic-shifted", p) == wanted


@pytest.mark.parametrize("p", [5, 11, 13, 31])
def test_a_cubic_has_its_number_of_points(p: int):
    """x³ + xy = c: one y for each x ≠ 0, and all y at x = 0 if c = 0. x³ + xy² + y = c is quadratic in y for x ≠ 0."""
    assert counts("modular-cubic", p) == [2 * p - 1] + [p - 1] * (p - 1)
    wanted = [1 + sum(1 + legendre(1 - 4 * x * (x**3 - c), p) for x in range(1, p)) for c in range(p)]
    assert counts("modular-cubic-mixed", p) == wanted


def test_polynomials_tell_left_from_right_where_they_should():
    for name in ("modular-squares", "modular-quadratic"):
        assert torch.equal(square(name, 13), square(name, 13).T)
    for name in ("modular-quadratic-shifted", "modular-cubic", "modular-cubic-mixed"):
        assert not torch.equal(square(name, 13), square(name, 13).T)


@pytest.mark.parametrize("name", sorted(S5))
def test_a_task_of_permutations_has_no_modulus(name: str):
    task = make_task(name, {"width": 8})
    assert "p" not in task.options()
    problem = task.build(0)
    assert problem.model.get_parameter("second").shape == problem.model.get_parameter("embedding").shape
    assert len(problem.train.inputs) == 10_080 and problem.model(problem.train.inputs[:3]).shape == (3, 120)
    with pytest.raises(UserError, match=f"p=97: {name} has 120 symbols"):
        FiniteTask(name=name)
