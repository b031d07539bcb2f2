"""Files written whole: no two writers share a name, links and devices stay, and a killed writer's fragment goes."""

import fcntl
import json
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from groktimizer.cli import main
from groktimizer.ground import files as _files
from groktimizer.ground.files import destination, prove_writable, write_whole
from groktimizer.results import write_json

LIST = ["data", "list"]


def fragment(folder: Path, *, machine: str | None = None, days: float = 0.0) -> Path:
    """What a writer that was killed leaves, perhaps on another machine, some days ago."""
    path = folder / f".x.pt.{machine or _files._machine()}-{'0' * 16}.tmp"
    path.write_bytes(b"half")
    then = time.time() - days * 86_400
    os.utime(path, (then, then))
    return path


def test_writers_with_one_process_number_never_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Threads stand for containers that share a folder and all are process 1: readers see one writer's whole file."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    path, done, failed = tmp_path / "x.json", threading.Event(), list[BaseException]()
    lengths = {3: "a", 30_000: "b"}

    def write(length: int) -> None:
        try:
            for _ in range(25):
                prove_writable(tmp_path)
                write_json(path, {"k": [length] * length})
        except BaseException as error:  # a thread's failure is the test's
            failed.append(error)

    write_json(path, {"k": [3] * 3})
    writers = [threading.Thread(target=write, args=(length,)) for length in lengths]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        kept = json.loads(path.read_text())["k"]
        assert kept[0] in lengths and kept == [kept[0]] * kept[0]
    done.set()
    assert failed == [] and list(tmp_path.iterdir()) == [path]


def test_a_fragment_goes_when_its_writer_is_dead_and_stays_while_it_lives(tmp_path: Path):
    dead = fragment(tmp_path)
    prove_writable(tmp_path)
    assert not dead.exists()
    live = fragment(tmp_path)
    with live.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        prove_writable(tmp_path)
        assert live.exists()
    prove_writable(tmp_path)
    assert not live.exists()


def test_a_fragment_of_another_machine_is_given_a_day(tmp_path: Path):
    """Locks may not be seen across a shared folder, so age decides as well."""
    young, old = (fragment(tmp_path, machine=name, days=days) for name, days in (("0" * 8, 0.9), ("f" * 8, 1.1)))
    prove_writable(tmp_path)
    assert young.exists() and not old.exists()


def test_files_of_others_are_left_alone(tmp_path: Path):
    names = (".x.tmp", ".x.4711.tmp", "x.0123abcd-0123456789abcdef.tmp", ".x.0123abcd-012345678.tmp")
    for name in names:
        (tmp_path / name).write_text("theirs")
    prove_writable(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_a_writer_whose_fragment_was_taken_begins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Between making its file and locking it a writer may lose it to someone who takes it for a dead one's."""
    locked, seen = _files._locked, list[str]()

    def robbed(file):
        if len(seen) < 2:
            os.unlink(file.name)
        seen.append(file.name)
        return locked(file)

    monkeypatch.setattr(_files, "_locked", robbed)
    write_whole(tmp_path / "x", b"whole")
    assert (tmp_path / "x").read_bytes() == b"whole" and len(set(seen)) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_planted_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whoever guesses the name of the fragment gains nothing: the writer refuses what is there already."""
    (tmp_path / "precious").write_text("kept")
    monkeypatch.setattr("secrets.token_hex", lambda _: "0" * 16)
    (tmp_path / f".x.{_files._machine()}-{'0' * 16}.tmp").symlink_to(tmp_path / "precious")
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "x", b"new")
    assert (tmp_path / "precious").read_text() == "kept"


def test_links_are_written_through_and_modes_kept(tmp_path: Path):
    (tmp_path / "deep").mkdir()
    target = tmp_path / "deep" / "target"
    target.write_text("old")
    target.chmod(0o640)
    (tmp_path / "middle").symlink_to("deep/target")
    (tmp_path / "link").symlink_to("middle")
    (tmp_path / "ahead").symlink_to("deep/later")
    for name in ("link", "ahead"):
        assert main([*LIST, "--json", str(tmp_path / name)]) == 0
        assert (tmp_path / name).is_symlink() and json.loads((tmp_path / name).read_text())["tables"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["later", "target"]


def test_a_pipe_is_written_to_and_stays(tmp_path: Path):
    pipe, read = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    assert main([*LIST, "--json", str(pipe)]) == 0
    reader.join()
    assert stat.S_ISFIFO(pipe.stat().st_mode) and json.loads(read[0])["command"] == "data list"


def test_standard_output_takes_the_json_wherever_it_leads(tmp_path: Path):
    """Into a file: at its end, before what is printed, and nothing is overwritten."""
    with (tmp_path / "log").open("w") as log:
        log.write("before\n")
        log.flush()
        command = [sys.executable, "-m", "groktimizer", *LIST, "--json", "/dev/stdout"]
        subprocess.run(command, stdout=log, check=True)
    first, _, rest = (tmp_path / "log").read_text().partition("\n")
    content, end = json.JSONDecoder().raw_decode(rest)
    assert first == "before" and content["command"] == "data list" and rest[end:].lstrip().startswith("name ")


def test_numbers_of_open_files_are_written_to(capfd: pytest.CaptureFixture[str]):
    write_whole(Path("/dev/fd/1"), b"out")
    write_whole(Path("/dev/stderr"), b"err")
    assert capfd.readouterr() == ("out", "err")


def test_where_a_path_leads(tmp_path: Path):
    (tmp_path / "round").symlink_to("about")
    (tmp_path / "about").symlink_to("round")
    with pytest.raises(OSError):
        destination(tmp_path / "round")
    assert destination(tmp_path / "none") == tmp_path / "none"
    assert destination(Path("/dev/null")) == Path("/dev/null")


def test_long_names_have_room_for_their_fragment(tmp_path: Path):
    path = tmp_path / ("é" * 120 + ".json")
    write_whole(path, b"x")
    assert path.read_bytes() == b"x"
