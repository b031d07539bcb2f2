"""GrokMonitor with the real Lightning: what the optimizer observes, what is read off the run, what is refused."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import groktimizer.integrations.lightning
from groktimizer import GROKtimizer, UserError, param_groups
from groktimizer.integrations.lightning import GrokMonitor
from groktimizer.tasks import Criterion
from house_rules import public_api
from pages import ROOT
from same_run import QUIET, assert_same_run, parameters

pytestmark = [
    *QUIET,
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`:UserWarning"),
]
LEVEL, EPOCHS = 0.3, 40
SNAPSHOTS = ROOT / "tests" / "snapshots"
MEMORISED = Criterion("train_accuracy", 0.99, above=True)
GENERALISED = Criterion("val_accuracy", 0.95, above=True)


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(16, 20, generator=generator), torch.randint(4, (16,), generator=generator)


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 4))


class Module(lightning.LightningModule):
    """Keeps the losses that `training_step` returned and those that the optimizer was given."""

    def __init__(self, kind: Any = GROKtimizer, **options: Any) -> None:
        super().__init__()
        self.model, self.kind = network(), kind
        self.options: dict[str, Any] = {"interpolation": LEVEL} | options
        self.losses: list[float] = []

    def configure_optimizers(self) -> Any:
        if self.kind is not GROKtimizer:
            return self.kind(self.parameters())
        return GROKtimizer(param_groups(self.model), **self.options)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        scores = self.model(batch[0])
        self.log("train_accuracy", (scores.argmax(1) == batch[1]).float().mean(), on_step=False, on_epoch=True)
        loss = cross_entropy(scores, batch[1])
        self.losses.append(float(loss.detach()))
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_accuracy", (self.model(batch[0]).argmax(1) == batch[1]).float().mean())


class Scheduled(Module):
    def configure_optimizers(self) -> Any:
        opt = super().configure_optimizers()
        return [opt], [torch.optim.lr_scheduler.LinearLR(opt, 1.0, 1e-3, total_iters=EPOCHS // 2)]


class Manual(Module):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        opt: Any = self.optimizers()
        opt.zero_grad()
        loss = super().training_step(batch, batch_idx)
        self.manual_backward(loss)
        opt.step()
        return loss


def trainer(*callbacks: Any, epochs: int = EPOCHS, **options: Any) -> Any:
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "accelerator": "cpu", "num_sanity_val_steps": 1}
    merged: dict[str, Any] = quiet | {"max_epochs": epochs, "callbacks": list(callbacks)} | options
    return lightning.Trainer(**merged)


def fit(module: Any, made: Any, rows: int = 16, validate: bool = False, **options: Any) -> GROKtimizer:
    held_out = DataLoader(TensorDataset(*data()), 16) if validate else None
    made.fit(module, DataLoader(TensorDataset(*data()), rows), held_out, **options)
    return made.optimizers[0]


def half(scaler: torch.amp.GradScaler | None = None) -> dict[str, Any]:
    """16-mixed, which Lightning offers on a GPU only, and its plugin on a CPU too."""
    from lightning.pytorch.plugins.precision import MixedPrecision

    return {"plugins": MixedPrecision("16-mixed", device="cpu", scaler=scaler)}


@pytest.fixture
def observed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    seen: list[float] = []
    plain = GROKtimizer.observe

    def observe(self: GROKtimizer, loss: Any) -> None:
        seen.append(float(loss.detach()))
        plain(self, loss)

    monkeypatch.setattr(GROKtimizer, "observe", observe)
    yield seen


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def plain_loop(rows: int, every: int, kind: torch.dtype | None, scaler: torch.amp.GradScaler | None) -> GROKtimizer:
    """Lightning's batches by hand: the gradient of loss / N, also where an epoch ends with fewer micro-batches."""
    model, (inputs, targets) = network(), data()
    opt = GROKtimizer(param_groups(model), interpolation=LEVEL)
    scaler = scaler or torch.amp.GradScaler("cpu", enabled=kind is torch.float16)
    batches = list(zip(inputs.split(rows), targets.split(rows), strict=True))
    for _ in range(EPOCHS):
        for number, (x, y) in enumerate(batches, start=1):
            with torch.autocast("cpu", kind, enabled=kind is not None):
                loss = cross_entropy(model(x), y)
            scaler.scale(loss / every).backward()
            opt.observe(loss)
            if number % every == 0 or number == len(batches):
                scaler.step(opt)
                scaler.update()
                opt.zero_grad()
    return opt


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("precision", ["32", "bf16-mixed", "16-mixed"])
def test_every_precision_and_accumulation_is_the_plain_loop(observed: list[float], precision: str, every: int):
    kind = {"32": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}[precision]
    options: dict[str, Any] = half() if precision == "16-mixed" else {"precision": precision}
    module, monitor = Module(), GrokMonitor()
    opt = fit(module, trainer(monitor, accumulate_grad_batches=every, **options), rows=4)
    assert observed == pytest.approx(module.losses, rel=1e-6)  # each micro-batch once, unscaled and whole
    assert len(observed) == 4 * EPOCHS
    assert_same_run(opt, plain_loop(4, every, kind, None), tolerance=1e-5)
    assert monitor.times is None and monitor.history["step"][-1] == EPOCHS * {1: 4, 3: 2}[every]


