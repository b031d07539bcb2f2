"""Flat minima: whether GROKtimizer's second phase ends where the loss is flat, and whether flatness says anything.

The last claim of arXiv 2606.01521, of which only the abstract is public to us: that its findings are reconciled with
the flat-minima hypothesis. The claims checked here are our reading of it. One that fails is reported as a failure.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from groktimizer.measures import FEWEST_SEEDS, Estimate, median_ratio, rank_correlation, sign_flip_test
from groktimizer.papers.flat_minima_runs import (
    ADAMW,
    CELL,
    END,
    ITERATIONS,
    LBFGS,
    ROUNDS,
    SOLUTIONS,
    STEPS,
    SWITCH,
    TITLES,
    Measured,
    measured,
    over_time,
)
from groktimizer.papers.reproduction import STEP, Array, Check, Effort, Line, Panel, Paper, Reproduced
from groktimizer.results import Record

SHARPNESS = {
    "largest": "λ_max",
    "trace": "trace",
    "sam": "SAM-sharpness",
    "fisher_rao": "Fisher–Rao",
    "relative": "relative flatness",
}
INVARIANT = ("fisher_rao", "relative")
SMALL = {**SHARPNESS, "norm": "norm", "gap": "norm gap"}  # expected to be small where the network generalises
LARGE = {"margin": "margin", "kept": "answers that noise leaves"}  # and to be large
COLOURS: dict[str, int | str] = {SWITCH: 5, END: "groktimizer", ADAMW: "adamw", LBFGS: "lbfgs"}
OTHERS = {SWITCH: "at the switch", ADAMW: "AdamW's", LBFGS: "L-BFGS's"}
LEVEL = 0.05  # of a test
ROUNDING = 1e-6  # relative
Judged = tuple[bool, str]


def _setting(effort: Effort, rows: Sequence[Measured]) -> tuple[str, ...]:
    """What a reader has to know of the runs."""
    seeds = len(rows[0].seeds)
    fits = sum(int((row.table("train_accuracy") == 1).sum()) for row in rows)
    told = [
        f"the claims are our reading of an abstract; {seeds} splits and initial weights a row, {STEPS} steps",
        f"AdamW at lr {CELL['lr']:g}, decay {CELL['weight_decay']:g} on every row, not tuned; L-BFGS "
        f"{ROUNDS * ITERATIONS} iterations at the largest of its weights that fits as the level asks",
        f"{fits} of {len(rows) * seeds * len(SOLUTIONS)} solutions fit every training sample",
    ]
    return (*told, *effort.shorter("two small rows, 6 seeds, one weight for L-BFGS"))


def _each(rows: Sequence[Measured], judge: Callable[[Measured], Judged]) -> Judged:
    found = [judge(row) for row in rows]
    return all(held for held, _ in found), "; ".join(
        f"{row.row.title} {told}" for row, (_, told) in zip(rows, found, strict=True)
    )


def lower(a: Array, b: Array) -> Judged:
    """Whether positive numbers of one solution are below those of another on the same seeds.

    Args:
        a: Shape (seeds,); not-a-number drops the pair.
        b: Shape (seeds,).

    Returns:
        Whether they are, by the exact sign-flip test at 5 %; the median ratio with its interval and the p-value.
    """
    known = np.isfinite(a) & np.isfinite(b) & (np.minimum(a, b) > 0)
    if known.sum() < FEWEST_SEEDS:
        return False, f"unknown ({known.sum()} pairs, {FEWEST_SEEDS} are the least)"
    ratio = median_ratio(a[known], b[known])
    sign, p_value = sign_flip_test(np.log(a[known] / b[known]).tolist())
    lost = f", {known.size - known.sum()} pairs without" if not known.all() else ""
    return bool(sign < 0 and p_value <= LEVEL), f"×{_interval(ratio)}, p {p_value:.2g}{lost}"


def higher(a: Array, b: Array) -> Judged:
    """Whether shares of one solution are above those of another on the same seeds, likewise; their means are told."""
    sign, p_value = sign_flip_test((a - b).tolist())
    return bool(sign > 0 and p_value <= LEVEL), f"{a.mean():.3f} against {b.mean():.3f}, p {p_value:.2g}"


def _interval(found: Estimate) -> str:
    if np.isnan(found.low):
        return "undefined (constant)"
    return f"{found.value:.3g} ({found.low:.3g} … {found.high:.3g})"


def _against(rows: Sequence[Measured], other: str, name: str, state: str) -> Check:
    held, told = _each(rows, lambda row: lower(row.of(END, name, state), row.of(other, name, state)))
    return Check(f"{SMALL[name]} is lower at the end than {OTHERS[other]}, on every row", told, held)


def flatness(effort: Effort) -> Reproduced:
    """Flatter at the end of phase 2 than at the switch, than AdamW's, than L-BFGS's; the networks as they are."""
    rows = measured(effort)
    checks = [_against(rows, other, name, "as_is") for other in OTHERS for name in (*SHARPNESS, "norm")]
    panels = [_shares(row, "largest", "as_is") for row in rows]
    return Reproduced("Flatness", "flat minima, as trained", tuple(panels), tuple(checks), _setting(effort, rows))


def same_loss(effort: Effort) -> Reproduced:
    """The same at equal losses: under cross-entropy a network that is right becomes flatter by being surer."""
    rows = measured(effort)
    names = [name for name in SHARPNESS if name != "trace"]
    checks = [_against(rows, other, name, "levelled") for other in OTHERS for name in names]
    panels = [_shares(row, "largest", "levelled") for row in rows]
    changed = (*_setting(effort, rows), "the last layer times the factor that brings the training loss to the level")
    return Reproduced("Same loss", "flat minima at a common training loss", tuple(panels), tuple(checks), changed)


def _shares(row: Measured, name: str, state: str) -> Panel:
    """Share of the seeds whose measure is at most x."""
    lines: list[Line] = []
    for solution in SOLUTIONS:
        values = np.sort(row.of(solution, name, state))
        values = values[np.isfinite(values) & (values > 0)]
        lines.append(
            Line(TITLES[solution], values, np.arange(1, values.size + 1) / values.size, colour=COLOURS[solution])
        )
    axes = {"y_log": False, "x_log": state == "as_is"}  # at a common loss they are within a decade, mostly
    return Panel(row.row.title, SMALL[name], "share of the seeds at most there", tuple(lines), **axes)


def _predicts(rows: Sequence[Measured], name: str, kind: str, state: str = "as_is") -> Check:
    sign, title = (-1, SMALL[name]) if name in SMALL else (1, LARGE[name])
    found = [
        rank_correlation(row.table(name, state), row.table("test_accuracy"), "within" if kind == "within" else "pooled")
        for row in rows
    ]
    clear = [sign * (one.low if sign > 0 else one.high) > 0 for one in found]
    told = "; ".join(f"{row.row.title} {_interval(one)}" for row, one in zip(rows, found, strict=True))
    mean = float(np.nanmean([one.value for one in found]))
    where = "over the seeds of one method" if kind == "within" else "over methods and seeds"
    wanted = "below" if sign < 0 else "above"
    claim = f"{title}: rank correlation with test accuracy {where} is {wanted} 0 on every row"
    return Check(claim, f"mean {mean:.2f}, clear on {sum(clear)} of {len(rows)}: {told}", all(clear))


def prediction(effort: Effort) -> Reproduced:
    """Which of them predicts test accuracy: over methods and seeds, and over the seeds of one method."""
    rows = measured(effort)
    checks = [_predicts(rows, name, kind) for kind in ("pooled", "within") for name in (*SMALL, *LARGE)]
    panels = [_points(row, "largest", "as_is") for row in rows]
    changed = (*_setting(effort, rows), "norm gap: over the least norm of the seed's solutions that fit as well")
    return Reproduced("Prediction", "does flatness predict test accuracy", tuple(panels), tuple(checks), changed)


def rescaling(effort: Effort) -> Reproduced:
    """The same after two layers of each network exchanged a random factor, which leaves the function."""
    rows = measured(effort)
    checks = [_unmoved(rows, name) for name in INVARIANT]
    checks += [_predicts(rows, name, "pooled", "rescaled") for name in ("largest", "sam", "norm", "gap", *INVARIANT)]
    checks += [_against(rows, SWITCH, name, "rescaled") for name in ("largest", "sam", "norm")]
    panels = [_points(row, "largest", "rescaled") for row in rows]
    changed = (*_setting(effort, rows), "a factor of 1/8 to 8 between the last two layers, log-uniform")
    return Reproduced("Rescaling", "the same functions, rescaled", tuple(panels), tuple(checks), changed)


def _unmoved(rows: Sequence[Measured], name: str) -> Check:
    """Rescaling leaves an invariant measure, up to rounding, and not λ_max."""
    moved = [np.abs(row.table(name, "rescaled") / row.table(name) - 1).max() for row in rows]
    ratios = [(row.table("largest", "rescaled") / row.table("largest")).ravel() for row in rows]
    factor = float(np.exp(np.median(np.abs(np.log(np.concatenate(ratios))))))
    told = f"largest relative change {max(moved):.1g}; λ_max changes by a factor of {factor:.2g} in the median"
    claim = f"rescaling leaves {SMALL[name]} (relative change ≤ {ROUNDING:g})"
    return Check(claim, told, bool(max(moved) <= ROUNDING))


def _points(row: Measured, name: str, state: str) -> Panel:
    lines = [
        Line(TITLES[one], row.of(one, name, state), row.of(one, "test_accuracy"), "points", COLOURS[one])
        for one in SOLUTIONS
    ]
    return Panel(row.row.title, SMALL[name], "test accuracy", tuple(lines), y_log=False)


def robustness(effort: Effort) -> Reproduced:
    """What holds the answers: test samples, the margin, noise on inputs or embeddings; the symbols' table over time."""
    rows, runs = measured(effort), over_time(effort)
    titles = {"test_accuracy": "test accuracy", **LARGE}
    checks: list[Check] = []
    for other, whose in OTHERS.items():
        for name, title in titles.items():
            held, told = _each(rows, partial(_higher, name=name, other=other))
            checks.append(Check(f"{title}: higher at the end than {whose}, on every row", told, held))
    tables = [row for row in rows if np.isfinite(row.table("entropy")).all()]
    held, told = _each(tables, partial(_higher, name="concentration", other=SWITCH))
    checks.append(
        Check("each column of the embeddings has more in one frequency at the end than at the switch", told, held)
    )
    held, told = _each(tables, lambda row: lower(row.of(END, "entropy"), row.of(SWITCH, "entropy")))
    checks.append(
        Check("the embeddings' singular values have a lower entropy at the end than at the switch", told, held)
    )
    names = ("concentration", "entropy", "kept", "test_accuracy")
    panels = [_over_time(runs, name, rows[0].row.title) for name in names]
    return Reproduced("Robustness", "what holds the answers", tuple(panels), tuple(checks), _setting(effort, rows))


def _higher(row: Measured, name: str, other: str) -> Judged:
    return higher(row.of(END, name), row.of(other, name))


def _over_time(runs: dict[str, list[Record]], name: str, title: str) -> Panel:
    labels = {"concentration": "Fourier concentration", "entropy": "spectral entropy", "kept": LARGE["kept"]}
    lines = [
        Line(
            TITLES[ADAMW] if method == ADAMW else "GROKtimizer",
            np.array([run.summary["steps"] for run in group]),
            np.array([run.summary["measured"]["flatness"][name] for run in group]),
            colour=method,
        )
        for method, group in runs.items()
    ]
    return Panel(title, STEP, labels.get(name, "test accuracy"), tuple(lines), y_log=False)


PAPER = Paper(
    "Our reading of arXiv 2606.01521, its last claim: flat minima",
    {
        "flatness": flatness,
        "same-loss": same_loss,
        "prediction": prediction,
        "rescaling": rescaling,
        "robustness": robustness,
    },
)
