"""How sharp the training loss is at a network: by the Hessian, in SAM's ball, and so that rescaling cannot move it.

With ℓ_i the loss of sample i, z_i its outputs, J_i = ∂z_i/∂θ and Λ_i = ∂²ℓ_i/∂z², the Hessian is H = G + (terms with
∂ℓ/∂z, which vanish at an exact fit) and G = (1/n) Σ J_iᵀ Λ_i J_i. λ_max(H), tr H and SAM's sharpness change when two
layers exchange a factor and the function stays (arXiv 1703.04933); `fisher_rao` and `relative_flatness` do not.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp
from typing_extensions import override

from groktimizer.ground.checks import positive, whole
from groktimizer.ground.errors import UserError
from groktimizer.ground.extras import require

Objective = Callable[[Tensor, Tensor], Tensor]
PROBES = 60  # Hessian-vector products for the trace
PRECISE, VECTORS = 1e-3, 12  # relative, of the largest eigenvalue; of Lanczos' basis
RADIUS, ASCENT = 0.05, 10  # of SAM's ball, and steps in it
PER_PROBE = 3  # Hutch++ spends a third of its products on each of its parts


@dataclass(frozen=True)
class Curvature:
    """Of the Hessian of a training loss.

    Attributes:
        largest: λ_max, its largest eigenvalue.
        trace: Its trace.
    """

    largest: float
    trace: float


class _Mean(nn.Module):
    """An objective as curvlinops wants it: a module that says how it reduces."""

    reduction = "mean"

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective

    @override
    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss."""
        return self.objective(outputs, targets)


