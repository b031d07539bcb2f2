"""From a record to its picture, and to the page of a comparison: the only way to either, so both can be made again."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from groktimizer.ground.own import file_name
from groktimizer.report import comparison, descents, panels, public, small_data, standings, style, tables, two_clocks
from groktimizer.results import COMPARISON, RUN, Record, write_bytes, write_json

# What draws a frame: the "painter" that it names.
PAINTERS: Mapping[str, Callable[[Mapping[str, Any]], Figure]] = {
    "comparison": lambda frame: comparison.plot(comparison.Frame.of(frame)),
    "descents": descents.plot,
    "panels": panels.plot,
    "small_data": small_data.plot,
    "standings": standings.plot,
}
# What writes the page of a comparison, by the same word: its content, its picture's file, its command.
PAGES: Mapping[str, Callable[[Mapping[str, Any], str, str], str]] = {
    "comparison": tables.comparison_page,
    "small_data": small_data.page,
    "standings": standings.page,
}


def figure(record: Record) -> Figure | None:
    """Draw what a record shows.

    Args:
        record: of anything.

    Returns:
        The figure, from the record alone; None if it shows nothing.
    """
    if record.kind == RUN:
        return two_clocks.plot(two_clocks.frame(record))
    frame = record.content.get("frame")
    return None if frame is None else PAINTERS[frame["painter"]](frame)


def name(record: Record) -> str:
    """Name the files of a record, without the ending.

    Args:
        record: of anything.

    Returns:
        The name that its command gave it; of a run task, optimizer and identity.
    """
    if record.kind == RUN:
        task, optimizer = (file_name(record.spec[part]["name"]) for part in ("task", "optimizer"))
        return f"run-{task}-{optimizer}-{record.identity}"
    return str(record.summary.get("file", f"{record.kind}-{record.identity}"))


def names(records: Sequence[Record]) -> list[str]:
    """Name the files of records that go to one folder: where some share a name, each has its identity added.

    Args:
        records: of anything.

    Returns:
        One name a record, no two alike.
    """
    given = [name(record) for record in records]
    count = Counter(given)
    return [f"{one}-{record.identity}" if count[one] > 1 else one for one, record in zip(given, records, strict=True)]


def draw(record: Record, folder: Path, file: str | None = None) -> Path | None:
    """Draw a record's picture into a folder.

    Args:
        record: of anything.
        folder: where it goes.
        file: its name without the ending; None for the record's own.

    Returns:
        The PNG file, None if the record shows nothing.
    """
    drawn = figure(record)
    return None if drawn is None else style.save(drawn, folder / f"{file or name(record)}.png")


def write_page(record: Record, folder: Path, file: str | None = None) -> Path | None:
    """Write the page of a comparison, and beside it what it was made of as JSON.

    Args:
        record: of anything.
        folder: where both go, and the picture.
        file: name of the three without the ending; None for the record's own.

    Returns:
        The page, None if the record is of something else.
    """
    if record.kind != COMPARISON:
        return None
    content = {key: value for key, value in record.summary.items() if key not in {"frame", "file"}}
    page = folder / f"{file or name(record)}.md"
    write_json(page.with_suffix(".json"), public.without_places(content))
    write = PAGES[record.summary["frame"]["painter"]]
    text = write(content, page.with_suffix(".png").name, content["command"])
    write_bytes(page, text.encode())
    return page
