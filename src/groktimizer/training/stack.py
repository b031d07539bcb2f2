"""Runs of one task side by side in one process: one batched pass for all of them, an optimizer for each.

Parameters and buffers of the networks are rows of stacked tensors. A step takes all losses and gradients from one pass
through one network under `torch.func.vmap`; then every optimizer steps on its own rows, so that learning rates, decays
and phases are each run's own. A further pass that an optimizer asks for within a step is an ordinary one. Optimizers of
PyTorch that change each weight for itself step all rows of equal settings at once.
"""

import contextlib
import copy
import itertools
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn, optim
from torch.func import functional_call, vmap

from groktimizer.ground.errors import FAILURES
from groktimizer.ground.seeds import derive_seed
from groktimizer.tasks import Task
from groktimizer.tasks.problem import evaluating, full
from groktimizer.training import environment
from groktimizer.training.machine import check_machine
from groktimizer.training.run import Run
from groktimizer.training.session import Asked, Listener, Session, begin, make_plan

CHUNK = 8192  # samples of one pass, over all runs: more of them do not stay in a processor's cache
# Optimizers that change each weight by its own gradients alone, whatever tensor it is in.
ELEMENTWISE = {
    optim.Adadelta,
    optim.Adagrad,
    optim.Adam,
    optim.Adamax,
    optim.AdamW,
    optim.NAdam,
    optim.RMSprop,
    optim.SGD,
}
Outcome = Run | Exception


@dataclass
class _Member:
    """A session of a stack, and its share of the time."""

    place: int
    session: Session
    wall: float = 0.0
    cpu: float = 0.0


