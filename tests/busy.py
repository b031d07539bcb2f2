"""A cell that takes so long, in a module of its own so that a child process can import it."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from groktimizer.results import FIT, Record
from groktimizer.sweeps import Reporter


@dataclass(frozen=True)
class Busy:
    """A cell that computes for a time."""

    number: int
    seconds: float

    @property
    def identity(self) -> str:
        """Its number."""
        return f"{self.number:016}"

    shape, label = "busy", "busy"

    def canonical(self) -> dict[str, object]:
        """Its number."""
        return {"busy": self.number}

    def compute(self, checkpoint: Path, every: int | None, report: Reporter) -> Record:
        """Multiply until the processor time is spent."""
        del checkpoint, every, report
        matrix, began = np.eye(64), time.process_time()
        while time.process_time() - began < self.seconds:
            matrix = matrix @ matrix
        return Record.of(FIT, self.canonical(), {"number": self.number}, {})
