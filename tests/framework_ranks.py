"""Two processes over gloo that train through frameworks: ``python framework_ranks.py FOLDER``, like ranks.py."""

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before accelerate is imported

import lightning
import torch
import torch.distributed as dist
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.multiprocessing.spawn import start_processes
from torch.utils.data import DataLoader, TensorDataset
from transformers import Trainer, TrainingArguments

from groktimizer import GROKtimizer
from groktimizer.integrations.lightning import GrokMonitor
from groktimizer.integrations.transformers import GrokCallback
from rank_settings import CUTS
from ranks import Found, data, distance, groups, halves, network, parameters

STEPS, LEVEL, ACCUMULATE = 16, 2.5, 2


def optimizer(model: nn.Module, **options: Any) -> GROKtimizer:
    return GROKtimizer(groups(model), interpolation=LEVEL, **options)


def alone() -> tuple[Tensor, int | None]:
    """One process with all the data, in a plain loop."""
    model, (inputs, targets) = network(), data()
    opt = optimizer(model, process_group=False)
    for _ in range(STEPS):
        opt.zero_grad()
        loss = (model(inputs) - targets).square().mean()
        loss.backward()
        opt.observe(loss)
        opt.step()
    return parameters(model), opt.switch_step


def batches(rank: int) -> DataLoader[tuple[Tensor, ...]]:
    """This rank's half in two micro-batches, one step."""
    inputs, targets = data()
    return DataLoader(TensorDataset(inputs[halves(rank)], targets[halves(rank)]), 8 // ACCUMULATE)


class Module(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = network()

    def configure_optimizers(self) -> GROKtimizer:
        return optimizer(self.model)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return (self.model(batch[0]) - batch[1]).square().mean()


class Sharded(Module):
    def configure_model(self) -> None:
        if not isinstance(self.model, FSDPModule):
            mesh: Any = self.device_mesh
            fully_shard(self.model, mesh=mesh["data_parallel"])


def lightning_run(rank: int, folder: str, make: Callable[[], Any], strategy: Callable[[], Any]) -> Found:
    kinds = set[str]()

    def fit(epochs: int, checkpoint: str | None = None) -> tuple[Any, Any, GrokMonitor]:
        monitor, module = GrokMonitor(), make()
        quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        quiet |= {"enable_model_summary": False, "use_distributed_sampler": False, "accelerator": "cpu"}
        trainer = lightning.Trainer(
            max_epochs=epochs, devices=2, strategy=strategy(), plugins=[TorchElasticEnvironment()],
            callbacks=[monitor], accumulate_grad_batches=ACCUMULATE, **quiet,
        )  # fmt: skip
        trainer.fit(module, batches(rank), ckpt_path=checkpoint, weights_only=True)
        kinds.add(type(module.model).__name__)
        return trainer, module, monitor

    def run(cut: int | None) -> Iterator[Any]:
        if cut is None:
            _, module, monitor = fit(STEPS)
        else:
            trainer, module, monitor = fit(cut)
            yield trainer.optimizers[0].phase
            path = f"{folder}/{make.__name__}-{cut}.ckpt"
            trainer.save_checkpoint(path)
            dist.barrier()
            trainer, module, monitor = fit(STEPS, path)
        yield parameters(module.model), monitor.history["norm"].tolist(), monitor.history["phase"].tolist()

    return compared(run) | {"kinds": sorted(kinds)}


def compared(run: Callable[[int | None], Iterator[Any]]) -> dict[Any, Any]:
    """An uninterrupted run against one process, and runs resumed in either phase against the uninterrupted one."""
    (wanted, *columns), (plain, switch) = next(iter(run(None))), alone()
    found: dict[Any, Any] = {"distance": distance(wanted, plain), "switch": switch}
    for cut in CUTS:
        phase, (values, *rest) = run(cut)
        found[cut] = {"phase": phase, "equal": bool(torch.equal(values, wanted)), "apart": distance(values, wanted)}
        found[cut]["history"] = rest == columns
    return found


def lightning_ddp(rank: int, folder: str) -> Found:
    return lightning_run(rank, folder, Module, lambda: DDPStrategy(process_group_backend="gloo"))


def lightning_fsdp2(rank: int, folder: str) -> Found:
    return lightning_run(rank, folder, Sharded, lambda: ModelParallelStrategy(2, 1, process_group_backend="gloo"))


class Answering(nn.Module):
    """The network as the Trainer wants it: its loss among its answers."""

    def __init__(self) -> None:
        super().__init__()
        self.model = network()

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"loss": (self.model(x) - labels).square().mean()}


def trainer_ddp(rank: int, folder: str) -> Found:
    """The Trainer deals the batches out itself; the uninterrupted run leaves the checkpoints of both phases."""
    rows, path = [{"x": x, "labels": y} for x, y in zip(*data(), strict=True)], f"{folder}/trainer"
    kinds = set[str]()

    def run(cut: int | None) -> Iterator[Any]:
        if cut is not None:
            saved = torch.load(f"{path}/checkpoint-{cut}/optimizer.pt", weights_only=True)
            yield saved["param_groups"][0]["control"]["phase"]
        model = Answering()
        opt = optimizer(model)
        arguments = TrainingArguments(
            path, use_cpu=True, ddp_backend="gloo", max_steps=STEPS, per_device_train_batch_size=8 // ACCUMULATE,
            gradient_accumulation_steps=ACCUMULATE, train_sampling_strategy="sequential", max_grad_norm=0.0,
            lr_scheduler_type="constant", report_to="none", disable_tqdm=True, save_steps=CUTS[0],
        )  # fmt: skip
        trainer = Trainer(model, arguments, train_dataset=rows, optimizers=(opt, None))  # pyright: ignore[reportArgumentType]
        trainer.add_callback(GrokCallback(trainer))
        trainer.train(resume_from_checkpoint=None if cut is None else f"{path}/checkpoint-{cut}")
        kinds.add(type(trainer.model_wrapped).__name__)
        dist.barrier()
        yield parameters(model.model), opt.switch_step

    return compared(run) | {"kinds": sorted(kinds)}


def accelerate_run(rank: int, folder: str, name: str, ready: Callable[[Accelerator], None]) -> Found:
    accelerator, kinds = Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATE), set[str]()

    def fresh() -> tuple[Any, Any, GROKtimizer]:
        accelerator.free_memory()
        ready(accelerator)
        model = network()
        opt = optimizer(model)
        prepared, wrapped = accelerator.prepare(model, opt)
        kinds.add(type(prepared).__name__)
        return prepared, wrapped, opt

    def train(model: Any, wrapped: Any, opt: GROKtimizer, steps: int) -> None:
        for _ in range(steps):
            for number, (x, y) in enumerate(batches(rank), start=1):
                accelerator.gradient_state._set_sync_gradients(number == ACCUMULATE)
                loss = (model(x) - y).square().mean()
                accelerator.backward(loss)
                opt.observe(loss)
                wrapped.step()
                wrapped.zero_grad()

    def run(cut: int | None) -> Iterator[Any]:
        model, wrapped, opt = fresh()
        if cut is None:
            train(model, wrapped, opt, STEPS)
        else:
            train(model, wrapped, opt, cut)
            yield opt.phase
            accelerator.save_state(f"{folder}/{name}-{cut}", safe_serialization=False)
            dist.barrier()
            model, wrapped, opt = fresh()
            accelerator.load_state(f"{folder}/{name}-{cut}")
            train(model, wrapped, opt, STEPS - cut)
        yield parameters(model), opt.switch_step

    return compared(run) | {"kinds": sorted(kinds)}


