"""GROKtimizer: fit first, then shrink the norm on the zero-loss manifold with critically damped momentum."""

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import override

from groktimizer.ground.errors import warn
from groktimizer.optim import (
    constraint,
    guard,
    losses,
    phase_two,
    restore,
    settings,
    store,
    switch,
    upkeep,
    weighing,
)
from groktimizer.optim import status as status_texts
from groktimizer.optim.agreement import ALONE, Agreement, Group, Scope, check_process_group, scope_of_shards
from groktimizer.optim.control import Control
from groktimizer.optim.detector import Detector
from groktimizer.optim.exchange import exchange
from groktimizer.optim.groups import check_options, check_parameters, check_placement
from groktimizer.optim.phase_one import BaseFactory, Build, PhaseOne, default_base
from groktimizer.penalties import L2, Penalty

_L2 = L2()
OWN = ("_chosen", "_factory", "_agreement", "_inbox", "_detector", "_one", "_warned")  # attributes


class GROKtimizer(Optimizer):
    r"""Biphasic optimizer: reach interpolation fast, then minimise the norm at the square-root rate.

    Phase 1 runs `base` (Adam without decay) until the training loss interpolates. Phase 2 is heavy ball with decay,
    ``b <- mu b + force + lambda theta; theta <- theta - eta b``, at the momentum that damps the flat directions
    critically, ``mu = (1 - damping sqrt(eta lambda))^2``: time ~ 1/sqrt(eta lambda) where descent needs
    1/(eta lambda). ``metric="euclidean"`` takes the gradient as force; ``metric="adaptive"`` the gradient over its
    root second moment, clipped to [-1, 1]. The momentum follows lr and decay at every step, schedulers included.

    By default the excursion of the loss after the switch, where generalisation happens, runs in the adaptive metric,
    and the run ends in the Euclidean one, whose fixed points have the least norm at the interpolation level.

    The two phases and critically damped momentum are the idea of arXiv 2606.01521 (Muscarnera, Ruhrberg Estévez,
    Xiao, van der Schaar); only its abstract is public to us, so the rule here is derived, and the switch, the adaptive
    metric, the constraint and the guard are ours.

    Args:
        params: Tensors or groups (see `param_groups`); real, dense, floating point.
        lr: Step size eta of phase 2; None finds it (adaptive: the measured default; Euclidean: from the curvature,
            which needs full batches, or a closure that evaluates one batch).
        weight_decay: Weight lambda of the penalty in phase 2; None shrinks the norm as fast as the loss allows.
        metric: ``"adaptive"`` (untuned and on full batches it ends in the Euclidean one) or ``"euclidean"``.
        penalty: The complexity h that phase 2 minimises, of weight weight_decay: `L2`, or one with a proximal map
            (`L1`, `GroupL1`, `Nuclear`, `Elastic`), for accelerated proximal steps (see `optim.proximal`).
        damping: Damping ratio zeta; 1 is critical. Half of it where an untuned run is at the level in its finish.
        interpolation: When phase 2 begins: None (smoothed loss below 2 % of its first value, or of what weights of
            zero lose; or on a plateau below half of that), a loss level, a `Detector`, or ``float("inf")`` (at once: a
            model that has memorised already).
        base: ``callable(param_groups) -> Optimizer`` for phase 1; None is Adam, lr 1.2e-2, betas (0.9, 0.98).
        guard: Keep the last interpolating state (one copy of the parameters) and return to it when the loss leaves.
        beta2: Decay rate of second moments where phase 1 brings none of its own.
        eps: Added to the root second moment.
        maximize: Climb the objective (then ``interpolation=float("inf")`` or a detector is needed).
        foreach: As in torch: None chooses, True/False forces or forbids the foreach kernels of L2; proximal steps take
            one tensor after the other.
        fused: Euclidean only: PyTorch's fused SGD kernel; None takes it where there is one.
        compiled: Adaptive only: the update as one `torch.compile` kernel (compiles on its first step).
        capturable: Refused: the phase switch is decided on the host.
        differentiable: Refused: the update runs in place without autograd.
        poll: Steps between two readings of the loss; None is 1 for a CPU loss and 10 for one on a device.
        process_group: Ranks that train one model and agree on every number that decides, by one small reduction a
            step. None: those that the parameters are sharded over, or that DistributedDataParallel runs on, else this
            process decides alone. A `torch.distributed.ProcessGroup`: these. False: no collective.

    Raises:
        UserError: An argument out of range, in one line with its value and what is accepted.

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
        process_group: Group = None,
    ) -> None:
        self._chosen = settings.Settings(metric, penalty, guard, compiled, poll)
        self._chosen.check(foreach=foreach, fused=fused, capturable=capturable, differentiable=differentiable)
        check_process_group(process_group)
        self._factory = BaseFactory(base or default_base)
        self._agreement = Agreement(process_group)
        self._inbox = losses.Inbox(poll)
        self._one: PhaseOne | None = None
        self._warned: set[str] = set()
        at_once = isinstance(interpolation, (int, float)) and interpolation == math.inf
        self._detector = deepcopy(switch.detector_for(interpolation, maximize=maximize))
        defaults = {"lr": lr, "weight_decay": weight_decay, "damping": damping, "beta2": beta2, "eps": eps}
        defaults |= {"maximize": maximize, "foreach": foreach, "fused": fused}
        check_options(defaults | {"penalty": penalty})
        super().__init__(settings.listed(params), defaults)
        settings.check_groups(self.param_groups)
        self.param_groups[0]["control"] = state = constraint.fresh(metric)
        if self._detector is not None:
            state.detector = self._detector.state_dict()
        if at_once:
            self._enter_phase_two()
        else:
            self._build_base()

    # ---------------------------------------------------------------- what a user reads
    @property
    def phase(self) -> int:
        """1 while fitting, 2 while shrinking the norm."""
        return self._control.phase

    @property
    def switch_step(self) -> int | None:
        """Steps taken before phase 2 began; None in phase 1."""
        step = self._control.switch_step
        return None if step < 0 else step

    @property
    def base(self) -> Optimizer | None:
        """The optimizer of phase 1; None in phase 2."""
        return self._one.optimizer if self._one is not None and self.phase == 1 else None

    @property
    def status(self) -> str:
        """What is going on, and what to change when it goes wrong; one sentence or two."""
        chosen = switch.chosen(self.param_groups, self._detector, self._control, adaptive=self._settings.adaptive)
        return status_texts.describe(self._control, self._norm(), chosen)

    @property
    def extra_passes(self) -> int:
        """Forward-backward passes spent on calibration, beyond one a step."""
        return self._control.extra_passes

    @property
    def state_bytes(self) -> int:
        """Bytes of every tensor that the optimizer holds on this rank, the guard's snapshot included."""
        apart = {} if self._one is None or self._one.shares else self._one.optimizer.state
        return store.nbytes(self.state) + store.nbytes(apart)

    @property
    def _control(self) -> Control:
        return Control.of(self.param_groups)

    @property
    def _settings(self) -> settings.Settings:
        """The settings as they are now: in the finish those of the Euclidean metric."""
        return self._chosen if self._control.finish_step < 0 else self._chosen.finish

    def _norm(self) -> float:
        """Norm of what is penalised; of sharded tensors as of the last reduction, since one rank may ask alone."""
        if self._shards() is None:
            return upkeep.norm(self.param_groups, ALONE)
        known = self._control.norm
        return 0.0 if self.phase == 1 and math.isnan(known) else known

    def _shards(self) -> Scope | None:
        return scope_of_shards(self._params, self._agreement.process_group)

    @property
    def _params(self) -> list[Tensor]:
        return [param for group in self.param_groups for param in group["params"]]

    # ---------------------------------------------------------------- parameters
    @override
    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add tensors to optimise, with any of lr, weight_decay, damping, beta2, eps, in the phase that is on."""
        group = settings.complete(param_group, self.defaults, self._chosen)
        known = {id(param) for other in self.param_groups for param in other["params"]}
        params = settings.tensors(group["params"])
        check_parameters(params, known)
        given = {"lr": group["lr_given"], "weight_decay": group["decay_given"]}
        check_options({key: group[key] for key in (*self.defaults, "penalty") if given.get(key, True)})
        scope = scope_of_shards(params, self._agreement.process_group)
        group["scales"] = self._chosen.scales(params, given=group["lr_given"], scope=scope)
        settings.check_effective(group, self._chosen)
        check_placement(group["penalty"], params, group["weight_decay"])
        super().add_param_group(group)
        self._agreement.known = None
        if self._one is not None:
            self._one.add(group, len(self.param_groups) - 1)

    def _build_base(self) -> PhaseOne:
        optimizer = self._factory(self.param_groups, maximize=self.defaults["maximize"])
        self._one = PhaseOne(optimizer, self.param_groups, self.state)
        return self._one

    # ---------------------------------------------------------------- one step
    def observe(self, loss: Tensor | float) -> None:
        """Tell the optimizer the training loss of the gradient that the next `step` will use.

        Several calls before one step (gradient accumulation) are averaged. Not needed with ``step(closure)``, whose
        loss it replaces where both are given. A loss on a device is not read at once: no synchronisation.

        Args:
            loss: One number, the loss that was differentiated.

        Raises:
            UserError: If `loss` is not one number.
        """
        self._inbox.put(loss)
        self._control.observed = True

    @torch.no_grad()
    @override
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] (one for torch's overloads)
        """Take one step of the phase that is on.

        Args:
            closure: Clears the gradients, computes the loss, calls backward and returns the loss.

        Returns:
            The closure's loss, or None.

        Raises:
            UserError: If a gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
            if loss is not None and not self._inbox.waiting:
                self.observe(loss)
        state = self._control
        asked = settings.only_asked_for_state(self.param_groups, state)
        state.steps += not asked
        scope = ALONE if asked else self._agreement.known or self._agreement.scope(self._params)
        if scope.joining:
            self._say(status_texts.JOINING)
        now = self._chosen.guard and switch.asks(self._detector, state)
        found, squares = exchange(self._inbox, self.param_groups, self.state, state, self._settings, scope, now=now)
        if state.emptied:
            guard.refill(self.param_groups, self.state)
            switch.take_in_empty(state, found, deflates=self._factory.default)
        elif state.inflated and switch.deflates(state, found):
            guard.halve(self.param_groups, self.state, self._chosen, self._agreement.process_group)
        else:
            asks = now and found and switch.inflated(state, found, *weighing.along(self.param_groups, scope))
            start = guard.copied(self.param_groups) if asks else {}
            action = self._judge(found, scope)
            if state.phase == 1:
                self._step_base(closure, loss)
            else:
                self._step_two(action, closure, scope, squares, asked=asked)
            if start and state.phase == 1:
                guard.empty(self.param_groups, self.state, state, start)
        self._inbox.clear()  # what further evaluations of a closure observed
        store.rewind(self.state if asked else {})
        self._say_what_is_due()
        return loss

    def _judge(self, losses: list[float], scope: Scope) -> guard.Action:
        action = guard.Action.CONTINUE
        for position, loss in enumerate(losses, start=1):
            action = self._take_in(loss, scope, newest=position == len(losses))
            if action is guard.Action.ROLL_BACK:
                break  # later losses belong to the path that is given up
        return action

    def _say_what_is_due(self) -> None:
        if self._control.steps % status_texts.EVERY == 0:
            chosen = switch.chosen(self.param_groups, self._detector, self._control, adaptive=self._settings.adaptive)
            for text in status_texts.warnings_due(self._control, self._norm, chosen, self._params):
                self._say(text)

    def _say(self, text: tuple[str, str]) -> None:
        if text[0] not in self._warned:
            self._warned.add(text[0])
            warn(f"GROKtimizer: {text[1]}")

    def _take_in(self, loss: float, scope: Scope, *, newest: bool) -> guard.Action:
        state = self._control
        state.remember(loss)
        if state.phase == 1:
            constraint.anneal(state, loss, shortens=self._factory.default)
            if not switch.interpolates(self._detector, state, loss):
                return guard.Action.CONTINUE
            self._enter_phase_two(scope)
        if math.isnan(state.start_loss):
            state.start_loss = loss
        given = all(group["decay_given"] for group in self.param_groups)
        level = switch.level(self._detector, state, loss, needed=not given)
        if math.isnan(level):
            return guard.Action.CONTINUE
        phase_two.constrain(self.param_groups, state, self._settings, loss, level)
        phase_two.finish(self.param_groups, self.state, state, self._settings, scope)
        watched = self._settings.guard and (state, loss, level, state.first_loss, self._settings.rule)
        return guard.watch(*watched, newest=newest) if watched else guard.Action.CONTINUE

    def _step_base(self, closure: Callable[[], Any] | None, loss: Any) -> None:
        one = self._one or self._build_base()
        one.share(self.param_groups, self.state)
        upkeep.check_dense(self._params)
        anneal = self._control.anneal_scale
        one.anneal([settings.schedule_factor(group) * anneal for group in self.param_groups])
        scales = None
        if self._factory.default:
            over = self._agreement.process_group
            scales = [self._settings.known_scales(group, self.state, over) for group in self.param_groups]
        one.step(scales, closure and losses.replay(closure, loss))
        self._prepare()

    def _prepare(self) -> list[phase_two.Moving]:
        over = self._agreement.process_group
        return phase_two.prepare(self.param_groups, self.state, self._control, self._settings, over)

    def _enter_phase_two(self, scope: Scope = ALONE) -> None:
        state = self._control
        state.phase, state.switch_step = 2, max(0, state.steps - 1)
        constraint.enter(state, self._settings.rule)
        if self._one is not None:
            restore.hand_over(self.param_groups, self._one, self.state, self._settings.tensors(self.param_groups))
        state.norm = state.start_norm = upkeep.norm(self.param_groups, scope if scope.groups else self._shards())
        state.start_loss = math.nan
        self._one = None

    # ---------------------------------------------------------------- phase 2
    def _step_two(
        self, action: guard.Action, closure: Any, scope: Scope, squares: list[float] | None, *, asked: bool
    ) -> None:
        if action is guard.Action.ROLL_BACK:
            guard.roll_back(self.param_groups, self.state)
            self._control.age, self._control.turn = 0.0, 0.0
            return
        moving = self._prepare()
        if action is guard.Action.KEEP:
            guard.keep(self.param_groups, self.state)
        if not asked:
            own = (self.param_groups, self.state, self._control, self._settings)
            phase_two.step(*own, moving, closure, scope, squares)

    # ---------------------------------------------------------------- saving and loading
    @override
    def state_dict(self) -> dict[str, Any]:
        """The whole state; ``param_groups[0]["control"]`` holds phase, detector, constraint and guard as numbers."""
        return restore.pack(super().state_dict(), self._inbox.state_dict(), self._one if self.phase == 1 else None)

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state of this class, or of Adam or AdamW, whose second moments are taken over."""
        own, beta2 = restore.adopt(state_dict, self.param_groups, self._chosen.metric)
        super().load_state_dict(own)
        restore.renumber(own, self.param_groups, self.state)
        saved, self._one = own["param_groups"][0]["control"], None
        self._inbox.load_state_dict(saved)
        if self.phase == 1:
            restore.resume_base(self.param_groups, self._build_base(), saved)
            if self._detector is None:  # somebody's phase 1, continued by an optimizer that begins in phase 2
                self._enter_phase_two()
        elif beta2 is not None:
            restore.take_over(self.param_groups, self.state, beta2, self._settings.tensors(self.param_groups))
        used = self._settings.tensors(self.param_groups)
        restore.settle(self.param_groups, self.state, used, phase=self.phase, kept=self._control.kept)

    @override
    def __getstate__(self) -> dict[str, Any]:
        """Everything that deepcopy and pickle need; phase 1 shares our state and lists, so it travels along."""
        return super().__getstate__() | {name: self.__dict__[name] for name in OWN}
