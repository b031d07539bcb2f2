"""The command line: its results in files, and no kill loses a run."""

import io
import json
import multiprocessing as mp
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from groktimizer import studies
from groktimizer.cli import compare, main
from groktimizer.cli.parser import build_parser
from groktimizer.cli.progress import Bars
from groktimizer.peers import PEERS
from groktimizer.results import Store
from groktimizer.sweeps import Outcome
from groktimizer.training import Event
from groktimizer.training.checkpoint import load_checkpoint
from killed_life import killed_life

RIDGE = ["ridge", "--set", "n=20", "m=200", "lr=1", "weight_decay=0.01"]
SMALL = ["modular-addition", "--set", "p=7", "width=8", "--steps", "120", "--every", "1"]


def test_run_writes_record_picture_and_json_and_reuses_them(tmp_path, capsys):
    command = ["run", *RIDGE, "--optimizer", "sgd", "--steps", "1500", "--every", "10", "--out", str(tmp_path)]
    assert main([*command, "--json", str(tmp_path / "deep" / "x.json")]) == 0
    told = capsys.readouterr().out
    content = json.loads((tmp_path / "deep" / "x.json").read_text())
    assert content["summary"]["status"] == "grokked" and "status       grokked: " in told
    times = content["summary"]["times"]
    assert times["memorised"] < times["generalised"] <= times["settled"]
    assert f"settled      step {times['settled']:,}" in told
    kept = Store(tmp_path).load(content["identity"])
    np.testing.assert_array_equal(kept.history["test_loss"], content["history"]["test_loss"])
    assert Path(content["picture"]).read_bytes().startswith(b"\x89PNG") and content["picture"] in told
    assert main(command) == 0
    assert f"reused       recorded {kept.provenance['created']}" in capsys.readouterr().out
    assert main([*command, "--fresh"]) == 0
    assert "reused" not in capsys.readouterr().out


def test_compare_prints_the_table_and_writes_page_figure_and_json(tmp_path, capsys):
    words = ["compare", "ridge", "--set", "n=10", "m=40", "--settings", "nu=1;nu=2", "--optimizers", "sgd,adamw"]
    words += ["--seeds", "7,8", "--steps", "60", "--every", "10", "--out", str(tmp_path / "o"), "--reference", "sgd"]
    assert main([*words, "--page", str(tmp_path / "page"), "--json", str(tmp_path / "x.json")]) == 0
    told = capsys.readouterr().out
    content = json.loads((tmp_path / "x.json").read_text())
    assert [panel["setting"]["options"]["nu"] for panel in content["panels"]] == ["1", "2"]
    for panel in content["panels"]:
        assert [row["seeds"] for row in panel["rows"]] == [[7, 8], [7, 8]]
        assert [row["method"]["label"] for row in panel["rows"]] == ["sgd", "adamw"]
        assert panel["rows"][0]["verdict"] is None and panel["rows"][1]["verdict"]["verdict"] == "too few seeds"
    assert (
        content["command"]
        == " ".join(["groktimizer", *words, "--page", str(tmp_path / "page")]).replace("nu=1;nu=2", "'nu=1;nu=2'")
        + f" --json {tmp_path / 'x.json'}"
    )
    (found,) = (tmp_path / "page").glob("compare-ridge-*.md")
    page = found.read_text()
    assert page.count("| sgd |") == 2 and f"({found.stem}.png)" in page
    assert str(tmp_path) not in page + found.with_suffix(".json").read_text()
    assert found.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    for word in ("memorised", "settled", "success", "passes", "state", "the reference", "not a claim", "picture"):
        assert word in told
    assert "2 seed(s) are a demonstration, not a claim: too few for a verdict" in " ".join(told.split())


def requested(*words: str) -> str:
    return compare.requested(build_parser().parse_args(["compare", *words])).identity


