"""A figure as a record: made here, or many at once, each in a process of its own."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from groktimizer.ground.errors import FAILURES, UserError
from groktimizer.papers import PAPERS, claims
from groktimizer.papers.reproduction import HERE, Effort, silent
from groktimizer.results import FIGURE, Record, Store, identity, provenance
from groktimizer.sweeps import RunSpec, default_workers
from groktimizer.sweeps.cells import Cell, Training
from groktimizer.sweeps.executors import Done, Job, Local
from groktimizer.sweeps.spec import CODE
from groktimizer.sweeps.work import Reporter, forget


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
        """Whether it is worth a process of its own."""
        return self.name in PAPERS[self.paper].alone

    def compute(self, checkpoint: Path, every: int | None, report: Reporter) -> Record | str:
        """Make it in a process of its own; there is nothing to save on the way but the networks that it trains."""
        del checkpoint, every, report
        try:
            return self.make()
        except KeyboardInterrupt:
            return "stopped"

    def make(self) -> Record:
        """Make it here."""
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


class Lacking(Exception):
    """A figure needs networks that are not trained yet.

    Args:
        specs: They.
    """

    def __init__(self, specs: Sequence[RunSpec]) -> None:
        self.specs = specs


def make_ahead(chosen: Mapping[str, Collection[str]], effort: Effort, store: Store) -> set[str]:
    """Make what is not recorded, so many at a time as there are workers, and keep the records.

    The networks of all figures are trained together, beside the figures that take long by themselves: then no worker
    waits for the last network of a figure. What a figure needs is found by making it until it asks for networks that
    are not there. One worker, or one figure, has nothing to be made beside: a figure that takes long by itself is left.

    Args:
        chosen: Names of figures by paper.
        effort: How much to do; workers and progress.
        store: Where the records go.

    Returns:
        Identities of what was made. One that failed, or a network of which did, is not among them: who makes it again
        sees why.
    """
    made: set[str] = set()
    crew = _Crew(store, effort)
    asking = replace(effort, say=silent, store=store, ask=crew.check, fresh=False)  # the crew knows what is fresh
    apart = replace(effort, say=silent, store=Store(store.directory), workers=HERE)
    figures = [Figure(paper, name, asking) for paper, names in chosen.items() for name in names]
    due = [one for one in figures if effort.fresh or not store.has(one.identity)]
    beside = len(due) > 1 and crew.workers > 1
    jobs: list[Cell] = [replace(one, effort=apart) for one in sorted(due, key=_length) if one.alone and beside]
    due = [one for one in due if not one.alone]
    while True:
        lacking: dict[str, RunSpec] = {}
        for one in list(due):
            try:
                store.save(one.make())
                made.add(one.identity)
            except Lacking as found:
                lacking |= {spec.identity: spec for spec in found.specs}
                continue
            except FAILURES:
                pass  # who makes it again sees why
            due.remove(one)
        jobs += [Training(spec) for spec in sorted(lacking.values(), key=lambda spec: -spec.steps)]
        if not jobs:
            return made
        made |= crew.work(jobs)
        jobs = []


def _length(figure: Figure) -> int:
    """Place in its paper's list, which has the longest first."""
    names = PAPERS[figure.paper].alone
    return names.index(figure.name) if figure.alone else len(names)


class _Crew:
    """Processes that train networks and make figures.

    Args:
        store: Where the records go.
        effort: Workers, progress, and whether records count that were there before.
    """

    def __init__(self, store: Store, effort: Effort) -> None:
        self.workers = effort.workers or default_workers()
        self._store, self._effort = store, effort
        self._trained: set[str] = set()
        self._failed: set[str] = set()

    def check(self, specs: Sequence[RunSpec]) -> None:
        """Raise `Lacking` if some of the networks are not trained yet, a UserError if some cannot be."""
        if any(spec.identity in self._failed for spec in specs):
            raise UserError("a network of it failed")
        if lacking := [spec for spec in specs if not self._is_there(spec)]:
            raise Lacking(lacking)

    def _is_there(self, spec: RunSpec) -> bool:
        return spec.identity in self._trained or (not self._effort.fresh and self._store.has(spec.identity))

    def work(self, cells: Sequence[Cell]) -> set[str]:
        """Do everything, and give the identities of what was done."""
        done: set[str] = set()
        ended, began = 0, time.monotonic()

        def keep(found: Done) -> None:
            nonlocal ended
            ended += 1
            if found.record is not None:
                self._store.save(found.record)
                done.add(found.cell.identity)
                if isinstance(found.cell, Training):
                    forget(found.cell.spec, self._store)
            left = (time.monotonic() - began) / ended * (len(cells) - ended) / 60
            told = f"{ended} of {len(cells)} networks and figures that can be made now, about {left:.0f} min left"
            self._effort.say(f"{told}: {found.cell.label}" + f": {found.error}" * (found.record is None))

        for cell in cells:
            if self._effort.fresh and isinstance(cell, Training):
                forget(cell.spec, self._store)
        jobs = [Job((cell,), (self._store.checkpoint(cell.identity),)) for cell in cells]
        Local(self.workers).run(jobs, keep, lambda *_: None)
        self._trained |= done
        self._failed |= {cell.identity for cell in cells} - done
        return done
