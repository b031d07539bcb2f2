"""One thread, and the table of ratios against targets at the end of the session."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from measuring import Table

TABLE = pytest.StashKey[Table]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TABLE] = Table()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Time on one thread; give the session its count back."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Table:
    """Where a benchmark puts its rows."""
    table = request.config.stash[TABLE]
    table.test = request.node.name
    return table


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = terminalreporter.config.stash[TABLE].rows
    if rows:
        terminalreporter.section("against the targets")
        for _, row in rows:
            terminalreporter.write_line(row.line())
        if place := os.environ.get("GROKTIMIZER_ROWS"):  # benchmarks/slow.py
            Path(place).write_text(json.dumps([(test, row.line()) for test, row in rows]))
