"""``groktimizer list``: what the tables hold, all of it and nothing else; the help repeats none of it."""

import json
from pathlib import Path

import pytest

from groktimizer.cli import build_parser, main
from groktimizer.cli.clocks_parser import PREDICTIONS
from groktimizer.cli.words import KINDS
from groktimizer.data import TABLES
from groktimizer.papers import PAPERS
from groktimizer.peers import PEERS, peer_names
from groktimizer.penalties import PENALTIES
from groktimizer.tasks import TASKS

WANTED = {
    "tasks": [*TASKS, "module:Name"],
    "optimizers": [*peer_names(), "module:Name"],
    "penalties": list(PENALTIES),
    "predictions": list(PREDICTIONS),
    "studies": list(PAPERS),
    "data": list(TABLES),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_every_name_with_one_line(kind: str, tmp_path: Path, capsys):
    assert main(["list", kind, "--json", str(tmp_path / "x.json")]) == 0
    told = capsys.readouterr().out
    entries = json.loads((tmp_path / "x.json").read_text())[kind]
    assert [entry["name"] for entry in entries] == WANTED[kind]
    for entry in entries:
        assert entry["summary"] and "\n" not in entry["summary"] and f"  {entry['name']}" in told
    assert {"tasks": "p=97 ", "optimizers": "lr=None ", "penalties": "groups=rows"}.get(kind, "") in told


def test_everything_at_once(capsys):
    assert main(["list"]) == 0
    told = capsys.readouterr().out
    assert [line for line in told.splitlines() if not line.startswith(" ")] == list(KINDS)


@pytest.mark.parametrize("command", ["run", "compare"])
def test_the_help_points_to_the_list_and_repeats_no_name(command: str, capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args([command, "--help"])
    told = capsys.readouterr().out
    assert "groktimizer list tasks" in " ".join(told.split())
    others = {*TASKS, *PEERS} - {"groktimizer", "adamw"}  # the program's own name, and what is tuned by default
    assert not [name for name in others if f" {name}," in told or f" {name} " in told]
