"""Benchmarks over data sets: `small_data` compares estimators on tables with few rows."""

from groktimizer.benches.methods import METHODS, Method
from groktimizer.benches.sets import SETS, DataSet, own_set
from groktimizer.benches.small_data import Unit, bench, forecast, units_of

__all__ = ["METHODS", "SETS", "DataSet", "Method", "Unit", "bench", "forecast", "own_set", "units_of"]