def test_comparisons_of_other_options_have_other_names_and_equal_ones_the_same():
    words = ["ridge", "--optimizers", "sgd,adamw", "--seeds", "7,8", "--steps", "9"]
    same = [[*words, "--set", "n=20", "lr=0.1"], [*words, "--set", "lr=1e-1", "n=20"]]
    assert requested(*same[0]) == requested(*same[1])
    others = [["--set", "lr=0.1"], ["--set", "n=20"], ["--seeds", "7,9"], ["--steps", "10"],
              ["--settings", "n=20;n=30"],
              ["--every", "3"], ["--cap", "4"], ["--reference", "sgd"], ["--optimizers", "sgd"], ["--tune"],
              ["--tune", "--tune-methods", "sgd"], ["--settings", "n=30;n=20"]]  # fmt: skip
    assert len({requested(*words), *(requested(*words, *more) for more in others)}) == len(others) + 1


def test_six_seeds_unless_told_otherwise():
    for words, seeds in (([], 6), (["--quick"], 2), (["--seeds", "10"], 10)):
        request = compare.requested(build_parser().parse_args(["compare", "ridge", "--optimizers", "sgd", *words]))
        assert request.protocol.seeds == [101 + k for k in range(seeds)]


def test_what_was_measured_is_written_before_it_is_drawn(tmp_path, monkeypatch, capsys):
    """Every run of the second setting fails; then drawing fails as well. Page, JSON and table are there."""
    real = studies.compare

    def half(settings, methods, protocol, store, **more):
        done = real(settings, methods, protocol, store, **more)
        specs = [protocol.spec(settings[1], "sgd", {}, seed, 9) for seed in protocol.seeds]
        outcomes = [Outcome(spec, None, error="out of\nmemory in /a/b/c.py <x>") for spec in specs]
        broken = [studies.summarise(row.method, outcomes, 9, 9) for row in done.panels[1].rows]
        return replace(done, panels=[done.panels[0], replace(done.panels[1], rows=broken)])

    monkeypatch.setattr(compare.studies, "compare", half)
    words = [
        "compare",
        "ridge",
        "--set",
        "n=10",
        "m=40",
        "--settings",
        "nu=1;nu=3",
        "--optimizers",
        "sgd",
        "--workers",
        "1",
    ]
    words += [
        "--seeds",
        "7,8",
        "--steps",
        "9",
        "--every",
        "3",
        "--out",
        str(tmp_path),
        "--page",
        str(tmp_path / "my.md"),
    ]
    assert main(words) == 1
    assert (tmp_path / "my.png").exists() and "0/2" in capsys.readouterr().out
    page = (tmp_path / "my.md").read_text()
    assert "| failed | failed | failed | 0/2 " in page and "out of memory in c.py &lt;x>" in page
    assert "/a/b" not in page + (tmp_path / "my.json").read_text()

    def undrawn(*_):
        raise OSError("no space left")

    for name in ("my.md", "my.json"):
        (tmp_path / name).unlink()
    monkeypatch.setattr("groktimizer.report.pictures.draw", undrawn)
    assert main([*words, "--json", str(tmp_path / "x.json")]) == 2
    told = capsys.readouterr()
    assert "nu=3" in told.out and "no space left" in told.err
    assert all((tmp_path / name).exists() for name in ("my.md", "my.json", "x.json"))


def test_compare_tunes(tmp_path, capsys):
    """--tune runs every cell of the grid and reports the choice on fresh seeds, beside the untuned methods."""
    words = ["compare", "modular-addition", "--set", "p=5", "width=4", "--settings", "model=mlp", "--optimizers", "sgd"]
    words += ["--tune", "--tune-methods", "adamw", "--seeds", "2", "--steps", "8", "--every", "4", "--fresh"]
    assert main([*words, "--out", str(tmp_path), "--json", str(tmp_path / "x.json")]) == 0
    panel = json.loads((tmp_path / "x.json").read_text())["panels"][0]
    trials = panel["tunings"][0]["trials"]
    assert len(trials) == len(PEERS["adamw"].grid) + 2 * 3 and {trial["seed"] for trial in trials} == {1, 2, 3}
    assert [row["method"]["label"] for row in panel["rows"]] == ["sgd", "adamw (tuned)"]
    assert panel["rows"][1]["seeds"] == [101, 102] and panel["reference"] == "adamw (tuned)"
    assert "adamw (tuned)" in capsys.readouterr().out


