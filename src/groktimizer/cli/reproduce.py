"""``groktimizer reproduce``: a paper's figures, with a verdict for each claim."""

import argparse
import shlex
import time
from pathlib import Path
from typing import Any

from groktimizer.cli.files import check_json, write_result
from groktimizer.cli.lines import line
from groktimizer.cli.progress import Bars, duration
from groktimizer.ground.errors import UserError
from groktimizer.ground.names import lookup
from groktimizer.papers import PAPERS
from groktimizer.papers.reproduction import Effort, Reproduced
from groktimizer.results import FIGURE, Record, Store, provenance


def reproduce(arguments: argparse.Namespace) -> int:
    """Do ``groktimizer reproduce``.

    Args:
        arguments: From the parser.

    Returns:
        0 if every claim held, 1 otherwise.

    Raises:
        UserError: If ``--figures`` names none.
    """
    if arguments.name != "all":
        lookup("reproduction", arguments.name, {**PAPERS, "all": None})
    if arguments.figures == []:
        raise UserError("--figures is empty: name some, such as 2,4, or leave the option out for all")
    chosen = PAPERS if arguments.name == "all" else {arguments.name: PAPERS[arguments.name]}
    check_json(arguments.json)
    store = Store(arguments.out)
    content: dict[str, Any] = {"command": shlex.join(["groktimizer", *arguments.words]), "provenance": provenance(1)}
    whole = True
    with Bars() as bars:
        effort = Effort(
            arguments.seed,
            arguments.quick,
            fresh=arguments.fresh,
            full=arguments.full,
            workers=arguments.workers,
            say=bars.say,
            store=store,
        )
        for name, paper in chosen.items():
            began = time.monotonic()
            figures = [make(effort) for make in paper.chosen(arguments.figures or [])]
            pictures = [_keep(figure, name, paper.reference, effort, store) for figure in figures]
            seconds = time.monotonic() - began
            told = [
                {**figure.content(), "picture": str(picture)} for figure, picture in zip(figures, pictures, strict=True)
            ]
            content[name] = {"paper": paper.reference, "seconds": seconds, "quick": arguments.quick, "figures": told}
            _tell(paper.reference, figures, pictures, seconds)
            whole &= all(figure.verdict != "FAIL" for figure in figures)
    write_result(arguments.json, content)
    return 0 if whole else 1


def _keep(figure: Reproduced, name: str, paper: str, effort: Effort, store: Store) -> Path | None:
    """Record a figure and draw it from its record."""
    from groktimizer.report import pictures

    held = sum(check.passed for check in figure.checks)
    content = figure.content()
    frame = {
        "painter": "panels",
        "title": f"{figure.name}: {figure.title}",
        "sentence": f"{paper.partition(',')[0]}: {held} of {len(figure.checks)} claims hold",
        "panels": content.pop("panels"),
    }
    marks = "-quick" * effort.quick + "-full" * effort.full + f"-seed-{effort.seed}" * (effort.seed != 0)
    file = f"{name}-{figure.name.lower().replace(' ', '-')}{marks}"
    spec = {"paper": name, "figure": figure.name, "seed": effort.seed, "quick": effort.quick, "full": effort.full}
    record = Record.of(FIGURE, spec, {**content, "file": file, "frame": frame}, provenance(1))
    store.save(record)
    return pictures.draw(record, store.directory)


def _tell(paper: str, figures: list[Reproduced], pictures: list[Path | None], seconds: float) -> None:
    line(paper)
    for figure, picture in zip(figures, pictures, strict=True):
        line(f"{figure.name}  {figure.verdict}: {figure.title}")
        for check in figure.checks:
            line(f"    {'pass' if check.passed else 'FAIL'}  {check.claim} — {check.measured}")
        for change in figure.changed:
            line(f"    changed: {change}")
        line(f"    picture {picture}")
    good = sum(figure.verdict != "FAIL" for figure in figures)
    line(f"{good} of {len(figures)} figures pass, {duration(seconds)}")
