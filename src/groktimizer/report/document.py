"""The report of a store: one HTML file with tables, pictures and every run, which asks nobody for anything.

Pictures are matplotlib's, as SVG that takes the page's ink; the curves of single runs are drawn by uPlot, which stands
in the page. Both are here for other pages already, and 50 kB of script stand for a thousand pictures of curves.
"""

import html
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from groktimizer.report import two_clocks
from groktimizer.report.groups import CLOCK, TIMES, Cell, Group, axes_of, cell_of, fits, grouped
from groktimizer.report.maps import maps, plot
from groktimizer.report.pages import data, filled, read
from groktimizer.report.style import GREY, INK, PALE
from groktimizer.results import FAILURE, RUN, Record

CURVES, POINTS = 1_000, 48  # runs whose curves are in the page; points of each
PICTURES = 6  # two-clock pictures, and heat maps
COLUMNS = ("run", "task", "method")
HEADS = {"memorised": "t1", "generalised": "t2, first", "settled": "t2, settled", "delay": "delay"}


def document(records: Sequence[Record], title: str, damaged: int = 0) -> bytes:
    """Make the report.

    Args:
        records: Of a store; what is neither a run nor exact clocks is counted and left out.
        title: Of the page.
        damaged: Files of the store that were put aside.

    Returns:
        The page, UTF-8.
    """
    known = [(cell, record) for record in records if (cell := cell_of(record)) is not None]
    cells = [cell for cell, _ in known]
    groups = grouped(cells)
    failed = [record for record in records if record.kind == FAILURE]
    parts = {
        "title": html.escape(title),
        "told": html.escape(_told(cells, groups, len(failed), damaged)),
        "style": read("vendor/uPlot.min.css") + read("page/report.css"),
        "summary": _summary(groups) + _failures(failed),
        "maps": _maps(groups),
        "laws": _laws(groups),
        "clocks": _clocks(groups, {cell.identity: record for cell, record in known}),
        "origin": _origin(records),
        "content": data(_content(known, axes_of(groups))),
        "script": read("vendor/uPlot.iife.min.js") + "\n" + read("page/report.js"),
    }
    return filled(read("page/report.html"), parts).encode()


def _told(cells: Sequence[Cell], groups: Sequence[Group], failed: int, damaged: int) -> str:
    settled = sum(cell.times["settled"] is not None for cell in cells)
    parts = [f"{len(cells):,} runs and clocks in {len(groups):,} settings; {settled:,} generalised and stayed there."]
    parts += [f"{failed:,} cells failed."] if failed else []
    parts += [f"{damaged:,} damaged files lie in quarantine/."] if damaged else []
    return " ".join(parts)


def _summary(groups: Sequence[Group]) -> str:
    axes = axes_of(groups)
    twice = all(group.median("generalised") == group.median("settled") for group in groups)
    times = [time for time in TIMES if not (twice and time == "generalised")]
    heads = ["task", "method", *axes, "seeds", "settled", *map(HEADS.__getitem__, times)]
    rows = [
        [
            group.task,
            group.method,
            *(_value(group.settings.get(name)) for name in axes),
            str(len(group.cells)),
            f"{group.settled} of {len(group.cells)}",
            *(_median(group, time) for time in times),
        ]
        for group in groups
    ]
    return _table(heads, rows, words=2)


def _failures(failed: Sequence[Record]) -> str:
    if not failed:
        return ""
    rows = [[str(record.spec.get("failed", "")), str(record.summary.get("error", ""))] for record in failed]
    return "<h3>Failed</h3>" + _table(["cell", "error"], rows, words=2)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """A table whose first columns are words and the others numbers."""

    def cells(tag: str, texts: Sequence[str]) -> str:
        scope = ' scope="col"' if tag == "th" else ""
        kinds = (' class="text"' if place < words else "" for place in range(len(texts)))
        return "".join(
            f"<{tag}{scope}{kind}>{html.escape(text)}</{tag}>" for kind, text in zip(kinds, texts, strict=True)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells('th', heads)}</tr></thead><tbody>{body}</tbody></table>"


def _median(group: Group, time: str) -> str:
    median, ends = group.median(time), group.interval(time)
    if ends is None or len(set(ends)) == 1:
        return _steps(median)
    return f"{_steps(median)} ({_steps(ends[0])} … {_steps(ends[1])})"


def _steps(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:,.0f}"


