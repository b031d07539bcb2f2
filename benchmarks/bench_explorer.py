"""How long a move of a slider keeps the page of `groktimizer explore`: from the event until its frame is painted.

Headless Chromium, 200 moves over all sliders; skipped where there is none. The wait for the frame is in it, and for a
processor where others work too: the last row is the processor time alone.
"""

import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest
from measuring import Ratio, Table

from chromium import Browser, chromium
from groktimizer.cli import main

MOVES = 200
# Each move sets a slider to a place of its own and ends when the frame after the next task has begun; the script's own
# part is measured beside it.
MOVE = """
(async () => {
  const ranges = [...document.querySelectorAll('input[type=range]')], found = [];
  let seed = 1;
  const random = () => (seed = (seed * 48271) %% 2147483647) / 2147483647;
  for (let k = 0; k < %d; k++) {
    const range = ranges[k %% ranges.length], before = performance.now();
    range.value = Math.round(Number(range.max) * (0.1 + 0.8 * random()));
    range.dispatchEvent(new Event('input'));
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
    found.push(performance.now() - before);
  }
  return found;
})()
"""


@pytest.fixture
def browser() -> Iterator[Browser]:
    program = chromium()
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium, or name one in GROKTIMIZER_CHROMIUM")
    found = Browser(program)
    found.window(1280, 1000)
    yield found
    found.close()


def processor_seconds(browser: Browser) -> float:
    """Of the page's main thread so far, whatever else the machine does."""
    browser.do("Performance.enable", timeDomain="threadTicks")
    metrics = browser.do("Performance.getMetrics")["metrics"]
    return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


@pytest.mark.parametrize("kind", ["ridge", "sparse"])
def test_moves(kind: str, browser: Browser, table: Table, tmp_path: Path):
    assert main(["explore", kind, "--out", str(tmp_path)]) == 0
    browser.open(tmp_path / f"explore-{kind}.html")
    browser.run(MOVE % 40)  # compiles what is compiled
    before = processor_seconds(browser)
    times = browser.run(MOVE % MOVES)
    spent = 1e3 * (processor_seconds(browser) - before) / MOVES
    assert len(times) == MOVES
    assert browser.errors == []
    table.add(
        Ratio(
            f"explore {kind}: a move until its frame is painted, median of {MOVES}", statistics.median(times), 33, "ms"
        )
    )
    table.add(Ratio(f"explore {kind}: the same, nine in ten", statistics.quantiles(times, n=10)[-1], 100, "ms"))
    table.add(Ratio(f"explore {kind}: its main thread's processor time, mean of {MOVES}", spent, 33, "ms"))
