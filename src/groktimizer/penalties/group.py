"""The sum of the norms of rows or columns: whole units vanish."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from groktimizer.ground.checks import word
from groktimizer.penalties.base import Penalty, Step, check_order, largest, matrices, raised, spread

_DIMS = {"rows": -1, "columns": -2}


@dataclass(frozen=True)
class GroupL1(Penalty):
    """``h(theta) = sum_i ||row_i||_2`` (or columns), whose minimiser on the zero-loss manifold uses few of them.

    A tensor of more than two dims is flattened from dim 1, so that a row is an output channel of a convolution.

    Args:
        groups: "rows" (along dim 0, the outputs of a layer) or "columns" (its inputs).

    Raises:
        UserError: If `groups` is neither.

    Example:
        >>> import torch
        >>> GroupL1().prox(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), 1.0)
        tensor([[2.4000, 3.2000],
                [0.0000, 0.0000]])
    """

    groups: str = "rows"

    name: ClassVar[str] = "group-l1"

    def __post_init__(self) -> None:
        """Check the option."""
        word("groups", self.groups, _DIMS)

    @override
    def check(self, param: Tensor) -> None:
        """Refuse vectors and scalars, which have no rows."""
        check_order(param.shape, repr(self))

    def _norms(self, theta: Tensor, batched: bool) -> tuple[Tensor, Tensor]:
        """The groups as a matrix, and their norms with the summed dim kept."""
        matrix = matrices(raised(theta), batched, repr(self))
        return matrix, torch.linalg.vector_norm(matrix, dim=_DIMS[self.groups], keepdim=True)

    @override
    def value(self, theta: Tensor, *, batched: bool = False) -> Tensor:
        """The sum of the norms."""
        return self._norms(theta, batched)[1].sum((-2, -1)).to(theta.dtype)

    @override
    def subgradient(self, theta: Tensor, *, batched: bool = False) -> Tensor:
        """Each group divided by its norm, 0 for a group that is 0."""
        matrix, norms = self._norms(theta, batched)
        return (matrix / norms.where(norms > 0, 1.0)).reshape(theta.shape).to(theta.dtype)

    @override
    def prox(self, theta: Tensor, step: Step, *, batched: bool = False) -> Tensor:
        """Each group times ``max(1 - step / norm, 0)``."""
        matrix, norms = self._norms(theta, batched)
        bound = spread(step, matrix, batched=batched, separable=False)
        removed = torch.where(norms > bound, bound / norms, 1.0)
        return (matrix - matrix * removed).reshape(theta.shape).to(theta.dtype)

    @override
    def dual_norm(self, theta: Tensor, *, batched: bool = False) -> Tensor:
        """The largest norm of a group."""
        return largest(self._norms(theta, batched)[1].flatten(-2)).to(theta.dtype)
