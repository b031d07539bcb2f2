"""An executor without processes, for tests and benchmarks of what is around the executors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from groktimizer.sweeps.executors.protocol import Done, Job, Telling, computed


@dataclass
class Here:
    """Does jobs in this process; stops like Ctrl-C after so many cells."""

    stop: int = 10**9
    spoil: Callable[[Done], Done] = field(default=lambda done: done)

    def run(self, jobs: Sequence[Job], keep: Callable[[Done], None], tell: Telling) -> None:
        """Do them one after another."""
        left = self.stop
        for job in jobs:
            for done in computed(job, lambda event, job=job: tell(job.cells[0], event)):
                if not left:
                    raise KeyboardInterrupt
                left -= 1
                keep(self.spoil(done))
