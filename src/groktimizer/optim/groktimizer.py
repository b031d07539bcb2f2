"""GROKtimizer: fit first, then shrink the norm on the zero-loss manifold with critically damped momentum."""

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from groktimizer.optim import calibration, control, guard, losses, phase_two, restore, settings
from groktimizer.optim import status as status_texts
from groktimizer.optim.base import BaseFactory, Build, default_base
from groktimizer.optim.detector import Detector
from groktimizer.optim.groups import check_options, check_parameters
from groktimizer.penalties import L2, Penalty

_L2 = L2()


class GROKtimizer(Optimizer):
    r"""Biphasic optimizer: reach interpolation fast, then minimise the norm at the square-root rate.

    Phase 1 runs `base` (Adam without decay) until the training loss interpolates. Phase 2 is heavy ball with decay,
    ``b <- mu b + force + lambda theta; theta <- theta - eta b``, at the momentum that damps the flat directions
    critically, ``mu = (1 - damping sqrt(eta lambda))^2``: time ~ 1/sqrt(eta lambda) where descent needs
    1/(eta lambda). ``metric="euclidean"`` takes the gradient as force; ``metric="adaptive"`` the gradient over its
    root second moment, clipped to [-1, 1]. The momentum follows lr and decay at every step, schedulers included.

    The two phases and critically damped momentum are the idea of arXiv 2606.01521 (Muscarnera, Ruhrberg Estévez,
    Xiao, van der Schaar); only its abstract is public to us, so the rule here is derived, and the switch, the adaptive
    metric, the constraint and the guard are ours.

    Args:
        params: Tensors or groups (see `param_groups`); real, dense, floating point.
        lr: Step size eta of phase 2; None finds it (adaptive: the measured default; Euclidean: from the curvature,
            which needs full batches, or a closure that evaluates one batch).
        weight_decay: Weight lambda of the penalty in phase 2; None shrinks the norm as fast as the loss allows.
        metric: ``"adaptive"`` or ``"euclidean"``.
        penalty: The complexity h that phase 2 minimises, of weight weight_decay: `L2`, or one with a proximal map
            (`L1`, `GroupL1`, `Nuclear`, `Elastic`), for accelerated proximal steps (see `optim.phase_two`).
        damping: Damping ratio zeta; 1 is critical.
        interpolation: When phase 2 begins: None (smoothed loss below 2 % of its first value), a loss level, a
            `Detector`, or ``float("inf")`` (at once: a model that has memorised already).
        base: ``callable(param_groups) -> Optimizer`` for phase 1; None is Adam, lr 1.2e-2, betas (0.9, 0.98).
        guard: Keep the last interpolating state (one copy of the parameters) and return to it when the loss leaves.
        beta2: Decay rate of second moments where phase 1 brings none of its own.
        eps: Added to the root second moment.
        maximize: Climb the objective (then ``interpolation=float("inf")`` or a detector is needed).
        foreach: As in torch: None chooses, True/False forces or forbids the foreach kernels of L2; proximal steps take
            one tensor after the other.
        fused: Euclidean only: PyTorch's fused SGD kernel.
        compiled: Adaptive only: the update as one `torch.compile` kernel (compiles on its first step).
        capturable: Refused: the phase switch is decided on the host.
        differentiable: Refused: the update runs in place without autograd.
        poll: Steps between two readings of the loss; None is 1 for a CPU loss and 10 for one on a device.

    Raises:
        ValueError: An argument out of range, in one line with its value and what is accepted.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> features, teacher = torch.randn(8, 32) / 32**0.5, torch.randn(32)
        >>> theta = torch.nn.Parameter(torch.randn(32))
        >>> opt = GROKtimizer([theta], lr=1.0, weight_decay=1e-4, metric="euclidean", interpolation=1e-3)
        >>> for _ in range(900):
        ...     opt.zero_grad()
        ...     loss = (features @ (theta - teacher)).square().mean()
        ...     loss.backward()
        ...     opt.observe(loss)
        ...     _ = opt.step()
        >>> minimum = torch.linalg.pinv(features) @ features @ teacher
        >>> opt.phase, bool((theta - minimum).norm() < 0.05 * minimum.norm())
        (2, True)
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]],
        lr: float | Tensor | None = None,
        weight_decay: float | None = None,
        *,
        metric: Literal["adaptive", "euclidean"] = "adaptive",
        penalty: Penalty = _L2,
        damping: float = 1.0,
        interpolation: float | Detector | None = None,
        base: Build | None = None,
        guard: bool = True,
        beta2: float = 0.98,
        eps: float = 1e-8,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        compiled: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        poll: int | None = None,
    ) -> None:
        self._settings = settings.Settings(metric, penalty, guard, compiled, poll)
        self._settings.check(foreach=foreach, fused=fused, capturable=capturable, differentiable=differentiable)
        self._rule = self._settings.rule
        self._factory = BaseFactory(base or default_base)
        self._inbox = losses.Inbox(poll)
        self.base: Optimizer | None = None
        at_once = isinstance(interpolation, (int, float)) and interpolation == math.inf
        self._detector = deepcopy(settings.detector_for(interpolation, maximize=maximize))
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "damping": damping,
            "beta2": beta2,
            "eps": eps,
            "maximize": maximize,
            "foreach": foreach,
            "fused": fused,
        }
        check_options(defaults | {"penalty": penalty})
        super().__init__(settings.listed(params), defaults)
        settings.check_decays(self.param_groups)
        self.param_groups[0]["control"] = control.begin(self._rule) | {
            "phase": 1,
            "steps": 0,
            "switch_step": None,
            "level": None,
            "first_loss": None,
            "best_loss": None,
            "best_step": 0,
            "last_loss": None,
            "start_norm": None,
            "start_loss": None,
            "extra_passes": 0,
            "metric": metric,
            "calibrated": 1.0,
            "momentum_age": None,
        }
        self._build_base()
        if at_once:
            self._enter_phase_two()

    # ---------------------------------------------------------------- what a user reads
    @property
    def phase(self) -> int:
        """1 while fitting, 2 while shrinking the norm."""
        return self._control["phase"]

    @property
    def switch_step(self) -> int | None:
        """Steps taken before phase 2 began; None in phase 1."""
        return self._control["switch_step"]

    @property
    def status(self) -> str:
        """What is going on, and what to change when it goes wrong; one sentence or two."""
        return status_texts.describe(self._control, guard.norm(self.param_groups), self._inbox.seen)

    @property
    def extra_passes(self) -> int:
        """Forward-backward passes spent on calibration, beyond one a step."""
        return self._control["extra_passes"]

    @property
    def state_bytes(self) -> int:
        """Bytes of every tensor that the optimizer holds, the guard's snapshot included."""
        return guard.nbytes(self.state) + (0 if self.base is None else guard.nbytes(self.base.state_dict()["state"]))

    @property
    def _control(self) -> dict[str, Any]:
        return self.param_groups[0]["control"]

    # ---------------------------------------------------------------- parameters
    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add tensors to optimise, in the phase that is on.

        Args:
            param_group: ``{"params": ...}`` with any of lr, weight_decay, damping, beta2, eps.

        Raises:
            ValueError: A tensor listed twice, complex, sparse or not floating point; an option out of range.
        """  # noqa: DOC502 (raised by what it calls)
        group = settings.complete(param_group, self.defaults, self._settings)
        known = {id(param) for other in self.param_groups for param in other["params"]}
        check_parameters(settings.tensors(group["params"]), known)
        check_options({key: group[key] for key in (*self.defaults, "penalty") if group["given"].get(key, True)})
        group["scales"] = self._settings.scales(settings.tensors(group["params"]), given=group["given"]["lr"])
        settings.check_effective(group, self._settings)
        super().add_param_group(group)
        if self.base is not None:
            for fresh in settings.base_groups([group], split=self._splits, offset=len(self.param_groups) - 1):
                self.base.add_param_group(fresh)

    @property
    def _splits(self) -> bool:
        return self._factory.build is default_base

    def _build_base(self) -> None:
        groups = settings.base_groups(self.param_groups, split=self._splits)
        self.base = self._factory(groups, maximize=self.defaults["maximize"])

    # ---------------------------------------------------------------- one step
    def observe(self, loss: Tensor | float) -> None:
        """Tell the optimizer the training loss of the gradient that the next `step` will use.

        Several calls before one step (gradient accumulation) are averaged. Not needed with ``step(closure)``. A loss
        on a device is not read at once: no synchronisation.

        Args:
            loss: One number, the loss that was differentiated.

        Raises:
            ValueError: If `loss` is not one number.
        """  # noqa: DOC502 (raised by what it calls)
        self._inbox.put(loss)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take one step of the phase that is on.

        Args:
            closure: Clears the gradients, computes the loss, calls backward and returns the loss.

        Returns:
            The closure's loss, or None.

        Raises:
            ValueError: If a gradient is sparse.
        """  # noqa: DOC502 (raised by what it calls)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
            if loss is not None:
                self._inbox.put(loss)
        state = self._control
        state["steps"] += 1
        action = control.Action.CONTINUE
        values = self._inbox.take()
        for position, value in enumerate(values, start=1):
            action = self._take_in(value, newest=position == len(values))
            if action is control.Action.ROLL_BACK:
                break  # later losses belong to the path that is given up
        if state["phase"] == 1:
            self._step_base(closure, loss)
        elif action is control.Action.ROLL_BACK:
            guard.roll_back(self.param_groups, self.state)
            state["momentum_age"] = None
        else:
            if action is control.Action.KEEP:
                guard.keep(self.param_groups, self.state)
            self._shrink(closure)
        return loss

    def _take_in(self, loss: float, *, newest: bool) -> control.Action:
        state = self._control
        settings.remember(state, loss)
        if state["phase"] == 1:
            control.anneal(state, loss, shortens=self._splits)
            if self._detector is not None and self._detector.update(loss):
                self._enter_phase_two()
            else:
                return control.Action.CONTINUE
        if state["start_loss"] is None:
            state["start_loss"] = loss
        level = self._level(loss)
        if level is None:
            return control.Action.CONTINUE
        reference = self._reference_decay()
        lr = float(self._numbers(self.param_groups[0], reference)[0])
        cap = 0.25 / lr if lr > 0.0 else math.inf
        control.constrain(state, loss, level, math.sqrt(lr * reference), self._rule, cap=cap)
        if not self._settings.guard:
            return control.Action.CONTINUE
        return control.watch(state, loss, level, state["first_loss"], self._rule, newest=newest)

    def _level(self, loss: float) -> float | None:
        """The interpolation level; a model taken on without one gets it from its own loss when lambda needs it."""
        state = self._control
        if state["level"] is None:
            if self._detector is not None:
                state["level"] = self._detector.level
            elif not all(group["given"]["weight_decay"] for group in self.param_groups) and math.isfinite(loss):
                state["level"] = settings.level_taken_on(loss)
        return state["level"]

    def _step_base(self, closure: Callable[[], Any] | None, loss: Any) -> None:
        base = cast(Optimizer, self.base)
        for group in self.param_groups:
            guard.dense_gradients([param for param in group["params"] if param.grad is not None])
        settings.follow_schedule(self.param_groups, base, self._control["anneal_scale"])
        if closure is None:
            base.step()
        else:
            base.step(losses.replay(closure, loss))

    def _enter_phase_two(self) -> None:
        state = self._control
        state["phase"], state["switch_step"] = 2, max(0, state["steps"] - 1)
        control.enter(state, self._rule)
        restore.hand_over(self.param_groups, self.base, self.state, adaptive=self._settings.adaptive)
        state["start_norm"], state["start_loss"] = guard.norm(self.param_groups), None
        self.base = None

    # ---------------------------------------------------------------- phase 2
    def _reference_decay(self) -> float:
        """The decay that sets momentum and damped time: the largest of L2; the untuned one where there is no L2."""
        decays = [self._decay(group) for group in self.param_groups if isinstance(group["penalty"], L2)]
        return max(decays, default=0.0) or self._settings.pace * self._control["decay_retreat"]

    def _decay(self, group: dict[str, Any]) -> float:
        state = self._control
        scale = state["decay_retreat"]
        if not group["given"]["weight_decay"]:
            scale *= state["decay_scale"]
        return group["weight_decay"] if scale == 1.0 else group["weight_decay"] * scale

    def _numbers(self, group: dict[str, Any], reference: float) -> tuple[float | Tensor, float, float]:
        state = self._control
        scale = state["lr_retreat"]
        if not group["given"]["lr"]:
            scale *= state["lr_scale"] * state["calibrated"]
        decay = self._decay(group)
        return group["lr"] if scale == 1.0 else group["lr"] * scale, decay, decay or reference

    def _shrink(self, closure: Callable[[], Any] | None) -> None:
        state = self._control
        if self._settings.calibrates(self.param_groups):
            if not state.get("probes_left"):
                for group in self.param_groups:
                    phase_two.weigh(group, self.state, self._settings)  # a probe is a step away from where theta is
            if calibration.refresh(self.param_groups, self.state, state, closure):
                return
        reference = self._reference_decay()
        flush = state["steps"] % guard.FLUSH_EVERY == 0
        turns: list[Tensor] = []
        for group in self.param_groups:
            numbers = self._numbers(group, reference)
            age = self._age(group)
            turn = phase_two.advance(group, self.state, self._settings, numbers, age=age, flush=flush)
            if turn is not None:
                turns.append(turn)
        if turns:
            turn = torch.stack([each.to(turns[0].device) for each in turns]).sum()
            phase_two.restart(self.param_groups, self.state, turn, state["momentum_age"])

    def _age(self, group: dict[str, Any]) -> Tensor | None:
        """Steps since the last restart, a tensor on the parameters' device; None for L2."""
        if isinstance(group["penalty"], L2):
            return None
        state = self._control
        if state["momentum_age"] is None:
            state["momentum_age"] = torch.ones((), device=group["params"][0].device)
        return state["momentum_age"]

    # ---------------------------------------------------------------- saving and loading
    def state_dict(self) -> dict[str, Any]:
        """The whole state, phase 1's included, as `torch.save` writes it and ``weights_only=True`` reads it.

        Returns:
            The dict of `torch.optim.Optimizer.state_dict`; ``param_groups[0]["control"]`` holds the phase, the
            detector, the constraint and the guard.
        """
        return restore.pack(super().state_dict(), self.base, self._detector, self._inbox)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state: one of this class, or one of Adam/AdamW (its second moments are taken over).

        Args:
            state_dict: As `state_dict` gives it.

        Raises:
            ValueError: If it belongs to other parameters or to the other metric.
        """  # noqa: DOC502 (raised by what it calls)
        own, betas = restore.adopt(state_dict, self.param_groups, self._settings.metric)
        super().load_state_dict(own)
        self.base = None
        if self.phase == 1:
            self._build_base()
        elif betas is not None:
            restore.take_over(self.param_groups, self.state, betas, adaptive=self._settings.adaptive)
        restore.unpack(self._control, self.base, self._detector, self._inbox)
        if self.base is not None and betas is not None:
            restore.give_to_base(self.param_groups, self.state, self.base)
        if self.phase == 1 and self._detector is None:
            self._enter_phase_two()  # somebody's phase 1, continued by an optimizer that begins in phase 2

    def __getstate__(self) -> dict[str, Any]:
        """Everything that deepcopy and pickle need; the base shares its state with ours, so it travels along.

        Returns:
            Attributes by name.
        """
        names = ("_settings", "_rule", "_factory", "_inbox", "_detector", "base")
        return super().__getstate__() | {name: self.__dict__[name] for name in names}
