"""Low-rank recovery: measurements, the solution of least complexity, certificates, four solvers and their clock."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import Tensor

from groktimizer.penalties import Nuclear
from groktimizer.tasks.matrix import MatrixTask
from groktimizer.tasks.sparse import SparseTask
from groktimizer.theory.clock.descent import note, spectral
from groktimizer.theory.lasso import basis_pursuit, fuchs
from groktimizer.theory.low_rank import LowRank
from groktimizer.theory.low_rank.measurements import Dense, Entries, places_of
from groktimizer.theory.low_rank.recoverable import (
    Outcome,
    Recoverability,
    certificate,
    injectivity,
    least_complexity,
    recoverable,
    tangent,
)
from groktimizer.theory.low_rank.solvers import METHODS, NEVER, solve


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def task_problem(seed: int, N: int = 90, name: str = "matrix-completion", **options) -> LowRank:
    return MatrixTask(N=N, name=name, **options).draw(seed).problem()


EASY = task_problem(6)  # certified, margin 0.65


# measurements


def test_entries_are_the_dense_map_of_their_selection():
    entries = Entries(torch.tensor([0, 3, 7, 10]), (3, 4))
    dense = Dense(entries.dense(), (3, 4))
    arrays, values = draw(2, 3, 4), draw(2, 4, seed=1)
    for one, two in (
        (entries.apply(arrays), dense.apply(arrays)),
        (entries.adjoint(values), dense.adjoint(values)),
        (entries.project(arrays, values[0]), dense.project(arrays, values[0])),
        (entries.curvatures, dense.curvatures),
    ):
        torch.testing.assert_close(one, two)
    assert entries.count == dense.count == 4
    assert torch.equal(dense.dense(), entries.dense())


@given(seed=st.integers(0, 1000), count=st.integers(1, 14))
def test_the_projection_is_the_nearest_fit(seed: int, count: int):
    """P(A) fits and A − P(A) is a combination of the measurements; X and X' are adjoint."""
    dense = Dense(draw(count, 12, seed=seed), (3, 4))
    arrays, values = draw(1, 3, 4, seed=seed + 1), draw(1, count, seed=seed + 2)
    targets = dense.apply(draw(1, 3, 4, seed=seed + 3))[0]
    found = dense.project(arrays, targets)
    torch.testing.assert_close(dense.apply(found)[0], targets, atol=1e-8, rtol=1e-8)
    moved = (arrays - found).flatten()
    back = dense.matrix.T @ torch.linalg.lstsq(dense.matrix.T, moved[:, None], driver="gelsd").solution[:, 0]
    torch.testing.assert_close(back, moved, atol=1e-8, rtol=1e-8)
    assert float((dense.apply(arrays) * values).sum()) == pytest.approx(float((arrays * dense.adjoint(values)).sum()))


def test_lines_without_an_entry_are_named():
    assert Entries(torch.tensor([0, 1]), (2, 3)).unseen == ((0, 1), (1, 2))
    assert Entries(torch.arange(6), (2, 3)).unseen == ()


# the solution of least complexity


@pytest.mark.parametrize("seed", range(4))
def test_basis_pursuit_is_the_linear_program(seed: int):
    """A second solver: min Σ(p + q), X(p − q) = y, p, q ≥ 0, by an interior point instead of the simplex."""
    data = SparseTask(n=30, s=4, N=12).draw(seed)
    matrix = data.features.numpy()
    program = linprog(np.ones(60), A_eq=np.hstack((matrix, -matrix)), b_eq=data.targets.numpy(), method="highs-ipm")
    found = basis_pursuit(matrix, data.targets.numpy())
    assert float(np.abs(found).sum()) == pytest.approx(program.fun, rel=1e-7)
    np.testing.assert_allclose(found, program.x[:30] - program.x[30:], atol=1e-6)


