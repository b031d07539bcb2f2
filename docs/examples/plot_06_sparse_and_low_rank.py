"""# Sparse and low-rank

Phase 2 minimises the complexity that you name. With `L1()` it finds a sparse vector, with `Nuclear()` a matrix of low
rank, from fewer numbers than there are unknowns.
"""

# %%
# ## One loop for both
#
# The parameter is a vector or a matrix. Each step takes all samples. `interpolation` says how closely the samples are
# to be fitted; everything else is untuned.

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor, nn

from groktimizer import L1, GROKtimizer, Nuclear
from groktimizer.tasks import MatrixTask, SparseTask

torch.set_num_threads(1)  # tensors are small here


def recover(
    start: Tensor, truth: Tensor, penalty: L1 | Nuclear, residual: Callable[[Tensor], Tensor]
) -> tuple[Tensor, list[float]]:
    """Minimise half the squared residual; give the parameter and its relative error after each of 900 steps."""
    theta, errors = nn.Parameter(start.clone()), []
    opt = GROKtimizer([theta], penalty=penalty, interpolation=1e-5)
    for _ in range(900):
        opt.zero_grad()
        loss = residual(theta).square().sum() / 2
        loss.backward()
        opt.observe(loss)
        opt.step()
        errors.append(away(theta.detach(), truth))
    return theta.detach(), errors


def away(found: Tensor, truth: Tensor) -> float:
    return float((found - truth).norm() / truth.norm())


# %%
# ## A sparse vector
#
# 100 unknowns, five of them not zero, 40 samples. Beside it stands the fit of least ℓ2 norm, by the pseudoinverse.

sparse = SparseTask(n=100, s=5, N=40).draw(0)
start, truth = sparse.factors[0], sparse.teacher
vector, errors = recover(start, truth, L1(), lambda a: sparse.features @ a - sparse.targets)
least = torch.linalg.pinv(sparse.features) @ sparse.targets
for name, found in (("ℓ1", vector), ("ℓ2", least)):
    print(f"least {name} norm: relative error {away(found, truth):.2g}, {int((found != 0).sum())} entries are not zero")

# %%
# The five large entries are found; beside them a few small ones are left, since the fit is as close as
# `interpolation` asks and no closer.

wrong, smallest = vector[truth == 0].abs().max(), truth[truth != 0].abs().min()
print(f"largest entry where the truth is zero: {wrong:.2g}; smallest entry of the truth elsewhere: {smallest:.2g}")

# %%
# ## A matrix of low rank
#
# A 10 × 10 matrix of rank 2, of which 80 entries are seen. The theory says beforehand whether they suffice. The fit of
# least ℓ2 norm has zeros in the other places.

drawn = MatrixTask(n1=10, n2=10, r=2, N=80).draw(0)
verdict = drawn.problem().verdict()
print(f"are 80 entries enough? {verdict.outcome}: {verdict.reason}")
rows, columns = drawn.inputs.T
matrix, _ = recover(drawn.factors[0], drawn.teacher, Nuclear(), lambda a: a[rows, columns] - drawn.targets)
filled = torch.zeros(10, 10, dtype=torch.float64).index_put((rows, columns), drawn.targets)
spectra = {"truth": drawn.teacher, "nuclear norm": matrix, "ℓ2 norm": filled}
for name, found in spectra.items():
    rank = int((torch.linalg.svdvals(found) > 1e-2).sum())
    print(f"{name:12} relative error {away(found, drawn.teacher):.2g}, singular values above 0.01: {rank}")

# %%
# ## What was found
#
# Left the error of the vector on the way, right the singular values of the matrices.

figure, (left, right) = plt.subplots(1, 2, figsize=(6.8, 3.6), layout="constrained")
left.semilogy(range(1, 901), errors, label="under L1()")
left.axhline(away(least, truth), color="C2", linestyle="--", label="least ℓ2 norm")
left.set(xlabel="step", ylabel="relative error", title="Sparse vector, 40 samples")
left.legend()
for place, (name, found) in enumerate(spectra.items()):
    right.bar(np.arange(1, 11) + 0.27 * (place - 1), torch.linalg.svdvals(found).numpy(), width=0.27, label=name)
right.set(xlabel="number", ylabel="singular value", title="Matrix, 80 of 100 entries", xticks=range(1, 11))
right.legend()
plt.show()
