"""The training loop: any task, any torch optimizer, one plain loop; resumable to the bit."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer

from groktimizer.tasks import Problem, Task
from groktimizer.training import environment
from groktimizer.training.machine import check_machine
from groktimizer.training.run import Run
from groktimizer.training.session import Asked, Listener, begin, make_plan


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
    plan = make_plan(task, steps, every, checkpoint_every, stop_on_settled=stop_on_settled)
    place = check_machine(task, plan.steps, every, device)
    asked = Asked(build_optimizer, seed, identity, checkpoint)
    with environment.surroundings(threads, seed, place), environment.interruptible() as interrupt:
        session = begin(task, asked, plan, place, precision, on_event)
        session.start()
        problem = session.problem
        model = torch.compile(problem.model) if compile else problem.model

        def closure() -> Any:
            return session.descend(model)

        while not (session.finished or interrupt.requested):
            session.optimizer.step(closure)
            session.stepped()
        run = session.end()
    if measure is None or run.interrupted:
        return run
    with environment.surroundings(threads, seed, place), environment.offered(session.optimizer):
        return replace(run, measured=dict(measure(problem)))