@pytest.mark.parametrize(("name", "N"), [("matrix-completion", 80), ("matrix-sensing", 50)])
def test_the_solution_is_proved_by_its_own_dual(name: str, N: int):
    """X Â = y, the dual has operator norm 1 and ⟨dual, Â⟩ = ‖Â‖_*: no fit has a smaller nuclear norm."""
    problem = task_problem(7, N, name)
    found = least_complexity(problem.measurements, problem.targets)
    assert found.converged
    torch.testing.assert_close(problem.measurements.apply(found.array[None])[0], problem.targets)
    assert float(Nuclear().dual_norm(found.dual)) == pytest.approx(1.0, abs=1e-5)
    value = float(Nuclear().value(found.array))
    assert float((found.dual * found.array).sum()) == pytest.approx(value, rel=1e-6)
    combination = problem.measurements.dense().T
    rest = found.dual.flatten() - combination @ torch.linalg.pinv(combination) @ found.dual.flatten()
    assert float(rest.norm()) < 1e-8


def test_targets_that_are_all_zero_have_the_solution_zero():
    found = least_complexity(Entries(torch.tensor([0, 1]), (2, 2)), torch.zeros(2))
    assert found.converged
    assert not found.array.any()


# verdicts


def verdicts(name: str, sizes: tuple[int, ...], seeds: int) -> list[tuple[LowRank, Recoverability]]:
    problems = [task_problem(seed, N, name) for N in sizes for seed in range(seeds)]
    return [(problem, problem.verdict()) for problem in problems]


@pytest.mark.slow
def test_certified_matrices_are_found_and_missed_ones_have_a_rival():
    seen: set[Outcome] = set()
    for problem, verdict in verdicts("matrix-completion", (70, 90), 4):
        truth = problem.known_truth()
        found = least_complexity(problem.measurements, problem.targets)
        error = float((found.array - truth).norm() / truth.norm())
        seen.add(verdict.outcome)
        if verdict.outcome is Outcome.CERTIFIED:
            assert error < 1e-6
            assert verdict.margin is not None
            assert 0 < verdict.margin < 1
        else:
            assert verdict.outcome is Outcome.MISSES
            assert float(Nuclear().value(found.array)) < float(Nuclear().value(truth))
            assert verdict.error == pytest.approx(error, rel=0.1)
    assert seen == {Outcome.CERTIFIED, Outcome.MISSES}


def test_the_tangent_space_holds_every_matrix_of_the_rank_nearby():
    """Rank-r matrices have r(n1 + n2 − r) degrees of freedom; A* + t(U B' + C V') leaves it at second order only."""
    truth = draw(6, 2) @ draw(2, 5, seed=1)
    space = tangent(truth)
    assert space.dimension == 2 * (6 + 5 - 2)
    torch.testing.assert_close(space.basis.T @ space.basis, torch.eye(18, dtype=torch.float64))
    left = torch.linalg.svd(truth)[0][:, :2]
    inside = left @ draw(2, 5, seed=3)
    coordinates = space.basis.T @ inside.flatten()
    torch.testing.assert_close(space.basis @ coordinates, inside.flatten())
    torch.testing.assert_close(space.basis @ (space.basis.T @ space.gradient), space.gradient)


def test_a_certificate_implies_growth_along_the_fits():
    """‖A* + D‖_* − ‖A*‖_* ≥ m ‖D off T‖_* for every D that is not measured, m = 1 − the certificate's norm."""
    truth, space = EASY.known_truth(), tangent(EASY.known_truth())
    size = certificate(EASY.measurements, space)
    assert size is not None
    assert injectivity(EASY.measurements, space) > 0
    for seed in range(20):
        away = EASY.measurements.project(draw(1, 10, 10, seed=seed), torch.zeros(90, dtype=torch.float64))[0]
        off = (away.flatten() - space.basis @ (space.basis.T @ away.flatten())).reshape(10, 10)
        gain = Nuclear().value(truth + away) - Nuclear().value(truth)
        assert float(gain) >= (1 - size) * float(Nuclear().value(off)) - 1e-12


