"""What every test shares: one thread, fixed seeds, no window, and the global state of torch put back afterwards."""

import os
import signal
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import settings

from groktimizer.cli import main

os.environ.setdefault("MPLBACKEND", "Agg")

# Examples take as long as they take on a shared machine; in CI the same ones are drawn every time.
settings.register_profile("house", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "house")

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def settled_world() -> Iterator[None]:
    """Seed the global generators and restore torch's default dtype and thread count after the test.

    Signals that a launcher has let be ignored (nohup, a job in the background) are heard during the test.
    """
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    heard = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    ignored = [number for number in heard if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, heard[number])
    torch.manual_seed(0)
    np.random.seed(0)
    yield
    torch.set_default_dtype(dtype)
    torch.set_num_threads(threads)
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], str]:
    """Runs a command that has to fail with exit code 2, nothing on stdout, and one line on stderr, which it returns."""

    def run(words: list[str]) -> str:
        try:
            code = main(words)
        except SystemExit as stop:
            code = stop.code
        told = capsys.readouterr()
        assert code == 2
        assert told.out == ""
        assert told.err.count("\n") == 1
        assert told.err.startswith("groktimizer") and "Traceback" not in told.err
        return told.err

    return run
