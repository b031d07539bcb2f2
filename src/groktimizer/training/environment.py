"""What surrounds a run: precision, threads, randomness, interruption, and what it cost."""

import contextlib
import math
import signal
import sys
import threading
import time
import warnings
from collections.abc import Generator, Mapping
from types import FrameType
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.optim import Optimizer

from groktimizer.ground.checks import whole
from groktimizer.ground.errors import UserError
from groktimizer.ground.seeds import derive_seed

PRECISIONS: Mapping[str, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.float32,
    "fp64": torch.float64,
}
KIBIBYTE = 1024
IMPATIENCE = 1.0
ENDINGS = [number for number in signal.Signals if number.name in {"SIGINT", "SIGTERM", "SIGHUP"}]


@runtime_checkable
class Phased(Protocol):
    """An optimizer with two phases that speaks of itself."""

    phase: int
    switch_step: int | None
    status: str


@runtime_checkable
class Weighed(Protocol):
    """An optimizer that knows the size of its state."""

    state_bytes: int


class _Named(Protocol):
    """A penalty, as far as it is asked for its name."""

    @property
    def name(self) -> str: ...


@runtime_checkable
class Penalised(Protocol):
    """An optimizer on ``loss + weight * penalty``."""

    penalty: _Named
    weight: float


@runtime_checkable
class Averaging(Protocol):
    """An optimizer that steps from other weights than it offers: `eval` puts those in place, `train` the former."""

    def eval(self) -> None:
        """Put the weights in place that are to be used."""
        ...

    def train(self) -> None:
        """Put the weights in place from which the next step goes."""
        ...


def resolve_device(device: str | torch.device) -> torch.device:
    """Check that a device exists here.

    Args:
        device: Such as "cpu", "cuda", "cuda:1" or "mps".

    Returns:
        The device.

    Raises:
        UserError: If PyTorch does not know it or it is not available.
    """
    try:
        place = torch.device(device)
        torch.ones(1, device=place).item()  # "meta" holds no numbers
        return place
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).partition("\n")[0].partition(". ")[0][:120]
        raise UserError(f"device={str(device)!r}: not available here ({reason}), expected cpu, cuda, mps …") from error


@contextlib.contextmanager
def surroundings(threads: int | None, seed: int, device: torch.device) -> Generator[None, None, None]:
    """Fix threads and the global random state, flush subnormal numbers to zero, and put all back afterwards.

    What GROKtimizer warns of stands in its status, and that in the run: here the warnings are not shown.

    Directions that only decay acts on shrink until they are subnormal, where a CPU computes a hundred times slower.

    Args:
        threads: Threads of one operation, None to leave them.
        seed: Seed of the run.
        device: Where the run takes place.

    Yields:
        Nothing.

    Raises:
        UserError: If threads is not a whole number ≥ 1.
    """
    if threads is not None:
        whole("threads", threads, 1, 2**15 - 1, also="or None")
    before = torch.get_num_threads()
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        warnings.filterwarnings("ignore", message="GROKtimizer: ")
        torch.manual_seed(derive_seed(seed, "global"))
        try:
            if threads is not None:
                torch.set_num_threads(threads)
            torch.set_flush_denormal(True)
            yield
        finally:
            torch.set_flush_denormal(False)  # torch's default; it cannot be asked for
            torch.set_num_threads(before)


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Give the context of a forward pass.

    Args:
        precision: "fp32", "bf16" or "fp64".
        device: Where it takes place.

    Returns:
        bf16 autocast, or nothing.
    """
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()


class Interrupt:
    """Whether the user or the system has asked to stop, and when."""

    def __init__(self) -> None:
        self.requested = False
        self.at = 0.0


@contextlib.contextmanager
def interruptible() -> Generator[Interrupt, None, None]:
    """Turn the first Ctrl-C into a request that the loop sees after its step; one more, a second later, acts at once.

    Within that second it is taken for the same one, which a terminal and a launcher may both deliver. SIGTERM and
    SIGHUP are requests too where a Python function handles them, as on the command line; where they would end the
    process or are ignored they do so still. Outside the main thread, where Python delivers no signals, all are left
    as they are.

    Yields:
        The request.
    """
    request = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in ENDINGS}
    before = {number: kept for number, kept in before.items() if number == signal.SIGINT or callable(kept)}

    def note(number: int, _frame: FrameType | None) -> None:
        if not request.requested:
            request.requested, request.at = True, time.monotonic()
        elif time.monotonic() - request.at >= IMPATIENCE:
            signal.signal(number, before[signal.Signals(number)])
            signal.raise_signal(number)

    for number in before:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number, kept in before.items():
            signal.signal(number, kept)


def _tensor_bytes(value: object) -> int:
    """Add up the tensors in nested containers.

    Args:
        value: Anything.

    Returns:
        Bytes of all tensors in it.
    """
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Mapping):
        return sum(map(_tensor_bytes, value.values()))
    return sum(map(_tensor_bytes, value)) if isinstance(value, (list, tuple)) else 0


def state_bytes(optimizer: Optimizer) -> int:
    """Weigh the state of an optimizer.

    Args:
        optimizer: Any; if it offers `state_bytes` (which then counts its snapshots too), that is believed.

    Returns:
        Bytes of all tensors in its state.
    """
    return int(optimizer.state_bytes) if isinstance(optimizer, Weighed) else _tensor_bytes(optimizer.state)


def peak_memory_bytes(device: torch.device) -> int:
    """Read the high-water mark of memory.

    Args:
        device: Where the run took place.

    Returns:
        On CUDA the largest allocation of the device, elsewhere the largest resident set of this process since it
        started; 0 where the system does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource  # does not exist on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * KIBIBYTE


def phase_of(optimizer: Optimizer) -> int:
    """Read the phase of an optimizer.

    Args:
        optimizer: Any.

    Returns:
        1 or 2; 0 if it has no phases.
    """
    return int(optimizer.phase) if isinstance(optimizer, Phased) else 0


def penalty_of(optimizer: Optimizer) -> str:
    """Read what an optimizer minimises beside the loss.

    Args:
        optimizer: Any.

    Returns:
        The penalty's name; empty if there is none or it is not said.
    """
    return optimizer.penalty.name if isinstance(optimizer, Penalised) and optimizer.weight > 0 else ""


@contextlib.contextmanager
def offered(optimizer: Optimizer) -> Generator[None]:
    """Put the weights in place that an optimizer offers, and those from which it steps back to the bit.

    So that what is looked at, and how often, has no influence on a run.

    Args:
        optimizer: Any; most offer the weights from which they step.

    Yields:
        Nothing.
    """
    if not isinstance(optimizer, Averaging):
        yield
        return
    params = [param for group in optimizer.param_groups for param in group["params"]]
    kept = [param.detach().clone() for param in params]
    optimizer.eval()
    try:
        yield
    finally:
        optimizer.train()
        with torch.no_grad():
            for param, value in zip(params, kept, strict=True):
                param.copy_(value)


def check_start(metrics: Mapping[str, float], dtype: torch.dtype) -> None:
    """Refuse to train from a loss that is not finite.

    Args:
        metrics: First evaluation.
        dtype: Type of the parameters.

    Raises:
        UserError: If the training loss is not finite.
    """
    loss = metrics["train_loss"]
    if not math.isfinite(loss):
        finer = "" if dtype == torch.float64 else " or precision='fp64'"
        raise UserError(
            f"train_loss={loss} at step 0: the data hold non-finite values or the initial network overflows "
            f"{str(dtype).removeprefix('torch.')}; check the data, use a smaller initialisation{finer}"
        )
