"""One step with default arguments against PyTorch's own, on the parameter sets that the kernels differ most on.

The adaptive step is timed once numba is loaded, as it is in a run that is long enough to pay for it. The ratio is the
median over interleaved rounds, on one thread; gradients stay fixed, so a step is all there is to time.
"""

from collections.abc import Callable

import pytest
import torch
from measuring import SHAPES, Ratio, Table, interleaved, parameters
from pytest_benchmark.fixture import BenchmarkFixture
from torch.optim import SGD, Adam, AdamW, Optimizer
from typing_extensions import override

from groktimizer import GROKtimizer
from groktimizer.optim import updates

LR, DECAY = 1e-3, 1e-2
FOREVER = float("inf")  # interpolation level: phase 2 from the first step on

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
]


@pytest.fixture(autouse=True)
def numba_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "PAYS", 0.0)


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
