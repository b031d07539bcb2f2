"""Everything slow in one table: every slow test and every benchmark, a process each; goes on where it was stopped.

python benchmarks/slow.py [STORE [FILE ...]] writes docs/slow.md. What STORE (default: ./slow) has is not run again,
FILEs are (FILE::WORDS: those of its tests that pytest's -k WORDS chooses, beside what is known of the others); each
line says at which commit it was.
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


def git(*words: str) -> str:
    """What git says."""
    return subprocess.run(["git", *words], check=True, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def ran(path: Path, store: Path, chosen: str = "") -> dict[str, Any]:
    """Run a file, or some of its tests, in a process: what each of them came to, and their rows against targets."""
    report, rows = store / f"{path.stem}.xml", store / f"{path.stem}.rows"
    for old in (report, rows):
        old.unlink(missing_ok=True)
    which = [] if path.parent.name == "benchmarks" else ["-m", "slow"]
    which += ["-k", chosen] if chosen else []
    words = [sys.executable, "-m", "pytest", "-q", *which, str(path), f"--junitxml={report}", "-p", "no:cacheprovider"]
    began = time.monotonic()
    try:
        code = subprocess.run(
            words, check=False, cwd=ROOT, env=os.environ | {"GROKTIMIZER_ROWS": str(rows)}, timeout=LIMIT
        ).returncode
    except subprocess.TimeoutExpired:
        code = -1
    told: dict[str, Any] = {
        "commit": git("rev-parse", "--short", "HEAD")
        + "+" * bool(git("status", "--porcelain", "-uno", "--", ".", ":!docs/slow.md")),
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
        told["rows"] = json.loads(rows.read_text())
    return told


def beside(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """What is known of a file, with some of its tests run again."""
    again = {name for name, *_ in new["tests"]}
    tests = [test for test in old["tests"] if test[0] not in again] + new["tests"]
    bad = any(outcome in ("failure", "error") for _, outcome, _ in tests)
    commit = f"{old['commit']}, {len(again)} at {new['commit']}"
    seconds = old["seconds"] + new["seconds"]
    rows = [row for row in old["rows"] if row[0] not in again] + new["rows"]
    return old | {"tests": tests, "rows": rows, "commit": commit, "seconds": seconds, "code": int(bad)}


def table(results: list[dict[str, Any]], missing: list[str]) -> str:
    """The page."""
    tests = [outcome for each in results for _, outcome, _ in each["tests"]]
    counts = ", ".join(
        f"{tests.count(word)} {word}" for word in ("passed", "failure", "error", "skipped") if word in tests
    )
    where = f"{os.cpu_count()} processors, Python {platform.python_version()}"
    head = f"Made by `python benchmarks/slow.py` on {where}: {counts}; + is a commit with changes."
    lines = ["# Everything slow", "", head, "", "| file | tests | minutes | at |", "|---|---|---|---|"]
    for each in results:
        bad = [name for name, outcome, _ in each["tests"] if outcome in ("failure", "error")]
        skipped = sum(outcome == "skipped" for _, outcome, _ in each["tests"])
        state = (
            f"{len(each['tests'])}" + f", {skipped} skipped" * bool(skipped) + f"; failed: {', '.join(bad)}" * bool(bad)
        )
        told = state if each["tests"] else "none" if each["code"] == 5 else "out of time"
        lines.append(f"| `{each['file']}` | {told} | {each['seconds'] / 60:.1f} | {each['commit']} |")
    lines += [""] + [f"Not run yet: {', '.join(missing)}.", ""] * bool(missing)
    lines += ["## Against the targets", "", "```text", *(row for each in results for _, row in each["rows"]), "```", ""]
    return "\n".join(lines)


def main() -> int:
    """Run what is missing or named, write the page."""
    store = Path(sys.argv[1] if len(sys.argv) > 1 else "slow")
    store.mkdir(parents=True, exist_ok=True)
    named = {Path(file).stem: words for file, _, words in (word.partition("::") for word in sys.argv[2:])}
    if unknown := named.keys() - {path.stem for path in files()}:
        sys.exit(f"nothing slow in {', '.join(sorted(unknown))}; there is {', '.join(path.stem for path in files())}")
    kept = {path: store / f"{path.stem}.json" for path in files()}
    for path, record in kept.items():
        if path.stem in named or not (named or record.is_file()):
            print(path.stem, flush=True)
            chosen = named.get(path.stem, "")
            found = ran(path, store, chosen)
            if not chosen or found["tests"]:
                record.write_text(json.dumps(beside(json.loads(record.read_text()), found) if chosen else found))
        results = [json.loads(each.read_text()) for each in kept.values() if each.is_file()]
        missing = [path.stem for path, each in kept.items() if not each.is_file()]
        (ROOT / "docs" / "slow.md").write_text(table(results, missing))
    return int(any(json.loads(each.read_text())["code"] not in (0, 5) for each in kept.values() if each.is_file()))


if __name__ == "__main__":
    sys.exit(main())
