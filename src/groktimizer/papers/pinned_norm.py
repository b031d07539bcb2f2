"""arXiv 2606.13753, "The Weight Norm Sets the Grokking Timescale": the norm held at ρ·W_c, and the delay over ρ.

An intervention, on modular addition (p = 53) with the MLP of `groktimizer run modular-addition`. W_c is measured seed
by seed: the norm of all parameters at t2 of a run of AdamW with decay, left to itself. Then the same seed is trained by
AdamW without decay whose parameters are rescaled to ρ·W_c before the first and after every step (peer ``pinned``). The
delay is t2 − t1; a run without t2 within its budget (DNF) counts as +∞. α is the slope of ln(median delay over the
seeds) over ρ, its interval a bootstrap over seeds, which are drawn whole: every ρ and every network of a seed together.

A held norm also holds the length of a step relative to the parameters, which is lr/norm: with lr ∝ ρ it is the same at
every ρ, and what remains is the norm's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from groktimizer.ground.errors import UserError
from groktimizer.measures import median_with_dnf
from groktimizer.papers.reproduction import (
    STEP,
    Array,
    Check,
    Effort,
    Line,
    Panel,
    Paper,
    Reproduced,
    curve,
    time,
    train,
)
from groktimizer.results import Record
from groktimizer.sweeps import RunSpec, make_spec

TASK, SIZES = "modular-addition", {"p": 53, "width": 64}
LR, DECAY, BETA2 = 1e-2, 1.0, 0.98
EVERY, FREE_EVERY = 10, 5
RHOS = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5)
STRAIGHT = 0.9  # the least R² of a line
VARIES = 0.05  # the largest spread of W_c, as a part of its mean
RESAMPLES, CONFIDENCE = 2_000, 0.95
FEWEST = 2  # points of a line


@dataclass(frozen=True)
class Arm:
    """What is held and what is not.

    Attributes:
        name: In words.
        normed: Whether a LayerNorm stands before the read-out.
        relative: Whether lr ∝ ρ, so that a step relative to the norm is the same at every ρ.
    """

    name: str
    normed: bool
    relative: bool


PLAIN, NORMED = Arm("no LayerNorm", False, False), Arm("final LayerNorm", True, False)
STEADY, NORMED_STEADY = Arm("no LayerNorm, lr ∝ ρ", False, True), Arm("final LayerNorm, lr ∝ ρ", True, True)


@dataclass(frozen=True)
class Law:
    """The line ln(median delay) = const + α ρ of some seeds.

    Attributes:
        alpha: Its slope; not-a-number from fewer than two finite medians.
        straight: R² of the line.
        power: R² of ln(median delay) over ln ρ, the power law.
        medians: Median delay at each ρ, +∞ where half of the runs did not finish.
        offset: Its constant.
    """

    alpha: float
    straight: float
    power: float
    medians: Array
    offset: float


def free(seed: int, steps: int, *, normed: bool) -> RunSpec:
    """The run that is left to itself, from which W_c is read."""
    options = {"lr": LR, "weight_decay": DECAY, "beta2": BETA2}
    return make_spec(
        TASK, "adamw", task_options=_network(normed), optimizer_options=options, seed=seed, steps=steps,
        every=FREE_EVERY,
    )  # fmt: skip


def pinned(seed: int, norm: float, steps: int, arm: Arm, rho: float) -> RunSpec:
    """The run whose norm is held."""
    options = {"lr": LR * rho if arm.relative else LR, "beta2": BETA2, "norm": float(f"{norm:.6g}")}
    network = _network(arm.normed)
    return make_spec(
        TASK, "pinned", task_options=network, optimizer_options=options, seed=seed, steps=steps, every=EVERY
    )


def _network(normed: bool) -> dict[str, object]:
    return {**SIZES, **({"norm": True} if normed else {})}


def critical_norm(run: Record) -> float:
    """W_c: the norm of all parameters at t2; not-a-number if the run never generalised."""
    t2 = time(run, "generalised")
    at = np.flatnonzero(run.history["step"] == t2)
    return float(run.history["norm_l2"][at[0]]) if at.size else float("nan")


def delay(run: Record) -> float:
    """t2 − t1, at least the resolution; +∞ if the run did not get to both."""
    gap = time(run, "generalised") - time(run, "memorised")
    return max(float(gap), float(EVERY)) if np.isfinite(gap) else float("inf")


def fit(delays: Array, rhos: Sequence[float]) -> Law:
    """Draw the line through the logarithms of the medians over seeds; those that are not finite are left out.

    Args:
        delays: In steps, +∞ for DNF, shape (seeds, len(rhos)).
        rhos: The values of ρ.

    Returns:
        The law.

    Example:
        >>> rhos = (1.0, 1.2, 1.4)
        >>> round(fit(np.exp(7.0 * np.array([rhos, rhos])), rhos).alpha, 9)
        7.0
    """
    medians = np.array([median_with_dnf(column) for column in delays.T.tolist()])
    known = np.isfinite(medians)
    nothing = float("nan")
    if known.sum() < FEWEST:
        return Law(nothing, nothing, nothing, medians, nothing)
    x, y = np.asarray(rhos)[known], np.log(medians[known])
    alpha, offset = np.polyfit(x, y, 1)
    return Law(float(alpha), _explained(x, y), _explained(np.log(x), y), medians, float(offset))


def _explained(x: Array, y: Array) -> float:
    """R² of the least-squares line; 1 where there is nothing to explain."""
    return 1.0 if np.ptp(y) == 0 else float(np.corrcoef(x, y)[0, 1] ** 2)


def interval(values: Array) -> tuple[float, float]:
    """The middle 95 % of bootstrap values; not-a-number if one of them is missing."""
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def resampled(delays: Mapping[Arm, Array], rhos: Sequence[float], seed: int = 0) -> dict[Arm, Array]:
    """α of seeds drawn with repetition, the same draws in every arm.

    Args:
        delays: By arm, shape (seeds, len(rhos)).
        rhos: The values of ρ.
        seed: Of the draws.

    Returns:
        By arm, shape (RESAMPLES,).
    """
    (count,) = {len(table) for table in delays.values()}
    picks = np.random.default_rng(seed).integers(0, count, size=(RESAMPLES, count))
    return {arm: slopes(np.median(table[picks], axis=1), rhos) for arm, table in delays.items()}


def slopes(medians: Array, rhos: Sequence[float]) -> Array:
    """Slopes of the lines of `fit`, many at a time.

    Args:
        medians: In steps, +∞ where there is none, shape (k, len(rhos)).
        rhos: The values of ρ.

    Returns:
        Shape (k,); not-a-number where fewer than two medians are finite.
    """
    known = np.isfinite(medians)
    y = np.where(known, np.log(np.where(known, medians, 1.0)), 0.0)
    count = np.maximum(known.sum(1, keepdims=True), 1)
    away = np.where(known, rhos - (known * rhos).sum(1, keepdims=True) / count, 0.0)
    spread = (away**2).sum(1)
    return np.where(known.sum(1) < FEWEST, np.nan, (away * y).sum(1) / np.where(spread > 0, spread, 1.0))


def _told(law: Law, band: tuple[float, float]) -> str:
    return f"α = {law.alpha:.2f} [{band[0]:.2f}, {band[1]:.2f}]"


def _medians(law: Law) -> str:
    return ", ".join("DNF" if np.isinf(value) else f"{value:,.0f}" for value in law.medians)


def rises(arm: Arm, law: Law, band: tuple[float, float]) -> Check:
    """The claim that the delay grows with the held norm."""
    told = f"{_told(law, band)}; median delays {_medians(law)}"
    return Check(f"{arm.name}: the delay rises with ρ, interval of α above 0", told, bool(band[0] > 0))


def exponential(arm: Arm, law: Law) -> Check:
    """The claim that its logarithm is a line over ρ."""
    told = f"R² = {law.straight:.3f} (over ln ρ, a power law: {law.power:.3f})"
    return Check(f"{arm.name}: ln delay is linear in ρ, R² ≥ {STRAIGHT:g}", told, bool(law.straight >= STRAIGHT))


def gone(plain: Array, normed: Array, law: Law) -> Check:
    """The claim that a final LayerNorm removes the law: the interval of its α contains 0 or ends below half of α."""
    band, share = interval(normed), interval(normed / plain)
    told = f"{_told(law, band)}, {share[0]:.2f} to {share[1]:.2f} of that without; R² = {law.straight:.3f}; "
    told += f"median delays {_medians(law)}"
    passed = bool(band[0] <= 0 <= band[1] or share[1] < 0.5)
    return Check("final LayerNorm: no law, the interval of α contains 0 or ends below half of α without", told, passed)


def finished(arm: Arm, delays: Array, steps: int) -> Check:
    """The claim that a held norm delays and does not prevent."""
    done = int(np.isfinite(delays).sum())
    told = f"{done} of {delays.size} runs generalised within {steps:,} steps; the others count as +∞"
    return Check(f"{arm.name}: held above W_c it still generalises, in every run", told, done == delays.size)


def concentrated(name: str, norms: Array) -> Check:
    """The claim that W_c hardly varies from seed to seed."""
    spread = float(norms.std(ddof=1) / norms.mean())
    told = f"mean {norms.mean():.1f}, spread {100 * spread:.1f} % of it over {norms.size} seeds"
    return Check(f"{name}: W_c varies by at most {100 * VARIES:.0f} % over seeds", told, spread <= VARIES)


def _measured(arms: Sequence[Arm], rhos: Sequence[float], seeds: range, effort: Effort, steps: int) -> Any:
    """Free runs, W_c by network and seed, and delays by arm."""
    kinds = sorted({arm.normed for arm in arms})
    runs = train({normed: [free(seed, steps, normed=normed) for seed in seeds] for normed in kinds}, effort, "free")
    norms = {normed: np.array([critical_norm(run) for run in group]) for normed, group in runs.items()}
    for found in norms.values():
        if np.isnan(found).any():
            lost = [seed for seed, norm in zip(seeds, found, strict=True) if np.isnan(norm)]
            raise UserError(f"seeds {lost}: AdamW left to itself did not generalise in {steps:,} steps, so no W_c")
    cells = {
        (arm, rho): [
            pinned(seed, rho * norm, steps, arm, rho) for seed, norm in zip(seeds, norms[arm.normed], strict=True)
        ]
        for arm in arms
        for rho in rhos
    }
    held = train(cells, effort, "pinned")
    delays = {arm: np.array([[delay(run) for run in held[arm, rho]] for rho in rhos]).T for arm in arms}
    return runs, norms, delays


def _panel(arm: Arm, delays: Array, law: Law, rhos: Sequence[float]) -> Panel:
    x = np.array(rhos)
    lines = [Line("one seed", x, np.where(np.isinf(row), np.nan, row), "faint", 0) for row in delays]
    lines.append(Line("median", x, np.where(np.isinf(law.medians), np.nan, law.medians), "solid", 0))
    lines.append(Line(f"exp(αρ), α = {law.alpha:.1f}", x, np.exp(law.offset + law.alpha * x), "dashed", 1))
    return Panel(arm.name, "ρ = norm / W_c", "t2 − t1, steps", tuple(lines), marks=True, x_log=False)


def _free_panel(runs: Mapping[bool, Sequence[Record]]) -> Panel:
    lines = [
        curve(run, (PLAIN, NORMED)[normed].name, "norm_l2", colour)
        for colour, (normed, group) in enumerate(runs.items())
        for run in group
    ]
    return Panel("left to itself, decay 1", STEP, "norm of the parameters", tuple(lines), x_log=False)


def figure_delay(effort: Effort) -> Reproduced:
    """The delay over ρ: without LayerNorm, with a last one, and both with the relative step held too."""
    rhos = (1.0, 1.2, 1.4) if effort.quick else RHOS
    seeds, steps = effort.seeds(4, 6), effort.pick(3_000, 6_000, 30_000)
    arms = effort.pick((PLAIN, NORMED), (PLAIN, NORMED, STEADY), (PLAIN, NORMED, STEADY, NORMED_STEADY))
    runs, norms, delays = _measured(arms, rhos, seeds, effort, steps)
    laws = {arm: fit(table, rhos) for arm, table in delays.items()}
    drawn = resampled(delays, rhos)
    bands = {arm: interval(values) for arm, values in drawn.items()}
    checks = [
        concentrated(PLAIN.name, norms[False]),
        concentrated(NORMED.name, norms[True]),
        finished(PLAIN, delays[PLAIN], steps),
        rises(PLAIN, laws[PLAIN], bands[PLAIN]),
        exponential(PLAIN, laws[PLAIN]),
        gone(drawn[PLAIN], drawn[NORMED], laws[NORMED]),
    ]
    if STEADY in delays:
        checks += [
            rises(STEADY, laws[STEADY], bands[STEADY]),
            exponential(STEADY, laws[STEADY]),
        ]
    if NORMED_STEADY in delays:
        checks.append(gone(drawn[STEADY], drawn[NORMED_STEADY], laws[NORMED_STEADY]))
    panels = (_free_panel(runs), *(_panel(arm, delays[arm], laws[arm], rhos) for arm in arms))
    changed = (
        f"p = {SIZES['p']}, MLP of width {SIZES['width']} on entrywise products, AdamW, lr {LR:g}; "
        "the paper has other networks and α near 7.5",
        *effort.shorter(f"{len(rhos)} values of ρ, not {len(RHOS)}", "no arms with lr ∝ ρ"),
    )
    return Reproduced(
        "Delay", "the norm held at ρ W_c: how long it generalises after it fits", panels, tuple(checks), changed
    )


PAPER = Paper(
    "arXiv 2606.13753, The Weight Norm Sets the Grokking Timescale: A Causal Delay Law", {"delay": figure_delay}
)
