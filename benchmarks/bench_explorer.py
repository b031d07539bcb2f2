"""How long a move of a slider keeps the page of `groktimizer explore`: from the event until its frame is painted.

Headless Chromium, 200 moves over all sliders; skipped where there is none. The wait for the frame is in it.
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


@pytest.mark.parametrize("kind", ["ridge", "sparse"])
def test_moves(kind: str, browser: Browser, table: Table, tmp_path: Path):
    assert main(["explore", kind, "--out", str(tmp_path)]) == 0
    browser.open(tmp_path / f"explore-{kind}.html")
    browser.run(MOVE % 40)  # compiles what is compiled
    times = browser.run(MOVE % MOVES)
    assert len(times) == MOVES
    assert browser.errors == []
    table.add(
        Ratio(
            f"explore {kind}: a move until its frame is painted, median of {MOVES}", statistics.median(times), 33, "ms"
        )
    )
    table.add(Ratio(f"explore {kind}: the same, nine in ten", statistics.quantiles(times, n=10)[-1], 100, "ms"))
