"""Two ranks that train through a framework take the steps of one process, and resume as they stopped."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from rank_settings import CUTS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What either rank found in every scenario: two processes, started once."""
    folder = tmp_path_factory.mktemp("ranks")
    script = Path(__file__).with_name("framework_ranks.py")
    done = subprocess.run([sys.executable, script, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize(
    ("scenario", "kind"),
    [
        ("lightning_ddp", "Sequential"),
        ("lightning_fsdp2", "FSDPSequential"),
        ("trainer_ddp", "DistributedDataParallel"),
        ("accelerate_ddp", "DistributedDataParallel"),
        ("accelerate_fsdp2", "FSDPSequential"),
    ],
)
def test_two_ranks_with_accumulation_are_one_process_and_resume_bit_equal(ranks: Any, scenario: str, kind: str) -> None:
    """float64, two micro-batches a step; saved in either phase by the framework, loaded into fresh objects."""
    for rank in ranks:
        found = rank[scenario]
        assert "error" not in found, found["error"]
        assert found["kinds"] == [kind]
        assert found["distance"] < 1e-12
        assert CUTS[0] < found["switch"] < CUTS[1]
        for cut, phase in zip(CUTS, (1, 2), strict=True):
            assert found[cut] == {"phase": phase, "equal": True, "apart": 0.0, "history": True}
