"""Lightning: `GrokMonitor`, a callback that hands the training loss to the optimizer and reads the clocks."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, ones
from typing_extensions import override

from groktimizer.ground.errors import UserError
from groktimizer.ground.extras import require
from groktimizer.integrations.wrapped import FADED, least_factor, only_groktimizer, say
from groktimizer.measures import Condition, Times, grokking_times
from groktimizer.measures.times import WINDOW_STEPS
from groktimizer.optim import GROKtimizer
from groktimizer.optim.control import Control
from groktimizer.optim.upkeep import norm

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ModuleNotFoundError:
    require("lightning", extra="lightning")  # says what brings it
    raise

__all__ = ["GrokMonitor"]

WHO = "GrokMonitor"
INTEGERS = ("step", "phase")
CLIPPING = (
    "gradient_clip_val={value!r} shortens the force of the loss and not that of the decay, so phase 2 shrinks past the "
    "level: expected None"
)
FADING = (
    "a scheduler has left {factor:.2g} of the learning rate in phase 2, whose time grows as 1/sqrt(lr): use a schedule "
    "that ends higher, or none"
)


class GrokMonitor(Callback):
    """Hands the training loss to a `GROKtimizer`, logs its phases, and tells when a run memorised and generalised.

    In automatic optimization every micro-batch's loss is taken where it is differentiated, and brought back to what
    `training_step` returned: without the scale of a GradScaler, and without the 1/N of ``accumulate_grad_batches=N``.
    The optimizer takes the mean over the micro-batches of a step; what it observes takes the place of the number that
    Lightning's closure returns, so that nothing counts twice. In manual optimization ``opt.observe(loss)`` before
    ``opt.step()`` stays yours, and a step without it is an error.

    After every validation (without validation: after every epoch) a row is added to `history`, and the trainer's
    loggers get ``grok/phase``, ``grok/norm`` and, once they are known, ``grok/switch_step``, ``grok/memorised`` and
    ``grok/generalised``. Steps are the optimizer's: one that a GradScaler skips does not count. Rows travel in
    checkpoints.

    Args:
        memorised: Condition of t1 on a metric that the module logs, such as
            ``groktimizer.tasks.Criterion("train_accuracy", 0.99, above=True)``; None: no clocks.
        generalised: Condition of t2 and of settled, likewise; given with `memorised` or not at all.
        window: Steps for which a condition has to hold to be settled.
        observe: Whether to hand over the loss in automatic optimization; False if `training_step` does it itself, with
            another loss (one without dropout, say).

    Raises:
        UserError: If one condition is given without the other.
    """

    def __init__(
        self,
        memorised: Condition | None = None,
        generalised: Condition | None = None,
        *,
        window: int = WINDOW_STEPS,
        observe: bool = True,
    ) -> None:
        super().__init__()
        if (memorised is None) != (generalised is None):
            raise UserError(
                f"memorised={memorised!r}, generalised={generalised!r}: expected two conditions, or None for both"
            )
        self.memorised, self.generalised, self.window, self.observe = memorised, generalised, window, observe
        self._columns: dict[str, list[float]] = {}
        self._optimizer: GROKtimizer | None = None
        self._factor = math.inf

    # ---------------------------------------------------------------- what a user reads
    @property
    def history(self) -> dict[str, np.ndarray]:
        """Columns ``step``, ``phase``, ``norm`` (of what is penalised), and the metrics of the conditions."""
        return {
            name: np.array(values, dtype=np.int64 if name in INTEGERS else np.float64)
            for name, values in self._columns.items()
        }

    @property
    def times(self) -> Times | None:
        """When the run memorised, generalised and settled; None without conditions or before the first row."""
        if self.memorised is None or self.generalised is None or not self._columns:
            return None
        return grokking_times(self.history, self.memorised, self.generalised, window=self.window)

    # ---------------------------------------------------------------- the loss
    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the optimizer, and warn about what is not meant for phase 2.

        Args:
            trainer: The trainer.
            pl_module: The module.

        Raises:
            UserError: If the trainer does not have exactly one GROKtimizer.
        """
        self._optimizer, self._factor = only_groktimizer(WHO, trainer.optimizers), math.inf
        steps = self._control().steps
        known = sum(step <= steps for step in self._columns.get("step", []))  # rows of another run come after
        self._columns = {name: values[:known] for name, values in self._columns.items() if known and steps}
        if trainer.gradient_clip_val:
            say(WHO, CLIPPING.format(value=trainer.gradient_clip_val))

    @override
    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Hand over the loss, brought back to what `training_step` returned.

        Args:
            trainer: The trainer.
            pl_module: The module.
            loss: What Lightning differentiates.
        """
        if self._optimizer is None or not (self.observe and pl_module.automatic_optimization):
            return
        loss = loss.detach()
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if scaler is not None:  # by a tensor, since asking for the scale as a number would wait for the device
            loss = loss / scaler.scale(ones((), device=loss.device))
        if trainer.accumulate_grad_batches > 1:
            loss = loss * trainer.accumulate_grad_batches
        self._optimizer.observe(loss)

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """See that somebody hands over a loss.

        Args:
            trainer: The trainer.
            pl_module: The module.
            outputs: What the step gave.
            batch: The batch.
            batch_idx: Its number.

        Raises:
            UserError: If a step of phase 1 was taken and nobody has ever observed a loss.
        """
        control, automatic = self._control(), pl_module.automatic_optimization
        handed_over = control.observed or (self.observe and automatic)
        if control.steps and control.phase == 1 and not handed_over:
            kind = "observe=False" if automatic else "manual optimization"
            raise UserError(
                f"{WHO}: {kind} and a step without a loss, so phase 2 would never begin: expected "
                "self.optimizers().observe(loss) before each step"
            )

    # ---------------------------------------------------------------- the clocks
    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add a row; at the end of an epoch its training metrics follow."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._add_row(trainer.callback_metrics)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add a row, or complete that of a validation at this step, and log it.

        Args:
            trainer: The trainer.
            pl_module: The module.

        Raises:
            UserError: If the metric of a condition was not logged.
        """
        validated = self._columns.get("step", [-1])[-1] == self._control().steps
        if trainer.enable_validation and not validated:
            return
        for name, condition in (("memorised", self.memorised), ("generalised", self.generalised)):
            if condition is not None and condition.metric not in trainer.callback_metrics:
                logged = ", ".join(sorted(trainer.callback_metrics)) or "nothing"
                raise UserError(f"{name}={condition!r}: the module logs no {condition.metric!r}, it logs {logged}")
        self._add_row(trainer.callback_metrics)
        self._log(trainer)

    def _add_row(self, metrics: Mapping[str, Tensor]) -> None:
        """Add the newest values as a row, or put them in the place of a row of the same step.

        Args:
            metrics: What the module has logged.
        """
        optimizer, control = self._found(), self._control()
        row = {"step": control.steps, "phase": control.phase, "norm": norm(optimizer.param_groups)}
        for condition in (self.memorised, self.generalised):
            if condition is not None:
                row[condition.metric] = float(metrics.get(condition.metric, math.nan))
        if self._columns.get("step", [-1])[-1] == control.steps:
            for values in self._columns.values():
                del values[-1]
        for name, value in row.items():
            self._columns.setdefault(name, []).append(value)

    def _log(self, trainer: Trainer) -> None:
        """Hand the newest row to the loggers, and warn of a learning rate that has gone.

        Args:
            trainer: The trainer.
        """
        optimizer, times = self._found(), self.times
        known: dict[str, float | None] = {
            "phase": optimizer.phase,
            "norm": self._columns["norm"][-1],
            "switch_step": optimizer.switch_step,
            "memorised": None if times is None else times.memorised,
            "generalised": None if times is None else times.generalised,
        }
        numbers = {f"grok/{name}": float(value) for name, value in known.items() if value is not None}
        for logger in trainer.loggers:
            logger.log_metrics(numbers, step=trainer.global_step)
        factor = least_factor(optimizer)
        if optimizer.phase == 2 and factor < FADED <= self._factor:
            say(WHO, FADING.format(factor=factor))
        self._factor = factor

    def _found(self) -> GROKtimizer:
        assert self._optimizer is not None  # on_train_start has found it
        return self._optimizer

    def _control(self) -> Control:
        return Control.of(self._found().param_groups)

    # ---------------------------------------------------------------- saving and loading
    @override
    def state_dict(self) -> dict[str, Any]:
        """The rows so far, as lists of numbers."""
        return {"columns": {name: list(values) for name, values in self._columns.items()}}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from saved rows."""
        self._columns = {name: list(values) for name, values in state_dict["columns"].items()}