@pytest.mark.slow
def test_twenty_kills_change_nothing(tmp_path):
    """kill -9 at 20 random steps of `run`, across the phase switch, resumed each time: the same numbers to the bit."""
    common = ["run", *SMALL, "--set", "interpolation=1.0", "--checkpoint-every", "4"]
    assert main([*common, "--out", str(tmp_path / "whole")]) == 0
    whole = Store(tmp_path / "whole").query()[0]
    assert 5 < whole.summary["switch_step"] < 110
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["groktimizer.sweeps.warm"])
    words = [*common, "--out", str(tmp_path / "killed")]
    for step in sorted(random.Random(0).sample(range(1, 120), 20)):
        life = context.Process(target=killed_life, args=(words, step))
        life.start()
        life.join()
        assert life.exitcode == -signal.SIGKILL
        assert not Store(tmp_path / "killed").query()
    assert main(words) == 0
    resumed = Store(tmp_path / "killed").query()[0]
    assert resumed.summary["resumed"] > 10
    assert resumed.summary["times"] == whole.summary["times"]
    for name in set(whole.history) - {"seconds"}:
        np.testing.assert_array_equal(resumed.history[name], whole.history[name], err_msg=name)


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    """SIGINT to the program: exit 130, one message, the state saved, no record."""
    words = [*SMALL[:-3], "500000", "--every", "50", "--out", str(tmp_path)]
    code = "import sys; from groktimizer.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "run", *words, "--checkpoint-every", "10"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as program:
        deadline = time.monotonic() + 120
        while not list((tmp_path / "checkpoints").glob("*.pt")) and time.monotonic() < deadline:
            time.sleep(0.05)
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=60)
    assert program.returncode == 130
    assert "run the same command again to go on" in errors and "Traceback" not in errors
    assert len(list((tmp_path / "checkpoints").glob("*.pt"))) == 1 and not Store(tmp_path).query()