def _value(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _maps(groups: Sequence[Group]) -> str:
    found = maps(groups)
    if not found:
        return "<p>None: a map needs three values of lr and of weight_decay.</p>"
    parts: list[str] = []
    for place, shown in enumerate(found[:PICTURES]):
        lines = "exact settled times" if shown.clocks is not None else "equal η λ, along which descent takes as long"
        told = f"{shown.name}. Medians over seeds; × where most seeds never did; lines: {lines}."
        parts.append(_figure(plot(shown), told, f"map{place}"))
    return "".join(parts) + _more(len(found))


def _laws(groups: Sequence[Group]) -> str:
    rows = [
        [
            fit.family, fit.time, fit.x, f"{fit.exponent:+.3f} ± {fit.error:.3f}", str(fit.points), str(fit.without),
        ]
        for fit in fits(groups)
    ]  # fmt: skip
    if not rows:
        return "<p>None: a law needs four values of a number, the largest three times the smallest.</p>"
    heads = ["setting", "time", "over", "exponent ± standard error", "points", "never"]
    told = "<p>Median times ∝ x to the power of the exponent, by least squares in logarithms.</p>"
    return (
        f'{told}<div class="scroll" tabindex="0" role="region" aria-label="Scaling laws">{_table(heads, rows, 3)}</div>'
    )


def _clocks(groups: Sequence[Group], records: Mapping[str, Record]) -> str:
    trained = [group for group in groups if group.method != CLOCK]
    if not trained:
        return "<p>None: nothing was trained, the clocks are exact.</p>"
    parts: list[str] = []
    for place, group in enumerate(trained[:PICTURES]):
        middle = sorted(group.cells, key=lambda cell: (cell.times["settled"] is None, cell.times["settled"] or 0))
        record = records[middle[len(middle) // 2].identity]
        told = f"{group.task}, {group.method}, seed {record.spec['seed']}: the median of {len(group.cells)} seeds."
        parts.append(_figure(two_clocks.plot(two_clocks.frame(record)), told, f"clock{place}"))
    return "".join(parts) + _more(len(trained))


def _more(count: int) -> str:
    return f"<p>The first {PICTURES} of {count:,} are drawn.</p>" if count > PICTURES else ""


def _figure(figure: Figure, told: str, salt: str) -> str:
    words = html.escape(told)
    svg = svg_of(figure, salt).replace("<svg ", f'<svg role="img" aria-label="{words}" ', 1)
    return f'<figure tabindex="0">{svg}<figcaption>{words}</figcaption></figure>'


def svg_of(figure: Figure, salt: str) -> str:
    """A figure as SVG for a page: no XML head, ids of its own, ink and paper of the page.

    Args:
        figure: It.
        salt: Different for each figure of a page.

    Returns:
        The element.
    """
    sink = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt, "savefig.transparent": True}):
        figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = sink.getvalue()
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{salt}-", text[text.index("<svg") :])
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for colour, name in ((INK, "var(--ink)"), (GREY, "var(--grey)"), ("#e4e4e0", "var(--line)"), (PALE, "var(--pale)"),
                         ("#ffffff", "var(--paper)"), ("#000000", "var(--ink)")):  # fmt: skip
        text = re.sub(re.escape(colour), name, text, flags=re.IGNORECASE)
    return re.sub(r"(<text )", r'\1fill="currentColor" ', text)


def _origin(records: Sequence[Record]) -> str:
    made = sorted(str(record.provenance.get("created", "")) for record in records)
    told: dict[str, set[str]] = {}
    for record in records:
        for name, value in record.provenance.items():
            if name != "created":
                told.setdefault(name, set()).add(value if isinstance(value, str) else json.dumps(value))
    rows = [[name, "; ".join(sorted(values)[:4]) + (" …" if len(values) > 4 else "")] for name, values in told.items()]
    if made:
        rows.append(["made", f"{made[0]} to {made[-1]}"])
    lines = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in rows)
    return f"<dl>{lines}</dl>"


def _content(known: Sequence[tuple[Cell, Record]], axes: Sequence[str]) -> dict[str, Any]:
    columns = [*COLUMNS, *axes, "seed", "status", *map(HEADS.__getitem__, TIMES), "steps", "seconds"]
    rows = [
        [
            cell.identity[:12], cell.task, cell.method, *(_plain(cell.settings.get(name)) for name in axes), cell.seed,
            cell.status, *(cell.times[time] for time in TIMES), cell.steps,
            None if cell.seconds is None else round(cell.seconds, 2),
        ]
        for cell, _ in known
    ]  # fmt: skip
    text = [any(isinstance(row[place], str) for row in rows) for place in range(len(columns))]
    details = [
        {
            "status": cell.status,
            "advice": cell.advice,
            "settings": {name: _plain(value) for name, value in cell.settings.items()},
            "curve": _curve(record) if place < CURVES else None,
        }
        for place, (cell, record) in enumerate(known)
    ]
    return {"columns": columns, "text": text, "rows": rows, "details": details}


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, int | float | str) else json.dumps(value)


def _curve(record: Record) -> list[list[float | None]] | None:
    """Losses of a run at a few steps, evenly spread over their logarithm; None of exact clocks."""
    if record.kind != RUN:
        return None
    steps = np.asarray(record.history["step"])
    places = np.unique(np.round(np.geomspace(1, len(steps), POINTS)).astype(int) - 1)
    places = places[steps[places] > 0]
    return [steps[places].tolist(), *(_losses(record.history[name][places]) for name in ("train_loss", "test_loss"))]


def _losses(values: np.ndarray) -> list[float | None]:
    return [float(f"{value:.4g}") if math.isfinite(value) and value > 0 else None for value in values.tolist()]
