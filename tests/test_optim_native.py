"""The loop that numba compiles: threads, forks, NaN, what it leaves to others, and that autograd notices it."""

import multiprocessing
import os
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from groktimizer import GROKtimizer
from groktimizer.optim import native, updates

SCALARS = updates.Scalars(1e-2, 0.5, 0.9, beta2=0.98, correction=0.3)


def operands(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[list[Tensor]]:
    """Parameters, gradients, velocities and second moments."""
    generator = torch.Generator().manual_seed(5)
    columns = [[torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes] for _ in range(4)]
    return [[(part.abs() if i == 3 else part).to(dtype) for part in column] for i, column in enumerate(columns)]


def flat(columns: list[list[Tensor]]) -> list[Tensor]:
    return [part for column in columns for part in column]


def twice(columns: list[list[Tensor]], kernel: Any = native.advance) -> tuple[list[Tensor], list[Tensor]]:
    """Everything after a step of a kernel, and after one of foreach."""
    other = [[part.clone() for part in column] for column in columns]
    kernel(*columns, SCALARS)
    params, grads, velocities, moments = other
    updates.adaptive_step(params, grads, velocities, moments, SCALARS)
    return flat(columns), flat(other)


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit: rows of 64 are computed alike, whoever does it."""
    found: list[list[Tensor]] = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        columns = operands((200_003,), (70,), (13, 11))
        params, grads, velocities, moments = columns
        native.advance(params, grads, velocities, moments, SCALARS)
        found.append(flat(columns))
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("sizes", [(7, 3), (native.THREAD, 1, 2 * native.THREAD + 13, 5)])
def test_every_entry_moves_once_whatever_the_threads(
    threads: int, sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    ours, theirs = twice(operands(*((size,) for size in sizes)))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)


def test_float32_is_computed_in_float32() -> None:
    ours, theirs = twice(operands((33, 17), (5,), dtype=torch.float32))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=3e-6, atol=3e-7)


@pytest.mark.parametrize("place", [1, 2, 3])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_comes_through(place: int, bad: float) -> None:
    """The guard sees it in the loss; it must not be clipped away."""
    columns = operands((40,))
    columns[place][0][11] = bad
    ours, theirs = twice(columns)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13, equal_nan=True)


def test_other_strides_and_types_go_elsewhere() -> None:
    columns = operands((6, 4), (8,), (3, 3))
    columns[0][0] = columns[0][0].t().contiguous().t()
    columns[1][1] = torch.stack([columns[1][1], columns[1][1]], 1)[:, 0]
    for column in columns:
        column[2] = column[2].float()
    ours, theirs = twice(columns, updates.adaptive_native)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_autograd_notices_that_weights_have_moved() -> None:
    weight, factor = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))
    loss = (weight * factor).sum()
    native.advance([weight.detach()], [torch.ones(4)], [torch.zeros(4)], [torch.ones(4)], SCALARS)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_it_begins_when_loading_it_has_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(native, "advance", lambda *columns: calls.append(len(columns[0])))
    monkeypatch.setattr(updates, "PAYS", 25.0)
    weight = nn.Parameter(torch.tensor([0.1, -0.1, 0.1, -0.1, 0.1, -0.1]))
    opt = GROKtimizer([weight], lr=1e-3, weight_decay=0.1, interpolation=float("inf"))
    for _ in range(6):
        weight.grad = torch.ones(6)
        opt.step()
    assert calls == [1, 1]  # from 5 x 6 entries on


def _in_a_child(found: "multiprocessing.SimpleQueue[bool]") -> None:
    ours, theirs = twice(operands((4 * native.THREAD,)))
    found.put(all(torch.allclose(one, other) for one, other in zip(ours, theirs, strict=True)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_threads_are_made_again_in_a_forked_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    twice(operands((4 * native.THREAD,)))
    context = multiprocessing.get_context("fork")
    found = context.SimpleQueue()
    child = context.Process(target=_in_a_child, args=(found,))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert found.get()
