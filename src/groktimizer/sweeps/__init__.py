"""Sweeps: from a specification to a record, one run or many side by side, none of them twice."""

from groktimizer.sweeps.executor import Outcome, SweepEvent, default_workers, execute, warm_up
from groktimizer.sweeps.measure import check_measure
from groktimizer.sweeps.spec import MEASURES, RunSpec, check_limits, make_spec, plan, split_options
from groktimizer.sweeps.work import Reporter, record_of, run_or_reuse, run_spec

__all__ = [
    "MEASURES",
    "Outcome",
    "Reporter",
    "RunSpec",
    "SweepEvent",
    "check_limits",
    "check_measure",
    "default_workers",
    "execute",
    "make_spec",
    "plan",
    "record_of",
    "run_or_reuse",
    "run_spec",
    "split_options",
    "warm_up",
]