def stopping(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let a signal come, once, while the run is at step 40; the next save would be at step 500."""
    press = [number]

    def stop(self: Bars, name: str, event: Event) -> None:
        if event.step >= 40 and press:
            signal.raise_signal(press.pop())

    monkeypatch.setattr(Bars, "run", stop)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_pre_emption_saves_at_the_signal(number, tmp_path, monkeypatch, capsys):
    """SIGTERM and SIGHUP end a run as Ctrl-C does, where it stands; going on gives the uninterrupted numbers."""
    before = signal.getsignal(number)
    assert main(["run", *SMALL, "--out", str(tmp_path / "whole")]) == 0
    stopping(monkeypatch, number)
    words = ["run", *SMALL, "--out", str(tmp_path / "o")]
    assert main(words) == 130 and signal.getsignal(number) is before
    told = capsys.readouterr().err
    assert "stopped at step 40; state saved in" in told and "run the same command again to go on" in told
    state = next((tmp_path / "o" / "checkpoints").glob("*.pt"))
    assert load_checkpoint(state, state.stem)["step"] == 40
    assert main(words) == 0
    whole, resumed = (Store(tmp_path / name).query()[0] for name in ("whole", "o"))
    for name in set(whole.history) - {"seconds"}:
        np.testing.assert_array_equal(resumed.history[name], whole.history[name], err_msg=name)


@pytest.mark.slow
def test_pre_emption_of_compare_saves_every_run(tmp_path):
    words = ["compare", *SMALL[:-3], "500000", "--every", "50", "--optimizers", "adamw", "--seeds", "1,2"]
    words += ["--precision", "fp32", "--workers", "2", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "groktimizer", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as program:
        deadline = time.monotonic() + 120
        while not list((tmp_path / "checkpoints").glob("*.pt")) and time.monotonic() < deadline:
            time.sleep(0.05)
        program.send_signal(signal.SIGTERM)
        _, errors = program.communicate(timeout=90)
    assert program.returncode == 130 and "Traceback" not in errors
    states = list((tmp_path / "checkpoints").glob("*.pt"))
    assert states and all(load_checkpoint(path, path.stem)["step"] > 0 for path in states)


def test_fresh_does_not_throw_away_what_was_stopped(tmp_path, monkeypatch, capsys):
    """Stopped under --fresh: the advice names the command that goes on, the same command refuses, nothing is lost."""
    words = ["run", *SMALL, "--out", str(tmp_path)]
    assert main(words) == 0
    whole = Store(tmp_path).query()[0]
    stopping(monkeypatch, signal.SIGINT)
    assert main([*words, "--fresh"]) == 130
    assert "run the same command without --fresh to go on" in capsys.readouterr().err
    assert main([*words, "--fresh"]) == 2
    assert "--fresh would throw away step 40 of this run" in capsys.readouterr().err
    assert main(words) == 0
    resumed = Store(tmp_path).query()[0]
    assert (whole.summary["resumed"], resumed.summary["resumed"]) == (0, 1)
    np.testing.assert_array_equal(resumed.history["train_loss"], whole.history["train_loss"])
    assert main(words) == 0 and "reused" in capsys.readouterr().out
    assert main([*words, "--fresh"]) == 0


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "latin-1"])
def test_consoles_that_lack_letters_show_their_numbers(encoding, tmp_path, monkeypatch):
    """η and λ are in the help and in the answer; none of these encodings has both."""
    console = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", console)
    with pytest.raises(SystemExit) as stop:
        main(["predict", "ridge", "--help"])
    words = ["predict", "ridge", "--n", "4", "--m", "11", "--out", str(tmp_path), "--json", str(tmp_path / "x")]
    assert stop.value.code == main(words) == 0
    written = console.buffer.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert b"\\u03bb" in written and b"picture" in written
    assert json.loads((tmp_path / "x").read_text())["kind"] == "ridge"


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_closed_streams_are_no_streams(closed, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, closed, None)
    assert main(["data", "list"]) == 0
    assert main(["data", "info", "nothing"]) == 2
    assert main(["run", *SMALL[:-3], "3", "--every", "1", "--out", str(tmp_path)]) == 0


def test_nobody_reads_and_no_room_to_write(monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    for path, code in ((writer, 141), ("/dev/full", 2)):
        with open(path, "w") as stream:
            monkeypatch.setattr(sys, "stdout", stream)
            assert main(["--help"]) == code
            monkeypatch.undo()
        told = capsys.readouterr().err
        assert told == "" if code == 141 else "No space left on device" in told


def test_a_log_file_gets_no_bars(tmp_path, monkeypatch, capsys):
    """FORCE_COLOR=1 asks for colours, not for an animation."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["run", *SMALL, "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().err == ""


def test_a_console_that_is_gone_ends_no_run(tmp_path, monkeypatch):
    """As when a terminal is closed: every line of progress fails, the run is recorded all the same."""
    monkeypatch.setattr("groktimizer.cli.progress.QUIET", 0.0)
    console = open("/dev/full", "w", buffering=1)
    monkeypatch.setattr(sys, "stderr", console)
    assert main(["run", *SMALL, "--out", str(tmp_path)]) == 0
    with pytest.raises(OSError):
        console.close()
    assert len(Store(tmp_path).query()) == 1


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["compare", "--help"]])
def test_help_is_there(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 0 and "usage: groktimizer" in capsys.readouterr().out


def test_the_command_line_answers_before_torch_is_loaded():
    """So that Ctrl-C during start-up meets the handler, and help is instant."""
    code = "import sys\nfrom groktimizer.cli import main\nassert 'torch' not in sys.modules\nmain(['--help'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("usage: groktimizer") and "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_report_and_a_list_do_without_torch(tmp_path: Path):
    """It takes most of the memory and of the time until there is an answer."""
    main(["run", "ridge", "--set", "n=5", "--set", "m=20", "--steps", "20", "--out", str(tmp_path)])
    for words in (["runs", "list", "--out", str(tmp_path)], ["report", str(tmp_path)]):
        code = f"import sys\nfrom groktimizer.cli import main\nassert main({words}) == 0\n"
        code += "assert 'torch' not in sys.modules"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_while_torch_loads_is_one_message():
    code = (
        "import importlib.abc, sys\n"
        "class Impatient(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'torch':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Impatient())\n"
        "from groktimizer.cli import main\n"
        "sys.exit(main(['run', 'ridge']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "interrupted: " in done.stderr and "Traceback" not in done.stderr
