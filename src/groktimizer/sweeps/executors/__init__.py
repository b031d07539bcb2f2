"""Executors: they turn units of work into records, here or on a cluster, and know nothing of what the records say."""

from groktimizer.sweeps.executors.local import Local, default_workers, warm_up
from groktimizer.sweeps.executors.protocol import Done, Executor, Job, computed

__all__ = ["Done", "Executor", "Job", "Local", "computed", "default_workers", "warm_up"]