def test_without_the_monitor_16_mixed_never_leaves_phase_1():
    assert fit(Module(), trainer(**half())).phase == 1


def test_a_step_that_the_scaler_skips_counts_neither_here_nor_in_the_plain_loop():
    def scaler() -> torch.amp.GradScaler:
        return torch.amp.GradScaler("cpu", init_scale=2.0**20)  # too large at first: infinite gradients in float16

    monitor = GrokMonitor()
    opt = fit(Module(), trainer(monitor, **half(scaler())), rows=4)
    assert_same_run(opt, plain_loop(4, 1, torch.float16, scaler()))
    assert 0 < monitor.history["step"][-1] < 4 * EPOCHS


def test_rows_come_with_validations_and_go_to_the_loggers():
    from lightning.pytorch.loggers import CSVLogger

    monitor = GrokMonitor(MEMORISED, GENERALISED, window=20)
    made = trainer(monitor, check_val_every_n_epoch=2, logger=CSVLogger(".", name="", version=""), log_every_n_steps=1)
    opt = fit(Module(), made, validate=True)
    history, times = monitor.history, monitor.times
    assert history["step"].tolist() == list(range(2, EPOCHS + 1, 2))
    assert history["val_accuracy"][-1] == history["train_accuracy"][-1] == 1.0
    assert times is not None and times.evaluated_every == 2
    reached = {name: int(history["step"][(history[name] >= 0.99).argmax()]) for name in history if "accuracy" in name}
    assert times.memorised == reached["train_accuracy"]
    assert times.settled == times.generalised is not None
    with open("metrics.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["grok/phase"]]
    assert [float(row["grok/norm"]) for row in rows] == pytest.approx(history["norm"].tolist())
    assert [float(row["grok/phase"]) for row in rows] == history["phase"].tolist()
    last = {name: rows[-1][f"grok/{name}"] for name in ("switch_step", "memorised", "generalised")}
    assert [float(value) for value in last.values()] == [opt.switch_step, times.memorised, times.generalised]
    assert rows[0]["grok/switch_step"] == ""


def test_validations_within_an_epoch_are_rows_too():
    monitor = GrokMonitor(MEMORISED, GENERALISED)
    fit(Module(), trainer(monitor, epochs=3, val_check_interval=2), rows=4, validate=True)
    history = monitor.history
    assert history["step"].tolist() == [2, 4, 6, 8, 10, 12]
    assert torch.tensor(history["train_accuracy"]).isnan().tolist() == [
        True,
        *[False] * 5,
    ]  # an epoch's is not known yet
    assert not torch.tensor(history["val_accuracy"]).isnan().any()


@pytest.mark.parametrize("cut", [10, 30])
def test_a_saved_run_goes_on_as_if_it_had_not_stopped(cut: int):
    whole, first, second = (GrokMonitor(MEMORISED, GENERALISED) for _ in range(3))
    wanted = fit(Module(), trainer(whole), validate=True)
    stopped = trainer(first, epochs=cut)
    assert fit(Module(), stopped, validate=True).phase == (1 if cut == 10 else 2)
    stopped.save_checkpoint("run.ckpt")
    found = fit(Module(), trainer(second), validate=True, ckpt_path="run.ckpt", weights_only=True)
    assert torch.equal(parameters(found), parameters(wanted)) and found.switch_step == wanted.switch_step
    assert {name: values.tolist() for name, values in second.history.items()} == {
        name: values.tolist() for name, values in whole.history.items()
    }


def test_another_run_begins_with_no_rows_and_an_earlier_checkpoint_drops_later_ones():
    monitor = GrokMonitor()
    fit(Module(), trainer(monitor, epochs=6))
    assert monitor.history["step"].tolist() == [1, 2, 3, 4, 5, 6]
    again = trainer(monitor, epochs=4)
    fit(Module(), again)
    assert monitor.history["step"].tolist() == [1, 2, 3, 4]
    again.save_checkpoint("four.ckpt")
    fit(Module(), trainer(monitor, epochs=7), ckpt_path="four.ckpt", weights_only=True)
    assert monitor.history["step"].tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_a_batch_without_a_loss_is_no_mistake():
    class Silent(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return None if self.global_step == 0 else super().training_step(batch, batch_idx)

    with pytest.warns(UserWarning, match="training_step` returned `None`"):
        assert fit(Silent(), trainer(GrokMonitor())).phase == 2


def test_the_public_names_are_those_of_the_snapshot():
    assert public_api(groktimizer.integrations.lightning) in (SNAPSHOTS / "integrations.txt").read_text()


def test_a_loss_of_ones_own_is_left_alone(observed: list[float]):
    class Own(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            opt: Any = self.optimizers()
            opt.observe(2 * loss)
            return loss

    module = Own()
    fit(module, trainer(GrokMonitor(observe=False), epochs=3))
    assert observed == pytest.approx([2 * loss for loss in module.losses])


@pytest.mark.parametrize(
    ("module", "monitor", "options", "message"),
    [
        (lambda: Module(torch.optim.SGD), GrokMonitor, {}, "GrokMonitor: the trainer's optimizers are SGD: expected"),
        (Manual, GrokMonitor, {}, "manual optimization and a step without a loss, so phase 2 would never begin"),
        (Module, lambda: GrokMonitor(observe=False), half(), "observe=False and a step without a loss, so phase 2"),
        (
            Module,
            lambda: GrokMonitor(MEMORISED, Criterion("test_accuracy", 0.9, above=True)),
            {},
            "the module logs no 'test_accuracy', it logs train_accuracy",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(module: Any, monitor: Any, options: Any, message: str):
    with pytest.raises(UserError) as caught:
        fit(module(), trainer(monitor(), epochs=2, **options))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_one_condition_without_the_other_is_refused():
    with pytest.raises(UserError, match=r"generalised=None: expected two conditions, or None for both"):
        GrokMonitor(MEMORISED)


def test_clipping_and_a_schedule_that_ends_at_nothing_are_warned_of():
    with pytest.warns(UserWarning, match=r"GrokMonitor: gradient_clip_val=1.0 shortens the force .* expected None"):
        fit(Module(), trainer(GrokMonitor(), epochs=1, gradient_clip_val=1.0))
    with pytest.warns(UserWarning, match="GrokMonitor: a scheduler has left 0.001 of the learning rate") as said:
        fit(Scheduled(interpolation=float("inf")), trainer(GrokMonitor()))
    assert len([each for each in said if "GrokMonitor" in str(each.message)]) == 1
