"""``groktimizer reproduce``: papers' figures, and at the end one table of their claims with a verdict for each."""

import argparse
import shlex
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from groktimizer.cli.files import check_json, write_result
from groktimizer.cli.lines import line
from groktimizer.cli.progress import Bars, duration
from groktimizer.ground.errors import UserError
from groktimizer.ground.names import lookup
from groktimizer.papers import PAPERS, claims
from groktimizer.papers.claims import Claim
from groktimizer.papers.making import Figure, make_ahead
from groktimizer.papers.reproduction import Check, Effort, Maker
from groktimizer.results import Record, Store, provenance


def reproduce(arguments: argparse.Namespace) -> int:
    """Do ``groktimizer reproduce``.

    Args:
        arguments: From the parser.

    Returns:
        0 if every claim passed or is known as not reproduced, 1 otherwise.

    Raises:
        UserError: If ``--figures`` names none.
    """
    chosen = _chosen(arguments.name, arguments.figures)
    check_json(arguments.json)
    store, began = Store(arguments.out), time.monotonic()
    content: dict[str, Any] = {"command": shlex.join(["groktimizer", *arguments.words]), "provenance": provenance(1)}
    judged: list[Claim] = []
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
        papers = () if arguments.name == "all" else (arguments.name,)
        known = claims.known(effort, papers, arguments.figures or ())
        ahead = make_ahead(chosen, effort, store)
        for name, figures in chosen.items():
            started, reference = time.monotonic(), PAPERS[name].reference
            line(reference)
            told: list[dict[str, Any]] = []
            for figure in figures:
                record, recorded = _made(Figure(name, figure, effort), store, ahead)
                found = [Check(**check) for check in record.content["checks"]]
                of_figure = claims.judge(name, figure, found, known)
                judged += of_figure
                told.append({**_content(record, claims.worst(of_figure), store), "recorded": recorded})
                _tell(told[-1])
            seconds = time.monotonic() - started
            content[name] = {"paper": reference, "seconds": seconds, "quick": arguments.quick, "figures": told}
    judged += claims.gone(chosen, known)
    content |= {"effort": effort.pick(*claims.EFFORTS), "claims": [claim.content() for claim in judged]}
    write_result(arguments.json, content)
    _table(judged, time.monotonic() - began)
    return int(claims.worst(judged) == claims.FAIL)


def _chosen(name: str, only: Sequence[str] | None) -> dict[str, dict[str, Maker]]:
    """What makes the figures that were asked for, by paper and figure."""
    if name != "all":
        lookup("reproduction", name, {**PAPERS, "all": None})
    if only == []:
        raise UserError("--figures is empty: name some, such as 2,4, or leave the option out for all")
    papers = PAPERS if name == "all" else {name: PAPERS[name]}
    return {paper: found.chosen(only or []) for paper, found in papers.items()}


def _made(figure: Figure, store: Store, ahead: Collection[str]) -> tuple[Record, bool]:
    """The record of a figure, and whether it was there already, made by the same code."""
    if figure.identity in ahead:
        return store.load(figure.identity), False
    if not figure.effort.fresh and store.has(figure.identity):
        return store.load(figure.identity), True
    record = figure.make()
    store.save(record)
    return record, False


def _content(record: Record, verdict: str, store: Store) -> dict[str, Any]:
    """A figure as the JSON file has it; its picture is drawn from its record."""
    from groktimizer.report import pictures

    content = record.content
    frame = content.pop("frame")
    del content["file"]
    picture = pictures.draw(record, store.directory)
    return {**content, "panels": frame["panels"], "verdict": verdict, "picture": str(picture)}


def _tell(figure: Mapping[str, Any]) -> None:
    """A figure without its claims: they are in the table."""
    marks = " (setting changed)" * bool(figure["changed"]) + " (recorded)" * figure["recorded"]
    line(f"{figure['name']}  {figure['verdict']}{marks}: {figure['title']}")
    for change in figure["changed"]:
        line(f"    changed: {change}")
    line(f"    picture {figure['picture']}")


def _table(judged: Sequence[Claim], seconds: float) -> None:
    """Every claim in a line, and how many there are of each verdict."""
    rows = [("paper", "figure", "verdict", "claim — value")]
    rows += [(claim.paper, claim.figure, claim.verdict, claim.told) for claim in judged]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:3]]
    line("")
    for *cells, told in rows:
        line("  ".join([*(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)), told]))
    line(f"{claims.totals(judged)}; {duration(seconds)}")
