"""What the ranks that train one model agree on: every number that decides is the whole model's, the same on each rank.

A parameter may be whole on every rank (one process, DistributedDataParallel), a `DTensor` (fully_shard, tensor
parallelism) or a flat piece (FullyShardedDataParallel). Each rank adds its part of a sum, and one small reduction makes
it everybody's. Where ranks cannot agree, that is said by name; nothing waits for a rank that may not come.
"""

import gc
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor
from typing_extensions import override

from groktimizer.ground.errors import UserError, warn

PLAIN = frozenset((Tensor, torch.nn.Parameter))
Group: TypeAlias = "dist.ProcessGroup | Literal[False] | None"


def local(tensor: Tensor) -> Tensor:
    """This rank's part of a tensor, in the same memory.

    Args:
        tensor: A plain tensor, or a DTensor.

    Returns:
        The tensor itself, or the DTensor's local one.
    """
    if type(tensor) in PLAIN:
        return tensor
    part = getattr(tensor, "to_local", None)
    return tensor if part is None else part()


def flattened(param: Tensor) -> bool:
    """Whether FullyShardedDataParallel has made one flat piece of several parameters."""
    return bool(getattr(param, "_fsdp_flattened", False))


def sharded(param: Tensor) -> bool:
    """Whether a rank may hold a part of this parameter only.

    Args:
        param: A parameter.

    Returns:
        True for a DTensor that is cut over more than one rank, and for what FullyShardedDataParallel has flattened.
    """
    mesh = None if type(param) in PLAIN else getattr(param, "device_mesh", None)
    if mesh is None:
        return flattened(param)
    placements: Any = getattr(param, "placements", ())
    return any(mesh.size(dim) > 1 for dim, placement in enumerate(placements) if not placement.is_replicate())


@dataclass(frozen=True)
class Scope:
    """Who takes part.

    Args:
        groups: Process groups to sum over, one after the other; none: this process decides alone.
        size: Ranks in all.
        cut: Whether tensors are cut over them, so that a sum over entries is a sum over ranks. Where every rank holds
            whole tensors, only losses are summed.
        divided: Whether each tensor is on one rank only (ZeroRedundancyOptimizer).
        wrapper: The DistributedDataParallel module that made these ranks one, if it is one.
    """

    groups: tuple[Any, ...] = ()
    size: int = 1
    cut: bool = False
    divided: bool = False
    wrapper: Any = None

    def share(self, param: Tensor) -> float:
        """The weight of this rank's part of a sum over a parameter's entries: 1 over how often an entry is held.

        Args:
            param: A parameter.

        Returns:
            1 for what is cut over all ranks, 1/size for what each of them has whole.
        """
        if self.divided or not self.cut:
            return 1.0
        mesh = getattr(param, "device_mesh", None)
        if mesh is None:
            return 1.0 if sharded(param) else 1.0 / self.size
        placements: Any = getattr(param, "placements", ())
        copies = [mesh.size(dim) for dim, placement in enumerate(placements) if placement.is_replicate()]
        return 1.0 / math.prod(copies)

    def total(self, values: Tensor, *, largest: bool = False) -> Tensor:
        """Sum over the ranks, in place.

        Args:
            values: One row of numbers.
            largest: Take the maxima instead.

        Returns:
            The sums, the same on every rank.
        """
        for group in self.groups:
            op = dist.ReduceOp.MAX if largest else dist.ReduceOp.SUM
            reduced = values
            if values.device.type == "cpu" and dist.get_backend(group) == "nccl":
                reduced = values.cuda()  # parameters are offloaded; their ranks talk over devices
            dist.all_reduce(reduced, op=op, group=group)
            if reduced is not values:
                values.copy_(reduced)
        return values

    @property
    def joining(self) -> bool:
        """Whether ranks may run out of data before others do (``with model.join():``): then no collective is safe."""
        return bool(getattr(getattr(self.wrapper, "_join_config", None), "enable", False))


ALONE = Scope()


@dataclass
class Agreement:
    """The ``process_group=`` argument, and what it comes to for the parameters at hand.

    Args:
        process_group: None, a process group, or False.
    """

    process_group: Group = None
    known: Scope | None = field(default=None, compare=False)

    def scope(self, params: Sequence[Tensor]) -> Scope:
        """Who takes part; found out once, on the first step.

        Args:
            params: All parameters.

        Returns:
            The scope.

        Raises:
            UserError: If the ranks cannot agree.
        """
        if self.known is None:
            self.known = self._found(params)
        return self.known

    def _found(self, params: Sequence[Tensor]) -> Scope:
        if not (dist.is_available() and dist.is_initialized()):
            return ALONE
        parts = scope_of_shards(params, self.process_group)
        if parts is not None or self.process_group is False:
            return parts or ALONE
        if self.process_group is not None:
            return Scope((self.process_group,), dist.get_world_size(self.process_group))
        if dist.get_world_size() == 1:
            return ALONE
        wrapper = _wrapper(params)
        if wrapper is not None:
            return _wrapped(wrapper, params)
        warn(
            f"torch.distributed runs {dist.get_world_size()} ranks, but these parameters are neither sharded nor in a "
            "DistributedDataParallel module: this rank decides alone; if the ranks train one model, pass "
            "process_group=torch.distributed.group.WORLD, if they do not, process_group=False"
        )
        return ALONE

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return type(self)(self.process_group)

    @override
    def __reduce__(self) -> tuple[type[Self], tuple[Literal[False] | None]]:
        """A process group belongs to its process: what is unpickled elsewhere takes the default.

        Returns:
            How to rebuild it.
        """
        return type(self), (False if self.process_group is False else None,)