def train_stack(
    task: Task,
    asked: Sequence[Asked],
    *,
    steps: int | None = None,
    every: int | Literal["log"] | None = None,
    threads: int | None = 1,
    precision: Literal["fp32", "fp64"] = "fp32",
    stop_on_settled: bool = True,
    checkpoint_every: int | None = None,
    on_event: Listener | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """Train runs of one task on the CPU, each as `train` does up to rounding, whoever runs beside it.

    Args:
        task: What to learn; its networks and data differ by the seed, not in shape, and training draws no random
            numbers.
        asked: Of each run optimizer, seed, identity and checkpoint; optimizers with their weights elsewhere while
            others are offered (`environment.Averaging`) are evaluated one by one.
        steps: As in `train`.
        every: As in `train`.
        threads: As in `train`.
        precision: As in `train`.
        stop_on_settled: As in `train`.
        checkpoint_every: As in `train`.
        on_event: Called with the progress of the first run that is not finished.

    Yields:
        The place of a run and what became of it, as they end; of all that are left when the user asks to stop. Seconds
        of a run are its share.

    Raises:
        UserError: As in `train`.
    """
    plan = make_plan(task, steps, every, checkpoint_every, stop_on_settled=stop_on_settled)
    place = check_machine(task, plan.steps, every)
    with environment.surroundings(threads, 0, place), environment.interruptible() as interrupt:
        members: list[_Member] = []
        for number, one in enumerate(asked):
            torch.manual_seed(derive_seed(one.seed, "global"))
            try:
                session = begin(task, one, plan, place, precision)
                member = _Member(number, session)
                with _timed([member]):
                    session.keep_time(*_clocks(member))
                    session.start()
                members.append(member)
            except FAILURES as error:
                yield number, error
        yield from _together(members, interrupt, on_event)


def _clocks(member: _Member) -> tuple[Callable[[], float], Callable[[], float]]:
    return lambda: member.wall, lambda: member.cpu


@contextlib.contextmanager
def _timed(members: Sequence[_Member]) -> Generator[None]:
    """Share the time that something takes among members."""
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield
    finally:
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        for member in members:
            member.wall += wall / len(members)
            member.cpu += cpu / len(members)


def _together(
    members: list[_Member], interrupt: environment.Interrupt, on_event: Listener | None
) -> Iterator[tuple[int, Outcome]]:
    """Step those that are least far until all have ended."""
    rows: _Rows | None = None
    while members:
        for member in [one for one in members if one.session.finished or interrupt.requested]:
            members.remove(member)
            yield member.place, member.session.end()
        if not members:
            return
        members[0].session.on_event = on_event
        least = min(one.session.step for one in members)
        turn = [one for one in members if one.session.step == least]
        with _timed(turn):
            if rows is None or rows.members != turn:
                rows = _Rows(turn)
            failed = rows.step()
        for member, error in failed:
            members.remove(member)
            yield member.place, error


class _Rows:
    """Networks whose parameters and buffers are rows of stacked tensors.

    Args:
        members: Sessions at one step.
    """

    def __init__(self, members: Sequence[_Member]) -> None:
        self.members = list(members)
        self._sorted = sorted(self.members, key=_settings)
        self._sessions = [member.session for member in self._sorted]
        self._models = [session.problem.model for session in self._sessions]
        self._network = copy.deepcopy(self._models[0])
        self._objective = self._sessions[0].problem.objective
        self._params = self._stacked([dict(model.named_parameters()) for model in self._models])
        self._buffers = self._stacked([dict(model.named_buffers()) for model in self._models])
        self._whole: tuple[Tensor, Tensor] | None = None
        self._steppers = list(self._made())

    def _stacked(self, parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Stack what has one name, and put the rows in the place of what was there."""
        stacks: dict[str, Tensor] = {}
        for name, first in parts[0].items():
            stacks[name] = _stack([part[name].detach() for part in parts])
            for part, row in zip(parts, stacks[name], strict=False):
                part[name].data = row
            stacks[name].requires_grad_(first.requires_grad)
        return stacks

    def _made(self) -> Iterator["_Alone | _Fleet"]:
        """What steps the rows: those of equal settings together where each weight is changed for itself."""
        for _, group in itertools.groupby(enumerate(self._sorted), key=lambda each: _settings(each[1])):
            places, members = zip(*group, strict=True)
            sessions = [member.session for member in members]
            if type(sessions[0].optimizer) in ELEMENTWISE:
                rows = slice(places[0], places[-1] + 1)
                yield _Fleet(rows, sessions, {name: part.detach()[rows] for name, part in self._params.items()})
            else:
                for place, session in zip(places, sessions, strict=True):
                    yield _Alone(slice(place, place + 1), session)

    def step(self) -> list[tuple[_Member, Exception]]:
        """Step each of them once.

        Returns:
            Those that failed.
        """
        losses, slopes = self._pass()
        failed: list[tuple[_Member, Exception]] = []
        for stepper in self._steppers:
            handed = {name: None if slope is None else slope[stepper.rows] for name, slope in slopes.items()}
            try:
                stepper.step(losses[stepper.rows], handed)
            except FAILURES as error:
                failed += [(member, error) for member in self._sorted[stepper.rows]]
        lost = {member.place for member, _ in failed}
        with self._answered() if self._due() else contextlib.nullcontext():
            for member in self._sorted:
                if member.place not in lost:
                    member.session.stepped()
        return failed

    def _pass(self) -> tuple[Tensor, dict[str, Tensor | None]]:
        """Losses of all rows, shape (runs,), and gradients by name, shape (runs, …)."""
        wanted = {name: part for name, part in self._params.items() if part.requires_grad}

        def loss(params: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
            return self._objective(full(self._outputs(params, buffers, inputs)), targets)

        inputs, targets = self._batches()
        with torch.enable_grad():
            losses = vmap(loss, chunk_size=_chunk(inputs))(self._params, self._buffers, inputs, targets)
            slopes = torch.autograd.grad(losses.sum(), list(wanted.values()), allow_unused=True)
        return losses.detach(), dict(zip(wanted, slopes, strict=True))

    def _batches(self) -> tuple[Tensor, Tensor]:
        if self._whole is not None:
            return self._whole
        parts = [session.batch() for session in self._sessions]
        stacked = _stack([inputs for inputs, _ in parts]), _stack([targets for _, targets in parts])
        if self._sessions[0].batches.whole:
            self._whole = stacked
        return stacked

    def _due(self) -> bool:
        """Whether all are evaluated after this step, at the weights that they step from."""
        first = self._sessions[0]
        averaging = isinstance(first.optimizer, environment.Averaging)
        return first.step + 1 in first.plan.evaluated and not averaging

    @contextlib.contextmanager
    def _answered(self) -> Generator[None]:
        """Let each network answer from one pass for all where it is asked for its training or test inputs.

        Yields:
            Nothing.
        """
        problems = [session.problem for session in self._sessions]
        sets = [[problem.train.inputs for problem in problems]]
        sets.append([problem.test.inputs for problem in problems if problem.test is not None])
        known: list[dict[int, Tensor]] = [{} for _ in problems]
        for batches in filter(None, sets):
            inputs = _stack(batches)
            with torch.no_grad(), evaluating(self._network):
                outputs = vmap(self._outputs, chunk_size=_chunk(inputs))(self._params, self._buffers, inputs)
            for answers, batch, row in zip(known, batches, outputs, strict=False):
                answers[id(batch)] = row
        for model, answers in zip(self._models, known, strict=True):
            model.forward = _remembering(model.forward, answers)
        try:
            yield
        finally:
            for model in self._models:
                del model.forward

    def _outputs(self, params: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tensor) -> Tensor:
        return functional_call(self._network, (params, buffers), (inputs,))


class _Alone:
    """One session, which steps itself.

    Args:
        rows: Its row.
        session: It.
    """

    def __init__(self, rows: slice, session: Session) -> None:
        self.rows = rows
        self._session = session

    def step(self, losses: Tensor, slopes: Mapping[str, Tensor | None]) -> None:
        """Step, with the answer to the closure's first call.

        Args:
            losses: Shape (1,).
            slopes: Gradients by name, shape (1, …).
        """
        session, model, fresh = self._session, self._session.problem.model, True
        params = dict(model.named_parameters())
        before = [param._version for param in params.values()]

        def closure() -> Any:
            nonlocal fresh
            fresh, known = False, fresh and before == [param._version for param in params.values()]
            if not known:
                return session.descend(model)
            for name, param in params.items():
                slope = slopes.get(name)
                param.grad = None if slope is None else slope[0]
            session.passes += 1
            return losses[0]

        session.optimizer.step(closure)


class _Fleet:
    """Sessions with equal settings whose optimizer changes each weight for itself: one of them steps all.

    Args:
        rows: Their rows.
        sessions: They.
        stacks: Their parameters by name, shape (sessions, …).
    """

    def __init__(self, rows: slice, sessions: Sequence[Session], stacks: Mapping[str, Tensor]) -> None:
        self.rows = rows
        self._sessions = sessions
        self._leaves = {name: nn.Parameter(stack) for name, stack in stacks.items()}
        self._params = [dict(session.problem.model.named_parameters()) for session in sessions]
        own = {id(param): self._leaves[name] for name, param in self._params[0].items()}
        self._optimizer = copy.deepcopy(sessions[0].optimizer, own)
        for group in self._optimizer.param_groups:  # a fused kernel rounds the last entries of a tensor in another way
            group.update({"foreach": True, "fused": False} if "foreach" in group else {})
        self._shared = False
        for name, leaf in self._leaves.items():
            states = [session.optimizer.state.get(param[name], {}) for session, param in self._paired()]
            for key, value in states[0].items():
                alike = isinstance(value, Tensor) and value.shape == leaf.shape[1:]
                kept = torch.stack([state[key] for state in states]) if alike else copy.deepcopy(value)
                self._optimizer.state[leaf][key] = kept

    def _paired(self) -> Iterator[tuple[Session, dict[str, nn.Parameter]]]:
        return zip(self._sessions, self._params, strict=True)

    def step(self, losses: Tensor, slopes: Mapping[str, Tensor | None]) -> None:
        """Step.

        Args:
            losses: Not used.
            slopes: Gradients by name, shape (sessions, …).
        """
        del losses
        for name, leaf in self._leaves.items():
            leaf.grad = slopes.get(name)
        self._optimizer.step()
        for session in self._sessions:
            session.passes += 1
        if not self._shared:
            self._share()

    def _share(self) -> None:
        """Make each session's state its row of what the optimizer has, which it changes in place."""
        self._shared = True
        for name, leaf in self._leaves.items():
            state = self._optimizer.state.get(leaf, {})
            for row, (session, params) in enumerate(self._paired()):
                own = {key: value[row] if _shaped(value, leaf) else value for key, value in state.items()}
                session.optimizer.state[params[name]] = own


def _shaped(value: object, leaf: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == leaf.shape


def _settings(member: _Member) -> str:
    """The numbers of a run's optimizer."""
    groups = member.session.optimizer.param_groups
    return repr([sorted((key, value) for key, value in group.items() if key != "params") for group in groups])


def _stack(parts: Sequence[Tensor]) -> Tensor:
    """One row each, never a single one: products of one matrix are summed in another order than those of several."""
    return torch.stack([*parts, parts[0]] if len(parts) == 1 else list(parts))


def _chunk(inputs: Tensor) -> int:
    """Rows of one pass, so that none is left alone."""
    size = max(2, CHUNK // max(1, inputs.shape[1]))
    while len(inputs) % size == 1:
        size += 1
    return size


def _remembering(forward: Callable[[Tensor], Tensor], answers: Mapping[int, Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda inputs: answers[id(inputs)] if id(inputs) in answers else forward(inputs)
