"""Two processes over gloo that play scenarios: ``python ranks.py FOLDER [SCENARIO ...]`` writes what each found.

They are forked from one process that has imported everything and computed nothing.
"""

import copy
import sys
import traceback
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy, fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.multiprocessing.spawn import start_processes
from torch.nn.parallel import DistributedDataParallel

from groktimizer import GROKtimizer, GroupL1, Nuclear
from rank_settings import CUTS, REPLICATED, SETTINGS, SLOW

STEPS = 36
Found = dict[str, Any]
SCENARIOS: dict[str, Callable[[int, str], Found]] = {}


def scenario(play: Callable[[int, str], Found]) -> Callable[[int, str], Found]:
    SCENARIOS[play.__name__] = play
    return play


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(16, 6, generator=generator, dtype=torch.float64)
    return inputs, torch.randn(16, 2, generator=generator, dtype=torch.float64)


def network() -> nn.Sequential:
    """Entries of very different size from row to row, so that a rank's own rows say little of the whole."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 2)).double()
    with torch.no_grad():
        next(model[0].parameters())[::2] *= 3.0
        next(model[2].parameters())[0] *= 4.0
    return model


def groups(model: nn.Module) -> list[dict[str, Any]]:
    """As `param_groups`, by name: under FullyShardedDataParallel shapes say nothing."""
    named = list(model.named_parameters())
    return [
        {"params": [param for name, param in named if "bias" not in name]},
        {"params": [param for name, param in named if "bias" in name], "weight_decay": 0.0},
    ]


def optimizer(model: nn.Module, **options: Any) -> GROKtimizer:
    merged: dict[str, Any] = {"interpolation": 0.7} | options
    return GROKtimizer(groups(model), **merged)


def train(model: nn.Module, opt: Any, rows: slice, steps: int, *, observer: Any = None) -> None:
    inputs, targets = data()
    for _ in range(steps):
        opt.zero_grad()
        loss = (model(inputs[rows]) - targets[rows]).square().mean()
        loss.backward()
        (observer or opt).observe(loss)
        opt.step()


def halves(rank: int) -> slice:
    return slice(8 * rank, 8 * rank + 8)


def whole(param: Tensor) -> Tensor:
    full = getattr(param, "full_tensor", None)
    return param.detach() if full is None else full().detach()


def parameters(model: nn.Module) -> Tensor:
    return torch.cat([whole(param).flatten() for param in model.parameters()])


def alone(options: dict[str, Any]) -> tuple[Tensor, int | None]:
    model = network()
    opt = optimizer(model, process_group=False, **options)
    train(model, opt, slice(None), STEPS)
    return parameters(model), opt.switch_step


def distance(left: Tensor, right: Tensor) -> float:
    return float((left - right).norm() / right.norm())


def sharded() -> nn.Module:
    model = network()
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    return model


def fsdp(use_orig_params: bool) -> FullyShardedDataParallel:
    return FullyShardedDataParallel(
        network(),
        sharding_strategy=ShardingStrategy.FULL_SHARD,
        use_orig_params=use_orig_params,
        device_id=torch.device("cpu"),
    )


@contextmanager
def counting() -> Generator[list[int]]:
    """Collectives of each `GROKtimizer.step` in the block."""
    counts: list[int] = []
    real_step, real_reduce = GROKtimizer.step, dist.all_reduce

    def reduce(*args: Any, **kwargs: Any) -> Any:
        if counts:
            counts[-1] += 1
        return real_reduce(*args, **kwargs)

    def step(self: GROKtimizer, closure: Any = None) -> Any:
        counts.append(0)
        return real_step(self, closure)

    with mock.patch.object(dist, "all_reduce", reduce), mock.patch.object(GROKtimizer, "step", step):
        yield counts


@scenario
def fully_sharded(rank: int, _: str) -> Found:
    found: Found = {}
    for name, options in SETTINGS.items():
        model = sharded()
        opt = optimizer(model, **options)
        with counting() as counts:
            train(model, opt, halves(rank), STEPS)
        wanted, switch = alone(options)
        found[name] = {
            "distance": distance(parameters(model), wanted),
            "switch": (opt.switch_step, switch),
            "finish": opt.state_dict()["param_groups"][0]["control"]["finish_step"],
            "collectives": counts,
            "status": opt.status,
            "scales": opt.param_groups[0]["scales"],
        }
    return found


@scenario
def replicated(rank: int, _: str) -> Found:
    found: Found = {}
    for name in REPLICATED:
        options = SETTINGS[name]
        model = network()
        opt = optimizer(model, **options)
        train(DistributedDataParallel(model), opt, halves(rank), STEPS)
        wanted, switch = alone(options)
        found[name] = {"distance": distance(parameters(model), wanted), "switch": (opt.switch_step, switch)}
    return found


@scenario
def flattened(rank: int, _: str) -> Found:
    """FullyShardedDataParallel, parameters as flat pieces: with their own names, and as one per module."""
    found: Found = {}
    for use_orig_params in (True, False):
        for name in ("adaptive", "adaptive-l1", "euclidean"):
            if name != "euclidean" and not use_orig_params:
                continue  # one flat parameter has one scale: not the steps of the tensors in it
            model = fsdp(use_orig_params)
            options: dict[str, Any] = SETTINGS[name] | {"interpolation": 0.7}
            opt = optimizer(model, **options) if use_orig_params else GROKtimizer(model.parameters(), **options)
            train(model, opt, halves(rank), STEPS)
            twin = network()
            other = groups(twin) if use_orig_params else twin.parameters()
            plain = GROKtimizer(other, process_group=False, **options)
            train(twin, plain, slice(None), STEPS)
            with FullyShardedDataParallel.summon_full_params(model):
                apart = distance(parameters(model), parameters(twin))
            found[f"{name}, use_orig_params={use_orig_params}"] = {
                "distance": apart, "switch": (opt.switch_step, plain.switch_step), "status": opt.status,
            }  # fmt: skip
    return found


FORMS = {
    "nested": StateDictOptions(),
    "flat": StateDictOptions(flatten_optimizer_state_dict=True),
    "full": StateDictOptions(full_state_dict=True, cpu_offload=True),
}
MAKE: dict[str, Callable[[], nn.Module]] = {
    "fsdp2": sharded,
    "fsdp1": lambda: fsdp(True),
    "fsdp1-flat": lambda: fsdp(False),
}


RESUMED_STEPS = 16


class SilentAdam(torch.optim.Adam):
    """What torch itself does with the same tensors."""

    def observe(self, loss: Tensor) -> None:
        """It watches no loss."""


def resumed(make: Callable[[], nn.Module], options: dict[str, Any] | None, cut: int, rank: int, path: str) -> Found:
    """Whether a run that is asked for its state at `cut`, in every form, and continued elsewhere ends bit-equal."""

    def fresh() -> tuple[nn.Module, Any]:
        model = make()
        if options is None:
            return model, SilentAdam(groups(model), lr=1e-2)
        flat = isinstance(model, FullyShardedDataParallel)
        return model, GROKtimizer(model.parameters() if flat else groups(model), interpolation=2.5, **options)

    def values(model: nn.Module) -> Tensor:
        return torch.cat([getattr(p, "to_local", lambda p=p: p)().detach().flatten() for p in model.parameters()])

    model, opt = fresh()
    train(model, opt, halves(rank), RESUMED_STEPS)
    wanted = values(model)
    model, opt = fresh()
    train(model, opt, halves(rank), cut)
    opt.zero_grad()
    found: Found = {"phase": 1 if options is None else opt.phase}
    saved = {form: copy.deepcopy(states(model, opt, how)) for form, how in FORMS.items()}
    save(states(model, opt, FORMS["nested"]), checkpoint_id=path)
    train(model, opt, halves(rank), RESUMED_STEPS - cut)
    found["asked"] = bool(torch.equal(values(model), wanted))
    for form in (*FORMS, "file"):
        model, opt = fresh()
        how = FORMS["nested" if form == "file" else form]
        if form == "file":
            state = states(model, opt, how)
            load(state, checkpoint_id=path)
        else:
            state = saved[form]
        if how.full_state_dict:  # it is on rank 0 only
            box = [state]
            dist.broadcast_object_list(box, src=0)
            state = box[0]
        set_model_state_dict(model, state["model"], options=how)
        set_optimizer_state_dict(model, opt, state["opt"], options=how)
        train(model, opt, halves(rank), RESUMED_STEPS - cut)
        found[form] = bool(torch.equal(values(model), wanted))
    return found


def states(model: nn.Module, opt: torch.optim.Optimizer, how: StateDictOptions) -> dict[str, Any]:
    return {
        "model": get_model_state_dict(model, options=how),
        "opt": get_optimizer_state_dict(model, opt, options=how),
    }


def saved_and_resumed(kind: str, rank: int, folder: str) -> Found:
    found: Found = {}
    for metric in ("adaptive", "euclidean"):
        for cut in CUTS:
            path = f"{folder}/{kind}-{metric}-{cut}"
            found[f"{kind} {metric} {cut}"] = resumed(MAKE[kind], {"metric": metric}, cut, rank, path)
    return found


@scenario
def checkpoints(rank: int, folder: str) -> Found:
    return saved_and_resumed("fsdp2", rank, folder)


@scenario
def older_checkpoints(rank: int, folder: str) -> Found:
    adam = resumed(MAKE["fsdp1"], None, CUTS[0], rank, f"{folder}/adam")
    return {"adam": adam, **saved_and_resumed("fsdp1", rank, folder), **saved_and_resumed("fsdp1-flat", rank, folder)}


@scenario
def zero_redundancy(rank: int, _: str) -> Found:
    """Each rank keeps the state of its own tensors; consolidated, saved, loaded, it goes on bit-equal."""
    found: Found = {}
    settings: tuple[tuple[str, dict[str, Any]], ...] = (
        ("adaptive", {}),
        ("euclidean", {"metric": "euclidean", "lr": 0.2, "weight_decay": 1e-2}),
    )
    for name, options in settings:
        for cut in (6, 30):

            def fresh(options: dict[str, Any] = options) -> tuple[nn.Module, Any]:
                model = network()
                wrapped = DistributedDataParallel(model)
                zero = ZeroRedundancyOptimizer(model.parameters(), GROKtimizer, interpolation=0.7, **options)
                return wrapped, zero

            wrapped, zero = fresh()
            train(wrapped, zero, halves(rank), cut, observer=zero.optim)
            zero.consolidate_state_dict(to=0)
            box: list[Any] = [copy.deepcopy(zero.state_dict()) if rank == 0 else None, parameters(wrapped)]
            dist.broadcast_object_list(box, src=0)
            train(wrapped, zero, halves(rank), STEPS - cut, observer=zero.optim)
            other, again = fresh()
            with torch.no_grad():
                torch.nn.utils.vector_to_parameters(box[1], other.parameters())
            again.load_state_dict(copy.deepcopy(box[0]))
            train(other, again, halves(rank), STEPS - cut, observer=again.optim)
            twin = network()
            plain = GROKtimizer(twin.parameters(), interpolation=0.7, process_group=False, **options)
            train(twin, plain, slice(None), STEPS)
            found[f"{name} {cut}"] = {
                "distance": distance(parameters(wrapped), parameters(twin)),
                "resumed": bool(torch.equal(parameters(other), parameters(wrapped))),
                "phase": again.optim.phase,
            }
    return found


@scenario
def apart(rank: int, _: str) -> Found:
    """Everything that torch.optim.Adam does without a hang: a probe on one rank, two models, uneven data, join."""
    found: Found = {}
    if rank == 0:
        model = network()
        train(model, optimizer(model), slice(None), 20)
    dist.barrier()
    model = network()
    opt = optimizer(model)
    train(model, opt, halves(rank), 20 + 7 * rank)
    found["levels"] = opt.state_dict()["param_groups"][0]["control"]["first_loss"]
    model = network()
    wrapped, opt = DistributedDataParallel(model), optimizer(model)
    with wrapped.join():
        train(wrapped, opt, halves(rank), 20 + 7 * rank)
    found["joined"] = opt.phase
    model = network()
    wrapped, opt = DistributedDataParallel(model), optimizer(model)
    inputs, targets = data()
    for _step in range(60):  # only rank 0 says what the loss is
        opt.zero_grad()
        loss = (wrapped(inputs[halves(rank)]) - targets[halves(rank)]).square().mean()
        loss.backward()
        if rank == 0:
            opt.observe(loss)
        opt.step()
    found["one observer"] = (opt.switch_step, float(parameters(model).sum()))
    return found


@scenario
def refused(rank: int, _: str) -> Found:
    found: Found = {}
    settings: tuple[tuple[str, dict[str, Any]], ...] = (
        ("columns", {"penalty": GroupL1("columns")}),
        ("nuclear", {"penalty": Nuclear()}),
        ("no group", {"process_group": False}),
        ("no such group", {"process_group": "all"}),
    )
    for name, options in settings:
        try:
            optimizer(sharded(), **options)
        except ValueError as error:
            found[name] = str(error)
    return found


def play(rank: int, folder: str, *scenarios: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    found: dict[str, Any] = {}
    for name in scenarios or (quick for quick in SCENARIOS if quick != SLOW):
        scene = SCENARIOS[name]
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                found[name] = scene(rank, folder) | {"warnings": sorted({str(each.message) for each in said})}
        except Exception:  # whatever it is: the tests that look at this scenario show it
            found[name] = {"error": traceback.format_exc()}
    torch.save(found, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    start_processes(play, tuple(sys.argv[1:]), nprocs=2, start_method="fork")
