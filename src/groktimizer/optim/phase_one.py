"""Phase 1: the optimizer that fits, on the outer optimizer's own tensor lists and state, and what it hands over.

When it ends is decided in `detector`.
"""

import pickle
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

from torch import Tensor
from torch.optim import Adam, Optimizer
from typing_extensions import override

from groktimizer.ground.errors import UserError
from groktimizer.optim.updates import PLAIN, flat

Groups: TypeAlias = list[dict[str, Any]]
# Pairs, in a list that is never empty: torch.distributed.checkpoint makes keys of a dict's keys, which here may change.
Options: TypeAlias = list[list[Any]]
NO_OPTIONS: Options = [["outer", -1]]
OWN_GROUPS = "groups"  # the name under which a base with groups of its own has theirs
Build: TypeAlias = Callable[[Groups], Optimizer]


BASE_LR, BASE_BETAS = 1.2e-2, (0.9, 0.98)
ADAM = ("exp_avg", "exp_avg_sq")  # what the default base keeps of each tensor


def default_base(groups: Groups) -> Optimizer:
    """Adam without decay: lr 1.2e-2, betas (0.9, 0.98); longer steps on tensors with larger entries, see `settings`.

    Args:
        groups: Parameter groups.

    Returns:
        The phase-1 optimizer.
    """
    return Adam(groups, lr=BASE_LR, betas=BASE_BETAS)


@dataclass(frozen=True)
class BaseFactory:
    """The callable behind ``base=``, which says clearly when it cannot be pickled.

    Args:
        build: ``callable(param_groups) -> torch.optim.Optimizer``.
    """

    build: Build

    @property
    def default(self) -> bool:
        """Whether it builds the default base, which takes longer steps on tensors with larger entries."""
        return self.build is default_base

    def __call__(self, groups: Groups, *, maximize: bool) -> Optimizer:
        """Build the phase-1 optimizer.

        Args:
            groups: The outer groups; it gets their tensors and none of their options.
            maximize: Whether the objective is climbed.

        Returns:
            A fresh optimizer over the same tensors.

        Raises:
            UserError: If the callable does not give a `torch.optim.Optimizer`.
        """
        base = self.build(inner_groups(groups))
        if not isinstance(base, Optimizer):
            raise UserError(
                f"base={self.build!r} returned {type(base).__name__}: expected "
                "callable(param_groups) -> torch.optim.Optimizer"
            )
        if maximize:
            for group in base.param_groups:
                group["maximize"] = True
        return base

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    @override
    def __reduce__(self) -> tuple[type["BaseFactory"], tuple[Build]]:
        try:
            pickle.dumps(self.build)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise pickle.PicklingError(
                f"base={self.build!r} cannot be pickled: define it with `def` at the top level of a module "
                "(or save opt.state_dict(), which needs no pickle of the callable)"
            ) from error
        return BaseFactory, (self.build,)


def inner_groups(groups: Groups, *, offset: int = 0) -> Groups:
    """What the phase-1 optimizer gets of the outer groups: their tensors, none of phase 2's options.

    Args:
        groups: Outer groups.
        offset: Index of the first one.

    Returns:
        Groups that carry the index of their outer group under ``"outer"``.
    """
    return [{"params": list(group["params"]), "outer": i} for i, group in enumerate(groups, start=offset)]


