"""Two ranks of one model take the steps of one process, save and load as Adam does, and never wait in vain."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from rank_settings import CUTS, OLDER, REPLICATED, SETTINGS, SLOW


def played(folder: Path, *scenarios: str) -> list[dict[str, Any]]:
    """What either rank found in them, by default in all that are quick: two processes, started once."""
    subprocess.run([sys.executable, Path(__file__).with_name("ranks.py"), folder, *scenarios], check=True)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return played(tmp_path_factory.mktemp("ranks"))


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return played(tmp_path_factory.mktemp("older"), SLOW)


def found(ranks: list[dict[str, Any]], scenario: str) -> list[dict[str, Any]]:
    for rank in ranks:
        assert "error" not in rank[scenario], rank[scenario]["error"]
    return [rank[scenario] for rank in ranks]


@pytest.mark.parametrize(
    ("scenario", "setting"),
    [("fully_sharded", name) for name in SETTINGS] + [("replicated", name) for name in REPLICATED],
)
def test_two_ranks_take_the_steps_of_one_process(ranks: Any, scenario: str, setting: str) -> None:
    """float64, 36 steps across the switch, untuned; each rank has half the data."""
    for mine in found(ranks, scenario):
        assert mine[setting]["distance"] < 1e-12
        ours, alone = mine[setting]["switch"]
        assert ours == alone is not None


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_sharded_step_makes_one_small_reduction(ranks: Any, setting: str) -> None:
    """And a few more where phase 2 and its finish begin: norm, weights, curvature are measured for the first time."""
    for mine in found(ranks, "fully_sharded"):
        counts, switch = mine[setting]["collectives"], mine[setting]["switch"][0]
        finish = mine[setting]["finish"]
        assert (finish >= 0) is (setting == "adaptive")
        usual = [count for step, count in enumerate(counts) if step not in {switch, finish}]
        assert usual == [1] * len(usual)
        assert max(counts[switch], counts[finish]) <= 5


def test_scales_and_status_are_the_whole_tensors_on_every_rank(ranks: Any) -> None:
    first, second = found(ranks, "fully_sharded")
    for setting in SETTINGS:
        assert first[setting]["scales"] == second[setting]["scales"]
        assert first[setting]["status"] == second[setting]["status"]
    assert max(first["adaptive"]["scales"]) > 1.0


def test_flat_pieces_take_the_steps_of_whole_tensors(ranks: Any) -> None:
    for mine in found(ranks, "flattened"):
        cases = {name: case for name, case in mine.items() if name != "warnings"}
        assert len(cases) == 4
        for case in cases.values():
            assert case["distance"] < 1e-12
            assert case["switch"][0] == case["switch"][1] is not None


IN_EVERY_FORM = dict.fromkeys(("asked", "nested", "flat", "full", "file"), True)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("metric", ["adaptive", "euclidean"])
def test_distributed_checkpoints_resume_bit_equal_in_every_form(ranks: Any, metric: str, cut: int) -> None:
    for mine in found(ranks, "checkpoints"):
        assert mine[f"fsdp2 {metric} {cut}"] == IN_EVERY_FORM | {"phase": 1 if cut == CUTS[0] else 2}


@pytest.mark.slow
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("metric", ["adaptive", "euclidean"])
@pytest.mark.parametrize("kind", OLDER)
def test_those_of_fully_sharded_data_parallel_do_too(older: Any, kind: str, metric: str, cut: int) -> None:
    for mine in found(older, SLOW):
        expected: dict[str, Any] = IN_EVERY_FORM | {"phase": 1 if cut == CUTS[0] else 2}
        if kind == "fsdp1":  # as Adam: torch does not bring its state back whole in this form, so nor ours
            expected["full"] = mine["adam"]["full"]
        assert mine[f"{kind} {metric} {cut}"] == expected


def test_zero_redundancy_takes_the_steps_of_one_process_and_resumes_bit_equal(ranks: Any) -> None:
    for mine in found(ranks, "zero_redundancy"):
        for name in ("adaptive 6", "adaptive 30", "euclidean 6", "euclidean 30"):
            assert mine[name]["distance"] < 1e-12
            assert (mine[name]["resumed"], mine[name]["phase"]) == (True, 2)


def test_nothing_waits_for_a_rank_that_does_not_come(ranks: Any) -> None:
    first, second = found(ranks, "apart")
    assert first["levels"] != second["levels"]  # two models, two levels
    assert first["joined"] == second["joined"] == 1
    for mine in (first, second):
        assert any("join()" in text for text in mine["warnings"])
        assert any("neither sharded nor in a DistributedDataParallel module" in text for text in mine["warnings"])
    assert first["one observer"] == second["one observer"]
    assert first["one observer"][0] is not None
    assert math.isfinite(first["one observer"][1])


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("columns", "sharded along [0]: its parts lie on several ranks; accepted there are"),
        ("nuclear", "expected tensors held whole"),
        ("no group", "process_group=False with sharded parameters"),
        ("no such group", "process_group='all': expected None, False"),
    ],
)
def test_what_ranks_cannot_agree_on_is_refused_by_name(ranks: Any, case: str, message: str) -> None:
    for mine in found(ranks, "refused"):
        assert message in mine[case]
        assert "\n" not in mine[case]
