"""Training: one plain loop that takes any task and any torch optimizer and returns a run."""

from groktimizer.training.checkpoint import CheckpointError
from groktimizer.training.loop import train
from groktimizer.training.machine import check_machine
from groktimizer.training.run import Event, Run
from groktimizer.training.session import Asked
from groktimizer.training.stack import train_stack

__all__ = ["Asked", "CheckpointError", "Event", "Run", "check_machine", "train", "train_stack"]
