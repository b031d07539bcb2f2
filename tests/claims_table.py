"""Write the committed table of claims, and the page that shows it, from results of ``groktimizer reproduce``.

`python tests/claims_table.py RESULT.json ...` takes files of `--json`, replaces what the table has of the figures in
them, and tells what was in it and is dropped, or passed and does not any more. Look at the diff before committing it.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from groktimizer.papers import PAPERS
from groktimizer.papers.claims import EFFORTS, FAIL, MISSING, NOT_REPRODUCED, PASS, Claim, table, totals

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "src" / "groktimizer" / "papers" / "claims.json"
PAGE = ROOT / "docs" / "results" / "reproductions.md"
MARK = "<!-- from here on by tests/claims_table.py -->\n"
Table = dict[str, list[Claim]]


def updated(before: Table, result: Mapping[str, Any]) -> tuple[Table, list[Claim]]:
    """The table with what a result has, and the claims of the result that fail or are missing."""
    found = [Claim(**row) for row in result["claims"]]
    figures = {(row.paper, row.figure) for row in found}
    wrong = [row for row in found if row.verdict in {FAIL, MISSING}]
    rows = [row for row in before.get(result["effort"], []) if (row.paper, row.figure) not in figures]
    for row in found:
        if row.verdict != MISSING:
            verdict = PASS if row.verdict == PASS else NOT_REPRODUCED
            rows.append(Claim(row.paper, row.figure, row.claim, verdict, row.value))
    order = [(paper, figure) for paper, one in PAPERS.items() for figure in one.figures]
    rows.sort(key=lambda row: order.index((row.paper, row.figure)))
    return {**before, result["effort"]: rows}, wrong


def as_json(content: Table) -> str:
    """A claim in a line, so that a diff shows claims."""
    parts = [
        f"{json.dumps(effort)}: [\n"
        + ",\n".join(json.dumps(row.content(), ensure_ascii=False) for row in content[effort])
        + "\n]"
        for effort in EFFORTS
        if content.get(effort)
    ]
    return "{" + ",\n".join(parts) + "}\n"


def as_page(rows: Sequence[Claim]) -> str:
    """A table in Markdown for each paper."""
    text = f"\n{totals(rows)}.\n"
    for paper, group in groupby(rows, key=lambda row: row.paper):
        text += (
            f"\n## {paper}\n\n{PAPERS[paper].reference}\n\n| figure | claim | verdict | value |\n|---|---|---|---|\n"
        )
        for row in group:
            verdict = row.verdict if row.verdict == PASS else f"**{row.verdict}**"
            text += (
                "| "
                + " | ".join(cell.replace("|", "\\|") for cell in (row.figure, row.claim, verdict, row.value))
                + " |\n"
            )
    return text


def main(files: Sequence[str]) -> None:
    """Write both."""
    content = table() if TABLE.exists() else {}
    for file in files:
        content, wrong = updated(content, json.loads(Path(file).read_text("utf-8")))
        sys.stdout.writelines(f"{row.verdict}: {row.paper} {row.figure}: {row.told}\n" for row in wrong)
    TABLE.write_text(as_json(content), "utf-8")
    head = PAGE.read_text("utf-8").partition(MARK)[0]
    PAGE.write_text(head + MARK + as_page(content["quick"]), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
