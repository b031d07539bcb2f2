"""What is read off a run: grokking times, norms, statistics over seeds."""

from groktimizer.measures.norms import Norms, norms
from groktimizer.measures.statistics import PairedDifference, median_with_dnf, paired_bootstrap, wilson_interval
from groktimizer.measures.times import Condition, Times, grokking_times, window_observed

__all__ = [
    "Condition",
    "Norms",
    "PairedDifference",
    "Times",
    "grokking_times",
    "median_with_dnf",
    "norms",
    "paired_bootstrap",
    "wilson_interval",
    "window_observed",
]
