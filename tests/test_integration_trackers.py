"""What a run writes for TensorBoard and MLflow is what its history holds."""

import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from torch import nn
from torch.optim import SGD, Optimizer

from groktimizer.integrations import trackers
from groktimizer.tasks import make_task
from groktimizer.training import Run, train

TASK = make_task("ridge", {"n": 8, "m": 30})
NAMES = ("train_loss", "test_loss", "norm_l2")


def build(model: nn.Module) -> Optimizer:
    return SGD(model.parameters(), lr=0.1)


run = partial(train, TASK, build, steps=40, every=10)


def agrees(trained: Run, name: str, steps: list[int], values: list[float]) -> None:
    assert steps == trained.history["step"].tolist()
    np.testing.assert_allclose(values, trained.history[name], rtol=1e-6)


def test_tensorboard_reads_back_the_history(tmp_path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package
        board = pytest.importorskip("torch.utils.tensorboard", reason="tensorboard is not installed")
        reading = pytest.importorskip(
            "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
        )
        with board.SummaryWriter(str(tmp_path)) as writer:
            trained = run(on_event=trackers.tensorboard(writer))
        found = reading.EventAccumulator(str(tmp_path)).Reload()
    for name in NAMES:
        last = {event.step: event.value for event in found.Scalars(name)}
        agrees(trained, name, list(last), list(last.values()))
    assert {event.value for event in found.Scalars("phase")} == {0.0}


def test_mlflow_reads_back_the_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database needs the large package
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package
        mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
        mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
        with mlflow.start_run() as active:
            trained = run(on_event=trackers.mlflow(mlflow))
        client = mlflow.tracking.MlflowClient()
        for name in NAMES:
            last = {metric.step: metric.value for metric in client.get_metric_history(active.info.run_id, name)}
            agrees(trained, name, list(last), list(last.values()))
