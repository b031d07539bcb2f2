"""What is read off a run: grokking times, norms, losses against the norm, sharpness, statistics over seeds."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from groktimizer.measures.association import Estimate, median_ratio, rank_correlation, spearman
from groktimizer.measures.statistics import (
    FEWEST_SEEDS,
    PairedDifference,
    corrected_interval,
    median_interval,
    median_with_dnf,
    paired_bootstrap,
    sign_flip_test,
    wilson_interval,
)
from groktimizer.measures.times import Condition, Times, grokking_times, last_common_time, window_observed
from groktimizer.measures.verdict import UNFINISHED, Clocks, Errors, Transition, Verdict, judge, judge_history

if TYPE_CHECKING:
    from groktimizer.measures._curvature import Curvature, curvature, fisher_rao, relative_flatness, sam_sharpness
    from groktimizer.measures._norm_gap import NormGap, least_l1, norm_gap
    from groktimizer.measures._norms import Norms, norms
    from groktimizer.measures._robustness import distances, margins, robustness
    from groktimizer.measures.landscape import (
        Landscape,
        along_path,
        along_ray,
        factor_for,
        least_factor,
        least_squared_norm,
        rescale,
        squared_norm,
    )
    from groktimizer.measures.spectra import fourier_concentration, spectral_entropy

__all__ = [
    "FEWEST_SEEDS",
    "UNFINISHED",
    "Clocks",
    "Condition",
    "Curvature",
    "Errors",
    "Estimate",
    "Landscape",
    "NormGap",
    "Norms",
    "PairedDifference",
    "Times",
    "Transition",
    "Verdict",
    "along_path",
    "along_ray",
    "corrected_interval",
    "curvature",
    "distances",
    "factor_for",
    "fisher_rao",
    "fourier_concentration",
    "grokking_times",
    "judge",
    "judge_history",
    "last_common_time",
    "least_factor",
    "least_l1",
    "least_squared_norm",
    "margins",
    "median_interval",
    "median_ratio",
    "median_with_dnf",
    "norm_gap",
    "norms",
    "paired_bootstrap",
    "rank_correlation",
    "relative_flatness",
    "rescale",
    "robustness",
    "sam_sharpness",
    "sign_flip_test",
    "spearman",
    "spectral_entropy",
    "squared_norm",
    "wilson_interval",
    "window_observed",
]
_HOMES = {
    "_curvature": (
        "Curvature",
        "curvature",
        "fisher_rao",
        "relative_flatness",
        "sam_sharpness",
    ),
    "landscape": (
        "Landscape",
        "along_path",
        "along_ray",
        "factor_for",
        "least_factor",
        "least_squared_norm",
        "rescale",
        "squared_norm",
    ),
    "_norm_gap": (
        "NormGap",
        "least_l1",
        "norm_gap",
    ),
    "_norms": (
        "Norms",
        "norms",
    ),
    "_robustness": (
        "distances",
        "margins",
        "robustness",
    ),
    "spectra": (
        "fourier_concentration",
        "spectral_entropy",
    ),
}  # what is made of tensors


def __getattr__(name: str) -> Any:
    """Import what is made of tensors on first use: torch is loaded then, which times and statistics do without."""
    for module, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
