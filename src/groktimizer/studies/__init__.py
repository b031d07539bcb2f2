"""Studies: comparisons under equal conditions, with the rules of docs/comparison.md in code."""

from groktimizer.studies.compare import Comparison, Panel, compare
from groktimizer.studies.protocol import (
    CAP,
    LONGEST,
    Method,
    Protocol,
    Setting,
    comparison_precision,
    default_methods,
    parse_method,
    parse_settings,
    penalty_options,
)
from groktimizer.studies.summary import Row, Spread, summarise
from groktimizer.studies.tuning import Trial, Tuning, tune

__all__ = [
    "CAP",
    "LONGEST",
    "Comparison",
    "Method",
    "Panel",
    "Protocol",
    "Row",
    "Setting",
    "Spread",
    "Trial",
    "Tuning",
    "compare",
    "comparison_precision",
    "default_methods",
    "parse_method",
    "parse_settings",
    "penalty_options",
    "summarise",
    "tune",
]
