"""One step with default arguments against PyTorch's own, on the parameter sets that the kernels differ most on.

The adaptive step is timed once numba is loaded, or a row compiled, as in a run that is long enough to pay for it. The
ratio is the median over interleaved rounds, on one thread; gradients stay fixed, so a step is all there is to time. On
a GPU (`measuring`) the host may wait for it only where a loss is read.

What a run without any argument does beyond a step (losses read, the constraint moved, in the finish the curvature
probed, by three steps in twenty) is timed over whole twenties.
"""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from measuring import DEVICE, SHAPES, Ratio, Table, interleaved, parameters
from pytest_benchmark.fixture import BenchmarkFixture
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.profiler import ProfilerActivity, profile
from typing_extensions import override

from groktimizer import GROKtimizer
from groktimizer.optim import losses, updates

LR, DECAY = 1e-3, 1e-2
FOREVER = float("inf")  # interpolation level: phase 2 from the first step on
LEVEL, TWENTY = 0.02, 20
FIRST = """
import time, torch, groktimizer
params = [torch.randn(64, 64, requires_grad=True) for _ in range(400)]
for param in params:
    param.grad = torch.randn(64, 64)
opt = groktimizer.GROKtimizer(params, interpolation=INTERPOLATION)
start = time.perf_counter()
opt.observe(1.0)
opt.step()
print(time.perf_counter() - start)
"""

WAITING: dict[str, dict[str, Any]] = {
    "phase 1": {"interpolation": 1e-9},
    "adaptive": {},
    "adaptive compiled": {"compiled": True},
    "euclidean": {"metric": "euclidean"},
}
WAITS = ("cudaStreamSynchronize", "cudaEventSynchronize", "cudaMemcpy")  # the profiler itself waits for the device

Make = Callable[[list[torch.Tensor]], Optimizer]


def euclidean(params: list[torch.Tensor]) -> Optimizer:
    return GROKtimizer(params, lr=LR, weight_decay=DECAY, metric="euclidean", interpolation=FOREVER)


class Fitting(GROKtimizer):
    """Phase 1, which is told a loss."""

    @override
    def step(self, closure: Callable[[], object] | None = None) -> None:
        self.observe(1.0)
        super().step(closure)


def phase_one(params: list[torch.Tensor]) -> Optimizer:
    return Fitting(params, lr=LR, weight_decay=DECAY)


class Untuned(GROKtimizer):
    """Twenty steps without any argument but the level, in the excursion or in the finish by the losses it is told."""

    def __init__(self, params: list[torch.Tensor], *, finish: bool) -> None:
        for param in params:
            param.data.div_((3.0 * param.shape[-1]) ** 0.5)  # spread as nn.Linear begins: their steps follow from it
        super().__init__(params, interpolation=LEVEL)
        while self.phase == 1 or (finish and self._control.finish_step < 0):
            self._told(LEVEL / 2)
        for _ in range(0 if finish else TWENTY):
            self._told(2 * LEVEL)
        self.finish, self.level_told = finish, LEVEL if finish else 1.001 * LEVEL  # from above: it ends below the level

    def _told(self, loss: float) -> None:
        self.observe(loss)
        super().step()

    @override
    def step(self, closure: Callable[[], object] | None = None) -> None:
        for _ in range(TWENTY):
            self._told(self.level_told)
        assert (self._control.finish_step >= 0) is self.finish


class Twenty(AdamW):
    """As many of AdamW's."""

    @override
    def step(self, closure: Callable[[], object] | None = None) -> None:
        for _ in range(TWENTY):
            super().step()


def excursion(params: list[torch.Tensor]) -> Optimizer:
    return Untuned(params, finish=False)


def finish(params: list[torch.Tensor]) -> Optimizer:
    if params[0].element_size() < 4:
        pytest.skip("parameters of 16 bits have no finish")
    return Untuned(params, finish=True)


def twenty_fused(params: list[torch.Tensor]) -> Optimizer:
    return Twenty(params, lr=LR, weight_decay=DECAY, fused=True)


def adam_fused(params: list[torch.Tensor]) -> Optimizer:
    return Adam(params, lr=LR, fused=True)


def adaptive(params: list[torch.Tensor]) -> Optimizer:
    return GROKtimizer(params, lr=LR, weight_decay=DECAY, interpolation=FOREVER)


def adaptive_foreach(params: list[torch.Tensor]) -> Optimizer:
    return GROKtimizer(params, lr=LR, weight_decay=DECAY, interpolation=FOREVER, foreach=True)


