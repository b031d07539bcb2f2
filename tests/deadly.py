"""A cell that kills its process, in a module of its own so that a child process can import it."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from groktimizer.results import Record


@dataclass(frozen=True)
class Deadly:
    """A cell whose process kills itself the first times it is computed."""

    folder: Path
    number: int
    deaths: int

    @property
    def identity(self) -> str:
        return f"{self.number:016}"

    shape, label = "deadly", "deadly"

    def canonical(self) -> dict[str, object]:
        return {"number": self.number}

    def compute(self, checkpoint: Path, every: int | None, report: object) -> Record | str:
        mark = self.folder / f"{self.number}-{len(list(self.folder.glob(f'{self.number}-*')))}"
        mark.touch()
        if len(list(self.folder.glob(f"{self.number}-*"))) <= self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        return Record.of("fit", self.canonical(), {"number": self.number}, {})