def test_fuchs_certificate_is_the_textbook_formula():
    """max over j off the support of |X_j' X_S (X_S'X_S)⁻¹ sign(a_S)|."""
    data = SparseTask(n=30, s=3, N=15).draw(2)
    on = data.teacher != 0
    inside = data.features[:, on]
    weights = inside @ torch.linalg.solve(inside.T @ inside, data.teacher[on].sign())
    wanted = float((data.features[:, ~on].T @ weights).abs().max())
    assert fuchs(data.features.numpy(), data.teacher.numpy()) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("measurements", "truth", "reason"),
    [
        (Entries(torch.arange(6), (4, 3)), draw(4, 1) @ draw(1, 3), "no entry of row 2 is observed"),
        (Entries(torch.tensor([0, 3, 6, 9]), (4, 3)), draw(4, 1) @ draw(1, 3), "no entry of column 1"),
        (Entries(torch.arange(9), (4, 3)), draw(4, 2) @ draw(2, 3), "no entry of row 3 is observed"),
        (Dense(draw(2, 12), (4, 3)), draw(4, 2) @ draw(2, 3), "3 changes .* only N=2 .* take N ≥ 3"),
    ],
)
def test_a_shortage_is_told_in_one_line(measurements, truth, reason: str):
    verdict = recoverable(measurements, truth)
    assert verdict.outcome is Outcome.IMPOSSIBLE
    assert not verdict.recoverable
    assert "recovery is impossible" in verdict.reason
    assert "\n" not in verdict.reason
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(verdict.reason)


def test_a_row_that_is_zero_may_go_unobserved():
    truth = torch.tensor([[1.0, 2.0], [0.0, 0.0], [1.0, 1.0]])
    verdict = recoverable(Entries(torch.tensor([0, 1, 4, 5]), (3, 2)), truth)
    assert "row" not in verdict.reason


# solvers


