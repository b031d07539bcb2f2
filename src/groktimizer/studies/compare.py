"""The comparison: methods side by side on the same data, weights, seeds and budget."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from groktimizer.ground.errors import UserError
from groktimizer.measures import median_with_dnf
from groktimizer.peers import takes_penalty, tunable
from groktimizer.results import Store
from groktimizer.studies.protocol import Method, Protocol, Setting
from groktimizer.studies.summary import Row, summarise, verdict
from groktimizer.studies.tuning import Runner, Tuning, tune
from groktimizer.sweeps import Outcome, RunSpec, SweepEvent, execute

LEADERS = frozenset({"tuned", "reference"})


@dataclass(frozen=True)
class Panel:
    """The comparison in one setting.

    Attributes:
        setting: the task.
        rows: one per method, in the order asked for.
        tunings: how methods were tuned.
        reference: label of the method that verdicts refer to.
    """

    setting: Setting
    rows: Sequence[Row]
    tunings: Sequence[Tuning]
    reference: str


@dataclass(frozen=True)
class Comparison:
    """A finished comparison.

    Attributes:
        protocol: its rules.
        panels: one per setting.
    """

    protocol: Protocol
    panels: Sequence[Panel]

    def content(self) -> dict[str, Any]:
        """Everything as plain nested content, for JSON, tables and figures."""
        return asdict(self)


def compare(
    settings: Sequence[Setting],
    methods: Sequence[Method],
    protocol: Protocol,
    store: Store,
    *,
    tuned: Sequence[str] = (),
    held: Mapping[str, object] | None = None,
    workers: int | None = None,
    fresh: bool = False,
    reference: str | None = None,
    on_event: Callable[[SweepEvent], None] | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> Comparison:
    """Compare methods by the rules of the house.

    In each setting the methods in `tuned` are tuned first, on tuning seeds. GROKtimizer and the tuned and reference
    methods then run on the reported seeds with the whole budget; the others after them, stopped at three times the
    best median settled time (plus the window), which makes them a censored DNF.

    Args:
        settings: tasks.
        methods: what to compare.
        protocol: seeds, budget and precision.
        store: where records are.
        tuned: names of optimizers to tune; each adds a row "NAME (tuned)".
        held: options that tuning leaves as they are, such as the penalty, of optimizers that take one.
        workers: processes at a time, None for one per core.
        fresh: whether to run again what is recorded.
        reference: label of the method that verdicts refer to; None is the strongest AdamW among the rows.
        on_event: called with the progress of runs.
        on_stage: called with a sentence when a new stage begins.

    Returns:
        The comparison.

    Raises:
        UserError: if there is no method, a label comes twice, the reference is none of the methods, or something is
            tuned on a seed that is reported.
    """
    for name in tuned:
        tunable(name)
    labels = [method.label for method in methods] + [f"{name} (tuned)" for name in tuned]
    if not labels:
        raise UserError("--optimizers is empty: name at least one optimizer")
    if len(set(labels)) < len(labels):
        option = "--tune-methods" if len(set(tuned)) < len(tuned) else "--optimizers"
        raise UserError(f"{option} names one method twice: {', '.join(labels)}")
    if tuned:
        protocol.check_fresh()
    chosen = _strongest(methods, tuned) if reference is None else reference
    if chosen not in labels:
        raise UserError(f"--reference {chosen!r}: expected one of {', '.join(labels)}")
    say = on_stage or (lambda _: None)

    def runner(total: int = 0) -> Runner:
        """Execute in several goes what is counted as one, of so many runs; 0: each go by itself."""
        done = 0

        def run(specs: Sequence[RunSpec]) -> list[Outcome]:
            nonlocal done
            before = done
            done += len(specs)

            def tell(event: SweepEvent) -> None:
                if on_event is not None:
                    on_event(replace(event, place=(before + event.place[0], total)) if total else event)

            return execute(specs, store, workers=workers, fresh=fresh, on_event=tell)

        return run

    panels: list[Panel] = []
    for setting in settings:
        tunings: list[Tuning] = []
        for name in tuned:
            say(f"{setting.task}, {setting.name}: tuning {name}")
            tunings.append(tune(setting, name, protocol, runner(), held if takes_penalty(name) else None))
        entrants = [*methods, *(tuning.method for tuning in tunings)]
        runs, seeds = len(entrants) * len(protocol.seeds), ", ".join(map(str, protocol.seeds))
        say(f"{setting.task}, {setting.name}: comparing on seeds {seeds}: {runs} runs, the best known methods first")
        for method in entrants:
            if method.label != method.optimizer:
                one = protocol.spec(setting, method.optimizer, method.options, protocol.seeds[0], protocol.steps)
                say(f"  {method.label} is {one.method}")
        rows = _rows(setting, entrants, protocol, runner(runs))
        against = rows[chosen]
        judged = [replace(row, verdict=verdict(row, against)) for row in rows.values()]
        panels.append(Panel(setting, judged, tunings, chosen))
    return Comparison(protocol, panels)


def _strongest(methods: Sequence[Method], tuned: Sequence[str]) -> str:
    """Label of the AdamW that most was done for, tuned here or before or not; of the first row if there is none."""
    if "adamw" in tuned:
        return "adamw (tuned)"
    rows = {method.optimizer: method.label for method in reversed(methods)}
    first = methods[0].label if methods else f"{tuned[0]} (tuned)"
    return rows.get("adamw-tuned", rows.get("adamw", first))


def _rows(setting: Setting, methods: Sequence[Method], protocol: Protocol, run: Runner) -> Mapping[str, Row]:
    """Run the leaders with the whole budget, then the others with the cap that follows from them.

    Args:
        setting: the task.
        methods: all methods.
        protocol: seeds and budget.
        run: executes specifications.

    Returns:
        Rows by label, in the order of `methods`.
    """
    leading = [method for method in methods if method.kind in LEADERS or method.optimizer == "groktimizer"]
    others = [method for method in methods if method not in leading]
    rows = run_rows(setting, leading, protocol, protocol.steps, run)
    best = min((median_with_dnf(row.times) for row in rows.values()), default=float("inf"))
    rows |= run_rows(setting, others, protocol, protocol.capped(None if best == float("inf") else best), run)
    return {method.label: rows[method.label] for method in methods}


def run_rows(
    setting: Setting, methods: Sequence[Method], protocol: Protocol, budget: int, run: Runner
) -> dict[str, Row]:
    """Run methods on the reported seeds.

    Args:
        setting: the task.
        methods: what is run.
        protocol: seeds and rules.
        budget: steps of each run.
        run: executes specifications.

    Returns:
        Rows by label, without verdicts.
    """
    specs = [
        protocol.spec(setting, method.optimizer, method.options, seed, budget)
        for seed in protocol.seeds
        for method in methods
    ]
    outcomes = run(specs)
    return {
        method.label: summarise(method, outcomes[k :: len(methods)], budget, protocol.steps)
        for k, method in enumerate(methods)
    }
