"""Does the untuned default settle as soon as that of an earlier commit, on the four rows of modular addition?

`python benchmarks/bench_since.py [COMMIT]`, in a clone with its history, prints for each row the median of ten seeds of
the settled time in steps, evaluated after every step, by the commit, by this tree, and their ratio. The two run side by
side, one thread each; steps are counted, not seconds.
"""

import io
import json
import math
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from statistics import median

import pytest
from measuring import Ratio, Table

ROOT = Path(__file__).parents[1]
BEFORE = "00e5b76"
SEEDS, STEPS = range(101, 111), 2000
ROWS: dict[str, dict[str, object]] = {
    "MLP, 40 %": {"train_fraction": 0.4},
    "MLP, 30 %": {"train_fraction": 0.3},
    "MLP, 20 %": {"train_fraction": 0.2},
    "transformer, 40 %": {"model": "transformer"},
}
CHILD = """
import json, sys, warnings
warnings.simplefilter("ignore")
import groktimizer
assert groktimizer.__file__.startswith(sys.argv[2]), groktimizer.__file__
from groktimizer import GROKtimizer, param_groups
from groktimizer.tasks import make_task
from groktimizer.training import train
options, seeds, steps = json.loads(sys.argv[1])
for seed in seeds:
    task = make_task("modular-addition", options)
    done = train(task, lambda model: GROKtimizer(param_groups(model)), seed=seed, steps=steps, every=1)
    print(json.dumps(done.times.settled), flush=True)
"""


def source_of(commit: str, folder: Path) -> Path:
    """The package as it was, below a folder."""
    packed = subprocess.run(["git", "archive", commit, "src"], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "src"


def settled(source: Path, options: dict[str, object]) -> subprocess.Popen[str]:
    """A process that prints the settled time of every seed, null for none."""
    what = json.dumps([options, [*SEEDS], STEPS])
    environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-c", CHILD, what, str(source)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def medians(name: str, before: Path) -> tuple[float, float]:
    """Of a row, by the earlier source and by this one; infinity where most seeds did not settle."""
    both = [settled(source, ROWS[name]) for source in (before, ROOT / "src")]
    found: list[float] = []
    for process in both:
        lines = process.communicate()[0].split()
        assert process.returncode == 0 and len(lines) == len(SEEDS)
        found.append(median(math.inf if line == "null" else float(line) for line in lines))
    return found[0], found[1]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The earlier source."""
    return source_of(BEFORE, tmp_path_factory.mktemp("before"))


@pytest.mark.parametrize("name", ROWS)
def test_no_row_settles_later_than_before(table: Table, before: Path, name: str) -> None:
    """At most a tenth later."""
    then, now = medians(name, before)
    table.add(Ratio(f"{name}: settled after {now:g} steps, {then:g} of {BEFORE}", now / then, 1.1))


if __name__ == "__main__":
    commit = sys.argv[1] if len(sys.argv) > 1 else BEFORE
    with tempfile.TemporaryDirectory() as folder:
        earlier = source_of(commit, Path(folder))
        for each in ROWS:
            then, now = medians(each, earlier)
            print(f"| {each} | {then:g} | {now:g} | {now / then:.2f} |", flush=True)