def among_ranks() -> bool:
    """Whether this process is one of several.

    Returns:
        True in a torch.distributed run of more than one rank.
    """
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def check_process_group(process_group: object) -> None:
    """Refuse what is no process group.

    Args:
        process_group: The argument.

    Raises:
        UserError: One line with what is accepted.
    """
    if process_group is None or process_group is False:
        return
    if not (dist.is_available() and isinstance(process_group, dist.ProcessGroup)):
        raise UserError(
            f"process_group={process_group!r}: expected None, False (no collective) or a torch.distributed.ProcessGroup"
        )


def scope_of_shards(params: Sequence[Tensor], process_group: Group = None) -> Scope | None:
    """Who takes part when parameters are sharded.

    Args:
        params: All parameters.
        process_group: The argument of that name.

    Returns:
        The scope; None if no parameter is sharded.

    Raises:
        UserError: If they are and collectives are forbidden, or they lie on meshes that do not all span every rank.
    """
    parts = [param for param in params if sharded(param)]
    if not parts:
        return None
    if process_group is False:
        raise UserError(
            "process_group=False with sharded parameters: each rank would measure its own shard; accepted are None "
            "and the process group that they are sharded over"
        )
    if process_group is not None:
        return _over(process_group)
    meshes: list[Any] = []
    for param in parts:
        mesh = getattr(param, "device_mesh", None)
        if mesh is not None and mesh not in meshes:
            meshes.append(mesh)
    if len(meshes) == 1:
        return Scope(tuple(meshes[0].get_all_groups()), meshes[0].size(), cut=True)
    world = dist.get_world_size()
    if any(mesh.size() != world for mesh in meshes):
        sizes = ", ".join(str(mesh.size()) for mesh in meshes)
        raise UserError(
            f"parameters on device meshes of {sizes} of {world} ranks: no sum over all of them is everybody's; "
            "accepted are one mesh, or meshes over every rank (give each mesh an optimizer of its own)"
        )
    return _over(dist.group.WORLD)


def _over(group: Any) -> Scope:
    return Scope((group,), dist.get_world_size(group), cut=True)


def _wrapped(wrapper: Any, params: Sequence[Tensor]) -> Scope:
    """The ranks of DistributedDataParallel, which hold all the tensors, or each its own: then all of them make one."""
    scope = Scope((wrapper.process_group,), dist.get_world_size(wrapper.process_group), wrapper=wrapper)
    if scope.joining:
        return scope
    device = device_of(params)
    held = torch.tensor([float(sum(param.numel() for param in params))], dtype=wide(device), device=device)
    divided = float(scope.total(held)) == sum(param.numel() for param in wrapper.parameters() if param.requires_grad)
    return replace(scope, cut=divided, divided=divided)


def _wrapper(params: Sequence[Tensor]) -> Any:
    """The DistributedDataParallel module that holds one of these parameters; torch keeps no list of them."""
    from torch.nn.parallel import DistributedDataParallel

    ours = {id(param) for param in params}
    for thing in gc.get_objects():
        if issubclass(type(thing), DistributedDataParallel) and any(id(param) in ours for param in thing.parameters()):
            return thing
    return None


def sums(parts: Sequence[Tensor | float], scope: Scope, device: torch.device) -> list[float]:
    """Sums over all ranks, at one reduction and one reading.

    Args:
        parts: This rank's part of each.
        scope: Who takes part.
        device: Where the parameters live.

    Returns:
        The sums.
    """
    if not parts:
        return []
    row = stacked(parts, device)
    return (scope.total(row) if scope.cut else row).tolist()


def largest(parts: Sequence[float], scope: Scope, device: torch.device) -> list[float]:
    """Largest values over all ranks, at one reduction.

    Args:
        parts: This rank's values, >= 0.
        scope: Who takes part.
        device: Where the parameters live.

    Returns:
        The maxima.
    """
    if not scope.cut or not parts:
        return list(parts)
    return scope.total(stacked(parts, device), largest=True).tolist()


def stacked(parts: Sequence[Tensor | float], device: torch.device) -> Tensor:
    """One row of numbers in float64 (float32 where there is none).

    Args:
        parts: Numbers and one-element tensors.
        device: Where the row is made.

    Returns:
        Shape (number of parts,).
    """
    exact = wide(device)
    if not any(isinstance(part, Tensor) for part in parts):
        return torch.tensor(parts, dtype=exact).to(device, non_blocking=True)
    row = torch.tensor([0.0 if isinstance(part, Tensor) else part for part in parts], dtype=exact)
    pieces = list(row.to(device, non_blocking=True).unbind())  # the numbers travel together
    for position, part in enumerate(parts):
        if isinstance(part, Tensor):
            pieces[position] = part.to(device, exact).reshape(())
    return torch.stack(pieces)


def wide(device: torch.device) -> torch.dtype:
    """The type that sums are taken in.

    Args:
        device: Where.

    Returns:
        float64, or float32 where there is none.
    """
    return torch.float32 if device.type == "mps" else torch.float64


def device_of(params: Sequence[Tensor]) -> torch.device:
    """Where the parameters live.

    Args:
        params: Parameters; the first decides.

    Returns:
        A device; the CPU if there is no parameter.
    """
    return params[0].device if params else torch.device("cpu")
