"""Nuclear norms and groups against libraries that others keep: cvxpy with Clarabel, skglm."""

import warnings

import numpy as np
import pytest
import torch

from groktimizer import GroupL1, Nuclear
from groktimizer.tasks import MatrixTask
from groktimizer.theory.low_rank import LowRank
from groktimizer.theory.low_rank.recoverable import least_complexity

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of cvxpy, about solvers that are not installed
    import cvxpy
    from skglm.utils.prox_funcs import BST


def least_nuclear_norm(problem: LowRank) -> np.ndarray:
    """The matrix of least nuclear norm that fits."""
    found = cvxpy.Variable(problem.shape)
    rows = torch.eye(problem.shape[0] * problem.shape[1], dtype=torch.float64).reshape(-1, *problem.shape)
    seen = problem.measurements.apply(rows).T.numpy()  # one row a measurement, over the entries
    fits = seen @ cvxpy.vec(found, order="C") == problem.targets.numpy()
    cvxpy.Problem(cvxpy.Minimize(cvxpy.normNuc(found)), [fits]).solve(solver=cvxpy.CLARABEL)
    assert found.value is not None
    return found.value


@pytest.mark.parametrize("name", ["matrix-completion", "matrix-sensing"])
@pytest.mark.parametrize("size", [22, 30])
def test_the_fit_of_least_nuclear_norm_is_that_of_cvxpy(name: str, size: int):
    problem = MatrixTask(name=name, n1=7, n2=6, r=1, N=size).draw(0).problem()
    found = least_complexity(problem.measurements, problem.targets)
    wanted = least_nuclear_norm(problem)
    assert found.converged
    norms = [float(np.linalg.norm(matrix, "nuc")) for matrix in (found.array.numpy(), wanted)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-6)
    np.testing.assert_allclose(found.array.numpy(), wanted, atol=2e-4 * norms[1])


@pytest.mark.parametrize("weight", [0.3, 2.0])
def test_the_nuclear_prox_is_the_argmin_that_cvxpy_finds(weight: float):
    theta = np.random.default_rng(0).standard_normal((5, 4))
    found = cvxpy.Variable(theta.shape)
    loss = 0.5 * cvxpy.sum_squares(found - theta) + weight * cvxpy.normNuc(found)
    cvxpy.Problem(cvxpy.Minimize(loss)).solve(solver=cvxpy.CLARABEL)
    assert found.value is not None
    np.testing.assert_allclose(Nuclear().prox(torch.from_numpy(theta), weight).numpy(), found.value, atol=1e-4)


@pytest.mark.parametrize("groups", ["rows", "columns"])
def test_the_group_prox_is_the_block_soft_threshold_of_skglm(groups: str):
    theta = np.random.default_rng(1).standard_normal((6, 3))
    blocks = theta if groups == "rows" else theta.T
    wanted = np.stack([BST(block.copy(), 1.2) for block in blocks])
    found = GroupL1(groups).prox(torch.from_numpy(theta), 1.2).numpy()
    np.testing.assert_allclose(found if groups == "rows" else found.T, wanted, rtol=1e-12, atol=1e-15)
    assert (wanted == 0).all(1).any()
    assert not (wanted == 0).all()