def adaptive_compiled(params: list[torch.Tensor]) -> Optimizer:
    return GROKtimizer(params, lr=LR, weight_decay=DECAY, interpolation=FOREVER, compiled=True)


def sgd_fused(params: list[torch.Tensor]) -> Optimizer:
    return SGD(params, lr=LR, momentum=(1 - (LR * DECAY) ** 0.5) ** 2, weight_decay=DECAY, fused=True)


def adamw_fused(params: list[torch.Tensor]) -> Optimizer:
    return AdamW(params, lr=LR, weight_decay=DECAY, fused=True)


def adamw_foreach(params: list[torch.Tensor]) -> Optimizer:
    return AdamW(params, lr=LR, weight_decay=DECAY, foreach=True)


# name, ours, theirs, target on the large sets, target on the five small tensors (all overhead there)
DUELS: list[tuple[str, Make, Make, float, float]] = [
    ("euclidean / SGD fused", euclidean, sgd_fused, 1.10, 1.5),
    ("euclidean / AdamW fused", euclidean, adamw_fused, 0.85, 0.85),
    ("phase 1 / Adam fused", phase_one, adam_fused, 1.10, 1.5),
    ("adaptive / AdamW fused", adaptive, adamw_fused, 1.3, 1.3),
    ("adaptive foreach / AdamW foreach", adaptive_foreach, adamw_foreach, 1.1, 1.1),
    ("adaptive compiled / AdamW fused", adaptive_compiled, adamw_fused, 1.3, 1.3),
    ("untuned, excursion / AdamW fused", excursion, twenty_fused, 1.3, 1.3),
    ("untuned, finish / AdamW fused", finish, twenty_fused, 1.3, 1.3),
]


@pytest.fixture(autouse=True)
def compilers_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "PAYS", 0.0)
    monkeypatch.setattr(updates, "PAYS_ON_DEVICE", 0.0)


@pytest.mark.filterwarnings("ignore:GROKtimizer. never interpolated")
@pytest.mark.parametrize("shapes", SHAPES, ids=lambda name: name.replace(" ", "-"))
@pytest.mark.parametrize(("name", "ours", "theirs", "target", "small"), DUELS, ids=[duel[0] for duel in DUELS])
def test_step(
    benchmark: BenchmarkFixture,
    table: Table,
    shapes: str,
    name: str,
    ours: Make,
    theirs: Make,
    target: float,
    small: float,
):
    torch.compiler.reset()
    mine, other = ours(parameters(SHAPES[shapes])), theirs(parameters(SHAPES[shapes]))
    ratio, seconds, _ = interleaved(mine.step, other.step)
    benchmark.extra_info["ratio"] = ratio
    benchmark.pedantic(mine.step, rounds=5, warmup_rounds=1)
    limit = small if shapes.startswith("5 ") else target
    table.add(Ratio(f"{name}, {shapes} ({seconds * 1e6:.0f} us)", ratio, limit))
    assert all(p.isfinite().all() for group in mine.param_groups for p in group["params"])


@pytest.mark.parametrize("phase", [1, 2])
def test_the_first_step_takes_less_than_a_second(table: Table, phase: int) -> None:
    """Of a new process, with default arguments: nothing is compiled for it."""
    code = FIRST.replace("INTERPOLATION", "None" if phase == 1 else "float('inf')")
    seconds = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(3)]
    table.add(Ratio(f"first step of a process, phase {phase}, 400 tensors 64x64", min(seconds), 1.0, "s"))


@pytest.mark.skipif(DEVICE.type != "cuda", reason="GROKTIMIZER_BENCH_DEVICE is no GPU")
@pytest.mark.filterwarnings("ignore:GROKtimizer. never interpolated")
@pytest.mark.parametrize("kind", WAITING)
def test_how_often_the_host_waits(table: Table, kind: str):
    given: dict[str, Any] = {"lr": LR, "weight_decay": DECAY, "interpolation": FOREVER}  # no curvature is measured
    opt = GROKtimizer(parameters(SHAPES["5 tensors of the MLP"]), **(given | WAITING[kind]))
    loss = torch.ones((), device=DEVICE)
    for _ in range(2 * losses.DEVICE_POLL):
        opt.observe(loss)
        opt.step()
    steps = 10 * losses.DEVICE_POLL
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        for _ in range(steps):
            opt.observe(loss)
            opt.step()
    waits = sum(event.count for event in found.key_averages() if event.key in WAITS)
    table.add(Ratio(f"{kind}: waits for the GPU, a step", waits / steps, 1 / losses.DEVICE_POLL, ""))
    assert waits <= steps / losses.DEVICE_POLL
