"""State dicts of earlier versions load, and go on where that version would have gone."""

from pathlib import Path
from typing import Any

import pytest
import torch

from groktimizer.optim.control import VERSION
from groktimizer.optim.settings import Settings
from optim_cases import CASES, LEFT, Problem, run

SAVED: dict[str, Any] = torch.load(Path(__file__).parent / "data" / "state_dicts_v1.pt", weights_only=True)
OPTIONS = {case.name: case.options for case in CASES}


@LEFT
@pytest.mark.parametrize("name", SAVED)
def test_a_state_dict_of_version_one_goes_on_as_version_one_did(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded: state and parameters after 20 or 120 steps of a case, and the parameters 25 steps later.

    Version one had no finish in the Euclidean metric.
    """
    monkeypatch.setattr(Settings, "finishes", lambda *_: False)
    record = SAVED[name]
    assert "version" not in record["opt"]["param_groups"][0]["control"]
    problem = Problem()
    opt = problem.optimizer(OPTIONS[name.rsplit("-", 1)[0]])
    with torch.no_grad():
        for param, value in zip(problem.params, record["params"], strict=True):
            param.copy_(value)
    opt.load_state_dict(record["opt"])
    run(problem, lambda: opt.step(problem.closure), 25)
    for value, wanted in zip(problem.values(), record["after"], strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-9, atol=1e-12)
    assert record["switch"] is None or opt.switch_step == record["switch"]
    assert opt.state_dict()["param_groups"][0]["control"]["version"] == VERSION


def test_a_state_dict_of_a_later_version_is_refused_by_name() -> None:
    opt = Problem().optimizer({})
    later = opt.state_dict()
    later["param_groups"][0]["control"]["version"] = VERSION + 1
    with pytest.raises(ValueError, match=rf"version {VERSION + 1}: expected 1 to {VERSION}") as caught:
        Problem().optimizer({}).load_state_dict(later)
    assert "\n" not in str(caught.value)
