"""Studies: comparisons under equal conditions, with the rules of docs/comparison.md in code."""

from groktimizer.studies.compare import Comparison, Panel, compare
from groktimizer.studies.cost import Forecast, forecast
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
from groktimizer.studies.series import Series, Side, Standing, Tally, check_entries, compare_all
from groktimizer.studies.standard import TABLES, Entry, quick
from groktimizer.studies.summary import Row, Spread, summarise
from groktimizer.studies.tuning import Trial, Tuning, tune

__all__ = [
    "CAP",
    "LONGEST",
    "TABLES",
    "Comparison",
    "Entry",
    "Forecast",
    "Method",
    "Panel",
    "Protocol",
    "Row",
    "Series",
    "Setting",
    "Side",
    "Spread",
    "Standing",
    "Tally",
    "Trial",
    "Tuning",
    "check_entries",
    "compare",
    "compare_all",
    "comparison_precision",
    "default_methods",
    "forecast",
    "parse_method",
    "parse_settings",
    "penalty_options",
    "quick",
    "summarise",
    "tune",
]
