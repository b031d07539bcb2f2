"""arXiv 2506.05718, Figures 5, 6 and 8: low-rank matrices under the nuclear norm, and GROKtimizer on them."""

from collections.abc import Sequence
from itertools import count as integers

import numpy as np
import torch

from groktimizer.measures import wilson_interval
from groktimizer.papers.beyond_l2_networks import proximal_groktimizer
from groktimizer.papers.reproduction import (
    STEP,
    Check,
    Effort,
    Line,
    Panel,
    Reproduced,
    count,
    curve,
    falling,
    late,
    near,
    slope,
    time,
    train,
)
from groktimizer.tasks import MatrixTask
from groktimizer.theory.clock.rounding import rounded
from groktimizer.theory.low_rank.problem import LowRank, TimeLaw
from groktimizer.theory.low_rank.solvers import solve

LR, WEIGHT = 0.1, 1e-4
TEST = 1e-2
TASK = MatrixTask()
CERTIFIED = "N = 80, not 70, on draws that are certified recoverable: at 70 few are"


def certified(effort: Effort, task: MatrixTask = TASK) -> list[tuple[int, LowRank]]:
    """Seeds and problems that a dual certificate proves recoverable: five, two in a quick run."""
    found: list[tuple[int, LowRank]] = []
    for seed in integers(effort.seed):
        problem = task.draw(seed).problem()
        if problem.verdict().recoverable:
            found.append((seed, problem))
        if len(found) == (2 if effort.quick else 5):
            return found
    raise AssertionError("unreachable: the seeds do not end")


def figure_5(effort: Effort) -> Reproduced:
    """Memorising at once, completing a hundred thousand steps later; GROKtimizer at the square root."""
    drawn = certified(effort)
    weight = 1e-3 if effort.quick else WEIGHT
    slow: list[float] = []
    early: list[float] = []
    laws: list[TimeLaw] = []
    for _, problem in drawn:
        runs = solve(problem, "proximal", LR, weight, 600_000, train_tolerance=TEST, recovery_tolerance=TEST)
        laws.append(problem.time_law(LR, weight, tolerance=TEST))
        slow.append(_time(runs.generalised[0]))
        early.append(_time(runs.memorised[0]))
        effort.say(f"Figure 5: {len(slow)} of {len(drawn)} problems")
    specs = proximal_groktimizer("matrix-completion", "nuclear", weight, [seed for seed, _ in drawn], {})
    ours = train({"ours": specs}, effort, "Figure 5, GROKtimizer")["ours"]
    fast = np.array([time(record, "generalised") for record in ours])
    ratio = np.array(slow) / fast
    checks = (
        late(np.array(slow) / np.array(early), 20),
        *between(laws, slow),
        Check(
            f"GROKtimizer (nuclear norm, β = {weight:g}) completes in ≥ 20 times fewer steps than SVT (median)",
            ", ".join(f"{a:,.0f} against {b:,.0f}" for a, b in zip(fast, slow, strict=True)),
            bool(np.median(ratio) >= 20),
        ),
    )
    parts = (("train", "train_error"), ("completion", "test_error"))
    lines = [curve(run, name, column, colour) for run in ours for colour, (name, column) in enumerate(parts)]
    panel = Panel(f"GROKtimizer, 10 × 10, r = 2, N = {TASK.N}, β = {weight:g}", STEP, "relative error", tuple(lines))
    changed = (CERTIFIED, *effort.shorter("β = 1e-3, fewer seeds"))
    return Reproduced("Figure 5", "matrix completion under the nuclear norm", (panel,), checks, changed)


def between(laws: Sequence[TimeLaw], times: Sequence[float]) -> tuple[Check, Check]:
    """Hold SVT's times against the two bounds of the time law; an infinite bound is none."""
    pairs = list(zip(laws, times, strict=True))
    bound = [time / law.latest for law, time in pairs if np.isfinite(law.latest)]
    held = sum(part <= 1 for part in bound)
    told = f"{held} of {len(bound)}, t2 / bound {', '.join(rounded(part, '<=', 2) for part in bound)}"
    return (
        count(
            "t2 is not before the lower bound of `LowRank.time_law`", [law.earliest <= t < np.inf for law, t in pairs]
        ),
        Check(
            "t2 is not after its upper bound, which is proved for projected subgradients only, where that is finite",
            f"{told}; {len(laws) - len(bound)} of {len(laws)} runs have no finite bound",
            0 < held == len(bound),
        ),
    )


