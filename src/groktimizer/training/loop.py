"""The training loop: any task, any torch optimizer, one plain loop; resumable to the bit."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

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
from groktimizer.training.machine import check_machine
from groktimizer.training.run import Event, Run
from groktimizer.training.schedule import Batches, evaluation_steps, measure_steps

CHECKPOINT_EVERY = 500
MOST_STEPS = 10**15
Listener = Callable[[Event], None]


@dataclass
class _Session:
    """Everything that changes while a run goes on.

    Attributes:
        task: What is learnt.
        problem: The task at the seed of the run.
        optimizer: What learns it.
        history: Evaluations so far.
        device: Where it takes place.
        precision: "fp32", "bf16" or "fp64".
        steps: Budget.
        identity: Identity of the run.
        on_event: Called with each event, or None.
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
    device: torch.device
    precision: str
    steps: int
    identity: str
    on_event: Listener | None
    step: int = 0
    passes: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    resumed: int = 0
    first_step: int = 0
    began: float = field(default_factory=time.perf_counter)
    cpu_began: float = field(default_factory=time.process_time)

    def wall(self) -> float:
        """Wall seconds of all sessions."""
        return self.seconds + time.perf_counter() - self.began

    def cpu(self) -> float:
        """Processor seconds of all sessions."""
        return self.cpu_seconds + time.process_time() - self.cpu_began

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
        done, taken = self.step - self.first_step, time.perf_counter() - self.began
        speed = done / taken if done else 0.0
        eta = (self.steps - self.step) / speed if speed else float("inf")
        metrics = {name: value for name, value in last.items() if "/" not in name and name not in INTEGERS}
        self.on_event(Event(kind, self.step, self.steps, metrics, int(last["phase"]), speed, eta))

    def save(self, path: Path) -> None:
        """Write a checkpoint.

        Args:
            path: File to write.
        """
        content = {
            "identity": self.identity,
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
        content = load_checkpoint(path, self.identity)
        columns = content["history"]
        if not float(columns["step"][-1]) <= content["step"] <= self.steps:
            raise CheckpointError(
                f"checkpoint {path} is at step {content['step']:,}, evaluated up to {float(columns['step'][-1]):,.0f}; "
                f"this run goes to {self.steps:,}: give more steps, or move the file away to start again"
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


def _closure(session: _Session, model: Callable[[Tensor], Tensor], batches: Batches) -> Callable[[], Any]:
    """Make the closure that an optimizer calls: zero the gradients, forward, backward.

    Args:
        session: The run; its step tells which samples are seen.
        model: The network, perhaps compiled.
        batches: Which samples a step sees.

    Returns:
        A function that returns the loss; each call is one pass.
    """
    train = session.problem.train

    def closure() -> Tensor:
        rows = batches.rows(session.step)
        inputs, targets = train if rows is None else (train.inputs[rows], train.targets[rows])
        session.optimizer.zero_grad()
        with torch.enable_grad(), environment.autocast(session.precision, session.device):
            loss = session.problem.loss(model, inputs, targets)
        loss.backward()
        session.passes += 1
        return loss.detach()

    return closure


def train(
    task: Task,
    build_optimizer: Callable[[nn.Module], Optimizer],
    *,
    seed: int = 0,
    steps: int | None = None,
    every: int | Literal["log"] | None = None,
    device: str | torch.device = "cpu",
    threads: int | None = 1,
    precision: Literal["fp32", "bf16", "fp64"] = "fp32",
    compile: bool = False,
    stop_on_settled: bool = True,
    checkpoint: Path | None = None,
    checkpoint_every: int | None = None,
    identity: str = "",
    on_event: Listener | None = None,
    measure: Callable[[Problem], Mapping[str, object]] | None = None,
) -> Run:
    """Train a task with an optimizer until the budget is used up or generalisation has settled.

    The run is a pure function of its arguments (on one machine at one number of threads), with or without
    interruptions: it goes on from `checkpoint` if that file exists, with the same numbers to the last bit. The file is
    written every so often, when the user stops the run (Ctrl-C) and at the end; remove it when the run is recorded.

    Args:
        task: What to learn.
        build_optimizer: Makes the optimizer from the network.
        seed: Seed of data, weights and batches.
        steps: Budget; None is the task's.
        every: Steps between evaluations, or "log"; None is the task's.
        device: Where to train.
        threads: CPU threads of one operation while the run lasts; None leaves them.
        precision: "fp32"; "bf16" (autocast of the forward pass, loss and parameters in float32); "fp64".
        compile: Whether to compile the network for training; evaluations stay eager.
        stop_on_settled: Whether to stop once the task's condition of generalisation held for a whole window.
        checkpoint: File of the saved state, None for no saving.
        checkpoint_every: Steps between saves, None for 500.
        identity: Identity of the run; a checkpoint of another is refused.
        on_event: Called with the progress.
        measure: What else is to be known of the problem with its network trained; asked once, when the run is finished.

    Returns:
        History, times, costs and status.

    Raises:
        UnknownName: If the precision is unknown.
        CheckpointError: If the checkpoint is damaged, of another version or run, or cannot be written.
        UserError: If a number is out of its range, the device is not available, the memory does not suffice, or the
            first loss is not finite.

    Example:
        >>> from groktimizer.tasks import make_task
        >>> task = make_task("ridge", {"n": 20, "m": 200})
        >>> run = train(task, lambda model: torch.optim.SGD(model.parameters(), lr=1.0, weight_decay=0.01), steps=1200)
        >>> str(run.status), run.times.memorised < run.times.generalised
        ('grokked', True)
    """
    steps = task.default_steps if steps is None else steps
    steps = whole("steps", steps, 0, MOST_STEPS)
    save_every = CHECKPOINT_EVERY if checkpoint_every is None else whole("checkpoint_every", checkpoint_every)
    every = task.default_every if every is None else every
    evaluated = evaluation_steps(steps, every)
    measured = measure_steps(evaluated)
    dtype, place = lookup("precision", precision, environment.PRECISIONS), check_machine(task, steps, every, device)
    with environment.surroundings(threads, seed, place), environment.interruptible() as interrupt:
        problem = make_problem(task, seed, dtype=dtype, device=place)
        session = _Session(
            task, problem, build_optimizer(problem.model), History(task.generalised), place, precision, steps, identity,
            on_event,
        )  # fmt: skip
        if checkpoint is not None and checkpoint.exists():
            session.restore(checkpoint)
        else:
            session.evaluate(full=True)
            environment.check_start(session.history.last(), dtype)
        session.tell("start")
        model = torch.compile(problem.model) if compile else problem.model
        batches = Batches(len(problem.train.inputs), problem.batch_size, seed, place)
        closure = _closure(session, model, batches)
        while session.step < steps and not interrupt.requested and not (stop_on_settled and session.history.settled):
            session.optimizer.step(closure)
            session.step += 1
            if session.step in evaluated:
                session.evaluate(full=session.step in measured)
                session.tell("progress")
            if checkpoint is not None and session.step % save_every == 0:
                session.save(checkpoint)
        finished = session.step >= steps or (stop_on_settled and session.history.settled)
        if finished:
            with environment.offered(session.optimizer):
                session.history.complete_last(problem.model)
        if checkpoint is not None:
            session.save(checkpoint)
        session.tell("end")
        run = session.result(interrupted=not finished)
    if measure is None or not finished:
        return run
    with environment.surroundings(threads, seed, place), environment.offered(session.optimizer):
        return replace(run, measured=dict(measure(problem)))
