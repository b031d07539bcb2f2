"""What is taken on a GPU, as far as it can be told without one."""

from typing import Any

import pytest
import torch

from groktimizer.optim import phase_one, updates
from test_optim_native import operands, twice

LONG = 11


@pytest.mark.parametrize("compiles", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_large_tensors_are_compiled_for_and_the_others_take_the_same_step(
    monkeypatch: pytest.MonkeyPatch, compiles: bool
) -> None:
    """A row that is too short, one that is not, a matrix, and one with other strides."""
    monkeypatch.setattr(updates, "LARGE", LONG)
    compiled, sizes = updates.adaptive_compiled if compiles else updates.adaptive_loop, list[int]()

    def note(*columns: Any) -> None:
        sizes.extend(param.numel() for param in columns[0])
        compiled(*columns)

    monkeypatch.setattr(updates, "adaptive_compiled", note)
    columns = operands((LONG,), (LONG + 1,), (5, 7), (4, 6))
    columns[0][3] = columns[0][3].t().contiguous().t()
    ours, theirs = twice(columns, updates.adaptive_on_device)
    assert sizes == [LONG + 1, 35]
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("device", "moved", "compiler", "kernel"),
    [
        ("cuda", 2e11, True, updates.adaptive_on_device),
        ("cuda", 1.9e11, True, updates.adaptive_step),
        ("cuda", 1e12, False, updates.adaptive_step),
        ("mps", 1e12, True, updates.adaptive_step),
    ],
)
def test_the_compiler_begins_when_it_has_paid(
    monkeypatch: pytest.MonkeyPatch, device: str, moved: float, compiler: bool, kernel: Any
) -> None:
    monkeypatch.setattr(updates, "_compiles", lambda: compiler)
    assert updates.choose(foreach=None, compiled=False, device=torch.device(device), moved=moved) is kernel


def test_a_compiler_is_triton_and_one_for_c(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[bool] = []
    for triton, own in ((True, "sh"), (True, "no-such-compiler"), (False, "sh")):
        monkeypatch.setattr(updates, "find_spec", lambda _, there=triton: there or None)
        monkeypatch.setenv("CC", own)
        updates._compiles.cache_clear()
        found.append(updates._compiles())
    updates._compiles.cache_clear()
    assert found == [True, False, False]


@pytest.mark.parametrize(("device", "dtype", "flat"), [("cpu", "bfloat16", False), ("cpu", "float32", True)])
def test_which_tensors_pytorchs_fused_kernels_take(device: str, dtype: str, flat: bool) -> None:
    assert updates.flat([torch.ones(3, dtype=getattr(torch, dtype), device=device)]) is flat


def test_the_fused_kernel_counts_where_the_parameters_are() -> None:
    param = torch.nn.Parameter(torch.empty(3, device="meta"))
    state: dict[Any, Any] = {param: {"step": torch.tensor(7.0)}}
    phase_one.lanes({"params": [param], "lr": 0.1, "fused": True}, [1.0], state)
    assert state[param]["step"].device.type == "meta"
