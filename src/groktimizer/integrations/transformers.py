"""The Hugging Face Trainer: `GrokCallback`, a callback that hands the training loss to the optimizer.

The Trainer shows its callbacks everything but the loss of a step, so the loss has to be taken where it is. A hook on
the model's forward would miss whatever else makes the loss: label smoothing, ``compute_loss_func``, an overridden
``compute_loss`` (trl's), the division by the number of micro-batches. What ``training_step`` returns misses nothing: it
is the number that was differentiated, which over the micro-batches of a step adds up to the loss of that step, however
it was normalised. The Trainer's documentation offers ``training_step`` for overriding, so the callback overrides it, on
the one trainer that it was made for and for as long as it trains; trainers of any class need no subclass.
"""

from typing import Any

from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from typing_extensions import override

from groktimizer.ground.errors import UserError
from groktimizer.ground.extras import require
from groktimizer.integrations.wrapped import FADED, only_groktimizer, say
from groktimizer.optim import GROKtimizer

try:
    from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ModuleNotFoundError:
    require("transformers", extra="transformers")  # says what brings it
    raise

__all__ = ["GrokCallback"]

WHO = "GrokCallback"
CLIPPING = (
    "max_grad_norm={value!r} shortens the force of the loss and not that of the decay, so phase 2 shrinks past the "
    "level: expected max_grad_norm=0.0"
)
FADING = (
    "lr_scheduler_type={kind!r} takes the learning rate to {factor:.2g} of itself at step {steps}, and phase 2, whose "
    'time grows as 1/sqrt(lr), stands still before: expected "constant" or "constant_with_warmup"'
)


class GrokCallback(TrainerCallback):
    """Hands the loss of every step to a `GROKtimizer`: ``trainer.add_callback(GrokCallback(trainer))``.

    With gradient accumulation the optimizer gets the loss whose gradient it gets: the sum of what the micro-batches
    contributed. When phase 2 begins the trainer logs ``grok_switch_step``. When training begins it warns of what is not
    meant for phase 2: clipping, and a schedule that takes the learning rate to 0.

    Args:
        trainer: The trainer that the callback is added to.

    Raises:
        UserError: If `trainer` is not a `transformers.Trainer`.
    """

    def __init__(self, trainer: Trainer) -> None:
        if not isinstance(trainer, Trainer):
            raise UserError(f"trainer={trainer!r}: expected the transformers.Trainer that the callback is added to")
        self._trainer = trainer
        self._optimizer: GROKtimizer | None = None
        self._parts: list[Tensor] = []
        self._logged = False
        self._before: Any = None  # a `training_step` that somebody else has put on this trainer

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Find the optimizer, listen to ``training_step``, and warn about what is not meant for phase 2.

        Args:
            args: The trainer's arguments.
            state: Its state.
            control: Its control.
            kwargs: The rest.

        Raises:
            UserError: If the trainer's optimizer is not a GROKtimizer.
        """
        trainer = self._trainer
        optimizer = self._optimizer = only_groktimizer(WHO, [trainer.optimizer])
        self._parts, self._logged = [], optimizer.phase == 2
        self._listen()
        if args.max_grad_norm > 0:
            say(WHO, CLIPPING.format(value=args.max_grad_norm))
        scheduler: Any = trainer.lr_scheduler
        scheduler = getattr(scheduler, "scheduler", scheduler)  # accelerate wraps it
        if isinstance(scheduler, LambdaLR):
            factor = min(rule(state.max_steps) for rule in scheduler.lr_lambdas)
            if factor < FADED:
                kind = str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type))
                say(WHO, FADING.format(kind=kind, factor=factor, steps=state.max_steps))

    def _listen(self) -> None:
        """Put a `training_step` that also keeps the loss in the place of the trainer's, unless it is there."""
        own = self._trainer.__dict__
        if getattr(own.get("training_step"), "listener", None) is self:
            return  # still there from a run that broke off
        plain, self._before = self._trainer.training_step, own.get("training_step")

        def training_step(*args: Any, **kwargs: Any) -> Tensor:
            loss = plain(*args, **kwargs)
            self._parts.append(loss.detach())
            return loss

        training_step.listener = self  # pyright: ignore[reportFunctionMemberAccess] (how it is found again)
        own["training_step"] = training_step

    @override
    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Hand over the loss of the step."""
        if self._optimizer is not None and self._parts:
            self._optimizer.observe(sum(self._parts[1:], self._parts[0]))
        self._parts = []

    @override
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Log the switch, once."""
        if self._optimizer is not None and not self._logged and self._optimizer.switch_step is not None:
            self._logged = True
            self._trainer.log({"grok_switch_step": float(self._optimizer.switch_step)})

    @override
    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Give the trainer its own ``training_step`` back."""
        own = self._trainer.__dict__
        if getattr(own.get("training_step"), "listener", None) is self:
            del own["training_step"]
            own |= {} if self._before is None else {"training_step": self._before}
