"""What the optimizer keeps alive: buffers per parameter in either phase, with and without the guard's snapshot.

Counted are the storages of all tensors reachable from Python, before the optimizer exists and after its steps, and, for
what Python cannot see, the resident memory of the process: each case in an interpreter of its own, since memory that an
earlier case gave back to the allocator would hide what a later one takes, and after the allocator has given its free
pages back to the system (on Linux), since what it caches is not the optimizer's.
"""

import ctypes
import gc
import json
import subprocess
import sys
from typing import Any

import psutil
import pytest
import torch
from measuring import SHAPES, Ratio, Table, live_tensor_bytes, parameters
from pytest_benchmark.fixture import BenchmarkFixture
from torch.optim import Adam, Optimizer

from groktimizer import GROKtimizer

LARGE = SHAPES["6 tensors 2048x2048"]
MANY_STEPS = 200


def adam_base(groups: list[dict[str, Any]]) -> Optimizer:
    return Adam(groups, lr=1e-4)


def optimizer(params: list[torch.Tensor], metric: str, *, guard: bool) -> GROKtimizer:
    return GROKtimizer(
        params,
        lr=1e-4,
        weight_decay=1e-3,
        metric="adaptive" if metric == "adaptive" else "euclidean",
        interpolation=0.1,
        base=adam_base,
        guard=guard,
    )


def through_the_switch(opt: GROKtimizer) -> int:
    """Step with a falling loss into phase 2 and three steps on; returns the bytes alive in phase 1."""
    loss, before_switch = 1.0, 0
    for _ in range(MANY_STEPS):
        opt.observe(torch.tensor(loss))
        opt.step()
        if opt.phase == 1:
            before_switch = live_tensor_bytes()
        elif opt.switch_step is not None and loss < 1e-3:
            return before_switch
        loss *= 0.6
    raise AssertionError(f"no switch in {MANY_STEPS} steps: {opt.status}")


def resident_bytes() -> int:
    """Resident memory of this process, free pages of glibc's allocator given back first."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    return psutil.Process().memory_info().rss


def measure(metric: str, *, guard: bool) -> dict[str, float]:
    """Memory in units of the parameters' own size."""
    through_the_switch(optimizer(parameters(((8, 8),)), metric, guard=guard))  # whatever is imported on first use
    params = parameters(LARGE)
    own = sum(p.nbytes for p in params)
    before, resident = live_tensor_bytes(), resident_bytes()
    opt = optimizer(params, metric, guard=guard)
    phase_one = through_the_switch(opt)
    return {
        "phase 1": (phase_one - before) / own,
        "phase 2": (live_tensor_bytes() - before) / own,
        "resident": (resident_bytes() - resident) / own,
        "reported": opt.state_bytes / own,
    }


def in_its_own_process(metric: str, *, guard: bool) -> dict[str, float]:
    """`measure` in a fresh interpreter."""
    command = [sys.executable, __file__, metric, "guard" if guard else "no-guard"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize(("metric", "buffers"), [("euclidean", 1), ("adaptive", 2)])
@pytest.mark.parametrize("guard", [False, True], ids=["no-guard", "guard"])
def test_state_after_the_switch(benchmark: BenchmarkFixture, table: Table, metric: str, buffers: int, guard: bool):
    found: dict[str, float] = benchmark.pedantic(in_its_own_process, args=(metric,), kwargs={"guard": guard}, rounds=1)
    benchmark.extra_info.update(found)
    allowed = buffers + guard  # the snapshot is one more copy of the parameters
    label = f"{metric}, guard {'on' if guard else 'off'}"
    state = f"{label}: state in phase 2 (phase 1: {found['phase 1']:.2f})"
    table.add(Ratio(state, found["phase 2"], allowed + 0.01, "/param"))
    table.add(Ratio(f"{label}: resident memory gained", found["resident"], allowed + 0.1, "/param"))
    table.add(Ratio(f"{label}: opt.state_bytes off by", abs(found["reported"] - found["phase 2"]), 0.01, "/param"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.write(json.dumps(measure(sys.argv[1], guard=sys.argv[2] == "guard")))
