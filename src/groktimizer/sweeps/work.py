"""One specification run here: the bridge from training to records."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from torch import nn
from torch.optim import Optimizer

from groktimizer.peers import PEERS
from groktimizer.results import Record, Store, provenance
from groktimizer.sweeps.spec import RunSpec
from groktimizer.tasks import make_task
from groktimizer.training import Event, Run, Status, train

Reporter = Callable[[Event], None]


def run_spec(
    spec: RunSpec,
    *,
    checkpoint: Path | None = None,
    checkpoint_every: int | None = None,
    on_event: Reporter | None = None,
) -> Run:
    """Train what the specification says, in this process.

    Args:
        spec: from `make_spec`.
        checkpoint: file of the saved state; the run goes on from it if it exists.
        checkpoint_every: steps between saves, None for the loop's default.
        on_event: called with the progress.

    Returns:
        The run.
    """
    build: Callable[[nn.Module], Optimizer] = partial(_build, spec)
    return train(
        make_task(spec.task, spec.task_options),
        build,
        seed=spec.seed,
        steps=spec.steps,
        every=spec.every,
        device=spec.device,
        threads=spec.threads,
        precision=spec.precision,
        compile=spec.compile,
        stop_on_settled=spec.stop_on_settled,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        identity=spec.identity,
        on_event=on_event,
    )


def _build(spec: RunSpec, model: nn.Module) -> Optimizer:
    return PEERS[spec.optimizer].build(model, spec.optimizer_options)


def record_of(spec: RunSpec, run: Run) -> Record:
    """Turn a finished run into the record that is kept.

    Args:
        spec: what was asked.
        run: what came out.

    Returns:
        The record: history as arrays; status, times and costs as the summary.
    """
    summary = {key: value for key, value in vars(run).items() if key not in {"history", "times", "status"}}
    summary |= {"status": run.status.value, "advice": run.status.advice, "times": asdict(run.times)}
    return Record(spec.canonical(), run.history, summary, provenance(spec.threads))


def forget(spec: RunSpec, store: Store) -> None:
    """Drop the saved state of an unfinished run, so that it starts anew."""
    store.checkpoint(spec.identity).unlink(missing_ok=True)


def run_or_reuse(
    spec: RunSpec,
    store: Store,
    *,
    fresh: bool = False,
    checkpoint_every: int | None = None,
    on_event: Reporter | None = None,
) -> tuple[Record, bool]:
    """Give the record of a specification, training only if it is not there yet.

    Args:
        spec: from `make_spec`.
        store: where records and checkpoints are.
        fresh: whether to run again even if the record exists.
        checkpoint_every: steps between saves, None for the loop's default.
        on_event: called with the progress.

    Returns:
        The record, and whether it was there already.

    Raises:
        KeyboardInterrupt: if the user stopped the run; its state is saved.
    """
    if not fresh and store.has(spec.identity):
        return store.load(spec.identity), True
    if fresh:
        forget(spec, store)
    checkpoint = store.checkpoint(spec.identity)
    run = run_spec(spec, checkpoint=checkpoint, checkpoint_every=checkpoint_every, on_event=on_event)
    if run.status is Status.INTERRUPTED:
        raise KeyboardInterrupt(f"stopped at step {run.steps:,}; state saved in {checkpoint}")
    record = record_of(spec, run)
    store.save(record)
    forget(spec, store)
    return record, False
