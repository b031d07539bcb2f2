"""What the tests of `groktimizer predict` share."""

import json
from pathlib import Path
from typing import Any

from groktimizer.cli import main


def told(words: list[str], tmp_path: Path) -> dict[str, Any]:
    """The JSON of a command that succeeds."""
    file = tmp_path / "x.json"
    assert main([*words, "--out", str(tmp_path), "--json", str(file)]) == 0
    return json.loads(file.read_text())
