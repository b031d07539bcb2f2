"""What the scores of a benchmark say: ranks, paired differences, wins and losses."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from groktimizer.measures import FEWEST_SEEDS, corrected_interval

TOO_FEW = "too few divisions"
Scores = dict[str, dict[str, list[Any]]]  # method → set → one number a division
TUNED, PLAIN, CHOSEN = "adamw-cv", "adam", "classical-cv"
PAIRS = (("grok-auto", TUNED), ("grok-auto", CHOSEN), ("grok-l2", PLAIN), ("grok-l2", TUNED), ("grok-l2", "lbfgs-cv"),
         ("grok-l1", "grok-l2"), ("grok-auto", "realmlp"))  # fmt: skip


def chosen_classical(scores: Scores, inner: Scores, families: Mapping[str, str]) -> dict[str, list[float]]:
    """On each division the classical method that inner folds prefer.

    Args:
        scores: Of all methods.
        inner: Their scores on inner folds.
        families: Of each method.

    Returns:
        Its scores on the test part by set; empty without classical methods.
    """
    names = [name for name in scores if families[name] == "classical"]
    if not names:
        return {}
    found: dict[str, list[float]] = {}
    for which, values in scores[names[0]].items():
        picks = [max(names, key=lambda name: _known(inner[name][which][k])) for k in range(len(values))]
        found[which] = [scores[name][which][k] for k, name in enumerate(picks)]
    return found


def _known(score: float | None) -> float:
    """A score on inner folds; last, where they could not be fitted."""
    return -math.inf if score is None or math.isnan(score) else score


def paired(ours: Sequence[float], theirs: Sequence[float], sizes: Mapping[str, int]) -> dict[str, Any]:
    """The paired difference on one set.

    Args:
        ours: Scores of the divisions.
        theirs: The other method's, on the same divisions.
        sizes: ``n`` rows to train on and ``m`` to test on.

    Returns:
        Mean difference, its interval for other rows of the same kind (`corrected_interval`), that for these rows
        alone, and the verdicts of both: "better", "worse", "level", or that there are too few divisions for one.
    """
    differences = np.asarray(ours) - np.asarray(theirs)
    told: dict[str, Any] = {"difference": float(differences.mean()), "splits": len(differences)}
    for name, part in (("corrected", sizes["m"] / sizes["n"]), ("here", 0.0)):
        low, high = corrected_interval(differences, part)
        verdict = "better" if low > 0 else "worse" if high < 0 else "level"
        told[name] = {"low": low, "high": high, "verdict": verdict if len(differences) >= FEWEST_SEEDS else TOO_FEW}
    return told


def verdicts(
    scores: Scores, inner: Scores, sets: Mapping[str, Mapping[str, int]], families: Mapping[str, str]
) -> dict[str, Any]:
    """Judge.

    Args:
        scores: By method and set, one number a division.
        inner: The same on inner folds, None where there were none.
        sets: Sizes of each set.
        families: Of each method.

    Returns:
        ``means`` by method and set, ``ranks`` (mean over the sets, 1 is best), ``pairs``: for each of `PAIRS` that is
        there the difference on each set, and how often it is better, level and worse.
    """
    chosen = chosen_classical(scores, inner, families)
    everything = {**scores, CHOSEN: chosen} if chosen else dict(scores)
    means = {
        name: {which: float(np.mean(values)) for which, values in each.items()} for name, each in everything.items()
    }
    pairs = []
    for ours, theirs in PAIRS:
        if ours in everything and theirs in everything:
            found = {which: paired(everything[ours][which], everything[theirs][which], sets[which]) for which in sets}
            counts = {kind: _counts([one[kind]["verdict"] for one in found.values()]) for kind in ("corrected", "here")}
            pairs.append({"ours": ours, "theirs": theirs, "sets": found, "counts": counts})
    return {"means": means, "ranks": mean_ranks({name: means[name] for name in scores}), "pairs": pairs}


def _counts(found: Sequence[str]) -> dict[str, int]:
    words = ["better", "level", "worse"] + [TOO_FEW] * (TOO_FEW in found)
    return {word: found.count(word) for word in words}


def mean_ranks(means: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Rank methods on each set, 1 for the best, equals share; the mean over the sets.

    Args:
        means: By method and set.

    Returns:
        By method.

    Example:
        >>> mean_ranks({"a": {"x": 0.9, "y": 0.5}, "b": {"x": 0.8, "y": 0.5}})
        {'a': 1.25, 'b': 1.75}
    """
    from scipy.stats import rankdata

    names = list(means)
    table = np.array([list(means[name].values()) for name in names]).round(9)  # equal but for the order of the sum
    ranks = rankdata(-table, axis=0).mean(1)
    return {name: float(rank) for name, rank in zip(names, ranks, strict=True)}
