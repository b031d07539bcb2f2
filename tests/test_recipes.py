"""The recipes of docs/in-your-loop.md with the real packages: each gives the run of a plain loop over the same data."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from groktimizer import GROKtimizer, param_groups
from pages import LOOP, RECIPES, blocks, run
from same_run import QUIET, assert_same_run

pytestmark = QUIET
PAGE = blocks(LOOP.read_text())
STEPS = 60


def seeded(make: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """The same, from the same initial weights every time."""

    def build(*extra: nn.Module) -> nn.Module:
        torch.manual_seed(1)
        return make(*extra)

    return build


def opening() -> dict[str, Any]:
    """What the first block of the page gives, with a `network` that starts from the same weights every time."""
    torch.manual_seed(0)
    world: dict[str, Any] = run(PAGE[:1], LOOP, {"__name__": "page"})
    world["network"] = seeded(world["network"])
    return world


def section(part: str, folder: Path) -> dict[str, Any]:
    """The names that a section's recipes leave behind; files that a framework writes go to a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return run([block for block in PAGE if (block.section, block.part) == (RECIPES, part)], LOOP, opening())


@pytest.fixture(scope="module")
def lightning(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return section("Lightning", tmp_path_factory.mktemp("lightning"))


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return section("Hugging Face Trainer", tmp_path_factory.mktemp("trainer"))


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)


def twin(world: dict[str, Any], autocast: torch.dtype | None = None, scale: bool = False) -> GROKtimizer:
    """The plain loop that a framework's run has to equal."""
    model = world["network"]()
    opt = GROKtimizer(param_groups(model), interpolation=0.3)
    scaler = torch.amp.GradScaler("cpu", enabled=scale)
    for _ in range(STEPS):
        opt.zero_grad()
        with torch.autocast("cpu", autocast, enabled=autocast is not None):
            loss = cross_entropy(model(world["inputs"]), world["targets"])
        scaler.scale(loss).backward()
        opt.observe(loss)
        scaler.step(opt)
        scaler.update()
    return opt


def test_every_recipe_is_run_by_a_test():
    run_here = {"Lightning", "Hugging Face Trainer", "accelerate", "Ignite", "skorch"}
    assert {block.part for block in PAGE if block.section == RECIPES} == run_here


@pytest.mark.parametrize("name", ["automatic", "accumulated", "manual"])
def test_lightning_equals_a_plain_loop(lightning: dict[str, Any], name: str):
    assert_same_run(lightning[name], twin(lightning))


def test_lightning_in_bf16_mixed_equals_autocast(lightning: dict[str, Any]):
    assert_same_run(lightning["mixed"], twin(lightning, torch.bfloat16))


def test_lightning_reads_the_clocks_of_the_run(lightning: dict[str, Any]):
    assert_same_run(lightning["logged"], twin(lightning))
    monitor, times = lightning["monitor"], lightning["monitor"].times
    history = monitor.history
    assert history["step"].tolist() == list(range(1, STEPS + 1))
    assert (times.memorised, times.evaluated_every) == (1 + int(np.argmax(history["train_accuracy"] >= 0.99)), 1)
    assert times.generalised == 1 + int(np.argmax(history["val_accuracy"] >= 0.95))
    assert times.settled is None  # the window has 500 steps
    assert history["phase"].tolist() == [1 + (step > lightning["logged"].switch_step) for step in history["step"]]


def test_without_the_recipe_accumulation_meets_the_level_too_early(lightning: dict[str, Any]):
    found = lightning["fit"](lightning["Module"](interpolation=0.3), batch_size=8, accumulate_grad_batches=8)
    wanted = twin(lightning)
    assert wanted.switch_step is not None and found.switch_step < wanted.switch_step / 4


@pytest.mark.slow
def test_trainer_equals_a_plain_loop(trainer: dict[str, Any]):
    model = seeded(partial(trainer["BertForSequenceClassification"], trainer["config"]))()
    other = deepcopy(model)
    opt = GROKtimizer(param_groups(model), interpolation=0.1)
    trainer["train"](model, opt, max_steps=30, per_device_train_batch_size=4, gradient_accumulation_steps=4)
    wanted = GROKtimizer(param_groups(other), interpolation=0.1)
    for _ in range(30):
        wanted.zero_grad()
        loss = other(input_ids=trainer["tokens"], labels=trainer["labels"]).loss
        loss.backward()
        wanted.observe(loss)
        wanted.step()
    assert_same_run(opt, wanted, tolerance=1e-3)  # the Trainer shuffles: the same sums in another order


def test_lora_moves_the_adapters_and_nothing_else(trainer: dict[str, Any]):
    for opt in (trainer["adapted"], trainer["faster"], trainer["helped"]):
        assert all(param.requires_grad for group in opt.param_groups for param in group["params"])
        assert opt.phase == 2 and opt.switch_step > 2
    frozen = [param for param in trainer["model"].parameters() if not param.requires_grad]
    assert frozen and all(param.grad is None for param in frozen)


def test_accelerate_equals_a_plain_loop(tmp_path: Path):
    world = section("accelerate", tmp_path)
    assert_same_run(world["accelerated"], twin(world))


def test_ignite_equals_a_plain_loop_and_its_evaluations_say_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    world = section("Ignite", tmp_path)
    assert_same_run(world["ignited"], twin(world))
    monkeypatch.delattr(GROKtimizer, "observe")
    with torch.no_grad():
        world["observed"](world["model"](world["inputs"]), world["targets"])
    with pytest.raises(AttributeError):
        world["observed"](world["model"](world["inputs"]), world["targets"])


def test_skorch_equals_a_plain_loop(tmp_path: Path):
    world = section("skorch", tmp_path)
    assert_same_run(world["fitted"], twin(world))
