"""Mini-batches: when phase 2 begins, what it does to the test accuracy, and phase 1 where phase 2 never comes.

Each row is a mean over seeds against a target. GROKTIMIZER_BENCH_SEEDS sets how many (default 10);
`python benchmarks/bench_minibatch.py switch 4` prints one part of the table with 4 seeds, run by run.
"""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from statistics import mean, stdev
from typing import Any

import pytest
import torch
from measuring import Ratio, Table
from sklearn.datasets import load_breast_cancer, load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import AdamW, Optimizer

from groktimizer import GROKtimizer, param_groups

pytestmark = pytest.mark.filterwarnings("ignore:GROKtimizer")  # of what is counted here
SEEDS = range(int(os.environ.get("GROKTIMIZER_BENCH_SEEDS", "10")))
SIZES = (64, 16, 4, 2, 1)
SHARE = 0.02  # the default level, of the loss before training
T95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)  # two-sided 95 % of Student's t, 1 to 9 degrees

Sample = tuple[Tensor, Tensor]


@cache
def samples(name: str) -> Sample:
    """Standardised features and labels of a set of scikit-learn's."""
    data: Any = load_digits() if name == "digits" else load_breast_cancer()
    features = (data.data - data.data.mean(0)) / (data.data.std(0) + 1e-6)
    return torch.tensor(features, dtype=torch.float32), torch.tensor(data.target)


def halves(seed: int, wrong: float = 0.0) -> tuple[Sample, Sample]:
    """Digits: 1,437 to train on, a share of them with wrong labels, and 360 to test."""
    features, labels = samples("digits")
    generator = torch.Generator().manual_seed(500 + seed)
    order = torch.randperm(len(features), generator=generator)
    train, test = order[:1437], order[1437:]
    given = labels[train].clone()
    chosen = torch.rand(len(given), generator=generator) < wrong
    given[chosen] = (given[chosen] + torch.randint(1, 10, (int(chosen.sum()),), generator=generator)) % 10
    return (features[train], given), (features[test], labels[test])


def mlp(name: str, seed: int) -> nn.Module:
    """64 or 30 features, 128 hidden units, as many outputs as classes."""
    features, labels = samples(name)
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(features.shape[1], 128), nn.ReLU(), nn.Linear(128, int(labels.max()) + 1))


def cnn(seed: int) -> nn.Module:
    """Two convolutions with BatchNorm on the 8 x 8 images."""
    torch.manual_seed(seed)
    first = [nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)]
    return nn.Sequential(*first, *second)


def steps(model: nn.Module, opt: Optimizer, sample: Sample, size: int, epochs: float, seed: int) -> Iterator[float]:
    """Train; yield the epochs done before each step, with its gradients ready and its loss observed."""
    features, labels = sample
    generator, done = torch.Generator().manual_seed(100 + seed), 0
    while done < epochs * len(features):
        for chosen in torch.randperm(len(features), generator=generator).split(size):
            if len(chosen) == 1 < size:
                continue  # BatchNorm has no variance then
            opt.zero_grad()
            loss = cross_entropy(model(features[chosen]), labels[chosen])
            loss.backward()
            if isinstance(opt, GROKtimizer):
                opt.observe(loss)
            yield done / len(features)
            opt.step()
            done += len(chosen)


@torch.no_grad()
def loss_of(model: nn.Module, sample: Sample) -> float:
    """Training loss of all samples."""
    return float(cross_entropy(model(sample[0]), sample[1]))


