"""How two programs are timed against each other here: in one process, turn by turn, on one thread.

Tensors are float32 on the CPU, or what GROKTIMIZER_BENCH_DEVICE and GROKTIMIZER_BENCH_DTYPE say.
"""

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

DEVICE = torch.device(os.environ.get("GROKTIMIZER_BENCH_DEVICE", "cpu"))
DTYPE: torch.dtype = getattr(torch, os.environ.get("GROKTIMIZER_BENCH_DTYPE", "float32"))
SHAPES: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "5 tensors of the MLP": ((97, 128), (128, 128), (128,), (97, 128), (97,)),
    "400 tensors 64x64": ((64, 64),) * 400,
    "6 tensors 2048x2048": ((2048, 2048),) * 6,
}


@dataclass(frozen=True)
class Ratio:
    """One line of the closing table: a measured value, its unit, and the target it must stay on one side of."""

    what: str
    value: float
    target: float
    unit: str = "x"
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the value is on the target's side."""
        return self.value >= self.target if self.at_least else self.value <= self.target

    def line(self) -> str:
        """The row as text."""
        sign, verdict = ">=" if self.at_least else "<=", "met" if self.met else "MISSED"
        return f"{self.what:<72} {self.value:9.3f} {self.unit:<8} {sign} {self.target:<6g} {verdict}"


@dataclass
class Table:
    """The ratios of one benchmark session, each beside the name of its test."""

    rows: list[tuple[str, Ratio]] = field(default_factory=list[tuple[str, Ratio]])
    test: str = ""

    def add(self, row: Ratio) -> None:
        """Append a row of the test that runs."""
        self.rows.append((self.test, row))


def seconds_of(call: Callable[[], object], repeats: int) -> float:
    """Seconds per call over `repeats` calls in a row, until a GPU has done them."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / repeats


def interleaved(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int = 41
) -> tuple[float, float, float]:
    """Time two calls turn by turn, so that a busy machine slows both.

    Args:
        ours: The numerator.
        theirs: The denominator.
        rounds: Pairs of measurements; the order within the pair alternates.

    Returns:
        Median over the rounds of the ratio ours/theirs, and the two median times in seconds.
    """
    for call in (ours, theirs):
        seconds_of(call, 5)
    repeats = max(1, min(200, round(4e-3 / seconds_of(theirs, 3))))
    pairs: list[tuple[float, float]] = []
    gc.collect()
    gc.disable()
    for turn in range(rounds):
        if turn % 2:
            second = seconds_of(theirs, repeats)
            pairs.append((seconds_of(ours, repeats), second))
        else:
            pairs.append((seconds_of(ours, repeats), seconds_of(theirs, repeats)))
    gc.enable()
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    return statistics.median(a / b for a, b in pairs), mine, other


def parameters(shapes: tuple[tuple[int, ...], ...]) -> list[Tensor]:
    """Parameters of the given shapes with gradients of Adam-like size, the same for every caller."""
    generator = torch.Generator().manual_seed(0)
    made: list[Tensor] = []
    for shape in shapes:
        param = torch.randn(shape, generator=generator).mul_(0.1).to(DEVICE, DTYPE).requires_grad_()
        param.grad = torch.randn(shape, generator=generator).mul_(0.01).to(DEVICE, DTYPE)
        made.append(param)
    return made


def live_tensor_bytes() -> int:
    """Bytes of all storages that a Python tensor of this process keeps alive, each storage counted once."""
    gc.collect()
    return sum(dict(_storages()).values())


def _storages() -> Iterator[tuple[int, int]]:
    for thing in gc.get_objects():
        if issubclass(type(thing), Tensor):
            storage = thing.untyped_storage()
            yield storage.data_ptr(), storage.nbytes()
