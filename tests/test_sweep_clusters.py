"""What is said of a Ray cluster before anything is sent to it."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from groktimizer.sweeps.executors import cluster


def test_a_token_that_ray_was_imported_too_early_for_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster.Path, "home", lambda: tmp_path)
    monkeypatch.setattr(cluster.os, "environ", {})
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    cluster.prepare_environment()
    assert "RAY_AUTH_MODE" not in cluster.os.environ
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").touch()
    with pytest.warns(UserWarning, match=r"ray was imported before: .* set RAY_AUTH_MODE=token first"):
        cluster.prepare_environment()
    assert cluster.os.environ["RAY_AUTH_MODE"] == "token"
    cluster.prepare_environment()  # as the user has set it: nothing to say


def test_a_cluster_without_room_for_a_job_is_named():
    head = {"Alive": True, "Resources": {"memory": 1e9}}
    node = {"Alive": True, "Resources": {"CPU": 2.0}}
    with pytest.warns(UserWarning, match=r"0 GPUs that a job asks for \(0 processors and 0 GPUs\): waiting"):
        cluster._warn_of_what_is_missing([head, node | {"Alive": False}], 0.0)
    with pytest.warns(UserWarning, match=r"0.5 GPUs that a job asks for .*2 processors and 0 GPUs"):
        cluster._warn_of_what_is_missing([head, node], 0.5)
    cluster._warn_of_what_is_missing([head, node], 0.0)  # a warning would be an error
