"""A life of `run` that ends like kill -9, in a module of its own so that a child process can import it."""

import os
import signal

from groktimizer.cli import main


def killed_life(words: list[str], step: int) -> None:
    """`groktimizer run …` in this process, which kills itself like kill -9 when it reaches a step."""
    from groktimizer.cli import progress
    from groktimizer.training import Event

    def deadly(self: progress.Bars, name: str, event: Event) -> None:
        if event.step >= step:
            os.kill(os.getpid(), signal.SIGKILL)

    progress.Bars.run = deadly
    main(words)
