"""Sweeps: from a specification to a record, one run or many side by side, none of them twice."""

from groktimizer.sweeps.axes import Range, Sample
from groktimizer.sweeps.executor import Outcome, SweepEvent, execute
from groktimizer.sweeps.executors import default_workers, warm_up
from groktimizer.sweeps.measure import check_measure
from groktimizer.sweeps.probe import step_seconds
from groktimizer.sweeps.runner import Progress, Result, planned, run_sweep
from groktimizer.sweeps.spec import MEASURES, RunSpec, check_limits, make_spec, plan, split_options
from groktimizer.sweeps.sweep import Sweep
from groktimizer.sweeps.work import Reporter, record_of, run_or_reuse, run_spec

__all__ = [
    "MEASURES",
    "Outcome",
    "Progress",
    "Range",
    "Reporter",
    "Result",
    "RunSpec",
    "Sample",
    "Sweep",
    "SweepEvent",
    "check_limits",
    "check_measure",
    "default_workers",
    "execute",
    "make_spec",
    "plan",
    "planned",
    "record_of",
    "run_or_reuse",
    "run_spec",
    "run_sweep",
    "split_options",
    "step_seconds",
    "warm_up",
]
