"""The update rule of phase 2 under L2, each metric over a list of tensors; `constraint` moves lr and decay.

Euclidean::   b <- mu b + g + lambda theta                        theta <- theta - eta b
Adaptive::    n <- beta2 n + (1 - beta2) g^2
              b <- mu b + clip(g / (sqrt(n / c) + eps)) + lambda theta      theta <- theta - eta b

with c the bias correction ``1 - beta2^t``. The clip to [-1, 1] costs nothing extra: dividing by
``max(sqrt(n / c) + eps, |g|)`` is the same thing. It stands here three times, as kernels need it: over lists of
tensors, over one tensor in place, and without anything in place for the compiler (and once more in `native` and in
`proximal`; line by line in `reference`).
"""

# torch._foreach_* are the documented way to one kernel over many tensors; their names are private all the same.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from operator import attrgetter
from types import FunctionType
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.optim.sgd import sgd

from groktimizer.dynamics import critical_momentum
from groktimizer.optim.agreement import PLAIN


class Scalars(NamedTuple):
    """What a phase-2 step needs of one group: eta, lambda, mu, beta2, c, eps, and whether to climb."""

    lr: float
    weight_decay: float
    momentum: float
    beta2: float = 0.98
    correction: float = 1.0
    eps: float = 1e-8
    maximize: bool = False


FUSED = ("cpu", "cuda")  # where PyTorch has fused kernels
EXACT = {torch.float32, torch.float64}
ON_CUDA = EXACT | {torch.float16, torch.bfloat16}
_CONTIGUOUS, _TYPE, _DEVICE = torch.Tensor.is_contiguous, attrgetter("dtype"), attrgetter("device")


def flat(*columns: Iterable[Tensor]) -> bool:
    """Whether kernels that take tensors for rows of numbers may have these.

    Args:
        columns: Parameters, gradients, state.

    Returns:
        True if all are contiguous, of one type of 32 or 64 bits (on CUDA of 16 too), on a device for which PyTorch has
        such kernels.
    """
    tensors = [tensor for column in columns for tensor in column]
    kinds = {device.type for device in set(map(_DEVICE, tensors))}
    return (
        all(map(_CONTIGUOUS, tensors))
        and len(types := set(map(_TYPE, tensors))) <= 1
        and types <= (ON_CUDA if kinds == {"cuda"} else EXACT)
        and kinds.issubset(FUSED)
    )


def on_host(*columns: Iterable[Tensor]) -> bool:
    """Whether a kernel may go through the memory of these tensors by address.

    Args:
        columns: Parameters, gradients, state.

    Returns:
        True for what is `flat`, on the CPU, and no subclass with a memory of its own.
    """
    tensors = [tensor for column in columns for tensor in column]
    return (
        flat(tensors)
        and PLAIN.issuperset(map(type, tensors))
        and all(d.type == "cpu" for d in set(map(_DEVICE, tensors)))
    )


def euclidean_step(
    params: list[Tensor],
    grads: list[Tensor],
    velocities: list[Tensor | None],
    scalars: Scalars,
    *,
    lr: "float | Tensor",
    foreach: bool | None,
    fused: bool | None,
) -> None:
    """Heavy ball with coupled decay: PyTorch's own SGD kernels, in place.

    Args:
        params: Parameters theta, moved in place.
        grads: Gradients of the training loss, one per parameter; read only.
        velocities: Velocities b, one per parameter, updated in place.
        scalars: The numbers of this step.
        lr: The step size as the kernel gets it (a tensor lr stays a tensor).
        foreach: As in `torch.optim.SGD`.
        fused: True forces and False forbids the fused kernel; None takes it where PyTorch has one, unless `foreach`
            asks for another.
    """
    if fused is None and foreach is None:
        fused = (not isinstance(lr, Tensor) and flat(params, grads)) or None
    sgd(
        params,
        grads,
        velocities,
        has_sparse_grad=False,
        foreach=foreach,
        fused=fused,
        lr=lr,  # pyright: ignore[reportArgumentType] (annotated float, accepts tensors as torch.optim.SGD does)
        momentum=scalars.momentum,
        weight_decay=scalars.weight_decay,
        dampening=0.0,
        nesterov=False,
        maximize=scalars.maximize,
    )