def epochs_of_adamw(name: str, size: int, seed: int) -> float:
    """Epochs until AdamW, lr 1e-3, has the whole training loss below the level; looked at ten times an epoch."""
    sample, model = samples(name), mlp(name, seed)
    level, look = SHARE * loss_of(model, sample), max(1, len(sample[0]) // size // 10)
    opt = AdamW(model.parameters(), lr=1e-3, fused=True)
    for count, epoch in enumerate(steps(model, opt, sample, size, 200, seed)):
        if count % look == 0 and loss_of(model, sample) < level:
            return epoch
    return float("inf")


def switch(name: str, size: int, seed: int) -> tuple[float, float]:
    """Epochs to phase 2 over those of AdamW, and the training loss there in units of the level."""
    theirs = epochs_of_adamw(name, size, seed)
    sample, model = samples(name), mlp(name, seed)
    level, opt = SHARE * loss_of(model, sample), GROKtimizer(param_groups(model))
    for epoch in steps(model, opt, sample, size, 3.5 * theirs, seed):
        if opt.phase == 2:  # one step ago
            return epoch / theirs, loss_of(model, sample) / level
    return float("inf"), float("inf")


@dataclass(frozen=True)
class End:
    """How a run of training ended."""

    accuracy: float
    rollbacks: int


def train(model: nn.Module, opt: Optimizer, seed: int, size: int, epochs: float, wrong: float = 0.0) -> End:
    """Train on digits to the end; test accuracy there in per cent."""
    sample, (features, labels) = halves(seed, wrong)
    with warnings.catch_warnings():  # wrong labels, and a level of 1e-30, are never reached, as the optimizer says
        warnings.filterwarnings("ignore", "GROKtimizer: never interpolated")
        for _ in steps(model, opt, sample, size, epochs, seed):
            pass
    model.eval()
    with torch.no_grad():
        hits = float((model(features).argmax(1) == labels).float().mean())
    control = opt.state_dict()["param_groups"][0].get("control", {})
    return End(100.0 * hits, control.get("rollbacks", 0))


def against_phase_one(build: Callable[[int], nn.Module], size: int, epochs: float, seed: int) -> tuple[float, int]:
    """Points of test accuracy gained over phase 1 alone, and rollbacks."""
    model, alone = build(seed), build(seed)
    both = train(model, GROKtimizer(param_groups(model)), seed, size, epochs)
    one = train(alone, GROKtimizer(param_groups(alone), interpolation=1e-30), seed, size, epochs)
    return both.accuracy - one.accuracy, both.rollbacks


def wrong_labels(seed: int) -> float:
    """20 % wrong labels, batches of 64, 60 epochs: points of test accuracy over AdamW, lr 1e-3."""
    model, peer = mlp("digits", seed), mlp("digits", seed)
    ours = train(model, GROKtimizer(param_groups(model)), seed, 64, 60, wrong=0.2)
    theirs = train(peer, AdamW(peer.parameters(), lr=1e-3, fused=True), seed, 64, 60, wrong=0.2)
    return ours.accuracy - theirs.accuracy


def interval(values: list[float]) -> str:
    """Mean of paired differences with its 95 % interval, by Student's t."""
    if len(values) < 2:
        return f"{values[0]:+.2f}"
    wide = T95[min(len(values) - 2, len(T95) - 1)] * stdev(values) / len(values) ** 0.5
    return f"{mean(values):+.2f} ({mean(values) - wide:+.2f} … {mean(values) + wide:+.2f})"


BUILDS: dict[str, tuple[Callable[[int], nn.Module], dict[int, float]]] = {
    "digits MLP": (lambda seed: mlp("digits", seed), {64: 60, 4: 12}),
    "digits CNN + BatchNorm": (cnn, {64: 30, 4: 8}),
}


@pytest.mark.parametrize("name", ["digits", "breast cancer"])
@pytest.mark.parametrize("size", SIZES)
def test_the_switch(table: Table, name: str, size: int):
    found = [switch(name, size, seed) for seed in SEEDS]
    ratios, losses = zip(*found, strict=True)
    label = f"{name}, batches of {size}"
    table.add(Ratio(f"{label}: epochs to phase 2 / AdamW 1e-3, {interval(list(ratios))}", mean(ratios), 3.0))
    table.add(Ratio(f"{label}: loss there / level, worst {max(losses):.2f}", mean(losses), 1.5))
    assert mean(ratios) <= 3.0
    assert mean(losses) <= 1.5


@pytest.mark.parametrize("name", list(BUILDS))
@pytest.mark.parametrize("size", [64, 4])
def test_phase_two_against_phase_one_alone(table: Table, name: str, size: int):
    build, epochs = BUILDS[name]
    found = [against_phase_one(build, size, epochs[size], seed) for seed in SEEDS]
    gains, rollbacks = [gain for gain, _ in found], sum(count for _, count in found)
    what = f"{name}, batches of {size}: points over phase 1 alone {interval(gains)}"
    table.add(Ratio(what, mean(gains), -0.5, "points", at_least=True))
    table.add(Ratio(f"{name}, batches of {size}: rollbacks", rollbacks, 0, "runs"))
    assert mean(gains) >= -0.5
    assert rollbacks == 0


def test_wrong_labels(table: Table):
    gains = [wrong_labels(seed) for seed in SEEDS]
    table.add(
        Ratio(
            f"20 % wrong labels: points over AdamW 1e-3 {interval(gains)}", mean(gains), -2.0, "points", at_least=True
        )
    )
    assert mean(gains) >= -2.0


def rows(part: str, seed: int) -> Iterator[tuple[str, tuple[float, ...]]]:
    """One seed's rows of a part of the table: a name and what was measured."""
    if part == "labels":
        yield "labels", (wrong_labels(seed),)
    for name, (build, epochs) in BUILDS.items() if part == "phases" else ():
        for size, length in epochs.items():
            yield f"{name}|{size}", against_phase_one(build, size, length, seed)
    for name, size in [(n, s) for s in SIZES for n in ("breast cancer", "digits")] if part == "switch" else ():
        yield f"{name}|{size}", switch(name, size, seed)


def main(part: str, count: int) -> None:
    """Print one part of the table, switch, phases or labels: run by run, then means with intervals and the extremes."""
    found: dict[str, list[tuple[float, ...]]] = {}
    for seed in range(count):
        for name, values in rows(part, seed):
            sys.stdout.write(f"{name} {seed} {' '.join(f'{value:.3f}' for value in values)}\n")
            sys.stdout.flush()
            found.setdefault(name, []).append(values)
    for name, runs in found.items():
        columns = [list(column) for column in zip(*runs, strict=True)]
        told = [f"{interval(column)}, {min(column):.2f} to {max(column):.2f}" for column in columns]
        sys.stdout.write(f"{name} mean {'; '.join(told)}\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], int(sys.argv[2]))
