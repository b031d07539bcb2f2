"""One table of GROKtimizer settings, and the small problem they are all run on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from groktimizer import L1, Elastic, GROKtimizer

INF = float("inf")
# What it warns of is tested in test_optim_says.py; here it is what the test is about.
LEFT = pytest.mark.filterwarnings("ignore:GROKtimizer")


def adamw_base(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=5e-3, betas=(0.9, 0.95), weight_decay=0.0)


def sgd_base(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=0.2, momentum=0.9)


@dataclass(frozen=True)
class Case:
    """A setting, and whether it switches within 150 steps of `Problem`."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    switches: bool = True

    def __str__(self) -> str:
        return self.name


CASES = (
    Case("adaptive-untuned", {"interpolation": 0.2}),
    Case("adaptive-given", {"lr": 1e-3, "weight_decay": 0.5, "interpolation": 0.2}),
    Case("adaptive-at-once", {"interpolation": INF}),
    Case("adaptive-loop", {"interpolation": 0.2, "foreach": False}),
    Case("adaptive-foreach", {"interpolation": 0.2, "foreach": True}),
    Case("adaptive-no-guard", {"interpolation": 0.2, "guard": False}),
    Case("adaptive-adamw-base", {"interpolation": 0.2, "base": adamw_base}),
    Case("adaptive-sgd-base", {"interpolation": 0.2, "base": sgd_base}),
    Case("adaptive-overdamped", {"interpolation": 0.2, "damping": 1.3}),
    Case("adaptive-polled", {"interpolation": 0.2, "poll": 7}),
    Case("adaptive-never", {"interpolation": 1e-12}, switches=False),
    Case("euclidean-given", {"metric": "euclidean", "lr": 0.1, "weight_decay": 1e-3, "interpolation": 0.2}),
    Case("euclidean-untuned", {"metric": "euclidean", "interpolation": 0.2}),
    Case("euclidean-at-once", {"metric": "euclidean", "lr": 0.1, "weight_decay": 1e-3, "interpolation": INF}),
    Case(
        "euclidean-fused", {"metric": "euclidean", "lr": 0.1, "weight_decay": 1e-3, "interpolation": 0.2, "fused": True}
    ),
    Case(
        "euclidean-foreach",
        {"metric": "euclidean", "lr": 0.1, "weight_decay": 1e-3, "interpolation": 0.2, "foreach": True},
    ),
    Case(
        "euclidean-underdamped",
        {"metric": "euclidean", "lr": 0.1, "weight_decay": 1e-3, "interpolation": INF, "damping": 0.5},
    ),
    Case(
        "euclidean-sgd-base",
        {"metric": "euclidean", "lr": 0.1, "weight_decay": 1e-3, "interpolation": 0.2, "base": sgd_base},
    ),
    Case("adaptive-l1-untuned", {"interpolation": 0.2, "penalty": L1()}),
    Case(
        "adaptive-elastic-given",
        {"lr": 1e-3, "weight_decay": 1e-3, "interpolation": 0.2, "penalty": Elastic(L1(), 0.5)},
    ),
    Case(
        "euclidean-l1-given",
        {"metric": "euclidean", "lr": 0.1, "weight_decay": 1e-3, "interpolation": 0.2, "penalty": L1()},
    ),
    Case("euclidean-l1-untuned", {"metric": "euclidean", "interpolation": 0.2, "penalty": L1()}),
)


class Problem:
    """Twelve points, a tanh network of 6 hidden units, squared error: it interpolates in some 60 steps of Adam."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        generator = torch.Generator().manual_seed(3)
        draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731 (a local name)
        self.inputs = draw(12, 4).to(dtype)
        self.targets = draw(12, 1).to(dtype)
        self.params = [
            nn.Parameter(tensor.to(dtype)) for tensor in (draw(6, 4), 0.1 * draw(6), draw(1, 6), 0.1 * draw(1))
        ]

    def loss(self) -> Tensor:
        first, bias, second, offset = self.params
        hidden = torch.tanh(self.inputs @ first.T + bias)
        return (hidden @ second.T + offset - self.targets).square().mean()

    def closure(self) -> Any:
        for param in self.params:
            param.grad = None
        loss = self.loss()
        loss.backward()
        return loss

    def optimizer(self, options: dict[str, Any]) -> GROKtimizer:
        return GROKtimizer(self.params, **options)

    def values(self) -> list[Tensor]:
        return [param.detach().clone() for param in self.params]


def run(problem: Problem, step: Callable[[], object], steps: int) -> list[list[Tensor]]:
    trajectory = []
    for _ in range(steps):
        step()
        trajectory.append(problem.values())
    return trajectory


def equal(left: list[Tensor], right: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def same_bits(one: Any, two: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same_bits(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(same_bits, one, two))
    return one == two or repr(one) == repr(two) == "nan"  # of what is not known yet


def rank_of_two(rank: int, address: str, queue: Any) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    problem = Problem()
    opt = problem.optimizer({"interpolation": 0.2, "process_group": torch.distributed.group.WORLD})
    for _ in range(120):
        loss = problem.closure()
        opt.observe(loss * (0.5 if rank == 0 else 1.5))  # each rank sees another share of the data
        opt.step()
    queue.put((opt.switch_step, [value.tolist() for value in problem.values()]))
    torch.distributed.destroy_process_group()
