"""Sweeps that are killed ten times, here and on a cluster: the store is that of an undisturbed sweep."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from groktimizer.results import Store, query
from groktimizer.sweeps.reader import read_sweep

pytestmark = pytest.mark.slow
KILLS = 10
CLUSTER = os.environ | {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "5" * 64}
SWEEPS = {
    "ridge": """
task: ridge
kind: clock
set: {n: 100, m: 1000, lr: {log: [0.1, 1], num: 10}, weight_decay: {log: [1e-4, 1e-2], num: 10}}
seeds: 10
""",
    "sparse": """
task: sparse-recovery
kind: clock
set: {lr: {log: [0.01, 0.1], num: 6}, weight_decay: {log: [1e-5, 1e-3], num: 6}}
seeds: 6
""",
    "network": """
task: modular-addition
optimizer: [groktimizer, adamw]
set: {p: 23, width: 32, lr: [0.003, 0.01]}
seeds: 16
steps: 400
""",
}
CELLS = {"ridge": 1_000, "sparse": 216, "network": 64}


def command(file: Path, out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "groktimizer", "sweep", str(file), "--out", str(out), "--workers", "2", *more]


def fingerprint(place: Path) -> str:
    return query.fingerprint(Store(place, write=False).query(None))


def started(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as told:
        return subprocess.Popen(words, stdout=told, stderr=told)


def finished(words: list[str], log: Path) -> None:
    assert started(words, log).wait() == 0, log.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="kills process trees")
@pytest.mark.parametrize("name", SWEEPS)
def test_killed_ten_times_it_ends_as_if_undisturbed(tmp_path: Path, name: str):
    file, log, draw = tmp_path / f"{name}.yaml", tmp_path / "log", random.Random(name)
    file.write_text(SWEEPS[name])
    began = time.monotonic()
    finished(command(file, tmp_path / "whole"), log)
    length = time.monotonic() - began
    kills = 0
    while kills < KILLS:
        process = started(command(file, tmp_path / "killed"), log)
        time.sleep(draw.uniform(0.0, length))
        family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
        if process.poll() is None:
            kills += 1
        for victim in [process.pid] if draw.random() < 0.5 else draw.sample(family, len(family) // 2 + 1):
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.kill()
        process.wait()
        if process.returncode == 0 or len(Store(tmp_path / "killed", write=False).identities()) == CELLS[name]:
            for shard in list((tmp_path / "killed" / "shards").glob("*"))[::2]:
                shard.unlink()  # it was too quick for ten kills: some of it is lost
    finished(command(file, tmp_path / "killed"), log)
    assert len(Store(tmp_path / "killed", write=False).identities()) == CELLS[name]
    assert fingerprint(tmp_path / "killed") == fingerprint(tmp_path / "whole")


@pytest.fixture
def head(tmp_path: Path) -> Iterator[str]:
    """The head of a Ray cluster on this machine, without a processor of its own."""
    pytest.importorskip("ray", reason="needs the extra ray")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ray = [
        str(Path(sys.executable).with_name("ray")),
        "start",
        "--disable-usage-stats",
        "--object-store-memory=80000000",
    ]
    subprocess.run(
        [*ray, "--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false"],
        check=True, capture_output=True, env=CLUSTER,
    )  # fmt: skip
    try:
        yield f"127.0.0.1:{port}"
    finally:
        subprocess.run([ray[0], "stop", "--force"], check=False, capture_output=True)


def node(address: str) -> subprocess.Popen[bytes]:
    """Another node with one processor, which lives until it is killed."""
    ray = Path(sys.executable).with_name("ray")
    words = [str(ray), "start", f"--address={address}", "--num-cpus=1", "--block", "--disable-usage-stats",
             "--object-store-memory=80000000"]  # fmt: skip
    quiet = subprocess.DEVNULL
    return subprocess.Popen(words, stdout=quiet, stderr=quiet, start_new_session=True, env=CLUSTER)


def joined(address: str) -> subprocess.Popen[bytes]:
    """A node that stays: two that start at once may choose one port, and then one of them ends."""
    for _ in range(3):
        one = node(address)
        time.sleep(15)
        if one.poll() is None:
            return one
    raise AssertionError("no node stays")


def slain(process: subprocess.Popen[bytes]) -> None:
    """Kill a node with all of its processes."""
    family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
    for pid in family:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def test_a_cluster_that_loses_a_node_halfway_ends_with_equal_results(
    tmp_path: Path, head: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RAY_AUTH_TOKEN", CLUSTER["RAY_AUTH_TOKEN"])
    file, log = tmp_path / "network.yaml", tmp_path / "log"
    file.write_text(SWEEPS["network"])
    finished(command(file, tmp_path / "local"), log)
    nodes = [joined(head), joined(head)]
    try:
        process = started(command(file, tmp_path / "ray", "--executor", "ray", "--ray-address", head), log)
        store, deadline = Store(tmp_path / "ray"), time.monotonic() + 600
        while len(Store(tmp_path / "ray").identities()) < CELLS["network"] // 4 and process.poll() is None:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        assert process.poll() is None, "it ended before the node was killed"
        slain(nodes[0])
        assert process.wait(600) == 0, log.read_text()
    finally:
        for one in nodes:
            if one.poll() is None:
                slain(one)
    wanted = {cell.identity for cell in read_sweep(file).cells()}
    assert set(store.identities()) == wanted
    assert fingerprint(tmp_path / "ray") == fingerprint(tmp_path / "local")
