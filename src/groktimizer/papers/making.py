"""A figure as a record: made here, or many at once, each in a process of its own."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from groktimizer.papers import PAPERS, claims
from groktimizer.papers.reproduction import Effort, silent
from groktimizer.results import FIGURE, Record, Store, identity, provenance
from groktimizer.sweeps import default_workers
from groktimizer.sweeps.executors import Done, Job, Local
from groktimizer.sweeps.spec import CODE
from groktimizer.sweeps.work import Reporter


@dataclass(frozen=True)
class Figure:
    """A figure of a paper, to be made.

    Attributes:
        paper: Name of the paper.
        name: Of the figure.
        effort: How much to do.
    """

    paper: str
    name: str
    effort: Effort

    def canonical(self) -> dict[str, object]:
        """All that determines its record: the code, too."""
        asked = {"seed": self.effort.seed, "quick": self.effort.quick, "full": self.effort.full}
        return {"paper": self.paper, "figure": self.name, **asked, "code": CODE, "papers": claims.version()}

    @property
    def identity(self) -> str:
        """Of its record."""
        return identity(self.canonical())

    @property
    def shape(self) -> str:
        """No other costs as much."""
        return self.label

    @property
    def label(self) -> str:
        """In one line of progress."""
        return f"{self.paper}, figure {self.name}"

    @property
    def alone(self) -> bool:
        """Whether it trains nothing, so that others can be made beside it."""
        return self.name in PAPERS[self.paper].convex

    def compute(self, checkpoint: Path, every: int | None, report: Reporter) -> Record:
        """Make it; there is nothing to save on the way."""
        torch.set_num_threads(1)  # the operations are small, and threads would wait for each other
        made = PAPERS[self.paper].figures[self.name](self.effort)
        content = asdict(made)
        held = sum(check.passed for check in made.checks)
        frame = {
            "painter": "panels",
            "title": f"{made.name}: {made.title}",
            "sentence": f"{PAPERS[self.paper].reference.partition(',')[0]}: {held} of {len(made.checks)} claims hold",
            "panels": content.pop("panels"),
        }
        effort = self.effort
        marks = "-quick" * effort.quick + "-full" * effort.full + f"-seed-{effort.seed}" * (effort.seed != 0)
        file = f"{self.paper}-{made.name.lower().replace(' ', '-')}{marks}"
        return Record.of(FIGURE, self.canonical(), {**content, "file": file, "frame": frame}, provenance(1))


def make_side_by_side(chosen: Mapping[str, Collection[str]], effort: Effort, store: Store) -> set[str]:
    """Make what trains nothing and is not recorded, so many at a time as there are workers, and keep the records.

    Args:
        chosen: Names of figures by paper.
        effort: How much to do; workers and progress.
        store: Where the records go.

    Returns:
        Identities of what was made. One that failed is not among them: who makes it again sees why.
    """
    bare = replace(effort, say=silent, store=None)  # what another process can be given
    figures = [Figure(paper, name, bare) for paper, names in chosen.items() for name in names]
    due = [one for one in figures if one.alone and (effort.fresh or not store.has(one.identity))]
    workers = effort.workers or default_workers()
    if len(due) < 2 or workers < 2:
        return set()
    made: set[str] = set()

    def keep(done: Done) -> None:
        if done.record is not None:
            store.save(done.record)
            made.add(done.cell.identity)
            effort.say(f"{done.cell.label} made in {done.seconds:.0f} s, {len(made)} of {len(due)} that train nothing")

    Local(workers).run(_jobs(due, store), keep, lambda *_: None)
    return made


def _jobs(due: Sequence[Figure], store: Store) -> list[Job]:
    """Those that take longest first."""
    longest = sorted(due, key=lambda one: PAPERS[one.paper].convex.index(one.name))
    return [Job((one,), (store.checkpoint(one.identity),)) for one in longest]