def by_hand(method: str, problem: LowRank, lr: float, weight: float, steps: int) -> np.ndarray:
    """The updates in numpy, straight from their formulas."""
    matrix, targets = problem.measurements.dense().numpy(), problem.targets.numpy()
    inverse = np.linalg.pinv(matrix)
    a = draw(*problem.shape).numpy()
    former, t = a, 1.0

    def gradient(at: np.ndarray) -> np.ndarray:
        return (matrix.T @ (matrix @ at.ravel() - targets)).reshape(at.shape)

    def polar(at: np.ndarray) -> np.ndarray:
        u, s, v = np.linalg.svd(at, full_matrices=False)
        return (u * (s > 1e-12)) @ v

    def threshold(at: np.ndarray) -> np.ndarray:
        u, s, v = np.linalg.svd(at, full_matrices=False)
        return (u * np.maximum(s - lr * weight, 0)) @ v

    for _ in range(steps):
        if method == "subgradient":
            a = a - lr * (gradient(a) + weight * polar(a))
        elif method == "proximal":
            a = threshold(a - lr * gradient(a))
        elif method == "projected":
            a = a - lr * weight * polar(a)
            a = a - (inverse @ (matrix @ a.ravel() - targets)).reshape(a.shape)
        else:
            later = (1 + math.sqrt(1 + 4 * t * t)) / 2
            z = a + (t - 1) / later * (a - former)
            landed = threshold(z - lr * gradient(z))
            restart = ((z - landed) * (landed - a)).sum() > 0
            former, a, t = (landed if restart else a), landed, (1.0 if restart else later)
    return a


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["matrix-sensing", pytest.param("matrix-completion", marks=pytest.mark.slow)])
def test_a_solver_is_its_formula(method: str, name: str):
    problem = task_problem(3, 15, name, n1=5, n2=4, r=1)
    lr, steps = 0.5 / problem.sharpness, 20 if method in {"subgradient", "projected"} else 100
    found = solve(problem, method, lr, 0.02, steps, start=draw(5, 4))
    np.testing.assert_allclose(found.matrices[0].numpy(), by_hand(method, problem, lr, 0.02, steps), atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_a_grid_is_its_runs(method: str):
    lr, weight = torch.tensor([0.5, 0.5, 0.25]), torch.tensor([1e-3, 5e-3, 5e-3])
    grid = solve(EASY, method, lr, weight, 300)
    for i in range(3):
        one = solve(EASY, method, float(lr[i]), float(weight[i]), 300)
        torch.testing.assert_close(grid.matrices[i], one.matrices[0], atol=1e-9, rtol=1e-9)
        for column in ("memorised", "memorised_settled", "generalised", "settled"):
            assert int(getattr(grid, column)[i]) == int(getattr(one, column)[0])


def test_the_proximal_limit_is_stationary():
    """At the limit −X'(XA − y)/β is a subgradient of the nuclear norm: 0 ∈ ∇g + β ∂h."""
    found = solve(EASY, "accelerated", 1.0, 0.01, 3000, patience=10_000)
    a = found.matrices[0]
    pull = -EASY.measurements.adjoint(EASY.measurements.apply(a[None]) - EASY.targets)[0] / 0.01
    assert float(Nuclear().dual_norm(pull)) <= 1 + 1e-6
    assert float((pull * a).sum()) == pytest.approx(float(Nuclear().value(a)), rel=1e-6)


def test_clock_two_runs_at_the_drift_and_momentum_takes_its_root():
    """Steps to recovery: as 1/(lr weight) for the three plain methods, about 1/√(lr weight) with momentum."""
    for method, low, high in (("subgradient", 2.9, 3.1), ("proximal", 2.9, 3.1), ("projected", 2.9, 3.1)):
        found = solve(EASY, method, 0.5, torch.tensor([1.5e-3, 5e-4]), 3000, patience=50)
        one, two = found.generalised.tolist()
        assert low < two / one < high
    fast = solve(EASY, "accelerated", 0.5, torch.tensor([1.5e-3, 1.5e-5]), 3000, patience=50)
    one, two = fast.generalised.tolist()
    assert 4 < two / one < 14


@pytest.mark.parametrize("seed", [6, 7])
def test_the_law_brackets_the_projected_subgradient(seed: int):
    problem = task_problem(seed)
    law = problem.time_law(0.5, 5e-4)
    found = solve(problem, "projected", 0.5, 5e-4, 4000, patience=50)
    assert int(found.memorised) == 1
    assert law.earliest <= int(found.generalised) <= int(found.settled) <= law.latest < math.inf
    assert law.generalised < int(found.generalised) < 9 * law.generalised
    error = law.interpolant - problem.known_truth()
    assert law.distance == pytest.approx(float(torch.linalg.matrix_norm(error, 2)))
    assert law.theorem(0.1) == pytest.approx(float(error.square().sum()) / (0.5 * 5e-4 * 0.1))


def test_clock_one_is_the_rate_of_gradient_descent():
    problem = task_problem(7, 60, "matrix-sensing")
    lr = 0.5 / problem.sharpness
    law = problem.time_law(lr, 1e-4)
    found = solve(problem, "proximal", lr, 1e-4, 4000, train_tolerance=1e-2)
    assert 0 < int(found.memorised) < law.memorised
    fit = problem.interpolant()
    torch.testing.assert_close(problem.measurements.apply(fit[None])[0], problem.targets)
    assert law.ripple > 0


def test_an_uncertified_matrix_has_no_latest_time():
    assert task_problem(1, 70).time_law(0.5, 1e-4).latest == math.inf


@given(errors=st.lists(st.sampled_from([0.5, 1.0, 2.0, math.nan]), min_size=1, max_size=25))
def test_a_clock_is_the_definition(errors: list[float]):
    marks = np.full(2, NEVER)
    for step, error in enumerate(errors):
        note(marks, step, error <= 1.0)
    met = [error <= 1.0 for error in errors]
    first = met.index(True) if any(met) else NEVER
    assert int(marks[0]) == first
    assert int(marks[1]) == next((step for step in range(len(met)) if all(met[step:])), NEVER)


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (6, 6)])
def test_turned_rows_give_the_singular_values(shape: tuple[int, int]):
    """Soft threshold and polar factor against LAPACK's, of full rank, of rank two and of two equal singular values."""
    rng = np.random.default_rng(0)
    left, _, right = np.linalg.svd(rng.normal(size=shape), full_matrices=False)
    flat, place = np.linspace(1, 2, shape[0]), np.arange(shape[0])
    for values in (flat, np.where(place == 1, 1.0, flat), flat * (place < 2), flat * 10.0**-place):
        matrix, found = np.ascontiguousarray((left * values) @ right), np.empty(shape)
        for threshold in (1e-3, 1.2):
            basis = np.linalg.qr(rng.normal(size=(shape[0], shape[0])))[0].copy()
            spectral(basis, matrix, threshold, found)
            np.testing.assert_allclose(found, (left * np.maximum(values - threshold, 0)) @ right, atol=1e-14)
        spectral(np.eye(shape[0]), matrix, -1.0, found)
        np.testing.assert_allclose(found, (left * (values > 0)) @ right, atol=1e-11)