def adaptive_step(
    params: list[Tensor], grads: list[Tensor], velocities: list[Tensor], moments: list[Tensor], scalars: Scalars
) -> None:
    """Adaptive CDM by foreach kernels, in place.

    Args:
        params: Parameters theta, moved in place.
        grads: Gradients of the training loss, one per parameter; read only.
        velocities: Velocities b, one per parameter, updated in place.
        moments: Second moments n, one per parameter, updated in place.
        scalars: The numbers of this step.
    """
    torch._foreach_mul_(moments, scalars.beta2)
    torch._foreach_addcmul_(moments, grads, grads, 1.0 - scalars.beta2)
    scale = torch._foreach_sqrt(moments)
    if scalars.correction < 1.0:
        torch._foreach_div_(scale, scalars.correction**0.5)
    torch._foreach_add_(scale, scalars.eps)
    torch._foreach_maximum_(scale, torch._foreach_abs(grads))
    torch._foreach_mul_(velocities, scalars.momentum)
    torch._foreach_addcdiv_(velocities, grads, scale, -1.0 if scalars.maximize else 1.0)
    if scalars.weight_decay != 0.0:
        torch._foreach_add_(velocities, params, alpha=scalars.weight_decay)
    torch._foreach_add_(params, velocities, alpha=-scalars.lr)


def adaptive_loop(
    params: list[Tensor], grads: list[Tensor], velocities: list[Tensor], moments: list[Tensor], scalars: Scalars
) -> None:
    """`adaptive_step`, one tensor after the other."""
    for param, grad, velocity, moment in zip(params, grads, velocities, moments, strict=True):
        _advance(param, grad, velocity, moment, scalars)


def _advance(param: Tensor, grad: Tensor, velocity: Tensor, moment: Tensor, scalars: Scalars) -> None:
    moment.mul_(scalars.beta2).addcmul_(grad, grad, value=1.0 - scalars.beta2)
    scale = moment.sqrt()
    if scalars.correction < 1.0:
        scale.div_(scalars.correction**0.5)
    torch.maximum(scale.add_(scalars.eps), grad.abs(), out=scale)
    velocity.mul_(scalars.momentum).addcdiv_(grad, scale, value=-1.0 if scalars.maximize else 1.0)
    if scalars.weight_decay != 0.0:
        velocity.add_(param, alpha=scalars.weight_decay)
    param.add_(velocity, alpha=-scalars.lr)


Operands: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]  # parameter, gradient, velocity, second moment
BLOCK = 1 << 16  # elements; the operands of a block this long stay in a core's second-level cache


def adaptive_blocked(
    params: list[Tensor], grads: list[Tensor], velocities: list[Tensor], moments: list[Tensor], scalars: Scalars
) -> None:
    """`adaptive_step` for a CPU: large contiguous tensors in blocks that stay in the cache, the others by foreach."""
    for operands in _apart(params, grads, velocities, moments, scalars=scalars, longest=BLOCK):
        for theta, g, b, n in zip(*(tensor.view(-1).split(BLOCK) for tensor in operands), strict=True):
            _advance(theta, g, b, n, scalars)


def _apart(*columns: list[Tensor], scalars: Scalars, longest: int) -> Iterator[Operands]:
    """Contiguous tensors of more than `longest` entries, one at a time; the others take their step by foreach."""
    small: list[Operands] = []
    for operands in zip(*columns, strict=True):
        if (
            type(operands[0]) in PLAIN  # a sharded DTensor has no flat view
            and operands[0].numel() > longest
            and all(tensor.is_contiguous() for tensor in operands)
        ):
            yield operands
        else:
            small.append(operands)
    if small:
        thetas, gs, bs, ns = (list(column) for column in zip(*small, strict=True))
        adaptive_step(thetas, gs, bs, ns, scalars)


def _adaptive_tensors(
    params: list[Tensor], grads: list[Tensor], velocities: list[Tensor], moments: list[Tensor], numbers: Tensor
) -> None:
    lr, weight_decay, momentum, beta2, root_correction, eps, sign = numbers.unbind()
    for param, grad, velocity, moment in zip(params, grads, velocities, moments, strict=True):
        second = moment * beta2 + grad * grad * (1.0 - beta2)
        scale = torch.maximum(second.sqrt() / root_correction + eps, grad.abs())
        speed = velocity * momentum + sign * grad / scale + weight_decay * param
        moment.copy_(second)
        velocity.copy_(speed)
        param.copy_(param - lr * speed)


CHUNK = 16  # tensors per compiled call: equal layers share one compilation, which stays short


Layout: TypeAlias = tuple[tuple[object, ...], ...]  # shapes and devices of parameters; strides and dtypes of all


@cache
def _compiled(layout: Layout) -> Any:
    """A compiled function of its own for each layout of operands: one function may be recompiled only a few times.

    The layout holds all that the compiler would guard against, so its own guards, evaluated at every call, are left
    out: they cost a small network more than the kernel does.

    Args:
        layout: Of the operands, parameters first.

    Returns:
        `_adaptive_tensors`, compiled.
    """
    code = _adaptive_tensors.__code__.replace(co_name=f"adaptive_{abs(hash(layout))}")
    function = FunctionType(code, _adaptive_tensors.__globals__)
    return torch.compile(function, dynamic=False, options={"guard_filter_fn": lambda guards: [False] * len(guards)})