def _time(step: torch.Tensor) -> float:
    return float(step) if step >= 0 else np.inf


def figure_6(effort: Effort) -> Reproduced:
    """t2 and the final error over αβ on one certified problem, all weights side by side."""
    _, problem = certified(Effort(seed=effort.seed, quick=True))[0]
    weights = np.array([3e-4, 1e-3, 3e-3] if effort.quick else [1e-4, 3e-4, 1e-3, 3e-3])
    slow = solve(problem, "proximal", LR, torch.tensor(weights), 40_000 if effort.quick else 200_000,
                 recovery_tolerance=TEST)  # fmt: skip
    fast = solve(problem, "accelerated", LR, torch.tensor(weights), 20_000, recovery_tolerance=TEST, patience=20_000)
    t2, quick = slow.generalised.numpy().astype(float), fast.generalised.numpy().astype(float)
    floor = fast.recovery_error.numpy()
    effort.say("Figure 6: done")
    product = LR * weights
    left = Panel(
        "t2 over αβ",
        "αβ",
        STEP,
        (Line("proximal descent (SVT)", product, t2, "solid", 1), Line("accelerated", product, quick, "solid", 2)),
        marks=True,
    )
    right = Panel("error at the end", "β", "relative error", (Line("α = 0.1", weights, floor, "solid", 1),), marks=True)
    checks = (
        near("slope of ln t2 over ln αβ, proximal descent", slope(product, t2), -1, 0.05),
        near("slope of ln t2 over ln αβ, accelerated", slope(product, quick), -0.5, 0.1),
        near("slope of ln (final error) over ln β", slope(weights, floor), 1, 0.1),
    )
    changed = (CERTIFIED, f"{len(weights)} weights at α = 0.1, one problem")
    return Reproduced("Figure 6", "small αβ: later, but closer", (left, right), checks, changed)


def figure_8(effort: Effort) -> Reproduced:
    """Entries of high leverage are worth more than random ones: more draws are recovered, and sooner."""
    taus = (0.0, 0.5, 1.0) if effort.quick else (0.0, 0.25, 0.5, 0.75, 1.0)
    trials, timed, size, weight = 20, 3 if effort.quick else 6, 70, 1e-3
    shares: list[float] = []
    times: list[float] = []
    for tau in taus:
        drawn = [MatrixTask(N=size, tau=tau).draw(seed).problem() for seed in range(effort.seed, effort.seed + trials)]
        found = [problem for problem in drawn if problem.verdict().recoverable]
        shares.append(len(found) / trials)
        runs = [
            solve(problem, "proximal", LR, weight, 60_000, recovery_tolerance=TEST, patience=1)
            for problem in found[:timed]
        ]
        times.append(float(np.median([_time(run.generalised[0]) for run in runs])) if runs else np.inf)
        effort.say(f"Figure 8: τ = {tau:g}")
    checks = (
        apart(f"N = {size}: more draws are recovered with τ = {taus[-1]:g} than with τ = 0", shares, trials),
        falling(f"median t2 of the first {timed} recovered draws falls with every τ, β = {weight:g}", times),
    )
    share = Line(f"N = {size}", np.array(taus), np.array(shares), "solid", 1)
    later = Line(f"β = {weight:g}", np.array(taus), np.array(times), "solid", 1)
    part = "τ, part of the entries of highest leverage"
    panels = (
        Panel("recovered draws", part, "share", (share,), y_log=False, marks=True, x_log=False),
        Panel("t2 of recovered draws", part, STEP, (later,), marks=True, x_log=False),
    )
    alone = f"t2 at β = {weight:g}, not 1e-5; N = {size} alone, so not that fewer entries suffice at larger τ"
    changed = (alone, *effort.shorter("fewer values of τ"))
    return Reproduced("Figure 8", "leverage helps completion", panels, checks, changed)


def apart(claim: str, shares: Sequence[float], trials: int) -> Check:
    """A claim that the last share is above the first: passed if their 95 % intervals do not meet."""
    (low, high), (lower, upper) = (wilson_interval(round(share * trials), trials) for share in (shares[0], shares[-1]))
    told = (
        f"{', '.join(f'{share:.2f}' for share in shares)}; {low:.2f} to {high:.2f} against {lower:.2f} to {upper:.2f}"
    )
    return Check(f"{claim} (95 % intervals apart)", told, lower > high)
