"""Processor time of every `groktimizer predict` on its default problem beyond its imports, in fresh processes.

`network` learns from runs: it gets three that are recorded beforehand. Compiled code is in numba's cache by then.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from measuring import Ratio, Table

KINDS = ("ridge", "linear-estimator", "sparse", "low-rank", "network")
# Both print processor seconds; the first also the modules that it took, which the second imports and nothing else.
WHOLE = """
import contextlib, io, json, sys, time
from groktimizer.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    code = main(sys.argv[1:])
assert code == 0
print(json.dumps([time.process_time(), [name for name in sys.modules if not name.startswith("__")]]))
"""
IMPORTS = """
import contextlib, importlib, json, sys, time
for name in json.load(sys.stdin):
    with contextlib.suppress(ImportError):  # made by its package, not a file
        importlib.import_module(name)
print(time.process_time())
"""


def output(code: str, words: list[str], given: str = "") -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout


def seconds_beyond_imports(words: list[str]) -> float:
    """Processor seconds of a command less those of importing the modules that it imports, each the least of three."""
    output(WHOLE, words)  # compiles what is compiled
    wholes: list[float] = []
    imports: list[float] = []
    for _ in range(3):
        whole, modules = json.loads(output(WHOLE, words))
        wholes.append(whole)
        imports.append(float(output(IMPORTS, [], json.dumps(modules))))
    return min(wholes) - min(imports)


@pytest.mark.parametrize("kind", KINDS)
def test_predict(kind: str, table: Table, tmp_path: Path):
    words = ["predict", kind, "--out", str(tmp_path)]
    if kind == "network":
        for seed in "123":
            ridge = [
                "run",
                "relu-regression",
                "--optimizer",
                "sgd",
                "--seed",
                seed,
                "--steps",
                "2000",
                "--set",
                "lr=4e-3",
            ]
            output(WHOLE, [*ridge, "--out", str(tmp_path)])
        words = ["predict", kind, "--from", str(tmp_path)]
    table.add(Ratio(f"predict {kind}: processor time beyond the imports", seconds_beyond_imports(words), 1.5, "s"))
