"""What the claims of the papers are known to do: the committed table, and the verdict on a claim beside it.

The table, `claims.json`, has by effort the claims of every figure as they came out on seed 0. It is used on every seed
and only excuses: a claim that does not hold is "not reproduced" where the table says so, and fails anywhere else, also
where the table does not have it. `tests/claims_table.py` writes it anew.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import resources

from groktimizer.papers.reproduction import Check, Effort

PASS, NOT_REPRODUCED, FAIL, MISSING = VERDICTS = ("pass", "not reproduced", "FAIL", "missing")
EFFORTS = ("quick", "usual", "full")
_ROOM = resources.files("groktimizer.papers")


@dataclass(frozen=True)
class Claim:
    """A line of the table, or of what a run has to say beside it.

    Attributes:
        paper: Name of the paper.
        figure: Name of the figure, as `Paper.figures` has it.
        claim: The claim.
        verdict: One of `VERDICTS`; in the table one of the first two.
        value: What was measured; of a missing claim what the table has.
        note: Where it differs from the table.
    """

    paper: str
    figure: str
    claim: str
    verdict: str
    value: str
    note: str = ""

    def content(self) -> dict[str, str]:
        """The line as the table has it."""
        return {key: value for key, value in asdict(self).items() if key != "note"}

    @property
    def told(self) -> str:
        """Claim, value and note."""
        return f"{self.claim} — {self.value}" + f" ({self.note})" * bool(self.note)


def table() -> dict[str, list[Claim]]:
    """The committed table: the claims by effort, one of `EFFORTS`."""
    content = json.loads(_ROOM.joinpath("claims.json").read_text("utf-8"))
    return {effort: [Claim(**row) for row in rows] for effort, rows in content.items()}


def known(effort: Effort, papers: Collection[str], figures: Collection[str]) -> list[Claim]:
    """What the table has of the figures that were asked for.

    Args:
        effort: How much is done.
        papers: Names of papers; empty for all.
        figures: Names of figures; empty for all.

    Returns:
        Its lines.
    """
    return [
        row
        for row in table().get(effort.pick(*EFFORTS), [])
        if (not papers or row.paper in papers) and (not figures or row.figure in figures)
    ]


def judge(paper: str, figure: str, checks: Iterable[Check], lines: Sequence[Claim]) -> list[Claim]:
    """Compare a figure's claims with the table.

    Args:
        paper: Name of the paper.
        figure: Name of the figure.
        checks: Its claims; none if the figure is gone.
        lines: Of the table.

    Returns:
        Its claims with their verdicts, and then those of the table that it lacks.
    """
    before = {row.claim: row for row in lines if (row.paper, row.figure) == (paper, figure)}
    judged: list[Claim] = []
    for check in checks:
        old = before.pop(check.claim, None)
        excused = old is not None and old.verdict == NOT_REPRODUCED
        verdict = PASS if check.passed else NOT_REPRODUCED if excused else FAIL
        note = "not in the table" if old is None else f"was {old.verdict}" if old.verdict != verdict else ""
        judged.append(Claim(paper, figure, check.claim, verdict, check.measured, note))
    return judged + [replace(row, verdict=MISSING) for row in before.values()]


def gone(made: Mapping[str, Collection[str]], lines: Sequence[Claim]) -> list[Claim]:
    """The claims of the table whose figure does not exist any more.

    Args:
        made: The figures, by paper.
        lines: Of the table.

    Returns:
        Their lines, as missing.
    """
    return [replace(row, verdict=MISSING) for row in lines if row.figure not in made.get(row.paper, ())]


def worst(claims: Iterable[Claim]) -> str:
    """The verdict on a figure: FAIL if a claim fails or is missing, "not reproduced" if one is not, or pass."""
    found = {claim.verdict for claim in claims}
    return FAIL if found & {FAIL, MISSING} else NOT_REPRODUCED if NOT_REPRODUCED in found else PASS


def totals(claims: Sequence[Claim]) -> str:
    """How many there are of each verdict, in a line."""
    counts = [sum(claim.verdict == verdict for claim in claims) for verdict in VERDICTS]
    words = ("pass", "not reproduced", "failed", "missing")
    told = ", ".join(f"{count} {word}" for count, word in zip(counts, words, strict=True))
    return f"{len(claims)} claims: {told}"


@cache
def version() -> str:
    """Hash of the files of the papers, 16 hexadecimal digits: what another version of them claimed is no record."""
    files = sorted((file for file in _ROOM.iterdir() if file.name.endswith(".py")), key=lambda file: file.name)
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
