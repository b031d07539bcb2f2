"""Everything slow in one table: every slow test and every benchmark, a process each; goes on where it was stopped.

python benchmarks/slow.py [STORE] writes docs/slow.md; what STORE (default: ./slow) has of this commit is not run again.
"""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
LIMIT = 5400  # seconds of one file


def files() -> list[Path]:
    """Test files with a slow test, then the benchmarks."""
    tests = sorted(path for path in (ROOT / "tests").glob("test_*.py") if "mark.slow" in path.read_text())
    return [*tests, *sorted((ROOT / "benchmarks").glob("bench_*.py"))]


def ran(path: Path, store: Path) -> dict[str, Any]:
    """Run a file in a process of its own: what each of its tests came to, and its rows against targets."""
    report, rows = store / f"{path.stem}.xml", store / f"{path.stem}.rows"
    for old in (report, rows):
        old.unlink(missing_ok=True)
    which = [] if path.parent.name == "benchmarks" else ["-m", "slow"]
    words = [sys.executable, "-m", "pytest", "-q", *which, str(path), f"--junitxml={report}", "-p", "no:cacheprovider"]
    began = time.monotonic()
    try:
        code = subprocess.run(
            words, check=False, cwd=ROOT, env=os.environ | {"GROKTIMIZER_ROWS": str(rows)}, timeout=LIMIT
        ).returncode
    except subprocess.TimeoutExpired:
        code = -1
    told: dict[str, Any] = {
        "file": path.relative_to(ROOT).as_posix(),
        "seconds": time.monotonic() - began,
        "code": code,
        "tests": [],
        "rows": [],
    }
    if report.is_file():
        for case in ElementTree.parse(report).iter("testcase"):
            kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
            told["tests"].append([case.get("name"), kinds[0] if kinds else "passed", float(case.get("time", 0))])
    if rows.is_file():
        told["rows"] = [line for line in rows.read_text().splitlines() if line]
    return told


def table(results: list[dict[str, Any]], commit: str) -> str:
    """The page."""
    tests = [outcome for each in results for _, outcome, _ in each["tests"]]
    counts = ", ".join(
        f"{tests.count(word)} {word}" for word in ("passed", "failure", "error", "skipped") if word in tests
    )
    where = f"{os.cpu_count()} processors, Python {platform.python_version()}"
    head = f"Made by `python benchmarks/slow.py` at {commit} on {where}: {counts}."
    lines = ["# Everything slow", "", head, "", "| file | tests | minutes |", "|---|---|---|"]
    for each in results:
        bad = [name for name, outcome, _ in each["tests"] if outcome in ("failure", "error")]
        state = f"{len(each['tests'])}" + f"; failed: {', '.join(bad)}" * bool(bad)
        lines.append(f"| `{each['file']}` | {state or 'out of time'} | {each['seconds'] / 60:.1f} |")
    lines += [
        "",
        "## Against the targets",
        "",
        "```text",
        *(row for each in results for row in each["rows"]),
        "```",
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    """Run what is missing, write the page."""
    store = Path(sys.argv[1] if len(sys.argv) > 1 else "slow")
    store.mkdir(parents=True, exist_ok=True)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], check=True, cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    results: list[dict[str, Any]] = []
    for path in files():
        kept = store / f"{path.stem}-{commit}.json"
        if not kept.is_file():
            kept.write_text(json.dumps(ran(path, store)))
        results.append(json.loads(kept.read_text()))
        (ROOT / "docs" / "slow.md").write_text(table(results, commit))
    return int(any(each["code"] not in (0, 5) for each in results))  # 5: nothing of it is slow here


if __name__ == "__main__":
    sys.exit(main())
