"""One training run while it goes on: what it takes a step on, evaluates, saves and sums up."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from groktimizer.ground.checks import whole
from groktimizer.ground.names import lookup
from groktimizer.measures import Times, Verdict, grokking_times, judge_history
from groktimizer.tasks import Problem, Task, check_columns, make_problem
from groktimizer.training import environment
from groktimizer.training.checkpoint import CheckpointError, load_checkpoint, restore, save_checkpoint
from groktimizer.training.history import INTEGERS, History, measure_norms
from groktimizer.training.run import Event, Run
from groktimizer.training.schedule import Batches, Schedule, evaluation_steps, measure_steps

CHECKPOINT_EVERY = 500
MOST_STEPS = 10**15
Listener = Callable[[Event], None]


@dataclass(frozen=True)
class Plan:
    """When a run evaluates, saves and stops.

    Attributes:
        steps: Budget.
        evaluated: Steps after which it is evaluated.
        measured: Of them those with the costly norms.
        save_every: Steps between saves.
        stop_on_settled: Whether to stop once generalisation has settled.
    """

    steps: int
    evaluated: Schedule
    measured: frozenset[int]
    save_every: int
    stop_on_settled: bool


@dataclass(frozen=True)
class Asked:
    """What is one run's own among others of the same task and plan.

    Attributes:
        build_optimizer: Makes the optimizer from the network.
        seed: Seed of data, weights and batches.
        identity: Identity of the run; a checkpoint of another is refused.
        checkpoint: File of the saved state, None for no saving.
    """

    build_optimizer: Callable[[nn.Module], Optimizer]
    seed: int = 0
    identity: str = ""
    checkpoint: Path | None = None


@dataclass
class Session:
    """Everything that changes while a run goes on.

    Attributes:
        task: What is learnt.
        problem: The task at the seed of the run.
        optimizer: What learns it.
        history: Evaluations so far.
        plan: When it evaluates, saves and stops.
        batches: Which samples a step sees.
        device: Where it takes place.
        precision: "fp32", "bf16" or "fp64".
        asked: What is the run's own.
        on_event: Called with each event, or None.
        clock: Wall seconds, from any start.
        cpu_clock: Processor seconds, from any start.
        step: Steps done.
        passes: Closure calls done.
        seconds: Wall seconds of earlier sessions.
        cpu_seconds: Processor seconds of earlier sessions.
        resumed: How often the run was taken up.
        first_step: Steps done when this session began.
        began: Wall clock when this session began.
        cpu_began: Processor clock when this session began.
    """

    task: Task
    problem: Problem
    optimizer: Optimizer
    history: History
    plan: Plan
    batches: Batches
    device: torch.device
    precision: str
    asked: Asked
    on_event: Listener | None
    clock: Callable[[], float] = time.perf_counter
    cpu_clock: Callable[[], float] = time.process_time
    step: int = 0
    passes: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    resumed: int = 0
    first_step: int = 0
    began: float = field(init=False)
    cpu_began: float = field(init=False)

    def __post_init__(self) -> None:
        """Start the clocks."""
        self.keep_time(self.clock, self.cpu_clock)

    def keep_time(self, clock: Callable[[], float], cpu_clock: Callable[[], float]) -> None:
        """Take the time from such clocks, from now on.

        Args:
            clock: Wall seconds, from any start.
            cpu_clock: Processor seconds, from any start.
        """
        self.clock, self.cpu_clock = clock, cpu_clock
        self.began, self.cpu_began = clock(), cpu_clock()

    def wall(self) -> float:
        """Wall seconds of all sessions."""
        return self.seconds + self.clock() - self.began

    def cpu(self) -> float:
        """Processor seconds of all sessions."""
        return self.cpu_seconds + self.cpu_clock() - self.cpu_began

    @property
    def finished(self) -> bool:
        """Whether the budget is used up or generalisation has settled."""
        return self.step >= self.plan.steps or (self.plan.stop_on_settled and self.history.settled)

    def start(self) -> None:
        """Take up the saved state, or evaluate the network as it is.

        Raises:
            CheckpointError: If the state cannot be read.
            UserError: If the first loss is not finite.
        """
        if self.asked.checkpoint is not None and self.asked.checkpoint.exists():
            self.restore(self.asked.checkpoint)
        else:
            self.evaluate(full=True)
            environment.check_start(self.history.last(), environment.PRECISIONS[self.precision])
        self.tell("start")

    def batch(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets that the next step sees."""
        rows, (inputs, targets) = self.batches.rows(self.step), self.problem.train
        return (inputs, targets) if rows is None else (inputs[rows], targets[rows])

    def descend(self, model: Callable[[Tensor], Tensor]) -> Tensor:
        """Zero the gradients, forward, backward: one pass.

        Args:
            model: The network, perhaps compiled.

        Returns:
            The loss.
        """
        inputs, targets = self.batch()
        self.optimizer.zero_grad()
        with torch.enable_grad(), environment.autocast(self.precision, self.device):
            loss = self.problem.loss(model, inputs, targets)
        loss.backward()
        self.passes += 1
        return loss.detach()

    def stepped(self) -> None:
        """Count a step, and do what is due after it: evaluate, tell, save."""
        self.step += 1
        if self.step in self.plan.evaluated:
            self.evaluate(full=self.step in self.plan.measured)
            self.tell("progress")
        if self.asked.checkpoint is not None and self.step % self.plan.save_every == 0:
            self.save(self.asked.checkpoint)

    def end(self) -> Run:
        """Complete the last row, save, tell, and sum up.

        Returns:
            The run; interrupted, if it is not finished.
        """
        if self.finished:
            with environment.offered(self.optimizer):
                self.history.complete_last(self.problem.model)
        if self.asked.checkpoint is not None:
            self.save(self.asked.checkpoint)
        self.tell("end")
        return self.result(interrupted=not self.finished)

    def evaluate(self, *, full: bool) -> None:
        """Add an evaluation to the history.

        Args:
            full: Whether to take the costly norms too.
        """
        with environment.offered(self.optimizer):
            with environment.autocast(self.precision, self.device):
                metrics = self.problem.evaluate(self.problem.model)
            norms = measure_norms(self.problem.model, full=full)
        if not self.history.columns:
            check_columns(self.task, metrics)
        spent = {"phase": environment.phase_of(self.optimizer), "passes": self.passes, "seconds": self.wall()}
        self.history.append({"step": self.step, **metrics, **norms, **spent})

    def tell(self, kind: Literal["start", "progress", "end"]) -> None:
        """Emit an event with the last evaluation.

        Args:
            kind: Kind of the event.
        """
        if self.on_event is None:
            return
        last = self.history.last()
        done, taken = self.step - self.first_step, self.clock() - self.began
        speed = done / taken if done else 0.0
        eta = (self.plan.steps - self.step) / speed if speed else float("inf")
        metrics = {name: value for name, value in last.items() if "/" not in name and name not in INTEGERS}
        self.on_event(Event(kind, self.step, self.plan.steps, metrics, int(last["phase"]), speed, eta))

    def save(self, path: Path) -> None:
        """Write a checkpoint.

        Args:
            path: File to write.
        """
        content = {
            "identity": self.asked.identity,
            "step": self.step,
            "passes": self.passes,
            "seconds": self.wall(),
            "cpu_seconds": self.cpu(),
            "resumed": self.resumed,
            "model": self.problem.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "optimizer_kind": type(self.optimizer).__name__,
            "history": self.history.state(),
            "random": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            content["random_cuda"] = torch.cuda.get_rng_state(self.device)
        save_checkpoint(path, content)

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint.

        Args:
            path: What `save` wrote.

        Raises:
            CheckpointError: If it is not of this run, or further than the run goes.
        """
        content = load_checkpoint(path, self.asked.identity)
        columns = content["history"]
        if not float(columns["step"][-1]) <= content["step"] <= self.plan.steps:
            raise CheckpointError(
                f"checkpoint {path} is at step {content['step']:,}, evaluated up to {float(columns['step'][-1]):,.0f}; "
                f"this run goes to {self.plan.steps:,}: give more steps, or move the file away to start again"
            )
        restore(content, path, self.problem.model, self.optimizer)
        self.history.restore(columns)
        torch.set_rng_state(content["random"])
        if "random_cuda" in content:
            torch.cuda.set_rng_state(content["random_cuda"], self.device)
        self.step = self.first_step = content["step"]
        self.passes = content["passes"]
        self.seconds, self.cpu_seconds = content["seconds"], content["cpu_seconds"]
        self.resumed = content["resumed"] + 1

    def result(self, *, interrupted: bool) -> Run:
        """Sum up.

        Args:
            interrupted: Whether the user stopped the run.

        Returns:
            The run.
        """
        history = self.history.arrays()
        times = grokking_times(history, self.task.memorised, self.task.generalised, self.task.secondary)
        optimizer = self.optimizer
        phased = optimizer if isinstance(optimizer, environment.Phased) else None
        return Run(
            status=Verdict.INTERRUPTED if interrupted else self._judged(history, times),
            history=history,
            times=times,
            steps=self.step,
            seconds=self.wall(),
            cpu_seconds=self.cpu(),
            passes=self.passes,  # calibration calls the closure as well, so they are in
            state_bytes=environment.state_bytes(optimizer),
            peak_memory_bytes=environment.peak_memory_bytes(self.device),
            switch_step=None if phased is None else phased.switch_step,
            optimizer_status="" if phased is None else str(phased.status),
            resumed=self.resumed,
        )

    def _judged(self, history: dict[str, np.ndarray], times: Times) -> Verdict:
        """The verdict, with all that the task knows of its truth."""
        level, problem = self.task.generalised, self.problem
        wanted = level.threshold if level.metric == "test_error" else None
        attainable = problem.attainable.get(environment.penalty_of(self.optimizer))
        return judge_history(history, times, problem.start_share, wanted, attainable)


def make_plan(
    task: Task,
    steps: int | None,
    every: int | Literal["log"] | None,
    checkpoint_every: int | None,
    *,
    stop_on_settled: bool,
) -> Plan:
    """Check and complete when a run evaluates, saves and stops.

    Args:
        task: What is to be learnt.
        steps: Budget, None for the task's.
        every: Steps between evaluations, or "log"; None for the task's.
        checkpoint_every: Steps between saves, None for 500.
        stop_on_settled: Whether to stop once generalisation has settled.

    Returns:
        The plan.

    Raises:
        UserError: If a number is out of its range.
    """
    steps = whole("steps", task.default_steps if steps is None else steps, 0, MOST_STEPS)
    save_every = CHECKPOINT_EVERY if checkpoint_every is None else whole("checkpoint_every", checkpoint_every)
    evaluated = evaluation_steps(steps, task.default_every if every is None else every)
    return Plan(steps, evaluated, measure_steps(evaluated), save_every, stop_on_settled)


def begin(
    task: Task, asked: Asked, plan: Plan, device: torch.device, precision: str, on_event: Listener | None = None
) -> Session:
    """Draw a task and make a network and its optimizer.

    Args:
        task: What is to be learnt.
        asked: What is the run's own.
        plan: From `make_plan`.
        device: From `check_machine`.
        precision: "fp32", "bf16" or "fp64".
        on_event: Called with each event, or None.

    Returns:
        The session, not started.
    """
    dtype = lookup("precision", precision, environment.PRECISIONS)
    problem = make_problem(task, asked.seed, dtype=dtype, device=device)
    optimizer, history = asked.build_optimizer(problem.model), History(task.generalised)
    batches = Batches(len(problem.train.inputs), problem.batch_size, asked.seed, device)
    return Session(task, problem, optimizer, history, plan, batches, device, precision, asked, on_event)