def curvature(
    model: nn.Module, objective: Objective, inputs: Tensor, targets: Tensor, *, probes: int = PROBES, seed: int = 0
) -> Curvature:
    """Measure λ_max and the trace of the Hessian of the mean loss in all trainable parameters.

    By products of the Hessian with vectors (curvlinops): λ_max by Lanczos' iteration to 1e-3, the trace by Hutch++
    (arXiv 2010.09649). Both are exact where there are no more parameters than `probes`.

    Args:
        model: The network, in the mode that it is measured in. Its dtype is the precision of the answer.
        objective: Mean loss from outputs and targets.
        inputs: Shape (n, …).
        targets: Shape (n,) or (n, …).
        probes: Hessian-vector products for the trace, at least 3.
        seed: Of the random vectors; PyTorch's global state is left alone.

    Returns:
        Both, in units of the loss.

    Raises:
        UserError: If the loss is not finite, no parameter is trainable, or there are too few probes.

    Example:
        >>> line, rows = nn.Linear(2, 1, bias=False).double(), torch.diag(torch.tensor([1.0, 3.0])).double()
        >>> found = curvature(line, nn.functional.mse_loss, rows, torch.zeros(2, 1).double())
        >>> round(found.largest, 6), round(found.trace, 6)  # the Hessian is (2/n) XᵀX = diag(1, 9)
        (9.0, 10.0)
    """
    whole("probes", probes, PER_PROBE)
    params = _trainable(model)
    _loss(model, objective, inputs, targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        library = _curvlinops()
        data, told = [(inputs, targets)], {"check_deterministic": False}
        operator = library.HessianLinearOperator(model, _Mean(objective), params, data, **told)
        size = operator.shape[0]
        if size <= probes:
            matrix = operator @ torch.eye(size, dtype=params[0].dtype, device=params[0].device)
            return Curvature(float(torch.linalg.eigvalsh((matrix + matrix.T) / 2)[-1]), float(matrix.trace()))
        trace = float(library.hutchpp_trace(operator, probes - probes % PER_PROBE))
        start = torch.randn(size).numpy()
    eigsh = require("scipy.sparse.linalg", extra="lab").eigsh
    rest: dict[str, Any] = {"v0": start, "ncv": min(VECTORS, size), "tol": PRECISE, "return_eigenvectors": False}
    found = eigsh(operator.to_scipy(), k=1, which="LA", **rest)
    return Curvature(float(found[0]), trace)


def sam_sharpness(
    model: nn.Module,
    objective: Objective,
    inputs: Tensor,
    targets: Tensor,
    *,
    radius: float = RADIUS,
    steps: int = ASCENT,
) -> float:
    """Measure how much the mean loss rises at most within a distance of the parameters (arXiv 2010.01412).

    max over ‖ε‖ ≤ ρ of L(θ + ε) − L(θ), by ascent: normalised gradient steps of length ρ, each back onto the ball,
    the best point counts. The first of them is the ascent of SAM; the others are ours. A lower bound of the maximum.

    Args:
        model: The network; it is put back to the bit.
        objective: Mean loss from outputs and targets.
        inputs: Shape (n, …).
        targets: Shape (n,) or (n, …).
        radius: ρ, in the unit of the parameters, their Euclidean norm over all of them.
        steps: Of the ascent, at least 1.

    Returns:
        The rise, in units of the loss; at least 0.

    Raises:
        UserError: If a number is out of its range, the loss is not finite, or no parameter is trainable.

    Example:
        >>> line = nn.Linear(1, 1, bias=False).double()
        >>> _ = line.weight.data.fill_(2.0)
        >>> round(sam_sharpness(line, nn.functional.mse_loss, *torch.ones(2, 1, 1).double(), radius=0.5), 6)
        1.25
    """
    positive(radius=radius)
    whole("steps", steps)
    params = _trainable(model)
    base, best = _loss(model, objective, inputs, targets), 0.0
    kept = [param.detach().clone() for param in params]
    try:
        for _ in range(steps):
            slopes = torch.autograd.grad(objective(model(inputs), targets), params, allow_unused=True)
            size = math.sqrt(sum(float(slope.square().sum()) for slope in slopes if slope is not None))
            if not size > 0.0:
                break
            _ascend(params, kept, slopes, radius, size)
            best = max(best, _loss(model, objective, inputs, targets) - base)
    finally:
        _place(params, kept)
    return best


@torch.no_grad()
def _ascend(
    params: Sequence[Tensor], centre: Sequence[Tensor], slopes: Iterable[Tensor | None], radius: float, size: float
) -> None:
    """A step of length `radius` along the gradient, and back onto the ball around the centre."""
    for param, slope in zip(params, slopes, strict=True):
        if slope is not None:
            param.add_(slope, alpha=radius / size)
    away = math.sqrt(sum(float((param - at).square().sum()) for param, at in zip(params, centre, strict=True)))
    if away > radius:
        _place(params, [at + (param - at) * (radius / away) for param, at in zip(params, centre, strict=True)])


@torch.no_grad()
def _place(params: Sequence[Tensor], values: Iterable[Tensor]) -> None:
    for param, value in zip(params, values, strict=True):
        param.copy_(value)


def fisher_rao(model: nn.Module, objective: Objective, inputs: Tensor, targets: Tensor) -> float:
    """Measure θᵀ G θ, which under cross-entropy is the squared Fisher–Rao norm (arXiv 1711.01530), without its factor.

    u_i = J_i θ is how the outputs answer to θ → (1 + t) θ, and θᵀGθ = (1/n) Σ u_iᵀ Λ_i u_i; under cross-entropy the
    mean variance of u over the classes as the network guesses them. If θ → Dθ with a diagonal D leaves the function,
    J becomes JD⁻¹ and Jθ stays: no exchange of factors between layers or units moves it.

    Args:
        model: The network.
        objective: Mean loss from outputs and targets.
        inputs: Shape (n, …).
        targets: Shape (n,) or (n, …).

    Returns:
        θᵀ G θ over the trainable parameters, in units of the loss.

    Raises:
        UserError: If the loss is not finite or no parameter is trainable.

    Example:
        >>> line = nn.Linear(1, 1, bias=False).double()
        >>> _ = line.weight.data.fill_(3.0)
        >>> fisher_rao(line, nn.functional.mse_loss, *torch.ones(2, 1, 1).double())  # 2 (θx)²
        18.0
    """
    _trainable(model)
    _loss(model, objective, inputs, targets)
    values = {name: param.detach() for name, param in model.named_parameters() if param.requires_grad}

    def outputs(given: dict[str, Tensor]) -> Tensor:
        return functional_call(model, given, (inputs,))

    _begin_forward_mode()
    with torch.no_grad():
        reached, answer = jvp(outputs, (values,), (values,))[:2]
        curved = _output_hessians(objective, reached, targets)
        return float(torch.einsum("ia,iab,ib->i", answer, curved, answer).mean())


def relative_flatness(
    features: Tensor, weight: Tensor, outputs: Tensor, objective: Objective, targets: Tensor
) -> float:
    """Measure the relative flatness of a last linear layer, κ = Σ_{s,s'} ⟨w_s, w_s'⟩ tr H_{s,s'} (arXiv 2001.00939).

    H_{s,s'} is the block of the Hessian between rows s and s' of the layer, (1/n) Σ (Λ_i)_{s,s'} φ_i φ_iᵀ, so that
    κ = (1/n) Σ ‖φ_i‖² tr(Λ_i W Wᵀ). Features times c and W over c leave it.

    Args:
        features: φ, what the layer is given, shape (n, d).
        weight: W, shape (k, d).
        outputs: Of the network, shape (n, k).
        objective: Mean loss from outputs and targets.
        targets: Shape (n,) or (n, …).

    Returns:
        κ, in units of the loss.

    Raises:
        UserError: If the shapes do not belong together.

    Example:
        >>> ones = torch.ones(1, 1)
        >>> relative_flatness(2 * ones, 3 * ones, 6 * ones, nn.functional.mse_loss, ones)  # ‖φ‖² · 2 · w²
        72.0
    """
    n, width = features.shape if features.ndim == 2 else (-1, -1)
    if weight.ndim != 2 or weight.shape[1] != width or outputs.shape != (n, weight.shape[0]):
        shapes = ", ".join(str(tuple(part.shape)) for part in (features, weight, outputs))
        raise UserError(f"features, weight, outputs: shapes {shapes}, expected (n, d), (k, d), (n, k)")
    with torch.no_grad():
        traces = (_output_hessians(objective, outputs.detach(), targets) * (weight @ weight.T)).sum((1, 2))
        return float((features.square().sum(1) * traces).mean())


def _output_hessians(objective: Objective, outputs: Tensor, targets: Tensor) -> Tensor:
    """Λ of every sample, shape (n, k, k): no sample's loss depends on another's outputs."""
    with torch.enable_grad():
        free = outputs.detach().requires_grad_()
        (slopes,) = torch.autograd.grad(len(free) * objective(free, targets), free, create_graph=True)
        rows = [torch.autograd.grad(part.sum(), free, retain_graph=True)[0] for part in slopes.unbind(1)]
    return torch.stack(rows, 1)


def _trainable(model: nn.Module) -> list[nn.Parameter]:
    params = [param for param in model.parameters() if param.requires_grad]
    if not params:
        raise UserError("model: no parameter is trainable, expected at least one")
    return params


@torch.no_grad()
def _loss(model: nn.Module, objective: Objective, inputs: Tensor, targets: Tensor) -> float:
    loss = float(objective(model(inputs), targets))
    if not math.isfinite(loss):
        raise UserError(f"objective: the loss is {loss:g}, expected a finite number")
    return loss


def _curvlinops() -> ModuleType:
    _begin_forward_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its dependencies' own, at the first import
        return require("curvlinops", extra="lab")


@cache
def _begin_forward_mode() -> None:
    """PyTorch's forward mode compiles a part of itself at its first use, and warns that it should not do it so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = torch.ones(())
        jvp(torch.sin, (one,), (one,))