@dataclass
class PhaseOne:
    """A base at work on the outer optimizer's tensors.

    A base that keeps the groups that it is given (every torch optimizer but a rare one) holds the outer groups' own
    lists, so that whatever a framework puts into them is trained; one with groups of its own has replaced tensors put
    into its lists. A base that saves or loads its state its own way (a wrapper around others) keeps that state; every
    other one works on the outer state.

    Args:
        optimizer: The base.
        groups: The outer groups.
        state: The outer state, which becomes the base's.
    """

    optimizer: Optimizer
    groups: Groups
    state: dict[Any, Any]
    aligned: bool = field(init=False)
    shares: bool = field(init=False)
    _known: list[list[Tensor]] = field(init=False)

    def __post_init__(self) -> None:
        inner = self.optimizer.param_groups
        lists = [list(group["params"]) for group in self.groups]
        self.aligned = len(inner) == len(lists) and all(
            len(ours) == len(theirs["params"]) and all(a is b for a, b in zip(ours, theirs["params"], strict=True))
            for ours, theirs in zip(lists, inner, strict=True)
        )
        self._known = [] if self.aligned else lists
        self.shares = _keeps_state_as_torch_does(type(self.optimizer))
        if self.shares:
            self._take_in_state()
        self.share(self.groups, self.state)

    def _take_in_state(self) -> None:
        """What the base has made in its constructor, or for a new group, beside what is there already."""
        if self.optimizer.state is not self.state:
            for param, entry in self.optimizer.state.items():
                self.state[param] = {**entry, **self.state.get(param, {})}

    def share(self, groups: Groups, state: dict[Any, Any]) -> None:
        """Work on the outer optimizer's tensors and state as they are now.

        Args:
            groups: The outer groups.
            state: The outer state.

        Raises:
            UserError: If tensors came or went under a base that keeps groups of its own.
        """
        self.groups, self.state = groups, state
        if self.shares:
            self.optimizer.state = state  # pyright: ignore[reportAttributeAccessIssue] (any mapping will do)
        if self.aligned:
            self._drop_removed(groups)
            for inner, outer in zip(self.optimizer.param_groups, groups, strict=True):
                inner["params"] = outer["params"]
            return
        if [len(known) for known in self._known] != [len(group["params"]) for group in groups]:
            raise UserError(
                f"base={type(self.optimizer).__name__} keeps parameter groups of its own, and parameters came or went: "
                "accepted there are as many as at the start; build the optimizer anew"
            )
        for known, outer in zip(self._known, groups, strict=True):
            for position, (old, new) in enumerate(zip(known, outer["params"], strict=True)):
                if old is not new:
                    self._replace(old, new)
                    known[position] = new

    def _drop_removed(self, groups: Groups) -> None:
        """Let go of groups that went: theirs are the lists that no outer group holds."""
        inner = self.optimizer.param_groups
        if len(inner) > len(groups):
            held = {id(group["params"]) for group in groups}
            inner[:] = [group for group in inner if id(group["params"]) in held]

    def _replace(self, old: Tensor, new: Tensor) -> None:
        for inner in self.optimizer.param_groups:
            params = inner["params"]
            params[:] = [new if param is old else param for param in params]

    def add(self, group: dict[str, Any], index: int) -> None:
        """Take in a new outer group.

        Args:
            group: The outer group.
            index: Its index.
        """
        self.optimizer.add_param_group(inner_groups([group], offset=index)[0])
        if not self.aligned:
            self._known.append(list(group["params"]))

    def step(self, scales: list[list[float]] | None, closure: Callable[[], Any] | None) -> None:
        """Let the base take its step.

        Args:
            scales: Factors on lr, by group and tensor; None: the base takes its own steps.
            closure: As in `torch.optim.Optimizer.step`.
        """
        whole = self.optimizer.param_groups
        if scales is not None:
            self.optimizer.param_groups = [
                lane for group, factors in zip(whole, scales, strict=True) for lane in lanes(group, factors, self.state)
            ]
        try:
            if closure is None:
                self.optimizer.step()
            else:
                self.optimizer.step(closure)
        finally:
            if scales is not None:
                self.optimizer.param_groups = whole

    def options(self) -> list[Options]:
        """What the base's groups hold beside tensors, for a state dict.

        Returns:
            Pairs of name and value, for each group of the base.
        """
        inner = self.optimizer.param_groups
        return deepcopy([[[k, v] for k, v in group.items() if k != "params"] for group in inner])

    def restore(self, options: list[Options]) -> None:
        """Put back what `options` gave.

        Args:
            options: Pairs of name and value, for each group of the base.
        """
        inner = self.optimizer.param_groups
        if not self.aligned:
            options = next((value for name, value in options[0] if name == OWN_GROUPS), [])
        for group, saved in zip(inner, options, strict=len(options) > 0):
            group.update({name: value for name, value in saved if name != "outer"})

    def anneal(self, factors: list[float]) -> None:
        """Apply outer factors (a scheduler's) to the base's lr.

        Args:
            factors: One per outer group.
        """
        for inner in self.optimizer.param_groups:
            factor = factors[inner.get("outer", 0)]
            if factor != inner.setdefault("factor", 1.0):
                inner["lr"] = inner.setdefault("nominal_lr", inner["lr"]) * factor
                inner["factor"] = factor


def _keeps_state_as_torch_does(kind: type[Optimizer]) -> bool:
    return (
        kind.state_dict is Optimizer.state_dict
        and kind.load_state_dict is Optimizer.load_state_dict
        and not isinstance(kind.__dict__.get("state"), property)
    )


def lanes(group: dict[str, Any], scales: list[float], state: dict[Any, Any]) -> Groups:
    """Split a group of the default base into groups of tensors that share a step size, fused where that is possible.

    Args:
        group: One of the base's groups.
        scales: Factor on lr, one per tensor.
        state: The base's.

    Returns:
        New groups.
    """
    split: dict[float, list[Tensor]] = {}
    for param, scale in zip(group["params"], scales, strict=True):
        split.setdefault(scale, []).append(param)
    found: Groups = []
    for scale, params in split.items():
        fused = group["fused"]
        if fused is None:
            grads = [param.grad for param in params if param.grad is not None]
            held = [state.get(param, {}).get(name) for param in params for name in ADAM]
            columns = params, grads, [moment for moment in held if moment is not None]
            fused = (PLAIN.issuperset(map(type, params)) and flat(*columns)) or None
        if fused:
            _count_there(params, state)
        found.append({**group, "params": params, "lr": group["lr"] * scale, "fused": fused})
    return found


def _count_there(params: list[Tensor], state: dict[Any, Any]) -> None:
    """Move counts of steps to the parameters' device, where the fused kernel counts."""
    for param in params:
        count = state.get(param, {}).get("step")
        if isinstance(count, Tensor) and count.device != param.device:
            state[param]["step"] = count.to(param.device)


def second_moments(base: Optimizer, params: list[Tensor]) -> tuple[dict[int, Tensor], int, float | None]:
    """Second moments that the base has gathered, as Adam and its relatives keep them.

    Args:
        base: The phase-1 optimizer.
        params: Some of its parameters.

    Returns:
        Running means of squared gradients by parameter id (those that the base keeps), how many gradients they have
        seen (counted by parameter or by group), and the decay rate ``betas[1]``.
    """
    moments: dict[int, Tensor] = {}
    steps = 0
    beta2 = None
    wanted = {id(param) for param in params}
    for group in base.param_groups:
        for param in group["params"]:
            entry = base.state.get(param, {})
            moment = entry.get("exp_avg_sq")
            if id(param) in wanted and isinstance(moment, Tensor) and moment.shape == param.shape:
                moments[id(param)] = moment
                steps = max(steps, int(entry.get("step", group.get("step", 0))))
                betas = group.get("betas")
                beta2 = float(betas[1]) if isinstance(betas, (tuple, list)) and len(betas) > 1 else beta2
    return (moments, steps, beta2) if steps else ({}, 0, None)
