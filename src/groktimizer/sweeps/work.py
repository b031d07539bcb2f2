"""One specification run here: the bridge from training to records."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path

from torch import nn
from torch.optim import Optimizer

from groktimizer.ground.errors import UserError
from groktimizer.peers import find_peer
from groktimizer.results import DamagedRecord, Record, Store, StoreError, provenance
from groktimizer.sweeps.measure import measured
from groktimizer.sweeps.spec import RunSpec
from groktimizer.tasks import make_task
from groktimizer.training import Asked, CheckpointError, Event, Run, train, train_stack
from groktimizer.training.checkpoint import load_checkpoint
from groktimizer.training.run import Times

Reporter = Callable[[Event], None]
ALONE, STACKED = "one by one", "stacked"  # engines: how a process computes several runs
# What `record_of` writes, and what is read again from records.
SUMMARY = {"advice", *(field.name for field in fields(Run))} - {"history", "measured"}
TIMES = {field.name for field in fields(Times)}
COLUMNS = {"step", "phase", "seconds", "train_loss", "test_loss", "norm_l2"}


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
        measure=partial(measured, spec) if spec.measure else None,
    )


def stackable(spec: RunSpec) -> bool:
    """Whether a run may be trained side by side with others that differ in their seed and the optimizer's numbers."""
    plain = spec.precision != "bf16" and not spec.compile and not spec.measure
    return plain and spec.device == "cpu" and spec.threads == 1


def run_stack(
    specs: Sequence[RunSpec], checkpoints: Sequence[Path], checkpoint_every: int | None, on_event: Reporter
) -> Iterator[tuple[int, Run | Exception]]:
    """Train what specifications say side by side in this process.

    Args:
        specs: stackable ones of one task, budget and precision.
        checkpoints: files of the saved states.
        checkpoint_every: steps between saves, None for the loop's default.
        on_event: called with the progress of one of them.

    Yields:
        The place of each and its run, or what went wrong, as they end.
    """
    first = specs[0]
    asked = [
        Asked(partial(_build, spec), spec.seed, spec.identity, path)
        for spec, path in zip(specs, checkpoints, strict=True)
    ]
    yield from train_stack(
        make_task(first.task, first.task_options),
        asked,
        steps=first.steps,
        every=first.every,
        threads=first.threads,
        precision="fp64" if first.precision == "fp64" else "fp32",
        stop_on_settled=first.stop_on_settled,
        checkpoint_every=checkpoint_every,
        on_event=on_event,
    )


def _build(spec: RunSpec, model: nn.Module) -> Optimizer:
    made = find_peer(spec.optimizer).build(model, spec.optimizer_options)
    if not isinstance(made, Optimizer):
        raise UserError(f"optimizer {spec.optimizer!r}: gave a {type(made).__name__}, expected a torch.optim.Optimizer")
    return made


def record_of(spec: RunSpec, run: Run, engine: str = ALONE) -> Record:
    """Turn a finished run into the record that is kept.

    Args:
        spec: what was asked.
        run: what came out.
        engine: how it was trained, `ALONE` or `STACKED`; part of where the record comes from.

    Returns:
        The record: history as arrays; status, times and costs as the summary.
    """
    summary = {key: value for key, value in vars(run).items() if key not in {"history", "times", "status", "measured"}}
    summary |= {"status": run.status.value, "advice": run.status.advice, "times": run.times.content()}
    summary |= {"measured": run.measured} if run.measured else {}
    return Record(spec.canonical(), run.history, summary, {**provenance(spec.threads), "engine": engine})


def recorded(spec: RunSpec, store: Store) -> Record:
    """Read the record of a specification and check that it has what `record_of` writes.

    Args:
        spec: what was asked.
        store: where records are.

    Returns:
        The record.

    Raises:
        DamagedRecord: if a part is missing.
    """
    record = store.load(spec.identity)
    summary, times = record.summary, record.summary.get("times")
    missing = [name for name in SUMMARY if name not in summary]
    missing += [name for name in TIMES if not isinstance(times, Mapping) or name not in times]
    missing += [name for name in COLUMNS if name not in record.history]
    if missing:
        raise DamagedRecord(str(store.path(spec.identity)), f"it has no {', '.join(missing)}")
    return record


def forget(spec: RunSpec, store: Store) -> None:
    """Drop the saved state of an unfinished run, so that it starts anew."""
    store.checkpoint(spec.identity).unlink(missing_ok=True)


def begin_anew(spec: RunSpec, store: Store) -> None:
    """Make sure that a run starts at step 0, without throwing away the state of one that was stopped.

    Args:
        spec: what is asked.
        store: where its saved state would be; a damaged one is removed.

    Raises:
        StoreError: if a state is saved that the run can go on from.
    """
    path = store.checkpoint(spec.identity)
    try:
        step = load_checkpoint(path, spec.identity)["step"] if path.exists() else 0
    except CheckpointError:
        step = 0
    if step:
        raise StoreError(
            f"--fresh would throw away step {step:,} of this run, saved in {path}: go on without --fresh, or remove "
            "that file first"
        )
    forget(spec, store)


def _newer(path: Path, other: Path) -> bool:
    return path.exists() and path.stat().st_mtime > other.stat().st_mtime


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
        The record, and whether it was there already. A state saved after it is of a fresh run that was stopped, which
        goes on.

    Raises:
        KeyboardInterrupt: if the user stopped the run; its state is saved.
    """
    checkpoint = store.checkpoint(spec.identity)
    if fresh:
        begin_anew(spec, store)
    elif store.has(spec.identity) and not _newer(checkpoint, store.path(spec.identity)):
        return recorded(spec, store), True
    run = run_spec(spec, checkpoint=checkpoint, checkpoint_every=checkpoint_every, on_event=on_event)
    if run.interrupted:
        raise KeyboardInterrupt(f"stopped at step {run.steps:,}; state saved in {checkpoint}")
    record = record_of(spec, run)
    store.save(record)
    forget(spec, store)
    return record, False