def adaptive_compiled(
    params: list[Tensor], grads: list[Tensor], velocities: list[Tensor], moments: list[Tensor], scalars: Scalars
) -> None:
    """`adaptive_step` as one kernel of `torch.compile`; the scalars travel in a tensor, so no change recompiles."""
    numbers = torch.tensor(
        [
            scalars.lr,
            scalars.weight_decay,
            scalars.momentum,
            scalars.beta2,
            scalars.correction**0.5,
            scalars.eps,
            -1.0 if scalars.maximize else 1.0,
        ],
        dtype=torch.float64 if params[0].dtype == torch.float64 else torch.float32,
    ).to(params[0].device, non_blocking=True)  # the host does not wait for the copy
    for start in range(0, len(params), CHUNK):
        columns = [column[start : start + CHUNK] for column in (params, grads, velocities, moments)]
        everything = [*columns[0], *columns[1], *columns[2], *columns[3]]
        layout = (
            tuple([each.shape for each in columns[0]]),
            tuple([each.device for each in columns[0]]),
            tuple([each.stride() for each in everything]),
            tuple([each.dtype for each in everything]),
        )
        _compiled(layout)(*columns, numbers)


LARGE = 1 << 19  # entries from which one pass over memory saves a GPU more than a compiled call costs the host
PAYS_ON_DEVICE = 2e11  # entries, times the steps they have moved, from which on the seconds of compiling have paid


def adaptive_on_device(
    params: list[Tensor], grads: list[Tensor], velocities: list[Tensor], moments: list[Tensor], scalars: Scalars
) -> None:
    """`adaptive_step` for a GPU with a compiler: large tensors in one pass over memory, the others by foreach."""
    if large := list(_apart(params, grads, velocities, moments, scalars=scalars, longest=LARGE)):
        thetas, gs, bs, ns = (list(column) for column in zip(*large, strict=True))
        adaptive_compiled(thetas, gs, bs, ns, scalars)


@cache
def _compiles() -> bool:
    """Whether what PyTorch compiles for a GPU with is there: triton, and a C compiler, which it calls."""
    own = os.environ.get("CC")
    return find_spec("triton") is not None and any(map(shutil.which, [own] if own else ["gcc", "clang", "cc"]))


PAYS = 1e8  # entries, times the steps they have moved, from which on the second that numba takes to load has paid


def adaptive_native(
    params: list[Tensor], grads: list[Tensor], velocities: list[Tensor], moments: list[Tensor], scalars: Scalars
) -> None:
    """`adaptive_step` for a CPU with numba: flat rows in one pass over memory, the others as without it."""
    from groktimizer.optim import native

    if on_host(params, grads, velocities, moments):
        native.advance(params, grads, velocities, moments, scalars)
        return
    for operands in zip(params, grads, velocities, moments, strict=True):
        kernel: Callable[..., None] = native.advance if on_host(operands) else adaptive_blocked
        kernel(*([tensor] for tensor in operands), scalars)


@cache
def _numba() -> bool:
    """Whether numba is there and works with what else is installed; without it steps are slower, not others."""
    try:
        from groktimizer.optim import native
    except ImportError:
        return False
    return native.COMPILES


def choose(*, foreach: bool | None, compiled: bool, device: torch.device, moved: float) -> Callable[..., None]:
    """The kernel for an adaptive step.

    Args:
        foreach: As in torch: None chooses, True/False forces or forbids the foreach kernels.
        compiled: Whether the compiled kernel was asked for.
        device: Where the parameters live.
        moved: Entries times steps so far.

    Returns:
        One of the kernels above.
    """
    if compiled:
        return adaptive_compiled
    if foreach is None and device.type == "cpu":
        return adaptive_native if moved >= PAYS and _numba() else adaptive_blocked
    if foreach is None and device.type == "cuda" and moved >= PAYS_ON_DEVICE and _compiles():
        return adaptive_on_device
    return adaptive_loop if foreach is False else adaptive_step


def lanes(
    scales: list[float], scalars: Scalars, damping: float, reference: float
) -> Iterator[tuple[list[int], Scalars]]:
    """Split a group into tensors that share a step size, each lane at its own critical momentum.

    Args:
        scales: Factor on lr, one per tensor.
        scalars: The group's numbers.
        damping: Damping ratio zeta.
        reference: The decay that sets the momentum.

    Yields:
        Positions of the tensors, and their numbers.
    """
    if scales.count(1.0) == len(scales):
        yield list(range(len(scales))), scalars
        return
    by_scale: dict[float, list[int]] = {}
    for position, scale in enumerate(scales):
        by_scale.setdefault(scale, []).append(position)
    for scale, positions in by_scale.items():
        if scale == 1.0:
            yield positions, scalars
        else:
            lr = scalars.lr * scale
            yield positions, scalars._replace(lr=lr, momentum=critical_momentum(lr, reference, damping))
