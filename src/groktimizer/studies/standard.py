"""Tables of comparisons: which tasks, with which budget, and who is tuned on each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from groktimizer.studies.protocol import TUNING_SEEDS, Method, Protocol, Setting
from groktimizer.tasks import make_task

OURS = Method("groktimizer", "groktimizer")
# The setting that most code bases ship (arXiv 2201.02177 has this lr, decay and beta2).
SHIPPED = Method(
    "adamw (lr=0.001 weight_decay=1)", "adamw", {"lr": 1e-3, "weight_decay": 1.0, "beta2": 0.98}, kind="given"
)
FEW = ("adamw", "groktimizer")
MANY = (*FEW, "muon", "grokfast", "clip")
DEFAULTS = ("adamw", "adam-l2", "muon", "grokfast", "orthograd", "lion", "sam", "schedulefree", "clip", "two-phase")
FIRST_SEED = 101


@dataclass(frozen=True)
class Entry:
    """One row of a table: a comparison in one setting.

    Attributes:
        label: what it is called.
        task: name of the task.
        options: overrides of its options.
        steps: budget of every run.
        settles: settled time of the fastest method in steps, roughly, from trials beforehand: forecasts alone use it.
        every: steps between evaluations; None is the task's.
        tuned: optimizers that are tuned, AdamW first.
        defaults: optimizers that run at their defaults as well.
        timed: whether times count; otherwise success alone.
        seeds: fresh seeds of GROKtimizer untuned and AdamW tuned.
        fewer: the first of them, on which everything else runs.
        tuning_seeds: seeds on which cells are chosen.
    """

    label: str
    task: str
    options: Mapping[str, object] = field(default_factory=dict[str, object])
    steps: int = 3_000
    settles: int = 200
    every: int | Literal["log"] | None = None
    tuned: Sequence[str] = FEW
    defaults: Sequence[str] = ()
    timed: bool = True
    seeds: int = 10
    fewer: int = 6
    tuning_seeds: Sequence[int] = TUNING_SEEDS

    @property
    def setting(self) -> Setting:
        """The task, under the label."""
        return Setting(self.label, self.task, self.options)

    def protocol(self, threads: int = 1, device: str = "cpu") -> Protocol:
        """The rules of the row, in the number format of its task.

        Args:
            threads: of every run.
            device: of every run.

        Returns:
            The rules.
        """
        return Protocol(
            seeds=[FIRST_SEED + k for k in range(self.seeds)],
            steps=self.steps,
            tuning_seeds=self.tuning_seeds,
            every=self.every,
            precision=make_task(self.task, self.options).precision,
            threads=threads,
            device=device,
        )


STANDARD = (
    Entry("MLP, x + y, 30 %", "modular-addition", {"p": 59, "train_fraction": 0.3}, tuned=MANY, defaults=DEFAULTS),
    Entry("MLP, x / y, 40 %", "modular-division", {"p": 59, "train_fraction": 0.4}),
    Entry(
        "transformer, x + y",
        "modular-addition",
        {"p": 31, "train_fraction": 0.5, "model": "transformer"},
        tuned=MANY,
        defaults=DEFAULTS,
    ),
    Entry("MNIST, n = 1,000", "mnist", {"init_scale": 1.0}),
)


def quick(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """A demonstration: the first two rows, two seeds, short budgets, nobody at defaults.

    Args:
        entries: rows of a table.

    Returns:
        Fewer and shorter ones.
    """
    return tuple(replace(row, steps=800, seeds=2, fewer=1, tuned=FEW[:1], defaults=()) for row in entries[:2])


TABLES: Mapping[str, tuple[Entry, ...]] = {"standard": STANDARD}