def accelerate_ddp(rank: int, folder: str) -> Found:
    return accelerate_run(rank, folder, "ddp", lambda accelerator: None)


def accelerate_fsdp2(rank: int, folder: str) -> Found:
    def ready(accelerator: Accelerator) -> None:
        """Accelerate shards on devices only; told that it does, it runs the same code on a CPU."""
        for state in (PartialState(), accelerator.state):  # the one is copied into the other again and again
            state.distributed_type = DistributedType.FSDP
        plugin = FullyShardedDataParallelPlugin(fsdp_version=2, state_dict_type="SHARDED_STATE_DICT")
        accelerator.state.fsdp_plugin = plugin

    return accelerate_run(rank, folder, "fsdp2", ready)


SCENARIOS = (lightning_ddp, lightning_fsdp2, trainer_ddp, accelerate_ddp, accelerate_fsdp2)


def play(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    os.environ |= {name: str(value) for name, value in ranks.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "TORCHELASTIC_RUN_ID": "x", "OMP_NUM_THREADS": "1"}
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found: dict[str, Any] = {}
    for scene in SCENARIOS:
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                found[scene.__name__] = scene(rank, folder)
                found[scene.__name__]["warnings"] = sorted({str(each.message) for each in said})
        except Exception:  # whatever it is: the tests that look at this scenario show it
            found[scene.__name__] = {"error": traceback.format_exc()}
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    start_processes(play, (sys.argv[1],), nprocs=2, start_method="fork")