def test_without_a_truth_there_are_no_recovery_errors():
    problem = LowRank(EASY.measurements, EASY.targets)
    found = solve(problem, "proximal", 1.0, 1e-3, 20)
    assert found.generalised.tolist() == [NEVER]
    assert found.recovery_error.isnan().all()
    assert found.steps == 20


# mistakes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: solve(EASY, "proximal", 2.0, 1e-3, 5), "lr=2: diverges on these measurements, .* below 2"),
        (lambda: solve(EASY, "subgradient", 2.5, 1e-3, 5), "lr=2.5: diverges"),
        (lambda: solve(EASY, "accelerated", 1.1, 1e-3, 5), "may diverge with momentum, .* up to 1$"),
        (lambda: solve(EASY, "proximal", -1.0, 1e-3, 5), "lr=-1.0: expected"),
        (
            lambda: solve(EASY, "proximal", 1.0, 0.9, 5),
            r"weight=0.9: the answer is 0 from beta_max = 0.7",
        ),
        (lambda: solve(EASY, "proximal", 1.0, 0.0, 5), "weight=0.0: expected"),
        (lambda: solve(EASY, "proxmal", 1.0, 1e-3, 5), "method='proxmal': accepted are subgradient"),
        (lambda: solve(EASY, "proximal", 1.0, 1e-3, -1), "steps=-1"),
        (lambda: solve(EASY, "proximal", torch.ones(2, 2), 1e-3, 1), r"shape \(2, 2\)"),
        (lambda: solve(EASY, "proximal", 1.0, 1e-3, 1, start=torch.zeros(3, 3)), r"start of shape \(3, 3\)"),
        (lambda: EASY.time_law(2.0, 1e-3), "diverges"),
        (lambda: EASY.time_law(1.0, 5.0), "the answer is 0 from"),
        (lambda: EASY.time_law(1.0, 1e-3).theorem(0.0), "slack=0.0"),
        (lambda: LowRank(EASY.measurements, EASY.targets).verdict(), "truth=None"),
        (lambda: LowRank(EASY.measurements, EASY.targets[:3]), r"targets of shape \(3,\)"),
        (lambda: LowRank(EASY.measurements, EASY.targets, torch.zeros(2, 2)), r"truth of shape \(2, 2\)"),
        (lambda: LowRank(EASY.measurements, EASY.targets * math.nan), "targets: holds NaN"),
        (lambda: LowRank(Dense(draw(3, 4), (4,)), torch.zeros(3)), "accepted are matrices"),
        (lambda: LowRank.sensing(draw(3, 4), torch.zeros(3)), r"accepted are \(N, n1, n2\)"),
        (lambda: Dense(draw(0, 4), (4,)), "N=0"),
        (lambda: Dense(draw(3, 4), (5,)), r"accepted are \(N, 5\)"),
        (lambda: Dense(draw(3, 4) / 0, (4,)), "NaN or inf"),
        (lambda: Entries(torch.tensor([], dtype=torch.int64), (2, 2)), "N=0"),
        (lambda: Entries(torch.tensor([4]), (2, 2)), r"outside 0..3"),
        (lambda: Entries(torch.tensor([1, 1]), (2, 2)), "listed twice"),
        (lambda: places_of(torch.tensor([[0, 2]]), (2, 2)), "lies outside"),
        (lambda: places_of(torch.tensor([0, 2]), (2, 2)), r"accepted are \(N, 2\)"),
        (lambda: recoverable(Dense(draw(3, 4), (2, 2)), torch.zeros(2, 2)), "all zeros"),
        (lambda: recoverable(Dense(draw(3, 4), (2, 2)), torch.zeros(2, 3)), r"truth of shape \(2, 3\)"),
    ],
)
def test_mistakes_are_told_in_one_line(make, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_the_law_refuses_a_matrix_that_cannot_be_recovered():
    pairs = torch.cartesian_prod(torch.arange(3), torch.arange(4))
    truth = draw(4, 1) @ draw(1, 4)
    problem = LowRank.completion(pairs, truth[pairs[:, 0], pairs[:, 1]], (4, 4), truth)
    with pytest.raises(ValueError, match="no entry of row 3 is observed, so recovery is impossible"):
        problem.time_law(1.0, 1e-3)
