"""What the optimizer keeps alive: buffers per parameter in either phase, with and without the guard's snapshot.

Counted are the storages of all tensors reachable from Python, before the optimizer exists and after its steps, and, for
what Python cannot see, the resident memory of the process.
"""

import psutil
import pytest
import torch
from measuring import SHAPES, Ratio, Table, live_tensor_bytes, parameters
from pytest_benchmark.fixture import BenchmarkFixture
from torch.optim import Adam, Optimizer

from groktimizer import GROKtimizer

LARGE = SHAPES["6 tensors 2048x2048"]
MANY_STEPS = 2_000


def adam_base(groups: list[dict[str, object]]) -> Optimizer:
    return Adam(groups, lr=1e-4)


def into_phase_two(opt: GROKtimizer, extra_steps: int = 3) -> float:
    """Steps with a falling loss until the switch and a few more; returns the most bytes alive in phase 1."""
    loss, most = 1.0, 0
    for step in range(MANY_STEPS):
        opt.observe(torch.tensor(loss))
        opt.step()
        if opt.phase == 1 and step == 1:
            most = live_tensor_bytes()
        loss *= 0.8
        if opt.phase == 2:
            break
    assert opt.phase == 2, opt.status
    for _ in range(extra_steps):
        opt.observe(torch.tensor(loss))
        opt.step()
    return most


@pytest.mark.parametrize(("metric", "buffers"), [("euclidean", 1), ("adaptive", 2)])
@pytest.mark.parametrize("guard", [False, True], ids=["no-guard", "guard"])
def test_state_after_the_switch(benchmark: BenchmarkFixture, table: Table, metric: str, buffers: int, guard: bool):
    params = parameters(LARGE)
    own = sum(p.nbytes for p in params)
    before, resident = live_tensor_bytes(), psutil.Process().memory_info().rss
    opt = GROKtimizer(
        params, lr=1e-4, weight_decay=1e-3, metric=metric, interpolation=0.1, base=adam_base, guard=guard
    )
    phase_one = (into_phase_two(opt) - before) / own
    phase_two = (live_tensor_bytes() - before) / own
    resident_now = (psutil.Process().memory_info().rss - resident) / own
    benchmark.extra_info.update(phase_one=phase_one, phase_two=phase_two, resident=resident_now)
    benchmark.pedantic(opt.step, rounds=1)
    allowed = buffers + guard  # the snapshot is one more copy of the parameters
    label = f"{metric}, guard {'on' if guard else 'off'}"
    table.add(Ratio(f"{label}: state in phase 2 (phase 1: {phase_one:.2f})", phase_two, allowed + 0.01, "/param"))
    table.add(Ratio(f"{label}: resident memory gained", resident_now, allowed + 0.5, "/param"))
    table.add(Ratio(f"{label}: opt.state_bytes off by", abs(opt.state_bytes / own - phase_two), 0.01, "/param"))
