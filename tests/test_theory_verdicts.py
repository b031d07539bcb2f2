"""Verdicts of sparse and low-rank problems at their edges: ties, near misses, biases, and laws that do not apply."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from groktimizer.measures import UNFINISHED, Clocks, Errors, Verdict, judge
from groktimizer.optim.penalised import ProximalGradient, groups
from groktimizer.penalties import L1, Nuclear
from groktimizer.tasks import MatrixTask, SparseTask
from groktimizer.theory.lasso import Lasso, accelerated, solve, theorem_2_1, theorem_3_6
from groktimizer.theory.lasso.forecast import ACCELERATED, PROXIMAL, SparseForecast, forecast
from groktimizer.theory.low_rank import LowRank
from groktimizer.theory.low_rank import solvers as low_rank_solvers
from groktimizer.theory.low_rank.forecast import forecast as low_rank_forecast
from groktimizer.theory.low_rank.forecast import outlook
from groktimizer.theory.low_rank.measurements import Dense, Entries
from groktimizer.theory.low_rank.recoverable import Outcome, face, recoverable, tangent
from groktimizer.training import train


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def sparse(seed: int, n_samples: int, n: int = 40, s: int = 3) -> tuple[np.ndarray, np.ndarray]:
    teacher = np.zeros(n)
    teacher[:s] = normal(s, seed=seed + 1000)
    return normal(n_samples, n, seed=seed) / n_samples**0.5, teacher


# recoverability: ties are no recovery


@pytest.mark.parametrize("seed", range(20))
def test_a_column_equal_to_one_of_the_support_is_a_tie(seed: int):
    """The weight of the first coordinate may lie on the last one as well: the dual norm and the constant are 1."""
    features, teacher = sparse(seed, 16 + seed % 3 * 9)
    features[:, -1] = features[:, 0]
    found = Lasso(features, features @ teacher).recovery(teacher)
    assert found.null_space == pytest.approx(1, abs=1e-9) or found.error > 1e-3
    assert not found.recovers


@pytest.mark.slow
def test_a_tie_is_told_as_one():
    features, teacher = sparse(1, 30)
    features[:, -1] = features[:, 0]
    problem = Lasso(features, features @ teacher)
    found = forecast(problem, np.zeros(40), 0.1, 1e-2, 1e-1, 1e-1, teacher)
    assert found.recovery.tied and "one of several fits" in found.verdict
    assert math.isinf(found.times.attainable) and not found.laws[PROXIMAL].guaranteed


def test_dependent_columns_of_the_support_are_impossible():
    """Other vectors of the same support fit a* = (1, 1, 0, ...) as well, whatever a solver finds by luck."""
    features, teacher = sparse(0, 10)
    features[:, 1], teacher[:3] = features[:, 0], (1, 1, 0)
    found = Lasso(features, features @ teacher).recovery(teacher)
    assert not found.recovers and math.isinf(found.null_space) and math.isinf(found.fuchs)


def seen(places: list[int], matrix: list[list[float]]) -> Any:
    return recoverable(Entries(torch.tensor(places), (2, 2)), torch.tensor(matrix))


def test_fewer_measurements_than_degrees_of_freedom_may_do():
    """A corner of 1 has nuclear norm 1 only in diag(1, 0), by <E_11, A> <= ||A||_*, with equality for no other."""
    found = seen([0], [[1, 0], [0, 0]])
    assert found.outcome is Outcome.RECOVERS and found.error == 0
    problem = LowRank.completion(torch.tensor([[0, 0]]), torch.ones(1), (2, 2), torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    law = problem.time_law(0.5, 1e-2)
    assert law.generalised == 0 and math.isinf(law.latest)


@pytest.mark.parametrize(
    ("places", "matrix", "outcome", "words"),
    [
        # [[1, b], [b, 1]] has nuclear norm 2 for |b| <= 1: neither end nor middle is found
        ([0, 3], [[1.0, 0.0], [0.0, 1.0]], Outcome.IMPOSSIBLE, "3 changes U S V' that keep the rank, but only N=2"),
        ([0, 3], [[1.0, 1.0], [1.0, 1.0]], Outcome.MISSES, "same complexity: measure more, in general N ≥ 3"),
        ([0, 1], [[1.0, 1.0], [1.0, 1.0]], Outcome.IMPOSSIBLE, "no entry of row 1"),
    ],
)
def test_a_matrix_that_is_not_the_only_one_is_not_recovered(places, matrix, outcome: Outcome, words: str):
    found = seen(places, matrix)
    assert found.outcome is outcome and words in found.reason


def test_too_few_measurements_of_a_generic_matrix_miss_it():
    truth = torch.tensor(normal(4, 1) @ normal(1, 3, seed=1))
    found = recoverable(Dense(torch.tensor(normal(5, 12, seed=2)), (4, 3)), truth)
    assert found.outcome is Outcome.MISSES and found.error is not None and found.error > 0.1
    assert "in general N ≥ 6 degrees of freedom" in found.reason


def test_along_the_face_the_nuclear_norm_is_linear():
    truth = torch.tensor(normal(5, 2) @ normal(2, 4, seed=1))
    part, whole = face(truth), tangent(truth)
    torch.testing.assert_close(part.basis.T @ part.basis, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(whole.basis @ (whole.basis.T @ part.basis), part.basis)
    for step in (1e-2, -1e-2):
        for change in part.basis.T:
            moved = truth + step * change.reshape(5, 4)
            assert int(torch.linalg.matrix_rank(moved)) == 2
            gain = float(Nuclear().value(moved) - Nuclear().value(truth))
            assert gain == pytest.approx(step * float(change @ part.gradient), abs=1e-12)


# a near miss is no obstacle


@pytest.mark.slow
def test_a_miss_within_the_tolerance_is_not_hopeless():
    data = MatrixTask(N=80).draw(1)
    problem = data.problem()
    near, far = (outlook(problem, data.factors[0], 0.1, 1e-4, (1e-3, tolerance)) for tolerance in (1e-2, 1e-4))
    assert near.verdict.outcome is Outcome.MISSES and near.verdict is far.verdict
    assert not near.hopeless and near.told.endswith("within the tolerance") and math.isfinite(near.expected)
    assert far.hopeless and far.told.endswith("beyond the tolerance") and math.isinf(far.expected)


# transitions


@pytest.mark.parametrize(
    ("times", "errors", "limits", "verdict"),
    [
        ((10, 11), (1.0, 0.001), {}, Verdict.EARLY),
        ((10, 21), (1.0, 0.001), {}, Verdict.EARLY),
        ((10, 22), (1.0, 0.001), {}, Verdict.GROKKED),
        ((0, 1), (1.0, 0.001), {}, Verdict.EARLY),
        ((0, 2), (1.0, 0.001), {}, Verdict.GROKKED),
        ((10, None), (0.74, 0.031), {"attainable": 0.0, "start_share": 1e-6}, Verdict.BIASED),
        ((10, 50), (0.1, 0.09), {"attainable": 0.005, "start_share": 1e-6}, Verdict.BIASED),
        ((10, None), (9.0, 0.3), {"attainable": 0.3, "start_share": 8.9}, Verdict.WITHOUT_UNDERSTANDING),
        ((10, None), (0.9, 0.3), {"attainable": 0.3, "start_share": 1e-6}, Verdict.NEARER),
        ((10, None), (0.9, 0.8), {"attainable": 0.8, "start_share": 1e-6}, Verdict.NOT_GENERALISED),
    ],
)
def test_a_transition_is_named_for_what_caused_it(times, errors, limits: dict[str, float], verdict: Verdict):
    (memorised, generalised), (early, late) = times, errors
    settled = generalised if late <= 0.01 else None
    found = judge(Clocks(memorised, memorised, generalised, settled), Errors(early, late, 0.01, **limits))
    assert found.verdict is verdict


def drawn(n: int, s: int, n_samples: int, weight: float, train: float, **options: Any) -> SparseForecast:
    data = SparseTask(n=n, s=s, N=n_samples, **options).draw(0)
    problem = Lasso(data.features.numpy(), data.targets.numpy())
    rate = min(0.1, 1 / problem.sharpness)
    return forecast(problem, data.factors[0].numpy(), rate, weight, train, 1e-2, data.teacher.numpy())


def test_the_bias_of_the_weight_is_not_a_lack_of_understanding():
    found = drawn(40, 2, 20, 3e-2, 0.2)
    floor = found.times.recovery_floor
    assert found.recovery.recovers and floor > 1e-2 and found.times.memorised is not None
    assert found.transition.verdict is Verdict.BIASED
    assert f"{floor:.4g} is the bias of the weight, a smaller one lowers it towards 0" in found.transition.reason
    for name in (PROXIMAL, ACCELERATED):
        assert found.laws[name].failing == (f"recovery error in the end = {floor:.4g} > 0.01",)
        assert found.laws[name].quantity == "t2 - t1 ~"


def trained(weight: float) -> tuple[Verdict, Verdict]:
    """What theory and a run of 1000 steps call the same ISTA run."""
    task = SparseTask(n=40, s=2, N=20, train_tolerance=0.2)
    rate = min(0.1, 1 / task.draw(0).problem().sharpness)

    def descent(model: torch.nn.Module) -> ProximalGradient:
        return ProximalGradient(groups(model), rate, L1(), weight)

    run = train(task, descent, steps=1000, precision="fp64")
    return drawn(40, 2, 20, weight, 0.2).transition.verdict, run.status


def test_a_run_has_the_verdict_that_theory_gives_it():
    assert trained(3e-2) == (Verdict.BIASED, Verdict.BIASED)
    assert trained(1e-6) == (Verdict.GROKKED, Verdict.NOT_GENERALISED)  # at so small a weight it is only slow


def test_a_run_that_is_nearer_may_have_lacked_steps():
    assert {"nearer", "biased"} < UNFINISHED and not {"diverged", "grokked"} & UNFINISHED


def test_a_low_rank_run_that_rests_short_of_the_truth_is_told_why():
    problem = MatrixTask(N=90).draw(6).problem()
    start = torch.zeros(10, 10)
    found = low_rank_forecast(problem, start, outlook(problem, start, 0.5, 3e-2, (0.2, 1e-2)))
    assert problem.verdict().attainable <= 1e-2 < found.accelerated.recovery_error[-1]
    assert found.transition.verdict is Verdict.BIASED and "the bias of the weight" in found.transition.reason


def test_laws_of_a_time_that_does_not_exist_are_not_guaranteed():
    found = drawn(40, 5, 20, 1e-3, 1e-2, features="coherent", tau=1.0)
    assert not found.recovery.recovers and found.times.generalised is None
    for name in (PROXIMAL, ACCELERATED):
        assert "a* is not the only fit of least l1 norm" in found.laws[name].failing
    assert drawn(40, 2, 20, 1e-3, 1e-2).laws[ACCELERATED].guaranteed


def test_too_few_samples_from_a_small_start_forget_nothing():
    for seed in range(5):
        features, teacher = sparse(seed, 5)
        times = Lasso(features, features @ teacher).grokking_time(np.full(40, 1e-6), 0.1, 1e-3, 1e-2, 1e-2, teacher)
        assert times.attainable > 1e-2 and times.start_share < 1e-4
        assert times.transition.verdict in {Verdict.NOT_GENERALISED, Verdict.NEARER}
        assert f"with small weights at {times.attainable:.6g}" in times.advice[-1]


def test_the_error_of_small_weights_is_that_of_the_noisy_targets():
    features, teacher = sparse(3, 20)
    targets = features @ teacher + 0.02 * normal(20, seed=7)
    problem, start = Lasso(features, targets), np.zeros(40)
    coarse = problem.grokking_time(start, 0.1, 1e-1, 0.5, 1e-3, teacher)
    fine = problem.grokking_time(start, 0.1, 1e-7, 0.5, 1e-3, teacher)
    assert problem.recovery(teacher).recovers and coarse.transition.verdict is not Verdict.BIASED
    assert coarse.attainable == pytest.approx(fine.recovery_floor, rel=1e-3)


# laws


def test_theorem_2_1_holds_under_its_conditions_and_is_open_without():
    """Projected subgradient on ||a||_1, from the least-norm fit: some iterate comes within eta of the least norm."""
    features, teacher = sparse(1, 20)
    lr, weight, excess = 0.1, 1e-2, 0.05
    inverse, least = np.linalg.pinv(features), float(np.abs(teacher).sum())
    a = inverse @ (features @ teacher)
    top = float(np.linalg.norm(features, 2) ** 2)
    law = theorem_2_1(float(np.linalg.norm(a - teacher)), lr, weight, excess, 40**0.5, top)
    assert Lasso(features, features @ teacher).recovery(teacher).recovers and law.guaranteed
    best = math.inf
    for _ in range(math.ceil(law.value)):
        a = a - lr * weight * np.sign(a)
        a = a - inverse @ (features @ (a - teacher))
        best = min(best, float(np.abs(a).sum()))
    assert best <= least + excess
    assert len(theorem_2_1(1.0, lr, weight, excess).failing) == 2
    assert not theorem_2_1(1.0, lr, weight, excess, 100.0, top).guaranteed
    assert accelerated(1.0, lr, weight, excess, top).quantity == "t2 - t1 ~"


def test_the_floor_of_l2_depends_on_the_start():
    features, teacher = sparse(2, 20)
    targets = features @ teacher
    assert theorem_3_6(features, teacher, teacher).value == pytest.approx(0, abs=1e-12)
    assert theorem_3_6(features, teacher, features.T @ targets).value == theorem_3_6(features, teacher).value > 0.1
    floors: list[float] = []
    for start in (teacher + 0.05 * normal(40, seed=3), 0.5 * teacher, normal(40, seed=4)):
        floor = theorem_3_6(features, teacher, start)
        a, nearest = start, math.inf
        for _ in range(2000):
            nearest = min(nearest, float(np.linalg.norm(a - teacher)))
            a = a - 0.1 * (features.T @ (features @ a - targets) + 0.05 * a)
        assert floor.guaranteed and nearest >= floor.value * (1 - 1e-9)
        floors.append(floor.value)
    assert floors[0] < 0.5 * theorem_3_6(features, teacher).value


# what is not accepted

EASY = MatrixTask(N=90).draw(6).problem()


def run(**change: Any) -> object:
    values: dict[str, Any] = {"method": "projected", "lr": 0.5, "weight": 1e-3, "steps": 3}
    return low_rank_solvers.solve(EASY, **(values | change))


def descend(**change: Any) -> object:
    values: dict[str, Any] = {"lr": 0.1, "weight": 0.1, "steps": [3], "teacher": [0.0, 1.0], "method": "ista"}
    return solve([[1.0, 2.0]], [2.0], [0.0, 0.0], **(values | change))


def path(lr: Any = 0.1, weight: Any = 0.1, targets: Any = (2.0,), features: Any = ((1.0, 2.0),)) -> object:
    return Lasso(features, targets).trajectory([0.0, 0.0], lr, weight)


def complete(pairs: Tensor) -> object:
    return LowRank.completion(pairs, torch.ones(1), (2, 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: run(lr=-1.0), "lr=-1.0: expected a finite number > 0"),
        (lambda: run(lr=math.nan), "lr=nan: expected a finite number > 0"),
        (lambda: run(lr="a"), "lr: holds <U1, accepted are real numbers"),
        (lambda: run(lr=torch.ones(1) * 1j), "lr: holds torch.complex64, accepted are real"),
        (lambda: run(lr=torch.ones(2), weight=torch.ones(3)), "lr and weight of lengths 2 and 3: accepted are equal"),
        (lambda: run(train_tolerance=math.nan), "train_tolerance=nan: expected a finite number > 0"),
        (lambda: run(recovery_tolerance=-1.0), "recovery_tolerance=-1.0: expected a finite number > 0"),
        (lambda: run(patience=-1), "patience=-1: expected a whole number ≥ 0"),
        (lambda: EASY.time_law(0.5, 1e-3, tolerance=0.0), "tolerance=0.0: expected a finite number > 0"),
        (lambda: EASY.time_law(0.5, 1e-3, tolerance=-1.0), "tolerance=-1.0: expected a finite number > 0"),
        (lambda: complete(torch.tensor([[0.0, 1.0]])), "pairs of torch.float32: accepted are whole numbers"),
        (lambda: Entries(torch.tensor([0.5]), (2, 2)), "places of torch.float32: accepted are whole numbers"),
        (lambda: LowRank(EASY.measurements, EASY.targets * 1j), "targets of torch.complex128: accepted are real"),
        (lambda: run(start=torch.ones(10, 10) * 1j), "start of torch.complex64: accepted are real numbers"),
        (lambda: LowRank(EASY.measurements, 0 * EASY.targets).check_weight(torch.ones(1)), "targets: all 0 "),
        (lambda: descend(weight=4.0), "weight=4: the answer is 0 from beta_max = 4 on, accepted are values below it"),
        (lambda: descend(weight=[1e-2, 100.0], method="subgradient"), "weight=100: the answer is 0 from beta_max"),
        (lambda: descend(lr="a"), "lr: holds <U1, accepted are real numbers"),
        (lambda: descend(lr=[0.1, 0.1], weight=[0.1, 0.1, 0.1]), "lr and weight of shapes"),
        (lambda: path(lr="a"), "lr='a': expected a finite number > 0"),
        (lambda: path(weight=None), "weight=None: expected a finite number > 0"),
        (lambda: path(features=[[1.0, 2.0j]]), "features: holds complex128, accepted are real numbers"),
        (lambda: path(targets=[0.0]), "targets: all 0 (or X'y is), there is nothing to learn; accepted are"),
    ],
)
def test_mistakes_are_told_in_one_line(make: Any, message: str):
    with pytest.raises(ValueError) as caught:
        make()
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_projected_steps_take_any_weight():
    """They fit at every step, so no weight makes 0 the answer."""
    runs: Any = descend(weight=4.0, method="projected", lr=0.01)
    assert runs.train_error[-1] < 1e-12
